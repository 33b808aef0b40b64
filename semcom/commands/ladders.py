"""Finished ladders beside finished runs: the hybrids that were dialled, as things to look at."""

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from semcom.base import json_files
from semcom.base.errors import SemcomError, escape
from semcom.base.replacing import set_aside_names
from semcom.commands.dial_settings import RECORD
from semcom.commands.dial_state import UNFINISHED
from semcom.commands.runs import Found, label_of, runs_under
from semcom.evaluation.dialled import DIAL, Dial, dial_of
from semcom.models import checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recorded:
    """A hybrid as the record of its ladder has it."""

    file: str
    dial: Dial


def found_under(root: str) -> list[Found]:
    """Finished runs under ``root``, then the hybrids of finished ladders there, each file once. Raises
    SemcomError where there is nothing."""
    found = {os.path.realpath(one.path): one for one in [*runs_under(root), *ladders_under(root)]}
    if not found:
        raise SemcomError(
            f"{escape(root)}: no finished run there; make one with: "
            "python distillation.py --distill-part decoder --create-hybrid"
        )
    return list(_told_apart(found.values()))


def ladders_under(root: str) -> list[Found]:
    """The hybrids of finished ladders under ``root``, by target. A line is said of what cannot be read, is
    not finished or is gone."""
    for path in sorted(Path(root).rglob(UNFINISHED)):
        log.info(f"note: the ladder {escape(path.parent)} is not finished, it is left out")
    return [
        found
        for path in sorted(Path(root).rglob(RECORD))
        if (recorded := _recorded(path)) is not None
        for found in _hybrids(path, label_of(path.parent, root), recorded)
    ]


def _recorded(path: Path) -> list[Recorded] | None:
    """By target; None of a ladder whose record is damaged."""
    try:
        ladder = json_files.read(path)
        if not isinstance(ladder, dict) or ladder.get("finished") is not True:
            raise json_files.NotJSON("it is no record of a ladder")
        hybrids = ladder.get("hybrids")
        if not isinstance(hybrids, list) or not hybrids:
            raise json_files.NotJSON("it names no hybrids")
        return sorted(map(_hybrid, hybrids), key=lambda hybrid: hybrid.dial.target)
    except (OSError, ValueError) as error:
        why = escape(json_files.problem(error))
        log.warning(
            f"{escape(path)}: cannot be read ({why}), the ladder is left out; remove it or dial again"
        )
        return None


def _hybrid(entry: object) -> Recorded:
    file, dial = (entry.get("file"), dial_of({DIAL: entry})) if isinstance(entry, dict) else (None, None)
    if not isinstance(file, str) or dial is None:
        raise ValueError("one of its hybrids is no record of a hybrid")
    return Recorded(file, dial)


def _hybrids(path: Path, label: str, recorded: Iterable[Recorded]) -> Iterator[Found]:
    """Those that are still there. label: of the ladder."""
    gone = []
    for hybrid in recorded:
        target = f"{hybrid.dial.target:.12g}"
        if found := _found(path.parent, hybrid):
            yield Found(f"{label}/{target}", *found)
        else:
            gone.append(target)
    if gone:
        log.info(
            f"note: hybrids of the ladder {escape(path.parent)} are no longer there, they are left out: "
            f"{', '.join(gone)}"
        )


def _found(folder: Path, hybrid: Recorded) -> tuple[str, Mapping[str, object]] | None:
    """Where the hybrid is by now, and what it was made with: in the folder of its ladder, where it was
    written, or beside that place under the name that a later run has given it."""
    written = Path(hybrid.file)
    if not written.name:
        return None
    # What a stranger calls a path may be none.
    with contextlib.suppress(OSError, ValueError):
        for path in [folder / written.name, written, *set_aside_names(written)]:
            if path.is_file() and (made := _made_as(path, hybrid)) is not None:
                return str(path), made
    return None


def _made_as(path: Path, hybrid: Recorded) -> Mapping[str, object] | None:
    """What a checkpoint was made with, if it is this hybrid."""
    try:
        made = checkpoint.load(path).config
    except SemcomError as error:
        log.warning(f"{error}; it is left out")
        return None
    dial = dial_of(made)
    same = dial is not None and (dial.target, dial.place) == (hybrid.dial.target, hybrid.dial.place)
    return made if same else None


def _told_apart(found: Iterable[Found]) -> Iterator[Found]:
    """With labels that stand once."""
    taken: set[str] = set()
    for one in found:
        label = one.label
        while label in taken:
            label += " (dialled)"
        taken.add(label)
        yield replace(one, label=label)
