"""What each sample contributed to a benchmark's score, to look at and to compare."""

from collections.abc import Sequence
from typing import Any

from mmllava.benchmarks.types import Benchmark, Item, Scores


def explain(
    benchmark: Benchmark, items: Sequence[Item], answers: Sequence[str | None], scores: Scores
) -> list[dict[str, Any]]:
    """A dict for each item: its ``reference``, and what its own answer got.

    Right or wrong as 100 or 0, VQA's agreement in between, a caption's BLEU, ROUGE-L and
    CIDEr; nothing where a server or a judge has the score.
    """
    rows = [_reference(item.truth) for item in items]
    if benchmark.each is None or not scores:
        return rows
    own = benchmark.each(items, answers)
    return [{**row, **part} for row, part in zip(rows, own, strict=True)]


def _reference(truth: Any) -> dict[str, Any]:
    """The annotation's answer where it is a text, a number or a list of them."""
    one = truth if isinstance(truth, (list, tuple)) else [truth]
    if not one or not all(isinstance(value, (str, int, float)) for value in one):
        return {}
    return dict(reference=list(one) if isinstance(truth, (list, tuple)) else truth)
