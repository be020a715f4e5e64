"""Every training config builds, trains what it says, and takes the steps of the recipe."""

import ast
import math
import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from torch.utils.data import DataLoader

from mmllava.errors import ConfigError
from mmllava.registry import (
    DATA_SAMPLERS,
    DATASETS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
)
from mmllava.training import loop, stages
from tests.conftest import ROOT

LEAVES = sorted((ROOT / 'configs/train').glob('*.py'))
# From LLaVA's scripts: rows, passes, samples a step, rate, projector's rate, LoRA's rank and alpha.
RECIPES = {
    'v1_pretrain': (558_128, 1, 128, 2e-3, None, None),
    'v1_finetune': (157_712, 3, 128, 2e-5, None, None),
    'v1_lora': (80_000, 1, 128, 2e-5, None, (64, 16)),
    'v1.5_pretrain': (558_128, 1, 256, 1e-3, None, None),
    'v1.5_finetune': (665_298, 1, 128, 2e-5, None, None),
    'v1.5_lora': (665_298, 1, 128, 2e-4, 2e-5, (128, 256)),
    'v1.5_qlora': (665_298, 1, 128, 2e-4, 2e-5, (128, 256)),
    'v1.5_task': (10_000, 1, 128, 2e-5, None, None),  # the user's rows, how many there may be
    'v1.5_task-lora': (10_000, 1, 128, 2e-4, 2e-5, (128, 256)),
}
STEPS = {
    'v1_pretrain': 4361,
    'v1_finetune': 3699,
    'v1_lora': 625,
    'v1.5_pretrain': 2181,
    'v1.5_finetune': 5198,
    'v1.5_lora': 5198,
    'v1.5_qlora': 5198,
    'v1.5_task': 79,
    'v1.5_task-lora': 79,
}
PROCESSES = 8
# The same recipes, shared out over the processes: recipe -> what each name ends in.
SHARED = {'v1.5_finetune': ['_fsdp']}


def recipe_of(file):
    name = file.stem.split('-', 2)[2]
    ends = SHARED.get(name.rpartition('_')[0], [])
    return next((name.removesuffix(end) for end in ends if name.endswith(end)), name)


def test_every_recipe_has_its_two_sizes_and_no_config_is_left_out():
    names = [*RECIPES, *(r + end for r, ends in SHARED.items() for end in ends)]
    assert {f.stem for f in LEAVES} == {f'llava-{n}b-{r}' for n in (7, 13) for r in names}
    table = (ROOT / 'configs/train/README.md').read_text()
    assert all(f'`{file.stem}`' in table for file in LEAVES)


@pytest.fixture(scope='module', params=LEAVES, ids=lambda f: f.stem)
def leaf(request):
    return request.param


@pytest.fixture(scope='module')
def prepared(leaf):
    """The model on meta, as its stage makes it."""
    config = Config.fromfile(leaf)
    settings = {**config.model, 'bits': None}  # bitsandbytes packs what is there, not shapes
    model = MODELS.build(settings)
    if config.stage.get('lora'):
        pytest.importorskip('peft')
    stages.apply(model, stages.read_stage(config.stage), 'cpu')
    return config, model


def test_a_config_is_short_and_says_what_it_needs(leaf):
    text = leaf.read_text()
    docstring = ast.get_docstring(ast.parse(text))
    assert text.count('\n') <= 40
    for word in ('Weights:', 'Memory:', 'Trained:', 'Source:', f'configs/train/{leaf.name}'):
        assert word in docstring


def test_what_is_trained_is_what_the_config_says(leaf, prepared):
    config, model = prepared
    trained = [p for p in model.parameters() if p.requires_grad]
    count = sum(p.numel() for p in trained)
    frozen = sum(p.numel() for p in model.parameters()) - count
    said = re.search(r'Memory: +([\d.]+) GB.*Trained: ([\d,]+) parameters', leaf.read_text(), re.S)
    assert int(said[2].replace(',', '')) == count
    # 4 bytes each for weight and gradient, 8 for AdamW; 2 for what is frozen.
    whole = (16 * count + 2 * frozen) / 1e9
    if config.model.get(
        'bits'
    ):  # of 64 numbers 4 bits each, and a scale of 8; of 256 scales 4 bytes
        blocks = model.language.lm.model.layers.named_parameters()
        packed = sum(p.numel() for n, p in blocks if 'base_layer' in n)
        whole -= packed * (2 - (4 + 8 / 64 + 32 / 64 / 256) / 8) / 1e9
    shares = PROCESSES if config.get('strategy') else 1
    assert float(said[1]) == pytest.approx(whole / shares, abs=0.06)
    assert {p.dtype for p in trained} == {torch.float32}
    lora = RECIPES[recipe_of(leaf)][-1]
    assert (config.stage.get('lora') is None) == (lora is None)
    if lora:
        assert (config.stage.lora.r, config.stage.lora.alpha, config.stage.lora.dropout) == (
            *lora,
            0.05,
        )


def steps_of(config, rows, monkeypatch):
    """The loop of a config, over so many rows, in one of eight processes."""
    monkeypatch.setattr(loop, 'get_world_size', lambda: PROCESSES)
    own = math.ceil(rows / PROCESSES)
    runner = SimpleNamespace(
        optim_wrapper=config.optim_wrapper,
        seed=0,
        _randomness_cfg={},
        build_dataloader=lambda c, **_: DataLoader(range(own), batch_size=c['batch_size']),
    )
    settings = dict(config.train_cfg)
    settings.pop('type')
    return loop.StepLoop(runner, dict(config.train_dataloader), **settings).max_iters


def test_its_steps_and_rates_are_those_of_the_recipe(leaf, prepared, monkeypatch):
    transformers = pytest.importorskip('transformers')
    config, model = prepared
    rows, _, _, rate, projector_rate, _ = RECIPES[recipe_of(leaf)]
    steps = steps_of(config, rows, monkeypatch)
    assert steps == STEPS[recipe_of(leaf)]
    wrapper = dict(config.optim_wrapper)
    build = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type=wrapper.pop('constructor'),
            paramwise_cfg=wrapper.pop('paramwise_cfg', None),
            optim_wrapper_cfg=wrapper,
        )
    )
    wrapper = build(model)
    groups = wrapper.optimizer.param_groups
    assert {g['lr'] for g in groups} == {rate} | ({projector_rate} if projector_rate else set())
    projector = {id(p) for p in model.projector.parameters()}
    for group in groups:
        mine = projector & {id(p) for p in group['params']}
        assert not mine or group['lr'] == (projector_rate or rate)
        assert group['weight_decay'] == 0
    other = torch.optim.SGD([dict(params=[torch.zeros(1)], lr=g['lr']) for g in groups])
    theirs = transformers.get_cosine_schedule_with_warmup(other, math.ceil(0.03 * steps), steps)
    schedule = {**config.param_scheduler, 'end': steps}
    ours = PARAM_SCHEDULERS.build(schedule, default_args=dict(optimizer=wrapper, epoch_length=1))
    for _ in range(steps):
        for mine, their in zip(groups, other.param_groups, strict=True):
            assert mine['lr'] == pytest.approx(their['lr'], rel=1e-12, abs=1e-18)
        ours.step()
        other.step()
        theirs.step()
    assert [g['lr'] for g in groups] == [0] * len(groups)


def test_pictures_sampler_and_precision_are_those_of_the_recipe(leaf):
    config, recipe = Config.fromfile(leaf), recipe_of(leaf)
    dataset, newer = config.train_dataloader.dataset, 'v1.5' in recipe
    steps = {step.type.split('.')[-1]: step for step in dataset.pipeline}
    assert steps['CLIPResize'].size == config.model.vision_encoder.image_size
    assert steps['CLIPResize'].aspect == ('pad' if newer and 'pre' not in recipe else 'square')
    assert (
        config.model.template
        == dataset.template
        == ('plain' if 'pretrain' in recipe else 'vicuna_v1')
    )
    grouped = newer and 'pretrain' not in recipe
    assert ('Modality' in config.train_dataloader.sampler.type) == grouped
    assert config.model.max_tokens == 2048
    assert config.optim_wrapper.clip_grad == dict(max_norm=1.0)
    assert 'BFloat16' in config.optim_wrapper.type
    for step in dataset.pipeline:
        TRANSFORMS.build(step)
    assert DATASETS.get(dataset.type)
    assert DATA_SAMPLERS.get(config.train_dataloader.sampler.type)


def test_another_number_of_processes_is_told_how_to_keep_the_recipe(monkeypatch):
    config = Config.fromfile(ROOT / 'configs/train/llava-7b-v1.5_pretrain.py')
    monkeypatch.setattr('tests.test_training.test_configs.PROCESSES', 1)
    with pytest.raises(ConfigError, match='would learn 32 .*recipe has 256.*accumulative_counts=8'):
        steps_of(config, 1000, monkeypatch)
