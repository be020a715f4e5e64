"""A run that is killed goes on as if nothing had been."""

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from safetensors.torch import load_file

from mmllava.registry import HOOKS
from tests.conftest import ROOT
from tests.helpers.training_run import losses, training_config, write_config

SHUFFLED = dict(type='DefaultSampler', shuffle=True)
STAGES = {
    'full': dict(train=['projector', 'language']),
    'lora': dict(train=['projector'], lora=dict(r=4, alpha=8, dropout=0.1)),
}
KILLS, STEPS = 10, 24


@HOOKS.register_module()
class KillHook(Hook):
    """Kills its process soon after each of some steps, once each: in a step, or while saving."""

    def __init__(self, steps, marks):
        self.steps, self.marks, self.armed = steps, Path(marks), False

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        done = len(list(self.marks.iterdir()))
        if self.armed or done == len(self.steps) or runner.iter < self.steps[done]:
            return
        self.armed = True
        (self.marks / str(done)).touch()
        wait = random.Random(done).random() * 0.06  # seconds; a step takes about half of it
        threading.Timer(wait, os.kill, (os.getpid(), signal.SIGKILL)).start()


def long_config(work_dir, stage, **changes):
    """Eight passes of seven micro-batches, two a step, one left over in each pass."""
    config = training_config(
        work_dir,
        stage,
        order=[0, 1, 2, 3, -1, 0, 2, 1, 3, 3, -1, 2, 0, 1],
        batch_size=2,
        epochs=8,
        param_scheduler=dict(type='mmllava.WarmupCosineLR', ratio=0.2, by_epoch=False),
    )
    config.custom_imports.imports.append('tests.test_training.test_resume')
    config.optim_wrapper.accumulative_counts = 2
    config.train_dataloader.update(sampler=SHUFFLED, num_workers=2)
    config.model.pack = True
    config.optim_wrapper.clip_grad = dict(max_norm=1.0)
    config.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=2)
    config.merge_from_dict(changes)
    return config


def weights_of(folder):
    return {
        f'{file.name}/{name}': tensor
        for file in sorted(folder.glob('*.safetensors'))
        for name, tensor in load_file(file).items()
    }


class Starter:
    """Runs tools/train.py in children of one process, which has imported everything once."""

    def __enter__(self):
        environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parents[1] / 'helpers/forked_runner.py')],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *error):
        self.process.communicate()

    def __call__(self, *args):
        """Gives the exit status; negative is a signal's number."""
        print(*args, file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())


@pytest.mark.slow
@pytest.mark.parametrize('stage', STAGES)
def test_killed_at_ten_steps_it_ends_with_the_same_losses_and_weights_to_the_bit(tmp_path, stage):
    whole, killed, marks = (tmp_path / name for name in ('whole', 'killed', 'marks'))
    marks.mkdir()
    steps = sorted(random.Random(5).sample(range(1, STEPS - 1), KILLS))
    hook = dict(type='mmllava.KillHook', steps=steps, marks=str(marks))
    files = [
        write_config(long_config(whole, STAGES[stage]), whole),
        write_config(long_config(killed, STAGES[stage], custom_hooks=[hook]), killed),
    ]
    with Starter() as start:
        assert start(files[0]) == 0
        statuses = [start(files[1], '--resume')]
        while statuses[-1] == -signal.SIGKILL:
            statuses.append(start(files[1], '--resume'))
    assert statuses == KILLS * [-signal.SIGKILL] + [0]
    assert len(losses(killed)) == STEPS
    assert losses(killed) == losses(whole)
    ours, theirs = (weights_of(folder / f'iter_{STEPS}') for folder in (killed, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not list(killed.glob('.iter_*'))
    assert sorted(p.name for p in killed.glob('iter_*')) == [f'iter_{STEPS - 1}', f'iter_{STEPS}']
