"""Pairs that differ in the seed of their runs alone: a row everywhere, with a mean over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from semcom.base.messages import N_, Message
from semcom.evaluation import names, origins, setting_trends
from semcom.evaluation.dialled import AXIS, TARGET
from semcom.evaluation.pairs import ANOTHER, End, Pair, Pairing, PairKey, Role, Square
from semcom.evaluation.runs import Run

PAIR, SQUARE = N_("{transmitter} → {receiver}"), N_("{transmitter} + {receiver}")
YARDSTICKS: dict[Role, str] = {
    "noise": N_("teacher, another draw of the noise"),
    "decibel": N_("teacher, 1 dB less"),
    "other teacher": N_("another teacher in its own pair"),
}
"""What stands beside a divergence, in this order, and what it is called."""
ORDER: list[Role] = ["teacher", *YARDSTICKS, "compared"]
Place = tuple[int, int, int, tuple[str, ...]]
"""The numbers of a pair's ends and of its draw; and both ends' fingerprints where their seeds differ."""


@dataclass(frozen=True)
class Alike:
    """Ends that differ in the seed of their runs alone. name: what they are called. seeds: an end's
    fingerprint -> the seed of its run, None of what has none. run: that of the first; None of the teacher."""

    name: str
    seeds: Mapping[str, object]
    run: Run | None = None

    def told(self, end: End) -> str:
        """One of them by itself."""
        if len(self.seeds) == 1:
            return self.name
        return names.with_seed(self.name, self.seeds[end.fingerprint])


@dataclass(frozen=True)
class Group:
    """Pairs that differ in seeds alone, one of each of ``seeds``; a single pair is a group of one.

    transmitter, receiver: names of the ends. kind: of ``Pairing.kind``. role: "teacher", the reference;
    "noise", "decibel" and "other teacher", yardsticks: the reference under another draw of the channel, at 1
    dB less under the same, and another teacher in its own pair; "compared", all else.
    """

    transmitter: str
    receiver: str
    pairs: tuple[Pair, ...]
    seeds: tuple[object, ...]
    kind: str
    role: Role

    @property
    def name(self) -> str:
        if self.role in YARDSTICKS:
            return Message(YARDSTICKS[self.role])
        return Message(PAIR, transmitter=self.transmitter, receiver=self.receiver)


@dataclass(frozen=True)
class SquareGroup:
    """Squares that differ in seeds alone. kind, differing: of ``Square``, the latter of any of them."""

    transmitter: str
    receiver: str
    squares: tuple[Square, ...]
    kind: str
    differing: tuple[str, ...]

    @property
    def name(self) -> str:
        if self.transmitter == self.receiver:
            return self.transmitter
        return Message(SQUARE, transmitter=self.transmitter, receiver=self.receiver)


class Grouping:
    """Of the ends and pairs of ``pairing``. transmitters, receivers: ends that differ in seeds alone, the
    teacher's first, others by what they are and the values of their settings."""

    def __init__(self, pairing: Pairing):
        self._pairing = pairing
        self.transmitters = self._alike("transmitter", pairing.transmitters)
        self.receivers = self._alike("receiver", pairing.receivers)

    def groups(self) -> list[Group]:
        """The reference, the yardsticks, then what is compared, by transmitter and receiver. Two student ends
        of different seeds meet in none, unless they are a checkpoint's or belong together otherwise."""
        members: dict[Place, list[Pair]] = {}
        others = [pair for pair in self._pairing.pairs if pair.key in self._pairing.others]
        for pair in self._pairing.pairs:
            if pair in others:
                continue
            if self._is_of_one_seed(pair) or pair.key in self._belonging:
                members.setdefault(self._place(pair), []).append(pair)
        found = [self._group(members[place]) for place in sorted(members)]
        if others:
            found.append(self._other_teachers(others))
        return sorted(found, key=lambda group: ORDER.index(group.role))

    def squares(self) -> list[SquareGroup]:
        """In the order of their ends."""
        members: dict[Place, list[Square]] = {}
        for square in self._pairing.squares:
            members.setdefault(self._place(self._corner(square)), []).append(square)
        return [self._square_group(members[place]) for place in sorted(members)]

    def _corner(self, square: Square) -> Pair:
        """That of both student ends."""
        return self._pairing.corners(square)["SS"]

    def _square_group(self, squares: Sequence[Square]) -> SquareGroup:
        sender, listener = self._names_of(self._corner(squares[0]))
        differing = dict.fromkeys(name for square in squares for name in square.differing)
        return SquareGroup(sender, listener, tuple(squares), squares[0].kind, tuple(differing))

    def _other_teachers(self, pairs: Sequence[Pair]) -> Group:
        name = Message(names.ANOTHER_TEACHER)
        seeds = tuple(self._pairing.others[pair.key].seed for pair in pairs)
        return Group(name, name, tuple(pairs), seeds, ANOTHER, "other teacher")

    def told(self, pair: Pair) -> tuple[str, str]:
        """What the ends of one pair are called, with their seeds where others are alike but for these."""
        if pair.key in self._pairing.others:
            name, seed = Message(names.ANOTHER_TEACHER), self._pairing.others[pair.key].seed
            return (names.with_seed(name, seed),) * 2
        sender, listener = self._alike_of(pair)
        return sender.told(pair.transmitter), listener.told(pair.receiver)

    def _alike_of(self, pair: Pair) -> tuple[Alike, Alike]:
        return _holder(self.transmitters, pair.transmitter), _holder(self.receivers, pair.receiver)

    def _seeds(self, pair: Pair) -> list[object]:
        """Of its ends, without those that have none."""
        ends = (pair.transmitter.fingerprint, pair.receiver.fingerprint)
        seeds = [alike.seeds[end] for alike, end in zip(self._alike_of(pair), ends)]
        return [seed for seed in seeds if seed is not None]

    def _is_of_one_seed(self, pair: Pair) -> bool:
        return all(seed == self._seeds(pair)[0] for seed in self._seeds(pair))

    def _place(self, pair: Pair) -> Place:
        sender, listener = self._alike_of(pair)
        apart = () if self._is_of_one_seed(pair) else pair.key[:2]
        return self.transmitters.index(sender), self.receivers.index(listener), pair.draw, apart

    @cached_property
    def _belonging(self) -> set[PairKey]:
        """Pairs whose ends belong together."""
        pairing = self._pairing
        corners = [self._corner(square) for square in pairing.squares]
        return {pair.key for pair in [*corners, *pairing.own.values()]}

    def _group(self, pairs: Sequence[Pair]) -> Group:
        first = pairs[0]
        of_one_seed, kind = self._is_of_one_seed(first), self._pairing.kind(first)
        sender, listener = self._names_of(first)
        seeds = tuple(next(iter(self._seeds(pair)), None) if of_one_seed else None for pair in pairs)
        return Group(sender, listener, tuple(pairs), seeds, kind, self._pairing.role(first))

    def _names_of(self, pair: Pair) -> tuple[str, str]:
        """Of the ends of its group."""
        sender, listener = self._alike_of(pair)
        return (sender.name, listener.name) if self._is_of_one_seed(pair) else self.told(pair)

    def _alike(self, side: str, ends: Sequence[End]) -> list[Alike]:
        """Ends of one ``side``, the teacher's first."""
        teacher, *students = ends
        classes: dict[object, dict[str, object]] = {}
        for end in students:
            run = self._pairing.owners[end.fingerprint]
            key = _key(run, side)
            place = end.fingerprint if key is None else key
            # Of two runs with the same settings and seed each is one of its own.
            if key is not None and run.seed in classes.get(place, {}).values():
                place = end.fingerprint
            classes.setdefault(place, {})[end.fingerprint] = None if key is None else run.seed
        seeds = list(classes.values())
        runs = [self._pairing.owners[next(iter(of_one))] for of_one in seeds]
        told = names.varied(self._pairing.runs)
        of_students = map(Alike, self._names(side, runs, told, seeds), seeds, runs)
        in_order = sorted(of_students, key=_place_of(runs, told))
        return [Alike(Message(names.TEACHER), {teacher.fingerprint: None}), *in_order]

    def _names(
        self, side: str, runs: Sequence[Run], told: Sequence[str], seeds: Sequence[Mapping[str, object]]
    ) -> list[str]:
        """Of the ends of some runs. told: settings that are."""
        found = [names.end_told(run, side, told) for run in runs]
        aside = [[*names.told_aside(run), next(iter(of_one))] for run, of_one in zip(runs, seeds)]
        # A label may be what the teacher is called.
        apart = names.told_apart([names.TEACHER, *found], [[""] * 5, *aside])
        return apart[1:]


def _key(run: Run, side: str) -> tuple[object, ...] | None:
    """Equal for runs whose ends differ in seeds alone; None where that is not known."""
    if run.seed is None or not (run.distilled or run.is_teacher):
        return None
    parts = origins.students_parts(run.checkpoint, side)
    sizes = run.checkpoint.model.architecture if run.is_teacher else None
    return sizes, parts, setting_trends.keyed(run.settings())


def _holder(alike: Sequence[Alike], end: End) -> Alike:
    return next(one for one in alike if end.fingerprint in one.seeds)


def _place_of(runs: Sequence[Run], told: Sequence[str]) -> Callable[[Alike], tuple[int, list[float]]]:
    """Where ends stand among those of ``runs``: what is the same but for its settings side by side, by the
    values of those told that are numbers."""
    kinds: dict[object, int] = {}
    for run in runs:
        kinds.setdefault(_what(run), len(kinds))

    def place(alike: Alike) -> tuple[int, list[float]]:
        assert alike.run is not None
        settings = alike.run.settings()
        numbers = [setting_trends.as_number(settings.get(name)) for name in (*told, TARGET)]
        return kinds[_what(alike.run)], [-1.0 if number is None else number for number in numbers]

    return place


def _what(run: Run) -> object:
    settings = run.settings()
    return run.is_teacher, str(settings[origins.PART]), str(settings[AXIS])
