"""Ladders: the hybrids dialled on one path, what each measures here beside what was asked of it, and hybrids
of the same amount of divergence on paths of other kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from semcom.evaluation import bootstrap, frames, measures
from semcom.evaluation.dialled import Dial
from semcom.evaluation.intervals import Interval
from semcom.evaluation.pairs import PART, Pair, Run
from semcom.evaluation.targets import BLEU_DROP
from semcom.evaluation.text_scoring import way_of
from semcom.models.architecture import Architecture

if TYPE_CHECKING:
    from semcom.evaluation.study import Study

WORDS_LOST = "words_lost"
AMOUNT = "kl_divergence"
"""What two hybrids have as much of whose targets are not of one scale."""
NEAR = 0.05
"""Two amounts are equal up to this share of the larger."""
CALIBRATED = "kl_calibrated"
COMPARED = (AMOUNT, CALIBRATED, "bleu", "agreement_rate", WORDS_LOST, "exact")
"""Measures that stand side by side, of those that there are."""
TRAINING = ("student_init", "distill_weight", "corpus", "topics", "exclude_topics")
"""Settings of a run by which what it learned is of another kind."""


@dataclass(frozen=True)
class Rung:
    """A run that was dialled, and how."""

    run: Run
    dial: Dial


@dataclass(frozen=True)
class Kind:
    """What sets ladders apart beyond their seed: the kind of path, the part that was trained, the sizes, and
    how it was trained: of each of ``TRAINING`` its value as text, empty where there is none."""

    path: str
    part: str
    architecture: Architecture
    training: tuple[str, ...] = ("",) * len(TRAINING)


@dataclass(frozen=True)
class Ladder:
    """Rungs of one path and scale, by target. name: where they are, once in a study."""

    name: str
    kind: Kind
    seed: object
    rungs: tuple[Rung, ...]

    @property
    def dial(self) -> Dial:
        """Of its first rung, which has path and scale in common with the others."""
        return self.rungs[0].dial


Sides = tuple[Interval | None, Interval | None, Interval | None]
"""Of the first, of the second, first - second."""


@dataclass(frozen=True)
class Comparison:
    """Rungs of two kinds that have the same amount.

    first, second: of each seed that both have (or, where they share none, one of each). asked: the target of
    both, None where the amounts are measured alone. values: by measure; of several seeds means with Student's
    interval, of one a bootstrap over sentences, paired.
    """

    first: tuple[Rung, ...]
    second: tuple[Rung, ...]
    kinds: tuple[Kind, Kind]
    asked: float | None
    values: Mapping[str, Sides]


class Ladders:
    """Of the dialled runs of a study."""

    def __init__(self, study: Study):
        self.study = study
        self._of_runs: dict[str, dict[str, np.ndarray]] = {}

    @cached_property
    def ladders(self) -> list[Ladder]:
        """In the order of their first rungs."""
        groups: dict[tuple[object, ...], list[Rung]] = {}
        for run in self.study.pairing.runs:
            if run.dial is not None:
                where = run.dial.run or _folder(run)
                key = (where, run.dial.path, run.dial.scale, run.seed)
                groups.setdefault(key, []).append(Rung(run, run.dial))
        names: dict[str, int] = {}
        return [_ladder(group, names) for group in groups.values()]

    @cached_property
    def rows(self) -> pd.DataFrame:
        """A row a rung: what was asked of it, what it reached here and, as recorded, on its own test, and its
        values at the reference SNR."""
        return frames.frame_of([self._row(ladder, rung) for ladder in self.ladders for rung in ladder.rungs])

    def _row(self, ladder: Ladder, rung: Rung) -> dict[str, object]:
        dial = rung.dial
        values = {name: bootstrap.interval(value) for name, value in self.values(rung.run).items()}
        return {
            "run": rung.run.label,
            "ladder": ladder.name,
            "path": dial.path,
            "place": dial.place,
            "measure": dial.measure,
            "prefix": dial.prefix,
            "channel": dial.channel,
            "snr": dial.snr,
            "topics": dial.topics,
            "target": dial.target,
            "reached": self.reached(rung),
            "recorded": dial.test,
            **values,
        }

    def reached(self, rung: Rung) -> Interval | None:
        """What was asked for, as it is on this study's sentences (those of the topics asked for); None where
        measure, SNR, channel, reference or words of BLEU of the dial are not measured here."""
        study, dial = self.study, rung.dial
        if dial.channel != study.channel or dial.snr not in study.snrs:
            return None
        if not dial.is_from(study.pairing.teacher):
            return None
        if dial.way and dial.way != way_of(study.measured.scoring.record):
            return None
        ours, theirs = (
            self._on_topics(pair, dial)
            for pair in (study.pairing.own[rung.run.label], study.pairing.reference)
        )
        if dial.measure == BLEU_DROP:
            return bootstrap.interval(theirs["bleu"] - ours["bleu"])
        for measure in measures.with_gap():
            if dial.measure == measure.gap_name:
                return bootstrap.interval(ours[measure.name] - theirs[measure.name])
        return bootstrap.interval(ours[dial.measure]) if dial.measure in ours else None

    def _on_topics(self, pair: Pair, dial: Dial) -> dict[str, np.ndarray]:
        """Every measure of a pair at the dial's SNR, [R+1]."""
        study, k = self.study, self.study.snrs.index(dial.snr)
        if dial.topics is None:
            return {name: values[k] for name, values in study.values(pair).items()}
        asked = np.array([sentence.topic in dial.topics for sentence in study.sentences])
        sums = study.measured.pairs[pair.key].sums[k]
        return measures.of_sentences(sums[asked], weights=study.weights[:, asked])

    def values(self, run: Run) -> dict[str, np.ndarray]:
        """``COMPARED`` of a run's own pair at the reference SNR, [R+1] each."""
        if run.label not in self._of_runs:
            pair, k = self.study.pairing.own[run.label], self.study.at_reference
            known = self.study.values(pair)
            found = {name: known[name][k] for name in COMPARED if name in known}
            self._of_runs[run.label] = found | {WORDS_LOST: self._words_lost(pair)}
        return self._of_runs[run.label]

    def _words_lost(self, pair: Pair) -> np.ndarray:
        """Share of all words, [R+1]."""
        tally = self.study.weights @ self.study.sent.loss(self.study.texts(pair)).in_all()
        with np.errstate(invalid="ignore"):
            return tally[:, 0] / tally[:, 1]

    def within(self) -> list[bool]:
        """Of each rung measured here: whether it has what was asked of it, within 5 % or its interval."""
        told = [(row["target"], row["reached"]) for row in frames.records(self.rows)]
        return [
            abs(reached.value - target) <= NEAR * target or reached.low <= target <= reached.high
            for target, reached in told
            if isinstance(reached, Interval)
        ]

    # --- the same amount, other kinds

    def same_amount(self) -> list[Comparison]:
        """Of each two kinds, hybrids of which the same was asked, and those beside them whose KL at the
        reference SNR is the same within 5 %."""
        kinds: dict[Kind, list[Ladder]] = {}
        for ladder in self.ladders:
            kinds.setdefault(ladder.kind, []).append(ladder)
        return [
            comparison
            for one, other in combinations(kinds, 2)
            for comparison in self._of_two_kinds(
                _by_request(kinds[one]), _by_request(kinds[other]), (one, other)
            )
        ]

    def _of_two_kinds(
        self, ours: Requests, theirs: Requests, kinds: tuple[Kind, Kind]
    ) -> Iterator[Comparison]:
        for request in ours:
            # What was asked of both says it; only where nothing was do measured amounts.
            others = [request] if request in theirs else [other for other in theirs if other not in ours]
            of_both = [(other, *sides) for other in others for sides in product(ours[request], theirs[other])]
            for other, one_side, other_side in of_both:
                first, second = _matched(one_side, other_side)
                if other == request or self._near(first, second):
                    asked = first[0].dial.target if other == request else None
                    yield Comparison(first, second, kinds, asked, self._side_by_side(first, second))

    def _near(self, first: Sequence[Rung], second: Sequence[Rung]) -> bool:
        one, other = (fmean(float(self.values(rung.run)[AMOUNT][0]) for rung in of) for of in (first, second))
        return abs(one - other) <= NEAR * max(one, other)

    def _side_by_side(self, first: Sequence[Rung], second: Sequence[Rung]) -> dict[str, Sides]:
        ours, theirs = ([self.values(rung.run) for rung in of] for of in (first, second))
        return {
            name: (
                bootstrap.over_seeds([values[name] for values in ours]),
                bootstrap.over_seeds([values[name] for values in theirs]),
                bootstrap.over_seeds([one[name] - other[name] for one, other in zip(ours, theirs)]),
            )
            for name in COMPARED
            if name in ours[0]
        }


BySeed = dict[object, Rung]
Requests = Mapping[tuple[object, ...], Sequence[BySeed]]
"""Scale and target -> seed -> the rung; a further such mapping for those that share kind, seed and target
with one before."""


def _ladder(group: Sequence[Rung], names: dict[str, int]) -> Ladder:
    """names: how often each was used; counts this one."""
    rungs = tuple(sorted(group, key=lambda rung: rung.dial.target))
    run, dial = rungs[0].run, rungs[0].dial
    base = _folder(run)
    names[base] = names.get(base, 0) + 1
    name = base if names[base] == 1 else f"{base} ({names[base]})"
    training = tuple(_as_text(run.made.get(setting)) for setting in TRAINING)
    kind = Kind(dial.path, str(run.made.get(PART)), run.checkpoint.model.architecture, training)
    return Ladder(name, kind, run.seed, rungs)


def _as_text(value: object) -> str:
    """Of a setting; lists in any order are one."""
    if isinstance(value, (list, tuple)):
        return " ".join(sorted(map(str, value)))
    if isinstance(value, (int, float)):
        return f"{value:g}"
    return "" if value is None else str(value)


def _folder(run: Run) -> str:
    """What stands before the target in a label; of a checkpoint that was named by itself the folder of the
    run that was dialled."""
    folder, slash, _ = run.label.rpartition("/")
    return folder if slash else (run.dial.run if run.dial else "") or run.label


def _by_request(ladders: Sequence[Ladder]) -> Requests:
    found: dict[tuple[object, ...], list[BySeed]] = {}
    for ladder in ladders:
        for rung in ladder.rungs:
            alike = found.setdefault((*rung.dial.scale, rung.dial.target), [])
            free = next((by_seed for by_seed in alike if ladder.seed not in by_seed), None)
            if free is None:
                free = {}
                alike.append(free)
            free[ladder.seed] = rung
    return found


def _matched(
    ours: Mapping[object, Rung], theirs: Mapping[object, Rung]
) -> tuple[tuple[Rung, ...], tuple[Rung, ...]]:
    """Rungs of the seeds that both have; where there are none, the first of each."""
    shared = [seed for seed in ours if seed in theirs]
    if shared:
        return tuple(ours[seed] for seed in shared), tuple(theirs[seed] for seed in shared)
    return (next(iter(ours.values())),), (next(iter(theirs.values())),)
