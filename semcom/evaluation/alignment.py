"""Two ends that never met, joined by a map learned from pilots: what it gains in BLEU, beside its controls.

The gain is that of the aligned pair over the same ends without a map. Two controls say what it is not. The
same map, fitted and applied on the receiver's own pair, says what of it is denoising. The pilots' complex
symbols, spent on sending data again, say what they would have bought without any map. Letters: N sentences
measured, R replicates of a bootstrap over them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

import numpy as np

from semcom.base.progress import Progress
from semcom.data.batching import Encoded
from semcom.data.vocabulary import Vocabulary
from semcom.distillation.aligner_settings import TUNED, TuningConfig
from semcom.distillation.aligners import fit_aligner
from semcom.distillation.pilot_tuning import tuned
from semcom.evaluation import bootstrap, text_metrics
from semcom.evaluation.alignment_parts import Parts
from semcom.evaluation.intervals import Interval
from semcom.evaluation.pilots import SNR, Air, Ends, PilotRows, pilot_rows, symbols_of
from semcom.evaluation.scores import Entrant, Meeting, decode
from semcom.models.settings import RECEIVER_PARTS
from semcom.models.transceiver import Transceiver, splice, with_aligner

NONE = "none"
UNALIGNED, OWN, SENDERS = "unaligned", "own", "senders"
"""Pairs without a map: the foreign ends; the receiver's own pair; the transmitter's own."""


@dataclass(frozen=True)
class Plan:
    """What is measured. pilots: of each draw its sentences, as many as the largest of ``counts``, of which
    smaller counts take the first. texts: of the training split, without what a transmitter makes of them; of
    ways that need none, none. saved_at: the SNR of the maps that are kept. tuning: of ends that are
    trained on pilots. of_range: one map for all SNRs, of pilots received at SNRs between them, in the place
    of one an SNR."""

    ends: Ends
    ways: Sequence[str]
    counts: Sequence[int]
    pilots: Sequence[Sequence[Encoded]]
    texts: Sequence[Encoded]
    test: Sequence[Encoded]
    vocabulary: Vocabulary
    meeting: Meeting
    saved_at: float
    tuning: TuningConfig = TuningConfig()
    of_range: bool = False
    replicates: int = 1000

    @property
    def maps_at(self) -> list[tuple[SNR, tuple[float, ...]]]:
        """Where pilots are received for a map, and the SNRs at which it is used."""
        snrs = tuple(self.meeting.snrs)
        if self.of_range:
            return [((min(snrs), max(snrs)), snrs)]
        return [(snr, (snr,)) for snr in snrs]

    @property
    def decodings(self) -> int:
        """Of all test sentences at one SNR."""
        draws = sum(len(self.pilots) + self.controls(way) for way in self.ways if way != NONE)
        return len(self.meeting.snrs) * (draws * len(self.counts) + len(self.without_map))

    def controls(self, way: str) -> int:
        """Of how many draws the receiver's own pair is joined too: the first alone where that is a
        training."""
        return 1 if way in TUNED else len(self.pilots)

    @property
    def without_map(self) -> tuple[str, ...]:
        repeated = [received(times) for times in self.receptions]
        return (OWN, SENDERS, *([UNALIGNED] if self.ends.join else []), *repeated)

    @property
    def receptions(self) -> list[int]:
        """How often data are sent, of the foreign ends without a map, where the pilots' symbols are spent on
        that; once is not among them."""
        if not self.repeats:
            return []
        bought = [repetitions(self, float(np.mean(self.symbols(count)))) for count in self.counts]
        return sorted({1 + again + more for again, rest in bought for more in (0, int(rest > 0))} - {1})

    def symbols(self, count: int) -> list[int]:
        """Complex symbols of so many pilots, a draw each."""
        width = self.ends.sender.architecture.channel_dim
        return [symbols_of(drawn[:count], width) for drawn in self.pilots]

    @property
    def repeats(self) -> bool:
        """Whether receptions can be combined without a map: the receiver knows their gains."""
        return self.ends.join and getattr(self.meeting.channel, "csi", "perfect") != "none"


@dataclass(frozen=True)
class Case:
    """A map: how it was fitted, from how many pilot sentences of which draw, and where it is used."""

    way: str
    pilots: int
    draw: int
    snr: float


@dataclass
class Found:
    """Sums of BLEU, [N, 10] by sentence: of pairs without a map by name and SNR, of aligned ones, and of the
    receiver's own pair under a map of its own. symbols: count -> complex symbols of the pilots, a draw each.
    kept: way -> the pair joined by the map of the most pilots, first draw, at ``Plan.saved_at``."""

    plan: Plan
    parts: Parts = field(default_factory=Parts)
    fixed: dict[tuple[str, float], np.ndarray] = field(default_factory=dict)
    aligned: dict[Case, np.ndarray] = field(default_factory=dict)
    own_aligned: dict[Case, np.ndarray] = field(default_factory=dict)
    symbols: dict[int, list[int]] = field(default_factory=dict)
    kept: dict[str, Transceiver] = field(default_factory=dict)


def measure(plan: Plan, parts: Parts | None = None) -> Found:
    """All pairs on the same sentences under the same draws. parts: that are known, and where others go."""
    found = Found(plan, parts or Parts())
    found.symbols = {count: plan.symbols(count) for count in plan.counts}
    with Progress(plan.decodings, "decoding", quiet=plan.meeting.quiet) as bar:
        _without_map(found, bar)
        for number in range(len(plan.pilots)):
            _of_draw(found, number, bar)
    return found


def _without_map(found: Found, bar: Progress) -> None:
    plan = found.plan
    snrs, quiet = plan.meeting.snrs, replace(plan.meeting, quiet=True)
    times_of = {received(times): times for times in plan.receptions}
    pairs = {OWN: plan.ends.listener, SENDERS: plan.ends.sender}
    if plan.ends.join:
        together = splice(plan.ends.sender, plan.ends.listener, RECEIVER_PARTS)
        pairs |= dict.fromkeys((UNALIGNED, *times_of), together)
    for name in plan.without_map:
        bar.name(f"decoding: {name}")
        there = replace(quiet, receptions=times_of.get(name, 1))
        part = {"without a map": name}
        known = found.parts.read(part, len(snrs), len(plan.test))
        if known is None:
            known = _sums(Entrant(name, pairs[name]), plan, there)
            found.parts.keep(part, known)
        found.fixed |= {(name, snr): sums for snr, sums in zip(snrs, known)}
        bar.advance(len(snrs))


def _of_draw(found: Found, number: int, bar: Progress) -> None:
    """All maps of one draw of pilots."""
    plan = found.plan
    foreign, own = _Learner(plan, plan.ends, number), _Learner(plan, plan.ends.listeners_own, number)
    for way in plan.ways:
        for count in plan.counts:
            bar.name(f"{way}, {count} pilots, draw {number + 1}")
            _aligned(found, found.aligned, foreign, way, count, bar)
            if number < plan.controls(way):
                _aligned(found, found.own_aligned, own, way, count, bar)


# Six arguments: where sums go, whose, how it is joined, and the bar.
def _aligned(
    found: Found, sums: dict[Case, np.ndarray], learner: "_Learner", way: str, count: int, bar: Progress
) -> None:
    plan, foreign = found.plan, sums is found.aligned
    for received_at, used_at in plan.maps_at:
        cases = [Case(way, count, learner.number, snr) for snr in used_at]
        if way == NONE:
            name = UNALIGNED if foreign else OWN
            sums |= {case: found.fixed[name, case.snr] for case in cases}
            continue
        is_kept = foreign and Case(way, max(plan.counts), 0, plan.saved_at) in cases
        part = {"of": "foreign" if foreign else "own", **asdict(cases[0]), "at": list(used_at)}
        known = found.parts.read(part, len(used_at), len(plan.test))
        model = found.parts.read_joined(way) if known and is_kept else None
        if known is None or (is_kept and model is None):
            model = learner.joined(way, count, received_at)
            known = _sums(Entrant(way, model), plan, replace(plan.meeting, snrs=used_at, quiet=True))
            if is_kept:
                found.parts.keep_joined(way, model, plan.vocabulary)
            found.parts.keep(part, known)
        sums |= dict(zip(cases, known))
        bar.advance(len(used_at))
        if is_kept and model is not None:
            found.kept[way] = model.cpu()


class _Learner:
    """Maps of one link, from draw ``number`` of the pilots."""

    def __init__(self, plan: Plan, ends: Ends, number: int):
        meeting = plan.meeting
        self.plan, self.ends, self.number = plan, ends, number
        self.air = Air(meeting.channel, meeting.seed, meeting.device)

    @cached_property
    def rows(self) -> dict[SNR, PilotRows]:
        """By the SNR at which they are received."""
        places = [received_at for received_at, _ in self.plan.maps_at]
        found = pilot_rows(self.ends, self.plan.pilots[self.number], places, self.air)
        return dict(zip(places, found))

    def joined(self, way: str, count: int, received_at: SNR) -> Transceiver:
        """By the first ``count`` pilots."""
        seed = self.air.seed + self.number
        if way in TUNED:
            return tuned(
                way,
                self.ends.sender,
                self.ends.listener,
                self.plan.pilots[self.number][:count],
                texts=self.plan.texts,
                channel=self.air.channel,
                snr=received_at,
                seed=self.air.seed,
                device=self.air.device,
                config=self.plan.tuning,
                compiled=self.plan.meeting.search.compiled,
            )
        aligner = fit_aligner(way, self.rows[received_at].first(count), seed=seed)
        return with_aligner(self.ends.sender, self.ends.listener, aligner)


def _sums(pair: Entrant, plan: Plan, meeting: Meeting) -> list[np.ndarray]:
    """[N, 10] at each SNR."""
    texts = [e.sentence.text for e in plan.test]
    decoded = decode(pair, plan.test, plan.vocabulary, meeting)
    return [meeting.scoring.bleu_statistics(read.texts, texts) for read in decoded]


# --- sums -> rows


LEAST_TO_RECOVER = 2.0
"""BLEU that the receiver's own pair has to be above the unaligned one, with 95 % certainty, before a share of
it is told."""
LEAST_DRAWS = 3
"""Of pilots, of which an interval is told: Student's of two is 13 times as wide as they lie apart."""
Row = Mapping[str, object]


def rows(found: Found) -> list[Row]:
    """A row a way, number of pilots and SNR, with intervals.

    bleu: of the aligned pair. gain: that less ``unaligned``. recovery: gain over own - unaligned, None unless
    that is above ``LEAST_TO_RECOVER``. own_aligned, own_gain: the map on the receiver's own pair. repeated,
    repeated_gain: the foreign pair without a map, the pilots' symbols spent on sending data again;
    repeated_share: how often a sentence is, in the mean. Intervals are Student's over draws of pilots
    where there are ``LEAST_DRAWS``; of fewer, those named ``_over_sentences``, and of pairs without a map,
    they are of a paired bootstrap.
    """
    plan = found.plan
    weights = bootstrap.resamples(len(plan.test), plan.replicates, plan.meeting.seed)
    table = _Table(found, lambda sums: text_metrics.bleu_of(weights @ sums))
    return [
        table.row(way, count, snr) for way in plan.ways for count in plan.counts for snr in plan.meeting.snrs
    ]


@dataclass
class _Table:
    """bleu: sums by sentence -> [R+1] of the sentences and their resamples."""

    found: Found
    bleu: Callable[[np.ndarray], np.ndarray]

    def row(self, way: str, count: int, snr: float) -> Row:
        found, plan = self.found, self.found.plan
        cases = [Case(way, count, draw, snr) for draw in range(len(plan.pilots))]
        aligned = [self.bleu(found.aligned[case]) for case in cases]
        own_aligned = [self.bleu(found.own_aligned[case]) for case in cases[: plan.controls(way)]]
        own = self.bleu(found.fixed[OWN, snr])
        return {
            "way": way,
            "pilots": count,
            "symbols": float(np.mean(found.symbols[count])),
            "snr": snr,
            "bleu": _over_draws(aligned),
            **self._of_gain(aligned, own, snr),
            "own": bootstrap.interval(own),
            "senders": bootstrap.interval(self.bleu(found.fixed[SENDERS, snr])),
            "own_aligned": _over_draws(own_aligned),
            "own_gain": _over_draws([value - own for value in own_aligned]),
            **self._of_repetition(count, snr),
        }

    def _of_gain(self, aligned: list[np.ndarray], own: np.ndarray, snr: float) -> Row:
        """Nothing where there is no unaligned pair."""
        if not self.found.plan.ends.join:
            return dict.fromkeys(GAINS)
        unaligned = self.bleu(self.found.fixed[UNALIGNED, snr])
        gains = [value - unaligned for value in aligned]
        missing = own - unaligned
        recoverable = (bound := bootstrap.interval(missing)) is not None and bound.low > LEAST_TO_RECOVER
        return {
            "unaligned": bootstrap.interval(unaligned),
            "gain": _over_draws(gains),
            "gain_over_sentences": bootstrap.interval(np.mean(gains, axis=0)),
            "recovery": _over_draws([gain / missing for gain in gains]) if recoverable else None,
            "recovery_over_sentences": (
                bootstrap.interval(np.mean(gains, axis=0) / missing) if recoverable else None
            ),
        }

    def _of_repetition(self, count: int, snr: float) -> Row:
        found, plan = self.found, self.found.plan
        if not plan.repeats:
            return dict.fromkeys(REPEATED)
        again, paid = repetitions(plan, float(np.mean(found.symbols[count])))
        once, most = found.fixed[UNALIGNED, snr], found.fixed[received(1 + again), snr]
        more = found.fixed[received(2 + again), snr] if paid else most
        repeated = self.bleu(np.concatenate([more[:paid], most[paid:]]))
        return {
            "repeated": bootstrap.interval(repeated),
            "repeated_gain": bootstrap.interval(repeated - self.bleu(once)),
            "repeated_share": again + paid / len(plan.test),
        }


def _over_draws(values: Sequence[np.ndarray]) -> Interval | None:
    """Of [R+1] resamples of each draw of pilots, the mean: of few draws with the interval of sentences."""
    if len(values) < LEAST_DRAWS:
        return bootstrap.interval(np.mean(values, axis=0))
    return bootstrap.over_seeds(values)


GAINS = ("unaligned", "gain", "gain_over_sentences", "recovery", "recovery_over_sentences")
REPEATED = ("repeated", "repeated_gain", "repeated_share")


def received(times: int) -> str:
    """Name of the foreign ends without a map where data are sent so often."""
    return UNALIGNED if times == 1 else f"sent {times} times"


def repetitions(plan: Plan, symbols: float) -> tuple[int, int]:
    """How often so many complex symbols send all test sentences again, and how many of them, in their order,
    which says nothing of them, once more than that."""
    width = plan.ends.sender.architecture.channel_dim
    costs = np.cumsum([symbols_of([e], width) for e in plan.test])
    again, left = divmod(symbols, costs[-1])
    return int(again), int(np.searchsorted(costs, left, side="right"))
