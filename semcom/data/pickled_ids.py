"""Pickled lists of ids, as public DeepSC code keeps its sentences, read by Python's own ``Unpickler`` behind
a check of every opcode (protocols 0 to 5). Nothing in the file can run: only opcodes that make lists and
whole numbers pass, and no class or function is ever looked up.

A file may lie. What is held stays within a fixed multiple of the file's size: a number has at most 8 bytes or
23 digits, there are at most ``MOST_LISTS`` lists, a list is kept for later under a number not far above how
many there are, and a list that is shared many times is held once (and so is the same object at each of its
places).
"""

import io
import os
import pickle
import pickletools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from semcom.base.errors import SemcomError, escape

HIGHEST_PROTOCOL = 5
LARGEST_ID = 2**31
MOST_LISTS = 10_000_000
_EXPECTED = "expected a pickled list of lists of whole numbers, such as train_data.pkl of public DeepSC code"
_DEEPEST_MARKS = 2  # lists in a list
_LONGEST_DIGITS = 24  # of a number in protocol 0; ids and memo numbers have ten
_WIDEST_LONG = 8
_FREE_MEMO_NUMBERS = 255  # above the number of lists; the unpickler's memo has a place for each number below
_TRUNCATED = "ends too early, it is truncated"

_NUMBERS = {"BININT2", "BININT1", "BININT", "INT", "LONG", "LONG1", "LONG4"}
_RECALLS = {"BINGET", "LONG_BINGET", "GET"}
_KEEPS = {"BINPUT", "LONG_BINPUT", "MEMOIZE", "PUT"}
# A zero in front would make it octal to some readers, and I00 and I01 are False and True.
_DECIMAL = re.compile(rb"-?(?:0|[1-9][0-9]{0,22})\n")
_DECIMAL_LONG = re.compile(rb"-?(?:0|[1-9][0-9]{0,22})L?\n")
_SPELT_OUT = {"INT": _DECIMAL, "LONG": _DECIMAL_LONG, "GET": _DECIMAL, "PUT": _DECIMAL}
_ALLOWED = _NUMBERS | _RECALLS | _KEEPS
_ALLOWED |= {"PROTO", "FRAME", "MARK", "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "STOP"}
_OPCODES = {ord(opcode.code): opcode for opcode in pickletools.opcodes}


def read_id_lists(path: str | Path) -> list[list[int]]:
    """The lists of ids in a pickle, from 0 to 2^31. Lists that are one object in the file are one object
    here.

    Raises SemcomError that names the file, what was found in it and what is expected.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise SemcomError(
            f"--corpus: {escape(path)}: cannot be read ({os.strerror(error.errno or 0)})"
        ) from None
    try:
        return _id_lists(_load(data))
    except _Refusal as reason:
        raise SemcomError(f"--corpus: {escape(path)}: {reason}; {_EXPECTED}") from None


class _Refusal(Exception):
    """The message is what was found in the file."""


def _id_lists(found: object) -> list[list[int]]:
    """``found``, if it is a list of lists of ids."""
    if not isinstance(found, list):
        raise _Refusal(f"holds the number {found} alone")
    known: set[int] = set()
    for number, sentence in enumerate(found, 1):
        if type(sentence) is not list:
            raise _Refusal(f"place {number} of the outer list holds the number {sentence}, not a list")
        if sentence and id(sentence) not in known:
            if list in set(map(type, sentence)):
                raise _Refusal(f"sentence {number} holds a list: lists are nested deeper than two")
            low, high = min(sentence), max(sentence)
            if low < 0 or high > LARGEST_ID:
                wrong = low if low < 0 else high
                raise _Refusal(f"sentence {number} holds {wrong}, ids are from 0 to {LARGEST_ID}")
        known.add(id(sentence))
    return found


class _Unpickler(pickle.Unpickler):
    """Looks nothing up."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"{module}.{name} is refused")

    def persistent_load(self, persistent_id: object) -> NoReturn:
        raise pickle.UnpicklingError(f"{persistent_id} is refused")


def _load(data: bytes) -> object:
    """What the pickle makes: a number, or lists of lists and numbers (nothing else can arise)."""
    end, left = _check(data)
    try:
        found = _Unpickler(io.BytesIO(data)).load()
    except AttributeError:
        raise _Refusal("appends to a number") from None
    except (pickle.UnpicklingError, EOFError, LookupError, ValueError) as error:
        raise _Refusal(f"a broken pickle, an opcode has nothing to work on ({escape(error)})") from None
    if left > 1:
        raise _Refusal(_TRUNCATED)
    if end < len(data):
        raise _Refusal(f"byte {end}: something follows the end of the pickle")
    return found


def _check(data: bytes) -> tuple[int, int]:
    """Where the pickle ends, and how many values its opcodes leave. Raises _Refusal for what must not be
    unpickled."""
    stream, bounds, start = io.BytesIO(data), _Bounds(data), None
    try:
        for opcode, argument, start in pickletools.genops(stream):
            bounds.meet(opcode.name, argument, start or 0)
    except ValueError:
        raise _unreadable(data, _behind(data, start)) from None
    return stream.tell(), bounds.heights[0]


@dataclass
class _Bounds:
    """What the opcodes of ``data`` have made so far. heights: how many values lie on the stack, and above
    each mark."""

    data: bytes
    heights: list[int] = field(default_factory=lambda: [0])
    lists: int = 0
    kept: int = 0
    number_on_top: bool = False

    def meet(self, name: str, argument: int | None, start: int) -> None:
        """The next opcode, at byte ``start``. Raises _Refusal."""
        if name in _SPELT_OUT and not _SPELT_OUT[name].match(self.data, start + 1):
            raise _unreadable(self.data, start)
        after_number, self.number_on_top = self.number_on_top, name in _NUMBERS
        if self.number_on_top or name in _RECALLS:
            self.heights[-1] += 1
            if name in ("LONG1", "LONG4") and _width(self.data, start) > _WIDEST_LONG:
                raise _unreadable(self.data, start)
        elif name == "APPEND":
            self.heights[-1] -= 1
        elif name in ("MARK", "APPENDS", "EMPTY_LIST", "LIST"):
            self.build(name, start)
        elif name in _KEEPS:
            if after_number:
                raise _Refusal(f"byte {start}: keeps a number for later")
            self.keep(argument, start)
        elif name == "STOP":
            if len(self.heights) > 1:
                raise _Refusal(f"byte {start}: the pickle ends within a list")
        elif name == "FRAME":
            if (argument or 0) > len(self.data) - start - 9:
                raise _Refusal(_TRUNCATED)
        elif name == "PROTO":
            if (argument or 0) > HIGHEST_PROTOCOL:
                raise _Refusal(f"byte {start}: pickle protocol {argument}, known are 0 to {HIGHEST_PROTOCOL}")
        else:
            raise _forbidden(self.data, start)

    def build(self, name: str, start: int) -> None:
        """A mark, or a list begun or filled."""
        if name == "MARK":
            if len(self.heights) > _DEEPEST_MARKS:
                raise _Refusal(f"byte {start}: lists are nested deeper than two")
            self.heights.append(0)
            return
        if name in ("APPENDS", "LIST") and len(self.heights) > 1:
            self.heights.pop()
        if name in ("EMPTY_LIST", "LIST"):
            self.heights[-1] += 1
            self.lists += 1
            if self.lists > MOST_LISTS:
                raise _Refusal(f"byte {start}: more than {MOST_LISTS:,} lists")

    def keep(self, number: int | None, start: int) -> None:
        """A list kept for later under ``number``, or, without one, under the next."""
        self.kept += 1
        if max(self.kept, number or 0) > self.lists + _FREE_MEMO_NUMBERS:
            raise _Refusal(f"byte {start}: keeps more lists for later than there are")


def _behind(data: bytes, start: int | None) -> int:
    """The byte behind the opcode at ``start`` and its argument; 0 without one."""
    if start is None:
        return 0
    stream = io.BytesIO(data)
    stream.seek(start)
    next(pickletools.genops(stream))
    return stream.tell()


def _unreadable(data: bytes, start: int) -> _Refusal:
    """Why the opcode at ``start`` or its argument cannot be taken."""
    if start >= len(data):
        return _Refusal(_TRUNCATED)
    opcode = _OPCODES.get(data[start])
    if opcode is None or opcode.name not in _ALLOWED:
        return _forbidden(data, start)
    if opcode.name in ("LONG1", "LONG4"):
        width = _width(data, start)
        if not 0 <= width <= _WIDEST_LONG:
            return _Refusal(f"byte {start}: a number of {width} bytes, ids are from 0 to {LARGEST_ID}")
    if opcode.name in _SPELT_OUT:
        return _not_decimal(data, start)
    return _Refusal(_TRUNCATED)


def _width(data: bytes, start: int) -> int:
    """How many bytes the LONG1 or LONG4 at ``start`` says that its number has."""
    if data[start : start + 1] == b"\x8a":
        return int.from_bytes(data[start + 1 : start + 2], "little")
    return int.from_bytes(data[start + 1 : start + 5], "little", signed=True)


def _not_decimal(data: bytes, start: int) -> _Refusal:
    """Why the argument of the opcode at ``start`` is no number in decimal."""
    first = start + 1
    stop = data.find(b"\n", first, first + _LONGEST_DIGITS)
    if stop < 0 and first + _LONGEST_DIGITS > len(data):
        return _Refusal(_TRUNCATED)
    if stop < 0:
        return _Refusal(
            f"byte {first}: a number of more than {_LONGEST_DIGITS} digits, ids are from 0 to {LARGEST_ID}"
        )
    digits = data[first:stop]
    if digits in (b"00", b"01"):
        return _Refusal(f"byte {start}: found {bool(int(digits))} (INT)")
    return _Refusal(f"byte {first}: {escape(digits.decode('latin-1'))!r} is no whole number")


def _forbidden(data: bytes, start: int) -> _Refusal:
    """Names the opcode at ``start``, and what it would make."""
    opcode = _OPCODES.get(data[start])
    if opcode is None:
        what = f"0x{data[start]:02x}, which is no pickle opcode"
    else:
        what = opcode.name
        if what in ("GLOBAL", "INST"):
            named = data[start + 1 : start + 101].split(b"\n")[:2]
            what += f" {escape(' '.join(part.decode('latin-1') for part in named))}"
        kinds = {kind.name for kind in opcode.stack_after}
        if len(kinds) == 1 and not kinds & {"any", "mark"}:
            what += f", a value of type {kinds.pop()}"
    return _Refusal(f"byte {start}: found {what}; refused, nothing of it was run")
