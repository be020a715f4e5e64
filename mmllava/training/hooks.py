"""Floor 3. Checkpoints in the right order, and what a log line says of speed."""

import os
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from mmllava.registry import HOOKS
from mmllava.training import saving


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, in steps: the new checkpoint first, then old ones go.

    mmengine deletes the old one, then writes: killed between, a run that keeps one
    checkpoint has none.

    Args:
        interval: steps from one checkpoint to the next; -1 is the last step only.
        max_keep_ckpts: how many stay; -1 is all.
    """

    def __init__(self, interval: int = -1, max_keep_ckpts: int = -1) -> None:
        super().__init__(
            interval=interval,
            by_epoch=False,
            max_keep_ckpts=max_keep_ckpts,
            filename_tmpl='iter_{}',
        )

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        name = self.filename_tmpl.format(step)
        self.last_ckpt = str(Path(self.out_dir) / name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        old: list[int] = []
        if self.max_keep_ckpts > 0:
            kept = [k for k in self.keep_ckpt_ids if k != step] + [step]
            old = kept[: -self.max_keep_ckpts]
            self.keep_ckpt_ids.clear()
            self.keep_ckpt_ids.extend(kept[-self.max_keep_ckpts :])
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        runner.save_checkpoint(self.out_dir, name)
        if not is_main_process():
            return
        for k in old:
            saving.remove(Path(self.out_dir) / self.filename_tmpl.format(k))
        pointer = Path(runner.work_dir) / 'last_checkpoint'  # mmengine's tools read it
        part = pointer.with_name('.last_checkpoint.part')
        part.write_text(self.last_ckpt, encoding='utf-8')
        os.replace(part, pointer)


@HOOKS.register_module()
class SpeedHook(Hook):
    """Logs ``tokens_per_s``, ``samples_per_s`` and ``padding``, over all processes.

    ``padding`` is the share of positions that hold none of a sample. The time is that
    of a whole step, loading included.
    """

    priority = 'HIGH'  # after the outputs are known, before the line is written

    def before_train(self, runner: Runner) -> None:
        self.start = time.perf_counter()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, torch.Tensor] | None = None,
    ) -> None:
        now = time.perf_counter()
        seconds, self.start = now - self.start, now
        samples = sum(len(batch['inputs']) for batch in data_batch) * runner.world_size
        tokens, slots = float(outputs['tokens']), float(outputs['slots'])
        values = dict(
            tokens_per_s=tokens / seconds,
            samples_per_s=samples / seconds,
            padding=1 - tokens / slots,
        )
        for name, value in values.items():
            runner.message_hub.update_scalar(f'train/{name}', value)
