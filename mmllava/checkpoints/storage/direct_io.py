"""Reading and writing past the page cache, in memory that begins at a page.

Each byte is read once and written once. Through the cache both cost several times the system
time (7 s of it against 0.1 to write 3 GB), and throw out everything else that was there.
"""

import errno
import mmap
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from mmllava.checkpoints.storage.tensor_entry import DTYPES, TensorEntry
from mmllava.errors import CheckpointError

PAGE = 4096  # bytes; what O_DIRECT wants offsets, lengths and memory to be multiples of
BUFFER_BYTES = 1 << 23  # of a file that is written; there are two, one fills while one is written


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
    """Opens a file for reading past the page cache, where the system and the disk let us."""
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


class DirectFile:
    """A file written from its start, past the page cache where system and disk let us.

    Whole pages go to the disk from a thread while the next ones come. The last bytes, which
    fill no page, go through the cache, and once more with the rest of their page. What the
    file held beyond stays until it is closed.

    Args:
        path: is made, or written over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_RDWR | (0 if path.exists() else os.O_CREAT | os.O_EXCL)
        self._plain = os.open(path, flags, 0o666)
        self._direct = self._open_direct()
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future | None = None
        self._buffers = [pages(BUFFER_BYTES) for _ in 'ab']
        self._start, self._filled = 0, 0  # where the first buffer begins, and what it holds

    def tell(self) -> int:
        """Offset of the next byte."""
        return self._start + self._filled

    def write(self, data: memoryview) -> None:
        """Appends bytes."""
        bytes_ = np.frombuffer(data, np.uint8)
        at = 0
        while at < len(bytes_):
            count = min(len(bytes_) - at, BUFFER_BYTES - self._filled)
            self._buffers[0][self._filled : self._filled + count] = bytes_[at : at + count]
            self._filled, at = self._filled + count, at + count
            if self._filled == BUFFER_BYTES:
                self._wait()
                self._writing = self._thread.submit(self._put, self._buffers[0], self._start)
                self._buffers.reverse()
                self._start, self._filled = self._start + BUFFER_BYTES, 0

    def flush(self) -> None:
        """Hands all bytes to the system: they outlive this process then."""
        self._wait()
        whole = self._filled // PAGE * PAGE
        rest = self._buffers[0][whole : self._filled]
        self._put(self._buffers[0][:whole], self._start)
        self._put_plain(rest, self._start + whole)
        self._buffers[0][: len(rest)] = rest.copy()
        self._start, self._filled = self._start + whole, len(rest)

    def close(self) -> None:
        """Writes what is left and cuts the file there."""
        try:
            self.flush()
            os.ftruncate(self._plain, self.tell())
        finally:
            self.abort()

    def abort(self) -> None:
        """Lets go of the file, whatever state it is in; twice is fine.

        Raises:
            OSError: some network disks tell only now that a write failed.
        """
        self._thread.shutdown()
        handles = {self._plain, self._direct} - {-1}
        self._plain = self._direct = -1  # first: a number closed twice may be another file's
        with ExitStack() as stack:
            for handle in handles:
                stack.callback(os.close, handle)

    def _open_direct(self) -> int:
        if not hasattr(os, 'O_DIRECT'):
            return self._plain
        try:
            return os.open(self.path, os.O_WRONLY | os.O_DIRECT)
        except OSError:  # tmpfs and some network disks
            return self._plain

    def _wait(self) -> None:
        if self._writing is not None:
            done, self._writing = self._writing, None
            done.result()

    def _put(self, data: np.ndarray, offset: int) -> None:
        """Writes whole pages."""
        done = 0
        if len(data):
            try:
                done = os.pwrite(self._direct, data, offset)
            except OSError as error:
                if error.errno != errno.EINVAL:  # a disk with larger blocks
                    raise
        self._put_plain(data[done:], offset + done)

    def _put_plain(self, data: np.ndarray, offset: int) -> None:
        done = 0
        while done < len(data):
            done += os.pwrite(self._plain, data[done:], offset + done)
