"""Where a run writes: reserved before the first step; an earlier output is kept or, at the end, replaced.

places = reserve(places, held)    # locked, repaired, refused where taken
make_room(places)                 # set aside what is kept, begin what replaces
…                                 # write to each place's ``working``
publish(places)                   # what replaces moves in
"""

import glob
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from semcom.base import locks, replacing
from semcom.base.errors import SemcomError, escape
from semcom.base.output_files import check_outputs, clear_temporaries
from semcom.base.paths import check_output

log = logging.getLogger(__name__)


class Taken(SemcomError):
    """A path that the user named holds something."""


# Nine fields: what is asked for, and what is known once it is reserved.
@dataclass(frozen=True)
class Place:
    """Where a run writes: a folder or a file, at a path that the user ``named`` or the default one.

    resume: go on with what an unfinished run left there. at_end: a file that is written once, at the end of
    the run. own: patterns of the names that a run writes in its folder (see ``replacing.foreign``), or beside
    its file. staged: where it writes until it is published, if it replaces something; known once it is
    reserved.
    """

    flag: str
    path: str | Path
    named: bool
    overwrite: bool
    folder: bool
    resume: bool = False
    at_end: bool = False
    own: tuple[str, ...] = ()
    staged: Path | None = None

    @property
    def working(self) -> Path:
        """Where the run writes."""
        return self.staged or Path(self.path)

    def within(self, path: Path) -> Path:
        """Where the run writes what will stand at ``path``, in this folder."""
        return self.working / path.relative_to(self.path)

    @property
    def real(self) -> Path:
        """Its path, links resolved."""
        return Path(os.path.realpath(self.path))

    def check(self) -> bool:
        """Whether something is there that must be set aside. Raises SemcomError where a named path is taken.

        Touches nothing, so that it can be asked long before ``make_room``.
        """
        path, given = Path(self.path), f"{self.flag} {escape(self.path)}"
        check_output(self.flag, self.path)
        if self.folder and path.exists() and not path.is_dir():
            raise SemcomError(f"{given}: is a file, a folder is wanted; name another path")
        if not self.folder and path.is_dir():
            raise SemcomError(f"{given}: is a folder, a file is wanted; name another path")
        # Of what it wrote there, the run that replaces disposes as it likes.
        if replaced := replacing.replaced_by(self.real):
            raise SemcomError(
                f"{given}: is where a run writes that replaces {escape(replaced)} in the end; go on with "
                "that one or begin it anew, by its path and --resume or --overwrite, or name another path"
            )
        if self.resume or not self._is_taken():
            return False
        self._check_movable(given)
        if self.overwrite:
            return False
        if self.named:
            raise Taken(f"{given}: exists already; name another path, or give --overwrite to replace it")
        return True

    def _is_taken(self) -> bool:
        path = Path(self.path)
        if not self.folder:
            return path.exists()
        return path.is_dir() and any(not p.name.startswith(".") for p in path.iterdir())

    def _check_movable(self, given: str) -> None:
        """Raise SemcomError for a folder that could not be set aside in the end."""
        if not self.folder:
            return
        if os.path.ismount(self.real):
            raise SemcomError(f"{given}: is a mount point, which cannot be replaced; name a folder in it")
        if Path.cwd().is_relative_to(self.real):
            raise SemcomError(f"{given}: holds the working directory; name a folder in it")

    def may_be_staged(self) -> bool:
        """Whether something is there that a run may replace, or was about to; asked when it is locked."""
        is_there = self._is_taken() or replacing.note_at(self.real) is not None
        return is_there and (self.overwrite or self.resume)

    def reserved(self) -> "Place":
        """With the place where it writes. Raises SemcomError where it is taken."""
        self.check()
        new = replacing.new_of(self.real)
        noted = replacing.is_begun(self.real)
        begun = noted and os.path.lexists(new)
        if self.resume:
            # Also where its run died before it had written this output: the earlier one still stands there.
            staged = noted or (self.at_end and self._is_taken())
        else:
            staged = self.overwrite and self._is_taken()
        if staged and os.path.lexists(new) and not begun:
            raise SemcomError(
                f"{self.flag} {escape(self.path)}: what replaces it is written to {escape(new.name)} first, "
                "which is there and of no such run; move it, or name another path"
            )
        return replace(self, staged=_beside(self.path, new) if staged else None)

    def make_room(self) -> str | None:
        """Keep what a finished run left there, under a numbered name; return a line about it."""
        if not self.check():
            return None
        aside = _beside(self.path, replacing.set_aside(self.real))
        return f"kept the earlier {escape(self.path)} as {escape(aside)}"


def _beside(given: str | Path, real: Path) -> Path:
    """A path beside the real one, in the words in which that was given, where they lead there."""
    path = Path(given)
    if path.name in ("", "..") or path.is_symlink():
        return real
    return path.with_name(real.name)


def reserve(places: Sequence[Place], held: ExitStack) -> list[Place]:
    """The places of one run, its first output first, with the paths where each writes. Their locks go to
    ``held``; what a run that died left half replaced there is repaired.

    Raises SemcomError where another run is at work or a named path is taken.
    """
    outer = [place for place in places if not _around(place, places)]
    _claim(outer, held)
    for place in outer:
        if place.may_be_staged():
            held.enter_context(locks.hold(place.flag, replacing.new_of(place.real)))
    return _reserved(places)


def replacing_finished(places: Sequence[Place]) -> list[Place]:
    """Of places that are locked: where a finished run turned out to be in the way of one that was to go on,
    and is to be replaced."""
    return _reserved([replace(place, resume=False, overwrite=True) for place in places])


def _reserved(places: Sequence[Place]) -> list[Place]:
    outer = [place for place in places if not _around(place, places)]
    reserved = {place.real: place.reserved() for place in outer}
    return [reserved.get(place.real) or _within(place, reserved) for place in places]


def reserve_files(
    outputs: Mapping[str, str | Path], inputs: Iterable[str | Path], *, overwrite: bool, held: ExitStack
) -> None:
    """The same of files (flag -> path) that the user named and that are written whole at the end; also
    ``check_outputs``."""
    check_outputs(outputs, inputs)
    places = [Place(flag, path, True, overwrite, folder=False) for flag, path in outputs.items()]
    _claim(places, held)
    for place in places:
        place.check()


def _claim(places: Sequence[Place], held: ExitStack) -> None:
    """Lock the places and repair what is there; what is refused at a glance leaves no lock's file."""
    try:
        for place in places:
            place.check()
    except Taken:
        # What a run at work has written is not yet there for good.
        for place in places:
            locks.refuse_held(place.flag, place.path)
        raise
    for place in places:
        held.enter_context(locks.hold(place.flag, place.path))
    for place in places:
        replacing.repair(place.real, held=[place.real for place in places])
        _clear(place)


def _around(place: Place, places: Iterable[Place]) -> Place | None:
    """The folder among the places that a place lies in: its lock and its replacing are the place's too."""
    around = (other for other in places if other.folder and other.real in place.real.parents)
    return next(around, None)


def _within(place: Place, reserved: Mapping[Path, Place]) -> Place:
    folder = _around(place, reserved.values())
    assert folder is not None
    if folder.staged is None:
        return place  # what is there is set aside with the folder, or a resumed run's own
    return replace(place, staged=folder.staged / place.real.relative_to(folder.real))


def make_room(places: Sequence[Place]) -> None:
    """Set aside what is kept, and begin what replaces an earlier output anew, unless it is resumed."""
    run = places[0].real
    outer = [place for place in places if not _around(place, places)]
    staged = [place for place in outer if place.staged]
    for place in outer:
        if not place.resume:
            replacing.discard(place.real)
            if line := place.make_room():
                log.info(line)
    for place in staged:
        replacing.begin(place.real, _note(place, run, staged))
    if staged and not places[0].staged:
        replacing.begin(run, _note(places[0], run, staged))


def _note(place: Place, run: Path, staged: Sequence[Place]) -> replacing.Note:
    outputs = tuple(str(one.real) for one in staged) if place.real == run else ()
    before = replacing.note_at(place.real) if place.resume else None
    keeps = before.keeps if before else not place.overwrite
    return replacing.Note(str(run), outputs, own=place.own, keeps=keeps)


def publish(places: Sequence[Place]) -> None:
    """Move what replaces earlier outputs in, all of it: the run is finished."""
    staged = [place.real for place in places if place.staged and not _around(place, places)]
    if staged:
        replacing.publish(staged, places[0].real)


def _clear(place: Place) -> None:
    """Remove what runs that died were about to write there; the place is locked."""

    def one_of(patterns: Iterable[str]) -> Callable[[str], bool]:
        return lambda name: replacing.is_own(name, patterns)

    real, new = place.real, replacing.new_of(place.real)
    beside = (real, new, replacing.note_file(real))
    names = [glob.escape(path.name) for path in beside]
    clear_temporaries(real.parent, one_of(names if place.folder else [*names, *place.own]))
    if place.folder:
        for folder in (real, new):
            clear_temporaries(folder, one_of(place.own))
            for name, own in replacing.by_folder(place.own).items():
                clear_temporaries(folder / name, one_of(own))
