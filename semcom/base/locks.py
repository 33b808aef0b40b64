"""An operating system's lock on a place, so that two runs never write there at a time.

The lock is all that counts: it goes when its process does, however that ends. What its file says only
informs. The file stays: one that is removed while another process opens it would let two in.
"""

import errno
import json
import logging
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from semcom.base.errors import SemcomError, escape

if TYPE_CHECKING:
    from filelock import FileLock

log = logging.getLogger(__name__)

PATIENCE = 0.5
"""Seconds. A run holds its lock for longer; one that only asks whether a place is held, for less."""
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""What a filesystem without locks answers."""
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def lock_file(real: Path) -> Path:
    # Beside a folder, not in it: the folder may be set aside while the lock is held.
    return real.with_name(f".{real.name}.lock")


@contextmanager
def hold(flag: str, path: str | Path) -> Iterator[None]:
    """Keep every other run out of ``path``, and out of what lies in it, while this one is at work.

    Links are resolved: two names of one place are one place. Raises SemcomError where a run is at work there,
    in a folder around it or in something within it.
    """
    real = Path(os.path.realpath(path))
    given = f"{flag} {escape(path)}"
    with _held(given, lock_file(real)):
        # Both sides take their own lock and then look: of two that begin together one sees the other.
        for folder in real.parents[:-1]:
            _refuse_held(given, lock_file(folder))
        if real.is_dir():
            for within in real.rglob(".*.lock"):
                _refuse_held(given, within)
        yield


def refuse_held(flag: str, path: str | Path) -> None:
    """Raise SemcomError where a run is at work at ``path``; leave no trace."""
    _refuse_held(f"{flag} {escape(path)}", lock_file(Path(os.path.realpath(path))))


@contextmanager
def wait_for(path: str | Path) -> Iterator[None]:
    """While this process makes the part of a cache at ``path``, others that want the same wait; then they
    find it there. Where no lock can be had, all go on: the part is made twice, and either is right."""
    from filelock import Timeout

    real = Path(os.path.realpath(path))
    file = lock_file(real)
    lock = _lock(file, timeout=-1)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            if _is_no_place_for(file):
                raise OSError from None
            log.info(f"waiting for another run{_holder(file)}, which is making {escape(path)}")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _held(given: str, file: Path) -> Iterator[None]:
    from filelock import Timeout

    lock = _lock(file, timeout=PATIENCE)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        if _is_no_place_for(file):
            raise SemcomError(
                f"{given}: cannot be written, {escape(file.parent)} takes no files; name another path"
            ) from None
        raise SemcomError(_taken(given, file)) from None
    except OSError as error:
        if error.errno in NO_LOCKS:
            why = f"its filesystem has no locks ({error.strerror}), which keep a second run out"
            raise SemcomError(f"{given}: {why}; name a path on another filesystem") from None
        raise SemcomError(f"{given}: cannot be locked ({error.strerror}); name another path") from None
    try:
        yield
    finally:
        lock.release()


def _is_no_place_for(file: Path) -> bool:
    """Whether a lock could not be had because its file cannot be made, as in /proc: a lock that is held has
    its file, and filelock tries on where a folder denies that it is there."""
    return not file.exists()


def _refuse_held(given: str, file: Path) -> None:
    """Raise SemcomError where another run holds the lock, or may hold it: whose file this user may not open.
    What cannot be asked for another reason is nobody's: its filesystem has no locks, or takes no writes."""
    from filelock import Timeout

    if not file.is_file():
        return
    lock = _lock(file, timeout=PATIENCE, informs=False)
    try:
        lock.acquire()
    except Timeout:
        raise SemcomError(_taken(given, file)) from None
    except PermissionError as error:
        raise SemcomError(
            f"{given}: whether another run is writing there cannot be told from {escape(file)} "
            f"({error.strerror}); have its owner give all users the right to write it, or name another path"
        ) from None
    except OSError:
        return
    lock.release()


def _lock(file: Path, *, timeout: float, informs: bool = True) -> "FileLock":
    # Imported only now: --help needs no locks.
    from filelock import FileLock

    # Never a lock that is a file's existence: that goes by a rule about processes.
    return FileLock(
        file,
        timeout=timeout,
        thread_local=False,
        fallback_to_soft=False,
        preserve_lock_file=True,
        on_acquired=partial(_begun, file) if informs else None,
    )


def _begun(file: Path, descriptor: int) -> None:
    _share(file, descriptor)
    _inform(descriptor)


def _share(file: Path, descriptor: int) -> None:
    """Where others may write beside the lock's file, they may lock it: the umask would keep them out for
    ever."""
    # Only its owner can, and not on every system; by the descriptor, so that no link is followed.
    with suppress(OSError, AttributeError):
        if file.parent.stat().st_mode & OTHERS_WRITE:
            os.fchmod(descriptor, 0o666)


def _inform(descriptor: int) -> None:
    """Say in the lock's file who holds it. It only informs: a full disk does not stop a run here."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    text = json.dumps({"host": socket.gethostname(), "process": os.getpid(), "since": now})
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, text.encode())


def _taken(given: str, file: Path) -> str:
    return f"{given}: another run{_holder(file)} is writing there; wait for it, or name another path"


def _holder(file: Path) -> str:
    """What a lock's file says of its holder, in brackets; nothing where it says nothing to be read."""
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        with file.open(encoding="utf-8") as opened:
            said = json.loads(opened.read(1000))
        host, process, since = (escape(said[name])[:60] for name in ("host", "process", "since"))
        return f" (process {process} on {host}, since {since})"
    return ""
