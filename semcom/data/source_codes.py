"""Source codes: text to bits and back, as a classical link has them before its channel code.

How many bits a text has is known to the receiver at no cost, as the number of symbols is to a transceiver's:
Huffman's codes need no sign at the end. Bits that noise has changed give some text, never an error.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from semcom.base import json_files
from semcom.base.errors import SemcomError, escape
from semcom.base.output_files import write_json
from semcom.data.arithmetic_coding import Bits
from semcom.data.huffman import CanonicalCode, Word, is_whole, word_lengths
from semcom.data.source_code_settings import CHARACTERS, PIECES
from semcom.data.vocabulary import Vocabulary

ESCAPE = -1
"""The symbol before one that no training text had."""
BYTE = 8
REPLACEMENT = 0xFFFD
"""What stands for bytes that are no character."""
MOST_SYMBOLS = 1_114_112
"""As many characters as there can be."""
CURE = "learn it again"


class SourceCode(ABC):
    """Texts to bits and back. name: one of ``source_code_settings.KINDS``."""

    name: str

    @abstractmethod
    def encode_all(self, texts: Sequence[str]) -> list[Bits]:
        """Of each text its bits, 0 or 1 in uint8."""

    @abstractmethod
    def decode_all(self, strings: Sequence[Bits]) -> list[str]:
        """Of each string of bits the text: ``restored`` of what was encoded, and where bits are wrong, what
        they come to."""

    @abstractmethod
    def restored(self, texts: Sequence[str]) -> list[str]:
        """Each text as it comes back where no bit is wrong."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the SHA-256 of all that the bits depend on."""

    def encode(self, text: str) -> Bits:
        return self.encode_all([text])[0]

    def decode(self, bits: Bits) -> str:
        return self.decode_all([bits])[0]


class HuffmanCode(SourceCode):
    """What the two codes share. lengths: bits of the word of each symbol that the training text had, and of
    ``ESCAPE``."""

    def __init__(self, lengths: Mapping[int, int]):
        self.code = CanonicalCode(lengths)

    @abstractmethod
    def symbols_of(self, texts: Sequence[str]) -> list[list[int]]:
        """Each text as whole numbers of 0 or more."""

    @abstractmethod
    def spelled(self, symbol: int) -> Iterable[Word]:
        """What follows ``ESCAPE`` for a symbol without a word."""

    @abstractmethod
    def read_spelled(self, bits: Iterator[int]) -> int | None:
        """The symbol that ``spelled`` wrote; None where the bits end before."""

    @abstractmethod
    def texts_of(self, symbols: Sequence[Sequence[int]]) -> list[str]:
        """Undoes ``symbols_of``."""

    @cached_property
    def fingerprint(self) -> str:
        described = json.dumps(_described(self))
        return hashlib.sha256(described.encode()).hexdigest()[:16]

    def encode_all(self, texts: Sequence[str]) -> list[Bits]:
        return [_bits_of(self._words(symbols)) for symbols in self.symbols_of(texts)]

    def decode_all(self, strings: Sequence[Bits]) -> list[str]:
        return self.texts_of([[*self._symbols(iter(bits.tolist()))] for bits in strings])

    def restored(self, texts: Sequence[str]) -> list[str]:
        return self.texts_of(self.symbols_of(texts))

    def _words(self, symbols: Iterable[int]) -> Iterator[Word]:
        words = self.code.words
        for symbol in symbols:
            if symbol in words:
                yield words[symbol]
            else:
                yield words[ESCAPE]
                yield from self.spelled(symbol)

    def _symbols(self, bits: Iterator[int]) -> Iterator[int]:
        while (symbol := self.code.symbol_of(bits)) is not None:
            if symbol == ESCAPE:
                symbol = self.read_spelled(bits)
            if symbol is not None:
                yield symbol


class CharacterCode(HuffmanCode):
    """Huffman over characters; one without a word is ``ESCAPE`` and its bytes in UTF-8. Every text returns to
    the letter."""

    name = CHARACTERS

    def symbols_of(self, texts: Sequence[str]) -> list[list[int]]:
        return [[*map(ord, text)] for text in texts]

    def texts_of(self, symbols: Sequence[Sequence[int]]) -> list[str]:
        return ["".join(map(chr, row)) for row in symbols]

    def spelled(self, symbol: int) -> Iterable[Word]:
        return [(byte, BYTE) for byte in chr(symbol).encode("utf-8", "surrogatepass")]

    def read_spelled(self, bits: Iterator[int]) -> int | None:
        first = _number(bits, BYTE)
        if first is None:
            return None
        # As many ones as it begins with are the bytes in all, where it is no ASCII.
        ones = BYTE - (first ^ 0xFF).bit_length()
        rest = [byte for _ in range(1, min(ones, 4)) if (byte := _number(bits, BYTE)) is not None]
        try:
            return ord(bytes([first, *rest]).decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            return REPLACEMENT


class PieceCode(HuffmanCode):
    """Huffman over the pieces of a vocabulary; one without a word is ``ESCAPE`` and its id. A text returns in
    the vocabulary's own form of it, which is what its models are given too."""

    name = PIECES

    def __init__(self, lengths: Mapping[int, int], vocabulary: Vocabulary):
        super().__init__(lengths)
        self.vocabulary = vocabulary
        self._id_bits = (len(vocabulary) - 1).bit_length()

    def symbols_of(self, texts: Sequence[str]) -> list[list[int]]:
        return self.vocabulary.encode(texts)

    def texts_of(self, symbols: Sequence[Sequence[int]]) -> list[str]:
        return self.vocabulary.decode(symbols)

    def spelled(self, symbol: int) -> Iterable[Word]:
        return [(symbol, self._id_bits)]

    def read_spelled(self, bits: Iterator[int]) -> int | None:
        symbol = _number(bits, self._id_bits)
        return None if symbol is None else min(symbol, len(self.vocabulary) - 1)


def _number(bits: Iterator[int], length: int) -> int | None:
    """Of the next bits, the highest first; None where there are fewer."""
    number = 0
    for _ in range(length):
        bit = next(bits, None)
        if bit is None:
            return None
        number = number << 1 | bit
    return number


def _bits_of(words: Iterable[Word]) -> Bits:
    digits = "".join(f"{number:0{length}b}" for number, length in words)
    return np.frombuffer(digits.encode(), dtype=np.uint8) - ord("0")


def counts_of(symbols: Iterable[Iterable[int]]) -> Counter[int]:
    """How often each occurs; ``ESCAPE`` as if it had occurred once."""
    counts: Counter[int] = Counter()
    for row in symbols:
        counts.update(row)
    counts[ESCAPE] = 1
    return counts


def learned(name: str, texts: Sequence[str], vocabulary: Vocabulary) -> HuffmanCode:
    """The code of this kind, ``CHARACTERS`` or ``PIECES``, of least mean length over the texts."""
    if name == CHARACTERS:
        return CharacterCode(word_lengths(counts_of(map(ord, text) for text in texts)))
    assert name == PIECES
    return PieceCode(word_lengths(counts_of(vocabulary.encode(texts))), vocabulary)


def write(code: HuffmanCode, path: str | Path) -> None:
    """As JSON, atomically, with a digest."""
    write_json(path, json_files.digested(_described(code)))


def _described(code: HuffmanCode) -> dict[str, Any]:
    own = {"vocabulary": code.vocabulary.fingerprint} if isinstance(code, PieceCode) else {}
    return {"source_code": code.name, **own, "lengths": sorted(code.code.lengths.items())}


def read(path: str | Path, vocabulary: Vocabulary) -> HuffmanCode:
    """What ``write`` wrote. Raises SemcomError in one line for anything else, and for a code over the pieces
    of another vocabulary."""
    where = escape(path)
    try:
        found = json_files.undigested(json_files.read(path))
        lengths = _lengths_in(found)
    except (OSError, json_files.NotJSON, ValueError, TypeError, KeyError) as error:
        raise SemcomError(f"{where}: no source code ({escape(json_files.problem(error))}); {CURE}") from None
    if found["source_code"] == CHARACTERS:
        return CharacterCode(lengths)
    if found.get("vocabulary") != vocabulary.fingerprint or max(lengths) >= len(vocabulary):
        raise SemcomError(f"{where}: a source code of another vocabulary than {vocabulary}; {CURE}")
    return PieceCode(lengths, vocabulary)


def _lengths_in(found: Mapping[str, Any]) -> dict[int, int]:
    """Raises ValueError, TypeError and KeyError for what makes no code."""
    if found["source_code"] not in (CHARACTERS, PIECES):
        raise ValueError(f"of kind {found['source_code']!r:.40}")
    pairs = [(symbol, length) for symbol, length in found["lengths"]]
    lengths = dict(pairs)
    if len(lengths) != len(pairs) or any(type(each) is not int for pair in pairs for each in pair):
        raise ValueError("its lengths are no whole numbers, one a symbol")
    if ESCAPE not in lengths or not ESCAPE <= min(lengths) <= max(lengths) < MOST_SYMBOLS:
        raise ValueError("its symbols are not those of a source code")
    if not is_whole(lengths):
        raise ValueError("its words are no whole code")
    return lengths
