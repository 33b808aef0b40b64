"""Sentences to batches. The only place that shifts targets and makes masks.

Letters: B sentences, S source tokens, T target tokens. Source = bos + pieces + eos; the receiver reads
target_in and is to say target_out, so T = S - 1 unless it is to say something other than what was sent.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from semcom.base.device import copied
from semcom.base.errors import SemcomError, escape
from semcom.channel.channels import Channel
from semcom.channel.draws import Draw, sample
from semcom.data.corpus import Sentence
from semcom.data.settings import MAX_POSITIONS
from semcom.data.vocabulary import BOS, EOS, PAD, Vocabulary

POOL_BATCHES = (
    50  # sentences of this many batches are sorted by length together: little padding, still a random order
)


@dataclass(frozen=True)
class Encoded:
    """A sentence and its source ids (bos + pieces + eos).

    target: the pieces that the receiver is to say, fewer than MAX_POSITIONS; None: the source's own.
    """

    sentence: Sentence
    source: list[int]
    target: list[int] | None = None

    @property
    def said(self) -> list[int]:
        """What the receiver is to say, as bos + pieces + eos."""
        return self.source if self.target is None else [BOS, *self.target, EOS]

    @property
    def target_tokens(self) -> int:
        """Pieces that the receiver is to say, and eos."""
        return len(self.source) - 1 if self.target is None else len(self.target) + 1

    @property
    def length(self) -> int:
        """Tokens of source or target, whichever is longer. Sorted by it, both are padded little; by one of
        them, the other much."""
        return max(len(self.source), self.target_tokens + 1)


Counts = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Lengths:
    """Of N sentences, by their places. longest: [N] as ``Encoded.length``. targets: [N] as
    ``Encoded.target_tokens``."""

    longest: Counts
    targets: Counts


@dataclass(frozen=True)
class Batches(Sequence[list[Encoded]]):
    """Batches of some of the sentences ``encoded``, each fetched when it is asked for. places: of the
    sentences of each batch."""

    encoded: Sequence[Encoded]
    places: list[Places]

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, at: int) -> list[Encoded]: ...

    @overload
    def __getitem__(self, at: slice) -> "Batches": ...

    def __getitem__(self, at: int | slice) -> "list[Encoded] | Batches":
        if isinstance(at, slice):
            return Batches(self.encoded, self.places[at])
        return [self.encoded[place] for place in self.places[at].tolist()]


@dataclass(frozen=True)
class Batch:
    """B sentences padded together.

    sentences: B of them. lengths, target_lengths: B counts of source and of target tokens. source,
    source_mask: [B, S]; target_in, target_out, target_mask: [B, T]. Masks are True at real tokens.
    """

    sentences: list[Sentence]
    lengths: list[int]
    target_lengths: list[int]
    source: Tensor
    source_mask: Tensor
    target_in: Tensor
    target_out: Tensor
    target_mask: Tensor

    def __len__(self) -> int:
        return len(self.sentences)

    @property
    def target_tokens(self) -> int:
        """Real target tokens: pieces and eos."""
        return sum(self.target_lengths)

    def target_pieces(self) -> list[list[int]]:
        """Of each sentence, without its eos."""
        return [self.target_out[i, : n - 1].tolist() for i, n in enumerate(self.target_lengths)]

    def of_sources(self, x: Tensor) -> Tensor:
        """[B, S, ...] -> [M, ...], what stands at the M real source tokens, one sentence after the other."""
        return x.flatten(0, 1).index_select(0, self._source_places)

    def of_targets(self, x: Tensor) -> Tensor:
        """[B, T, ...] -> [N, ...], what stands at the N real target tokens."""
        return x.flatten(0, 1).index_select(0, self._target_places)

    # By the lengths, which are known here: to ask a mask how many tokens it has is to wait for a GPU.
    @cached_property
    def _source_places(self) -> Tensor:
        return _real_places(self.lengths, self.source)

    @cached_property
    def _target_places(self) -> Tensor:
        return _real_places(self.target_lengths, self.target_out)

    def draw(self, channel: Channel, width: int, *, seed: int, number: int) -> Draw:
        """What these sentences meet in ``channel``; ``width`` is C."""
        ids = [sentence.id for sentence in self.sentences]
        size = self.source.shape[1]
        drawn = sample(ids, self.lengths, width, seed=seed, number=number, channel=channel, size=size)
        return drawn.to(self.source.device)

    def to(self, device: torch.device | str) -> "Batch":
        tensors = (self.source, self.source_mask, self.target_in, self.target_out, self.target_mask)
        there = (copied(tensor, device) for tensor in tensors)
        return Batch(self.sentences, self.lengths, self.target_lengths, *there)


def _real_places(lengths: Sequence[int], padded: Tensor) -> Tensor:
    """Places of the first tokens of each sentence, as many as ``lengths`` say, in ``padded`` flattened."""
    real = np.arange(padded.shape[1])[None] < np.asarray(lengths)[:, None]
    return copied(torch.from_numpy(np.flatnonzero(real)), padded.device)


def encode(
    sentences: Sequence[Sentence], vocabulary: Vocabulary, *, leave_out_long: bool = False
) -> list[Encoded]:
    """Each sentence with its source ids.

    One of more tokens than positions exist is left out, or raises SemcomError.
    """
    encoded = []
    for sentence, pieces in zip(sentences, vocabulary.encode([s.text for s in sentences])):
        if len(pieces) + 2 > MAX_POSITIONS:
            if leave_out_long:
                continue
            raise SemcomError(
                f"the sentence has {len(pieces)} pieces, at most {MAX_POSITIONS - 2} are allowed; "
                f"send it in parts: {escape(sentence.text[:60])}…"
            )
        encoded.append(Encoded(sentence, [BOS, *pieces, EOS]))
    return encoded


def collate(encoded: Sequence[Encoded], pad_to: int = 0) -> Batch:
    """Pad sentences together, to ``pad_to`` source tokens at least, and targets as if they were the
    sources."""
    source, source_mask = _padded([e.source for e in encoded], pad_to)
    said, real = _padded([e.said for e in encoded], pad_to)
    target_mask = real[:, 1:]
    return Batch(
        [e.sentence for e in encoded],
        [len(e.source) for e in encoded],
        [e.target_tokens for e in encoded],
        source,
        source_mask,
        said[:, :-1].masked_fill(~target_mask, PAD),
        said[:, 1:],
        target_mask,
    )


def _padded(rows: Sequence[list[int]], pad_to: int) -> tuple[Tensor, Tensor]:
    """Rows of ids padded to the longest or to ``pad_to``, and which of them are real; both [B, ..]."""
    lengths = torch.tensor([len(row) for row in rows])
    width = max(pad_to, *map(len, rows))
    # By way of numpy: torch takes several times as long to read lists.
    ids = torch.from_numpy(np.array([row + [PAD] * (width - len(row)) for row in rows], dtype=np.int64))
    return ids, torch.arange(width)[None] < lengths[:, None]


def by_length(encoded: Sequence[Encoded], batch_size: int, batch_tokens: int | None = None) -> list[Batch]:
    """All sentences, longest first (what does not fit into memory fails at once), in batches as ``shuffled``
    forms them."""
    targets = lengths_of(encoded).targets
    longest_first = sorted(range(len(encoded)), key=lambda i: (-encoded[i].length, encoded[i].sentence.id))
    ordered = np.array(longest_first, dtype=np.int64)
    return [collate(batch) for batch in Batches(encoded, [*_cut(ordered, targets, batch_size, batch_tokens)])]


def lengths_of(encoded: Sequence[Encoded]) -> Lengths:
    """Those that a sequence keeps, or of each of its sentences."""
    kept = getattr(encoded, "lengths", None)
    if isinstance(kept, Lengths):
        return kept
    return Lengths(_counts(e.length for e in encoded), _counts(e.target_tokens for e in encoded))


def _counts(values: Iterable[int]) -> Counts:
    return np.fromiter(values, dtype=np.int32)


def shuffled(
    encoded: Sequence[Encoded], batch_size: int, seed: int, epoch: int, batch_tokens: int | None = None
) -> Batches:
    """One epoch in random order, reproducible from (seed, epoch), each batch of sentences of similar length.

    A batch is ``batch_size`` sentences; with ``batch_tokens``, as many as have that many target tokens,
    padding included.
    """
    lengths = lengths_of(encoded)
    rng = random.Random(f"{seed} {epoch}")
    drawn = list(range(len(encoded)))
    rng.shuffle(drawn)
    order = np.array(drawn, dtype=np.int64)
    if batch_tokens:
        mean = int(lengths.targets.sum(dtype=np.int64)) / max(1, len(order))
        batch_size = max(1, round(batch_tokens / max(1.0, mean)))
    batches: list[Places] = []
    pool = POOL_BATCHES * batch_size
    for start in range(0, len(order), pool):
        drawn_together = order[start : start + pool]
        by_length = drawn_together[np.argsort(lengths.longest[drawn_together], kind="stable")]
        batches += _cut(by_length, lengths.targets, batch_size, batch_tokens)
    rng.shuffle(batches)
    return Batches(encoded, batches)


def _cut(ordered: Places, targets: Counts, batch_size: int, batch_tokens: int | None) -> Iterator[Places]:
    """Neighbours in ``ordered`` as batches; a sentence longer than ``batch_tokens`` is a batch of its own.

    targets: [N] target tokens of each sentence, by its place.
    """
    if not batch_tokens:
        yield from (ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size))
        return
    first, longest = 0, 0
    for number, tokens in enumerate(targets[ordered].tolist()):
        longest = max(longest, tokens)
        if number > first and longest * (number - first + 1) > batch_tokens:
            yield ordered[first:number]
            first, longest = number, tokens
    if first < len(ordered):
        yield ordered[first:]
