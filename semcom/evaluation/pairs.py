"""Who meets whom: the distinct transmitters and receivers of some checkpoints, the pairs they form, and the 2
x 2 squares whose corners tell a transmitter's share in a divergence from a receiver's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Generic, TypeVar

from semcom.base.messages import N_
from semcom.channel.settings import ChannelConfig, TrainingSNRConfig
from semcom.data.settings import CorpusConfig
from semcom.distillation.settings import DistillationConfig, TransferConfig
from semcom.distillation.training_settings import StudentConfig, TrainingConfig
from semcom.evaluation import origins
from semcom.evaluation.dialled import AXIS, BETWEEN, TARGET, Dial, dial_of
from semcom.evaluation.origins import PART, SPLICED
from semcom.models.checkpoint import Checkpoint, fingerprint_of
from semcom.models.protocols import Receiver, Transmitter

MATRIX_LIMIT = 12
"""Pairs up to which every transmitter meets every receiver unless told otherwise."""
SETTINGS = tuple(
    f.name
    for c in (
        DistillationConfig,
        TransferConfig,
        StudentConfig,
        CorpusConfig,
        ChannelConfig,
        TrainingSNRConfig,
        TrainingConfig,
    )
    for f in fields(c)
    if f.name != "compile"
)
"""What two runs may differ in, the seed aside."""
SEED, CROSS, TEACHER = "seed", "cross_weight", "teacher_fingerprint"
UNFINISHED = "unfinished"
"""Why the run has not finished, among what it was made with; empty where it has."""
KNOWLEDGE, INTEROPERABLE, CODE, UNKNOWN = "knowledge", "interoperable", "code mismatch", "unknown"
REFERENCE, NOISE, OWN, UNRELATED = "teacher", "noise", "one student", "unrelated ends"
ANOTHER = "other teacher"
"""Of a pair: both ends of another checkpoint that was trained as the teacher was."""

OTHER_DRAW = N_(" (other draw)")

PairKey = tuple[str, str, int]
"""A transmitter's fingerprint, a receiver's, and the number of the channel's draw."""
Temperatures = Mapping[PairKey, float]
"""By which a pair's logits are divided so that its confidence is the reference's (``calibration.fit``)."""


Module = TypeVar("Module", Transmitter, Receiver)


@dataclass(frozen=True)
class End(Generic[Module]):
    """One end of a link. fingerprint: of its weights; ends of one fingerprint are one. seen_topics: of the
    built-in corpus, None where that is not known."""

    label: str
    module: Module
    fingerprint: str
    seen_topics: frozenset[str] | None = None


@dataclass(frozen=True)
class Pair:
    """A transmitter that talks to a receiver. draw: number of the channel's draw; 0 is common to all but the
    noise reference."""

    transmitter: End[Transmitter]
    receiver: End[Receiver]
    draw: int = 0

    @property
    def seen_topics(self) -> frozenset[str] | None:
        """Topics that both ends have seen."""
        sender, listener = self.transmitter.seen_topics, self.receiver.seen_topics
        return sender & listener if sender is not None and listener is not None else None

    @property
    def key(self) -> PairKey:
        return self.transmitter.fingerprint, self.receiver.fingerprint, self.draw


@dataclass(frozen=True)
class Run:
    """A checkpoint under a label, and the settings it was made with (of a hybrid: those of its student)."""

    label: str
    checkpoint: Checkpoint
    made: Mapping[str, object]

    @cached_property
    def dial(self) -> Dial | None:
        """How it was dialled; None where it was not."""
        return dial_of(self.made)

    def settings(self) -> dict[str, object]:
        """What it was distilled with; of teachers and of a checkpoint to start from, which weights; if it was
        dialled, the value asked for and of what."""
        teachers = self.made.get("teachers")
        named = list(teachers.items()) if isinstance(teachers, Mapping) else teachers
        pairs = named if isinstance(named, list) else []
        weights = [pair[1] for pair in pairs if isinstance(pair, (list, tuple)) and len(pair) == 2]
        return {
            **{name: self.made.get(name) for name in SETTINGS},
            "teachers": weights or [self.made.get(TEACHER)],
            "student_checkpoint": self.made.get("student_checkpoint"),
            TARGET: self.dial.target if self.dial else None,
            AXIS: self._axis(self.dial) if self.dial else None,
        }

    def _axis(self, dial: Dial) -> str:
        """Of targets that are distances from one reference."""
        elsewhere = not dial.is_from(str(self.made.get(TEACHER)))
        return f"{dial.axis}, from the teacher {dial.teacher}" if elsewhere else dial.axis

    @property
    def distilled(self) -> bool:
        """Whether it is known how, and to the end: of a teacher it is not known."""
        known = self.made.get(PART) is not None and self.seed is not None
        return known and not self.made.get(UNFINISHED)

    @cached_property
    def is_teacher(self) -> bool:
        """Whether it is no student: trained by itself."""
        return origins.is_teacher(self.made, self.checkpoint)

    def kind(self, teacher: str, end: str) -> str:
        """What sets its ``end``, transmitter or receiver, apart from that of the teacher whose weights have
        the fingerprint ``teacher``."""
        if self.is_teacher:
            return CODE
        # Ends of any two checkpoints that somebody laid a path between need not have a teacher in common.
        if (self.dial and self.dial.path == BETWEEN) or self.made.get(TEACHER) not in (None, teacher):
            return UNKNOWN
        mode, crossed = origins.mode_of(self.made, self.checkpoint, end), self.made.get(CROSS)
        if mode == origins.FULL:
            known = isinstance(crossed, (int, float))
            return (INTEROPERABLE if crossed else CODE) if known else UNKNOWN
        return KNOWLEDGE if mode else UNKNOWN

    @property
    def seed(self) -> object:
        return self.made.get(SEED)


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
    weights. owners: an end's fingerprint -> the run that made it.
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

    def corners(self, square: Square) -> dict[str, Pair]:
        """TT, ST, TS and SS, the transmitter first."""
        t, s = (self.reference.transmitter, square.transmitter), (self.reference.receiver, square.receiver)
        return {a + b: Pair(t[i], s[j]) for i, a in enumerate("TS") for j, b in enumerate("TS")}

    def label(self, pair: Pair) -> str:
        sender, listener = pair.transmitter.label, pair.receiver.label
        return f"{sender} → {listener}" + (OTHER_DRAW if pair.draw else "")

    def kind(self, pair: Pair) -> str:
        """What a pair's divergence from the teacher is a difference of."""
        if pair.draw:
            return NOISE
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
        return Pair(
            self.transmitters.setdefault(sender, End(label, transmitter, sender, topics["transmitter"])),
            self.receivers.setdefault(listener, End(label, receiver, listener, topics["receiver"])),
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
