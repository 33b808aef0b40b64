"""Sizes of a block of the LDPC code of 5G: 3GPP TS 38.212, sections 5.2.2, 5.3.2, 5.4.2 and 7.2.2. Numbers
alone; the code itself is Sionna's (``sionna_code``).

A block is one code block: its redundancy version is 0, nothing is segmented. Below the lowest rate of
Sionna's encoder (1/3 of base graph 1, 1/5 of base graph 2) the block is coded at that rate and its coded bits
are repeated circularly; the standard's own buffer, longer where there are fillers, would repeat later.

Letters: k bits that are coded (header, source bits, CRC), n coded bits sent, Z the lifting size.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from semcom.base.errors import SemcomError

MODULATIONS = {2: "QPSK", 4: "16-QAM", 6: "64-QAM", 8: "256-QAM"}
"""Bits a symbol -> name (TS 38.211, section 5.1)."""
CRC_BITS = (16, 11)
GREATEST_K = 8448
"""Of base graph 1; 3840 of base graph 2, which its conditions keep."""
HIGHEST_RATE = (948, 1024)
"""Numerator and denominator of k/n (section 5.4.2.1)."""
LIFTING_SIZES = sorted(a << j for a in (2, 3, 5, 7, 9, 11, 13, 15) for j in range(8) if a << j <= 384)
"""Z of table 5.3.2-1."""
SYSTEMATIC_COLUMNS = {1: 22, 2: 10}
LOWEST_RATE = {1: 3, 2: 5}
"""Base graph -> one over its lowest rate."""
FILLED_COLUMNS = {1: ((8448, 22),), 2: ((192, 6), (560, 8), (640, 9), (3840, 10))}
"""Base graph -> up to this k, this many columns hold information: K_b of section 5.2.2."""


@dataclass(frozen=True)
class Scheme:
    """How bits become symbols.

    bits_per_symbol: 2, 4, 6 or 8. crc: bits of the CRC, 16 or 11. header_bits: bits before the source bits of
    each sentence, which tell the receiver how many there are; 0: it knows.
    """

    bits_per_symbol: int
    crc: int = 16
    header_bits: int = 0

    def __post_init__(self) -> None:
        if self.bits_per_symbol not in MODULATIONS:
            allowed = " ".join(map(str, MODULATIONS))
            raise SemcomError(f"{self.bits_per_symbol} bits a symbol: allowed are {allowed}")
        if self.crc not in CRC_BITS:
            raise SemcomError(f"a CRC of {self.crc} bits: allowed are {' '.join(map(str, CRC_BITS))}")

    @property
    def modulation(self) -> str:
        return MODULATIONS[self.bits_per_symbol]


@dataclass(frozen=True)
class MotherCode:
    """The code that blocks of many sizes share: a shorter block has known zeros at the end of its
    information, and sends fewer of the coded bits.

    information: the greatest k of this lifting size. length: coded bits, the first 2Z left out.
    """

    base_graph: int
    lifting: int
    information: int
    length: int


@dataclass(frozen=True)
class BlockSize:
    """k, n: as above. distinct: coded bits before the first is repeated. bits_per_symbol: of the scheme."""

    k: int
    n: int
    base_graph: int
    lifting: int
    distinct: int
    bits_per_symbol: int

    @property
    def fillers(self) -> int:
        """K - K' of the standard."""
        return SYSTEMATIC_COLUMNS[self.base_graph] * self.lifting - self.k

    @property
    def rate(self) -> float:
        return self.k / self.n

    @property
    def repetition(self) -> float:
        """How often a coded bit is sent, in the mean."""
        return self.n / self.distinct

    @property
    def _information(self) -> int:
        """The greatest k of the same K_b and Z."""
        end, columns = _range(self.k, self.base_graph)
        return min(columns * self.lifting, end)

    @property
    def mother(self) -> MotherCode:
        information = self._information
        numerator, denominator = HIGHEST_RATE
        shortest = -(-information * denominator // numerator)
        sent = self.distinct + information - self.k
        # Multiples of Z, so that few codes serve all blocks; what is not sent is punctured.
        length = -(-max(sent, shortest) // self.lifting) * self.lifting
        length = min(length, information * LOWEST_RATE[self.base_graph])
        return MotherCode(self.base_graph, self.lifting, information, length)


def block_sizes(source_bits: int, symbols: int, scheme: Scheme) -> BlockSize | None:
    """The sizes of a block of ``source_bits`` bits, headers among them, on ``symbols`` complex symbols.

    None where the code carries no such block: k/n above 948/1024, or k above 8448.
    """
    k, n = source_bits + scheme.crc, symbols * scheme.bits_per_symbol
    numerator, denominator = HIGHEST_RATE
    if k > GREATEST_K or k * denominator > numerator * n:
        return None
    base_graph = _base_graph(source_bits, k / n)
    distinct = min(n, k * LOWEST_RATE[base_graph])
    return BlockSize(k, n, base_graph, _lifting(k, base_graph), distinct, scheme.bits_per_symbol)


@lru_cache(maxsize=4096)
def sent_positions(size: BlockSize) -> np.ndarray:
    """[n] places of the sent bits, in their order, in the coded bits of ``size.mother``: bit selection from
    the circular buffer (section 5.4.2.1), then interleaving (section 5.4.2.2)."""
    information = size.mother.information
    systematic = size.k - 2 * size.lifting
    parity = information - 2 * size.lifting + np.arange(size.distinct - systematic)
    selected = np.resize(np.concatenate((np.arange(systematic), parity)), size.n)
    return selected.reshape(size.bits_per_symbol, -1).T.ravel()


def _base_graph(source_bits: int, rate: float) -> int:
    """Section 7.2.2. Its third condition, a rate up to 1/4, adds only what needs segmentation."""
    return 2 if source_bits <= 292 or (source_bits <= 3824 and rate <= 0.67) else 1


def _range(k: int, base_graph: int) -> tuple[int, int]:
    """The greatest k of the same K_b, and K_b."""
    return next((end, columns) for end, columns in FILLED_COLUMNS[base_graph] if k <= end)


def _lifting(k: int, base_graph: int) -> int:
    """Z_c of section 5.2.2: the least with K_b Z >= k."""
    _, columns = _range(k, base_graph)
    return next(z for z in LIFTING_SIZES if columns * z >= k)
