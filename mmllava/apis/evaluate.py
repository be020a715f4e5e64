"""Floor 4. mmengine's test loop, made to survive: a kill, a bad picture, a metric that fails."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import barrier, get_dist_info
from mmengine.hooks import Hook
from mmengine.runner import Runner, TestLoop, autocast
from mmengine.structures import BaseDataElement
from torch import nn
from tqdm import tqdm

from mmllava.apis.inference import save_drawing
from mmllava.apis.predictions import (
    PredictionFile,
    file_mark,
    fingerprint,
    write_json,
)
from mmllava.errors import ImageError, PromptError
from mmllava.images.annotate import annotate
from mmllava.images.load import load_image
from mmllava.registry import HOOKS, LOOPS

ANSWERS = ('pred_caption', 'pred_answer')


@LOOPS.register_module()
class ResumableTestLoop(TestLoop):
    """Predicts what has not been predicted yet, then scores everything.

    Each batch is appended to ``predictions-FINGERPRINT.RANK.jsonl`` in the work
    folder as it comes; a run with the same weights, model and data goes on from
    there. A sample whose picture failed is tried again. Processes share the
    samples without a gap or a double. At the end ``predictions.json`` holds the
    answers, before any metric is computed.

    Args:
        runner, dataloader, evaluator, fp16: as mmengine's ``TestLoop``.
    """

    def __init__(self, runner: Runner, dataloader: Any, evaluator: Any, fp16: bool = False) -> None:
        self._loader_config = dict(dataloader)
        super().__init__(runner, dataloader, evaluator, fp16)
        self.rank, self.world_size = get_dist_info()
        self.records: list[dict[str, Any]] = []
        model, dataset = runner.cfg['model'], self.dataloader.dataset
        mark = fingerprint(
            dict(model=model, dataset=self._loader_config['dataset'], fp16=fp16),
            model.get('init_cfg', {}).get('checkpoint', ''),
            model.get('vision_encoder', {}).get('pretrained', ''),
            model.get('vision_encoder', {}).get('name_or_path', ''),
            model.get('tokenizer', {}).get('name_or_path', ''),
            getattr(dataset, 'ann_file', ''),
            getattr(dataset, 'question_file', ''),
            *getattr(dataset, 'paths', ()),
        )
        self.file = PredictionFile(runner.work_dir, mark, self.rank)

    def run(self) -> dict[str, Any]:
        """Predicts, writes, scores. Returns the metrics."""
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        self.runner.model.eval()
        for metric in self.evaluator.metrics:
            getattr(metric, 'references', None)  # a wrong annotation file shows now, not at the end
        total = len(self.dataloader.dataset)
        done = {k for k, record in self.file.read().items() if self._is_done(k, record)}
        barrier()  # nobody writes before everybody has read
        todo = [k for k in range(total) if k not in done]
        self._predict(todo[self.rank :: self.world_size], len(done))
        barrier()
        records = self.file.read()
        self.records = [records[k] for k in range(total)]
        if self.rank == 0:
            self._write_answers()
        metrics = self._score(self.records[self.rank :: self.world_size], total)
        self.runner.call_hook('after_test_epoch', metrics=metrics)
        self.runner.call_hook('after_test')
        return metrics

    def _is_done(self, index: int, record: Mapping[str, Any]) -> bool:
        """Whether a record is of this very sample, its picture unchanged, and no failure."""
        if record.get('error') or index >= len(self.dataloader.dataset):
            return False
        path = self.dataloader.dataset.get_data_info(index).get('img_path')
        return record.get('picture') == file_mark(path)

    def _step(self, batch: Mapping[str, Sequence[Any]]) -> list[BaseDataElement]:
        """Predicts a batch; if a prompt is refused, each sample alone, the reason as its ``error``.

        What is wrong for all samples (a setting, a missing tokenizer) ends the run.
        """
        try:
            return self.runner.model.test_step(batch)
        except PromptError:
            outputs = []
            for number, sample in enumerate(batch['data_samples']):
                alone = {key: value[number : number + 1] for key, value in batch.items()}
                try:
                    outputs += self.runner.model.test_step(alone)
                except PromptError as error:
                    sample.set_field(str(error), 'error')
                    outputs.append(sample)
            return outputs

    @torch.no_grad()
    def _predict(self, todo: Sequence[int], num_done: int) -> None:
        """Predicts the samples of this process and appends them to its file."""
        start, number = time.perf_counter(), 0
        before = num_done // self.world_size  # process 0 shows its own share
        bar = tqdm(total=before + len(todo), initial=before, unit='img', disable=self.rank > 0)
        for step, batch in enumerate(self._loader(todo)):
            self.runner.call_hook('before_test_iter', batch_idx=step, data_batch=batch)
            with autocast(enabled=self.fp16):
                outputs = self._step(batch)
            indices = todo[number : number + len(outputs)]
            paths = [self.dataloader.dataset.get_data_info(k).get('img_path') for k in indices]
            self.file.append(
                {**to_record(k, out), 'picture': file_mark(path)}
                for k, out, path in zip(indices, outputs, paths, strict=True)
            )
            number += len(outputs)
            bar.update(len(outputs))
            self.runner.call_hook(
                'after_test_iter', batch_idx=step, data_batch=batch, outputs=outputs
            )
        bar.close()
        seconds = time.perf_counter() - start
        if number:
            self.runner.logger.info(
                f'{number} images in {seconds:.1f} s: {number / seconds:.2f} images/s'
                + (f' ({num_done} were done before)' if num_done else '')
            )

    def _loader(self, todo: Sequence[int]) -> Iterable[dict]:
        """The config's data loader, over these samples only."""
        if not todo:
            return []
        config = dict(self._loader_config, dataset=self.dataloader.dataset, sampler=list(todo))
        config.setdefault('collate_fn', dict(type='pseudo_collate'))
        if not config.get('num_workers'):
            config.pop('persistent_workers', None)  # torch refuses it without workers
        return self.runner.build_dataloader(config)

    def _write_answers(self) -> None:
        """Writes ``predictions.json`` in COCO's results format and names what failed."""
        file = Path(self.runner.work_dir) / 'predictions.json'
        write_json(answers(self.records), file)
        self.runner.logger.info(f'predictions: {file}')
        failed = [record for record in self.records if record.get('error')]
        for record in failed:
            self.runner.logger.warning(f'no prediction: {record["error"]}')
        if failed:
            self.runner.logger.warning(f'{len(failed)} of {len(self.records)} pictures failed')

    def _score(self, records: Sequence[Mapping[str, Any]], total: int) -> dict[str, Any]:
        self.evaluator.process(data_samples=records)
        return self.evaluator.evaluate(total)


def to_record(index: int, sample: BaseDataElement) -> dict[str, Any]:
    """What of a predicted sample goes to disk: its plain values."""
    plain = (str, int, float, type(None))
    return {'index': index} | {k: v for k, v in sample.all_items() if isinstance(v, plain)}


def answers(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Records in the form that COCO's and VQA's tools read, failed ones left out."""
    found = []
    for record in records:
        for field, key, name in (
            ('pred_caption', 'image_id', 'caption'),
            ('pred_answer', 'question_id', 'answer'),
        ):
            if record.get(field) is not None:
                id_ = record.get(key)
                id_ = int(id_) if isinstance(id_, str) and id_.isdigit() else id_
                found.append({key: id_, name: record[field]})
    return found


@HOOKS.register_module()
class DrawPredictionsHook(Hook):
    """Draws pictures with their captions or answers below (``--show``, ``--show-dir``).

    Args:
        folder: where PNG files go; None saves none.
        show: open each in the system's viewer.
        interval: every how manieth sample.
    """

    def __init__(self, folder: str | None = None, show: bool = False, interval: int = 1) -> None:
        self.folder = Path(folder) if folder else None
        self.show, self.interval, self.count = show, max(interval, 1), 0

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draws the samples of one batch that are due."""
        for sample in outputs or ():
            self.count += 1
            text = next((sample.get(k) for k in ANSWERS if sample.get(k)), None)
            if (self.count - 1) % self.interval or text is None or not sample.get('img_path'):
                continue
            try:
                picture = annotate(load_image(sample.get('img_path')), text)
            except ImageError as error:
                runner.logger.warning(f'not drawn: {error}')
                continue
            if self.folder:
                save_drawing(picture, sample.get('img_path'), self.folder, self.count)
            if self.show:
                picture.show()


class WholeCopy(nn.Module):
    """One whole model per process. Testing has no gradients to bring together.

    mmengine's default, DDP, would hold a second copy's worth of buckets.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def test_step(self, data: Any) -> Any:
        """Predicts a batch."""
        return self.module.test_step(data)
