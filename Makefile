# Two commands: `make demo` and `make test`. Each first makes its environment;
# the second time that takes no time, until pyproject.toml or the constraints change.

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt

# Another Python's packages must not leak into the environment.
unexport PYTHONPATH PYTHONHOME
# Without compiled files every process would compile torch and transformers anew, for 6 s.
unexport PYTHONDONTWRITEBYTECODE

# Named by the folder, so that a copied or moved checkout is set up again.
READY := $(VENV)/.ready-$(firstword $(shell pwd | cksum))
RUN := $(VENV)/bin/python
# Up to four processes; each test runs on one thread.
PYTEST := $(RUN) -m pytest -q -n auto --maxprocesses 4 --dist worksteal
TRANSFORMERS4 := VENV=.venv-transformers4 CONSTRAINTS=constraints-transformers4.txt

.PHONY: demo tiny test test-all test-slow test-transformers4 test-quantize lint format constraints clean

demo: $(READY)  ## describe demo/cat-dog.png with the bundled tiny model
	$(RUN) demo/demo.py

tiny: $(READY)  ## train llava-tiny anew, from nothing: an hour and a quarter on two cores
	$(RUN) projects/llava_tiny/tools/train.py

test: $(READY)  ## the unit suite
	$(PYTEST)

test-all: $(READY)  ## the slow tests too; only those that need a GPU are left out
	$(PYTEST) -m 'not gpu'

test-slow: $(READY)  ## the slow tests alone
	$(PYTEST) -m 'slow and not gpu'

test-transformers4:  ## the unit suite with the oldest transformers that we support
	$(MAKE) test $(TRANSFORMERS4)

test-quantize: $(READY)  ## 4 and 8 bits; bitsandbytes stands beside the environment
	@$(PYTHON) tools/dev/make_env.py --beside .quantize bitsandbytes $(CONSTRAINTS)
	PYTHONPATH=.quantize $(RUN) -m pytest -q tests/test_models/test_quantize.py tests/test_models/test_meta_init.py tests/test_training/test_quantized.py

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(READY)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

$(READY): pyproject.toml $(CONSTRAINTS) tools/dev/make_env.py tools/dev/overrides.txt
	@$(PYTHON) tools/dev/make_env.py $(VENV) $(CONSTRAINTS)
	@touch $@

# Pins every package again, for Python 3.10 to 3.12; what is pinned already
# stays unless LOCK_FLAGS=--upgrade. Needs uv: `make test` has fetched it.
LOCK = .uv/bin/uv pip compile pyproject.toml - --universal --python-version 3.10 --no-annotate \
	--extra mm --extra test --extra java-metrics --extra quantize --extra device-map --extra lora \
	--extra teacher --extra mmbench \
	--overrides tools/dev/overrides.txt \
	--custom-compile-command 'make constraints' $(LOCK_FLAGS) --quiet
# One release of the two, or torchvision's operators are missing.
ALSO := opencv-python-headless torch==2.11.0 torchvision==0.26.0

constraints:
	printf '%s\n' $(ALSO) | $(LOCK) --output-file constraints.txt
	printf '%s\n' $(ALSO) transformers==4.57.6 | \
		$(LOCK) --output-file constraints-transformers4.txt

clean:
	rm -rf .venv .venv-transformers4 .uv .quantize build dist *.egg-info demo/out
	rm -rf .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
