"""Floor 1. Carry out a plan a few megabytes at a time, reading and adding beside the writing.

Memory is ``IN_FLIGHT`` pieces, whatever the model's size. Pieces are read with
pread into arrays that are freed once written, not through mappings, so that a
system's count of this process's memory stays what the process needs.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mmllava.checkpoints.entry import DTYPES, TensorEntry
from mmllava.checkpoints.plan import Move
from mmllava.checkpoints.writer import Sink
from mmllava.errors import CheckpointError

PIECE_VALUES = 4 << 20  # values of a tensor handled at a time: 8 MiB in float16
WORKERS = 2  # numpy adds float16 at 0.45 GB/s on one core: two outrun a disk of 0.4 GB/s
IN_FLIGHT = 6  # pieces read ahead of the writer
_HALF_INFINITY = 0x7C00  # float16 bits without the sign: from here on Inf and NaN


def carry_out(moves: list[Move], sink: Sink, progress: Callable[[int], None]) -> None:
    """Writes the result of every move but the dropped ones.

    Args:
        moves: in the order of the sink's layout.
        sink: where the tensors go; closed at the end, aborted on an error.
        progress: called with the bytes written since the last call.

    Raises:
        CheckpointError: if a result is NaN or infinite (the tensor is named), or a
            source became shorter meanwhile.
    """
    pieces = _pieces([move for move in moves if move.how != 'dropped'])
    waiting: deque[tuple[int, int, Future[np.ndarray]]] = deque()
    with _open_files(moves) as handles, ThreadPoolExecutor(WORKERS) as pool:
        try:
            for index, move, start, stop in pieces:
                waiting.append((index, start, pool.submit(_compute, move, start, stop, handles)))
                if len(waiting) >= IN_FLIGHT:
                    _write_first(waiting, sink, progress)
            while waiting:
                _write_first(waiting, sink, progress)
            sink.close()
        except BaseException:
            sink.abort()
            pool.shutdown(cancel_futures=True)  # a Ctrl-C waits for two pieces at most
            raise


def _write_first(waiting: deque, sink: Sink, progress: Callable[[int], None]) -> None:
    index, start, future = waiting.popleft()
    data = future.result()
    if start == 0:
        sink.begin(index)
    sink.write(memoryview(data).cast('B') if data.size else memoryview(b''))
    progress(data.nbytes)


def _pieces(moves: list[Move]) -> Iterator[tuple[int, Move, int, int]]:
    """Cuts tensors into (position, move, first value, end); an empty one is one piece."""
    for index, move in enumerate(moves):
        count = move.nbytes // DTYPES[move.dtype].itemsize
        for start in range(0, max(count, 1), PIECE_VALUES):
            yield index, move, start, min(start + PIECE_VALUES, count)


def _compute(move: Move, start: int, stop: int, handles: dict[Path, int]) -> np.ndarray:
    """Values ``start:stop`` of the result, counted row by row."""
    delta, *rest = move.sources
    if move.dtype != 'float16':  # a tower's tensor, taken as it is
        return _read(delta, start, stop, handles)
    values = _read_half(delta, start, stop, handles)
    # Rows are as long in base and delta, so the base's block is where the count begins.
    for base in rest:
        end = min(stop, base.nbytes // DTYPES[base.dtype].itemsize)
        if end > start:
            part = values[: end - start]
            with np.errstate(over='ignore', invalid='ignore'):
                # float16 sums are rounded once, to nearest even: what torch gives, bit for bit
                np.add(part, _read_half(base, start, end, handles), out=part)
    if values.size and (values.view(np.uint16) & 0x7FFF).max() >= _HALF_INFINITY:
        where = ' + '.join(str(entry.file) for entry in move.sources)
        raise CheckpointError(
            f'{move.name} has values that are not finite in float16 ({where}). A source is '
            'damaged, or the base is not the one that the delta was made from.'
        )
    return values


def _read_half(entry: TensorEntry, start: int, stop: int, handles: dict[Path, int]) -> np.ndarray:
    """Reads values as float16; wider types are rounded to nearest even."""
    values = _read(entry, start, stop, handles)
    if entry.dtype == 'bfloat16':  # the upper half of a float32's bits
        values = (values.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over='ignore', invalid='ignore'):
        return values.astype(np.float16, copy=False)


def _read(entry: TensorEntry, start: int, stop: int, handles: dict[Path, int]) -> np.ndarray:
    """Reads values ``start:stop`` of a tensor into a new array."""
    kind = DTYPES[entry.dtype]
    values = np.empty(stop - start, kind)
    view, offset = values.view(np.uint8), entry.offset + start * kind.itemsize
    done = 0
    while done < values.nbytes:
        got = os.preadv(handles[entry.file], [view[done:]], offset + done)
        if got == 0:
            raise CheckpointError(
                f'{entry.file} ends at byte {os.fstat(handles[entry.file]).st_size:,} but '
                f'{entry.name} goes on to {entry.offset + entry.nbytes:,}. It was cut short '
                'after its header was read; get it whole again.'
            )
        done += got
    return values


@contextmanager
def _open_files(moves: list[Move]) -> Iterator[dict[Path, int]]:
    """Opens every source once."""
    handles: dict[Path, int] = {}
    try:
        for file in {entry.file for move in moves for entry in move.sources}:
            handles[file] = os.open(file, os.O_RDONLY)
        yield handles
    finally:
        for handle in handles.values():
            os.close(handle)
