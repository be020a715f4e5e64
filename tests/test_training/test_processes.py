"""A step cut into micro-batches, or over processes, learns what it learned in one piece."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.test_training.tiny import TRAIN, losses, train, training_config, write_config

STAGES = {'projector': ['projector'], 'full': ['projector', 'language']}
# Each half learns as many tokens as the other, so that their mean is the mean over all.
HALVES = [0, 2, 1, 3]


def accumulated(folder, stage, order):
    config = training_config(folder, dict(train=STAGES[stage]), order, batch_size=2)
    config.optim_wrapper.accumulative_counts = 2
    return config


def run_two(config, folder):
    """The config in two processes, over gloo; micro-batch k of `accumulated` in process k."""
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2']
    command += ['--master_port=0', '--rdzv_backend=c10d', '--rdzv_endpoint=localhost:0']
    command += ['tools/train.py', str(write_config(config, folder)), '--launcher', 'pytorch']
    environment = dict(
        os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES=''
    )
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize('stage', STAGES)
def test_two_micro_batches_a_step_have_the_losses_of_the_original(tmp_path, stage):
    assert train(accumulated(tmp_path, stage, HALVES), tmp_path) == 0
    assert losses(tmp_path) == pytest.approx(TRAIN[stage], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('stage', STAGES)
def test_two_processes_have_the_losses_of_the_original(tmp_path, stage):
    config = training_config(tmp_path, dict(train=STAGES[stage]), [0, 1, 2, 3], batch_size=2)
    run_two(config, tmp_path)
    assert losses(tmp_path) == pytest.approx(TRAIN[stage], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('stage', STAGES)
def test_a_process_with_text_alone_waits_for_no_gradient(tmp_path, stage):
    assert train(accumulated(tmp_path / 'one', stage, [0, 2, -1, -1]), tmp_path / 'one') == 0
    config = training_config(
        tmp_path / 'two', dict(train=STAGES[stage]), [0, -1, 2, -1], batch_size=2
    )
    run_two(config, tmp_path / 'two')
    assert losses(tmp_path / 'two') == pytest.approx(losses(tmp_path / 'one'), abs=1e-4)


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
