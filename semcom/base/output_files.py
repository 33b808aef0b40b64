"""Files that a run leaves: atomic writes, paths checked before the first step, one run to a folder."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
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
        cure = "free some space" if disk_is_full(error) else "choose another place"
        raise SemcomError(f"{escape(path)}: cannot be written ({error.strerror}){kept}; {cure}") from None


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


def check_files(outputs: Mapping[str, str | Path], inputs: Iterable[str | Path], *, overwrite: bool) -> None:
    """``check_outputs``, of files that the user named; and raise SemcomError where one is taken and not to be
    overwritten."""
    check_outputs(outputs, inputs)
    for flag, path in outputs.items():
        Place(flag, path, named=True, overwrite=overwrite, folder=False).check()


@dataclass(frozen=True)
class Place:
    """Where a run writes: a folder or a file, at a path that the user ``named`` or the default one."""

    flag: str
    path: str | Path
    named: bool
    overwrite: bool
    folder: bool

    def check(self) -> bool:
        """Whether something is there that must be set aside. Raises SemcomError where a named path is taken.

        Touches nothing, so that it can be asked long before ``make_room``.
        """
        path, given = Path(self.path), f"{self.flag} {escape(self.path)}"
        if self.folder and path.exists() and not path.is_dir():
            raise SemcomError(f"{given}: is a file, a folder is wanted; name another path")
        if not self.folder and path.is_dir():
            raise SemcomError(f"{given}: is a folder, a file is wanted; name another path")
        if self.overwrite or not self._is_taken():
            return False
        if self.named:
            raise SemcomError(
                f"{given}: exists already; name another path, or give --overwrite to replace it"
            )
        return True

    def _is_taken(self) -> bool:
        path = Path(self.path)
        if not self.folder:
            return path.exists()
        return path.is_dir() and any(not p.name.startswith(".") for p in path.iterdir())

    def make_room(self) -> str | None:
        """Keep what a finished run left there, under a numbered name; return a line about it."""
        if not self.check():
            return None
        path, number = Path(self.path), 1
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
    missing = [parent for parent in path.parents if not parent.exists()]
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
        with contextlib.suppress(OSError):  # of a run that has left something there
            for parent in missing:
                parent.rmdir()


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
