"""Two checkpoints of any layouts, tensor by tensor: equal, equal up to type, different."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmllava.checkpoints.conversion.arithmetic import cast
from mmllava.checkpoints.conversion.stream import compute
from mmllava.checkpoints.layouts.identify import ON_A_BASE
from mmllava.checkpoints.layouts.tensor_plan import TensorPlan
from mmllava.checkpoints.layouts.to_canonical import Source, open_source, to_canonical
from mmllava.checkpoints.storage.reader import readable
from mmllava.checkpoints.storage.tensor_entry import DTYPES
from mmllava.errors import CheckpointError


@dataclass
class Difference:
    """Counts what two checkpoints have in common.

    Args:
        equal: tensors of the same bits.
        up_to_dtype: tensors that are equal once the wider is rounded to the narrower type.
        different: tensors with other values, or another shape.
        only_first, only_second: names that one of them alone has.
        first_different: the first of those that differ, by the original's name.
        max_difference, mean_difference: of all values of all tensors of the same shape.
    """

    equal: int = 0
    up_to_dtype: int = 0
    different: int = 0
    only_first: tuple[str, ...] = ()
    only_second: tuple[str, ...] = ()
    first_different: str | None = None
    max_difference: float = 0.0
    mean_difference: float = 0.0

    @property
    def same(self) -> bool:
        """Tells whether they are the same model, up to the dtype."""
        return not (self.different or self.only_first or self.only_second)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: of names that one alone has, how many."""
        counts = dict(only_first=len(self.only_first), only_second=len(self.only_second))
        return asdict(self) | counts


def compare(
    first: str | Path,
    second: str | Path,
    progress: Callable[[int], None] = lambda _: None,
    base: str | Path | None = None,
) -> Difference:
    """Compares two checkpoints of any layouts by the original's names.

    Args:
        first, second: files or folders.
        progress: called with the bytes of ``first`` that were compared since the last call.
        base: of whichever is a delta, a projector or an adapter.

    Raises:
        CheckpointError: if one cannot be read.
    """
    with readable(first, second, base):
        sources = [open_source(path) for path in (first, second)]
        if base is not None and not any(source.layout in ON_A_BASE for source in sources):
            layouts = ' and '.join(f'{source.path} is {source.layout}' for source in sources)
            raise CheckpointError(f'{layouts}: neither needs a base. Leave out --base.')
        planned = [_moves(source, base) for source in sources]
    return compare_moves(*planned, progress)


def _moves(source: Source, base: str | Path | None) -> dict[str, TensorPlan]:
    path = source.path
    needs = source.layout in ON_A_BASE
    if source.layout == 'clip' or (needs and base is None):
        raise CheckpointError(
            f'{path} is {source.layout}: {source.reason} Two models are compared, in any layout; '
            'what belongs to a base needs --base.'
        )
    return to_canonical(
        source, open_source(base) if needs else None, partial=source.layout == 'llama'
    ).kept


def compare_moves(
    first: dict[str, TensorPlan], second: dict[str, TensorPlan], progress: Callable[[int], None]
) -> Difference:
    """``compare`` for two plans by the same names."""
    found = Difference(
        only_first=tuple(sorted(first.keys() - second.keys())),
        only_second=tuple(sorted(second.keys() - first.keys())),
    )
    names = [n for n in first if n in second and first[n].shape == second[n].shape]
    odd = [n for n in first if n in second and first[n].shape != second[n].shape]
    found.different = len(odd)
    found.first_different = odd[0] if odd else None
    total, count = 0.0, 0
    sums: dict[int, list[float]] = {}
    kinds = [(first[n].dtype, second[n].dtype) for n in names]
    pairs = _pairs([first[n] for n in names], [second[n] for n in names])
    for index, a, b in pairs:
        state = sums.setdefault(index, [True, True, 0.0, 0.0, 0])
        _add(state, a, b, *kinds[index])
        progress(a.nbytes)
    for index, (same, close, largest, amount, values) in sorted(sums.items()):
        total, count = total + amount, count + values
        found.max_difference = max(found.max_difference, largest)
        if same and kinds[index][0] == kinds[index][1]:
            found.equal += 1
        elif close:
            found.up_to_dtype += 1
        else:
            found.different += 1
            found.first_different = found.first_different or names[index]
    found.mean_difference = total / count if count else 0.0
    return found


def _add(state: list, a: np.ndarray, b: np.ndarray, first: str, second: str) -> None:
    """Counts values of one tensor: [same bits, same once rounded, max, sum of differences, N]."""
    state[4] += len(a)
    if first == second and a.tobytes() == b.tobytes():
        return
    wide_a, wide_b = (cast_new(v, kind, 'float64') for v, kind in ((a, first), (b, second)))
    gap = np.abs(wide_a - wide_b)
    state[0] = False
    narrow = min(first, second, key=lambda kind: (DTYPES[kind].itemsize, kind == 'float16'))
    left, right = (cast_new(v, kind, narrow) for v, kind in ((a, first), (b, second)))
    state[1] = state[1] and first != second and bool((left == right).all())
    state[2] = max(state[2], float(gap.max(initial=0.0)))
    state[3] += float(gap.sum())


def cast_new(values: np.ndarray, source: str, target: str) -> np.ndarray:
    """Values in another type, in memory of their own where it is another."""
    return cast(values, source, target, np.empty(8 * values.size, np.uint8))


def _pairs(
    first: list[TensorPlan], second: list[TensorPlan]
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields (position, values, values): equally long pieces of the same place."""
    left, right = compute(first), compute(second)
    a = b = None
    try:
        while True:
            if a is None or not len(a[1]):
                a = next(left)
            if b is None or not len(b[1]):
                b = next(right)
            count = min(len(a[1]), len(b[1]))
            assert a[0].index == b[0].index
            yield a[0].index, a[1][:count], b[1][:count]
            a, b = (a[0], a[1][count:]), (b[0], b[1][count:])
    except StopIteration:
        return
    finally:
        left.close()
        right.close()
