"""Floor 1. Carry out a plan a few megabytes at a time, reading and adding beside the writing.

Memory is ``IN_FLIGHT`` slots, whatever the model's size, and they are used again and
again: asking the system for fresh pages for every piece costs as much as the sums.
Pieces are read with pread, not through mappings, so that a system's count of this
process's memory stays what the process needs.
"""

import mmap
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mmllava.checkpoints.entry import DTYPES, TensorEntry
from mmllava.checkpoints.half import HalfAdder
from mmllava.checkpoints.plan import Move
from mmllava.checkpoints.writer import Sink
from mmllava.errors import CheckpointError

PIECE_VALUES = 1 << 20  # values of a tensor handled at a time: 2 MiB in float16
PAGE = 4096  # bytes; what O_DIRECT wants offsets, lengths and memory to be multiples of
WORKERS = 2  # one reads while the other adds
IN_FLIGHT = 6  # pieces read ahead of the writer


class _Slot:
    """The memory that one piece needs: a result, a second source, a wider source."""

    def __init__(self) -> None:
        # Room for the widest type; pages that are never touched take no memory.
        self.result, self.other, self.wide = (_pages(8 * PIECE_VALUES + 2 * PAGE) for _ in 'abc')
        self.adder = HalfAdder()


def _pages(nbytes: int) -> np.ndarray:
    """Memory that begins at a page."""
    return np.frombuffer(mmap.mmap(-1, nbytes), np.uint8)


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
    slots = [_Slot() for _ in range(IN_FLIGHT)]
    waiting: deque[tuple[int, int, _Slot, Future[np.ndarray]]] = deque()
    with _open_files(moves) as handles, ThreadPoolExecutor(WORKERS) as pool:

        def write_first() -> None:
            index, start, slot, future = waiting.popleft()
            data = future.result()
            if start == 0:
                sink.begin(index)
            sink.write(memoryview(data.view(np.uint8)))
            slots.append(slot)
            progress(data.nbytes)

        try:
            for index, move, start, stop in pieces:
                if not slots:
                    write_first()
                slot = slots.pop()
                future = pool.submit(_compute, move, start, stop, handles, slot)
                waiting.append((index, start, slot, future))
            while waiting:
                write_first()
            sink.close()
        except BaseException:
            sink.abort()
            pool.shutdown(cancel_futures=True)  # a Ctrl-C waits for two pieces at most
            raise


def _pieces(moves: list[Move]) -> Iterator[tuple[int, Move, int, int]]:
    """Cuts tensors into (position, move, first value, end); an empty one is one piece."""
    for index, move in enumerate(moves):
        count = move.nbytes // DTYPES[move.dtype].itemsize
        for start in range(0, max(count, 1), PIECE_VALUES):
            yield index, move, start, min(start + PIECE_VALUES, count)


def _compute(
    move: Move, start: int, stop: int, handles: dict[Path, int], slot: _Slot
) -> np.ndarray:
    """Values ``start:stop`` of the result, counted row by row, in the slot's memory."""
    delta, *rest = move.sources
    if move.dtype != 'float16':  # a tower's tensor, taken as it is
        return _read(delta, start, stop, handles, slot.result)
    values = _read_half(delta, start, stop, handles, slot.result, slot.wide)
    finite = slot.adder.all_finite(values)
    # Rows are as long in base and delta, so the base's block is where the count begins.
    for base in rest:
        end = min(stop, base.nbytes // DTYPES[base.dtype].itemsize)
        if end > start and finite:
            part = values[: end - start]
            other = _read_half(base, start, end, handles, slot.other, slot.wide)
            finite = slot.adder.all_finite(other)
            slot.adder.add(part, other)
            finite = finite and slot.adder.all_finite(part)
    if not finite:
        where = ' + '.join(str(entry.file) for entry in move.sources)
        raise CheckpointError(
            f'{move.name} has values that are not finite in float16 ({where}). A source is '
            'damaged, or the base is not the one that the delta was made from.'
        )
    return values


def _read_half(
    entry: TensorEntry,
    start: int,
    stop: int,
    handles: dict[Path, int],
    memory: np.ndarray,
    wide_memory: np.ndarray,
) -> np.ndarray:
    """Reads values as float16 into ``memory``; wider types are rounded to nearest even."""
    if entry.dtype == 'float16':
        return _read(entry, start, stop, handles, memory)
    values = _read(entry, start, stop, handles, wide_memory)
    if entry.dtype == 'bfloat16':  # the upper half of a float32's bits
        values = (values.astype(np.uint32) << 16).view(np.float32)
    half = memory[: 2 * len(values)].view(np.float16)
    with np.errstate(over='ignore', invalid='ignore'):
        half[:] = values
    return half


def _read(
    entry: TensorEntry, start: int, stop: int, handles: dict[Path, int], memory: np.ndarray
) -> np.ndarray:
    """Reads values ``start:stop`` of a tensor into ``memory``, with the pages around them."""
    kind = DTYPES[entry.dtype]
    offset = entry.offset + start * kind.itemsize
    end = offset + (stop - start) * kind.itemsize
    first = offset // PAGE * PAGE
    wanted, whole = end - first, -(-(end - first) // PAGE) * PAGE
    done = 0
    while done < wanted:
        got = os.preadv(handles[entry.file], [memory[done:whole]], first + done)
        done += got
        if got == 0 or (got % PAGE and done < wanted):  # the end of the file
            raise CheckpointError(
                f'{entry.file} ends at byte {first + done:,} but {entry.name} goes on to '
                f'{entry.offset + entry.nbytes:,}. It was cut short after its header was read; '
                'get it whole again.'
            )
    return memory[offset - first : end - first].view(kind)


@contextmanager
def _open_files(moves: list[Move]) -> Iterator[dict[Path, int]]:
    """Opens every source once."""
    handles: dict[Path, int] = {}
    try:
        for file in {entry.file for move in moves for entry in move.sources}:
            handles[file] = _open(file)
        yield handles
    finally:
        for handle in handles.values():
            os.close(handle)


def _open(file: Path) -> int:
    """Opens a file for reading past the page cache, where the system and the disk let us.

    Each byte is read once. Through the cache that took five times the system time
    (15 s of it against 2.7 for 7.7 GB), and threw out everything else that was there.
    """
    if hasattr(os, 'O_DIRECT'):
        try:
            handle = os.open(file, os.O_RDONLY | os.O_DIRECT)
        except OSError:  # tmpfs and some network disks
            return os.open(file, os.O_RDONLY)
        try:
            os.preadv(handle, [_pages(PAGE)], 0)
            return handle
        except OSError:
            os.close(handle)
    return os.open(file, os.O_RDONLY)
