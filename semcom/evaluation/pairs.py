"""Who meets whom: the distinct transmitters and receivers of some checkpoints, the pairs they form, and the 2
x 2 squares whose corners tell a transmitter's share in a divergence from a receiver's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from semcom.channel.settings import ChannelConfig, TrainingSNRConfig
from semcom.data.settings import CorpusConfig
from semcom.distillation.settings import DistillationConfig, TransferConfig
from semcom.distillation.training_settings import StudentConfig, TrainingConfig
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
PART, SEED, CROSS, SPLICED, TEACHER = (
    "distill_part",
    "seed",
    "cross_weight",
    "other_fingerprint",
    "teacher_fingerprint",
)
KNOWLEDGE, INTEROPERABLE, CODE, UNKNOWN = "knowledge", "interoperable", "code mismatch", "unknown"
REFERENCE, NOISE, OWN, UNRELATED = "teacher", "noise", "one student", "unrelated ends"


PairKey = tuple[str, str, int]
"""A transmitter's fingerprint, a receiver's, and the number of the channel's draw."""


@dataclass(frozen=True)
class End:
    """One end of a link. fingerprint: of its weights; ends of one fingerprint are one. seen_topics: of the
    built-in corpus, None where that is not known."""

    label: str
    module: Transmitter | Receiver
    fingerprint: str
    seen_topics: frozenset[str] | None = None


@dataclass(frozen=True)
class Pair:
    """A transmitter that talks to a receiver. draw: number of the channel's draw; 0 is common to all but the
    noise reference."""

    transmitter: End
    receiver: End
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

    def settings(self) -> dict[str, object]:
        """What it was distilled with; of teachers and of a checkpoint to start from, which weights."""
        teachers = self.made.get("teachers")
        pairs = (
            list(teachers.items())
            if isinstance(teachers, Mapping)
            else teachers
            if isinstance(teachers, list)
            else []
        )
        weights = [pair[1] for pair in pairs if isinstance(pair, (list, tuple)) and len(pair) == 2]
        return {
            **{name: self.made.get(name) for name in SETTINGS},
            "teachers": weights or [self.made.get(TEACHER)],
            "student_checkpoint": self.made.get("student_checkpoint"),
        }

    @property
    def distilled(self) -> bool:
        """Whether it is known how: of a teacher it is not."""
        return self.made.get(PART) is not None and self.seed is not None

    def kind(self, teacher: str) -> str:
        """What sets its trained ends apart from those of the teacher whose weights have the fingerprint
        ``teacher``."""
        crossed = self.made.get(CROSS)
        # A splice has the settings of what it was made from, but its ends need not have been trained
        # together.
        if SPLICED in self.made or self.made.get(TEACHER) not in (None, teacher):
            return UNKNOWN
        if self.made.get(PART) == "full" and isinstance(crossed, (int, float)):
            return INTEROPERABLE if crossed else CODE
        return KNOWLEDGE if self.made.get(PART) in ("encoder", "decoder") else UNKNOWN

    @property
    def seed(self) -> object:
        return self.made.get(SEED)


@dataclass(frozen=True)
class Square:
    """Teacher and student at either end. kind: what a difference between its corners is: of ``KNOWLEDGE``
    where each student end was trained through the teacher's other end, ``INTEROPERABLE`` where crossed pairs
    were trained, ``CODE`` where the student's ends made up a code of their own. differing: settings in which
    the two students' runs differ beside the part."""

    transmitter: End
    receiver: End
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
    teacher's. whole: whether every transmitter meets every receiver.
    """

    reference: Pair
    noise: Pair
    runs: list[Run]
    own: dict[str, Pair]
    transmitters: list[End]
    receivers: list[End]
    pairs: list[Pair]
    squares: list[Square] = field(default_factory=list)
    whole: bool = True
    kinds: dict[str, str] = field(default_factory=dict)

    def corners(self, square: Square) -> dict[str, Pair]:
        """TT, ST, TS and SS, the transmitter first."""
        t, s = (self.reference.transmitter, square.transmitter), (self.reference.receiver, square.receiver)
        return {a + b: Pair(t[i], s[j]) for i, a in enumerate("TS") for j, b in enumerate("TS")}

    def label(self, pair: Pair) -> str:
        sender, listener = pair.transmitter.label, pair.receiver.label
        return f"{sender} → {listener}" + (" (other draw)" if pair.draw else "")

    def kind(self, pair: Pair) -> str:
        """What a pair's divergence from the teacher is a difference of."""
        if pair.draw:
            return NOISE
        ends = [
            end
            for end, its in (
                (pair.transmitter, self.reference.transmitter),
                (pair.receiver, self.reference.receiver),
            )
            if end != its
        ]
        if not ends:
            return REFERENCE
        if len(ends) == 1:
            return self.kinds.get(ends[0].fingerprint, UNKNOWN)
        square = next(
            (s for s in self.squares if (s.transmitter, s.receiver) == (pair.transmitter, pair.receiver)),
            None,
        )
        return UNRELATED if square is None else OWN if square.kind == CODE else square.kind


def pair_up(
    teacher: Checkpoint, runs: Sequence[Run], matrix: str = "auto", *, teacher_label: str = "teacher"
) -> Pairing:
    """All ends, pairs and squares of ``runs``, which share the teacher's vocabulary and signal width.

    matrix: ``all``, every transmitter into every receiver; ``matched``, each student's ends with the
    teacher's and with those it belongs to; ``auto``, the former up to ``MATRIX_LIMIT`` pairs.
    """
    ends: dict[str, dict[str, End]] = {"transmitter": {}, "receiver": {}}
    owners: dict[str, Run] = {}
    of_run = {}
    if any(run.label == teacher_label for run in runs):
        teacher_label += " (reference)"
    for label, made in [(teacher_label, teacher), *((run.label, run.checkpoint) for run in runs)]:
        of_run[label] = {}
        for name, known in ends.items():
            module = getattr(made.model, name)
            fingerprint = fingerprint_of(module)
            of_run[label][name] = known.setdefault(
                fingerprint, End(label, module, fingerprint, made.topics_by_end()[name])
            )
    # A spliced checkpoint, which has no seed, owns an end only where the run that made it is not here.
    for run in sorted(runs, key=lambda run: (SPLICED in run.made, run.seed is None)):
        for name, end in of_run[run.label].items():
            owners.setdefault(name + end.fingerprint, run)
    transmitters, receivers = (list(known.values()) for known in ends.values())
    reference = Pair(*of_run.pop(teacher_label).values())
    own = {label: Pair(**found) for label, found in of_run.items()}
    only = len(transmitters) == len(receivers) == 2
    squares = [
        _square(
            a,
            b,
            owners["transmitter" + a.fingerprint],
            owners["receiver" + b.fingerprint],
            teacher.fingerprint,
            only,
        )
        for a in transmitters[1:]
        for b in receivers[1:]
    ]
    squares = [square for square in squares if square]
    kinds = {
        end.fingerprint: owners[name + end.fingerprint].kind(teacher.fingerprint)
        for name, known in ends.items()
        for end in list(known.values())[1:]
    }
    whole = matrix == "all" or (matrix == "auto" and len(transmitters) * len(receivers) <= MATRIX_LIMIT)
    noise = Pair(reference.transmitter, reference.receiver, 1)
    pairing = Pairing(reference, noise, list(runs), own, transmitters, receivers, [], squares, whole, kinds)
    met = (
        [Pair(a, b) for a in transmitters for b in receivers]
        if whole
        else [
            reference,
            *own.values(),
            *(Pair(reference.transmitter, b) for b in receivers),
            *(Pair(a, reference.receiver) for a in transmitters),
            *(pair for square in squares for pair in pairing.corners(square).values()),
        ]
    )
    pairing.pairs = list({pair.key: pair for pair in [reference, pairing.noise, *met]}.values())
    return pairing


def _square(
    transmitter: End, receiver: End, sends: Run, hears: Run, teacher: str, only: bool
) -> Square | None:
    """The square of student ends that belong together: of one run, or of two that differ in their part alone
    or are the ``only`` ones."""
    if sends is hears:
        return Square(
            transmitter, receiver, hears.kind(teacher) if hears.made.get(PART) == "full" else UNKNOWN
        )
    ours, theirs = sends.settings(), hears.settings()
    differing = tuple(name for name in ours if name != PART and ours[name] != theirs[name]) + (
        (SEED,) if sends.seed != hears.seed else ()
    )
    if (ours[PART], theirs[PART]) != ("encoder", "decoder") or (differing and not only):
        return None
    kinds = {sends.kind(teacher), hears.kind(teacher)}
    return Square(transmitter, receiver, kinds.pop() if len(kinds) == 1 else UNKNOWN, differing)
