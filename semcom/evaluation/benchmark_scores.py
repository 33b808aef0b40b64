"""Scores of the benchmark: how much of what the ladder's mismatch costs an entry wins back.

A cell is a rung at an SNR. In each, BLEU of the entry stands between two of the teacher's receiver: that of
the rung as it is, and that of the teacher's own pair. Letters: N test sentences, R replicates of a
bootstrap over them, by which all cells of all entries are resampled alike.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from semcom.base.errors import SemcomError, shown
from semcom.base.progress import Progress
from semcom.evaluation import bootstrap, text_metrics
from semcom.evaluation.benchmark_entries import Entry, Lesson, unaligned
from semcom.evaluation.benchmark_ladder import Rung
from semcom.evaluation.benchmark_task import CHANNEL, SCORING, SEARCH, Stage
from semcom.evaluation.intervals import Interval
from semcom.evaluation.pilots import Air, Ends, pilot_rows
from semcom.evaluation.scores import Entrant, Meeting, decode
from semcom.models.checkpoint import fingerprint_of
from semcom.models.transceiver import Transceiver

LEAST_TO_RECOVER = 2.0
"""BLEU that lie between a rung as it is and the teacher's own pair, with 95 % certainty, before a share of
them is told of a single cell."""
NO_PILOTS = 0
Row = dict[str, object]


@dataclass(frozen=True)
class Cell:
    """pilots: how many; ``NO_PILOTS`` of an entry that needs none. draw: of the pilots."""

    rung: Rung
    snr: float
    pilots: int
    draw: int


@dataclass
class Sums:
    """Sums of BLEU by sentence, [N, 10] each. own: of the entry's own pair, by SNR."""

    cells: dict[Cell, np.ndarray] = field(default_factory=dict)
    own: dict[float, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Hall:
    """Where entries are scored: the task made ready, the device, batches, the bar."""

    stage: Stage
    device: torch.device
    batch_size: int
    bar: Progress

    def sums(self, model: Transceiver, snrs: Sequence[float], doing: str) -> list[np.ndarray]:
        """Of the test sentences through a pair, an SNR each."""
        stage = self.stage
        seed = stage.task.seed
        self.bar.name(doing)
        meeting = Meeting(
            CHANNEL, snrs, seed, self.device, self.batch_size, True, search=SEARCH, scoring=SCORING
        )
        read = decode(Entrant(doing, model), stage.test, stage.teacher.vocabulary, meeting)
        self.bar.advance(len(snrs))
        texts = [e.sentence.text for e in stage.test]
        return [SCORING.bleu_statistics(of_one.texts, texts) for of_one in read]


def decodings(stage: Stage, entries: Sequence[Entry]) -> int:
    """How often the test sentences are decoded."""
    task = stage.task
    cells, lessons = len(task.rungs) * len(task.snrs), len(task.pilot_counts) * len(task.pilot_draws)
    return sum(len(task.snrs) + cells * (lessons if entry.join else 1) for entry in entries)


def measure(entry: Entry, hall: Hall) -> Sums:
    """All cells of one entry."""
    task, found = hall.stage.task, Sums()
    own = hall.sums(entry.listener, task.snrs, f"{entry.name}, own pair")
    found.own = dict(zip(task.snrs, own))
    for rung, sender in hall.stage.rungs.items():
        ends = Ends(sender, entry.listener)
        if entry.join is None:
            sums = hall.sums(unaligned(ends), task.snrs, f"{entry.name}, {rung.name}")
            found.cells |= {Cell(rung, snr, NO_PILOTS, 0): of_one for snr, of_one in zip(task.snrs, sums)}
            continue
        for draw in task.pilot_draws:
            _of_draw(entry, hall, found, rung, draw)
    return found


def _of_draw(entry: Entry, hall: Hall, found: Sums, rung: Rung, draw: int) -> None:
    """Cells of a rung, of pilots of one draw that are received at each SNR."""
    assert entry.join is not None
    stage = hall.stage
    ends = Ends(stage.rungs[rung], entry.listener)
    air = Air(CHANNEL, stage.task.seed, hall.device)
    encoded = stage.pilots[draw]
    for snr, rows in zip(stage.task.snrs, pilot_rows(ends, encoded, stage.task.snrs, air)):
        for count in stage.task.pilot_counts:
            lent = copy.deepcopy(ends)
            lesson = Lesson(lent, encoded[:count], rows.first(count), lambda: stage.texts, snr, draw, air)
            pair = _joined(entry, lesson, rung)
            doing = f"{entry.name}, {rung.name}, {count} pilots"
            (found.cells[Cell(rung, snr, count, draw)],) = hall.sums(pair, [snr], doing)


def _joined(entry: Entry, lesson: Lesson, rung: Rung) -> Transceiver:
    """Raises SemcomError for what is no pair, or whose transmitter is not the rung's, unless by a genie."""
    assert entry.join is not None
    pair = entry.join(lesson)
    if not isinstance(pair, Transceiver):
        raise SemcomError(
            f"{shown(entry.name)}: join(lesson) gave {shown(type(pair).__name__)}, a Transceiver is wanted"
        )
    sends = fingerprint_of(pair.transmitter)
    if not entry.told["genie"] and sends != rung.fingerprint:
        raise SemcomError(
            f"{shown(entry.name)}: join(lesson) gave the transmitter {sends}, that of the rung {rung.name} "
            f"is {rung.fingerprint}; leave it as it is, and give paired(lesson.ends.sender, receiver)"
        )
    return pair


# --- sums -> scores


@dataclass(frozen=True)
class Board:
    """stage: of the task. references: sums of the teacher's receiver without a map."""

    stage: Stage
    references: Sums

    @cached_property
    def weights(self) -> np.ndarray:
        """[R+1, N]."""
        task = self.stage.task
        return bootstrap.resamples(len(self.stage.test), task.replicates, task.seed)

    def bleu(self, sums: np.ndarray) -> np.ndarray:
        """[R+1]."""
        return text_metrics.bleu_of(self.weights @ sums)

    @cached_property
    def as_it_is(self) -> dict[tuple[Rung, float], np.ndarray]:
        return {(cell.rung, cell.snr): self.bleu(sums) for cell, sums in self.references.cells.items()}

    @cached_property
    def straight(self) -> dict[float, np.ndarray]:
        return {snr: self.bleu(sums) for snr, sums in self.references.own.items()}

    def of(self, entry: Entry, sums: Sums) -> "Scores":
        return Scores(entry, self, {cell: self.bleu(of_cell) for cell, of_cell in sums.cells.items()}, sums)


@dataclass(frozen=True)
class Scores:
    """bleu: [R+1] of each cell of the entry."""

    entry: Entry
    board: Board
    bleu: Mapping[Cell, np.ndarray]
    sums: Sums

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of pilots that it was scored with."""
        return tuple(dict.fromkeys(cell.pilots for cell in self.bleu))

    @property
    def headline(self) -> int:
        """The number of pilots that the score stands for."""
        wanted = self.board.stage.task.headline_pilots
        return wanted if wanted in self.counts else self.counts[0]

    def score(self, pilots: int, kind: str | None = None, draw: int | None = None) -> np.ndarray:
        """[R+1]: 100 times the gains over the rungs as they are, summed over cells, over what the teacher's
        own pair has more than those, summed over the same. kind: of rungs; draw: of pilots; None for
        all."""
        chosen = [
            cell
            for cell in self.bleu
            if cell.pilots == pilots and kind in (None, cell.rung.kind) and draw in (None, cell.draw)
        ]
        gained = sum(self.bleu[cell] - self._as_it_is(cell) for cell in chosen)
        lost = sum(self.board.straight[cell.snr] - self._as_it_is(cell) for cell in chosen)
        return np.asarray(100 * gained / lost)

    def _as_it_is(self, cell: Cell) -> np.ndarray:
        return self.board.as_it_is[cell.rung, cell.snr]

    def record(self) -> Row:
        """For the JSON: the score, its parts, and all cells."""
        kinds = dict.fromkeys(cell.rung.kind for cell in self.bleu)
        return {
            "entry": self.entry.name,
            **self.entry.told,
            "score": bootstrap.interval(self.score(self.headline)),
            "score_pilots": self.headline,
            "score_by_pilots": {n: bootstrap.interval(self.score(n)) for n in self.counts},
            "score_by_kind": {kind: bootstrap.interval(self.score(self.headline, kind)) for kind in kinds},
            "score_by_draw": {n: self._by_draw(n) for n in self.counts},
            "mean_bleu": bootstrap.interval(np.mean([*self.means(self.headline).values()], axis=0)),
            "own_pair": {
                f"{snr:g}": bootstrap.interval(self.board.bleu(sums)) for snr, sums in self.sums.own.items()
            },
            "cells": self.rows(),
        }

    def _by_draw(self, pilots: int) -> list[float]:
        draws = dict.fromkeys(cell.draw for cell in self.bleu if cell.pilots == pilots)
        return [float(self.score(pilots, draw=draw)[0]) for draw in draws]

    def means(self, pilots: int) -> dict[tuple[Rung, float], np.ndarray]:
        """BLEU of each rung and SNR, [R+1], its mean over draws of pilots."""
        found: dict[tuple[Rung, float], list[np.ndarray]] = {}
        for cell, values in self.bleu.items():
            if cell.pilots == pilots:
                found.setdefault((cell.rung, cell.snr), []).append(values)
        return {at: np.mean(values, axis=0) for at, values in found.items()}

    def rows(self) -> list[Row]:
        """A row a rung, SNR and number of pilots; means over draws of pilots, with intervals over
        sentences."""
        return [
            self._row(rung, snr, pilots, values)
            for pilots in self.counts
            for (rung, snr), values in self.means(pilots).items()
        ]

    def _row(self, rung: Rung, snr: float, pilots: int, values: np.ndarray) -> Row:
        as_it_is, straight = self.board.as_it_is[rung, snr], self.board.straight[snr]
        lost = bootstrap.interval(straight - as_it_is)
        told = lost is not None and lost.low > LEAST_TO_RECOVER
        return {
            "rung": rung.name,
            "kind": rung.kind,
            "divergence": rung.divergence,
            "snr": snr,
            "pilots": pilots,
            "bleu": bootstrap.interval(values),
            "as_it_is": bootstrap.interval(as_it_is),
            "straight": bootstrap.interval(straight),
            "gain": bootstrap.interval(values - as_it_is),
            "recovery": bootstrap.interval((values - as_it_is) / (straight - as_it_is)) if told else None,
        }


def differences(scores: Iterable[Scores]) -> dict[str, Interval | None]:
    """By name, the score less that of the first entry, with a paired interval."""
    first, *others = scores
    base = first.score(first.headline)
    return {other.entry.name: bootstrap.interval(other.score(other.headline) - base) for other in others}
