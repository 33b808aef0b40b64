"""Files that a run leaves: atomic writes, output paths checked before the first step, one run to a folder."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from semcom.base.errors import SemcomError, escape


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Replace ``path`` by ``content`` whole or not at all.

    Links are followed, permissions are those of a new file (or of the one replaced), no temporary file stays
    behind.
    """
    path = Path(os.path.realpath(path))
    content = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, _permissions(path))
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        kept = "; the previous file is unharmed" if path.is_file() else ""
        cure = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose another place"
        raise SemcomError(f"{escape(path)}: cannot be written ({error.strerror}){kept}; {cure}") from None


def _permissions(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def write_json(path: str | Path, value: object) -> None:
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def check_outputs(outputs: dict[str, str | Path], inputs: Iterable[str | Path]) -> None:
    """Raise SemcomError for an output (flag -> path) that is an input or inside one, is another output, or
    cannot be written."""
    read = {os.path.realpath(path) for path in inputs}
    folders = [path for path in read if os.path.isdir(path)]
    written: dict[str, str] = {}
    for flag, path in outputs.items():
        real = os.path.realpath(path)
        if inside := next((f for f in folders if real.startswith(os.path.join(f, ""))), None):
            raise SemcomError(
                f"{flag} {escape(path)}: lies inside {escape(inside)}, an input of this run; name another path"
            )
        if real in read:
            raise SemcomError(
                f"{flag} {escape(path)}: is an input of this run and would be overwritten; name another path"
            )
        if real in written:
            raise SemcomError(
                f"{flag} {escape(path)}: is the same path as {written[real]}; name another path"
            )
        written[real] = flag
        if not Path(real).name:
            raise SemcomError(f"{flag} {escape(path)}: is no place to write to; name another path")
        folder = Path(real)
        try:
            while not folder.exists():
                folder = folder.parent
        except OSError as error:
            raise SemcomError(
                f"{flag} {escape(path)[:80]}: is no usable path ({error.strerror}); name another"
            ) from None
        folder = folder.parent if folder == Path(real) and not folder.is_dir() else folder
        if not folder.is_dir():
            raise SemcomError(
                f"{flag} {escape(path)}: {escape(folder)} is a file, not a folder; name another path"
            )
        if not os.access(folder, os.W_OK | os.X_OK):
            raise SemcomError(f"{flag} {escape(path)}: {escape(folder)} cannot be written; name another path")


def companion(flag: str, path: str | Path, suffix: str) -> Path:
    """The file that goes beside output ``path``, with another suffix. Raises SemcomError for a folder."""
    if Path(path).is_dir() or not Path(path).name:
        raise SemcomError(f"{flag} {escape(path)}: is a folder, a file is wanted; name another path")
    return Path(path).with_suffix(suffix)


def check_room(flag: str, path: str | Path, *, named: bool, overwrite: bool, folder: bool) -> bool:
    """Whether something is at ``path`` that must be set aside. Raises SemcomError where a path the user
    ``named`` is taken.

    Touches nothing, so that it can be asked long before ``make_room``.
    """
    path = Path(path)
    if folder and path.exists() and not path.is_dir():
        raise SemcomError(f"{flag} {escape(path)}: is a file, a folder is wanted; name another path")
    if not folder and path.is_dir():
        raise SemcomError(f"{flag} {escape(path)}: is a folder, a file is wanted; name another path")
    occupied = (
        path.is_dir() and any(not p.name.startswith(".") for p in path.iterdir()) if folder else path.exists()
    )
    if not occupied or overwrite:
        return False
    if named:
        raise SemcomError(
            f"{flag} {escape(path)}: exists already; name another path, or give --overwrite to replace it"
        )
    return True


def make_room(flag: str, path: str | Path, *, named: bool, overwrite: bool, folder: bool) -> str | None:
    """Keep what a finished run left at ``path``; return a line about it.

    A path the user ``named`` is refused without ``overwrite``; a default path is set aside under a numbered
    name.
    """
    path = Path(path)
    if not check_room(flag, path, named=named, overwrite=overwrite, folder=folder):
        return None
    number = 1
    while (aside := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    path.rename(aside)
    return f"kept the earlier {escape(path)} as {escape(aside)}"


@contextlib.contextmanager
def lock(folder: str | Path) -> Iterator[None]:
    """Keep a second run out of ``folder`` while this one is at work. A lock whose process is gone is taken
    over."""
    folder = Path(os.path.realpath(folder))
    # Beside the folder, not in it: an earlier run's folder is set aside while the lock is held.
    path = folder.with_name(f".{folder.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(ValueError, OSError):
            if not _alive(int(path.read_text())):
                path.unlink()
        with open(path, "x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        raise SemcomError(
            f"--output-path {escape(folder)}: another run is writing there; wait for it, name another path, "
            f"or remove {escape(path)} if no run is alive"
        ) from None
    except OSError as error:
        raise SemcomError(
            f"--output-path {escape(folder)}: cannot be written ({error.strerror}); name another path"
        ) from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    if os.name == "nt":
        return True  # there, signal 0 is no question but Ctrl-C
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
