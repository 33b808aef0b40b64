"""The record of one distillation: whether it has finished, and its values, each checked when it is asked for:
they come from a stranger."""

import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semcom.base import json_files, replacing
from semcom.base.advice import meant_path
from semcom.base.errors import SemcomError, escape, shown
from semcom.base.settings import RunConfig
from semcom.commands import completion
from semcom.commands.distil_settings import DistillationFiles, DistilSettings
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.training_settings import StudentConfig
from semcom.models.architecture import ENDS

FILE = "distillation_config.json"
BEST = "best_student_model.pt"
LEFT_FIRST = (FILE, BEST, "history.csv")
"""Of which a run leaves one at least, however it ends."""
TRAINED_ENDS = {"full": ENDS, "encoder": ENDS[:1], "decoder": ENDS[1:]}


def is_finished(folder: str | Path) -> bool:
    """Whether the folder holds a run that has finished, with the best student that its record speaks of."""
    try:
        return not why_unfinished(RunRecord.read(str(folder)))
    except SemcomError:
        return False


def recorded_digest(folder: Path, name: str) -> object:
    """Of a file that the run in the folder has made; None where its record has none."""
    for place in (replacing.new_of(Path(os.path.realpath(folder))), folder):
        with suppress(SemcomError):
            digests = RunRecord.read(str(place)).values.get("digests")
            return digests.get(name) if isinstance(digests, dict) else None
    return None


def is_begun(folder: Path) -> bool:
    """Whether a run has written there, or to what is to replace it."""
    new = replacing.new_of(Path(os.path.realpath(folder)))
    return any((place / name).exists() for place in (folder, new) for name in LEFT_FIRST)


def why_unfinished(record: "RunRecord") -> str:
    """Empty where the run has finished."""
    return completion.why_unfinished(record.values, BEST, record.folder / BEST, record.folder)


@dataclass(frozen=True)
class RunRecord:
    """folder: of the run. values: what its JSON holds, as it was read."""

    folder: Path
    values: dict[str, Any]

    @classmethod
    def read(cls, folder: str) -> "RunRecord":
        """Raises SemcomError where no run has finished there."""
        place, name = Path(folder), escape(folder)
        if place.is_file():
            raise SemcomError(f"{name}: is a file; give the folder of its run: {escape(place.parent)}")
        file = place / FILE
        if not file.is_file():
            begun = (place / "best_student_model.pt").is_file() or (place / "history.csv").is_file()
            reason = f"the run is unfinished, it has left no {FILE}" if begun else "no run there"
            near = "" if begun else meant_path(place)
            cure = near or "; make one with: python distillation.py --output-path FOLDER"
            raise SemcomError(f"{name}: {reason}{cure}")
        try:
            values = json_files.read(file)
        except (OSError, json_files.NotJSON) as error:
            why = escape(json_files.problem(error))
            raise SemcomError(f"{escape(file)}: cannot be read ({why}); distil again") from None
        if not isinstance(values, dict):
            raise SemcomError(f"{escape(file)}: not the record of a run; distil again")
        return cls(place, values)

    @property
    def name(self) -> str:
        return escape(self.folder)

    def text(self, name: str) -> str:
        return self._typed(name, (str,), "a text")

    def optional_text(self, name: str) -> str | None:
        return self._typed(name, (str, type(None)), "a text") or None

    def number(self, name: str) -> float:
        return self._typed(name, (int, float), "a finite number")

    @property
    def trained_ends(self) -> tuple[str, ...]:
        part = self.text("distill_part")
        if part not in TRAINED_ENDS:
            raise self._wrong("distill_part", f"one of {', '.join(TRAINED_ENDS)}")
        return TRAINED_ENDS[part]

    @property
    def snapshot_steps(self) -> list[int]:
        """Of the snapshots, the start's 0 first."""
        rows = self._typed("snapshots", (list,), "a list")
        found = [row.get("step") if isinstance(row, dict) else None for row in rows]
        steps = [step for step in found if type(step) is int]
        if not steps or steps[0] != 0 or found != sorted(set(steps)):
            raise self._wrong("snapshots", "a list of rising steps from 0")
        return steps

    def student_settings(self) -> DistilSettings:
        """What ``student.new_student`` needs to build the student before its training again."""
        size = {name: self._size(name) for name in ("student_d_model", "student_heads", "student_dff")}
        student = StudentConfig(
            student_transmitter_type=self._kind("student_transmitter_type"),
            student_receiver_type=self._kind("student_receiver_type"),
            student_layers=self._size("student_layers") or StudentConfig.student_layers,
            student_init=self.text("student_init"),
            snr_aware=self._told_snr(),
            **size,
        )
        return DistilSettings(
            files=DistillationFiles(student_checkpoint=self.optional_text("student_checkpoint")),
            distillation=DistillationConfig(distill_part=self.text("distill_part")),
            student=student,
            run=RunConfig(seed=self._typed("seed", (int,), "a whole number")),
        )

    def _told_snr(self) -> bool:
        """No in records of runs before receivers could be told it."""
        return "snr_aware" in self.values and self._typed("snr_aware", (bool,), "true or false")

    def _kind(self, name: str) -> str | None:
        """Of an end; None, the teacher's, in records of runs before there were others."""
        return self.optional_text(name) if name in self.values else None

    def _size(self, name: str) -> int | None:
        return self._typed(name, (int, type(None)), "a whole number")

    def _typed(self, name: str, types: tuple[type, ...], allowed: str) -> Any:
        value = self.values.get(name)
        finite = not isinstance(value, float) or math.isfinite(value)
        if type(value) not in types or name not in self.values or not finite:
            raise self._wrong(name, allowed)
        return value

    def _wrong(self, name: str, allowed: str) -> SemcomError:
        found = shown(self.values[name]) if name in self.values else "not there"
        return SemcomError(
            f"{escape(self.folder / FILE)}: its {name} is {found}, expected is {allowed}; distil again"
        )
