"""The encoded sentences of a corpus as arrays: millions take a byte or two a piece, not objects' hundred."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from semcom.data.batching import Encoded, Lengths
from semcom.data.sentences import Places, Sentences
from semcom.data.settings import MAX_POSITIONS
from semcom.data.vocabulary import BOS, EOS, Vocabulary

TOGETHER = 1 << 13
"""Sentences that a vocabulary cuts at a time."""

Pieces = npt.NDArray[Any]
"""uint16 of vocabularies that these can count, int32 of larger ones."""


class EncodedCorpus(Sequence[Encoded]):
    """N sentences with their source ids: each made an ``Encoded`` when it is asked for.

    sentences: N. pieces: of all of them, end to end, without bos and eos. starts, ends: [N] of each, places
    in ``pieces``.
    """

    def __init__(self, sentences: Sentences, pieces: Pieces, starts: Places, ends: Places):
        self.sentences, self.pieces, self.starts, self.ends = sentences, pieces, starts, ends

    @classmethod
    def of_counts(cls, sentences: Sentences, pieces: Pieces, counts: Places) -> "EncodedCorpus":
        """counts: [N] pieces of each sentence."""
        ends = np.cumsum(counts)
        return cls(sentences, pieces, ends - counts, ends)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, at: int) -> Encoded: ...

    @overload
    def __getitem__(self, at: slice) -> "EncodedCorpus": ...

    def __getitem__(self, at: int | slice) -> "Encoded | EncodedCorpus":
        if isinstance(at, slice):
            return EncodedCorpus(self.sentences[at], self.pieces, self.starts[at], self.ends[at])
        pieces = self.pieces[self.starts[at] : self.ends[at]].tolist()
        return Encoded(self.sentences[at], [BOS, *pieces, EOS])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(Encoded.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__} of {len(self):,}"

    @cached_property
    def lengths(self) -> Lengths:
        """Bos and eos stand before and behind what is sent, and eos behind what is to be said."""
        sent = (self.ends - self.starts).astype(np.int32) + 2
        return Lengths(longest=sent, targets=sent - 1)


def encode_corpus(
    sentences: Sentences, vocabulary: Vocabulary, advance: Callable[[int], None] = lambda number: None
) -> EncodedCorpus:
    """All that have a place in a transceiver, as ``batching.encode`` with ``leave_out_long`` makes them.

    advance: is told how many sentences more are done.
    """
    kind = np.uint16 if len(vocabulary) <= 1 << 16 else np.int32
    pieces, counts = bytearray(), bytearray()
    for cut in _cut(sentences, vocabulary):
        here = np.fromiter(map(len, cut), dtype=np.int64, count=len(cut))
        pieces += np.fromiter(chain.from_iterable(cut), dtype=kind, count=int(here.sum())).tobytes()
        counts += here.tobytes()
        advance(len(cut))
    return _fitting(sentences, np.frombuffer(pieces, dtype=kind), np.frombuffer(counts, dtype=np.int64))


def _fitting(sentences: Sentences, pieces: Pieces, counts: Places) -> EncodedCorpus:
    """Without the sentences that are too long. counts: [N] pieces of each."""
    fit = counts + 2 <= MAX_POSITIONS
    if not fit.all():
        sentences, pieces, counts = sentences.where(fit), pieces[np.repeat(fit, counts)], counts[fit]
    return EncodedCorpus.of_counts(sentences, pieces, counts)


def _cut(sentences: Sentences, vocabulary: Vocabulary) -> Iterator[list[list[int]]]:
    for start in range(0, len(sentences), TOGETHER):
        yield vocabulary.encode(list(sentences[start : start + TOGETHER].texts))
