"""Locates one tensor in a file and maps it without reading it."""

import math
import mmap
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmllava.errors import CheckpointError

DTYPES = {  # our name (torch's) -> numpy's; numpy has no bfloat16, its bits come as uint16
    'float64': np.dtype('<f8'),
    'float32': np.dtype('<f4'),
    'float16': np.dtype('<f2'),
    'bfloat16': np.dtype('<u2'),
    'int64': np.dtype('<i8'),
    'int32': np.dtype('<i4'),
    'int16': np.dtype('<i2'),
    'int8': np.dtype('i1'),
    'uint8': np.dtype('u1'),
    'bool': np.dtype('?'),
}

# Without this flag Linux refuses to map a file larger than memory for writing. Python
# names it since 3.13; the number is Linux's.
_NO_RESERVE = getattr(mmap, 'MAP_NORESERVE', 0x4000) if os.uname().sysname == 'Linux' else 0


@dataclass(frozen=True)
class TensorEntry:
    """One tensor on disk: ``nbytes`` bytes, row-major, little endian, from ``offset``.

    Args:
        name: as the file has it.
        dtype: a key of ``DTYPES``.
        shape: ``()`` for a single number.
        file: the file that holds the bytes.
        offset: bytes from the start of the file.
        nbytes: the product of ``shape`` times the bytes of one value.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    nbytes: int


def nbytes_of(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor of this kind and shape."""
    return math.prod(shape) * DTYPES[dtype].itemsize


def map_tensor(entry: TensorEntry) -> np.ndarray:
    """Maps the tensor into memory; pages are read when they are touched.

    The array can be written to without changing the file (copy-on-write), so
    ``torch.from_numpy`` takes it as it is. Each call is a mapping of its own:
    two models of one file do not see each other's training. A bfloat16 tensor
    comes as uint16: ``torch.from_numpy(a).view(torch.bfloat16)``.

    Returns:
        array of ``entry.shape``.

    Raises:
        CheckpointError: if the file has become shorter than its header said.
    """
    kind = DTYPES[entry.dtype]
    if entry.nbytes == 0:
        return np.empty(entry.shape, kind)
    start = entry.offset % mmap.ALLOCATIONGRANULARITY  # a mapping begins at a page
    with open(entry.file, 'rb') as handle:
        size = os.fstat(handle.fileno()).st_size
        if entry.offset + entry.nbytes > size:
            raise CheckpointError(
                f'{entry.file} holds {size:,} bytes, but {entry.name} ends at byte '
                f'{entry.offset + entry.nbytes:,}. The file was cut short after it was opened; '
                'download or copy it again.'
            )
        mapped = mmap.mmap(
            handle.fileno(),
            start + entry.nbytes,
            flags=mmap.MAP_PRIVATE | _NO_RESERVE,
            prot=mmap.PROT_READ | mmap.PROT_WRITE,
            offset=entry.offset - start,
        )
    count = entry.nbytes // kind.itemsize
    array = np.frombuffer(mapped, kind, count, start).reshape(entry.shape)
    return array if array.flags.aligned else array.copy()
