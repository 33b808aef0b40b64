"""Canonical Huffman codes over whole numbers (Huffman 1952; canonical form: Schwartz and Kallick 1964).

A code is told by the lengths of its words alone: words of one length are consecutive numbers in the order of
their symbols, and a longer word is greater than every shorter one.
"""

import heapq
from collections.abc import Iterable, Mapping
from itertools import count

LONGEST_WORD = 64
"""Bits. A word of as many takes counts that add up to 10^13."""

Word = tuple[int, int]
"""A number, and how many bits of it are written, the highest first."""


def word_lengths(counts: Mapping[int, int]) -> dict[int, int]:
    """Bits of each symbol's word in a code of least mean length. counts: how often each occurs, 1 or more.

    A symbol that is alone has one bit.
    """
    if len(counts) == 1:
        return dict.fromkeys(counts, 1)
    # Of equal weights the older tree comes first, which keeps words short, and the code one.
    order = count()
    trees = [(weight, next(order), [symbol]) for symbol, weight in sorted(counts.items())]
    heapq.heapify(trees)
    lengths = dict.fromkeys(counts, 0)
    while len(trees) > 1:
        lightest, _, left = heapq.heappop(trees)
        lighter, _, right = heapq.heappop(trees)
        joined = left + right
        for symbol in joined:
            lengths[symbol] += 1
        heapq.heappush(trees, (lightest + lighter, next(order), joined))
    return lengths


def is_whole(lengths: Mapping[int, int]) -> bool:
    """Whether there is a code of words of these lengths that leaves no string of bits without a meaning:
    Kraft's sum is 1. So is the code of one symbol, whose word has one bit."""
    if any(not 1 <= length <= LONGEST_WORD for length in lengths.values()):
        return False
    kraft = sum(1 << (LONGEST_WORD - length) for length in lengths.values())
    return kraft == 1 << LONGEST_WORD or list(lengths.values()) == [1]


class CanonicalCode:
    """Symbols to words and back. lengths: bits of each symbol's word, for which ``is_whole`` holds."""

    def __init__(self, lengths: Mapping[int, int]):
        assert is_whole(lengths)
        self.lengths = dict(lengths)
        self.words: dict[int, Word] = {}
        self._symbols: dict[Word, int] = {}
        number, before = 0, 0
        for length, symbol in sorted((length, symbol) for symbol, length in lengths.items()):
            number <<= length - before
            before = length
            self.words[symbol] = number, length
            self._symbols[number, length] = symbol
            number += 1

    def mean_length(self, counts: Mapping[int, int]) -> float:
        """Bits a symbol of a text with these counts."""
        bits = sum(number * self.lengths[symbol] for symbol, number in counts.items())
        return bits / sum(counts.values())

    def symbol_of(self, bits: Iterable[int]) -> int | None:
        """The symbol whose word comes next, and is taken, of an iterator over bits; None where they end
        before."""
        number, length = 0, 0
        for bit in bits:
            number, length = number << 1 | bit, length + 1
            symbol = self._symbols.get((number, length))
            if symbol is not None:
                return symbol
            if length == LONGEST_WORD:
                break
        return None
