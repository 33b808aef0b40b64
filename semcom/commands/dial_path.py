"""What the dial moves along: the path of weights of a finished run, or between two checkpoints.

Records and weights come from strangers until proved otherwise: every value is checked before it is used.
"""

import logging
import os
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path as File

import torch

from semcom.base.errors import SemcomError, escape, shown
from semcom.commands import completion, run_record
from semcom.commands.inputs import load_teacher, shipped
from semcom.commands.run_record import RunRecord
from semcom.commands.student import new_student
from semcom.distillation import snapshots
from semcom.distillation.snapshots import Weights
from semcom.models import checkpoint, state_dicts
from semcom.models.architecture import ENDS
from semcom.models.checkpoint import Checkpoint
from semcom.models.path import Path, difference
from semcom.models.transceiver import Transceiver

log = logging.getLogger(__name__)

KINDS = ("auto", "learning", "knowledge")
AGAIN = "distil again with: python distillation.py"


@dataclass(frozen=True)
class Dialled:
    """What is to be dialled.

    teacher: the reference, of several teachers the first. best: the end of the path; configuration, origin
    and vocabulary of what is dialled are its. made: the record of the run, or of the ``--to`` checkpoint.
    """

    teacher: Checkpoint
    best: Checkpoint
    path: Path
    made: dict


def path_of_run(folder: str, kind: str = "auto", teacher: str | None = None) -> Dialled:
    """The path of the finished distillation in ``folder``.

    kind: "learning", from the student's start through its snapshots to its best; "knowledge", from the
    teacher straight to a student that is the teacher trained further; "auto", knowledge where the student is
    that. teacher: its file, by default the one that the record names. Raises SemcomError for a run that has
    no such path.
    """
    if kind not in KINDS:
        raise SemcomError(f"--path {shown(kind)}: allowed are {', '.join(KINDS)}")
    record = RunRecord.read(folder)
    best = _best_student(record)
    reference = _teacher_of(record, best, teacher)
    if kind == "knowledge" or (kind == "auto" and not _no_knowledge_path(record, reference, best)):
        path = _knowledge_path(record, reference, best)
    else:
        path = _learning_path(record, reference, best)
    return Dialled(reference, best, path, record.values)


def path_between(start: str, end: str, teacher: str | None = None) -> Dialled:
    """The straight path from one checkpoint to another of its architecture.

    teacher: file of the reference; by default the teacher that both name, where it is still there, else
    ``start`` itself. Raises SemcomError for checkpoints that are not to be joined.
    """
    first, last = checkpoint.load(start, "--from"), checkpoint.load(end, "--to")
    checkpoint.check_same_vocabulary(first, last)
    if unlike := difference(first.model, last.model):
        raise SemcomError(
            f"--from {first.name} --to {last.name}: {unlike}; give two checkpoints of one architecture"
        )
    if first.fingerprint == last.fingerprint:
        raise SemcomError(f"--from {first.name} --to {last.name}: the same weights; give two that differ")
    reference = load_teacher(teacher) if teacher else _common_teacher(first, last) or first
    _check_reference(reference, last)
    path = Path("between", (first.model, last.model), ("start", "end"))
    return Dialled(reference, last, path, last.config)


# --- student and teacher


def _best_student(record: RunRecord) -> Checkpoint:
    file = record.folder / "best_student_model.pt"
    if not file.is_file():
        raise SemcomError(
            f"{record.name}: holds no best_student_model.pt, the run ended before its first validation; "
            f"{AGAIN}"
        )
    best = checkpoint.load(file)
    found, recorded = best.config.get("teacher_fingerprint"), record.text("teacher_fingerprint")
    if found != recorded:
        raise SemcomError(
            f"{best.name}: its teacher had the weights {shown(found)}, that of the record beside it "
            f"{shown(recorded)}; it is not of this run, {AGAIN}"
        )
    return best


def _teacher_of(record: RunRecord, best: Checkpoint, named: str | None) -> Checkpoint:
    recorded = record.text("teacher_checkpoint")
    if not named and not _is_file(recorded):
        raise SemcomError(
            f"{record.name}: its teacher {shown(recorded)} is not there; name the file with "
            "--teacher-checkpoint"
        )
    teacher = load_teacher(named or recorded)
    fingerprint = record.text("teacher_fingerprint")
    if teacher.fingerprint != fingerprint:
        raise SemcomError(
            f"{record.name}: its teacher had the weights {shown(fingerprint)}, {teacher.name} has "
            f"{teacher.fingerprint}; name the right one with --teacher-checkpoint"
        )
    _check_reference(teacher, best)
    for end in set(ENDS).difference(record.trained_ends):
        if not _same_weights(teacher.model, best.model, end):
            raise SemcomError(
                f"{best.name}: its {end} is not the teacher's, as it is after a run in "
                f"{record.text('distill_part')} mode; {AGAIN}"
            )
    return teacher


def _common_teacher(first: Checkpoint, last: Checkpoint) -> Checkpoint | None:
    """The teacher that both name by one fingerprint, where a file of these weights is still there."""
    fingerprint, other = (c.config.get("teacher_fingerprint") for c in (first, last))
    if not isinstance(fingerprint, str) or fingerprint != other:
        return None
    for named in (last.config.get("teacher_checkpoint"), first.config.get("teacher_checkpoint")):
        if isinstance(named, str) and _is_file(named):
            found = load_teacher(named)
            if found.fingerprint == fingerprint:
                return found
    log.info(f"the teacher of both, of weights {shown(fingerprint)}, is not there: --from is the reference")
    return None


def _check_reference(teacher: Checkpoint, best: Checkpoint) -> None:
    """Raise unless the two can be sent the same sentences under the same draws."""
    checkpoint.check_same_vocabulary(teacher, best)
    ours, theirs = (c.model.architecture.channel_dim for c in (teacher, best))
    if ours != theirs:
        raise SemcomError(
            f"--teacher-checkpoint {teacher.name}: signal width C={ours}, {best.name} has {theirs}; "
            "name a teacher that shares it, so that both meet the same draw"
        )


def _is_file(path: str) -> bool:
    try:
        return os.path.isfile(shipped(path))
    except (OSError, ValueError):  # no path at all
        return False


def _same_weights(first: Transceiver, second: Transceiver, *ends: str) -> bool:
    for end in ends:
        ours, theirs = first.end(end).state_dict(), second.end(end).state_dict()
        if ours.keys() != theirs.keys() or not all(torch.equal(ours[name], theirs[name]) for name in ours):
            return False
    return True


# --- from the teacher


def _no_knowledge_path(record: RunRecord, teacher: Checkpoint, best: Checkpoint) -> str:
    """Why the student is not the teacher trained further; empty where it is."""
    started_from = record.optional_text("student_checkpoint")
    if not started_from and record.text("student_init") != "teacher":
        return "its student started from random weights, between unrelated networks there is a barrier"
    if unlike := difference(teacher.model, best.model):
        return f"its student is of another architecture than the teacher ({unlike})"
    try:
        start = _start(record, teacher, best)
    except SemcomError as error:
        return f"where its student started is not known ({str(error)[:150]})"
    if not _same_weights(teacher.model, start, *record.trained_ends):
        return f"its student started from {shown(started_from)}, which is not the teacher"
    return ""


def _knowledge_path(record: RunRecord, teacher: Checkpoint, best: Checkpoint) -> Path:
    if why_not := _no_knowledge_path(record, teacher, best):
        layers = max(getattr(teacher.model.architecture.size(end), "layers", 1) for end in ENDS)
        raise SemcomError(
            f"--path knowledge: {record.name}: {why_not}; train the teacher further: python distillation.py "
            f"--distill-part {record.text('distill_part')} --student-init teacher --distill-weight 0 "
            f"--student-layers {layers} --topics TOPIC"
        )
    if weight := record.number("distill_weight"):
        log.warning(
            f"{record.name}: the student was pulled towards the teacher (--distill-weight {weight:g}); "
            "--distill-weight 0 learns from labels alone"
        )
    return Path("knowledge", (teacher.model, best.model), ("teacher", "best"))


# --- from the student's start


def _learning_path(record: RunRecord, teacher: Checkpoint, best: Checkpoint) -> Path:
    file = record.folder / snapshots.FILE
    if not file.is_file():
        start = _start(record, teacher, best)
        log.info(f"{record.name}: holds no {snapshots.FILE}; its start is rebuilt from its record")
        return Path("learning", (start, best.model), ("start", "best"))
    steps = record.snapshot_steps
    corners = [_with_weights(best.model, weights) for weights in _stored(record, file, best)]
    labels = ["start", *(f"step {step}" for step in steps[1:]), "best"]
    return Path("learning", (*corners, best.model), tuple(labels))


def _start(record: RunRecord, teacher: Checkpoint, best: Checkpoint) -> Transceiver:
    """The student before training: as it was stored, or rebuilt from the record of an older run."""
    file = record.folder / snapshots.FILE
    if file.is_file():
        return _with_weights(best.model, _stored(record, file, best)[0])
    cannot = f"{record.name}: its start cannot be rebuilt"
    started_from = record.optional_text("student_checkpoint")
    if started_from and not _is_file(started_from):
        raise SemcomError(f"{cannot}, its --student-checkpoint {shown(started_from)} is gone; {AGAIN}")
    try:
        start = new_student(record.student_settings(), teacher).eval()
    except SemcomError as error:
        raise SemcomError(f"{cannot}: {str(error)[:300]}") from None
    if unlike := difference(start, best.model):
        raise SemcomError(f"{cannot}: the record and the best student disagree ({unlike}); {AGAIN}")
    return start


def _stored(record: RunRecord, file: File, best: Checkpoint) -> list[Weights]:
    """Weights of the snapshots in ``file``, the start's first."""
    not_of_run = f"snapshots {escape(file)}: not of this run"
    digest = run_record.recorded_digest(record.folder, snapshots.FILE)
    if digest is not None and digest != completion.digest_of(file):
        raise SemcomError(f"{not_of_run}, or damaged (its record has another digest of it); {AGAIN}")
    state = state_dicts.load(file, "snapshots")
    wanted = _shapes(best.model, record.trained_ends)
    try:
        found = snapshots.from_state_dict(state)
    except ValueError:
        raise SemcomError(f"{not_of_run} (names without a number); {AGAIN}") from None
    if len(found) != len(record.snapshot_steps):
        raise SemcomError(
            f"{not_of_run} (it holds {len(found)} snapshots, the record names "
            f"{len(record.snapshot_steps)}); {AGAIN}"
        )
    for weights in found:
        shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        if shapes != wanted:
            name = next(n for n in [*wanted, *shapes] if wanted.get(n) != shapes.get(n))
            raise SemcomError(
                f"{not_of_run} ({shown(name)} is {shapes.get(name, 'absent')}, in the best student "
                f"{wanted.get(name, 'absent')}); {AGAIN}"
            )
    return found


def _shapes(model: Transceiver, ends: Iterable[str]) -> dict[str, tuple[int, ...]]:
    return {
        f"{end}.{name}": tuple(weights.shape)
        for end in ends
        for name, weights in model.end(end).named_parameters()
    }


def _with_weights(model: Transceiver, weights: Weights) -> Transceiver:
    """A copy of ``model`` with these parameters."""
    made = deepcopy(model)
    made.load_state_dict(weights, strict=False)
    return made
