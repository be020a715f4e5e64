"""A benchmark's scorer as mmengine runs it, and the file for its server."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from mmllava.benchmarks.per_sample import explain
from mmllava.benchmarks.registry import get_benchmark
from mmllava.benchmarks.submission import write_submission
from mmllava.errors import ConfigError, DataError
from mmllava.registry import METRICS


@METRICS.register_module()
class BenchmarkMetric(BaseMetric):
    """Scores what a `BenchmarkDataset` asked; the dataset says of which set.

    A sample without an answer (its picture could not be read) is counted as ``failed``. In
    captions it is left out of the scores; anywhere else it counts as wrong.

    Args:
        out_dir: folder for the submission file; None writes none.
        model_id: what that file calls the model, where it names one.
        collect_device: 'cpu' or 'gpu', for gathering results from all ranks.
        prefix: put before each name, as ``prefix/accuracy``.

    Attributes:
        details: after scoring, the ``reference`` of each result that was given.

    Raises:
        ConfigError: the dataset is no BenchmarkDataset.
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
                'BenchmarkMetric scores a mmllava.BenchmarkDataset, and the dataset is another. '
                'Use the metric that belongs to it.'
            )
        items, found = meta['items'], dict(results)
        missing = set(range(len(items))) - set(found)
        if missing:
            raise DataError(
                f'{len(missing)} of {len(items)} samples have no prediction, the first is number '
                f'{min(missing)}. Give the same command again to predict them.'
            )
        answers = [found[number] for number in range(len(items))]
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
                    'judge is sent them, and servers that want a line for each get an empty one. '
                    "Mend what their 'error' says before you send these files.",
                    logger='current',
                    level=logging.WARNING,
                )
        scores = {}
        if benchmark.score and any(item.truth is not None for item in items):
            scores = benchmark.score(items, answers)
        self.details = explain(benchmark, items, answers, scores)
        return {**scores, **(dict(failed=float(failed)) if failed else {})}
