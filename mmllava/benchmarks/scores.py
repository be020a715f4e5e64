"""Means in percent, over all and by group."""

from collections.abc import Callable, Sequence

from mmllava.benchmarks.types import Answers, Item, Scores


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


def alone(
    score: Callable[[Sequence[Item], Answers], Scores],
) -> Callable[[Sequence[Item], Answers], list[Scores]]:
    """What each sample gets by itself, of a scorer whose ``accuracy`` is the mean of that."""

    def each(items: Sequence[Item], answers: Answers) -> list[Scores]:
        pairs = zip(items, answers, strict=True)
        return [dict(accuracy=score([item], [answer])['accuracy']) for item, answer in pairs]

    return each
