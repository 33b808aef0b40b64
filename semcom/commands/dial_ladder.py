"""A ladder: for each divergence asked for, the place of a path that has it, and what the hybrid there does on
test sentences that the search never saw."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from semcom.base import progress
from semcom.base.errors import SemcomError
from semcom.channel.channels import make_channel
from semcom.channel.settings import ChannelConfig, is_noisy
from semcom.commands.dial_path import Dialled
from semcom.commands.dial_state import LadderState
from semcom.data.batching import Encoded
from semcom.data.corpus import Corpus, Sentence
from semcom.evaluation import bootstrap, calibration, pair_matrix, path_search
from semcom.evaluation.intervals import Interval
from semcom.evaluation.pairs import Run, pair_up
from semcom.evaluation.path_search import Found, OutOfReach, Reading, Readings
from semcom.evaluation.ruler import Ruler
from semcom.evaluation.scores import Meeting
from semcom.evaluation.settings import EvaluationConfig, TargetConfig
from semcom.evaluation.study import Study
from semcom.evaluation.targets import PREFIXES, TARGETS, Target
from semcom.evaluation.text_scoring import TextScoring
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search
from semcom.models.transceiver import Transceiver

log = logging.getLogger(__name__)


BLOCK = 500
"""Validation or test sentences that are measured together."""
SCANNED_BLOCKS = 2
REPLICATES = 2000
BY_SNR_SENTENCES = 500
"""Test sentences that are decoded at every SNR, at most."""
FURTHER, OTHER = "trained further on", "other text"
"""What a sentence is to the student of a knowledge path."""
WIDER = "a random start, fewer layers, other topics or longer training widen it"


@dataclass(frozen=True)
class FurtherText:
    """What the student of a knowledge path was trained further on: topics of the built-in corpus, or ids of
    the sentences of files."""

    topics: frozenset[str] = frozenset()
    ids: frozenset[int] = frozenset()

    def holds(self, sentence: Sentence) -> bool:
        return sentence.topic in self.topics or sentence.id in self.ids


@dataclass(frozen=True)
class Plan:
    """What is dialled to which targets (ascending), and where it is measured. source: what the path is of.
    validation, test: in the order in which they are taken. flag: by which the targets were given.
    way: the line about the kernels that decode."""

    dialled: Dialled
    source: str
    targets: tuple[float, ...]
    ask: TargetConfig
    channel: ChannelConfig
    evaluation: EvaluationConfig
    way: str
    validation: Sequence[Encoded]
    test: Sequence[Encoded]
    corpus: Corpus
    further: FurtherText
    scoring: TextScoring
    seed: int
    device: torch.device
    quiet: bool
    flag: str = "--target"

    @property
    def target(self) -> Target:
        return TARGETS[self.ask.target_measure]

    @property
    def where(self) -> str:
        """Measure, prefix, SNR, channel and topics, without which no target is quoted."""
        measured = f"{self.ask.target_measure}, {self.target.unit}, {PREFIXES[self.target.prefix]}"
        topics = f", {' '.join(self.ask.target_topics)} alone" if self.ask.target_topics else ""
        return f"{measured}, {self.ask.reference_snr:g} dB, {make_channel(self.channel)}{topics}"

    def meeting(self, snrs: Sequence[float]) -> Meeting:
        evaluation = self.evaluation
        return Meeting(
            make_channel(self.channel),
            snrs,
            self.seed,
            self.device,
            evaluation.eval_batch_size,
            self.quiet,
            search=Search(evaluation.beam_width, evaluation.length_penalty, evaluation.compile == "on"),
            scoring=self.scoring,
        )

    def ruler(self, sentences: Sequence[Encoded]) -> Ruler:
        blocks = [sentences[start : start + BLOCK] for start in range(0, len(sentences), BLOCK)]
        teacher = self.dialled.teacher
        meeting = self.meeting((self.ask.reference_snr,))
        return Ruler(teacher.model, self.target, blocks, teacher.vocabulary, meeting)


@dataclass(frozen=True)
class DialledHybrid:
    """One hybrid. value: on all test sentences. by_text: on a knowledge path, of ``FURTHER`` and ``OTHER``
    the number of sentences and the value on them; one without sentences is left out."""

    found: Found
    hybrid: Checkpoint
    value: Interval
    by_text: dict[str, tuple[int, float]]

    @property
    def target(self) -> float:
        return self.found.target


@dataclass(frozen=True)
class DialledLadder:
    """scan: of the path. study: of the hybrids beside the teacher at all SNRs, each labelled by its
    target."""

    plan: Plan
    scan: list[Reading]
    rungs: list[DialledHybrid]
    study: Study


def target_label(target: float) -> str:
    return f"{target:g}"


# --- the search


def search(plan: Plan, state: LadderState) -> tuple[list[Reading], list[Found]]:
    """The scan of the path, and where each target is. Raises SemcomError for one that is nowhere on the
    path; nothing is then left behind."""
    readings = Readings(plan.dialled.path, plan.ruler(plan.validation), plan.target, state.readings)
    blocks = min(SCANNED_BLOCKS, len(readings.ruler.blocks))
    places = path_search.scan_places(plan.dialled.path.places)
    scan = [
        readings.at(place, blocks) for place in progress.each(places, "scanning the path", quiet=plan.quiet)
    ]
    try:
        for target in plan.targets:
            path_search.check_reach(readings.target, scan, target)
        state.begin(readings.known)
        readings.on_reading = state.keep
        return scan, _find_all(plan, readings, scan)
    except OutOfReach as error:
        state.discard()
        raise SemcomError(
            f"{plan.flag} {error.target:g}: out of reach, this {plan.dialled.path.kind} path goes from "
            f"{error.low:.4g} to {error.high:.4g} ({plan.where}); {WIDER}"
        ) from None


def _find_all(plan: Plan, readings: Readings, scan: Sequence[Reading]) -> list[Found]:
    found: list[Found] = []
    for target in progress.each(plan.targets, "searching", quiet=plan.quiet):
        earlier = [reading for before in found for reading in before.used]
        found.append(path_search.find(readings, scan, target, earlier))
        _tell(plan, found[-1])
    return found


def _tell(plan: Plan, found: Found) -> None:
    reading, target = found.reading, found.target
    log.info(
        f"{target:g}: place {reading.place:.5f} of the path, {reading.value:.5g} on {reading.sentences:,} "
        f"validation sentences (standard error {reading.error:.2g})"
    )
    if found.crossings > 1:
        log.info(
            f"note: {target:g}: the path is not monotone, it has this value {found.crossings} times; taken "
            "is the one nearest to its better end"
        )
    if found.short:
        wanted = plan.target.wanted_error(target, path_search.WANTED_ERROR)
        log.info(
            f"note: {target:g}: the standard error is {reading.error:.2g} on all {reading.sentences:,} "
            f"validation sentences, {wanted:.2g} is wanted; a larger --corpus-size of the dial has more"
        )
    if not found.within:
        log.warning(
            f"{target:g}: found to {abs(reading.value - target) / target:.1%}, the path is too steep or too "
            "rough there"
        )


# --- what is found, on test sentences


def climb(plan: Plan, scan: list[Reading], found: Sequence[Found], cache: Path) -> DialledLadder:
    """The hybrids where the targets are, each measured on the test sentences once. cache: of finished
    parts."""
    ruler = plan.ruler(plan.test)
    rungs = [_rung(plan, ruler, each) for each in progress.each(found, "testing hybrids", quiet=plan.quiet)]
    return DialledLadder(plan, scan, rungs, _by_snr(plan, rungs, cache))


def _rung(plan: Plan, ruler: Ruler, found: Found) -> DialledHybrid:
    model = plan.dialled.path.at(found.reading.place)
    ours, theirs = ruler.sums_of_all(model)
    weights = bootstrap.resamples(len(ours), REPLICATES, plan.seed)
    value = bootstrap.interval(plan.target.value(weights @ ours, weights @ theirs))
    assert value is not None  # targets are had of every pair
    if value.high - value.low > found.target:
        log.warning(
            f"{found.target:g}: lies within the noise of {len(ours):,} test sentences (95 % interval "
            f"{value.low:.3g} to {value.high:.3g}); the dial measures more with --sentences or a "
            "larger --corpus-size"
        )
    by_text = _by_text(plan, ruler, ours, theirs)
    return DialledHybrid(found, _hybrid(plan, found, model), value, by_text)


def _by_text(plan: Plan, ruler: Ruler, ours: np.ndarray, theirs: np.ndarray) -> dict[str, tuple[int, float]]:
    if plan.dialled.path.kind != "knowledge":
        return {}
    further = np.array([plan.further.holds(sentence) for sentence in ruler.order_of_all()])
    found = {}
    for name, kept in ((FURTHER, further), (OTHER, ~further)):
        if kept.any():
            value = plan.target.value(ours[kept].sum(0), theirs[kept].sum(0))
            found[name] = int(kept.sum()), float(value)
    return found


def _hybrid(plan: Plan, found: Found, model: Transceiver) -> Checkpoint:
    dialled, place = plan.dialled, found.reading.place
    said = f"dialled to place {place:.5f} of the {dialled.path.kind} path of {plan.source}"
    origin = {**dialled.best.origin, **dict.fromkeys(_dialled_parts(dialled), said)}
    return replace(dialled.best, model=model, origin=origin, metrics={}, path="")


def _dialled_parts(dialled: Dialled) -> list[str]:
    """Parts whose weights the path changes."""
    first, last = dialled.path.snapshots[0], dialled.path.snapshots[-1]
    moved = []
    for part in first.parts():
        ours, theirs = first.part(part).state_dict(), last.part(part).state_dict()
        if not all(torch.equal(ours[name], theirs[name]) for name in ours):
            moved.append(part)
    return moved


def _by_snr(plan: Plan, rungs: Sequence[DialledHybrid], cache: Path) -> Study:
    teacher, snr = plan.dialled.teacher, plan.ask.reference_snr
    runs = [Run(target_label(rung.target), rung.hybrid, rung.hybrid.config) for rung in rungs]
    who = pair_up(teacher, runs)
    who.pairs = list({pair.key: pair for pair in (who.reference, *who.own.values())}.values())
    meeting = plan.meeting(tuple(sorted({*plan.evaluation.snr, snr})))
    fitted_on = plan.validation[: calibration.SENTENCES]
    measured = pair_matrix.measure(
        who.pairs,
        who.reference,
        plan.test[:BY_SNR_SENTENCES],
        teacher.vocabulary,
        meeting,
        cka_snr=snr,
        cache=cache,
        temperatures=calibration.fit(who.pairs, who.reference, fitted_on, meeting, snr),
    )
    channel = meeting.channel
    return Study(
        who,
        measured,
        str(channel),
        is_noisy(channel.name),
        snr,
        REPLICATES,
        plan.seed,
        teacher.vocabulary.decode,
    )
