"""Runs mmengine's test loop so that a kill, a bad image or a failing metric loses no answer."""

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

from mmllava.apis.inferencers import save_drawing
from mmllava.benchmarks.protocols import FollowUp
from mmllava.errors import ConfigError, DataError, ImageError, PromptError
from mmllava.evaluation.prediction_store import (
    ID_FIELDS,
    PredictionFile,
    SampleId,
    file_signature,
    sample_ids,
    to_python,
)
from mmllava.evaluation.run_metadata import environment, make_protocol, make_scoring, open_metadata
from mmllava.evaluation.runs import ANSWERS, METADATA, SAMPLES, answer_of
from mmllava.images.annotate import annotate
from mmllava.images.load import load_image
from mmllava.io import write_json, write_json_lines
from mmllava.models import Llava
from mmllava.registry import HOOKS, LOOPS

#: number of first samples that may all fail before the run is given up
MAX_FIRST_FAILURES = 16


@LOOPS.register_module()
class ResumableTestLoop(TestLoop):
    """Predicts the samples that have no prediction yet, then scores all.

    Each batch is appended to ``predictions-RANK.jsonl`` in the work folder as it is done; the
    same command resumes from there, with any number of processes. A sample that failed, or
    whose image changed, is asked again. The samples are divided among the processes, each to
    exactly one, long questions first. A work folder holds one protocol, recorded in
    ``run.json``; a run of another protocol is refused.

    At the end ``predictions.json`` holds the answers, written before any metric is computed;
    then ``samples.jsonl`` holds every sample in the order of the dataset, and ``run.json`` the
    scores. A metric may have an attribute ``details``: a dict for each result that it was
    given, with the sample's scores and its ``reference``; they go to ``samples.jsonl``.

    Args:
        runner, dataloader, evaluator, fp16: as mmengine's ``TestLoop``.
    """

    def __init__(self, runner: Runner, dataloader: Any, evaluator: Any, fp16: bool = False) -> None:
        self._loader_config = dict(dataloader)
        self._scoring = runner.cfg.get('test_evaluator')
        super().__init__(runner, dataloader, evaluator, fp16)
        self.rank, self.world_size = get_dist_info()
        self.records: list[dict[str, Any]] = []
        self.metadata: dict[str, Any] = {}
        self.folder = Path(runner.work_dir)
        self.file = PredictionFile(self.folder, self.rank)

    def run(self) -> dict[str, Any]:
        """Predicts, writes and scores; returns the metrics."""
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        self.runner.model.eval()
        for metric in self.evaluator.metrics:
            getattr(metric, 'references', None)  # a wrong annotation file fails now, not at the end
        dataset = self.dataloader.dataset
        infos = [_info(dataset.get_data_info(k)) for k in range(len(dataset))]
        if not infos:
            raise DataError(
                'the test set has no sample, expected one or more. Check its annotation file.'
            )
        ids = sample_ids(infos)
        if self.rank == 0:
            self._open_metadata(
                [(i, info.get('question')) for i, info in zip(ids, infos, strict=True)]
            )
        barrier()  # no process continues before the protocol is accepted
        done = self.file.read()
        barrier()  # no process writes before all have read
        todo = [k for k, i in enumerate(ids) if not _is_done(done.get(i), infos[k])]
        todo.sort(key=lambda k: -_length(infos[k]))
        self._predict(todo[self.rank :: self.world_size], ids, infos, len(ids) - len(todo))
        barrier()
        self._gather(ids, infos)
        metrics = self._score()
        self.runner.call_hook('after_test_epoch', metrics=metrics)
        self.runner.call_hook('after_test')
        return metrics

    def _open_metadata(self, questions: Sequence[tuple[SampleId, str | None]]) -> None:
        """Writes ``run.json``, after checking the protocol of one that is there."""
        model = getattr(self.runner.model, 'module', self.runner.model)
        if not isinstance(model, Llava):
            raise ConfigError(
                f'this loop scores mmllava.Llava, and the model is {type(model).__name__}. For '
                "others, set test_cfg=dict(type='TestLoop')."
            )
        dataset = self.dataloader.dataset
        protocol = make_protocol(model, self.runner.cfg, dataset, questions, self.fp16)
        now = environment(self._loader_config.get('batch_size'), self.world_size)
        self.metadata = open_metadata(self.folder, protocol, now)
        self.metadata['scoring'] = make_scoring(self._scoring, self.evaluator.metrics)
        write_json(self.folder / METADATA, self.metadata)

    def _step(self, batch: Mapping[str, Sequence[Any]]) -> list[BaseDataElement]:
        """Predicts a batch; if that fails, each sample alone, with the reason as its ``error``.

        An error that concerns all samples (a setting, a missing tokenizer) ends the run.
        """
        try:
            return self._ask(batch)
        except (PromptError, torch.OutOfMemoryError):
            outputs = []
            for number, sample in enumerate(batch['data_samples']):
                alone = {key: value[number : number + 1] for key, value in batch.items()}
                try:
                    outputs += self._ask(alone)
                except (PromptError, torch.OutOfMemoryError) as error:
                    sample.set_field(str(error), 'error')
                    outputs.append(sample)
            return outputs

    def _ask(self, batch: Mapping[str, Sequence[Any]]) -> list[BaseDataElement]:
        """Predicts a batch, twice where the protocol has a follow-up."""
        outputs = self.runner.model.test_step(batch)
        protocol = getattr(self.dataloader.dataset, 'protocol', None)
        if protocol is None or protocol.follow_up is None:
            return outputs
        return ask_follow_up(self.runner.model, batch, outputs, protocol.follow_up)

    @torch.no_grad()
    def _predict(
        self,
        todo: Sequence[int],
        ids: Sequence[SampleId],
        infos: Sequence[Mapping[str, Any]],
        num_done: int,
    ) -> None:
        """Predicts the samples of this process and appends them to its file."""
        start, number, all_failed = time.perf_counter(), 0, not num_done
        before = num_done // self.world_size  # process 0 shows its own share
        bar = tqdm(total=before + len(todo), initial=before, unit='img', disable=self.rank > 0)
        for step, batch in enumerate(self._loader(todo)):
            self.runner.call_hook('before_test_iter', batch_idx=step, data_batch=batch)
            with autocast(enabled=self.fp16):
                outputs = self._step(batch)
            numbers = todo[number : number + len(outputs)]
            records = [
                to_record(ids[k], out, infos[k]) for k, out in zip(numbers, outputs, strict=True)
            ]
            self.file.append(records)
            number += len(outputs)
            bar.update(len(outputs))
            self.runner.call_hook(
                'after_test_iter', batch_idx=step, data_batch=batch, outputs=outputs
            )
            all_failed = all_failed and all('error' in record for record in records)
            if all_failed and number >= min(MAX_FIRST_FAILURES, len(todo)):
                raise DataError(
                    f'the first {number} samples all failed, so the rest would too. The last: '
                    f'{records[-1]["error"]}'
                )
        bar.close()
        seconds = time.perf_counter() - start
        if number:
            rate = number / seconds
            self.metadata['speed'] = dict(images=number, seconds=seconds, images_per_second=rate)
            self.runner.logger.info(
                f'{number} images in {seconds:.1f} s: {rate:.2f} images/s'
                + (f' ({num_done} were done before)' if num_done else '')
            )

    def _loader(self, todo: Sequence[int]) -> Iterable[dict]:
        """Builds the config's data loader over these samples only."""
        if not todo:
            return []
        config = dict(self._loader_config, dataset=self.dataloader.dataset, sampler=list(todo))
        config.setdefault('collate_fn', dict(type='pseudo_collate'))
        if not config.get('num_workers'):
            config.pop('persistent_workers', None)  # torch refuses it without workers
        return self.runner.build_dataloader(config)

    def _gather(self, ids: Sequence[SampleId], infos: Sequence[Mapping[str, Any]]) -> None:
        """Reads the predictions of all processes, in the order of the dataset, and counts them.

        ``predictions.json`` is in COCO's results format. Failed samples are logged.
        """
        stored = self.file.read()
        self.records = [{**stored[i], 'index': k} for k, i in enumerate(ids) if i in stored]
        if self.rank == 0:
            failed = [record for record in self.records if record.get('error')]
            self.metadata['counts'] = dict(
                samples=len(ids),
                predicted=len(self.records) - len(failed),
                failed=len(failed),
                missing=len(ids) - len(self.records),
            )
            write_json(self.folder / 'predictions.json', to_coco_results(self.records))
            write_json(self.folder / METADATA, self.metadata)
            self.runner.logger.info(f'predictions: {self.folder / "predictions.json"}')
            for record in failed:
                self.runner.logger.warning(f'no prediction: {record["error"]}')
            if failed:
                self.runner.logger.warning(f'{len(failed)} of {len(ids)} samples failed')
        missing = [i for i in ids if i not in stored]
        if missing:
            raise DataError(
                f'{len(missing)} of {len(ids)} samples have no prediction, the first is '
                f'{missing[0]!r}. Is {self.folder} one folder for all processes?'
            )

    def _score(self) -> dict[str, Any]:
        """Scores each process's share and writes the scores of every sample."""
        total = len(self.records)
        self.evaluator.process(data_samples=take_share(self.records, self.rank, self.world_size))
        metrics = self.evaluator.evaluate(total)
        if self.rank == 0:
            samples = [{k: v for k, v in r.items() if k != 'index'} for r in self.records]
            for metric in self.evaluator.metrics:
                for sample, details in zip(samples, getattr(metric, 'details', ()), strict=False):
                    scores = {key: to_python(value) for key, value in details.items()}
                    sample.setdefault('reference', scores.pop('reference', None))
                    sample.setdefault('scores', {}).update(scores)
            write_json_lines(self.folder / SAMPLES, samples)
            self.metadata['scores'] = {key: to_python(value) for key, value in metrics.items()}
            write_json(self.folder / METADATA, self.metadata)
        return metrics


def ask_follow_up(
    model: Any,
    batch: Mapping[str, Sequence[Any]],
    outputs: Sequence[BaseDataElement],
    follow_up: FollowUp,
) -> list[BaseDataElement]:
    """Continues each answer of a batch with the follow-up and joins both answers."""
    firsts = [sample.get('pred_answer') for sample in outputs]
    model, samples = getattr(model, 'module', model), batch['data_samples']
    for sample, first in zip(samples, firsts, strict=True):
        sample.set_field('' if first is None else first + follow_up.prompt, 'begun')
    try:
        data = model.data_preprocessor(batch, False)
        outputs = model(**data, mode='predict', max_new_tokens=follow_up.max_new_tokens)
    finally:
        for sample in samples:
            sample.pop('begun')
    for sample, first in zip(outputs, firsts, strict=True):
        if first is not None:
            sample.set_field(first + follow_up.separator + sample.get('pred_answer'), 'pred_answer')
        sample.pop('begun', None)
    return outputs


def take_share(records: Sequence[Any], rank: int, world_size: int) -> list[Any]:
    """Returns every ``world_size``-th record from ``rank`` on.

    The shares are of equal length, as mmengine's gathering needs: the first records are
    repeated at the end.
    """
    count = -(-len(records) // world_size)
    return [records[(rank + k * world_size) % len(records)] for k in range(count)]


def _info(info: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that the loop needs; a test set may have 200,000 samples."""
    return {key: info.get(key) for key in (*ID_FIELDS, 'question')}


def _is_done(record: Mapping[str, Any] | None, info: Mapping[str, Any]) -> bool:
    """Tells whether there is an answer and the image has not changed since."""
    if not record or record.get('error'):
        return False
    return record.get('image') == file_signature(info.get('img_path'))


def _length(info: Mapping[str, Any]) -> int:
    """Estimates a prompt's length in characters; an image is hundreds of tokens."""
    path = info.get('img_path')
    images = len(path) if isinstance(path, (list, tuple)) else 1
    return 2000 * images + len(str(info.get('question') or ''))


def to_record(id_: SampleId, sample: BaseDataElement, info: Mapping[str, Any]) -> dict[str, Any]:
    """Converts a predicted sample to a JSON record: its plain values and its image's signature."""
    values = {
        k: to_python(v) for k, v in sorted(sample.all_items())
    }  # all_items() is in random order
    kept = {k: v for k, v in values.items() if isinstance(v, (str, int, float, type(None)))}
    if answer_of(kept) is None:  # an empty answer would be scored
        kept.setdefault('error', 'the model gave no answer, and no reason')
    return {**kept, 'id': id_, 'image': file_signature(info.get('img_path'))}


def to_coco_results(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Converts records to the results format of COCO and VQA; failed samples are left out."""
    results = []
    for record in records:
        for field, key, name in (
            ('pred_caption', 'image_id', 'caption'),
            ('pred_answer', 'question_id', 'answer'),
        ):
            if record.get(field) is not None:
                id_ = record.get(key)
                id_ = int(id_) if isinstance(id_, str) and id_.isdigit() else id_
                results.append({key: id_, name: record[field]})
    return results


@HOOKS.register_module()
class DrawPredictionsHook(Hook):
    """Draws images with their captions or answers below (``--show``, ``--show-dir``).

    Args:
        folder: where PNG files are saved; None saves none.
        show: open each in the system's viewer.
        interval: draw every N-th sample.
    """

    def __init__(self, folder: str | None = None, show: bool = False, interval: int = 1) -> None:
        self.folder = Path(folder) if folder else None
        self.show, self.interval, self.count = show, max(interval, 1), 0
        self.without_image = 0  # answers to samples without an image

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draws every N-th sample of those in the batches so far."""
        for sample in outputs or ():
            self.count += 1
            text = next((sample.get(k) for k in ANSWERS if sample.get(k)), None)
            if (self.count - 1) % self.interval or text is None:
                continue
            source = _source(runner, sample)
            if not source:
                self.without_image += 1
                continue
            try:
                drawing = annotate(load_image(source), text)
            except ImageError as error:
                runner.logger.warning(f'not drawn: {error}')
                continue
            if self.folder:
                path, id_ = sample.get('img_path'), sample.get('question_id')
                save_drawing(drawing, path or None, self.folder, self.count, id_)
            if self.show:
                drawing.show()

    def after_test(self, runner: Runner) -> None:
        """Logs the number of answers that could not be drawn."""
        if self.without_image:
            runner.logger.warning(f'not drawn: {self.without_image} answers, which have no image')


def _source(runner: Runner, sample: BaseDataElement) -> Any:
    """Returns the image's path, or its bytes if it is inside the annotation file."""
    index = sample.get('sample_idx')
    if sample.get('img_path') or index is None:
        return sample.get('img_path')
    return runner.test_loop.dataloader.dataset.get_data_info(index).get('img')


class ReplicatedModel(nn.Module):
    """Wraps one whole model per process; testing has no gradients to reduce.

    mmengine's default, DDP, would allocate buckets as large as the model.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def test_step(self, data: Any) -> Any:
        """Predicts a batch."""
        return self.module.test_step(data)
