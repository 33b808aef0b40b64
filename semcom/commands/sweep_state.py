"""What of a sweep is there already: a run is finished, unfinished or another one."""

import json
from collections.abc import Mapping
from typing import Any

from semcom.base import output_files
from semcom.base.errors import SemcomError, escape
from semcom.base.flags import flag_of
from semcom.base.varied_flags import words_of_value
from semcom.commands.recorded_flags import recorded
from semcom.commands.run_record import FILE, RunRecord, shown
from semcom.commands.sweep_plan import PLAN, Point, Sweep

DECIDED = {"precision": "auto", "compile": True}
"""Settings of which the record has what the machine made of this value."""
OF_NO_RESULT = ("output_path", "hybrid_output")


def kept(sweep: Sweep) -> dict[str, Any]:
    """What an earlier call has kept of the sweep: the threads of its runs, their commands, jobs."""
    file = sweep.root / PLAN
    try:
        plan = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise SemcomError(
            f"{escape(file)}: cannot be read ({type(error).__name__}); remove it, the runs stay"
        ) from None
    return plan if isinstance(plan, dict) else {}


def keep(sweep: Sweep, **values: object) -> None:
    output_files.write_json(sweep.root / PLAN, kept(sweep) | values)


def missing_of(sweep: Sweep) -> list[Point]:
    """The runs that are not finished. Raises SemcomError for a folder that holds a run of other settings."""
    for point in sweep.points:
        _check(point)
    return [point for point in sweep.points if not is_there(point)]


def is_there(point: Point) -> bool:
    """Whether the run is finished."""
    folder = point.settings.output_path
    return (folder / FILE).is_file() and "test_scores" in RunRecord.read(str(folder)).values


def _check(point: Point) -> None:
    folder = point.settings.output_path
    if not (folder / FILE).is_file():
        return
    settings = RunRecord.read(str(folder)).values.get("settings")
    if not isinstance(settings, dict):
        raise SemcomError(
            f"{escape(folder)}: its record does not say all settings, it is of an older version; remove it, "
            "or name another --output-path"
        )
    timed = point.settings.training.minutes is not None
    for name, wanted in _as_read(recorded(point.settings)).items():
        if name in settings and _differs(name, settings, wanted, timed):
            raise SemcomError(
                f"{escape(folder)}: holds a run with {flag_of(name)} {_typed(settings[name])}, this one has "
                f"{_typed(wanted)}; give the flags that it had, remove it, or name another --output-path"
            )


def _as_read(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives them back."""
    return json.loads(json.dumps(values))


def _differs(name: str, settings: Mapping[str, Any], wanted: Any, timed: bool) -> bool:
    """timed: whether the run is to take so many minutes, which its record has as steps."""
    if (
        name in OF_NO_RESULT
        or (timed and name in ("minutes", "steps"))
        or (name in DECIDED and wanted == DECIDED[name])
    ):
        return False
    return bool(settings[name] != wanted)


def _typed(value: Any) -> str:
    """A recorded value as a person types it."""
    return shown(" ".join(words_of_value(tuple(value) if isinstance(value, list) else value)))
