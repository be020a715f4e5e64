"""Computes means in percent over all samples and by group, and scores per sample."""

from collections.abc import Callable, Sequence
from typing import Any

from mmllava.benchmarks.types import Answers, Benchmark, Item, Scores


def percent(values: Sequence[float]) -> float:
    """Computes the mean of values in 0..1, in percent."""
    return 100 * sum(values) / len(values)


def by_group(items: Sequence[Item], values: Sequence[float], kind: str | None = None) -> Scores:
    """Computes the mean of each group in percent, in the order of the items.

    Args:
        items: with ``groups``.
        values: one for each item, in 0..1.
        kind: the kind of group; None takes all.
    """
    by_name: dict[str, list[float]] = {}
    for item, value in zip(items, values, strict=True):
        for name, group in item.groups.items():
            if kind in (None, name):
                by_name.setdefault(group, []).append(value)
    return {group: percent(members) for group, members in by_name.items()}


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
    """Returns for each item its ``reference`` and the scores of its answer.

    A score is 100 or 0, for VQA values in between, for captions BLEU, ROUGE-L and CIDEr;
    there is none where a server or a judge scores.
    """
    references = [_reference(item.truth) for item in items]
    if benchmark.per_sample is None or not scores:
        return references
    each = benchmark.per_sample(items, answers)
    return [{**reference, **own} for reference, own in zip(references, each, strict=True)]


def _reference(truth: Any) -> dict[str, Any]:
    """Returns the annotated answer if it is a string, a number or a list of them."""
    values = truth if isinstance(truth, (list, tuple)) else [truth]
    if not values or not all(isinstance(value, (str, int, float)) for value in values):
        return {}
    return dict(reference=list(values) if isinstance(truth, (list, tuple)) else truth)
