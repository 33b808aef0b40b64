"""An output that replaces an earlier one, at the end and never before: ``NAME.new`` is written, the old moved
aside, the new moved in, the old removed.

A note beside the output says that this is under way, and in the note of the run's first output whether all of
the run's new outputs are whole. From there on whoever comes next finishes what is left of it; before, the old
ones stand, and what there is of the new is begun anew or gone on with.
"""

import filecmp
import glob
import logging
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from semcom.base import json_files, locks
from semcom.base.errors import SemcomError, escape
from semcom.base.output_files import TEMPORARY, sync_folder, write_json

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Note:
    """run: the run's first output, as all paths here without links. outputs: in the note of that one, all of
    the run's that replace something. whole: whether they can be moved in. own: patterns of the names that the
    run gives to what it writes in a folder. keeps: whether the earlier output is set aside, not removed."""

    run: str
    outputs: tuple[str, ...] = ()
    whole: bool = False
    own: tuple[str, ...] = ()
    keeps: bool = False


def new_of(real: Path) -> Path:
    return real.with_name(f"{real.name}.new")


def _aside_of(real: Path) -> Path:
    return real.with_name(f".{real.name}.replaced")


def note_file(real: Path) -> Path:
    return real.with_name(f".{real.name}.replacing")


def begin(real: Path, note: Note) -> None:
    """Say that ``NAME.new`` is a run's, to be moved to ``real`` when it is whole."""
    write_json(note_file(real), asdict(note))


def note_at(real: Path) -> Note | None:
    """What is under way at ``real``; None where nothing is, or nothing to be trusted."""
    try:
        said = json_files.read(note_file(real))
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in said.items()}
        note = Note(**values)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    texts = (note.run, *note.outputs, *note.own)
    return note if all(isinstance(text, str) for text in texts) else None


def replaced_by(real: Path) -> Path | None:
    """The output that is replaced by ``real``, or by the folder around it, in the end: a note says so of
    ``NAME.new``."""
    for path in (real, *real.parents):
        if path.suffix == ".new" and note_at(path.with_suffix("")) is not None:
            return path.with_suffix("")
    return None


def is_noted(path: str | Path) -> bool:
    """Whether something is to be moved to ``path``, or a run that did so died over it."""
    return note_file(Path(os.path.realpath(path))).exists()


def is_under_way(real: Path) -> bool:
    """Whether another output of the run at ``real`` has not come to its place yet: the run is not whole."""
    note = note_at(real)
    return note is not None and note.run == str(real) and str(real) not in note.outputs


def is_begun(real: Path) -> bool:
    """Whether a run writes, or was writing when it died, what is to replace the output at ``real``."""
    note = note_at(real)
    if note is None:
        return False
    of_run = note_at(Path(note.run))
    if of_run is not None and of_run.whole:
        return False
    # The first output of a run has a note also where only others of it replace something.
    return note.run != str(real) or str(real) in note.outputs


def publish(outputs: Sequence[Path], run: Path) -> None:
    """Move all of the ``outputs`` in, those of the run whose first output is ``run``."""
    note = note_at(run) or Note(str(run))
    begin(run, replace(note, outputs=tuple(map(str, outputs)), whole=True))
    repair(run, held=[run, *outputs])


def repair(real: Path, held: Collection[Path]) -> None:
    """Finish what a run that died left of its replacing at ``real``: where its new outputs are whole, move
    them in. held: places whose locks the caller has. Raises SemcomError where another run has just one of the
    others."""
    note = note_at(real)
    if note is None:
        return
    run = Path(note.run)
    of_run = note_at(run)
    if of_run is not None and of_run.whole:
        outputs = [Path(path) for path in of_run.outputs]
        with ExitStack() as locked:
            for output in {run, *outputs}.difference(held):
                locked.enter_context(locks.hold("output", output))
            _finish_all(run, outputs)
    elif os.path.lexists(_aside_of(real)):
        _finish(real, note.run)


def _finish_all(run: Path, outputs: Sequence[Path]) -> None:
    # The run's first output last: by its note the others are found.
    for output in sorted(outputs, key=lambda output: output == run):
        _finish(output, str(run))
    if run not in outputs:
        _forget(run)


def _finish(real: Path, run: str) -> None:
    note = note_at(real)
    if note is None or note.run != run:
        return
    try:
        _move_in(real, note)
    except OSError as error:
        raise SemcomError(
            f"{escape(real)}: cannot be replaced by {escape(new_of(real).name)} ({error.strerror}); the same "
            "command will do it when it can"
        ) from None
    if _is_cleared(real, note):
        _forget(real)


def _move_in(real: Path, note: Note) -> None:
    """Every step leaves a state from which this goes on."""
    new, aside = new_of(real), _aside_of(real)
    if os.path.lexists(new):
        if real.is_file() and note.keeps and filecmp.cmp(real, new, shallow=False):
            new.unlink()
            return
        if os.path.lexists(real):
            if note.keeps or os.path.lexists(aside):
                set_aside(real)
            else:
                _rename(real, aside)
        _rename(new, real)
    elif os.path.lexists(aside) and not os.path.lexists(real):
        _rename(aside, real)


def _is_cleared(real: Path, note: Note) -> bool:
    """Remove the earlier output, but what is not a run's: that goes over into the new folder. Whether that
    went well; it is tried again otherwise."""
    aside = _aside_of(real)
    if not os.path.lexists(aside):
        return True
    try:
        if aside.is_dir():
            _carry_over(aside, real, note.own)
            shutil.rmtree(aside)
        else:
            aside.unlink()
        sync_folder(real.parent)
    except OSError as error:
        log.warning(f"{escape(aside)}: what was replaced cannot be removed ({error.strerror}); remove it")
        return False
    return True


def _carry_over(old: Path, new: Path, own: Sequence[str]) -> None:
    """Move what is not the run's own from ``old`` to the same place in ``new``."""
    for path in foreign(old, own):
        _merge(path, new / path.relative_to(old))


def _merge(path: Path, target: Path) -> None:
    """Move to ``target`` what of ``path``, a file or a folder, is not there."""
    if path.is_dir() and not path.is_symlink() and target.is_dir():
        for inner in sorted(path.iterdir()):
            _merge(inner, target / inner.name)
    elif not os.path.lexists(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _rename(path, target)


def foreign(folder: Path, own: Sequence[str]) -> Iterator[Path]:
    """What lies in ``folder`` and no run of this kind writes; a folder without such a thing goes as a
    whole. own: patterns of paths within it; one with a slash is of files in a folder there."""
    folders = by_folder(own)
    for path in sorted(folder.iterdir()):
        if path.name in folders and path.is_dir() and not path.is_symlink():
            yield from foreign(path, folders[path.name])
        elif not is_own(path.name, own):
            yield path


def by_folder(own: Iterable[str]) -> dict[str, list[str]]:
    """Of patterns of paths: those of files in folders, by folder."""
    folders: dict[str, list[str]] = {}
    for pattern in own:
        folder, slash, name = pattern.partition("/")
        if slash:
            folders.setdefault(folder, []).append(name)
    return folders


def is_own(name: str, own: Iterable[str]) -> bool:
    """Whether a file of that name is one that a run writes, or is about to write, or a lock."""
    temporary = TEMPORARY.fullmatch(name)
    name = temporary["name"] if temporary else name
    is_lock = name.startswith(".") and name.endswith(".lock")
    return is_lock or any(fnmatchcase(name, pattern) for pattern in own)


def discard(real: Path) -> None:
    """Remove what a run that died wrote of its new output."""
    if note_at(real) is None:
        return
    new = new_of(real)
    if os.path.lexists(new):
        if new.is_dir() and not new.is_symlink():
            shutil.rmtree(new)
        else:
            new.unlink()
    _forget(real)


def _forget(real: Path) -> None:
    with suppress(FileNotFoundError):
        note_file(real).unlink()


def _rename(source: Path, target: Path) -> None:
    source.rename(target)
    sync_folder(target.parent)


# --- numbered names


def set_aside(real: Path) -> Path:
    """Keep what is at ``real`` under a numbered name, ``NAME.before-1`` or ``stem.before-1.suffix``; return
    it."""
    number = 1
    while os.path.lexists(aside := _before(real, number)):
        number += 1
    _rename(real, aside)
    return aside


def set_aside_names(path: Path) -> list[Path]:
    """Where what stood at ``path`` may be by now: names that runs have given it, those of older versions
    (``stem.1.suffix``) too."""
    stem, suffix = glob.escape(path.stem), glob.escape(path.suffix)
    patterns = (f"{stem}.before-[0-9]*{suffix}", f"{stem}.[0-9]*{suffix}")
    return [found for pattern in patterns for found in sorted(path.parent.glob(pattern))]


def _before(real: Path, number: int) -> Path:
    if real.is_dir():
        return real.with_name(f"{real.name}.before-{number}")
    return real.with_name(f"{real.stem}.before-{number}{real.suffix}")
