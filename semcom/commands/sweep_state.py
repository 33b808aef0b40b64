"""What of a sweep is there already: a run is finished, unfinished or another one."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from semcom.base import json_files, locks, output_files, replacing
from semcom.base.advice import meant_path
from semcom.base.errors import SemcomError, escape
from semcom.base.flag_words import shown_flag, typed_defaults
from semcom.base.flags import flag_of
from semcom.base.places import Place
from semcom.base.provenance import PROJECT
from semcom.commands.recorded_flags import other_flag, recorded
from semcom.commands.run_record import FILE, RunRecord, is_finished
from semcom.commands.sweep_plan import PLAN, Point, Sweep

log = logging.getLogger(__name__)

OVERWRITING = "overwriting"
"""In a sweep's plan, while its runs are replaced: run -> digest of its flags, and the records found there."""


class OtherRun(SemcomError):
    """A folder of the sweep holds a run of other settings."""


def kept(sweep: Sweep) -> dict[str, Any]:
    """What an earlier call has kept of the sweep: the threads of its runs, their commands, jobs."""
    file = sweep.root / PLAN
    try:
        plan = json_files.read(file)
    except FileNotFoundError:
        return {}
    except (OSError, json_files.NotJSON) as error:
        why = escape(json_files.problem(error))
        raise SemcomError(f"{escape(file)}: cannot be read ({why}); remove it, the runs stay") from None
    return plan if isinstance(plan, dict) else {}


def keep(sweep: Sweep, **values: object) -> None:
    output_files.write_json(sweep.root / PLAN, kept(sweep) | values)


def check_inputs(sweep: Sweep) -> None:
    """Raise SemcomError for a file that a run would not find."""
    for point in sweep.points:
        files, text = point.settings.files, point.settings.corpus.corpus
        read = [("--teacher-checkpoint", path) for path in files.teacher_checkpoint]
        read += [("--student-checkpoint", path) for path in (files.student_checkpoint,) if path]
        read += [("--corpus", path) for path in text]
        for flag, path in read:
            if not Path(path).exists() and not (flag == "--teacher-checkpoint" and (PROJECT / path).exists()):
                raise SemcomError(
                    f"{flag} {escape(path)}: no such file{meant_path(path)}; give one that is there"
                )


def missing_of(sweep: Sweep, held: ExitStack) -> list[Point]:
    """The runs that are not finished, or not replaced yet where they are to be; a lock on the sweep goes to
    ``held``.

    A folder that holds a run of other settings is refused by OtherRun; in the default place the whole earlier
    sweep is set aside.
    """
    if sweep.root.exists() and not sweep.root.is_dir():
        raise SemcomError(
            f"--output-path {escape(sweep.root)}: is a file, a folder is wanted; name another path"
        )
    try:
        with ExitStack() as lock:
            _lock(sweep, lock)
            if not sweep.overwrites:
                for point in sweep.points:
                    _check(point)
            held.push(lock.pop_all())
    except OtherRun:
        if sweep.named:
            raise
        _set_aside(sweep)
        _lock(sweep, held)
    if sweep.overwrites:
        _note_overwriting(sweep)
    return [point for point in sweep.points if not is_made(sweep, point)]


def _lock(sweep: Sweep, held: ExitStack) -> None:
    """Keep a second sweep out; a lock on the folder itself would keep its own runs out too."""
    held.enter_context(locks.hold("--output-path", sweep.root / PLAN))


def _set_aside(sweep: Sweep) -> None:
    """Keep the earlier sweep under a numbered name. Raises SemcomError where a run in it is at work or waits
    for its turn: it would go on in the folder of the new one."""
    from semcom.commands import sweep_slurm

    # Refused while any run in it is at work, of this sweep or not.
    with locks.hold("--output-path", sweep.root):
        if jobs := sweep_slurm.jobs_at_work(sweep):
            raise SemcomError(
                f"--output-path {escape(sweep.root)}: jobs {escape(' '.join(jobs))[:200]} of a sweep before "
                "are at work there or wait; wait for them, end them with scancel, or name another path"
            )
        log.info(Place("--output-path", sweep.root, named=False, overwrite=False, folder=True).make_room())


def is_there(point: Point) -> bool:
    """Whether the run is finished."""
    return is_finished(point.settings.output_path)


# --- overwriting


def is_made(sweep: Sweep, point: Point) -> bool:
    """Whether the run is finished; where runs are replaced, whether this one has been since that began."""
    if not sweep.overwrites:
        return is_there(point)
    new, _ = _records_of(point)
    return is_there(point) and new not in _replaced(sweep, point)


def goes_on(sweep: Sweep, point: Point) -> bool:
    """Whether the run goes on with what is there, which is not what it is to replace."""
    if not sweep.overwrites:
        return True
    replaced = _replaced(sweep, point)
    return any(record not in replaced for record in _records_of(point))


def end_overwriting(sweep: Sweep) -> None:
    """Once all is made, the same command begins anew."""
    plan = kept(sweep)
    if plan.pop(OVERWRITING, None) is not None:
        output_files.write_json(sweep.root / PLAN, plan)


def _note_overwriting(sweep: Sweep) -> None:
    """Keep what is to be replaced, but for runs of which that is known from a call that was stopped."""
    known = kept(sweep).get(OVERWRITING)
    noted = {}
    for point in sweep.points:
        flags = _digest(_given(point))
        of_run = known.get(point.name) if isinstance(known, dict) else None
        begun = isinstance(of_run, dict) and of_run.get("flags") == flags
        noted[point.name] = of_run if begun else {"flags": flags, "records": _records_of(point)}
    keep(sweep, **{OVERWRITING: noted})


def _replaced(sweep: Sweep, point: Point) -> Sequence[int]:
    """The records that this overwriting has found; 0 for one that is not there, which is none of its own."""
    noted = kept(sweep).get(OVERWRITING, {}).get(point.name, {"records": _records_of(point)})
    return [0, *noted["records"]]


def _records_of(point: Point) -> list[int]:
    """When the records of the run and of what will replace it were written, in ns; 0 where there is none."""
    real = Path(os.path.realpath(point.settings.output_path))
    files = [folder / FILE for folder in (real, replacing.new_of(real))]
    return [file.stat().st_mtime_ns if file.is_file() else 0 for file in files]


def _given(point: Point) -> dict[str, Any]:
    """Flags of the run that are not as they are without them, so that those of a later version change
    nothing."""
    not_given = typed_defaults(point.settings)
    flags = recorded(point.settings)
    return {name: value for name, value in flags.items() if value != not_given.get(name)}


def _digest(flags: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(flags, sort_keys=True).encode()).hexdigest()


# --- runs of other settings


def _check(point: Point) -> None:
    folder = point.settings.output_path
    if not (folder / FILE).is_file():
        return
    settings = RunRecord.read(str(folder)).values.get("settings")
    if not isinstance(settings, dict):
        raise OtherRun(
            f"{escape(folder)}: its record does not say all settings, it is of an older version; remove it, "
            "or name another --output-path"
        )
    if other := other_flag(point.settings, settings):
        name, was, is_ = other
        raise OtherRun(
            f"{escape(folder)}: holds a run with {flag_of(name)} {shown_flag(was)}, this one has "
            f"{shown_flag(is_)}; give the flags that it had, remove it, or name another --output-path"
        )
