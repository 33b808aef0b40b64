"""A folder of files of arrays that may be made again at any time: each named after what it is made from.

A file that is damaged or foreign is made again. Whoever finds one being made waits for it. Of too many, those
go that were not used for the longest time.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from semcom.base import array_files, locks, output_files
from semcom.base.array_files import Kept
from semcom.base.errors import escape

log = logging.getLogger(__name__)

T = TypeVar("T")
Key = Mapping[str, object]

SUFFIX = ".arrays"
LARGEST = 8 << 30
"""Bytes that a store holds, at most; of a single larger file, those of that file."""


@dataclass(frozen=True)
class ArrayStore:
    folder: Path

    # Many arguments: a value's way to the disk and back.
    def get(
        self,
        kind: str,
        key: Key,
        make: Callable[[], T],
        plain: Callable[[T], Kept],
        whole: Callable[[Kept], T],
        still: Callable[[], bool] = lambda: True,
        on_disk: Collection[str] = (),
    ) -> T:
        """What ``make`` returns, or what it once returned, on arrays that lie on the disk.

        kind: what it is, in a word. key: all that it depends on, as JSON. plain: what is kept of it. whole:
        what that was; raises ValueError for what ``plain`` never made. still: whether, once it is made, it
        was made from what ``key`` says. on_disk: arrays that stay there.
        """
        path = self._path(kind, key)

        def read(*, says: bool = True) -> T | None:
            return _read(path, lambda: whole(array_files.read(path, key, on_disk)), says)

        found = read(says=False)
        if found is not None:
            return found
        with locks.wait_for(path):
            output_files.clear_temporaries(self.folder, lambda name: name == path.name)
            found = read()
            if found is not None:
                return found
            made = make()
            if still() and self._keep(path, key, plain(made)):
                # What lies on the disk need not lie in memory too.
                found = read()
            return made if found is None else found

    def _path(self, kind: str, key: Key) -> Path:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{kind}_{digest[:16]}{SUFFIX}"

    def _keep(self, path: Path, key: Key, kept: Kept) -> bool:
        """Whether that went well."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            array_files.write(path, key, kept)
        except OSError as error:
            log.warning(f"{escape(path)}: cannot be written ({error.strerror}); this run goes on without")
            return False
        self._make_room(path)
        return True

    def _make_room(self, newest: Path) -> None:
        """Remove what was not used for the longest time."""
        with suppress(OSError):  # another run may remove the same at the same time
            room = LARGEST - newest.stat().st_size
            others = {path: path.stat() for path in self.folder.glob(f"*{SUFFIX}") if path != newest}
            for path in sorted(others, key=lambda path: others[path].st_mtime, reverse=True):
                room -= others[path].st_size
                if room < 0:
                    path.unlink()


def _read(path: Path, read: Callable[[], T], says: bool) -> T | None:
    """None where there is nothing, or nothing to be trusted, of which a line ``says`` why."""
    try:
        found = read()
        os.utime(path)  # it was used now
        return found
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        if says:
            log.warning(f"{escape(path)}: not to be trusted ({escape(error)[:100]}); made again")
        return None
