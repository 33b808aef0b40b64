"""Sentences to batches. The only place that shifts targets and makes masks.

Letters: B sentences, S source tokens, T target tokens. Source = bos + pieces + eos; the receiver reads target_in and
is to say target_out, so T = S - 1.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from semcom.channel import Draw, sample
from semcom.corpus import Sentence
from semcom.errors import SemcomError, escape
from semcom.layers import MAX_POSITIONS
from semcom.vocab import BOS, EOS, PAD, Vocabulary

POOL_BATCHES = 50  # sentences of this many batches are sorted by length together: little padding, still a random order


@dataclass(frozen=True)
class Encoded:
    """A sentence and its source ids (bos + pieces + eos)."""

    sentence: Sentence
    source: list[int]


@dataclass(frozen=True)
class Batch:
    """B sentences padded together.

    sentences: B of them. lengths: B source token counts. source, source_mask: [B, S]; target_in, target_out,
    target_mask: [B, T]. Masks are True at real tokens.
    """

    sentences: list[Sentence]
    lengths: list[int]
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
        return sum(self.lengths) - len(self)

    def draw(self, width: int, *, seed: int, number: int) -> Draw:
        """What these sentences meet in the channel; ``width`` is C."""
        ids = [sentence.id for sentence in self.sentences]
        drawn = sample(ids, self.lengths, width, seed=seed, number=number)
        padding = self.source.shape[1] - drawn.noise.shape[1]
        noise = torch.nn.functional.pad(drawn.noise, (0, 0, 0, padding)) if padding else drawn.noise
        return Draw(drawn.level, drawn.scatter, noise).to(self.source.device)

    def to(self, device: torch.device | str) -> "Batch":
        return Batch(self.sentences, self.lengths, self.source.to(device), self.source_mask.to(device),
                     self.target_in.to(device), self.target_out.to(device), self.target_mask.to(device))


def encode(sentences: Sequence[Sentence], vocabulary: Vocabulary, *, leave_out_long: bool = False) -> list[Encoded]:
    """Each sentence with its source ids.

    One of more tokens than positions exist is left out, or raises SemcomError.
    """
    encoded = []
    for sentence, pieces in zip(sentences, vocabulary.encode([s.text for s in sentences])):
        if len(pieces) + 2 > MAX_POSITIONS:
            if leave_out_long:
                continue
            raise SemcomError(f"the sentence has {len(pieces)} pieces, at most {MAX_POSITIONS - 2} are allowed; "
                              f"send it in parts: {escape(sentence.text[:60])}…")
        encoded.append(Encoded(sentence, [BOS, *pieces, EOS]))
    return encoded


def collate(encoded: Sequence[Encoded], pad_to: int = 0) -> Batch:
    """Pad sentences together, to ``pad_to`` source tokens at least."""
    lengths = [len(e.source) for e in encoded]
    source = torch.full((len(encoded), max(pad_to, *lengths)), PAD)
    for row, e in zip(source, encoded):
        row[: len(e.source)] = torch.tensor(e.source)
    count = torch.tensor(lengths)[:, None]
    position = torch.arange(source.shape[1])[None]
    target_mask = position[:, 1:] < count
    return Batch([e.sentence for e in encoded], lengths, source, position < count,
                 source[:, :-1].masked_fill(~target_mask, PAD), source[:, 1:], target_mask)


def by_length(encoded: Sequence[Encoded], batch_size: int, batch_tokens: int | None = None) -> list[Batch]:
    """All sentences, longest first (what does not fit into memory fails at once), in batches as ``shuffled`` forms them."""
    ordered = sorted(encoded, key=lambda e: (-len(e.source), e.sentence.id))
    return [collate(batch) for batch in _cut(ordered, batch_size, batch_tokens)]


def shuffled(encoded: Sequence[Encoded], batch_size: int, seed: int, epoch: int, batch_tokens: int | None = None) -> list[list[Encoded]]:
    """One epoch in random order, reproducible from (seed, epoch), each batch of sentences of similar length.

    A batch is ``batch_size`` sentences; with ``batch_tokens``, as many as have that many target tokens, padding included.
    """
    rng = random.Random(f"{seed} {epoch}")
    order = list(encoded)
    rng.shuffle(order)
    if batch_tokens:
        mean = sum(len(e.source) - 1 for e in order) / max(1, len(order))
        batch_size = max(1, round(batch_tokens / max(1.0, mean)))
    batches = []
    for start in range(0, len(order), pool := POOL_BATCHES * batch_size):
        batches += _cut(sorted(order[start : start + pool], key=lambda e: len(e.source)), batch_size, batch_tokens)
    rng.shuffle(batches)
    return batches


def _cut(ordered: Sequence[Encoded], batch_size: int, batch_tokens: int | None) -> Iterator[list[Encoded]]:
    """Neighbours in ``ordered`` as batches; a sentence longer than ``batch_tokens`` is a batch of its own."""
    batch: list[Encoded] = []
    longest = 0
    for e in ordered:
        longest = max(longest, len(e.source) - 1)
        if batch and (longest * (len(batch) + 1) > batch_tokens if batch_tokens else len(batch) == batch_size):
            yield batch
            batch, longest = [], len(e.source) - 1
        batch.append(e)
    if batch:
        yield batch
