"""Files that a run leaves: written whole or not at all, paths checked before the first step."""

import contextlib
import errno
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from semcom.base.errors import SemcomError, escape
from semcom.base.paths import check_output

TEMPORARY = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}\.tmp", re.DOTALL)
"""Name of a file that is being written; ``name`` is the one that it will have."""
NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
"""What filesystems answer that keep renames without being asked to."""


def write_atomically(path: str | Path, content: bytes | str, *, permissions: int | None = None) -> None:
    """Replace ``path`` by ``content`` whole or not at all.

    Links are followed, permissions, unless they are given, are those of a new file (or of the one replaced),
    no temporary file stays behind.
    """
    path = Path(os.path.realpath(path))
    content = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    kept = "; the previous file is unharmed" if path.is_file() else ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, _permissions(path) if permissions is None else permissions)
            os.replace(temporary, path)
            kept = ""
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        sync_folder(path.parent)
    except OSError as error:
        cure = "free some space" if disk_is_full(error) else "choose another place"
        raise SemcomError(f"{escape(path)}: cannot be written ({error.strerror}){kept}; {cure}") from None


def clear_temporaries(folder: Path, is_own: Callable[[str], bool]) -> None:
    """Remove what processes that died were about to write in ``folder`` under names that are one's own. The
    caller knows that nobody else is writing them."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            temporary = TEMPORARY.fullmatch(path.name)
            if temporary and is_own(temporary["name"]):
                path.unlink()


def sync_folder(folder: str | Path) -> None:
    """Return when the names in ``folder`` are on the disk, so that a rename outlives a loss of power."""
    if os.name == "nt":
        return  # there, a folder cannot be opened
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # one that may be written to, but not read
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def disk_is_full(error: OSError) -> bool:
    """Whether it is so, or the user's quota is used up."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _permissions(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def write_json(path: str | Path, value: object) -> None:
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def check_outputs(outputs: Mapping[str, str | Path], inputs: Iterable[str | Path]) -> None:
    """Raise SemcomError for an output (flag -> path) that is an input or inside one, is another output, or
    cannot be written."""
    read = {os.path.realpath(path) for path in inputs}
    folders = [path for path in read if os.path.isdir(path)]
    written: dict[str, str] = {}
    for flag, path in outputs.items():
        given, real = f"{flag} {escape(path)}", os.path.realpath(path)
        if inside := next((f for f in folders if real.startswith(os.path.join(f, ""))), None):
            raise SemcomError(
                f"{given}: lies inside {escape(inside)}, an input of this run; name another path"
            )
        if real in read:
            raise SemcomError(f"{given}: is an input of this run and would be overwritten; name another path")
        if real in written:
            raise SemcomError(f"{given}: is the same path as {written[real]}; name another path")
        written[real] = flag
        _check_writable(flag, path)


def _check_writable(flag: str, path: str | Path) -> None:
    check_output(flag, path)
    given, real = f"{flag} {escape(path)}", Path(os.path.realpath(path))
    if not real.name:
        raise SemcomError(f"{given}: is no place to write to; name another path")
    folder = real
    try:
        while not folder.exists():
            folder = folder.parent
    except OSError as error:
        raise SemcomError(
            f"{flag} {escape(path)[:80]}: is no usable path ({error.strerror}); name another"
        ) from None
    if folder == real and not folder.is_dir():
        folder = folder.parent
    if not folder.is_dir():
        raise SemcomError(f"{given}: {escape(folder)} is a file, not a folder; name another path")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SemcomError(f"{given}: {escape(folder)} cannot be written; name another path")


def companion(flag: str, path: str | Path, suffix: str) -> Path:
    """The file that goes beside output ``path``, with another suffix. Raises SemcomError for a folder."""
    if Path(path).is_dir() or not Path(path).name:
        raise SemcomError(f"{flag} {escape(path)}: is a folder, a file is wanted; name another path")
    return Path(path).with_suffix(suffix)
