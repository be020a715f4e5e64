"""A step cut into micro-batches, or over processes, learns what it learned in one piece."""

import os
import subprocess
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmllava.errors import ConfigError
from mmllava.training.distributed import prepare_processes
from tests.helpers.training_run import losses, train, training_config, write_config
from tests.helpers.two_process import run_two

STAGES = {'projector': ['projector'], 'full': ['projector', 'language']}
SLURM = dict(SLURM_PROCID='3', SLURM_NTASKS='8', SLURM_LOCALID='1', SLURM_NODELIST='node[3-4]')


def accumulated(folder, stage, order):
    config = training_config(folder, dict(train=STAGES[stage]), order, batch_size=2)
    config.optim_wrapper.accumulative_counts = 2
    return config


@pytest.mark.slow
def test_a_process_with_text_alone_waits_for_no_gradient(tmp_path):
    """Also where weights are shared out, and each step gathers them."""
    commands = []
    for stage in STAGES:
        one = tmp_path / f'{stage}-one'
        assert train(accumulated(one, stage, [0, 2, -1, -1]), one) == 0
        for name, changes in (('ddp', {}), ('fsdp', dict(strategy=dict(type='FSDP')))):
            folder = tmp_path / f'{stage}-{name}'
            config = training_config(
                folder, dict(train=STAGES[stage]), [0, -1, 2, -1], batch_size=2, **changes
            )
            commands.append([write_config(config, folder)])
    run_two(*commands)
    for stage in STAGES:
        for name in ('ddp', 'fsdp'):
            found = losses(tmp_path / f'{stage}-{name}')
            assert found == pytest.approx(losses(tmp_path / f'{stage}-one'), abs=1e-4)


def in_slurm(monkeypatch, **said):
    """What srun says; gives what would be started."""
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT', *SLURM):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    started = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.distributed, 'init_process_group', started.append)
    return started


def test_slurm_starts_processes_without_a_gpu(monkeypatch):
    started = in_slurm(monkeypatch, **SLURM, MASTER_ADDR='first')
    config = Config(dict(launcher='slurm'))
    prepare_processes(config)
    assert started == ['gloo']
    found = {name: os.environ[name] for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')}
    assert found == dict(RANK='3', WORLD_SIZE='8', LOCAL_RANK='1')
    assert (os.environ['MASTER_ADDR'], os.environ['MASTER_PORT']) == ('first', '29500')
    assert config.to_dict() == dict(launcher='slurm')  # a checkpoint's config.py has all of it


def test_slurm_asks_scontrol_which_machine_is_the_first(monkeypatch):
    in_slurm(monkeypatch, **SLURM)
    done = SimpleNamespace(stdout='node3\nnode4\n')
    monkeypatch.setattr(subprocess, 'run', lambda command, **_: asked.append(command) or done)
    asked = []
    prepare_processes(Config(dict(launcher='slurm')))
    assert asked == [['scontrol', 'show', 'hostnames', 'node[3-4]']]
    assert os.environ['MASTER_ADDR'] == 'node3'


def test_slurm_without_scontrol_is_told_to_name_the_machine(monkeypatch):
    in_slurm(monkeypatch, **SLURM, PATH='')
    with pytest.raises(ConfigError, match='does not say which machine .* Set MASTER_ADDR'):
        prepare_processes(Config(dict(launcher='slurm')))
    monkeypatch.delenv('SLURM_NODELIST')
    monkeypatch.setattr(subprocess, 'run', lambda *_, **__: SimpleNamespace(stdout=''))
    with pytest.raises(ConfigError, match="of SLURM_NODELIST='' is the first .* Set MASTER_ADDR"):
        prepare_processes(Config(dict(launcher='slurm')))


@pytest.mark.parametrize(
    ('launcher', 'message'),
    [
        ('slurm', 'expects SLURM_PROCID in the environment, .* Start with srun'),
        ('pytorch', 'expects RANK in the environment, .* Start with torchrun'),
        ('mpi', 'needs GPUs, and PyTorch .* sees none. Use pytorch'),
    ],
)
def test_a_launcher_that_did_not_launch_is_named(monkeypatch, launcher, message):
    assert in_slurm(monkeypatch) == []
    with pytest.raises(ConfigError, match=message):
        prepare_processes(Config(dict(launcher=launcher)))


def test_the_loss_of_a_step_is_the_mean_of_its_micro_batches_means(tmp_path):
    """As in the original, and not the mean over all tokens of the step."""
    order = [0, 1, 2, 3]
    assert train(accumulated(tmp_path / 'two', 'projector', order), tmp_path / 'two') == 0
    halves = []
    for name, half in (('a', order[:2]), ('b', order[2:])):
        config = training_config(
            tmp_path / name, dict(train=['projector']), half, batch_size=2, epochs=1
        )
        assert train(config, tmp_path / name) == 0
        halves += losses(tmp_path / name)
    assert halves[0] != pytest.approx(halves[1], abs=1e-3)
    assert losses(tmp_path / 'two')[0] == pytest.approx(sum(halves) / 2, abs=1e-6)
