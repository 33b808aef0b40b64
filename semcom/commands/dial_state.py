"""What an unfinished ladder has read of its path, kept in its folder, so that the same command goes on."""

import glob
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from semcom.base import json_files, output_files
from semcom.base.errors import SemcomError, escape
from semcom.base.flags import as_record
from semcom.channel.settings import ChannelConfig
from semcom.commands.dial_settings import LADDER_FILES, PICTURE
from semcom.evaluation.path_search import Reading
from semcom.evaluation.settings import TargetConfig
from semcom.report import look

UNFINISHED = ".unfinished.json"
"""What was read."""
NOT_GIVEN = as_record(TargetConfig(), ChannelConfig())
"""Settings in a key, as they are without flags."""
CACHE = ".measured"
"""Folder of the finished parts of the measurement on test sentences, while the ladder is unfinished."""

Known = dict[tuple[float, int], Reading]


@dataclass
class LadderState:
    """key: all that the readings depend on, as JSON gives it back. make_room: called before the first file is
    written, when the targets are known to be within reach. begun: whether anything of it is in the folder.
    written_at: of a hybrid's file, where it is written."""

    folder: Path
    key: Mapping[str, object]
    readings: Known = field(default_factory=dict)
    make_room: Callable[[], None] = lambda: None
    begun: bool = False
    written_at: Callable[[Path], Path] = lambda path: path

    @property
    def path(self) -> Path:
        return self.folder / UNFINISHED

    @property
    def cache(self) -> Path:
        return self.folder / CACHE

    def begin(self, readings: Mapping[tuple[float, int], Reading]) -> None:
        if not self.begun:
            self.make_room()
        self.begun = True
        self.readings = dict(readings)
        self._write()

    def keep(self, reading: Reading) -> None:
        self.readings[reading.place, reading.blocks] = reading
        self._write()

    def _write(self) -> None:
        readings = [asdict(reading) for reading in self.readings.values()]
        state = json_files.digested({"key": self.key, "readings": readings})
        output_files.write_json(self.path, state)

    def discard(self) -> None:
        """Leave nothing of this ladder, unfinished as it is."""
        if not self.begun:
            return
        self.finish()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def finish(self) -> None:
        """Remove what only an unfinished ladder needs."""
        self.path.unlink(missing_ok=True)
        for part in self.cache.glob("*"):
            part.unlink()
        if self.cache.is_dir():
            self.cache.rmdir()


def own_files(folder: Path) -> tuple[str, ...]:
    """Patterns of what ladders write in a folder, among it the hybrids of the one that is there."""
    hybrids = [glob.escape(file.name) for file in folder.glob("hybrid_*.pt") if _is_of_a_ladder(file)]
    return (*LADDER_FILES, *look.with_print(PICTURE), UNFINISHED, CACHE, *hybrids)


def _is_of_a_ladder(file: Path) -> bool:
    """Not another's hybrid: those of ladders are named by their targets."""
    try:
        return math.isfinite(float(file.stem.removeprefix("hybrid_")))
    except ValueError:
        return False


def read(path: Path) -> dict[str, Any]:
    """The state of an unfinished ladder; empty where there is none. Raises SemcomError for what is none."""
    if not path.is_file():
        return {}
    try:
        return json_files.undigested(json_files.read(path))
    except (OSError, json_files.NotJSON) as error:
        raise SemcomError(_damaged(path, json_files.problem(error))) from None


def _damaged(path: Path, why: str) -> str:
    return f"{escape(path)}: damaged ({escape(why)}); remove it, or give --overwrite to begin anew"


def resumed(folder: Path, key: Mapping[str, object], overwrite: bool) -> LadderState | None:
    """The state of the same ladder, left unfinished in ``folder``; None where there is none. Raises
    SemcomError where it is another's that is not to be overwritten."""
    try:
        return _resumed(folder, key)
    except SemcomError:
        if overwrite:
            return None
        raise


def _resumed(folder: Path, key: Mapping[str, object]) -> LadderState | None:
    record = read(folder / UNFINISHED)
    if not record:
        return None
    theirs = record.get("key")
    # What it does not know, being of an earlier version, was not given.
    theirs = {**NOT_GIVEN, **(theirs if isinstance(theirs, dict) else {})}
    differing = [name for name in key if theirs.get(name) != key[name]]
    if differing:
        raise SemcomError(
            f"--output-path {escape(folder)}: holds an unfinished ladder of another {differing[0]}; give its "
            "flags again to go on, name another path, or give --overwrite to begin anew"
        )
    entries = record.get("readings")
    readings = [_reading(entry) for entry in entries] if isinstance(entries, list) else [None]
    if None in readings:
        raise SemcomError(_damaged(folder / UNFINISHED, "its readings"))
    known = {(reading.place, reading.blocks): reading for reading in readings if reading}
    return LadderState(folder, key, known, begun=True)


def _reading(entry: object) -> Reading | None:
    """None of what is none."""
    if not isinstance(entry, dict) or set(entry) != {field.name for field in fields(Reading)}:
        return None
    decimals = [entry["place"], entry["value"], entry["error"]]
    counts = [entry["blocks"], entry["sentences"]]
    if not all(type(number) is float and math.isfinite(number) for number in decimals):
        return None
    if not all(type(count) is int and count > 0 for count in counts):
        return None
    return Reading(**entry) if 0 <= entry["place"] <= 1 and entry["error"] >= 0 else None
