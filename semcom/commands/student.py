"""The student of a run before its training: kinds and sizes of its ends, and what they start from."""

import logging
from dataclasses import asdict, replace

from semcom.base.errors import SemcomError
from semcom.commands.distil_settings import DistilSettings
from semcom.distillation.training_settings import StudentConfig
from semcom.models import checkpoint, transceiver
from semcom.models.architecture import EndSize, sized, sizes_of
from semcom.models.checkpoint import Checkpoint
from semcom.models.settings import check_heads
from semcom.models.transceiver import CHANNEL_PART, CHANNEL_PART_FIELDS, Transceiver

log = logging.getLogger(__name__)

SIZES_SHOWN = {"layers": "{} layers", "d_model": "D={}", "num_heads": "{} heads", "dff": "feed-forward {}"}
SIZE_FLAGS = {
    "layers": "--student-layers",
    "d_model": "--student-d-model",
    "num_heads": "--student-heads",
    "dff": "--student-dff",
}


def new_student(settings: DistilSettings, teacher: Checkpoint) -> Transceiver:
    """The student transceiver before training; in part modes its other end is the teacher's, to the bit."""
    theirs = teacher.model.architecture
    sizes = {end: _size(end, settings.student, theirs.size(end)) for end in settings.trained_ends}
    transmitter = sizes.get("transmitter", theirs.transmitter)
    receiver = sizes.get("receiver", theirs.receiver)
    told = settings.student.snr_aware if "receiver" in settings.trained_ends else theirs.snr_aware
    ours = replace(theirs, transmitter=transmitter, receiver=receiver, snr_aware=told)
    if theirs.snr_aware and not told:
        _tell_of_bias(settings)
    student = transceiver.build(ours, settings.run.seed)
    if settings.files.student_checkpoint:
        given = checkpoint.load(settings.files.student_checkpoint, "--student-checkpoint")
        checkpoint.check_same_vocabulary(teacher, given)
        transceiver.check_joint(theirs, given.model.architecture)
        for end in settings.trained_ends:
            _start_from(given, student, end)
    elif settings.student.student_init == "teacher":
        transceiver.start_from_teacher(teacher.model, student, settings.trained_ends)
    return transceiver.splice(teacher.model, student, settings.trained_parts)


def _tell_of_bias(settings: DistilSettings) -> None:
    """Of a teacher whose receiver is told the SNR, while the student's is not."""
    if settings.student.student_init == "teacher" and not settings.files.student_checkpoint:
        log.warning(
            "--student-init teacher: its receiver has learned beside a bias made of the SNR, which the "
            "student's starts without; --snr-aware has it"
        )
    else:
        log.info("note: the teacher's receiver is told the SNR, the student's is not; --snr-aware tells it")


def _size(end: str, settings: StudentConfig, teacher: EndSize) -> EndSize:
    kinds = {"transmitter": settings.student_transmitter_type, "receiver": settings.student_receiver_type}
    wanted = {
        "layers": settings.student_layers,
        "d_model": settings.student_d_model,
        "num_heads": settings.student_heads,
        "dff": settings.student_dff,
    }
    size = sized(end, kinds[end] or teacher.kind, wanted, like=teacher)
    check_heads("--student-d-model", size.d_model, "--student-heads", sizes_of(size)["num_heads"] or 1)
    return size


def _start_from(given: Checkpoint, student: Transceiver, end: str) -> None:
    """Take an end's weights. Raises SemcomError unless it is of the kind and sizes that the run asks for."""
    ours, theirs = student.architecture, given.model.architecture
    wanted, found = ours.size(end), theirs.size(end)
    _check_sizes(f"--student-checkpoint {given.name}: its {end}", wanted, found)
    others = asdict(found)
    unlike = {name: (value, others[name]) for name, value in asdict(wanted).items()}
    for name in CHANNEL_PART_FIELDS[CHANNEL_PART[end]]:
        unlike[name] = getattr(ours, name), getattr(theirs, name)
    if ours.snr_aware != theirs.snr_aware and end == "receiver":
        is_told, cure = ("is", "give") if theirs.snr_aware else ("is not", "leave out")
        raise SemcomError(
            f"--student-checkpoint {given.name}: its receiver {is_told} told the SNR; {cure} --snr-aware"
        )
    for name, (asked, has) in unlike.items():
        if asked != has:
            raise SemcomError(
                f"--student-checkpoint {given.name}: its {name} is {_said(has)}, the teacher's "
                f"{_said(asked)}; start from a student of this teacher"
            )
    student.end(end).load_state_dict(given.model.end(end).state_dict())


def _said(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value or "none")


def _check_sizes(what: str, wanted: EndSize, found: EndSize) -> None:
    """Raise unless kind and sizes are those that flags asked for."""
    if found.kind != wanted.kind:
        raise SemcomError(
            f"{what} is of kind {found.kind}, this run asks for {wanted.kind}; "
            "give --student-transmitter-type or --student-receiver-type"
        )
    ours, theirs = sizes_of(found), sizes_of(wanted)
    if ours != theirs:
        known = [(name, size) for name, size in ours.items() if size is not None]
        has = ", ".join(SIZES_SHOWN[name].format(size) for name, size in known)
        asked = ", ".join(str(size) for size in theirs.values() if size is not None)
        cure = " ".join(f"{SIZE_FLAGS[name]} {size}" for name, size in known)
        raise SemcomError(f"{what} has {has}; this run asks for {asked}; give {cure}")
