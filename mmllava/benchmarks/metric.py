"""Runs the scorers as mmengine metrics, and writes the file for a benchmark's server."""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from mmllava.benchmarks.registry import get_benchmark
from mmllava.benchmarks.scores import explain
from mmllava.benchmarks.submission import write_submission
from mmllava.errors import ConfigError, DataError
from mmllava.metrics.captions import (
    DEFAULT_METRICS,
    ImageId,
    check_metrics,
    match_id,
    read_references,
    score_captions,
)
from mmllava.registry import METRICS


@METRICS.register_module()
class BenchmarkMetric(BaseMetric):
    """Scores the answers to a `BenchmarkDataset`, which says what benchmark it is.

    A sample without an answer (its image could not be read) is counted as ``failed``. Caption
    scores leave it out; everywhere else it counts as wrong.

    Args:
        out_dir: folder for the submission file; None writes none.
        model_id: name of the model in that file, where it has one.
        collect_device: 'cpu' or 'gpu', for gathering results from all ranks.
        prefix: prepended to each name, as ``prefix/accuracy``.

    Attributes:
        details: after scoring, the ``reference`` and scores of each sample.

    Raises:
        ConfigError: the dataset is not a BenchmarkDataset.
        DataError: a sample is missing, or none has an answer.
    """

    def __init__(
        self,
        out_dir: str | None = None,
        model_id: str = 'mmllava',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.out_dir, self.model_id = out_dir, model_id
        self.details: list[dict[str, Any]] = []

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Keeps (number, answer) of each sample."""
        for sample in data_samples:
            number = sample.get('index', sample.get('sample_idx'))
            answer = sample.get('pred_answer')
            answer = sample.get('pred_caption') if answer is None else answer
            self.results.append((number, answer))

    def compute_metrics(self, results: list[tuple[int, str | None]]) -> dict[str, float]:
        """Scores the samples of all ranks, and writes the submission file."""
        meta = self.dataset_meta or {}
        if 'items' not in meta:
            raise ConfigError(
                'BenchmarkMetric scores a mmllava.BenchmarkDataset, but the dataset is another. '
                'Use the metric that belongs to it.'
            )
        items, by_number = meta['items'], dict(results)
        missing = set(range(len(items))) - set(by_number)
        if missing:
            raise DataError(
                f'{len(missing)} of {len(items)} samples have no prediction, the first is number '
                f'{min(missing)}. Run the same command again to predict them.'
            )
        answers = [by_number[number] for number in range(len(items))]
        self.details = [dict(reference=items[number].truth) for number, _ in results]
        failed = sum(answer is None for answer in answers)
        if failed == len(items):
            raise DataError(
                f'none of {failed} samples has an answer, so there is nothing to score. '
                "The reason of each is in its 'error'."
            )
        benchmark = get_benchmark(meta['benchmark'])
        if self.out_dir is not None and benchmark.submit:
            rest = meta.get('unasked', [])
            every = [*answers, *[None] * len(rest)]
            files = benchmark.files([*items, *rest], every, self.model_id)
            for path in write_submission(files, Path(self.out_dir)):
                print_log(f'submission: {path}', logger='current')
            if failed:
                ids = [i.id for i, a in zip(items, answers, strict=True) if a is None][:5]
                print_log(
                    f'{failed} of {len(items)} samples have no answer, the first are {ids}: no '
                    'judge is sent them, and servers that expect a line for each get an empty '
                    "one. Correct what their 'error' says before you submit these files.",
                    logger='current',
                    level=logging.WARNING,
                )
        scores = {}
        if benchmark.score and any(item.truth is not None for item in items):
            scores = benchmark.score(items, answers)
        self.details = explain(benchmark, items, answers, scores)
        return {**scores, **(dict(failed=float(failed)) if failed else {})}


@METRICS.register_module()
class COCOCaption(BaseMetric):
    """Caption scores against a COCO annotation file; no Java for the default metrics.

    A drop-in for mmpretrain's metric of this name. Each sample gives
    ``image_id`` (a number or a string) and ``pred_caption``. A sample seen twice
    counts once. A sample whose ``pred_caption`` is None (the image could not
    be read) is left out of the scores and counted as ``failed_images``.

    Args:
        ann_file: COCO caption annotation file; read with the first batch.
        metrics: any of Bleu, ROUGE_L, CIDEr, METEOR, SPICE. One that cannot run
            is reported in the log and missing from the results.
        collect_device: 'cpu' or 'gpu', for gathering results from all ranks.
        prefix: prepended to each name, as ``prefix/CIDEr``.

    Attributes:
        details: after scoring, the ``reference`` and scores of each result.

    Raises:
        ConfigError: a metric has an unknown name.
        DataError: the file is not a COCO caption file, a sample has no
            ``image_id`` or one without references, or no sample has a caption.
    """

    def __init__(
        self,
        ann_file: str,
        metrics: Sequence[str] = DEFAULT_METRICS,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        check_metrics(metrics)
        self.ann_file = ann_file
        self.metrics = tuple(metrics)
        self.details: list[dict[str, Any]] = []

    @cached_property
    def references(self) -> dict[ImageId, list[str]]:
        """Maps image ids to their references."""
        return read_references(self.ann_file)

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Keeps (image id, caption) of each sample; a wrong file is refused in the first batch."""
        for sample in data_samples:
            image_id = sample.get('image_id')
            if hasattr(image_id, 'item'):  # a scalar of torch or numpy
                image_id = image_id.item()
            if image_id is None:
                raise DataError(
                    "a sample has no 'image_id', by which COCOCaption finds its references. "
                    "Put it into meta_keys of the pipeline's PackInputs."
                )
            self.results.append((match_id(image_id, self.references), sample.get('pred_caption')))

    def compute_metrics(self, results: list[tuple[ImageId, str | None]]) -> dict[str, float]:
        """Scores the samples of all ranks.

        Returns:
            Bleu_1 ... Bleu_4 and ROUGE_L in 0..1, CIDEr in 0..10, and
            ``failed_images`` when there are any.
        """
        first = dict(reversed(results))  # the first of samples with the same id
        captions = {key: first[key] for key in first if first[key] is not None}
        failed_images = len(first) - len(captions)
        if not captions:
            raise DataError(
                f'none of {len(first)} samples has a caption, so there is nothing to score. '
                "The reason of each is in its 'error'."
            )
        scores = score_captions(self.references, captions, self.metrics)
        self.details = [
            {**scores.per_image.get(key, {}), 'reference': self.references[key]}
            for key, _ in results
        ]
        for metric, reason in scores.failed.items():
            print_log(f'no {metric}: {reason}', logger='current', level=logging.WARNING)
        # A float, as every score: mmengine writes whole numbers to its log as null.
        counts = dict(failed_images=float(failed_images)) if failed_images else {}
        return {**scores.corpus, **counts}
