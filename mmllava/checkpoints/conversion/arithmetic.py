"""Computes the pieces of a plan: casts, sums, adapters and means, on one BLAS thread.

numpy widens and narrows each float16 by itself (0.45 GB/s on one core). ``HalfAdder`` puts
whole blocks through integer operations that processors do eight at a time (1.7 GB/s), to the
last bit the same.

A float16 is a sign, 5 bits of exponent and 10 of mantissa; a float32 has 8 and 23. Put
the float16's bits 13 places up, the sign at the top, and they are the float32 of the same
number times 2**-112, subnormals too, since both formats count those evenly from zero.
float32 has the bits to add two such numbers so that rounding its sum to 11 bits gives the
float16 nearest to the true sum (24 >= 2 * 11 + 2), and on the way back every float16,
subnormal or not, is a multiple of 2**13 in the float32's bits.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mmllava.checkpoints.layouts.tensor_plan import FLOATS, Piece
from mmllava.checkpoints.storage.tensor_entry import DTYPES, TensorEntry

# The bits of a value's exponent; all of them set is Inf or NaN.
_EXPONENT = {'float16': 0x7C00, 'bfloat16': 0x7F80, 'float32': 0x7F800000}
_BITS = {'float16': np.uint16, 'bfloat16': np.uint16, 'float32': np.uint32}
_SIGN = np.uint16(0x8000)
BLOCK_VALUES = 1 << 16  # two scratch arrays of 256 kB, which stay in a core's cache
_INFINITY = 0x7C00  # bits without the sign; Inf is this, NaN is above
_SIGN_AND_VALUE = np.int32(0x0FFFFFFF - 0x80000000)  # 0x8FFFFFFF as a signed number
_MAPS = Path('/proc/self/maps')
# numpy's wheels and other builds name the same two functions differently.
_NAMES = ('scipy_openblas_{}64_', 'scipy_openblas_{}', 'openblas_{}64_', 'openblas_{}')
MEAN_ROWS = 64  # of a matrix whose mean is taken, read at a time


class HalfAdder:
    """Adds in place; owns the scratch memory, so one thread at a time."""

    def __init__(self) -> None:
        self._x = np.empty(BLOCK_VALUES, np.int32)
        self._y = np.empty(BLOCK_VALUES, np.int32)

    def add(self, total: np.ndarray, other: np.ndarray) -> None:
        """Computes ``total += other``, rounded to nearest even.

        Args:
            total, other: float16 of shape (N,), without Inf or NaN (see ``all_finite``).
                A sum beyond float16 becomes Inf or NaN.
        """
        left, right = total.view(np.int16), other.view(np.int16)
        for start in range(0, len(left), BLOCK_VALUES):
            part = left[start : start + BLOCK_VALUES]
            x, y = self._x[: len(part)], self._y[: len(part)]
            for wide, narrow in ((x, part), (y, right[start : start + BLOCK_VALUES])):
                wide[:] = narrow  # repeats the sign in all upper bits
                wide <<= 13
                wide &= _SIGN_AND_VALUE  # keeps it in the top one
            sums = x.view(np.float32)
            sums += y.view(np.float32)
            # To nearest, ties to even: add just under half of 2**13, and the rest of the
            # half if the last bit that stays is odd. A carry reaches the exponent by itself.
            np.right_shift(x, 13, out=y)
            y &= 1
            y += 0x0FFF
            y += x
            np.right_shift(y, 13, out=x)
            x &= 0x7FFF
            y >>= 16
            y &= 0x8000
            x |= y
            part[:] = x  # the lower 16 bits

    def all_finite(self, values: np.ndarray) -> bool:
        """Tells whether float16 values of shape (N,) hold neither Inf nor NaN."""
        bits = values.view(np.uint16)
        scratch = self._x.view(np.uint16)
        for start in range(0, len(bits), len(scratch)):
            part = bits[start : start + len(scratch)]
            if np.bitwise_and(part, 0x7FFF, out=scratch[: len(part)]).max() >= _INFINITY:
                return False
        return True


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


@contextmanager
def one_thread() -> Iterator[None]:
    """Limits OpenBLAS to one thread for the time of the block; no effect elsewhere.

    OpenBLAS's own threads wait for each other by spinning: next to the readers of a
    conversion, products on two threads took ten times the processor time of one.
    """
    found = [
        (functions, functions[0]()) for functions in map(_functions, _libraries()) if functions
    ]
    for (_, set_threads), _ in found:
        set_threads(1)
    try:
        yield
    finally:
        for (_, set_threads), before in found:
            set_threads(before)


def _libraries() -> list[str]:
    """Lists the OpenBLAS libraries that this process has loaded; empty except on Linux."""
    if not _MAPS.exists():
        return []
    paths = {line.split(maxsplit=5)[-1].strip() for line in _MAPS.read_text().splitlines()}
    return sorted(path for path in paths if 'openblas' in Path(path).name)


def _functions(path: str) -> tuple[Any, Any] | None:
    """Finds the functions that get and set the number of threads."""
    library = ctypes.CDLL(path)
    for name in _NAMES:
        get, put = (name.format(f'{verb}_num_threads') for verb in ('get', 'set'))
        if hasattr(library, get) and hasattr(library, put):
            return getattr(library, get), getattr(library, put)
    return None
