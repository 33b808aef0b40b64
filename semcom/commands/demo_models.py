"""The receivers that stand beside each other in the demo."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from semcom.base.errors import SemcomError, escape, shown
from semcom.base.messages import N_
from semcom.channel.channels import Channel
from semcom.commands.demo_settings import RECEIVERS
from semcom.commands.dial_stops import Stops, stops_of_run
from semcom.commands.inputs import load_teacher, shipped
from semcom.commands.measuring import labels
from semcom.commands.run_record import BEST, FILE, RunRecord
from semcom.commands.runs import runs_under
from semcom.commands.thinned_receiver import thinned
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint

log = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
TEACHER, THINNED = "teacher", N_("teacher, a layer less")
DIALS = 1
"""Receivers that the dial may add."""
MEASURED_SNR = 12.0


@dataclass(frozen=True)
class Cast:
    """models: by label, in the order in which they stand. runs: folders of finished distillations among
    them."""

    models: Mapping[str, Checkpoint]
    runs: tuple[str, ...]


def cast_of(given: Sequence[str], device: torch.device) -> Cast:
    """What is ``given``, or the shipped teacher and the runs under checkpoints/.

    Of a folder of a run the best student, behind its teacher. Raises SemcomError for what is neither.
    """
    if not given:
        return _found(device)
    folders = tuple(path for path in given if Path(path).is_dir())
    files = [str(Path(path) / BEST) if path in folders else path for path in given]
    for folder in folders:
        if not (Path(folder) / FILE).is_file() or not (Path(folder) / BEST).is_file():
            raise SemcomError(
                f"CHECKPOINT {escape(folder)}: no run of distillation.py there; give a checkpoint, or make a "
                f"run with: python distillation.py --distill-part decoder"
            )
    loaded = dict(zip(labels(files), (checkpoint.load(path, "CHECKPOINT") for path in files)))
    return Cast(_on(device, {**_teachers(loaded, folders), **loaded}), folders)


def _teachers(loaded: Mapping[str, Checkpoint], folders: Sequence[str]) -> dict[str, Checkpoint]:
    """That of the first run, unless it is given."""
    there = {c.fingerprint for c in loaded.values()}
    of_run = next((c for c in loaded.values() if "teacher_checkpoint" in c.config), None)
    if not folders or of_run is None or of_run.config.get("teacher_fingerprint") in there:
        return {}
    path = of_run.config["teacher_checkpoint"]
    if isinstance(path, str) and Path(shipped(path)).is_file() and TEACHER not in loaded:
        found = load_teacher(path, "CHECKPOINT")
        if found.fingerprint == of_run.config.get("teacher_fingerprint"):
            return {TEACHER: found}
    log.info("note: the teacher of the run is no longer where it was; give it too, to see it beside")
    return {}


def _found(device: torch.device) -> Cast:
    teacher = load_teacher(None, "CHECKPOINT")
    models = {TEACHER: teacher}
    runs = runs_under(CHECKPOINTS) if Path(CHECKPOINTS).is_dir() else []
    room = RECEIVERS - len(models) - DIALS
    if len(runs) > room:
        left_out = ", ".join(escape(found.label) for found in runs[room:])
        log.info(f"note: there is room for {RECEIVERS} receivers, left out are {left_out}; name those to see")
    for found in runs[:room]:
        models[found.label] = checkpoint.load(found.path, "CHECKPOINT")
    if not runs and (fewer := thinned(teacher)):
        log.info(
            "note: no run under checkpoints/ yet; beside the teacher stands its receiver with a layer less, "
            "untrained; make a student with: python distillation.py --distill-part decoder"
        )
        models[THINNED] = fewer
    folders = (str(Path(found.path).parent) for found in runs[:room] if Path(found.path).name == BEST)
    return Cast(_on(device, models), tuple(folders))


def path_of(cast: Cast, channel: Channel) -> Stops | None:
    """What the dial goes through: the path of the first run that has one; a line is said where none has."""
    for folder in cast.runs:
        try:
            teacher = _given_teacher(cast, folder)
            log.info(f"the dial: the path of {escape(folder)}, measured at {MEASURED_SNR:g} dB")
            return stops_of_run(folder, channel, MEASURED_SNR, teacher=teacher)
        except SemcomError as error:
            log.info(f"note: no dial, {error}")
    return None


def _given_teacher(cast: Cast, folder: str) -> str | None:
    """File of the teacher of that run, wherever it now is, where it is among those that stand here."""
    record = RunRecord.read(folder)
    wanted, recorded = record.text("teacher_fingerprint"), record.text("teacher_checkpoint")
    found = next((c.path for c in cast.models.values() if c.path and c.fingerprint == wanted), None)
    if found is None and not Path(shipped(recorded)).is_file():
        raise SemcomError(f"{record.name}: its teacher {shown(recorded)} is not there; name its file too")
    return found


def _on(device: torch.device, models: Mapping[str, Checkpoint]) -> dict[str, Checkpoint]:
    for c in models.values():
        c.model.to(device).eval()
    return dict(models)
