"""Floor 1. Reading past the page cache, into memory that begins at a page."""

import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mmllava.checkpoints.entry import DTYPES, TensorEntry
from mmllava.errors import CheckpointError

PAGE = 4096  # bytes; what O_DIRECT wants offsets, lengths and memory to be multiples of


def pages(nbytes: int) -> np.ndarray:
    """Memory that begins at a page; what is never touched of it takes no room."""
    return np.frombuffer(mmap.mmap(-1, nbytes), np.uint8)


def read_values(
    entry: TensorEntry, start: int, stop: int, handles: dict[Path, int], memory: np.ndarray
) -> np.ndarray:
    """Reads values ``start:stop`` of a tensor into ``memory``, with the pages around them.

    Raises:
        CheckpointError: if the file is shorter than its header said.
    """
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


def read_whole(entry: TensorEntry, handles: dict[Path, int]) -> np.ndarray:
    """Reads a whole tensor into memory of its own, shape (N,)."""
    count = entry.nbytes // DTYPES[entry.dtype].itemsize
    return read_values(entry, 0, count, handles, pages(entry.nbytes + 2 * PAGE))


@contextmanager
def open_files(files: Iterable[Path]) -> Iterator[dict[Path, int]]:
    """Opens every file once, past the page cache where system and disk let us."""
    handles: dict[Path, int] = {}
    try:
        for file in set(files):
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
            os.preadv(handle, [pages(PAGE)], 0)
            return handle
        except OSError:
            os.close(handle)
    return os.open(file, os.O_RDONLY)
