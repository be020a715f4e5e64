"""The training loop: one iteration is one optimizer step."""

import itertools
import time
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader

from mmllava.checkpoints.layouts.partial import ADAPTER_FILE
from mmllava.errors import ConfigError, TrainingError
from mmllava.registry import LOOPS
from mmllava.training import checkpoint
from mmllava.training.rng import preserve_training_state


@LOOPS.register_module()
class StepLoop(BaseLoop):
    """Trains for a number of passes over the data, counted in optimizer steps.

    mmengine's loops count micro-batches, so that with accumulation its schedules,
    logs and checkpoints fall between two steps. Here a step takes as many micro-batches
    as the optimizer wrapper's ``accumulative_counts``, and everything happens after it.
    The loss of a step is the mean over its micro-batches, and over processes, of each
    micro-batch's mean over its learned tokens: that of the original (Trainer of
    transformers 4.37). Micro-batches at the end of a pass that fill no step are left out
    of it (there they begin the next pass, and its steps would mix what a sampler kept apart).

    Args:
        runner, dataloader: as mmengine's.
        max_epochs: passes over the data.
        global_batch: samples of a step over all processes, where the recipe depends on
            it; a run with another number is refused. None takes what comes.
        val_begin: first step after which the val loop may run.
        val_interval: steps between two runs of the val loop.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: Any,
        max_epochs: int = 1,
        global_batch: int | None = None,
        val_begin: int = 1,
        val_interval: int = 1000,
    ) -> None:
        # Still a config: the runner builds the optimizer after the loop.
        accumulate = runner.optim_wrapper.get('accumulative_counts', 1)
        super().__init__(runner, _tell_sampler(dataloader, accumulate))
        if accumulate < 1 or max_epochs < 1:
            raise ConfigError(
                f'max_epochs={max_epochs} and accumulative_counts={accumulate}, expected whole '
                'numbers from 1 on.'
            )
        _check_batch(global_batch, self.dataloader.batch_size, accumulate)
        # Workers draw their seeds from here, not from the generator that dropout uses: a
        # resumed run starts workers at another point than an undisturbed one.
        self.dataloader.generator = torch.Generator()
        self.accumulate, self._max_epochs = accumulate, max_epochs
        self.batches_per_epoch = len(self.dataloader)
        if self.batches_per_epoch < accumulate:
            raise ConfigError(
                f'a pass over the data is {self.batches_per_epoch} micro-batches, and a step takes '
                f'accumulative_counts={accumulate}. Lower it or batch_size, or add data.'
            )
        self.steps_per_epoch = self.batches_per_epoch // accumulate
        self._max_iters = max_epochs * self.steps_per_epoch
        self._iter = self._epoch = self._first = 0
        self.val_begin, self.val_interval = val_begin, val_interval
        self.stop_training = False  # mmengine's EarlyStoppingHook sets it
        self.began = 0.0  # seconds of the clock at which the present step began
        #: random numbers that training goes on with, while the val loop draws others
        self.held: dict[str, Any] | None = None

    @property
    def max_epochs(self) -> int:
        """Passes over the data."""
        return self._max_epochs

    @property
    def max_iters(self) -> int:
        """Optimizer steps of the whole run."""
        return self._max_iters

    @property
    def epoch(self) -> int:
        """Passes that are complete."""
        return self._epoch

    @property
    def iter(self) -> int:
        """Optimizer steps that are done."""
        return self._iter

    def resume_at(self, step: int) -> None:
        """Goes on after so many steps; called before `run`."""
        # Not yet the present step: the runner would count it in micro-batches.
        self._first = step

    def run(self) -> torch.nn.Module:
        """Trains to the end."""
        runner, self._iter = self.runner, self._first
        self._epoch = self._iter // self.steps_per_epoch
        runner.optim_wrapper.initialize_count_status(
            runner.model, self._iter * self.accumulate, self._max_iters * self.accumulate
        )
        runner.call_hook('before_train')
        runner.call_hook('before_train_epoch')
        steps = self._steps(self._iter)
        if self._first:  # the kill may have come before the val loop of that step
            self._validate()
        while self._iter < self._max_iters and not self.stop_training:
            runner.model.train()
            self.began = time.perf_counter()
            self._step(next(steps))
            self._end_epoch()
            self._validate()
        if self._iter % self.steps_per_epoch:
            runner.call_hook('after_train_epoch')
        runner.call_hook('after_train')
        return runner.model

    def _end_epoch(self) -> None:
        """Calls the hooks between two epochs, where it is time."""
        if self._iter % self.steps_per_epoch:
            return
        self.runner.call_hook('after_train_epoch')
        self._epoch = self._iter // self.steps_per_epoch
        if self._iter < self._max_iters:
            self.runner.call_hook('before_train_epoch')

    def _validate(self) -> None:
        """Runs the val loop where it is time; training goes on as if it had not."""
        due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        if self.runner.val_loop is not None and self._iter >= self.val_begin and due:
            with preserve_training_state(self.runner.model) as self.held:
                self.runner.val_loop.run()
            self.held = None

    def _step(self, batches: list[Any]) -> None:
        """One optimizer step; the hooks see all its micro-batches."""
        runner = self.runner
        runner.call_hook('before_train_iter', batch_idx=self._iter, data_batch=batches)
        outputs = [
            runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper) for batch in batches
        ]
        gathered = _gather(outputs)
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)  # float16 skips such steps
        if scaler is None and not torch.isfinite(gathered['loss']).all():
            raise TrainingError(
                f'the loss of step {self._iter + 1} is {float(gathered["loss"])}, and what was '
                'learned from it is lost; earlier checkpoints are not. Look at the data with '
                f'tools/misc/check_data.py, or lower the rate. {_begin_anew(runner)}'
            )
        runner.call_hook(
            'after_train_iter', batch_idx=self._iter, data_batch=batches, outputs=gathered
        )
        self._iter += 1

    def _steps(self, start: int) -> Iterator[list[Any]]:
        """The micro-batches of each step from step ``start`` on, pass after pass.

        Those before are skipped in the sampler's order and never loaded.
        """
        epoch, skip = divmod(start, self.steps_per_epoch)
        while True:
            sampler = self.dataloader.batch_sampler.sampler
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(epoch)
            self.dataloader.generator.manual_seed(epoch)
            loader = _after(self.dataloader, skip * self.accumulate) if skip else self.dataloader
            batches = iter(loader)
            for _ in range(skip, self.steps_per_epoch):
                yield list(itertools.islice(batches, self.accumulate))
            epoch, skip = epoch + 1, 0


def _begin_anew(runner: Runner) -> str:
    """Explains how to begin a run with other data or rates where one went wrong."""
    last = checkpoint.find_latest(runner.work_dir)
    advice = 'Both make a new run: name another folder with --work-dir'
    if last is None:
        return f'{advice}.'
    if (last / ADAPTER_FILE).is_file():
        return (
            f'{advice}. To begin it where this one was, merge {last} first: '
            f'python tools/convert.py {last} --base BASE --to mmllava --out NEW.'
        )
    return f"{advice}, and begin with model.init_cfg=dict(type='Pretrained', checkpoint='{last}')."


def _tell_sampler(loader: Any, accumulate: int) -> Any:
    """A loader's config; our sampler, which groups by step, is told what a step is."""
    sampler = loader.get('sampler') if isinstance(loader, dict) else None
    if not sampler or not str(sampler.get('type')).endswith('ModalityLengthSampler'):
        return loader
    step = dict(batch_size=loader['batch_size'], accumulative_counts=accumulate)
    return {**loader, 'sampler': {**step, **sampler}}


def _check_batch(wanted: int | None, batch_size: int, accumulate: int) -> None:
    processes = get_world_size()
    found = processes * batch_size * accumulate
    if wanted in (None, found):
        return
    each = processes * batch_size
    advice = (
        f'Set optim_wrapper.accumulative_counts={wanted // each}'
        if wanted % each == 0
        else f'Choose a batch_size that makes {wanted}'
    )
    raise ConfigError(
        f'a step would learn {found} samples ({processes} processes x batch_size {batch_size} x '
        f'accumulative_counts {accumulate}), and the recipe has {wanted}. {advice}, or change '
        'train_cfg.global_batch, and the rate with it.'
    )


def _after(loader: DataLoader, skip: int) -> DataLoader:
    """A loader of the batches that come after the first ``skip`` of this pass."""
    return DataLoader(
        loader.dataset,
        batch_sampler=list(loader.batch_sampler)[skip:],
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
    )


def _gather(outputs: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Reduces a step's log values: the mean of its losses, the sum of its counts."""
    merged = {}
    for name in outputs[0]:
        values = torch.stack([torch.as_tensor(out[name]).float().detach() for out in outputs])
        counted = 'loss' not in name
        value = values.sum() if counted else values.mean()
        all_reduce(value, 'sum' if counted else 'mean')
        merged[name] = value.cpu()
    return merged
