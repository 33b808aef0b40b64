"""The standard streams of a process: closed, full, or read by nobody."""

import io
import os
import sys

from semcom.base import distributed
from semcom.base.errors import SemcomError

STDOUT = 1


def prepare() -> None:
    """Make standard output and standard error fit for any text, and the others that were closed empty.

    Raises SemcomError where standard output is closed: what a command has to say would be lost.
    """
    # In this order, so that each gets its own number, and no file of ours does.
    is_closed = sys.stdout is None
    sys.stdin = sys.stdin or open(os.devnull)
    sys.stdout = sys.stdout or open(os.devnull, "w")
    sys.stderr = sys.stderr or open(os.devnull, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A console that knows fewer characters than the corpus shows their numbers instead.
            stream.reconfigure(errors="backslashreplace")
    if is_closed and distributed.rank() == 0:
        raise SemcomError("standard output is closed; give it a place, such as > run.log or > /dev/null")


def give_up() -> None:
    """Let what standard output still holds go nowhere: Python would write it once more at its end, fail, and
    say so."""
    if sys.stdout is sys.__stdout__:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, STDOUT)
        os.close(nowhere)
