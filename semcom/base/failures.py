"""What went wrong, as an exit code and a line for the person at the console."""

import errno

from semcom.base import distributed, output_files, signals
from semcom.base.errors import ChecksFailed, InterruptedRun, SemcomError, one_line, shown

BAD_INPUT, FAILED, BY_SIGNAL = 2, 1, 128

CURES = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is a file, not a folder; check the path",
    errno.EISDIR: "a file is wanted; name another path",
    errno.ENAMETOOLONG: "give a shorter path",
    errno.ELOOP: "its links lead round in a circle; name another path",
    errno.EINVAL: "name another path",
    errno.EACCES: "ask for the right to it, or name another path",
    errno.EPERM: "ask for the right to it, or name another path",
    errno.EEXIST: "name another path",
    errno.ENOTEMPTY: "name another path",
    errno.ENXIO: "name another path",
    errno.ENODEV: "name another path",
}
"""Of errors of the operating system that another path mends."""
ELSEWHERE = {
    errno.EROFS: "its file system is read-only; choose another place, or have it mounted writable",
    errno.EMFILE: "too many files are open; allow more with: ulimit -n 4096",
    errno.EFBIG: "a file may not be so large here; choose another place",
}
"""Of errors that say nothing against the path."""
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")
TOO_LARGE = ("Storage size calculation overflowed", "integer string conversion", "too large to convert")
UNWRITTEN = ("PytorchStreamWriter failed", "unexpected pos", "No space left")


def code_and_message(error: BaseException) -> tuple[int, str]:
    """The exit code of a program that ends by this error, and the line about it."""
    code, message = _known(error) or _of_the_system(error) or _of_values(error) or _fault(error)
    return code, one_line(message)


def _known(error: BaseException) -> tuple[int, str] | None:
    """What the program itself has to say."""
    if isinstance(error, SemcomError):
        return BAD_INPUT, f"error: {error}"
    if isinstance(error, ChecksFailed):
        return FAILED, str(error)
    if isinstance(error, InterruptedRun):
        return BY_SIGNAL + error.signal, str(error)
    if isinstance(error, KeyboardInterrupt):
        return BY_SIGNAL + signals.number_of(error), "interrupted; what was finished is kept"
    if distributed.lost_another(error):
        ended = "another process of this run ended early; what it says stands above or on its machine"
        return FAILED, f"error: {ended}"
    return None


def _of_the_system(error: BaseException) -> tuple[int, str] | None:
    """Memory, disks and paths."""
    if _out_of_memory(error):
        return BAD_INPUT, "error: out of memory; give a smaller --batch-size (or --eval-batch-size)"
    if isinstance(error, OSError) and error.errno is not None:
        return _of_a_file(error)
    if any(sign in str(error) for sign in UNWRITTEN):
        return FAILED, "error: output: cannot be written; look whether the disk is full or read-only"
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        return FAILED, f"error: {package} is not installed; pip install -r requirements.txt installs all"
    return None


def _of_a_file(error: OSError) -> tuple[int, str]:
    place, reason = shown(error.filename or "output"), error.strerror
    if output_files.disk_is_full(error):
        return BAD_INPUT, f"error: {place}: cannot be written ({reason}); free some space"
    code = BAD_INPUT if error.errno in CURES else FAILED
    cure = {**CURES, **ELSEWHERE}.get(error.errno or 0, "look whether its disk and the path are well")
    return code, f"error: {place}: cannot be used ({reason}); {cure}"


def _out_of_memory(error: BaseException) -> bool:
    named_so = isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__
    return named_so or any(sign in str(error) for sign in OUT_OF_MEMORY)


def _of_values(error: BaseException) -> tuple[int, str] | None:
    """Values that no check has met: characters and numbers that the machine cannot hold."""
    if isinstance(error, UnicodeError):
        return BAD_INPUT, f"error: {_unreadable(error)}"
    if "embedded null" in str(error):
        return BAD_INPUT, "error: a path holds the character NUL, which no path can; leave it out"
    if isinstance(error, OverflowError) or any(sign in str(error) for sign in TOO_LARGE):
        return BAD_INPUT, (
            f"error: a number is too large for this machine ({error}); give smaller ones, --debug shows where"
        )
    return None


def _unreadable(error: UnicodeError) -> str:
    if isinstance(error, UnicodeEncodeError):
        return f"{shown(error.object)}: holds a character that {error.encoding} cannot write; leave it out"
    if isinstance(error, UnicodeDecodeError):
        return f"a text is not {error.encoding} from byte {error.start} on; save it as UTF-8"
    return f"a text cannot be read ({error}); save it as UTF-8"


def _fault(error: BaseException) -> tuple[int, str]:
    return FAILED, (
        f"error: {type(error).__name__}: {shown(error)}; this is a fault of the program, please report it "
        "with what --debug shows"
    )
