"""What pairs of ends make of one batch of sentences: decodings, sums by sentence, states to compare."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from semcom.data.batching import Batch, Encoded, collate
from semcom.data.vocabulary import Vocabulary
from semcom.distillation import losses
from semcom.evaluation.measures import all_sums, columns, slices
from semcom.evaluation.pairs import DECIBEL, LESS, End, Pair, PairKey, Temperatures
from semcom.evaluation.scores import WRONG, Meeting, decoded
from semcom.evaluation.sums import Distributions, PieceSum, Prefixes, TextSums, TokenRows, TokenSum
from semcom.models.link import Transmission, send
from semcom.models.transceiver import Receiver, Transmitter

ROWS_ON_CPU, ROWS_ELSEWHERE = 128, 4096
Totals = dict[str, Tensor]
"""Name of a token sum -> [B], of each sentence."""


@dataclass
class BatchResult:
    """What one batch of B sentences gave, in their order. sums: [S, B, K] by pair. pieces: S lists of B
    decodings. distance, symbols: as ``Signals`` has them. States: of all real tokens, where they are
    wanted."""

    ids: list[int]
    sums: dict[PairKey, np.ndarray] = field(default_factory=dict)
    pieces: dict[PairKey, list[list[list[int]]]] = field(default_factory=dict)
    distance: dict[str, np.ndarray] = field(default_factory=dict)
    symbols: dict[str, np.ndarray] = field(default_factory=dict)
    encoder_states: dict[str, np.ndarray] = field(default_factory=dict)
    decoder_states: dict[PairKey, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """Of ``pairs``, beside ``reference`` (None: beside nothing), which need not be among them. temperatures:
    those fitted for pairs."""

    pairs: Sequence[Pair]
    reference: Pair | None
    vocabulary: Vocabulary
    meeting: Meeting
    temperatures: Temperatures = field(default_factory=dict)

    @cached_property
    def everyone(self) -> list[Pair]:
        """The pairs and their reference."""
        return with_reference(self.pairs, self.reference)

    @cached_property
    def transmitters(self) -> dict[str, End[Transmitter]]:
        return {pair.transmitter.fingerprint: pair.transmitter for pair in self.everyone}

    @cached_property
    def speaking(self) -> list[Pair]:
        """Pairs whose decodings count."""
        return [pair for pair in self.pairs if not pair.forced]

    def of_batch(
        self, batch: Batch, states_at: int | None, advance: Callable[[int], None] = lambda done: None
    ) -> BatchResult:
        """states_at: number of the SNR at which states are kept; None: at none. advance: is told at each SNR
        how many pairs × sentences are done."""
        found = BatchResult([sentence.id for sentence in batch.sentences])
        sent = sent_by(self.everyone, batch, self.meeting)
        self._compare_signals(batch, sent, found)
        if states_at is not None:
            _keep_sent(batch, sent, found)
        received = received_by(self.everyone, sent)
        for pair in self.pairs:
            found.sums[pair.key] = np.full((len(self.meeting.snrs), len(batch), len(columns())), np.nan)
        wrong: dict[PairKey, list[Tensor]] = {pair.key: [] for pair in self.everyone}
        for k in range(len(self.meeting.snrs)):
            at_snr = {key: by_snr[k] for key, by_snr in received.items()}
            states = states_of(self.everyone, batch, at_snr)
            for key, totals in self._after_gold(batch, states).items():
                wrong[key].append(totals.pop(WRONG.name))
                if key in found.sums:
                    fill_in(found.sums[key][k], totals)
            if k == states_at:
                found.decoder_states = {key: of.float().cpu().numpy() for key, of in states.items()}
            advance(len(self.pairs) * len(batch))
        for pair in self.everyone:
            if pair.forced:
                found.pieces[pair.key] = [[[] for _ in batch.sentences] for _ in self.meeting.snrs]
                continue
            known = torch.stack(wrong[pair.key]) == 0
            found.pieces[pair.key] = decoded(
                pair.receiver.module, batch, received[pair.key], known, self.meeting.search
            )
        self._sum_pieces(batch, found)
        self._sum_texts(batch, found)
        self._sum_after_own(batch, received, found)
        return found

    def _compare_signals(self, batch: Batch, sent: Mapping[str, Transmission], found: BatchResult) -> None:
        for fingerprint, of_end in sent.items():
            signal = of_end.signal
            symbols = torch.tensor(batch.lengths, device=signal.device) * signal.shape[-1] / 2
            apart = torch.full_like(symbols, torch.nan)
            if self.reference is not None:
                theirs = sent[self.reference.transmitter.fingerprint].signal
                apart = (signal - theirs).double().square().sum((1, 2))
            found.distance[fingerprint] = (apart / symbols).cpu().numpy()

    def _sum_pieces(self, batch: Batch, found: BatchResult) -> None:
        sent = batch.target_pieces()
        for needed in all_sums():
            if isinstance(needed, PieceSum):
                column = slices()[needed.columns].start
                for pair in self.pairs if needed.of_sent else self.speaking:
                    for sums, decoded in zip(found.sums[pair.key], found.pieces[pair.key]):
                        sums[:, column] = [needed.of(ours, theirs) for ours, theirs in zip(decoded, sent)]

    def _sum_texts(self, batch: Batch, found: BatchResult) -> None:
        texts = {
            key: [self.vocabulary.decode(decoded) for decoded in by_snr]
            for key, by_snr in found.pieces.items()
        }
        against = {"sent": [[sentence.text for sentence in batch.sentences]] * len(self.meeting.snrs)}
        if self.reference is not None:
            against["reference"] = texts[self.reference.key]
        for needed in all_sums():
            if isinstance(needed, TextSums) and needed.against in against:
                for pair in self.speaking:
                    each = zip(found.sums[pair.key], texts[pair.key], against[needed.against])
                    for sums, ours, theirs in each:
                        sums[:, slices()[needed.columns]] = needed.of(self.meeting.scoring, ours, theirs)

    def _token_sums(self, prefixes: Prefixes) -> list[TokenSum]:
        """Those that can be had."""
        return [
            needed
            for needed in all_sums()
            if isinstance(needed, TokenSum)
            and needed.prefixes == prefixes
            and (self.reference is not None or not needed.compares)
        ]

    def _after_gold(self, batch: Batch, states: Mapping[PairKey, Tensor]) -> dict[PairKey, Totals]:
        """Of everyone, after the batch's own targets as prefixes: what is summed after gold ones, what would
        be after the reference's decodings if these say what was sent, and ``WRONG``."""
        return self._totals(batch, [*self._token_sums("gold"), *self._token_sums("own"), WRONG], states)

    def _sum_after_own(
        self, batch: Batch, received: Mapping[PairKey, Sequence[Tensor]], found: BatchResult
    ) -> None:
        """Fill in what is summed after the reference's decodings, of those that do not say what was sent: of
        all SNRs together."""
        wanted = self._token_sums("own")
        if self.reference is None or not wanted:
            return
        sent = batch.target_pieces()
        by_snr = enumerate(found.pieces[self.reference.key])
        others = [
            (_saying(batch, i, pieces), k, i)
            for k, decoded in by_snr
            for i, pieces in enumerate(decoded)
            if pieces != sent[i]
        ]
        others.sort(key=lambda other: -other[0].length)
        arrived = {key: torch.stack(list(at_snrs)) for key, at_snrs in received.items()}
        for start in range(0, len(others), self.meeting.batch_size):
            said, at_snr, of_sentence = zip(*others[start : start + self.meeting.batch_size])
            own = collate(said).to(batch.source.device)
            width = own.source.shape[1]
            at = {key: of_all[at_snr, of_sentence, :width] for key, of_all in arrived.items()}
            for key, totals in self._totals(own, wanted, states_of(self.everyone, own, at)).items():
                for name, total in totals.items() if key in found.sums else ():
                    column = slices()[(name,)].start
                    found.sums[key][at_snr, of_sentence, column] = total.cpu().numpy()

    def _totals(
        self, batch: Batch, wanted: Sequence[TokenSum], states: Mapping[PairKey, Tensor]
    ) -> dict[PairKey, Totals]:
        """Of everyone, the sums of the batch's targets, foretold from ``states``."""
        owner, targets = batch.target_mask.nonzero()[:, 0], batch.target_out[batch.target_mask]
        totals: dict[PairKey, Totals] = {pair.key: {} for pair in self.everyone}
        for rows in row_slices(len(owner), owner.device):
            theirs = None if self.reference is None else distributions_of(self.reference, states, rows)
            for pair in self.everyone:
                if theirs is not None and pair == self.reference:
                    ours = theirs
                else:
                    ours = distributions_of(pair, states, rows)
                tokens = TokenRows(targets[rows], ours, theirs, self.temperatures.get(pair.key))
                add_to(totals[pair.key], wanted, tokens, owner[rows], len(batch))
        return totals


def add_to(
    totals: Totals, wanted: Sequence[TokenSum], tokens: TokenRows, owner: Tensor, sentences: int
) -> None:
    """Add what is ``wanted`` of some target tokens to the totals [B] by name. owner: [rows] number of the
    sentence that each belongs to."""
    for needed in wanted:
        values = needed.of(tokens)
        if values is not None:
            total = totals.setdefault(needed.name, _zeros(sentences, values.device))
            total.index_add_(0, owner, values.double())


def fill_in(sums: np.ndarray, totals: Totals) -> None:
    """Write totals [B] by name into their columns of ``sums`` [B, K]."""
    for name, total in totals.items():
        sums[:, slices()[(name,)].start] = total.cpu().numpy()


def with_reference(pairs: Sequence[Pair], reference: Pair | None) -> list[Pair]:
    """The pairs and, if it is not among them, their reference."""
    known = {pair.key for pair in pairs}
    return list(pairs) if reference is None or reference.key in known else [*pairs, reference]


def make_ready(pairs: Sequence[Pair], meeting: Meeting) -> None:
    """All ends on the meeting's device, in eval mode."""
    for pair in pairs:
        pair.transmitter.module.to(meeting.device).eval()
        pair.receiver.module.to(meeting.device).eval()


def sent_by(pairs: Sequence[Pair], batch: Batch, meeting: Meeting) -> dict[str, Transmission]:
    """By transmitter, each under the draws that it meets."""
    sent = {}
    for fingerprint, end in {pair.transmitter.fingerprint: pair.transmitter for pair in pairs}.items():
        draws = {pair.draw for pair in pairs if pair.transmitter.fingerprint == fingerprint}
        sent[fingerprint] = _sent(end, batch, meeting, draws)
    return sent


def _sent(end: End[Transmitter], batch: Batch, meeting: Meeting, draws: set[int]) -> Transmission:
    if DECIBEL not in draws:
        return send(end.module, batch, meeting.channel, meeting.snrs, seed=meeting.seed, numbers=draws)
    count, lower = len(meeting.snrs), [snr - LESS for snr in meeting.snrs]
    numbers = draws - {DECIBEL} | {0}
    both = send(
        end.module, batch, meeting.channel, [*meeting.snrs, *lower], seed=meeting.seed, numbers=numbers
    )
    received = {number: by_snr[:count] for number, by_snr in both.received.items()}
    return replace(
        both,
        received=received | {DECIBEL: both.received[0][count:]},
        snrs=both.snrs | {DECIBEL: both.snrs[0][count:]},
    )


def received_by(pairs: Sequence[Pair], sent: Mapping[str, Transmission]) -> dict[PairKey, list[Tensor]]:
    """What each pair's receiver is given, at each SNR."""
    return {
        pair.key: sent[pair.transmitter.fingerprint].heard_by(pair.receiver.module, pair.draw)
        for pair in pairs
    }


def states_of(
    pairs: Sequence[Pair], batch: Batch, received: Mapping[PairKey, Tensor]
) -> dict[PairKey, Tensor]:
    """[rows, D] final decoder states by pair at all target tokens, teacher-forced."""
    states = {}
    for pair in pairs:
        states[pair.key] = at_targets(pair.receiver.module, batch, received[pair.key])
    return states


def at_targets(receiver: Receiver, batch: Batch, received: Tensor) -> Tensor:
    """[rows, D] a receiver's final decoder states at all target tokens, teacher-forced."""
    return receiver(received, batch.source_mask, batch.target_in)[batch.target_mask]


def _keep_sent(batch: Batch, sent: Mapping[str, Transmission], found: BatchResult) -> None:
    """Symbols and encoder states of all real tokens."""
    for fingerprint, of_end in sent.items():
        symbols = of_end.signal[batch.source_mask].unflatten(-1, (-1, 2)).flatten(0, 1)
        found.symbols[fingerprint] = symbols.cpu().numpy()
        found.encoder_states[fingerprint] = of_end.state[batch.source_mask].float().cpu().numpy()


def with_targets(batch: Batch, pieces: Sequence[list[int]]) -> Batch:
    """The same sentences in the same order with ``pieces`` as what is to be said."""
    encoded = [_saying(batch, i, said) for i, said in enumerate(pieces)]
    return collate(encoded).to(batch.source.device)


def _saying(batch: Batch, place: int, pieces: list[int]) -> Encoded:
    """One of the batch's sentences, with ``pieces`` as what is to be said."""
    return Encoded(batch.sentences[place], [0] * batch.lengths[place], pieces)


def row_slices(rows: int, device: torch.device) -> Iterator[slice]:
    """On CPUs so few rows at a time that what is computed of all their pieces stays in cache."""
    together = ROWS_ON_CPU if device.type == "cpu" else ROWS_ELSEWHERE
    for start in range(0, rows, together):
        yield slice(start, start + together)


def distributions_of(pair: Pair, states: Mapping[PairKey, Tensor], rows: slice) -> Distributions:
    """What the pair's receiver expects at some of the rows of its states."""
    return expected(pair.receiver.module, states[pair.key][rows])


def expected(receiver: Receiver, states: Tensor) -> Distributions:
    """What a receiver expects after these decoder states [rows, D]."""
    return Distributions(losses.log_softmax(receiver.project(states)), states)


def _zeros(count: int, device: torch.device) -> Tensor:
    return torch.zeros(count, dtype=torch.float64, device=device)
