"""The files of a corpus: found in folders, opened, and unpacked where they are compressed."""

import bz2
import gzip
import io
import lzma
import os
import select
import stat
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from semcom.base.advice import meant_path, path_word
from semcom.base.errors import SemcomError, escape, shown
from semcom.data import file_kinds
from semcom.data.file_kinds import Named

MOST_FILES = 100_000
WAIT_FOR_WRITER, WAIT_FOR_MORE = 5.0, 120.0
"""Seconds for somebody to open a pipe, and for the next bytes."""
HEAD = 1 << 16
"""Bytes from which is told what a file is."""
BLOCK = 1 << 18
_EXPECTED = "give text files (plain or compressed), one sentence a line"


def files(paths: Sequence[str]) -> Iterator[Path]:
    """Those given, and those in folders that are given, in the order of their names and without hidden ones.

    Raises SemcomError that names what is not there, cannot be read, or is no file.
    """
    for given in paths:
        if not given:
            raise SemcomError(f"--corpus '': an empty name; {_EXPECTED}")
        path = Path(given)
        if stat.S_ISDIR(_status(path).st_mode):
            inside = sorted(_inside(path))
            if not inside:
                raise SemcomError(f"--corpus {shown(given)}: the folder holds no file; {_EXPECTED}")
            yield from inside
        else:
            _check_kind(path)
            yield path


def size(paths: Sequence[str]) -> int:
    """Bytes of all of them on the disk."""
    return sum(path.stat().st_size for path in files(paths))


def _inside(folder: Path) -> list[Path]:
    """Files of a folder and of those in it; a folder that links lead to again and again is read once."""
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, onerror=_refuse_folder, followlinks=True):
        status = os.stat(place)
        is_new = (status.st_dev, status.st_ino) not in seen
        seen.add((status.st_dev, status.st_ino))
        folders[:] = [name for name in folders if is_new and not name.startswith(".")]
        files_here = [Path(place, name) for name in names if is_new and not name.startswith(".")]
        for path in files_here:
            _check_kind(path)
        found += files_here
        if len(found) > MOST_FILES:
            raise SemcomError(
                f"--corpus {shown(folder)}: the folder holds more than {MOST_FILES:,} files; "
                "name those of the corpus, or join them: cat FOLDER/*.txt > corpus.txt"
            )
    return found


def _refuse_folder(error: OSError) -> None:
    raise unreadable(Path(error.filename), error)


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise SemcomError(f"--corpus {shown(path)}: a link to what is not there; {_EXPECTED}") from None
        raise SemcomError(
            f"--corpus {shown(path)}: no such file or folder{meant_path(path)}; {_EXPECTED}"
        ) from None
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError | ValueError) -> SemcomError:
    """That says why."""
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else escape(error)
    return SemcomError(f"--corpus {shown(path)}: cannot be read ({reason}); mend that, or leave it out")


def _check_kind(path: Path) -> None:
    """Raise for what is neither a file nor a pipe."""
    mode = _status(path).st_mode
    kinds = {stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}
    if kind := kinds.get(stat.S_IFMT(mode)):
        raise SemcomError(f"--corpus {shown(path)}: is {kind}, not a file; {_EXPECTED}")


def is_pickle(path: str | Path) -> bool:
    """Whether a file is read as pickled ids: by its suffix, or by the first byte that pickles have and text
    cannot."""
    path = Path(path)
    try:
        if not path.is_file():
            return False  # a pipe would lose the byte
        named_so = path.suffix.lower() in (".pkl", ".pickle")
        with path.open("rb") as file:
            return named_so or file.read(1) == b"\x80"
    except (OSError, ValueError):
        return False


# --- what is read of one


@dataclass
class Source:
    """A file that is open. packing: the compression it was in. head: its first bytes, unpacked. packed: the
    same file as it lies on the disk, where that is another."""

    named: Named
    file: io.BufferedReader
    packing: file_kinds.Packing | None = None
    head: bytes = b""
    packed: io.BufferedReader | None = None

    def __post_init__(self) -> None:
        self.head = self.read(lambda: self.file.peek(HEAD)[:HEAD])

    def read_block(self, after: str) -> bytes:
        """Empty at its end. after: where it stands, for a message."""
        return self.read(lambda: self.file.read1(BLOCK), after)

    def place(self) -> int:
        """Bytes on the disk that are read; 0 of a pipe."""
        try:
            return (self.packed or self.file).tell()
        except OSError:
            return 0

    def read(self, read: Callable[[], bytes], after: str = "") -> bytes:
        """Raises SemcomError for what is broken."""
        try:
            return read()
        except (EOFError, zlib.error, lzma.LZMAError) as error:
            raise self._broken(error, after) from None
        except OSError as error:
            if error.errno is None:  # of what unpacks, not of the disk
                raise self._broken(error, after) from None
            raise unreadable(self.named.path, error) from None
        except Exception as error:
            if type(error).__name__ != "ZstdError":
                raise
            raise self._broken(error, after) from None

    def _broken(self, error: Exception, after: str) -> SemcomError:
        name = self.packing.name if self.packing else "file"
        return SemcomError(f"{self.named}{after}: broken {name} ({escape(error)}); fetch the file again")


def open_source(path: Path) -> Source:
    """Opened, unpacked, its head seen. Raises SemcomError."""
    try:
        raw = _open(path)
        packing = file_kinds.packing_of(raw.peek(HEAD)[:HEAD])
    except OSError as error:
        raise unreadable(path, error) from None
    if packing is None:
        return Source(Named(path), raw)
    unpacking = f"{packing.command} {path_word(path)}"
    unpacked = io.BufferedReader(_unpacked(raw, packing, path), HEAD)
    return Source(Named(path, unpacking=unpacking), unpacked, packing, packed=raw)


def _open(path: Path) -> io.BufferedReader:
    # Without waiting: a pipe that nobody writes to would hold the program up for good.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return io.BufferedReader(_Pipe(descriptor, path), HEAD)
    return io.BufferedReader(io.FileIO(descriptor), HEAD)


class _Pipe(io.RawIOBase):
    """Waits a while for somebody to write to it, and longer for what is written, but not for good."""

    def __init__(self, descriptor: int, path: Path):
        self.descriptor, self.path = descriptor, path
        self._begun = False

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            os.close(self.descriptor)
        super().close()

    def readinto(self, buffer: Any) -> int:
        waited_from = time.monotonic()
        while (read := self._read(len(buffer))) is None or not (read or self._begun):
            longest = WAIT_FOR_WRITER if read is not None else WAIT_FOR_MORE
            if time.monotonic() - waited_from > longest:
                raise SemcomError(
                    f"--corpus {shown(self.path)}: a pipe to which nothing was written for {longest:g} "
                    "seconds; give a file"
                )
            select.select([self.descriptor], [], [], 0.05)
            if read is not None:
                time.sleep(0.05)  # a pipe without a writer is at its end, and so never waited for
        self._begun = True
        buffer[: len(read)] = read
        return len(read)

    def _read(self, size: int) -> bytes | None:
        """Empty where nobody writes to it, or nobody any more; None where nothing was written yet."""
        try:
            return os.read(self.descriptor, size)
        except BlockingIOError:
            return None


def _unpacked(raw: IO[bytes], packing: file_kinds.Packing, path: Path) -> Any:
    """A file of what a compressed one holds."""
    if packing.name == "gzip":
        return gzip.GzipFile(fileobj=raw)
    if packing.name == "xz":
        return lzma.LZMAFile(raw)
    if packing.name == "bzip2":
        return bz2.BZ2File(raw)
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        raise SemcomError(
            f"--corpus {shown(path)}: is compressed by zstd; install what reads it (pip install "
            f"backports.zstd), or unpack it: zstd -d {path_word(path)}"
        ) from None
    return zstd.ZstdFile(raw)
