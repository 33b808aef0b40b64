"""The search of a path for the place where a divergence has an asked value: bracketing, never more than the
measured readings allow.

A path need not be monotone (Lucas et al. 2021, arXiv 2104.11044): of several crossings the one nearest to the
path's better end is taken, and it is said.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from typing import Protocol

import numpy as np
from scipy.optimize import bisect, brentq

from semcom.base.errors import SemcomError
from semcom.evaluation import bootstrap
from semcom.evaluation.ruler import Ruler
from semcom.evaluation.targets import Target
from semcom.models.transceiver import Transceiver

EVALUATIONS = 12
"""Of a target, beside the places scanned once for all."""
NARROWEST, NARROWEST_OF_STEPS = 1e-9, 2**-12
"""A bracket of this width is not narrowed further; the second where the value moves in steps."""
WANTED_ERROR = 0.02
"""Standard error of the reading over the target, at most."""
SCANNED_AT_LEAST = 8
"""Intervals that a path is scanned in, at least."""
PLAUSIBLE_ERRORS = 3
WIDENED = (0, 1, 2, None)
"""Intervals of the scan by which a bracket is widened at either end, one after the other, where more
sentences than those of the scan say otherwise; None is to the ends of the path."""
REPLICATES, SEED = 400, 0
"""Of the standard error."""


class OutOfReach(Exception):
    """No place of the path has the value ``target``. low, high: the least and the largest value read."""

    def __init__(self, target: float, found: Iterable["Reading"]):
        values = [reading.value for reading in found]
        self.target, self.low, self.high = target, min(values), max(values)
        super().__init__(f"{target:.4g} is not within {self.low:.4g} to {self.high:.4g}")


@dataclass(frozen=True)
class Reading:
    """What was read at a place of the path, with its standard error, on so many blocks of sentences."""

    place: float
    value: float
    error: float
    blocks: int
    sentences: int


@dataclass(frozen=True)
class Found:
    """Where a target was found. within: whether the reading is within the tolerance. crossings: how many
    intervals of the scan hold the target. short: whether there were too few sentences for the standard error
    that is wanted. used: the readings it took, those of the scan and of earlier targets aside."""

    target: float
    reading: Reading
    within: bool
    crossings: int
    short: bool
    used: tuple[Reading, ...]


class Weights(Protocol):
    """What is searched: weights at every place from 0 to 1, snapshots at some."""

    @property
    def places(self) -> Sequence[float]: ...

    def at(self, place: float) -> Transceiver: ...


@dataclass
class Readings:
    """All that was read of a path, each place and number of blocks once.

    known: what an interrupted search had read. on_reading: called after each new one, for saving and for
    progress.
    """

    path: Weights
    ruler: Ruler
    target: Target
    known: dict[tuple[float, int], Reading] = field(default_factory=dict)
    on_reading: Callable[[Reading], None] = lambda reading: None
    _sums: dict[float, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)

    def at(self, place: float, blocks: int) -> Reading:
        if (place, blocks) not in self.known:
            reading = self._read(place, blocks)
            self.known[place, blocks] = reading
            self.on_reading(reading)
        return self.known[place, blocks]

    def _read(self, place: float, blocks: int) -> Reading:
        of_place = self._sums.setdefault(place, [])
        if len(of_place) < blocks:
            model = self.path.at(place)
            of_place += [self.ruler.sums(model, block) for block in range(len(of_place), blocks)]
        ours, theirs = (np.concatenate(parts) for parts in zip(*of_place[:blocks]))
        weights = bootstrap.resamples(len(ours), REPLICATES, SEED)
        values = self.target.value(weights @ ours, weights @ theirs)
        if not np.isfinite(values).all():
            raise SemcomError(
                f"place {place:g} of the path: what the receiver says there is no finite number; its end has "
                "diverged, distil again with a smaller --lr"
            )
        return Reading(place, float(values[0]), float(values[1:].std()), blocks, len(ours))


def scan_places(knots: Sequence[float]) -> list[float]:
    """The knots, and places between them at equal steps."""
    between = max(1, ceil(SCANNED_AT_LEAST / (len(knots) - 1)))
    inner = [a + (b - a) * k / between for a, b in pairwise(knots) for k in range(between)]
    return [*inner, knots[-1]]


def scan(readings: Readings, blocks: int) -> list[Reading]:
    """Of the whole path, on the first ``blocks``."""
    return [readings.at(place, blocks) for place in scan_places(readings.path.places)]


def check_reach(measured: Target, scanned: Sequence[Reading], target: float) -> None:
    """Raise OutOfReach unless the target lies on the path, or so near to it that more sentences may tell."""
    scanned_at = _Bracketing(scanned, target)
    nearest = scanned_at.ends[0]
    margin = measured.tolerance(target, nearest.error) + PLAUSIBLE_ERRORS * nearest.error
    if not scanned_at.count and abs(nearest.value - target) > margin:
        raise OutOfReach(target, scanned)


def find(
    readings: Readings, scanned: Sequence[Reading], target: float, earlier: Iterable[Reading] = ()
) -> Found:
    """Where the path has the value ``target``, by Brent's method (1973) within a bracket, by halves where it
    moves in steps, on as many blocks of sentences as bring the standard error to ``WANTED_ERROR`` of the
    target. Raises OutOfReach.

    earlier: readings of targets found before, which may narrow the bracket.
    """
    check_reach(readings.target, scanned, target)
    scanned_at = _Bracketing(scanned, target)
    blocks = _blocks_for(readings, scanned_at, target)
    tried: dict[float, Reading] = {}

    def read(place: float) -> Reading:
        tried[place] = readings.at(place, blocks)
        return tried[place]

    def difference(place: float) -> float:
        reading = read(place)
        apart = reading.value - target
        return 0.0 if abs(apart) <= readings.target.tolerance(target, reading.error) else apart

    known = [reading for reading in earlier if reading.blocks == blocks]
    bracket = _on_more_sentences(scanned_at, read, target, known)
    if bracket:
        low, high = sorted(reading.place for reading in bracket)
        left = EVALUATIONS - len(tried)
        # Beside a step an interpolation creeps.
        steps = readings.target.steps
        narrow, width = (bisect, NARROWEST_OF_STEPS) if steps else (brentq, NARROWEST)
        narrow(difference, low, high, xtol=width, maxiter=left, full_output=True, disp=False)
    nearest = min(tried.values(), key=lambda reading: (abs(reading.value - target), reading.place))
    within = difference(nearest.place) == 0
    if not within and not bracket:
        raise OutOfReach(target, tried.values())
    wanted_error = readings.target.wanted_error(target, WANTED_ERROR)
    short = nearest.error > wanted_error and blocks == len(readings.ruler.blocks)
    used = tuple(reading for reading in tried.values() if reading not in (*scanned, *known))
    return Found(target, nearest, within, scanned_at.count, short, used)


class _Bracketing:
    """Between which of some readings along the path a target lies.

    better_first: whether the path's better end, of the smaller value, is its first; by default as the first
    and the last reading say. count: of crossings. ends: the two readings of the crossing nearest to the
    better end; of a target outside, the reading nearest to it, twice.
    """

    def __init__(self, along: Sequence[Reading], target: float, better_first: bool | None = None):
        self.along = along
        self.better_first = along[0].value <= along[-1].value if better_first is None else better_first
        above = [reading.value >= target for reading in along]
        crossings = [i for i in range(len(along) - 1) if above[i] != above[i + 1]]
        self.count = len(crossings)
        if crossings:
            self.first = crossings[0] if self.better_first else crossings[-1]
            self.last = self.first + 1
        else:
            distances = [abs(reading.value - target) for reading in along]
            self.first = self.last = distances.index(min(distances))

    @property
    def ends(self) -> tuple[Reading, Reading]:
        return self.along[self.first], self.along[self.last]


def _blocks_for(readings: Readings, scanned_at: _Bracketing, target: float) -> int:
    """How many blocks the target is searched on."""
    one, other = scanned_at.ends
    apart = other.value - one.value
    share = (target - one.value) / apart if scanned_at.count and apart else 0.0
    error = one.error + share * (other.error - one.error)
    wanted = one.sentences * (error / readings.target.wanted_error(target, WANTED_ERROR)) ** 2
    ruler, blocks = readings.ruler, one.blocks
    while blocks < len(ruler.blocks) and ruler.sentences(blocks) < wanted:
        blocks += 1
    return blocks


def _on_more_sentences(
    scanned_at: _Bracketing, read: Callable[[float], Reading], target: float, known: Sequence[Reading]
) -> tuple[Reading, Reading] | None:
    """The bracket as the sentences of the search have it, wider than the scan's where these say otherwise;
    None where the target lies outside."""
    along = scanned_at.along
    for wider in (len(along) if width is None else width for width in WIDENED):
        first = max(0, scanned_at.first - wider)
        last = min(len(along) - 1, scanned_at.last + wider)
        ends = [read(along[i].place) for i in dict.fromkeys((first, last))]
        between = [reading for reading in known if ends[0].place < reading.place < ends[-1].place]
        nearer = sorted([*ends, *between], key=lambda reading: reading.place)
        inner = _Bracketing(nearer, target, scanned_at.better_first)
        if inner.count:
            return inner.ends
    return None
