"""Runs and other checkpoints to look at, and the teacher that each belongs to."""

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from semcom.base import json_files
from semcom.base.errors import SemcomError, escape
from semcom.base.replacing import set_aside_names
from semcom.commands import completion
from semcom.commands.inputs import load_teacher, shipped
from semcom.commands.run_record import BEST, FILE
from semcom.evaluation.dialled import DIAL, dial_of
from semcom.evaluation.frames import records
from semcom.evaluation.runs import UNFINISHED, Run
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """A checkpoint to look at: under a label, where it is, and the settings it was made with (empty where
    they are not recorded)."""

    label: str
    path: str
    made: Mapping[str, object]


def load_group(
    teacher_file: str | None, group: Sequence[Found], named: str | None
) -> tuple[Checkpoint, list[Run]]:
    """A teacher and the checkpoints made from it."""
    teacher = load_teacher(teacher_file)
    runs = [Run(f.label, loaded := checkpoint.load(f.path), {**loaded.config, **f.made}) for f in group]
    for run in runs:
        if DIAL in run.made and run.dial is None:
            log.warning(
                f"{run.checkpoint.name}: its record of how it was dialled is damaged; it is taken for one "
                "that was not dialled"
            )
        _check_teacher(teacher, run.checkpoint, named)
        if not all(bool(weights.isfinite().all()) for weights in run.checkpoint.model.state_dict().values()):
            raise SemcomError(
                f"{run.checkpoint.name}: holds weights that are no finite numbers; leave it out, or distil "
                "again with a smaller --lr"
            )
    return teacher, runs


def _check_teacher(teacher: Checkpoint, student: Checkpoint, named: str | None) -> None:
    """Raise SemcomError when the file a student names as its teacher holds other weights by now."""
    dial = dial_of(student.config)
    recorded = dial.teacher if dial and dial.teacher else student.config.get("teacher_fingerprint")
    if named is None and recorded is not None and recorded != teacher.fingerprint:
        raise SemcomError(
            f"{student.name}: its teacher had the weights {escape(recorded)}, {teacher.name} has "
            f"{teacher.fingerprint}; name the right one with --teacher-checkpoint"
        )


def runs_under(root: str) -> list[Found]:
    """Runs under ``root``: label, best student, settings; and a run's hybrid where it is another pair than
    the student. Of one that has not finished, the label says so. Dialled hybrids are those of ladders."""
    found = []
    for recorded in sorted(Path(root).rglob(FILE)):
        folder = recorded.parent
        if any(part.startswith(".") for part in folder.relative_to(root).parts):
            continue  # what a run that died was about to remove
        made, best = _made(recorded), folder / BEST
        if best.is_file() and made:
            label = label_of(folder, root) + (" (unfinished)" if made[UNFINISHED] else "")
            found.append(Found(label, str(best), made))
            spliced = made.get("create_hybrid") and not made.get("target_divergence")
            if spliced and isinstance(made.get("hybrid_output"), str):
                found += _hybrid_of(label, checkpoint.load(best), made)
    return found


def _made(recorded: Path) -> dict[str, object]:
    """What a run's record holds, and why it is unfinished, if it is; a line is said of that. Empty, with a
    warning, of what is no record."""
    folder = recorded.parent
    try:
        made = json_files.read(recorded)
        if not isinstance(made, dict):
            raise json_files.NotJSON("it is no record of a run")
    except (OSError, json_files.NotJSON) as error:
        why = escape(json_files.problem(error))
        log.warning(
            f"{escape(recorded)}: cannot be read ({why}), its run is left out; distil it again, or remove "
            "the folder"
        )
        return {}
    why = completion.why_unfinished(made, BEST, folder / BEST, folder)
    if why:
        told = "it is measured as it is" if (folder / BEST).is_file() else "it has left no student"
        log.info(f"note: the run {escape(folder)} is unfinished, {why}; {told}")
    return {**made, UNFINISHED: why}


def label_of(folder: Path, root: str) -> str:
    """Of what was found in a folder under ``root``: the way there."""
    return "/".join(folder.relative_to(root).parts) or folder.name


def _hybrid_of(label: str, best: Checkpoint, made: dict) -> list[Found]:
    """The hybrid that was spliced from this very student, also where a later run has set it aside."""
    recorded = Path(made["hybrid_output"])
    for path in filter(Path.is_file, [recorded, *set_aside_names(recorded)]):
        hybrid = checkpoint.load(path)
        if hybrid.config.get("other_fingerprint") != best.fingerprint:
            continue
        if hybrid.fingerprint == best.fingerprint:
            return []
        return [Found(f"{label} hybrid", str(path), made)]
    log.info(f"note: the hybrid of {escape(label)} is no longer there, it is left out")
    return []


def by_teacher(given: list[Found], teacher_path: str | None) -> dict[str | None, list[Found]]:
    """Checkpoints by the file of their teacher, under whichever path it was named first; those that name none
    join the others' if all have one, else the shipped one's. Raises SemcomError for what can be no path."""
    groups: dict[str | None, list[Found]] = {}
    first: dict[str, str] = {}
    for found in given:
        path = teacher_path or _recorded_teacher(found.made)
        if path is not None:
            path = first.setdefault(_file_of(found, path), path)
        groups.setdefault(path, []).append(found)
    named = [path for path in groups if path is not None]
    if None in groups and len(named) == 1:
        alone = groups.pop(None)
        groups[named[0]] = [found for found in given if found in groups[named[0]] or found in alone]
    return groups


def _recorded_teacher(made: Mapping[str, object]) -> str | None:
    """The file of the reference that a hybrid was dialled against, else of what it was distilled from."""
    dial = dial_of(made)
    if dial and dial.teacher_file:
        return dial.teacher_file
    recorded = made.get("teacher_checkpoint")
    return recorded if isinstance(recorded, str) else None


def _file_of(found: Found, path: str) -> str:
    """One name for a teacher's file, whichever way it was named."""
    try:
        return os.path.realpath(shipped(path))
    except (OSError, ValueError):
        raise SemcomError(
            f"{escape(found.label)[:100]}: its teacher is said to be {escape(path)[:100]}, which can be no "
            "path; name the right one with --teacher-checkpoint"
        ) from None


def history(found: Found) -> list[dict[str, float]]:
    """The epochs of a run that stands in a folder of its own; none where its record is not there or cannot be
    read."""
    path = Path(found.path).with_name("history.csv")
    try:
        # As text first: pandas of some years read the last digits of numbers otherwise than Python.
        epochs = pd.read_csv(path, dtype=str, encoding="utf-8-sig").map(float, na_action="ignore")
    except (OSError, ValueError):
        return []
    if not isinstance(epochs.index, pd.RangeIndex):  # of rows longer than the header
        return []
    rows = records(epochs.replace([math.inf, -math.inf], math.nan))
    return [row for row in rows if row.keys() >= {"epoch", "loss", "validation", "lr"}]
