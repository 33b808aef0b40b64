"""C++ to a loaded library: by the machine's compiler, or out of the user's cache, where it is kept from run
to run.

What is kept is found by all that it depends on (source and headers, compiler, flags, CPU), and has in front
the digest of that and of itself. It is loaded from a private copy of just the bytes that were checked; what
is cut off, altered or foreign is made anew.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from semcom.base import locks, output_files, user_cache
from semcom.base.console import say_once
from semcom.base.errors import SemcomError, escape, shown
from semcom.base.provenance import cpu_identity

PATIENCE = 120
"""Seconds that a compiler is given."""
MOST_KEPT = 8
"""Libraries of a source that are kept: those used last. Of others are older compilers, sources and CPUs."""
FORMAT = "1"
"""Of what is kept."""
DIGEST_BYTES = hashlib.sha256().digest_size


class Unavailable(Exception):
    """There is no C++ compiler, or it does not compile this; the message is the reason."""


@dataclass(frozen=True)
class Job:
    """What is to be compiled. functions: by which a library is known to be the right one."""

    source: Path
    flags: Sequence[str]
    functions: Sequence[str]


def command() -> list[str] | None:
    """The compiler: that of CXX, with its arguments, or g++ or clang++; None where there is none."""
    named = filter(None, (os.environ.get("CXX"), "g++", "clang++"))
    return next(filter(None, map(_found, named)), None)


def not_found() -> str:
    """Why there is no compiler, where there is none."""
    wanted = os.environ.get("CXX")
    return "no C++ compiler was found" + (f" (nor the one in CXX, {shown(wanted)})" if wanted else "")


def library(job: Job) -> ctypes.CDLL:
    """Compiled in some seconds, or as it was kept. Raises Unavailable."""
    compiler = command()
    if compiler is None:
        raise Unavailable(not_found())
    if (wanted := os.environ.get("CXX")) and not _found(wanted):
        say_once(f"CXX {shown(wanted)}: there is no such program; {escape(compiler[0])} compiles instead")
    with _explained(compiler):
        folder = user_cache.folder("kernels")
        if folder is None:
            return _loaded(_compiled(compiler, job), job)
        key = _key(compiler, job)
        kept = folder / f"{job.source.stem}-{key.hex()[:32]}.so"
        return _as_kept(kept, key, job) or _made_and_kept(kept, key, compiler, job)


def _as_kept(kept: Path, key: bytes, job: Job) -> ctypes.CDLL | None:
    """None where nothing is kept, or not what was made."""
    content = user_cache.read(kept) or b""
    digest, code = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if digest != _digest(key, code):
        return None
    with suppress(OSError, AttributeError):  # made where a library was that is gone
        made = _loaded(code, job)
        os.utime(kept)  # it was used now
        return made
    return None


def _made_and_kept(kept: Path, key: bytes, compiler: Sequence[str], job: Job) -> ctypes.CDLL:
    with locks.wait_for(kept):
        if made := _as_kept(kept, key, job):  # by the process that had the lock
            return made
        code = _compiled(compiler, job)
        made = _loaded(code, job)
        with suppress(SemcomError):  # a full disk; the next run compiles again
            output_files.write_atomically(
                kept, _digest(key, code) + code, permissions=user_cache.PRIVATE_FILE
            )
            _make_room(kept, job)
        return made


def _make_room(newest: Path, job: Job) -> None:
    """Remove what was not used for the longest time. Who waits for a lock that goes compiles for itself."""
    with suppress(OSError):  # another run may remove the same at the same time
        others = [path for path in newest.parent.glob(f"{job.source.stem}-*.so") if path != newest]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[MOST_KEPT - 1 :]:
            path.unlink()
            locks.lock_file(path).unlink(missing_ok=True)


def _digest(key: bytes, code: bytes) -> bytes:
    return hashlib.sha256(key + code).digest()


def _key(compiler: Sequence[str], job: Job) -> bytes:
    """Of all on which the compiled code depends."""
    headers = sorted(job.source.parent.glob("*.h"))
    parts = [
        FORMAT,
        *(path.read_text(encoding="utf-8") for path in (job.source, *headers)),
        *compiler,
        _version(tuple(compiler), os.stat(compiler[0]).st_mtime_ns),
        *job.flags,
        sys.platform,
        *platform.libc_ver(),
        cpu_identity(),
    ]
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part.encode("utf-8", "surrogateescape")).digest())
    return whole.digest()


@cache
def _version(compiler: Sequence[str], changed: int) -> str:
    """What a compiler says of itself; whatever it is, it tells one from another. changed: when its file was,
    in ns."""
    return _ended([*compiler, "--version"]).stdout


def _compiled(compiler: Sequence[str], job: Job) -> bytes:
    """Raises CalledProcessError where the compiler fails with and without OpenMP."""
    name = escape(Path(compiler[0]).name)
    say_once(f"compiling kernels for this machine by {name}; this takes some seconds", logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "library.so"
        for parallel in (["-fopenmp"], []):
            done = _ended([*compiler, *job.flags, *parallel, str(job.source), "-o", str(made)])
            if done.returncode == 0:
                return made.read_bytes()
    raise subprocess.CalledProcessError(done.returncode, compiler, done.stdout, done.stderr)


def _loaded(code: bytes, job: Job) -> ctypes.CDLL:
    """From a file of this process alone, which does not stay. Raises OSError or AttributeError."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "library.so"
        copy.write_bytes(code)
        made = ctypes.CDLL(str(copy))
    for function in job.functions:
        getattr(made, function)
    return made


def _ended(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=PATIENCE
    )


@contextmanager
def _explained(compiler: Sequence[str]) -> Iterator[None]:
    """What goes wrong within, as Unavailable."""
    name = escape(" ".join(compiler))
    try:
        yield
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{name} has not ended after {PATIENCE} s") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or ["it said nothing"]
        reason = next((line for line in said if "error" in line), said[0])
        raise Unavailable(f"{name} failed ({escape(reason[:200])})") from None
    except (OSError, AttributeError) as error:
        raise Unavailable(f"what {name} made cannot be used ({escape(error)})") from None


def _found(words: str) -> list[str] | None:
    """A command of one or more words, its program with its path; None where that is not there."""
    try:
        program, *arguments = shlex.split(words) or [""]
    except ValueError:  # a quotation that does not end
        return None
    path = shutil.which(program)
    return [path, *arguments] if path else None
