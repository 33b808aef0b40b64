"""Settings: Files that a distillation reads and writes."""

from dataclasses import dataclass

from semcom.base.errors import SemcomError, escape
from semcom.base.flags import Validated, setting
from semcom.models.settings import DEFAULT_TEACHER, PARTS


@dataclass(frozen=True)
class DistillationFiles(Validated):
    """Checkpoints read and written."""

    teacher_checkpoint: tuple[str, ...] = setting(
        (),
        f"the teacher (default {DEFAULT_TEACHER}, the shipped one); of several the first "
        "lends the end that is not trained",
        nargs="+",
        metavar="FILE",
    )
    student_checkpoint: str | None = setting(None, "start the student from this checkpoint", metavar="FILE")
    output_path: str | None = setting(
        None,
        "folder of the run (default checkpoints/distillation, with _encoder or _decoder)",
        metavar="FOLDER",
    )
    create_hybrid: bool = setting(
        False, "splice parts of the best student into the teacher", action="store_true"
    )
    hybrid_output: str | None = setting(
        None, "the hybrid's file (default checkpoints/hybrid_model.pt)", metavar="FILE"
    )
    hybrid_parts: tuple[str, ...] = setting(
        (),
        "parts to take from the student (default: the receiver; the transmitter in encoder mode)",
        nargs="+",
        choices=PARTS,
        metavar="PART",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.create_hybrid and (self.hybrid_output or self.hybrid_parts):
            flag = (
                f"--hybrid-output {escape(self.hybrid_output)}"
                if self.hybrid_output
                else f"--hybrid-parts {' '.join(self.hybrid_parts)}"
            )
            raise SemcomError(f"{flag}: no hybrid would be written without --create-hybrid; add it")
