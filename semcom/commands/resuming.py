"""What ``--resume`` goes on from: the state of the run in its place, unless flags or inputs differ."""

import logging
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from semcom.base import distributed
from semcom.base.errors import NothingToDo, SemcomError, escape
from semcom.base.flag_words import shown_flag, typed_defaults, typed_values
from semcom.base.flags import flag_of
from semcom.base.settings import ResumeConfig
from semcom.commands.recorded_flags import other_flag
from semcom.distillation.run_state import Keeper
from semcom.distillation.training_settings import TrainingConfig

log = logging.getLogger(__name__)

COMPARED_OTHERWISE = ("device", "output_path", "output")
"""The place is where the state lies; of the device only its kind matters."""
CURE = "give --overwrite without --resume to begin anew"


def flags_of(settings: Any) -> dict[str, Any]:
    """Each flag that the result depends on, as it was given."""
    values = typed_values(settings, recorded=True)
    return {flag_of(name): value for name, value in values.items() if name not in COMPARED_OTHERWISE}


def defaults_of(settings: Any) -> dict[str, Any]:
    """Each flag as it is where it is not given."""
    return {flag_of(name): value for name, value in typed_defaults(settings).items()}


def as_begun(command: str) -> str:
    """The command of a run that ``--resume`` began."""
    return shlex.join(word for word in shlex.split(command) if word != "--resume")


def identity(settings: Any, device: torch.device, inputs: Mapping[str, object]) -> dict[str, Any]:
    """What a run is, by the names that a message calls it by. inputs: name -> fingerprint."""
    machine = {"--device": device.type, "processes:": distributed.count()}
    return {**flags_of(settings), **machine, **inputs}


def resolved(training: TrainingConfig) -> dict[str, object]:
    """What ``auto`` came to where the run was begun."""
    return {"precision": training.precision, "compile": training.compile}


def check_replaced(
    place: str | Path, states: Iterable[Path], settings: Any, record: Mapping[str, Any]
) -> None:
    """Of a place whose run has finished, by its record. Raises NothingToDo where it was this one, SemcomError
    where it had other flags and --overwrite does not replace it. states: files in which it may have kept its
    state."""
    theirs = record.get("settings")
    if isinstance(theirs, dict) and (other := other_flag(settings, theirs)):
        if settings.outputs.overwrite:
            return
        name, was, is_ = other
        raise SemcomError(
            f"{flag_of(name)} {shown_flag(is_)}: the run in {escape(place)}, which has finished, had "
            f"{shown_flag(was)}; give its flags again, name another path, or add --overwrite"
        )
    # It may have been killed just before it removed that.
    for state in states:
        state.unlink(missing_ok=True)
    raise NothingToDo(f"--resume: {escape(place)} holds a run that has finished; nothing is left to do")


def unfinished(flag: str, place: str | Path) -> SemcomError:
    """Of a path that is taken by a run that can be gone on with."""
    return SemcomError(
        f"{flag} {escape(place)}: holds an unfinished run; give --resume to go on with it, --overwrite to "
        "begin anew, or name another path"
    )


def keeper(
    path: Path,
    best: Path,
    settings: ResumeConfig,
    run: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> Keeper:
    """Of a run that keeps its state at ``path``; with ``--resume`` it has found what is there. best: the
    checkpoint of its best epoch. defaults: of the flags in ``run``."""
    kept = Keeper(path, settings.save_every, run, cure=CURE, defaults=defaults)
    if settings.resume and not kept.find():
        log.info(f"--resume: there is no {escape(path)} to go on from; the run begins anew")
    if kept.found:
        at = kept.found["training"]
        if at["best"][1] and not best.is_file():
            raise SemcomError(f"--resume: {escape(best)} is gone, the best of the run until then; {CURE}")
        log.info(f"--resume: on from epoch {at['epoch']}, step {at['steps']} of {at['total']}")
    return kept
