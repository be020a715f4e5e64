"""What the parts of a plan compute: casts, sums, adapters, means."""

from collections.abc import Callable

import numpy as np

from mmllava.checkpoints.conversion.half import HalfAdder
from mmllava.checkpoints.layouts.tensor_plan import FLOATS, Piece
from mmllava.checkpoints.storage.tensor_entry import DTYPES, TensorEntry

# The bits of a value's exponent; all of them set is Inf or NaN.
_EXPONENT = {'float16': 0x7C00, 'bfloat16': 0x7F80, 'float32': 0x7F800000}
_BITS = {'float16': np.uint16, 'bfloat16': np.uint16, 'float32': np.uint32}
_SIGN = np.uint16(0x8000)
MEAN_ROWS = 64  # of a matrix whose mean is taken, read at a time


def cast(values: np.ndarray, source: str, target: str, memory: np.ndarray) -> np.ndarray:
    """Values in another type, rounded to nearest even; the same array where it is the same.

    Args:
        values: of shape (N,), as ``source`` lies on disk (bfloat16 as uint16).
        source, target: keys of ``DTYPES``.
        memory: bytes for the result.
    """
    if source == target:
        return values
    out = memory[: len(values) * DTYPES[target].itemsize].view(DTYPES[target])
    if source == 'bfloat16':  # the upper half of a float32's bits
        values = (values.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over='ignore', invalid='ignore'):
        if target == 'bfloat16':
            bits = values.astype(np.float32).view(np.uint32)
            # To nearest, ties to even: just under half of the last place, and its own bit.
            out[:] = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16
        else:
            out[:] = values
    return out


def all_finite(values: np.ndarray, dtype: str) -> bool:
    """Tells whether values of shape (N,) hold neither Inf nor NaN; other types always do."""
    if dtype == 'float64':
        return bool(np.isfinite(values).all())
    if dtype not in FLOATS or not len(values):
        return True
    mask = _BITS[dtype](_EXPONENT[dtype])
    bits = values.view(_BITS[dtype])
    step = 1 << 16  # stays in a core's cache
    return all(
        int((bits[k : k + step] & mask).max()) < int(mask) for k in range(0, len(bits), step)
    )


def add_half(total: np.ndarray, other: np.ndarray, sign: int, adder: HalfAdder) -> bool:
    """``total += sign * other`` in float16, in place; tells whether all of it is finite."""
    if not (adder.all_finite(total) and adder.all_finite(other)):
        return False
    if sign < 0:
        other.view(np.uint16)[:] ^= _SIGN
    adder.add(total, other)
    return adder.all_finite(total)


def as_float32(values: np.ndarray, dtype: str) -> np.ndarray:
    """Values as float32, in memory of their own where they are another type."""
    return cast(values, dtype, 'float32', np.empty(4 * values.size, np.uint8))


class Adapters:
    """Adds scale * (B @ A) to pieces; A and B of one weight stay in memory while they serve."""

    def __init__(self, read: Callable[[TensorEntry], np.ndarray]) -> None:
        self._read = read
        self._part: Piece | None = None
        self._product = np.empty(0, np.float32)

    def add(self, values: np.ndarray, part: Piece, start: int) -> None:
        """Adds the product's values from ``start`` on, counted row by row, to float32 values."""
        if self._part is not part:
            _, a, b = part.sources
            self._a = as_float32(self._read(a), a.dtype).reshape(a.shape)
            self._b = as_float32(self._read(b), b.dtype).reshape(b.shape) * np.float32(part.scale)
            self._part = part
        columns, stop = self._a.shape[1], start + len(values)
        first, last = start // columns, -(-stop // columns)
        if self._product.size < (last - first) * columns:
            self._product = np.empty((last - first) * columns, np.float32)
        product = self._product[: (last - first) * columns]
        np.matmul(self._b[first:last], self._a, out=product.reshape(-1, columns))
        values += product[start - first * columns : stop - first * columns]


def row_mean(read: Callable[[int, int], np.ndarray], matrix: TensorEntry) -> np.ndarray:
    """Mean of the rows of a matrix, float32, summed in float64.

    Args:
        read: gives values ``start:stop`` of the matrix; they hold until the next call.
        matrix: of shape (rows, columns).
    """
    (count, columns), step = matrix.shape, MEAN_ROWS
    total = np.zeros(columns, np.float64)
    for k in range(0, count, step):
        block = read(k * columns, min(k + step, count) * columns)
        total += as_float32(block, matrix.dtype).reshape(-1, columns).sum(0, dtype=np.float64)
    return (total / count).astype(np.float32)
