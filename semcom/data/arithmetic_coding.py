"""Arithmetic coding in exact whole numbers (Rissanen and Langdon 1979; Witten, Neal and Cleary 1987).

A message is an interval within [0, 1): each symbol narrows it to a part, as wide as the symbol is probable.
What is sent is the least number within that interval which has as many bits as the interval's width asks for.
Numbers grow with the message, which is a sentence: nothing is rounded, and no carry has to be thought of.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

TOTAL_BITS = 22
TOTAL = 1 << TOTAL_BITS
"""What the counts of all symbols add up to at each place of a message."""

Bits = npt.NDArray[np.uint8]
Part = tuple[int, int]
"""Of a symbol: the sum of the counts of those before it, and its own count, which is 1 or more."""


def encoded(parts: Iterable[Part]) -> Bits:
    """The bits of a message whose symbols have these parts: -log2 of its probability, rounded up."""
    low, width, scale = 0, 1, 0
    for start, own in parts:
        low = (low << TOTAL_BITS) + start * width
        width *= own
        scale += TOTAL_BITS
    length = _bits_within(width, scale)
    number = -(-low >> (scale - length))
    return np.array([number >> place & 1 for place in reversed(range(length))], dtype=np.uint8)


def _bits_within(width: int, scale: int) -> int:
    """The least k for which 2^-k is at most width / 2^scale."""
    return scale - width.bit_length() + 1


class Reader:
    """A message that is read symbol by symbol. ``target`` says where the next symbol's part lies, ``take``
    that it was this one."""

    def __init__(self, bits: Bits):
        self.length = len(bits)
        self._above = int("".join(map(str, bits.tolist())) or "0", 2)
        """What was sent less the interval's lower end, in units of 2^-(scale + length)."""
        self._width, self._scale = 1, 0

    def target(self) -> int:
        """A number below ``TOTAL`` within the next symbol's part."""
        return (self._above << TOTAL_BITS) // (self._width << self.length)

    def take(self, part: Part) -> bool:
        """Go on behind the symbol of this part, which holds ``target``. False where the bits do not say as
        much: no message of as many bits goes on so."""
        start, own = part
        self._above = (self._above << TOTAL_BITS) - (start * self._width << self.length)
        self._width *= own
        self._scale += TOTAL_BITS
        return _bits_within(self._width, self._scale) <= self.length
