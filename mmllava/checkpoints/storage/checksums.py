"""SHA-256 of source files, counted while their tensors are read anyway."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

CHUNK_BYTES = 1 << 22


class FileSums:
    """Takes pieces of files as a conversion reads them; reads itself what nobody reads.

    Pieces that come in the order of the file cost one reading of it. What is passed over
    (headers, dropped tensors) is read when the next piece comes; a piece that comes late
    was read by then, and is not counted again. So the sums are right in any order.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._states = {file: _State(file) for file in files}

    def feed(self, file: Path, offset: int, data: memoryview) -> None:
        """Takes bytes that lie at ``offset``."""
        self._states[file].feed(offset, data)

    def finish(self) -> dict[Path, str]:
        """Reads what is left; gives file -> hex digest."""
        return {file: state.finish() for file, state in self._states.items()}


class _State:
    """One file, counted from its first byte up to ``done``."""

    def __init__(self, file: Path) -> None:
        self.file, self.done, self.sum = file, 0, hashlib.sha256()

    def feed(self, offset: int, data: memoryview) -> None:
        end = offset + len(data)
        if end <= self.done:
            return
        self._read_up_to(offset)
        self.sum.update(data[self.done - offset :])
        self.done = end

    def finish(self) -> str:
        self._read_up_to(self.file.stat().st_size)
        return self.sum.hexdigest()

    def _read_up_to(self, end: int) -> None:
        if self.done >= end:
            return
        with open(self.file, 'rb', buffering=0) as handle:
            handle.seek(self.done)
            while self.done < end:
                data = handle.read(min(CHUNK_BYTES, end - self.done))
                if not data:  # cut short meanwhile; the reader of tensors tells
                    return
                self.sum.update(data)
                self.done += len(data)


def sha256_of(file: Path, offset: int = 0, nbytes: int | None = None) -> str:
    """SHA-256 of ``nbytes`` bytes of a file from ``offset``; of all of it by default."""
    total = hashlib.sha256()
    left = os.stat(file).st_size - offset if nbytes is None else nbytes
    with open(file, 'rb', buffering=0) as handle:
        handle.seek(offset)
        while left > 0:
            data = handle.read(min(CHUNK_BYTES, left))
            if not data:
                break
            total.update(data)
            left -= len(data)
    return total.hexdigest()
