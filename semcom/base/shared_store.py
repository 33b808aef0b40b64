"""What several processes need and one of them makes: a file for each thing, named after all that it depends
on.

A file holds what it was made from and a digest; one that is damaged or foreign is made again. Whoever finds a
thing being made waits for it.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from semcom.base import locks, output_files
from semcom.base.errors import SemcomError, escape

log = logging.getLogger(__name__)

T = TypeVar("T")


class SharedStore:
    """folder: None for a run that shares nothing, which makes all itself."""

    def __init__(self, folder: str | Path | None):
        self.folder = Path(folder) if folder is not None else None

    def get(
        self,
        kind: str,
        depends_on: Mapping[str, object],
        make: Callable[[], T],
        plain: Callable[[T], Any],
        whole: Callable[[Any], T],
    ) -> T:
        """What ``make`` returns, or what another process has kept of it.

        kind: what it is, in a word. depends_on: all that it depends on, as JSON. plain: what JSON keeps of
        it. whole: what that was; raises ValueError for what ``plain`` never made.
        """
        if self.folder is None:
            return make()
        key = json.dumps(depends_on, sort_keys=True)
        path = self.folder / f"{kind}_{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
        found = _read(path, key, whole)
        if found is not None:
            return found
        with locks.wait_for(path):
            found = _read(path, key, whole)
            if found is None:
                found = make()
                _keep(path, key, plain(found))
        return found


def _read(path: Path, key: str, whole: Callable[[Any], T]) -> T | None:
    """None where there is nothing, or nothing to be trusted, which a line says."""
    try:
        head, _, content = path.read_bytes().partition(b"\n")
        if json.loads(head) != {"key": key, "digest": hashlib.sha256(content).hexdigest()}:
            raise ValueError("made from something else, or damaged")
        return whole(json.loads(content))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        log.warning(f"{escape(path)}: not to be trusted ({escape(error)[:100]}); made again")
        return None


def _keep(path: Path, key: str, plain: Any) -> None:
    content = json.dumps(plain, ensure_ascii=True, separators=(",", ":")).encode()
    head = json.dumps({"key": key, "digest": hashlib.sha256(content).hexdigest()}).encode()
    try:
        output_files.write_atomically(path, head + b"\n" + content)
    except SemcomError as error:
        log.warning(f"{error}; this run goes on, others make it themselves")
