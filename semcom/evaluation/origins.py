"""What each end of a checkpoint is: the teacher's, a student's, or what nobody recorded."""

import re
from collections.abc import Mapping

from semcom.models.checkpoint import Checkpoint
from semcom.models.transceiver import PARTS_OF

PART, SPLICED, DIAL = "distill_part", "other_fingerprint", "dial"
"""In what a checkpoint was made with: the mode of its distillation; of a splice, whose parts it took; how it
was dialled."""
STUDENT = re.compile(r"student of .* \((encoder|decoder|full) mode\)$", re.DOTALL)
"""How the origin of a part ends that a distillation has trained, with its mode."""
TRAINED = re.compile(r"(^|, )trained on ")
"""In the origin of a part that a training of its own has made, perhaps from weights that stand before it."""
FULL = "full"
MODE_OF = {"transmitter": "encoder", "receiver": "decoder"}
"""An end -> the mode of a distillation that trains it alone."""


def is_teacher(made: Mapping[str, object], checkpoint: Checkpoint) -> bool:
    """Whether a training of its own has made it, both ends together, from nothing."""
    if made.get(PART) is not None or SPLICED in made or DIAL in made:
        return False
    origins = checkpoint.origin.values()
    return bool(origins) and all(TRAINED.search(origin) for origin in origins)


def mode_of(made: Mapping[str, object], checkpoint: Checkpoint, end: str) -> str:
    """The mode of the distillation that trained an ``end``; empty where none is known to have."""
    told = {found[1] for part in students_parts(checkpoint, end) if (found := _student(checkpoint, part))}
    if SPLICED in made:
        return told.pop() if len(told) == 1 else ""
    recorded = made.get(PART)
    return recorded if recorded in (FULL, MODE_OF[end]) and isinstance(recorded, str) else ""


def students_parts(checkpoint: Checkpoint, end: str) -> tuple[str, ...]:
    """The parts of an ``end`` that a distillation has trained, as their origins say."""
    return tuple(part for part in PARTS_OF[end] if _student(checkpoint, part))


def _student(checkpoint: Checkpoint, part: str) -> re.Match[str] | None:
    return STUDENT.search(checkpoint.origin.get(part, ""))
