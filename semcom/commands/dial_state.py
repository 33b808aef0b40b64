"""What an unfinished ladder has read of its path, kept in its folder, so that the same command goes on."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from semcom.base import output_files
from semcom.base.errors import SemcomError, escape
from semcom.commands.dial_settings import LADDER_FILES, RECORD
from semcom.evaluation.path_search import Reading

CACHE = ".measured"
"""Folder of the finished parts of the measurement on test sentences, while the ladder is unfinished."""

Readings = dict[tuple[float, int], Reading]


@dataclass
class LadderState:
    """key: all that the readings depend on, as JSON gives it back."""

    folder: Path
    key: Mapping[str, object]
    readings: Readings = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.folder / RECORD

    @property
    def cache(self) -> Path:
        return self.folder / CACHE

    def begin(self, readings: Mapping[tuple[float, int], Reading]) -> None:
        self.readings = dict(readings)
        self._write()

    def keep(self, reading: Reading) -> None:
        self.readings[reading.place, reading.blocks] = reading
        self._write()

    def _write(self) -> None:
        readings = [asdict(reading) for reading in self.readings.values()]
        output_files.write_json(self.path, {"finished": False, "key": self.key, "readings": readings})

    def clear(self) -> None:
        """Remove what an earlier ladder left, which is to be overwritten."""
        for pattern in ("hybrid_*.pt", *LADDER_FILES):
            for left in self.folder.glob(pattern):
                left.unlink()
        self.finish()

    def discard(self) -> None:
        """Leave nothing of an unfinished ladder."""
        record = read(self.path)
        if record and not record.get("finished"):
            self.path.unlink()
        self.finish()

    def finish(self) -> None:
        """Remove what only an unfinished ladder needs."""
        for part in self.cache.glob("*"):
            part.unlink()
        if self.cache.is_dir():
            self.cache.rmdir()


def read(path: Path) -> dict[str, Any]:
    """A ladder's record; empty where there is none. Raises SemcomError for one that cannot be read."""
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SemcomError(
            f"{escape(path)}: cannot be read ({type(error).__name__}); remove it, or name another "
            "--output-path"
        ) from None
    return record if isinstance(record, dict) else {}


def resumed(folder: Path, key: Mapping[str, object]) -> LadderState | None:
    """The state of the same ladder, left unfinished in ``folder``; None where there is none. Raises
    SemcomError where it is another's."""
    record = read(folder / RECORD)
    if not record or record.get("finished") is not False:
        return None
    theirs = record.get("key")
    theirs = theirs if isinstance(theirs, dict) else {}
    differing = [name for name in key if theirs.get(name) != key[name]]
    if differing:
        raise SemcomError(
            f"--output-path {escape(folder)}: holds an unfinished ladder of another {differing[0]}; give its "
            "flags again to go on, name another path, or give --overwrite to begin anew"
        )
    try:
        readings = [Reading(**each) for each in record["readings"]]
    except (KeyError, TypeError):
        raise SemcomError(f"{escape(folder / RECORD)}: damaged; give --overwrite to begin anew") from None
    return LadderState(folder, key, {(r.place, r.blocks): r for r in readings})
