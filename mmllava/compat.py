"""Bridges changes of other libraries; each bridge names the version at which it goes."""

import importlib.machinery
import inspect
import io
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from types import ModuleType
from typing import Any


def when_imported(
    module: str,
    around: Callable[[], AbstractContextManager] | None = None,
    after: Callable[[], None] | None = None,
) -> None:
    """Runs the first import of ``module`` inside ``around()`` and calls ``after()`` after it.

    So ``import mmllava`` stays light (mmpretrain takes ten seconds to import, and a tool that
    converts weights does not need it) and mmpretrain is patched whichever of the two a user
    imports first. If ``module`` is imported already, ``after`` is called at once and ``around``
    is not used.
    """
    if module in sys.modules:
        if after:
            after()
        return
    sys.meta_path.insert(0, _Watcher(module, around or nullcontext, after))


class _Watcher:
    """Finds one module on the usual path and wraps its execution."""

    def __init__(self, module: str, around: Any, after: Any) -> None:
        self.module, self.around, self.after = module, around, after

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        """Wraps the module's loader. Finding a spec without importing it does not end the watch."""
        if name != self.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            with self.around():
                execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            if self.after:
                self.after()

        spec.loader.exec_module = exec_module
        return spec


@contextmanager
def without_noise() -> Iterator[None]:
    """Suppresses messages of the OpenMMLab packages about parts that LLaVA does not need.

    ``Could not import OneDL`` goes to stdout, where it would corrupt a tool's JSON; mmcv warns
    that its compiled ops are missing. Any other output is passed on.
    """
    output = io.StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(output):
            warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformable')
            yield
    finally:
        sys.stdout.write(output.getvalue().replace('Could not import OneDL\n', ''))


@contextmanager
def with_transformers_names() -> Iterator[None]:
    """Restores the names of ``_MOVED`` while mmpretrain's models are imported."""
    restore_transformers_names()
    with without_noise():
        yield


# Names that mmpretrain's multimodal models import and transformers has moved or dropped.
# If one is missing, mmpretrain sets all to None and `import mmpretrain.models` fails with
# "NoneType takes no arguments". Each can go when the oldest mmpretrain that we
# support no longer imports it (onedl-mmpretrain 1.3.6 and mmpretrain 1.2.0 do).
_MOVED = {
    'transformers.pytorch_utils': ('find_pruneable_heads_and_indices',),
    'transformers.modeling_utils': (
        'PretrainedConfig',  # gone from there in 5.0
        'GenerationConfig',
        'GenerationMixin',
        'apply_chunking_to_forward',
        'find_pruneable_heads_and_indices',
        'prune_linear_layer',
    ),
}


def restore_transformers_names() -> None:
    """Adds the names of ``_MOVED`` that this version of transformers lacks.

    A moved name is taken from its new place. A removed function gets a stand-in that raises when
    called; only the head pruning of BLIP and RAM would call it.
    """
    try:
        import transformers
        import transformers.modeling_utils
        import transformers.pytorch_utils
    except ImportError:
        return  # mmpretrain reports it

    for place, names in _MOVED.items():
        module = sys.modules[place]
        for name in names:
            if hasattr(module, name):
                continue
            for home in (transformers, transformers.pytorch_utils):
                if hasattr(home, name):
                    setattr(module, name, getattr(home, name))
                    break
            else:
                setattr(module, name, _gone(f'{place}.{name}', transformers.__version__))


def _gone(name: str, version: str) -> Callable[..., Any]:
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            f'{name} is not in transformers {version}. Install transformers<5 to use the '
            'model that calls it.'
        )

    return stand_in


def inner_vision_model(model: Any) -> Any:
    """Returns the part of a ``CLIPVisionModel`` that holds embeddings and encoder.

    transformers 5 merged ``model.vision_model`` into the model itself. Goes with transformers 4.
    """
    return getattr(model, 'vision_model', model)


def run_vision_block(block: Any, hidden: Any) -> Any:
    """Runs one block of a CLIP vision encoder, on hidden states ``(P, N, D)``, without a mask.

    transformers 4's takes a causal mask as well and returns a tuple. Can go with
    transformers 4.
    """
    causal = 'causal_attention_mask' in inspect.signature(type(block).forward).parameters
    hidden = block(hidden, None, None) if causal else block(hidden, None)
    return hidden[0] if isinstance(hidden, tuple) else hidden
