"""Hooks of training: checkpoints in the right order, schedulers, and speed in the log."""

import json
import math
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook, Hook, ParamSchedulerHook
from mmengine.runner import Runner

from mmllava.checkpoints.storage.reader import read_json
from mmllava.errors import ConfigError, unknown_name
from mmllava.registry import HOOKS
from mmllava.training import checkpoint

BEST_FILE = 'best.json'


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, in steps: the new checkpoint first, then old ones go.

    mmengine deletes the old one, then writes: killed between, a run that keeps one
    checkpoint has none.

    Args:
        interval: steps from one checkpoint to the next; -1 is the last step only.
        max_keep_ckpts: how many stay; -1 is all.
        save_best: name of a score of the val loop, such as ``CIDEr``: where it is better than
            ever before, the checkpoint is also written as ``best_NAME_iter_N``, which stays
            until a better one is there; `max_keep_ckpts` does not count it. ``best.json``
            beside it says how good it is.
        rule: ``greater`` or ``less``: which score is better.
    """

    def __init__(
        self,
        interval: int = -1,
        max_keep_ckpts: int = -1,
        save_best: str | None = None,
        rule: str = 'greater',
    ) -> None:
        for name, value in dict(interval=interval, max_keep_ckpts=max_keep_ckpts).items():
            if not isinstance(value, int) or (value < 1 and value != -1):
                raise ConfigError(
                    f'SafeCheckpointHook has {name}={value!r}, expected a whole number from 1 on; '
                    '-1 keeps the last step alone (interval), or all (max_keep_ckpts).'
                )
        if not isinstance(save_best, str | None):
            raise ConfigError(
                f'SafeCheckpointHook has save_best={save_best!r}, expected the name of one score.'
            )
        if rule not in ('greater', 'less'):
            raise unknown_name('rule of SafeCheckpointHook', str(rule), ('greater', 'less'))
        super().__init__(
            interval=interval,
            by_epoch=False,
            max_keep_ckpts=max_keep_ckpts,
            filename_tmpl='iter_{}',
        )
        self.score, self.sign = save_best, 1 if rule == 'greater' else -1

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        name = self.filename_tmpl.format(step)
        self.last_ckpt = str(Path(self.out_dir) / name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        old: list[int] = []
        if self.max_keep_ckpts > 0:
            kept = [k for k in self.keep_ckpt_ids if k != step] + [step]
            old = kept[: -self.max_keep_ckpts]
            runner.message_hub.update_info('drop_ckpt_ids', old)  # a kill may come before
            self.keep_ckpt_ids.clear()
            self.keep_ckpt_ids.extend(kept[-self.max_keep_ckpts :])
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        runner.save_checkpoint(self.out_dir, name)
        if not is_main_process():
            return
        self._drop(old)
        pointer = Path(runner.work_dir) / 'last_checkpoint'  # mmengine's tools read it
        write_beside(pointer, self.last_ckpt)

    def _drop(self, steps: Iterable[int]) -> None:
        for step in steps:
            checkpoint.remove(Path(self.out_dir) / self.filename_tmpl.format(step))

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        if is_main_process():
            self._drop(runner.message_hub.runtime_info.get('drop_ckpt_ids', []))
        if self.score is not None and runner.val_loop is None:
            raise ConfigError(
                f'save_best={self.score!r} and no val loop to give that score. Set val_dataloader, '
                'val_evaluator and val_cfg, or leave save_best out.'
            )
        file = Path(runner.work_dir) / BEST_FILE
        resumed = runner.iter > 0 and file.is_file()
        self.best: dict[str, Any] = read_json(file) if resumed else {}

    def after_train(self, runner: Runner) -> None:
        """Writes the last step of a run that was stopped early (mmengine's EarlyStoppingHook)."""
        last = Path(runner.message_hub.runtime_info.get('last_ckpt') or '').name
        if runner.iter > 0 and last != self.filename_tmpl.format(runner.iter):
            self._save_checkpoint_with_step(runner, runner.iter, {})

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Keeps the checkpoint where its score is the best so far."""
        if self.score is None:
            return
        if self.score not in (metrics or {}):
            raise unknown_name('score of save_best', self.score, metrics or {})
        value, known = float(metrics[self.score]), self.best.get(self.score)
        better = known is None or self.sign * value > self.sign * known['value']
        choice = [better and math.isfinite(value)]
        broadcast_object_list(choice)  # the others may not see the file
        if not choice[0]:
            return
        head = f'best_{re.sub("[^A-Za-z0-9.-]", "-", self.score)}_'
        name = head + self.filename_tmpl.format(runner.iter)
        runner.logger.info(f'{self.score} is {value:.4f}, the best so far: {name}')
        runner.save_checkpoint(self.out_dir, name)
        self.best[self.score] = dict(value=value, step=runner.iter, checkpoint=name)
        if is_main_process():
            write_beside(Path(runner.work_dir) / BEST_FILE, json.dumps(self.best, indent=2) + '\n')
            for old in sorted(Path(self.out_dir).iterdir()):
                if re.fullmatch(re.escape(head) + r'iter_\d+', old.name) and old.name != name:
                    checkpoint.remove(old)


def write_beside(file: Path, text: str) -> None:
    """Writes a small file whole or not at all."""
    part = file.with_name(f'.{file.name}.part')
    part.write_text(text, encoding='utf-8')
    os.replace(part, file)


@HOOKS.register_module()
class StepSchedulerHook(ParamSchedulerHook):
    """mmengine's ``ParamSchedulerHook``, for checkpoints between two epochs.

    Schedulers counted in epochs move right after the last step of one, before the checkpoint
    of that step is written; those that follow a score move after the val loop, and after the
    checkpoint that it may write: a resumed run has the val loop of its step once more.
    """

    _scores: dict[str, float] | None = None

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Moves what counts steps, and at the end of an epoch what counts epochs."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if (runner.iter + 1) % runner.train_loop.steps_per_epoch == 0:
            super().after_train_epoch(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Nothing: the last step has done it."""

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Keeps the scores until every other hook has had them."""
        self._scores = metrics

    def after_val(self, runner: Runner) -> None:
        """Moves what follows a score.

        Raises:
            ConfigError: the val loop gives no such score.
        """
        for scheduler in runner.param_schedulers or []:
            monitor = getattr(scheduler, 'monitor', None)
            if monitor is not None and monitor not in (self._scores or {}):
                kind = type(scheduler).__name__
                raise unknown_name(f'score of {kind}.monitor', monitor, self._scores or {})
        super().after_val_epoch(runner, self._scores)


@HOOKS.register_module()
class SpeedHook(Hook):
    """Logs ``tokens_per_s``, ``samples_per_s`` and ``padding``, over all processes.

    ``padding`` is the share of positions that hold none of a sample. The time is that
    of a whole step, loading included, without checkpoints, the val loop and what other
    hooks do after it.
    """

    priority = 'HIGH'  # after the outputs are known, before the line is written

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, torch.Tensor] | None = None,
    ) -> None:
        seconds = time.perf_counter() - runner.train_loop.began
        samples = sum(len(batch['inputs']) for batch in data_batch) * runner.world_size
        tokens, slots = float(outputs['tokens']), float(outputs['slots'])
        values = dict(
            tokens_per_s=tokens / seconds,
            samples_per_s=samples / seconds,
            padding=1 - tokens / slots,
        )
        for name, value in values.items():
            runner.message_hub.update_scalar(f'train/{name}', value)
