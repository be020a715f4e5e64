"""Every training config builds, trains what it says, and takes the steps of the recipe."""

import argparse
import ast
import math
import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config, DictAction
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
from mmllava.training.fsdp import read_strategy
from tests.conftest import ROOT

LEAVES = sorted((ROOT / 'configs/train').glob('*.py'))
STRATEGIES = ROOT / 'configs/_base_/strategies'
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
    'v1_scienceqa': (12_726, 12, 128, 2e-5, None, None),
    'v1.5_scienceqa': (12_726, 12, 128, 2e-5, None, None),
}
# LLaVA-NeXT's, which v1.6 has none besides; the tower learns at 2e-6.
NEWEST = {
    'pretrain': (558_128, 1, 256, 1e-3, None, None),
    'finetune': (779_289, 1, 128, 1e-5, None, None),
    'task': (10_000, 1, 128, 1e-5, None, None),
    'task-lora': (10_000, 1, 128, 2e-4, 2e-5, (128, 256)),
}
TOWER_RATE = 2e-6
TEMPLATES = {'v1.6-mistral': 'mistral_instruct', 'v1.6': 'chatml_direct'}
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
    'v1_scienceqa': 1200,
    'v1.5_scienceqa': 1200,
    'v1.6_pretrain': 2181,
    'v1.6_finetune': 6088,
    'v1.6_task': 78,
    'v1.6_task-lora': 78,
}
PROCESSES = 8


def recipe_of(file):
    """A key of STEPS, and of RECIPES where it is not v1.6."""
    version, stage = file.stem.split('-', 2)[2].split('_')
    return f'{version.split("-")[0]}_{stage}'


def numbers_of(file):
    version, stage = recipe_of(file).split('_')
    return NEWEST[stage] if version == 'v1.6' else RECIPES[f'{version}_{stage}']


def marks_of(file):
    """One of each kind is built in the unit suite; its larger and LoRA kin take seconds."""
    large = '-7b-' not in file.stem and ('v1.6' in file.stem or 'scienceqa' in file.stem)
    return [pytest.mark.slow] if large or ('v1.6' in file.stem and 'lora' in file.stem) else []


def test_every_recipe_has_its_two_sizes_and_no_config_is_left_out():
    expected = {f'llava-{n}b-{r}' for n in (7, 13) for r in RECIPES}
    for name in ('7b-v1.6-vicuna', '7b-v1.6-mistral', '13b-v1.6-vicuna', '34b-v1.6'):
        # The vicunas begin with the projector of v1.5.
        stages_of = [s for s in NEWEST if s != 'pretrain' or 'vicuna' not in name]
        expected |= {f'llava-{name}_{s}' for s in stages_of}
    assert {f.stem for f in LEAVES} == expected
    table = (ROOT / 'configs/train/README.md').read_text()
    assert all(f'`{file.stem}`' in table for file in LEAVES)


@pytest.fixture(
    scope='module', params=[pytest.param(f, marks=marks_of(f), id=f.stem) for f in LEAVES]
)
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
    assert text.split('"""')[2].count('\n') <= 25
    for word in ('Weights:', 'Memory:', 'Trained:', 'Source:', f'configs/train/{leaf.name}'):
        assert word in docstring


def test_its_command_fits_cards_of_80_gb_and_keeps_the_samples_of_a_step(leaf):
    text = leaf.read_text()
    command = re.search(r'Run: (.*?)"""', text, re.S)[1]
    processes = PROCESSES * (2 if '--nodes 2' in command else 1)
    needed = float(re.search(r'Memory: +([\d.]+) GB', text)[1])
    if 'strategy.type=FSDP' in command:
        needed /= processes
    assert needed <= 64  # the rest is for activations, and for what is gathered
    config = Config.fromfile(leaf)
    option = re.search(r'accumulative_counts=(\d+)', command)
    accumulate = int(option[1]) if option else config.optim_wrapper.get('accumulative_counts', 1)
    step = processes * config.train_dataloader.batch_size * accumulate
    assert step == config.train_cfg.get('global_batch', step)


@pytest.mark.parametrize(
    'leaf', [f for f in LEAVES if 'strategy.type=FSDP' in f.read_text()], ids=lambda f: f.stem
)
def test_a_command_with_fsdp_gives_the_strategy_of_zero3(leaf):
    command = re.search(r'Run: (.*?)"""', leaf.read_text(), re.S)[1].replace('\\', ' ')
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    options = parser.parse_known_args(command.split())[0].cfg_options
    config, zero3 = Config.fromfile(leaf), Config.fromfile(STRATEGIES / 'zero3.py')
    config.merge_from_dict({**options, 'launcher': 'pytorch'})
    assert config.strategy == zero3.strategy
    read = stages.read_stage(config.stage)
    assert read_strategy(config, read) == dict(reshard_after_forward=True)


def test_what_is_trained_is_what_the_config_says(leaf, prepared):
    config, model = prepared
    trained = [p for p in model.parameters() if p.requires_grad]
    count = sum(p.numel() for p in trained)
    frozen = sum(p.numel() for p in model.parameters()) - count
    said = re.search(r'Memory: +([\d.]+) GB.*Trained: ([\d,]+) parameters', leaf.read_text(), re.S)
    assert int(said[2].replace(',', '')) == count
    # 4 bytes each for weight and gradient, 8 for AdamW; 2 for what is frozen.
    whole = (16 * count + 2 * frozen) / 1e9
    if config.model.get('bits'):  # 64 numbers share a scale of 8 bits, 256 scales one of 32
        blocks = model.language.lm.model.layers.named_parameters()
        packed = sum(p.numel() for n, p in blocks if 'base_layer' in n)
        whole -= packed * (2 - (4 + 8 / 64 + 32 / 64 / 256) / 8) / 1e9
    assert float(said[1]) == pytest.approx(whole, abs=0.06)
    shard = re.search(r'([\d.]+) if sharded over (eight|sixteen)', leaf.read_text())
    assert bool(shard) == ('strategy.type=FSDP' in leaf.read_text())
    if shard:
        processes = PROCESSES if shard[2] == 'eight' else 2 * PROCESSES
        assert float(shard[1]) == pytest.approx(whole / processes, abs=0.06)
    assert {p.dtype for p in trained} == {torch.float32}
    lora = numbers_of(leaf)[-1]
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


@pytest.mark.slow
def test_its_steps_and_rates_are_those_of_the_recipe(leaf, prepared, monkeypatch):
    transformers = pytest.importorskip('transformers')
    config, model = prepared
    rows, _, _, rate, projector_rate, _ = numbers_of(leaf)
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
    tower = {id(p) for p in model.vision_tower.parameters() if p.requires_grad}
    own = {projector_rate} if projector_rate else {TOWER_RATE} if tower else set()
    assert {g['lr'] for g in groups} == {rate} | own
    projector = {id(p) for p in model.projector.parameters()}
    for group in groups:
        here = {id(p) for p in group['params']}
        assert not projector & here or group['lr'] == (projector_rate or rate)
        assert not tower & here or group['lr'] == TOWER_RATE
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
    version, stage = recipe.split('_')
    dataset, newer = config.train_dataloader.dataset, version != 'v1'
    steps = {step.type.split('.')[-1]: step for step in dataset.pipeline}
    assert list(steps) == ['LoadImage', 'CLIPResize', 'PackInputs']
    if stage != 'pretrain':
        assert steps['CLIPResize'] == config.resize
    assert steps['CLIPResize'].size == config.model.vision_encoder.image_size
    tuned = dict(v1='square').get(version, 'anyres' if version == 'v1.6' else 'pad')
    assert steps['CLIPResize'].aspect == ('square' if stage == 'pretrain' else tuned)
    own = TEMPLATES.get(leaf.stem.split('-', 2)[2].split('_')[0], 'vicuna_v1')
    template = 'plain' if stage == 'pretrain' else own
    assert config.model.template == template
    grouped = newer and stage not in ('pretrain', 'scienceqa')
    assert ('Modality' in config.train_dataloader.sampler.type) == grouped
    tiled = steps['CLIPResize'].aspect == 'anyres'
    assert config.model.max_tokens == (4096 if tiled else 2048)
    grid = steps['CLIPResize'].get('image_grid_pinpoints')
    assert grid == config.model.get('image_grid_pinpoints')
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
