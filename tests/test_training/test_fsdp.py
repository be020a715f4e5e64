"""A model that is shared out over processes learns what a whole one learns."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmllava.errors import ConfigError
from mmllava.training import checkpoint
from mmllava.training.fsdp import read_strategy, share_optimizer
from mmllava.training.stages import read_stage
from tests.conftest import ROOT
from tests.helpers.training_run import TRAIN, log_of, losses, training_config, write_config
from tests.helpers.two_process import run_two
from tests.test_training.test_resume import weights_of

FSDP = dict(type='FSDP')
STRATEGIES = ROOT / 'configs/_base_/strategies'
STAGES = {
    'projector': dict(train=['projector']),
    'full': dict(train=['projector', 'language']),
    'lora': dict(
        train=['projector'], lora=dict(r=4, alpha=8, dropout=0.0), gradient_checkpointing=True
    ),
}


def config_of(folder, stage, strategy):
    """Steps of two micro-batches a process, packed and clipped; a checkpoint every two steps."""
    config = training_config(
        folder, STAGES[stage], [0, 1, 2, 3, -1, 2, 0, 3] * 3, batch_size=1, epochs=1
    )
    config.optim_wrapper.update(accumulative_counts=2, clip_grad=dict(max_norm=1.0))
    config.default_hooks.checkpoint.update(interval=2)
    config.model.pack = True
    if strategy:
        config.strategy = strategy
    return config


def commands_of(root):
    """Two processes: plain copies, FSDP, FSDP that goes on from its second step, in halves too."""
    for stage in STAGES:
        for name, options in (('ddp', []), ('fsdp', ['--cfg-options', 'strategy.type=FSDP'])):
            folder = root / f'{stage}-{name}'
            yield [write_config(config_of(folder, stage, None), folder), *options]
        folder = root / f'{stage}-resumed'
        file = write_config(config_of(folder, stage, FSDP), folder)
        yield [file, '--resume', root / f'{stage}-fsdp/iter_2']
    for name, strategy in (('ddp', None), ('fsdp', FSDP)):
        config = config_of(root / f'half-{name}', 'lora', strategy)
        config.optim_wrapper.type = 'mmllava.BFloat16OptimWrapper'
        yield [write_config(config, root / f'half-{name}')]
        for stage in ('full', 'lora'):  # as the recipes have it: what is frozen in bfloat16 too
            config = config_of(root / f'{stage}-bf16-{name}', stage, strategy)
            config.optim_wrapper.type = 'mmllava.BFloat16OptimWrapper'
            config.model.dtype = 'bfloat16'
            yield [write_config(config, root / f'{stage}-bf16-{name}')]
    for stage, name in (('projector', 'zero3'), ('full', 'zero2')):
        folder = root / f'{stage}-golden'
        strategy = Config.fromfile(STRATEGIES / f'{name}.py').strategy
        config = training_config(folder, STAGES[stage], batch_size=2, strategy=strategy)
        yield [write_config(config, folder)]


@pytest.mark.slow
def test_shared_out_a_model_learns_what_plain_copies_learn(tmp_path):
    """In one test: starting processes takes longer than all they do."""
    run_two(*commands_of(tmp_path))
    for stage in ('projector', 'full'):
        assert losses(tmp_path / f'{stage}-golden') == pytest.approx(TRAIN[stage], abs=1e-4)
    for stage in STAGES:
        check_same_as_plain_copies(tmp_path, stage)
        check_goes_on_to_the_bit(tmp_path, stage)
    plain, shared, exact = (losses(tmp_path / n) for n in ('half-ddp', 'half-fsdp', 'lora-ddp'))
    assert shared == pytest.approx(plain, abs=0.02)
    assert shared != exact
    for stage in ('full', 'lora'):
        plain, shared = (losses(tmp_path / f'{stage}-bf16-{name}') for name in ('ddp', 'fsdp'))
        assert shared == pytest.approx(plain, abs=0.01)


def check_same_as_plain_copies(root, stage):
    plain, shared = (log_of(root / f'{stage}-{name}') for name in ('ddp', 'fsdp'))
    assert len(plain) == len(shared) == 6
    for step, values in plain.items():
        for key in ('loss', 'grad_norm'):
            assert shared[step][key] == pytest.approx(values[key], abs=1e-4), (stage, step, key)
    theirs, ours = (weights_of(root / f'{stage}-{name}' / 'iter_6') for name in ('ddp', 'fsdp'))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.allclose(tensor, theirs[name], atol=1e-4), (stage, name)


def check_goes_on_to_the_bit(root, stage):
    whole, resumed = (root / f'{stage}-{name}' for name in ('fsdp', 'resumed'))
    assert losses(resumed) == losses(whole)[2:]
    ours, theirs = weights_of(resumed / 'iter_6'), weights_of(whole / 'iter_6')
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours), stage


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(strategy=dict(type='FSPD')), "unknown type of strategy 'FSPD'. Did you mean FSDP"),
        (
            dict(strategy=dict(type='DeepSpeed', stage=2)),
            'DeepSpeed is not used here. What its ZeRO-3',
        ),
        (dict(strategy=dict(type='FSDP', wrap=1)), "unknown setting of strategy 'wrap'"),
        (dict(), 'shares a model out over processes, and this is one. Start it with `torchrun'),
        (dict(stage=dict(train=['projector', 'image_tokens'])), 'some rows of a weight'),
        (dict(optim_wrapper=dict(type='AmpOptimWrapper')), 'Set optim_wrapper.type='),
        (dict(val_cfg=dict(type='ValLoop')), 'would have the processes of FSDP wait'),
        (dict(val_cfg=dict()), 'would have the processes of FSDP wait'),
        (dict(val_dataloader=dict(batch_size=1)), 'would have the processes of FSDP wait'),
        (
            dict(custom_hooks=[dict(type='mmllava.GenerationHook')]),
            'would have the processes of FSDP',
        ),
        (dict(model=dict(bits=4)), 'model.bits=4 and strategy exclude each other'),
    ],
)
def test_what_does_not_go_together_is_refused(changes, message, tmp_path):
    launcher = 'none' if not changes else 'pytorch'
    config = training_config(tmp_path, dict(train=['projector']), strategy=FSDP, launcher=launcher)
    config.merge_from_dict(changes)
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_strategy(config, read_stage(config.stage))


def test_a_strategy_is_one_base_more_for_a_recipe(tmp_path):
    recipe = ROOT / 'configs/train/llava-7b-v1.5_lora.py'
    file = tmp_path / 'mine.py'
    file.write_text(f"_base_ = ['{recipe}', '{STRATEGIES}/zero2.py']\nlauncher = 'pytorch'\n")
    config = Config.fromfile(file)
    assert config.stage.lora.r == 128
    assert read_strategy(config, read_stage(config.stage)) == dict(reshard_after_forward=False)


@pytest.mark.skipif(not Path('/proc/self/maps').exists(), reason='the system does not list them')
def test_no_part_of_a_resumed_optimizer_stays_in_the_file_it_was_read_from(tmp_path):
    """The file is deleted, or on a disk that goes; its pages would be read again."""
    weight = torch.nn.Parameter(torch.ones(8, 8))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    rest = dict.fromkeys(checkpoint._STATE, 0)
    torch.save({**rest, 'optimizer': optimizer.state_dict()}, tmp_path / checkpoint.RESUME_FILE)
    state = checkpoint.read_state(tmp_path)
    optimizer.load_state_dict(share_optimizer(state['optimizer'], optimizer))
    assert str(tmp_path) in Path('/proc/self/maps').read_text()  # what is read is mapped
    del state
    assert str(tmp_path) not in Path('/proc/self/maps').read_text()
    assert float(optimizer.state[weight]['step']) == 1
