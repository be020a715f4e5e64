"""A run that is killed goes on as if nothing had been."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT
from tests.test_training.tiny import log_of, losses, training_config, write_config

SHUFFLED = dict(type='DefaultSampler', shuffle=True)
STAGES = {
    'full': dict(train=['projector', 'language']),
    'lora': dict(train=['projector'], lora=dict(r=4, alpha=8, dropout=0.1)),
}


def long_config(work_dir, stage, workers=0):
    """Three passes of seven micro-batches, two a step: nine steps, passes ending within steps."""
    config = training_config(
        work_dir,
        stage,
        order=[0, 1, 2, 3, -1, 0, 2, 1, 3, 3, -1, 2, 0, 1],
        batch_size=2,
        epochs=3,
        param_scheduler=dict(type='mmllava.WarmupCosineLR', ratio=0.2, by_epoch=False),
    )
    config.optim_wrapper.accumulative_counts = 2
    config.train_dataloader.update(sampler=SHUFFLED, num_workers=workers)
    config.model.pack = True
    config.optim_wrapper.clip_grad = dict(max_norm=1.0)
    config.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=2)
    return config


def command(config, folder):
    return [
        sys.executable,
        str(ROOT / 'tools/train.py'),
        str(write_config(config, folder)),
        '--resume',
    ]


def run(config, folder):
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    return subprocess.Popen(
        command(config, folder),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def weights_of(folder):
    return {
        f'{file.name}/{name}': tensor
        for file in sorted(folder.glob('*.safetensors'))
        for name, tensor in load_file(file).items()
    }


def last_step(folder):
    return max(log_of(folder), default=0)


@pytest.mark.slow
@pytest.mark.parametrize('stage', STAGES)
def test_killed_at_any_step_it_ends_with_the_same_losses_and_weights_to_the_bit(tmp_path, stage):
    whole = long_config(tmp_path / 'whole', STAGES[stage], workers=2)
    process = run(whole, tmp_path / 'whole')
    output = process.communicate()[0]
    assert process.returncode == 0, output
    killed, kills = tmp_path / 'killed', 0
    config = long_config(killed, STAGES[stage], workers=2)
    draw = torch.Generator().manual_seed(3)
    while True:
        process = run(config, killed)
        wanted = last_step(killed) + int(torch.randint(1, 4, (1,), generator=draw))
        while process.poll() is None and last_step(killed) < wanted:
            time.sleep(0.005)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    assert process.returncode == 0, process.communicate()[0]
    assert kills >= 3
    assert losses(killed) == losses(tmp_path / 'whole')
    assert len(losses(killed)) == 9
    ours, theirs = (weights_of(f / 'iter_9') for f in (killed, tmp_path / 'whole'))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
