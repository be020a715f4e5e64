"""Floor 3. Means in percent, over all and by group."""

from collections.abc import Sequence

from mmllava.benchmarks.item import Item, Scores


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
