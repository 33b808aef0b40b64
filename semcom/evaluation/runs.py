"""A run of a study: a checkpoint, and what it was made with."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from semcom.base.flags import as_record, names_without_flag
from semcom.channel.settings import ChannelConfig, TrainingSNRConfig
from semcom.data.settings import CorpusConfig
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.training_settings import StudentConfig, TrainingConfig
from semcom.distillation.transfer_settings import TransferConfig
from semcom.evaluation import origins
from semcom.evaluation.dialled import AXIS, BETWEEN, TARGET, Dial, dial_of
from semcom.evaluation.origins import PART
from semcom.models.checkpoint import Checkpoint

NOT_GIVEN = {
    name: value
    for c in (
        DistillationConfig,
        TransferConfig,
        StudentConfig,
        CorpusConfig,
        ChannelConfig,
        TrainingSNRConfig,
        TrainingConfig,
    )
    for name, value in as_record(c()).items()
    if name not in {"compile", *names_without_flag(c)}
}
"""What two runs may differ in, the seed aside, as it is without flags: what a record of an earlier version,
which does not know it, means."""
SETTINGS = tuple(NOT_GIVEN)
SEED, CROSS, TEACHER = "seed", "cross_weight", "teacher_fingerprint"
UNFINISHED = "unfinished"
"""Why the run has not finished, among what it was made with; empty where it has."""
KNOWLEDGE, INTEROPERABLE, CODE, UNKNOWN = "knowledge", "interoperable", "code mismatch", "unknown"
"""What a trained end's difference from the teacher's is."""


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
        # Of a teacher no flags of a distillation are known.
        not_given = dict.fromkeys(SETTINGS) if self.made.get(PART) is None else NOT_GIVEN
        weights = [pair[1] for pair in pairs if isinstance(pair, (list, tuple)) and len(pair) == 2]
        return {
            **{name: self.made.get(name, default) for name, default in not_given.items()},
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

    def differs_in_seed(self, teacher: Checkpoint) -> bool:
        """Whether it was trained as this teacher was, from another seed."""
        if not self.is_teacher or self.checkpoint.model.architecture != teacher.model.architecture:
            return False
        theirs = Run("", teacher, teacher.config)
        seeds = (self.seed, theirs.seed)
        return None not in seeds and seeds[0] != seeds[1] and self.settings() == theirs.settings()
