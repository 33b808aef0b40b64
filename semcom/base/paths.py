"""Paths that flags are given, refused where no system could hold such a file."""

import os
from pathlib import Path

from semcom.base.errors import SemcomError, shown

FILES = ("FILE", "CHECKPOINT", "CHECKPOINT.pth")
FOLDERS = ("FOLDER", "RUN")
METAVARS = (*FILES, *FOLDERS, "PATH")
"""What help calls the value of a flag that is a path."""
LONGEST, LONGEST_NAME = 4095, 255
"""Bytes of a path, and of a name in it, as systems have them."""
FOR_OTHERS = 60
"""Bytes by which names that are written beside an output are longer than its own."""


def check(flag: str, path: str, metavar: str) -> None:
    """Raise SemcomError for what is no path. metavar: what help calls it, one of ``METAVARS``."""
    given = f"{flag} {shown(path) or repr(path)}"
    if not path.strip():
        raise SemcomError(f"{given}: is empty, as a variable of the shell that is not set; name a path")
    try:
        in_bytes = os.fsencode(path)
    except UnicodeEncodeError:
        raise SemcomError(f"{given}: holds a character that no path can; name another path") from None
    if b"\0" in in_bytes:
        raise SemcomError(f"{given}: holds the character NUL, which no path can; name another path")
    _check_length(given, in_bytes, 0)
    if metavar in FILES and path.endswith(("/", os.sep)) and not Path(path).is_dir():
        raise SemcomError(f"{given}: ends as a folder does, a file is wanted; leave the last / out")


def check_output(flag: str, path: str | Path) -> None:
    """Raise SemcomError for an output beside which no temporary file, lock or record would have a place, and
    for a device or a pipe, in whose place a file would come."""
    given = f"{flag} {shown(path)}"
    _check_length(given, os.fsencode(path), FOR_OTHERS)
    there = Path(path)
    if os.path.exists(path) and not (there.is_file() or there.is_dir()):
        raise SemcomError(
            f"{given}: is a device or a pipe, in whose place no file may come; name another path"
        )


def _check_length(given: str, path: bytes, for_others: int) -> None:
    longest, longest_name = LONGEST - for_others, LONGEST_NAME - for_others
    if len(path) > longest:
        raise SemcomError(f"{given}: is of {len(path):,} bytes; give a path of {longest:,} at most")
    name = max(map(len, path.split(os.fsencode(os.sep))))
    if name > longest_name:
        raise SemcomError(f"{given}: has a name of {name} bytes; give one of {longest_name} at most")
