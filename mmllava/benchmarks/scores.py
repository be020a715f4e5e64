"""Means in percent, over all and by group; what each sample contributed to them."""

from collections.abc import Callable, Sequence
from typing import Any

from mmllava.benchmarks.types import Answers, Benchmark, Item, Scores


def percent(values: Sequence[float]) -> float:
    """Their mean, times 100."""
    return 100 * sum(values) / len(values)


def by_group(items: Sequence[Item], values: Sequence[float], kind: str | None = None) -> Scores:
    """The mean of each group, in percent, in the order of the items.

    Args:
        items: with ``groups``.
        values: one for each, in 0..1.
        kind: of this kind of group only.
    """
    own: dict[str, list[float]] = {}
    for item, value in zip(items, values, strict=True):
        for name, group in item.groups.items():
            if kind in (None, name):
                own.setdefault(group, []).append(value)
    return {group: percent(found) for group, found in own.items()}


def per_sample(
    score: Callable[[Sequence[Item], Answers], Scores],
) -> Callable[[Sequence[Item], Answers], list[Scores]]:
    """Scores every sample by itself, with a scorer whose ``accuracy`` is the mean over samples."""

    def score_each(items: Sequence[Item], answers: Answers) -> list[Scores]:
        pairs = zip(items, answers, strict=True)
        return [dict(accuracy=score([item], [answer])['accuracy']) for item, answer in pairs]

    return score_each


def explain(
    benchmark: Benchmark, items: Sequence[Item], answers: Sequence[str | None], scores: Scores
) -> list[dict[str, Any]]:
    """A dict for each item: its ``reference``, and what its own answer got.

    Right or wrong as 100 or 0, VQA's agreement in between, a caption's BLEU, ROUGE-L and
    CIDEr; nothing where a server or a judge has the score.
    """
    rows = [_reference(item.truth) for item in items]
    if benchmark.per_sample is None or not scores:
        return rows
    own = benchmark.per_sample(items, answers)
    return [{**row, **part} for row, part in zip(rows, own, strict=True)]


def _reference(truth: Any) -> dict[str, Any]:
    """The annotation's answer where it is a text, a number or a list of them."""
    one = truth if isinstance(truth, (list, tuple)) else [truth]
    if not one or not all(isinstance(value, (str, int, float)) for value in one):
        return {}
    return dict(reference=list(one) if isinstance(truth, (list, tuple)) else truth)
