"""The receivers that stand beside each other in the demo."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from semcom.base.errors import SemcomError, escape
from semcom.commands.demo_settings import RECEIVERS
from semcom.commands.inputs import load_teacher, shipped
from semcom.commands.measuring import labels
from semcom.commands.run_record import BEST, FILE
from semcom.commands.runs import runs_under
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint

log = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
TEACHER = "teacher"


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
    if not isinstance(path, str) or not Path(shipped(path)).is_file() or TEACHER in loaded:
        log.info("note: the teacher of the run is no longer where it was; give it too, to see it beside")
        return {}
    return {TEACHER: load_teacher(path, "CHECKPOINT")}


def _found(device: torch.device) -> Cast:
    models = {TEACHER: load_teacher(None, "CHECKPOINT")}
    runs = [found for found in runs_under(CHECKPOINTS)] if Path(CHECKPOINTS).is_dir() else []
    room = RECEIVERS - len(models)
    if len(runs) > room:
        left_out = ", ".join(escape(found.label) for found in runs[room:])
        log.info(f"note: there is room for {RECEIVERS} receivers, left out are {left_out}; name those to see")
    for found in runs[:room]:
        models[found.label] = checkpoint.load(found.path, "CHECKPOINT")
    folders = (str(Path(found.path).parent) for found in runs[:room] if Path(found.path).name == BEST)
    return Cast(_on(device, models), tuple(folders))


def _on(device: torch.device, models: Mapping[str, Checkpoint]) -> dict[str, Checkpoint]:
    for c in models.values():
        c.model.to(device).eval()
    return dict(models)
