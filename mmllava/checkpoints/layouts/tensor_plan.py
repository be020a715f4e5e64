"""A plan is a list of moves: where each tensor of the result comes from.

A move's values are its parts one after the other, each computed from tensors on disk.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from mmllava.checkpoints.storage.tensor_entry import TensorEntry, nbytes_of
from mmllava.errors import CheckpointError

Entries = Mapping[str, TensorEntry]
FLOATS = ('float16', 'bfloat16', 'float32', 'float64')


@dataclass(frozen=True)
class Piece:
    """Values that lie together in a result.

    Args:
        how: ``copy`` sources[0]; ``add`` sources[0] + sources[1] in float16;
            ``subtract`` sources[0] - sources[1] in float16; ``lora`` sources[0] + scale *
            (B @ A) in float32, sources being (weight, A, B); ``mean`` of the rows of sources[0].
        sources: where the bytes lie. The first of ``copy``, ``add``, ``subtract`` and
            ``lora`` has the part's shape.
        shape: of the part.
        scale: of a ``lora`` part.
    """

    how: str
    sources: tuple[TensorEntry, ...]
    shape: tuple[int, ...]
    scale: float = 1.0


@dataclass(frozen=True)
class TensorPlan:
    """The plan of one tensor of the result.

    Args:
        name: in the result; for a dropped one, in its source.
        how: one word for people: ``added`` base + delta; ``grown`` the same, and further
            rows; ``passthrough`` as its only source has it; ``subtracted``, ``lora``,
            ``padded``, ``cut``, ``joined``; ``drop``.
        dtype: of the result.
        shape: of the result.
        parts: what it is made of; row-major, one after the other.
    """

    name: str
    how: str
    dtype: str
    shape: tuple[int, ...]
    parts: tuple[Piece, ...]

    @property
    def nbytes(self) -> int:
        """Bytes it takes in the result."""
        return 0 if self.how == 'dropped' else nbytes_of(self.dtype, self.shape)

    @property
    def sources(self) -> tuple[TensorEntry, ...]:
        """Every tensor on disk that it is made of."""
        return tuple(entry for part in self.parts for entry in part.sources)


def passthrough(name: str, entry: TensorEntry, dtype: str | None = None) -> TensorPlan:
    """A tensor as its only source has it, under a name."""
    return TensorPlan(name, 'whole', dtype or entry.dtype, entry.shape, (copy(entry),))


def drop(name: str, entry: TensorEntry) -> TensorPlan:
    """A tensor that the result does not have."""
    return TensorPlan(name, 'dropped', entry.dtype, entry.shape, (copy(entry),))


def copy(entry: TensorEntry) -> Piece:
    """The part that is a tensor as it lies on disk."""
    return Piece('copy', (entry,), entry.shape)


def entry_rows(entry: TensorEntry, start: int, stop: int) -> TensorEntry:
    """Rows ``start:stop`` of a tensor, as a tensor of its own."""
    size = entry.nbytes // max(entry.shape[0], 1)
    return replace(
        entry,
        shape=(stop - start, *entry.shape[1:]),
        offset=entry.offset + start * size,
        nbytes=(stop - start) * size,
    )


def rows(parts: tuple[Piece, ...], start: int, stop: int) -> tuple[Piece, ...]:
    """Rows ``start:stop`` of what parts make together.

    Raises:
        CheckpointError: if a part cannot be cut.
    """
    found, at = [], 0
    for part in parts:
        count = part.shape[0]
        first, last = max(start - at, 0), min(stop - at, count)
        at += count
        if first >= last:
            continue
        if (first, last) == (0, count):
            found.append(part)
            continue
        if part.how not in ('copy', 'add', 'subtract', 'lora'):
            raise CheckpointError(
                f'{part.sources[0].name} is made by {part.how}, and rows of it would have to be '
                'cut. Write the model first, then convert the result.'
            )
        whole = part.sources[1] if part.how == 'lora' else None  # A: its rows are ranks
        sources = tuple(e if e is whole else entry_rows(e, first, last) for e in part.sources)
        found.append(Piece(part.how, sources, (last - first, *part.shape[1:]), part.scale))
    return tuple(found)


def join(parts: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Parts that lie one after the other on disk, as one; the rest as they are."""
    made: list[Piece] = []
    for part in parts:
        last = made[-1] if made else None
        if last and last.how == part.how == 'copy' and _follows(last.sources[0], part.sources[0]):
            a, b = last.sources[0], part.sources[0]
            shape = (a.shape[0] + b.shape[0], *a.shape[1:])
            made[-1] = copy(replace(a, shape=shape, nbytes=a.nbytes + b.nbytes))
        else:
            made.append(part)
    return tuple(made)


def _follows(a: TensorEntry, b: TensorEntry) -> bool:
    same = (a.file, a.dtype, a.shape[1:]) == (b.file, b.dtype, b.shape[1:])
    return same and a.offset + a.nbytes == b.offset


def disk_order(move: TensorPlan) -> tuple[str, int]:
    """A key that sorts moves as their first sources lie; it spares the disk a search."""
    return str(move.sources[0].file), move.sources[0].offset


def count_moves(moves: list[TensorPlan]) -> dict[str, int]:
    """Counts the tensors of a plan by what becomes of them: added, grown, whole, dropped, ..."""
    counts = Counter(move.how for move in moves)
    always = ('added', 'grown', 'whole', 'dropped')
    others = sorted(counts.keys() - set(always))
    return {how: counts[how] for how in (*always[:3], *others, always[3])}


def preview(names: Mapping[str, object] | list[str]) -> str:
    """The first three of many names."""
    names = list(names)
    return ', '.join(names[:3]) + (f' and {len(names) - 3} more' if len(names) > 3 else '')
