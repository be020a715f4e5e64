"""Carry out a plan a few megabytes at a time: read, count, compute and write at once.

Memory is ``IN_FLIGHT`` slots, whatever the model's size, and they are used again and
again: asking the system for fresh pages for every piece costs as much as the sums.
Pieces are read with pread, not through mappings, so that a system's count of this
process's memory stays what the process needs.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from threading import local
from typing import NamedTuple

import numpy as np

from mmllava.checkpoints.conversion.arithmetic import (
    MEAN_ROWS,
    Adapters,
    HalfAdder,
    add_half,
    all_finite,
    cast,
    one_thread,
    row_mean,
)
from mmllava.checkpoints.layouts.tensor_plan import Piece, TensorPlan
from mmllava.checkpoints.storage.checksums import FileSums
from mmllava.checkpoints.storage.direct_io import PAGE, open_files, pages, read_values, read_whole
from mmllava.checkpoints.storage.writer import Sink
from mmllava.errors import CheckpointError

PIECE_VALUES = 1 << 20  # values of a tensor handled at a time: 2 MiB in float16
WORKERS = 2  # to read, and as many to compute; one counts sums, in order
IN_FLIGHT = 16  # pieces read ahead of the writer; a busy machine wakes threads late


class Slice(NamedTuple):
    """Values ``start:stop`` of one piece of the plan of tensor ``index``."""

    index: int
    move: TensorPlan
    part: Piece
    start: int
    stop: int
    first: bool  # of its tensor
    last: bool


class PerThread(local):
    """A value that each thread makes once, for itself."""

    def __init__(self, make: Callable[[], Adapters]) -> None:
        self._made = make()

    def get(self) -> Adapters:
        """This thread's own."""
        return self._made


class _Slot:
    """The memory that one piece needs: two sources and a result."""

    def __init__(self) -> None:
        # Room for the widest type; pages that are never touched take no memory.
        self.sources = [pages(8 * PIECE_VALUES + 2 * PAGE) for _ in 'ab']
        self.result, self.spare = (pages(8 * PIECE_VALUES + 2 * PAGE) for _ in 'ab')
        self.adder = HalfAdder()


def execute(
    moves: list[TensorPlan],
    sink: Sink,
    progress: Callable[[int], None],
    finished: Callable[[int, str], None] = lambda index, digest: None,
    sums: FileSums | None = None,
    begin: int = 0,
) -> None:
    """Writes the result of every move; the caller closes the sink.

    Args:
        moves: in the order of the sink's layout, without dropped ones.
        sink: where the tensors go; aborted on an error.
        progress: called with the bytes written since the last call.
        finished: called with a tensor's position and SHA-256 once the system has its bytes.
        sums: counts the sums of the source files along the way.
        begin: position of the first move to be written; those before are there.

    Raises:
        CheckpointError: if a result is NaN or infinite (the tensor is named), or a
            source became shorter meanwhile.
    """
    try:
        digest = hashlib.sha256()
        with closing(compute(moves, sums, begin)) as results:
            for piece, data in results:
                if piece.first:
                    sink.begin(piece.index)
                    digest = hashlib.sha256()
                raw = memoryview(data.view(np.uint8))
                sink.write(raw)
                digest.update(raw)
                if piece.last:
                    sink.flush()
                    finished(piece.index, digest.hexdigest())
                progress(data.nbytes)
    except BaseException:
        sink.abort()
        raise


def compute(
    moves: list[TensorPlan], sums: FileSums | None = None, begin: int = 0
) -> Iterator[tuple[Slice, np.ndarray]]:
    """Yields each piece with its values, in order; they hold until the next piece is asked for."""
    slots = [_Slot() for _ in range(IN_FLIGHT)]
    waiting: deque[tuple[Slice, _Slot, Future[np.ndarray]]] = deque()
    files = {entry.file for move in moves[begin:] for entry in move.sources}
    with ExitStack() as stack:
        handles = stack.enter_context(open_files(files))
        readers, counter, computers = (
            stack.enter_context(ThreadPoolExecutor(n)) for n in (WORKERS, 1, WORKERS)
        )
        if any(part.how == 'lora' for move in moves[begin:] for part in move.parts):
            stack.enter_context(one_thread())
        adapters = PerThread(lambda: Adapters(lambda entry: read_whole(entry, handles)))

        def count(piece: Slice, reading: Future) -> list[np.ndarray]:
            sources = reading.result()
            if sums:
                for entry, values in zip(piece.part.sources, sources, strict=False):
                    at = entry.offset + piece.start * values.itemsize
                    sums.feed(entry.file, at, memoryview(values.view(np.uint8)))
            return sources

        def compute(piece: Slice, counting: Future, slot: _Slot) -> np.ndarray:
            return _compute(piece.move, piece, counting.result(), slot, adapters, handles)

        try:
            for piece in pieces(moves, begin):
                if not slots:
                    yield _first(waiting, slots)
                slot = slots.pop()
                reading = readers.submit(_read, piece, slot, handles)
                counting = counter.submit(count, piece, reading)
                waiting.append((piece, slot, computers.submit(compute, piece, counting, slot)))
            while waiting:
                yield _first(waiting, slots)
        except BaseException:  # a Ctrl-C waits for the pieces that are begun
            for pool in (readers, counter, computers):
                pool.shutdown(wait=False, cancel_futures=True)
            raise


def _first(waiting: deque, slots: list[_Slot]) -> tuple[Slice, np.ndarray]:
    """The piece that was begun first; its slot is free once the next one is asked for."""
    piece, slot, future = waiting.popleft()
    data = future.result()
    slots.append(slot)
    return piece, data


def pieces(moves: list[TensorPlan], begin: int = 0) -> Iterator[Slice]:
    """Cuts tensors into pieces; an empty tensor is one piece."""
    for index, move in enumerate(moves[begin:], begin):
        cuts = []
        for part in move.parts:
            count = int(np.prod(part.shape, dtype=np.int64))
            cuts += [(part, at, min(at + PIECE_VALUES, count)) for at in _starts(count)]
        for k, (part, start, stop) in enumerate(cuts):
            yield Slice(index, move, part, start, stop, k == 0, k == len(cuts) - 1)


def _starts(count: int) -> range:
    return range(0, max(count, 1), PIECE_VALUES)


def _read(piece: Slice, slot: _Slot, handles: dict[Path, int]) -> list[np.ndarray]:
    """The values of the sources that have the shape of the part."""
    part = piece.part
    if part.how == 'mean':
        return []
    sources = part.sources[:1] if part.how in ('copy', 'lora') else part.sources
    return [
        read_values(entry, piece.start, piece.stop, handles, memory)
        for entry, memory in zip(sources, slot.sources, strict=False)
    ]


def _compute(
    move: TensorPlan,
    piece: Slice,
    sources: list[np.ndarray],
    slot: _Slot,
    adapters: PerThread,
    handles: dict[Path, int],
) -> np.ndarray:
    """The piece's values in the move's type."""
    part = piece.part
    kinds = [entry.dtype for entry in part.sources]
    finite = True
    if part.how == 'copy':
        values, kind = sources[0], kinds[0]
    elif part.how in ('add', 'subtract'):
        sign = 1 if part.how == 'add' else -1
        total = cast(sources[0], kinds[0], 'float16', slot.result)
        other = cast(sources[1], kinds[1], 'float16', slot.spare)
        finite = add_half(total, other, sign, slot.adder)
        values, kind = total, 'float16'
    elif part.how == 'lora':
        values, kind = cast(sources[0], kinds[0], 'float32', slot.result), 'float32'
        adapters.get().add(values, part, piece.start)
    else:
        matrix = part.sources[0]
        memory = pages(MEAN_ROWS * matrix.shape[1] * 8 + 2 * PAGE)
        values = row_mean(lambda k, n: read_values(matrix, k, n, handles, memory), matrix)
        values, kind = values[piece.start : piece.stop], 'float32'
    made = cast(values, kind, move.dtype, slot.spare)
    checked = part.how in ('add', 'subtract') and made is values
    if not (finite and (checked or all_finite(made, move.dtype))):
        where = ' + '.join(dict.fromkeys(str(entry.file) for entry in part.sources))
        raise CheckpointError(
            f'{move.name} has values that are not finite in {move.dtype} ({where}). A source is '
            'damaged, the base is not the one that the delta or adapter was made from, or the '
            'values are too large for the type: then name another by --dtype.'
        )
    return made
