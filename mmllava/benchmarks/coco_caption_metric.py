"""The metrics as mmengine runs them: samples are collected here, scored next door."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from mmllava.errors import DataError
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
class COCOCaption(BaseMetric):
    """Caption scores against a COCO annotation file; no Java for the default metrics.

    A drop-in for mmpretrain's metric of this name. Each sample gives
    ``image_id`` (a number or a text) and ``pred_caption``. A sample seen twice
    counts once. A sample whose ``pred_caption`` is None (the picture could not
    be read) is left out of the scores and counted as ``failed_images``.

    Args:
        ann_file: COCO caption annotation file; read with the first batch.
        metrics: any of Bleu, ROUGE_L, CIDEr, METEOR, SPICE. One that cannot run
            is reported in the log and missing from the results.
        collect_device: 'cpu' or 'gpu', for gathering results from all ranks.
        prefix: put before each name, as ``prefix/CIDEr``.

    Attributes:
        details: after scoring, each result's own scores and its ``reference``.

    Raises:
        ConfigError: a metric has an unknown name.
        DataError: the file is no COCO caption file, a sample has no
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
        """Image id -> its references."""
        return read_references(self.ann_file)

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Keeps (image id, caption) of each sample; a wrong file shows in the first batch."""
        for sample in data_samples:
            image_id = sample.get('image_id')
            if hasattr(image_id, 'item'):  # a number of torch or numpy
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
        first = dict(reversed(results))  # of samples with the same id, the first stays
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
            print_log(f'no {metric}: {reason}', logger='current', level=30)  # 30: warning
        # A float, as every score: mmengine writes whole numbers to its log as null.
        counts = dict(failed_images=float(failed_images)) if failed_images else {}
        return {**scores.corpus, **counts}
