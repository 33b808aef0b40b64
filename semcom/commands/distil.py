"""The verb behind ``distillation.py``: a student from a teacher, the files of a run, a hybrid, a summary."""

import fnmatch
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from semcom.base import distributed, output_files, places, replacing, signals
from semcom.base.device import keep_freed_memory, resolve_device
from semcom.base.errors import InterruptedRun, SemcomError, escape
from semcom.base.fastest import Work, weights_multiplied
from semcom.base.places import Place
from semcom.base.tracking import check_installed
from semcom.commands import chosen_way, completion, distil_summary, resuming, run_record
from semcom.commands.dial_settings import CODE_DRIFT, LADDER_FILES, PICTURE
from semcom.commands.distil_dial import dial_to_targets
from semcom.commands.distil_run import HYBRID, TRACKED, DistillationRun, Prepared
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.inputs import (
    Data,
    check_topics,
    load_teacher,
)
from semcom.commands.measuring import foreign_splits
from semcom.commands.recorded_corpus import learned_elsewhere
from semcom.commands.run_data import data_of_run
from semcom.commands.student import new_student
from semcom.distillation import run_state, snapshots
from semcom.distillation.run_state import Keeper
from semcom.models import checkpoint, transceiver
from semcom.models.architecture import ENDS, Architecture, sizes_of
from semcom.models.checkpoint import Checkpoint
from semcom.models.transceiver import Transceiver
from semcom.report import look

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

STUDENT_FILES = (
    "final_student_model.pt",
    "best_student_model.pt",
    snapshots.FILE,
    run_state.FILE,
    "distillation_config.json",
    "history.csv",
    *look.with_print("training_curves.png", "temperature_effect.png", PICTURE),
    *LADDER_FILES,
)
EPOCH_FILES = "student_model_epoch*.pt"
"""Of every tenth epoch."""


@dataclass(frozen=True)
class Outcome:
    """What a distillation left: paths, the record of its configuration, test scores by model and SNR.

    hybrid: spliced; of dialled ones the first. dialled: target -> file.
    """

    student: Path
    hybrid: Path | None
    record: dict[str, object]
    scores: "pd.DataFrame"
    dialled: dict[float, Path] = field(default_factory=dict)


def distil(settings: DistilSettings) -> Outcome:
    """Distil a student from a teacher, write the files of a run, splice a hybrid if asked to."""
    started = time.monotonic()
    keep_freed_memory()
    device = resolve_device(settings.run.device)
    check_installed(settings.tracking)
    together = distributed.join(device)
    with ExitStack() as held:
        prepared = together.from_main(_prepare, settings, device, held)
        run = DistillationRun(prepared, device, together, started)
        run.announce()
        held.callback(lambda: run.tracker.finish())
        result = run.train()
        try:
            spliced = run.keep(result)
            dialling = together.from_main(dial_to_targets, run)
            hybrids = {HYBRID: spliced} if spliced else dialling.labelled()
            scores = distil_summary.score(run, hybrids)
        except KeyboardInterrupt as interrupt:
            left = f"interrupted after the training; {escape(run.folder)} holds all that was trained"
            raise InterruptedRun(left + run.keeper.advice(), signals.number_of(interrupt)) from None
        with signals.noted():
            run.finish(hybrids)
        distil_summary.show(run, hybrids, dialling, scores)
        if dialling.refused:
            raise SemcomError(dialling.refused)
        hybrid = next(iter(hybrids.values()), None)
        return Outcome(run.best_student, hybrid, run.record, scores.rows, dialling.hybrids)


def _prepare(settings: DistilSettings, device: torch.device, held: ExitStack) -> Prepared:
    """Outputs reserved and cleared, inputs read, the student before training; locks go to ``held``."""
    resume, folder = settings.resuming.resume, settings.output_path
    if resume and run_record.is_finished(folder) and not replacing.is_noted(folder):
        _check_replaced(settings)
    teachers = _load_teachers(settings)
    teacher = teachers[0]
    _check_top_k(settings, teacher)
    student = new_student(settings, teacher)
    check_topics(settings.ask.target_topics)
    if settings.files.create_hybrid and not settings.files.target_divergence:
        # Parts that cannot be joined are told before the hours of training, not after.
        transceiver.splice(teacher.model, student, settings.hybrid_parts)
    reserved = _reserve(settings, [t.path for t in teachers], held)
    elsewhere = learned_elsewhere("the teacher", teacher.config, settings.corpus)
    quiet = settings.run.quiet
    data = data_of_run(settings.corpus, teacher.vocabulary, settings.shared, elsewhere, quiet=quiet)
    for line in _advice(settings, teacher.model.architecture):
        log.warning(line)
    for line in foreign_splits([(t.name, t.config) for t in teachers], settings.corpus):
        log.info(line)
    kept = _keeper(settings, reserved[0].working, device, teachers, student, data)
    work = _work(settings, teachers, student, data)
    by_hand = settings.distillation.by_hand
    training, told = chosen_way.of_training(settings.training, work, device, kept, compiles=by_hand)
    if settings.distillation.distils:
        told += chosen_way.of_teachers(settings.transfer.teacher_precision, training)
    places.make_room(reserved)
    chosen = replace(settings, training=training)
    return Prepared(chosen, settings, told, teachers, student, data, kept, reserved)


# Six arguments: what the run is, by all that it depends on, and where its state lies.
def _keeper(
    given: DistilSettings,
    folder: Path,
    device: torch.device,
    teachers: Sequence[Checkpoint],
    student: Transceiver,
    data: Data,
) -> Keeper:
    """Of the run's state; with ``--resume``, it has found the one to go on from."""
    inputs = {
        "the teachers:": [teacher.fingerprint for teacher in teachers],
        "the student before training:": checkpoint.fingerprint_of(student),
        "the corpus:": data.record["corpus_fingerprint"],
        "the vocabulary:": data.record["vocabulary_fingerprint"],
    }
    run = resuming.identity(given, device, inputs)
    state, best = folder / run_state.FILE, folder / run_record.BEST
    return resuming.keeper(state, best, given.resuming, run, resuming.defaults_of(given))


def _load_teachers(settings: DistilSettings) -> list[Checkpoint]:
    teachers = [load_teacher(path) for path in settings.files.teacher_checkpoint or (None,)]
    for other in teachers[1:]:
        checkpoint.check_same_vocabulary(teachers[0], other)
        _check_same_signal(teachers[0], other)
    return teachers


def _check_top_k(settings: DistilSettings, teacher: Checkpoint) -> None:
    number, pieces = settings.distillation.teacher_top_k, len(teacher.vocabulary)
    if number and number >= pieces:
        raise SemcomError(
            f"--teacher-top-k {number}: {teacher.name} has {pieces:,} pieces; leave it out, or give at most "
            f"{pieces - 1}"
        )


def _work(settings: DistilSettings, teachers: Sequence[Checkpoint], student: Transceiver, data: Data) -> Work:
    """Every token goes through the teachers, if it is distilled, and through both ends of the student."""
    ends = {end: weights_multiplied(getattr(student, end)) for end in ENDS}
    trained = sum(ends[end] for end in settings.trained_ends)
    frozen = sum(ends.values()) - trained
    if settings.distillation.distils:
        frozen += sum(weights_multiplied(teacher.model) for teacher in teachers)
    width = teachers[0].model.architecture.receiver.d_model
    of_loop = settings.training
    return chosen_way.work_of_training(of_loop, data.train, width, trained=trained, frozen=frozen)


def _reserve(settings: DistilSettings, teachers: Sequence[str], held: ExitStack) -> list[Place]:
    """Its places, the folder's first."""
    started_from = settings.files.student_checkpoint
    inputs = [*teachers, *settings.corpus.corpus, *([started_from] if started_from else [])]
    if settings.hybrid_output and settings.dialled_hybrids:
        # Of several hybrids each adds its target to this name, which has to be a file's.
        output_files.companion("--hybrid-output", settings.hybrid_output, ".pt")
    wanted = _places(settings)
    outputs = {place.flag: place.path for place in wanted}
    folder = settings.output_path
    # Not every name that an epoch may give, of which there may be millions.
    candidates = [*(Path(path).name for path in inputs), *(path.name for path in folder.glob(EPOCH_FILES))]
    for name in [*STUDENT_FILES, *fnmatch.filter(candidates, EPOCH_FILES)]:
        outputs[f"--output-path ({name})"] = folder / name
    output_files.check_outputs(outputs, inputs)
    try:
        reserved = places.reserve(wanted, held)
    except places.Taken:
        if run_record.is_begun(settings.output_path) and not run_record.is_finished(settings.output_path):
            raise resuming.unfinished("--output-path", settings.output_path) from None
        raise
    if reserved[0].resume and run_record.is_finished(reserved[0].working):
        # It may have died between its mark and its coming to its place.
        places.publish(reserved)
        _check_replaced(settings)
        return places.replacing_finished(wanted)
    return reserved


def _check_replaced(settings: DistilSettings) -> None:
    folder = settings.output_path
    states = [folder / run_state.FILE]
    resuming.check_replaced(folder, states, settings, run_record.RunRecord.read(str(folder)).values)


def _check_same_signal(first: Checkpoint, other: Checkpoint) -> None:
    ours, theirs = (c.model.architecture.channel_dim for c in (first, other))
    if ours != theirs:
        raise SemcomError(
            f"--teacher-checkpoint {other.name}: signal width C={theirs}, {first.name} has {ours}; all "
            "teachers must share it, so that they meet the same draw"
        )


def _places(settings: DistilSettings) -> list[Place]:
    """Of the folder, and of the hybrids that are wanted."""
    given, keep, overwrite = settings.files, settings.keep_earlier, settings.outputs.overwrite
    named = given.output_path is not None and not keep
    files = (*STUDENT_FILES, EPOCH_FILES, TRACKED)
    folder = Place("--output-path", settings.output_path, named, overwrite, folder=True, own=files)
    resume = settings.resuming.resume and run_record.is_begun(settings.output_path)
    wanted = [replace(folder, resume=resume)]
    hybrids = settings.dialled_hybrids.values() or [settings.hybrid_output]
    named = given.hybrid_output is not None and not keep
    for hybrid in filter(None, hybrids):
        flag = "--hybrid-output" if hybrid == settings.hybrid_output else f"--hybrid-output ({hybrid.name})"
        own = resume and _is_own_hybrid(hybrid, settings.output_path)
        place = Place(flag, hybrid, named, overwrite or own, folder=False, at_end=True)
        wanted.append(replace(place, resume=resume))
    return wanted


def _is_own_hybrid(hybrid: Path, folder: Path) -> bool:
    """Whether the run that was stopped in the folder has made it."""
    made = run_record.recorded_digest(folder, HYBRID)
    return made is not None and hybrid.is_file() and completion.digest_of(hybrid) == made


def _advice(settings: DistilSettings, teacher: Architecture) -> list[str]:
    lines = settings.distillation.advice()
    layers = settings.student.student_layers
    depths = [sizes_of(teacher.size(end))["layers"] or 1 for end in settings.trained_ends]
    if any(3 * layers < depth for depth in depths):
        lines.append(f"--student-layers {layers} is under a third of the teacher's depth ({depths[0]})")
    from_teacher = settings.student.student_init == "teacher" and not settings.files.student_checkpoint
    is_teacher = from_teacher and all(layers == depth for depth in depths)
    # From labels alone it is the teacher trained further, the way to small differences.
    trained_further = is_teacher and not settings.distillation.distils
    if is_teacher and not trained_further:
        lines.append(
            f"--student-layers {layers} with --student-init teacher: the student is the teacher before the "
            "first step"
        )
    if from_teacher and settings.topics_left_out and not trained_further:
        lines.append(
            "topics are left out, but the student starts from the teacher's layers, which may have seen "
            "them; for a student that never saw them give --student-init random"
        )
    of_both_ends = settings.files.create_hybrid and settings.distillation.distill_part == "full"
    if of_both_ends and settings.files.target_divergence:
        lines.append(CODE_DRIFT)
    elif of_both_ends and not settings.transfer.cross_weight:
        lines.append(
            "the two ends of a full-mode hybrid never met in training: it measures drift of the code more "
            "than knowledge; for a usable pair distil with --distill-part decoder or encoder"
        )
    return lines
