"""Who meets whom: the distinct transmitters and receivers of some checkpoints, the pairs they form, and the 2 x 2 squares whose
corners tell a transmitter's share in a divergence from a receiver's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from semcom.checkpoint import Checkpoint, fingerprint_of
from semcom.config import ChannelConfig, CorpusConfig, DistillationConfig, StudentConfig, TrainingConfig, TrainingSNRConfig, TransferConfig
from semcom.matrix import End, Pair

MATRIX_LIMIT = 12
"""Pairs up to which every transmitter meets every receiver unless told otherwise."""
SETTINGS = tuple(f.name for c in (DistillationConfig, TransferConfig, StudentConfig, CorpusConfig, ChannelConfig, TrainingSNRConfig, TrainingConfig)
                 for f in fields(c) if f.name != "compile")
"""What two runs may differ in, the seed aside."""
PART, SEED, CROSS = "distill_part", "seed", "cross_weight"
KNOWLEDGE, INTEROPERABLE, CODE, UNKNOWN = "knowledge", "interoperable", "code mismatch", "unknown"


@dataclass(frozen=True)
class Run:
    """A checkpoint under a label, and the settings it was made with (of a hybrid: those of its student)."""

    label: str
    checkpoint: Checkpoint
    made: Mapping[str, object]

    def settings(self) -> dict[str, object]:
        return {name: self.made.get(name) for name in SETTINGS}

    @property
    def seed(self) -> object:
        return self.made.get(SEED)


@dataclass(frozen=True)
class Square:
    """Teacher and student at either end. kind: what a difference between its corners is: of ``KNOWLEDGE`` where each student end was
    trained through the teacher's other end, ``INTEROPERABLE`` where crossed pairs were trained, ``CODE`` where the student's ends
    made up a code of their own. differing: settings in which the two students' runs differ beside the part."""

    transmitter: End
    receiver: End
    kind: str
    differing: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        same = self.transmitter.label == self.receiver.label
        return self.transmitter.label if same else f"{self.transmitter.label} + {self.receiver.label}"


@dataclass
class Roster:
    """reference: the teacher's own pair. noise: the same under an independent draw. pairs: all that are measured, these two first.

    own: each run's label -> its own pair.
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

    def corners(self, square: Square) -> dict[str, Pair]:
        """TT, ST, TS and SS, the transmitter first."""
        t, s = (self.reference.transmitter, square.transmitter), (self.reference.receiver, square.receiver)
        return {a + b: Pair(t[i], s[j]) for i, a in enumerate("TS") for j, b in enumerate("TS")}

    def label(self, pair: Pair) -> str:
        sender, listener = pair.transmitter.label, pair.receiver.label
        return f"{sender} → {listener}" + (" (other draw)" if pair.draw else "")


def build(teacher: Checkpoint, runs: Sequence[Run], matrix: str = "auto", *, teacher_label: str = "teacher") -> Roster:
    """All ends, pairs and squares of ``runs``, which share the teacher's vocabulary and signal width.

    matrix: ``all``, every transmitter into every receiver; ``matched``, each student's ends with the teacher's and with those it belongs
    to; ``auto``, the former up to ``MATRIX_LIMIT`` pairs.
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
            of_run[label][name] = known.setdefault(fingerprint, End(label, module, fingerprint, made.topics_by_end()[name]))
    # A spliced checkpoint, which has no seed, owns an end only where the run that made it is not here.
    for run in sorted(runs, key=lambda run: run.seed is None):
        for name, end in of_run[run.label].items():
            owners.setdefault(name + end.fingerprint, run)
    transmitters, receivers = (list(known.values()) for known in ends.values())
    reference = Pair(*of_run.pop(teacher_label).values())
    own = {label: Pair(**found) for label, found in of_run.items()}
    squares = [_square(a, b, owners["transmitter" + a.fingerprint], owners["receiver" + b.fingerprint], len(transmitters) == len(receivers) == 2)
               for a in transmitters[1:] for b in receivers[1:]]
    squares = [square for square in squares if square]
    whole = matrix == "all" or (matrix == "auto" and len(transmitters) * len(receivers) <= MATRIX_LIMIT)
    roster = Roster(reference, Pair(reference.transmitter, reference.receiver, 1), list(runs), own, transmitters, receivers, [], squares, whole)
    met = [Pair(a, b) for a in transmitters for b in receivers] if whole else [
        reference, *own.values(), *(Pair(reference.transmitter, b) for b in receivers), *(Pair(a, reference.receiver) for a in transmitters),
        *(pair for square in squares for pair in roster.corners(square).values())]
    roster.pairs = list({pair.key: pair for pair in [reference, roster.noise, *met]}.values())
    return roster


def _square(transmitter: End, receiver: End, sends: Run, hears: Run, only: bool) -> Square | None:
    """The square of two student ends that belong together: of one run, or of two that differ in their part alone."""
    if sends is hears:
        crossed = hears.made.get(CROSS)
        known = hears.made.get(PART) == "full" and isinstance(crossed, (int, float))
        return Square(transmitter, receiver, (INTEROPERABLE if crossed else CODE) if known else UNKNOWN)
    ours, theirs = sends.settings(), hears.settings()
    differing = tuple(name for name in SETTINGS if name != PART and ours[name] != theirs[name]) + ((SEED,) if sends.seed != hears.seed else ())
    if (ours[PART], theirs[PART]) != ("encoder", "decoder") or (differing and not only):
        return None
    return Square(transmitter, receiver, KNOWLEDGE, differing)
