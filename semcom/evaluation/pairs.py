"""Who meets whom: the distinct transmitters and receivers of some checkpoints, the pairs they form, and the 2
x 2 squares whose corners tell a transmitter's share in a divergence from a receiver's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, TypeVar

from semcom.base.messages import N_
from semcom.evaluation.origins import PART, SPLICED
from semcom.evaluation.runs import CODE, INTEROPERABLE, KNOWLEDGE, SEED, UNKNOWN, Run
from semcom.models.checkpoint import Checkpoint, fingerprint_of
from semcom.models.protocols import Receiver, Transmitter

MATRIX_LIMIT = 12
"""Pairs up to which every transmitter meets every receiver unless told otherwise."""
REFERENCE, NOISE, OWN, UNRELATED = "teacher", "noise", "one student", "unrelated ends"
ANOTHER = "other teacher"
KINDS = (KNOWLEDGE, INTEROPERABLE, CODE, UNKNOWN, REFERENCE, NOISE, OWN, ANOTHER, UNRELATED)
"""What a pair's divergence is a difference of: what its trained ends are, or of the reference itself; of a
student whose ends made up a code of their own, its own pair; of both ends of another teacher; of ends that
never met."""

Role = Literal["teacher", "noise", "decibel", "other teacher", "compared"]
"""What a pair is there for: the reference; a yardstick of divergence, the reference under another draw of the
channel, at 1 dB less, or another teacher in its own pair; or to be compared."""

DECIBEL = -1
"""In the place of the number of a draw: the common draw, at ``LESS`` dB less."""
LESS = 1.0
OTHER_DRAW, LESS_SIGNAL = N_(" (other draw)"), N_(" (1 dB less)")
DRAWS = {0: "", 1: OTHER_DRAW, DECIBEL: LESS_SIGNAL}
"""The number of a draw -> how a label says it."""

PairKey = tuple[str, str, int]
"""A transmitter's fingerprint, a receiver's, and the number of the channel's draw."""
Temperatures = Mapping[PairKey, float]
"""By which a pair's logits are divided so that its confidence is the reference's (``calibration.fit``)."""


Module = TypeVar("Module", Transmitter, Receiver)


@dataclass(frozen=True)
class End(Generic[Module]):
    """One end of a link. fingerprint: of its weights; ends of one fingerprint are one. seen_topics: of the
    built-in corpus, None where that is not known. file: whose end it is, empty where it is of none."""

    label: str
    module: Module
    fingerprint: str
    seen_topics: frozenset[str] | None = None
    file: str = ""


@dataclass(frozen=True)
class Pair:
    """A transmitter that talks to a receiver. draw: number of the channel's draw; 0 is common to all but the
    reference's yardsticks. forced: it only foretells after given prefixes and understands no text itself."""

    transmitter: End[Transmitter]
    receiver: End[Receiver]
    draw: int = 0
    forced: bool = False

    @property
    def seen_topics(self) -> frozenset[str] | None:
        """Topics that both ends have seen."""
        sender, listener = self.transmitter.seen_topics, self.receiver.seen_topics
        return sender & listener if sender is not None and listener is not None else None

    @property
    def key(self) -> PairKey:
        return self.transmitter.fingerprint, self.receiver.fingerprint, self.draw


@dataclass(frozen=True)
class Square:
    """Teacher and student at either end. kind: what a difference between its corners is: of ``KNOWLEDGE``
    where each student end was trained through the teacher's other end, ``INTEROPERABLE`` where crossed pairs
    were trained, ``CODE`` where the student's ends made up a code of their own. differing: settings in which
    the two students' runs differ beside the part."""

    transmitter: End[Transmitter]
    receiver: End[Receiver]
    kind: str
    differing: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        same = self.transmitter.label == self.receiver.label
        return self.transmitter.label if same else f"{self.transmitter.label} + {self.receiver.label}"


@dataclass
class Pairing:
    """reference: the teacher's own pair. noise: the same under an independent draw. pairs: all that are
    measured, these two first.

    own: each run's label -> its own pair. kinds: a student end's fingerprint -> what sets it apart from the
    teacher's. whole: whether every transmitter meets every receiver. teacher: fingerprint of the reference's
    weights. owners: an end's fingerprint -> the run that made it. others: a yardstick's key -> the teacher
    whose pair it is.
    """

    reference: Pair
    noise: Pair
    runs: list[Run]
    own: dict[str, Pair]
    transmitters: list[End[Transmitter]]
    receivers: list[End[Receiver]]
    pairs: list[Pair]
    squares: list[Square] = field(default_factory=list)
    whole: bool = True
    kinds: dict[str, str] = field(default_factory=dict)
    teacher: str = ""
    owners: dict[str, Run] = field(default_factory=dict)
    others: dict[PairKey, Run] = field(default_factory=dict)

    def corners(self, square: Square) -> dict[str, Pair]:
        """TT, ST, TS and SS, the transmitter first."""
        t, s = (self.reference.transmitter, square.transmitter), (self.reference.receiver, square.receiver)
        return {a + b: Pair(t[i], s[j]) for i, a in enumerate("TS") for j, b in enumerate("TS")}

    def label(self, pair: Pair) -> str:
        sender, listener = pair.transmitter.label, pair.receiver.label
        return f"{sender} → {listener}" + DRAWS[pair.draw]

    def role(self, pair: Pair) -> Role:
        if pair.key == self.reference.key:
            return "teacher"
        if pair.draw:
            return "decibel" if pair.draw == DECIBEL else "noise"
        return "other teacher" if pair.key in self.others else "compared"

    def kind(self, pair: Pair) -> str:
        """What a pair's divergence from the teacher is a difference of."""
        if pair.draw:
            return NOISE
        if pair.key in self.others:
            return ANOTHER
        sends = pair.transmitter != self.reference.transmitter
        listens = pair.receiver != self.reference.receiver
        if not sends and not listens:
            return REFERENCE
        if not listens:
            return self.kinds.get(pair.transmitter.fingerprint, UNKNOWN)
        if not sends:
            return self.kinds.get(pair.receiver.fingerprint, UNKNOWN)
        for square in self.squares:
            if (square.transmitter, square.receiver) == (pair.transmitter, pair.receiver):
                return self._kind_of_own(square)
        return UNRELATED

    def _kind_of_own(self, square: Square) -> str:
        """Of the pair of both ends of a square."""
        owner = self.owners.get(square.receiver.fingerprint)
        if owner and owner.is_teacher:
            return ANOTHER
        return OWN if square.kind == CODE else square.kind


def pair_up(
    teacher: Checkpoint, runs: Sequence[Run], matrix: str = "auto", *, teacher_label: str = "teacher"
) -> Pairing:
    """All ends, pairs and squares of ``runs``, which share the teacher's vocabulary and signal width.

    matrix: ``all``, every transmitter into every receiver; ``matched``, each student's ends with the
    teacher's and with those it belongs to; ``auto``, the former up to ``MATRIX_LIMIT`` pairs.
    """
    if any(run.label == teacher_label for run in runs):
        teacher_label += " (reference)"
    ends = _Ends()
    reference = ends.pair_of(teacher_label, teacher)
    own = {run.label: ends.pair_of(run.label, run.checkpoint) for run in runs}
    owners = _owners(runs, own)
    transmitters, receivers = list(ends.transmitters.values()), list(ends.receivers.values())
    kinds = {
        end.fingerprint: owners[end.fingerprint].kind(teacher.fingerprint, name)
        for name, students in (("transmitter", transmitters[1:]), ("receiver", receivers[1:]))
        for end in students
    }
    pairing = Pairing(
        reference,
        noise=replace(reference, draw=1),
        runs=list(runs),
        own=own,
        transmitters=transmitters,
        receivers=receivers,
        pairs=[],
        squares=_squares(transmitters, receivers, owners, teacher.fingerprint),
        whole=matrix == "all" or (matrix == "auto" and len(transmitters) * len(receivers) <= MATRIX_LIMIT),
        kinds=kinds,
        teacher=teacher.fingerprint,
        owners=owners,
    )
    pairing.others = {own[run.label].key: run for run in runs if run.differs_in_seed(teacher)}
    everyone = [reference, pairing.noise, *_met(pairing)]
    pairing.pairs = list({pair.key: pair for pair in everyone}.values())
    return pairing


@dataclass
class _Ends:
    """Distinct ends by fingerprint, in the order of their first appearance."""

    transmitters: dict[str, End[Transmitter]] = field(default_factory=dict)
    receivers: dict[str, End[Receiver]] = field(default_factory=dict)

    def pair_of(self, label: str, made: Checkpoint) -> Pair:
        """A checkpoint's own pair; an end that is known keeps the label under which it came first."""
        transmitter, receiver, topics = made.model.transmitter, made.model.receiver, made.topics_by_end()
        sender, listener = fingerprint_of(transmitter), fingerprint_of(receiver)
        ours = End(label, transmitter, sender, topics["transmitter"], made.path)
        theirs = End(label, receiver, listener, topics["receiver"], made.path)
        return Pair(
            self.transmitters.setdefault(sender, ours),
            self.receivers.setdefault(listener, theirs),
        )


def _owners(runs: Sequence[Run], own: Mapping[str, Pair]) -> dict[str, Run]:
    """An end's fingerprint -> the run that made it."""
    owners: dict[str, Run] = {}
    # A spliced checkpoint, which has no seed, owns an end only where the run that made it is not here.
    for run in sorted(runs, key=lambda run: (SPLICED in run.made, run.seed is None)):
        pair = own[run.label]
        owners.setdefault(pair.transmitter.fingerprint, run)
        owners.setdefault(pair.receiver.fingerprint, run)
    return owners


def _met(pairing: Pairing) -> list[Pair]:
    """Who meets whom, some of them more than once."""
    transmitters, receivers, reference = pairing.transmitters, pairing.receivers, pairing.reference
    if pairing.whole:
        return [Pair(sender, listener) for sender in transmitters for listener in receivers]
    return [
        reference,
        *pairing.own.values(),
        *(Pair(reference.transmitter, listener) for listener in receivers),
        *(Pair(sender, reference.receiver) for sender in transmitters),
        *(corner for square in pairing.squares for corner in pairing.corners(square).values()),
    ]


def _squares(
    transmitters: Sequence[End[Transmitter]],
    receivers: Sequence[End[Receiver]],
    owners: Mapping[str, Run],
    teacher: str,
) -> list[Square]:
    """All among student ends; the teacher's come first. teacher: fingerprint of its weights."""
    only = len(transmitters) == len(receivers) == 2
    each = [
        _square(sender, listener, owners, teacher, only)
        for sender in transmitters[1:]
        for listener in receivers[1:]
    ]
    return [square for square in each if square]


def _square(
    sender: End[Transmitter], listener: End[Receiver], owners: Mapping[str, Run], teacher: str, only: bool
) -> Square | None:
    """Of student ends that belong together: of one run, or of two that differ in their part alone or are the
    ``only`` ones."""
    ours, theirs = owners[sender.fingerprint], owners[listener.fingerprint]
    kinds = {ours.kind(teacher, "transmitter"), theirs.kind(teacher, "receiver")}
    kind = kinds.pop() if len(kinds) == 1 else UNKNOWN
    if ours is theirs:
        # Spliced ends of two students that made up codes of their own have not met before.
        return None if SPLICED in ours.made and kind == CODE else Square(sender, listener, kind)
    parts, differing = (ours.made.get(PART), theirs.made.get(PART)), _differing(ours, theirs)
    if parts != ("encoder", "decoder") or (differing and not only):
        return None
    return Square(sender, listener, kind, differing)


def _differing(one: Run, other: Run) -> tuple[str, ...]:
    """Settings in which two runs differ beside the part."""
    ours, theirs = one.settings(), other.settings()
    names = [name for name in ours if name != PART and ours[name] != theirs[name]]
    return tuple(names + [SEED] * (one.seed != other.seed))
