"""How far a transceiver is from the reference at one SNR, over and over for many transceivers: what the
reference makes of the sentences is computed once and kept."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semcom.data.batching import Batch, Encoded, by_length
from semcom.data.corpus import Sentence
from semcom.data.vocabulary import Vocabulary
from semcom.evaluation.batch_sums import add_to, at_targets, expected, fill_in, row_slices, with_targets
from semcom.evaluation.measures import columns, slices
from semcom.evaluation.scores import Meeting
from semcom.evaluation.sums import Distributions, PieceSum, Prefixes, TextSums, TokenRows, TokenSum
from semcom.evaluation.targets import Target
from semcom.models.checkpoint import fingerprint_of
from semcom.models.link import heard_by, send
from semcom.models.transceiver import Transceiver

KEPT_BYTES = 1 << 30
"""Of the reference's distributions, at most; beyond that its states alone are kept, and distributions made
of them anew each time."""


@dataclass(frozen=True)
class _Reading:
    """Target tokens that every transceiver foretells, and what the reference expects at them.

    said: the batch whose targets they are. states: [rows, D] of the reference. kept: its distributions, slice
    by slice, or None.
    """

    said: Batch
    states: Tensor
    kept: list[Distributions] | None


@dataclass(frozen=True)
class _Heard:
    """What the reference made of a batch. received: [B, S, C], what arrives of its signal. sums: [B, K], its
    own."""

    batch: Batch
    received: Tensor
    readings: dict[Prefixes, _Reading]
    sums: np.ndarray


class Ruler:
    """blocks: of sentences, each measured by itself, so that a value never depends on which others were
    asked for. meeting: of one SNR."""

    def __init__(
        self,
        reference: Transceiver,
        target: Target,
        blocks: Sequence[Sequence[Encoded]],
        vocabulary: Vocabulary,
        meeting: Meeting,
    ):
        # A copy: the reference may be a corner of the path, whose weights stay where they are.
        self.reference = deepcopy(reference).to(meeting.device).eval()
        self.target, self.blocks, self.vocabulary, self.meeting = target, blocks, vocabulary, meeting
        self._sender = fingerprint_of(reference.transmitter)
        self._heard: dict[int, list[_Heard]] = {}
        self._kept_bytes = 0

    def sentences(self, blocks: int) -> int:
        """In the first so many blocks."""
        return sum(len(block) for block in self.blocks[:blocks])

    def order(self, block: int) -> list[Sentence]:
        """The sentences of a block as ``sums`` has them."""
        return [sentence for heard in self._of_reference(block) for sentence in heard.batch.sentences]

    def order_of_all(self) -> list[Sentence]:
        return [sentence for block in range(len(self.blocks)) for sentence in self.order(block)]

    def sums_of_all(self, model: Transceiver) -> tuple[np.ndarray, np.ndarray]:
        """``sums`` of all blocks, one after the other."""
        each = [self.sums(model, block) for block in range(len(self.blocks))]
        ours, theirs = (np.concatenate(parts) for parts in zip(*each))
        return ours, theirs

    @torch.inference_mode()
    def sums(self, model: Transceiver, block: int) -> tuple[np.ndarray, np.ndarray]:
        """[N, K] sums by sentence of ``model`` and of the reference over a block, in one ``order``; NaN in
        columns that the target has no need of."""
        model = model.to(self.meeting.device).eval()
        same_signal = fingerprint_of(model.transmitter) == self._sender
        heard = self._of_reference(block)
        ours = [self._of_model(model, same_signal, of_batch) for of_batch in heard]
        return np.concatenate(ours), np.concatenate([of_batch.sums for of_batch in heard])

    @torch.inference_mode()
    def _of_reference(self, block: int) -> list[_Heard]:
        if block not in self._heard:
            batches = by_length(self.blocks[block], self.meeting.batch_size)
            self._heard[block] = [self._hear(batch.to(self.meeting.device)) for batch in batches]
        return self._heard[block]

    def _hear(self, batch: Batch) -> _Heard:
        received = self._send(self.reference, batch)
        heard = self._heard_by(self.reference, received)
        sums = np.full((len(batch), len(columns())), np.nan)
        decoded = self._decode(self.reference, batch, heard)
        readings = {}
        for prefixes in self._prefixes():
            said = batch if prefixes == "gold" else with_targets(batch, decoded)
            readings[prefixes] = self._read(said, heard)
        found = _Heard(batch, received, readings, sums)
        for prefixes, reading in readings.items():
            self._sum_tokens(self.reference, reading, prefixes, reading.states, sums)
        self._sum_texts(batch, decoded, sums)
        return found

    def _of_model(self, model: Transceiver, same_signal: bool, heard: _Heard) -> np.ndarray:
        batch = heard.batch
        arrived = heard.received if same_signal else self._send(model, batch)
        received = self._heard_by(model, arrived)
        sums = np.full_like(heard.sums, np.nan)
        for prefixes, reading in heard.readings.items():
            states = at_targets(model.receiver, reading.said, received)
            self._sum_tokens(model, reading, prefixes, states, sums)
        self._sum_texts(batch, self._decode(model, batch, received), sums)
        return sums

    def _send(self, model: Transceiver, batch: Batch) -> Tensor:
        meeting = self.meeting
        sent = send(model.transmitter, batch, meeting.channel, meeting.snrs, seed=meeting.seed)
        return sent.received[0][0]

    def _heard_by(self, model: Transceiver, arrived: Tensor) -> Tensor:
        return heard_by(model.receiver, arrived, self.meeting.snrs[0])

    def _decode(self, model: Transceiver, batch: Batch, received: Tensor) -> list[list[int]]:
        """Empty where the target needs no decoding of this model."""
        if not self._needs_text and not (model is self.reference and "own" in self._prefixes()):
            return []
        return self.meeting.search(model.receiver, received, batch.source_mask)

    @property
    def _needs_text(self) -> bool:
        return any(isinstance(needed, TextSums) for needed in self.target.measure.sums)

    def _prefixes(self) -> list[Prefixes]:
        """After which the target's sums look at the next piece."""
        wanted = [needed.prefixes for needed in self.target.measure.sums if isinstance(needed, TokenSum)]
        return list(dict.fromkeys(wanted))

    def _read(self, said: Batch, received: Tensor) -> _Reading:
        states = at_targets(self.reference.receiver, said, received)
        size = len(states) * self.reference.architecture.vocab_size * 4
        if self._kept_bytes + size > KEPT_BYTES:
            return _Reading(said, states, None)
        self._kept_bytes += size
        return _Reading(said, states, list(self._distributions(self.reference, states)))

    def _distributions(self, model: Transceiver, states: Tensor) -> Iterator[Distributions]:
        for rows in row_slices(len(states), states.device):
            yield expected(model.receiver, states[rows])

    def _sum_tokens(
        self, model: Transceiver, reading: _Reading, prefixes: Prefixes, states: Tensor, sums: np.ndarray
    ) -> None:
        """Fill in the token sums of a model's ``states``."""
        said = reading.said
        owner, targets = said.target_mask.nonzero()[:, 0], said.target_out[said.target_mask]
        wanted = [s for s in self.target.measure.sums if isinstance(s, TokenSum) and s.prefixes == prefixes]
        totals: dict[str, Tensor] = {}
        reference = reading.kept or self._distributions(self.reference, reading.states)
        each = zip(row_slices(len(states), states.device), self._distributions(model, states), reference)
        for rows, ours, theirs in each:
            add_to(totals, wanted, TokenRows(targets[rows], ours, theirs), owner[rows], len(said))
        fill_in(sums, totals)

    def _sum_texts(self, batch: Batch, decoded: list[list[int]], sums: np.ndarray) -> None:
        sent = [batch.target_out[i, : n - 1].tolist() for i, n in enumerate(batch.target_lengths)]
        for needed in self.target.measure.sums:
            if isinstance(needed, TextSums):
                texts = self.vocabulary.decode(decoded)
                of_sent = [sentence.text for sentence in batch.sentences]
                sums[:, slices()[needed.columns]] = needed.of(self.meeting.scoring, texts, of_sent)
            elif isinstance(needed, PieceSum):
                # How many tokens were sent is asked for alone where nothing is decoded.
                said = decoded if self._needs_text else sent
                column = slices()[needed.columns].start
                sums[:, column] = [needed.of(ours, theirs) for ours, theirs in zip(said, sent)]
