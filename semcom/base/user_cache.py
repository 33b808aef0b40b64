"""The user's cache: what may be made anew at any time, in a folder that nobody else may write to.

It is ``SEMCOM_CACHE``, or where the operating system keeps such things: ``$XDG_CACHE_HOME/semcom`` or
``~/.cache/semcom``, ``~/Library/Caches/semcom``, ``%LOCALAPPDATA%\\semcom\\Cache``.
"""

import os
import stat
import sys
from pathlib import Path

from semcom.base.console import say_once
from semcom.base.errors import escape

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
LOST = "each run compiles kernels and reads large corpora anew"


def folder(name: str) -> Path | None:
    """The part ``name`` of the cache, made if it is not there; None where there can be none: it cannot be
    made or written, or others may write it. What asks for it then does without, and the log says so once."""
    root = _root()
    refused = _refused(root, name)
    if refused:
        reason, cure = refused
        say_once(f"{reason}, so it is not used: {LOST}; {cure}")
    return root / name if root and not refused else None


def _refused(root: Path | None, name: str) -> tuple[str, str] | None:
    """Why this part of the cache cannot be used, and what mends it; None for one that can, which is there
    now."""
    if root is None:
        return "there is no home folder for a cache", "name a folder for it in SEMCOM_CACHE"
    part = root / name
    another = "name another folder in SEMCOM_CACHE"
    try:
        root.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        part.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        shared = next((each for each in (root, part) if not is_private(each.stat())), None)
    except OSError as error:
        return f"the cache {escape(root)} cannot be made ({error.strerror})", another
    if shared:
        reason = f"the cache {escape(shared)} belongs to another user or may be written by others"
        return reason, f"take that right away (chmod go-w), or {another}"
    if not os.access(part, os.W_OK | os.X_OK):
        return f"the cache {escape(part)} cannot be written", f"make it writable (chmod u+rwx), or {another}"
    return None


def is_private(status: os.stat_result) -> bool:
    """Whether a file or folder of this status is this user's, and no other user may write it."""
    if os.name == "nt":
        return True  # there, the folder of a user's own data is closed to others
    return status.st_uid == os.geteuid() and not status.st_mode & OTHERS_WRITE


def read(path: Path) -> bytes | None:
    """What is kept at ``path``; None where there is nothing, or what another user wrote or may have
    written."""
    try:
        with path.open("rb") as file:
            # Of the file that is open, whatever its name comes to mean.
            return file.read() if is_private(os.fstat(file.fileno())) else None
    except OSError:
        return None


def _root() -> Path | None:
    """None where the user has no home."""
    if named := os.environ.get("SEMCOM_CACHE"):
        place = Path(named).absolute()
        if not os.path.isabs(named):
            say_once(
                f"SEMCOM_CACHE {escape(named)}: a relative path, so each folder in which a command is run "
                f"gets a cache of its own, here {escape(place)}; give the whole path"
            )
        return place
    try:
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "semcom" / "Cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "semcom"
        named = os.environ.get("XDG_CACHE_HOME", "")
        # A relative path there is invalid and is to be ignored (XDG Base Directory Specification).
        return (Path(named) if os.path.isabs(named) else Path.home() / ".cache") / "semcom"
    except RuntimeError:
        return None
