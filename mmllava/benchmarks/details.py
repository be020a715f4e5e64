"""Floor 3. What each sample contributed to a benchmark's score, to look at and to compare."""

import math
from collections.abc import Sequence
from typing import Any

from mmllava.benchmarks.item import Benchmark, Item, Scores


def explain(
    benchmark: Benchmark, items: Sequence[Item], answers: Sequence[str | None], scores: Scores
) -> list[dict[str, Any]]:
    """A dict for each item: its ``reference``, and its own part of the first score.

    The part is what the scorer gives that item alone. It is there only where the score
    is the mean of the parts, as an accuracy is, and CIDEr is not.
    """
    rows = [_reference(item.truth) for item in items]
    if benchmark.caption or benchmark.score is None or not scores:
        return rows
    name = next(iter(scores))
    try:
        parts = [
            benchmark.score([item], [answer])[name]
            for item, answer in zip(items, answers, strict=True)
        ]
    except Exception:  # a scorer of pairs or circles cannot take one alone: there are no parts
        return rows
    if not math.isclose(sum(parts) / len(parts), scores[name], rel_tol=1e-6, abs_tol=1e-6):
        return rows
    return [{**row, name: part} for row, part in zip(rows, parts, strict=True)]


def _reference(truth: Any) -> dict[str, Any]:
    """The annotation's answer where it is a text, a number or a list of them."""
    one = truth if isinstance(truth, (list, tuple)) else [truth]
    if not one or not all(isinstance(value, (str, int, float)) for value in one):
        return {}
    return dict(reference=list(one) if isinstance(truth, (list, tuple)) else truth)
