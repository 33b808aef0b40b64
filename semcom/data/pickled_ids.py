"""Pickled lists of ids, as public DeepSC code keeps its sentences, read without unpickling: a small
interpreter of the few opcodes that make lists and whole numbers (protocols 0 to 5; the opcodes are those of
Python's ``pickletools``). Nothing in the file can run.

A file may lie. What is held stays within a fixed multiple of the file's size: each claimed length is bounded,
at most one memo entry exists for each list, and a list that is shared many times is held once (and so is the
same object at each of its places).
"""

import os
import pickletools
import re
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
# Numbers below are taken from here: half the time of making each, and eight bytes instead of 36.
_SMALL = list(range(65_536))
# A zero in front would make it octal to some readers, and I00 and I01 are False and True.
_DECIMAL = rb"-?(?:0|[1-9][0-9]{0,22})"
_NUMBER = re.compile(_DECIMAL)
# Protocol 0 spells each number out and appends it alone; many at once take a tenth of the time.
_APPENDED = re.compile(rb"(?:I" + _DECIMAL + rb"\na){1,1000}")
_BEHIND = bytes(32)  # no opcode is 0, and no step is longer: reading past the end needs no test at each step


def read_id_lists(path: str | Path) -> list[list[int]]:
    """The lists of ids in a pickle, from 0 to 2^31. Lists that are one object in the file are one object
    here.

    Raises SemcomError that names the file, what was found in it and what is expected.
    """
    try:
        pickle = Path(path).read_bytes()
    except OSError as error:
        raise SemcomError(
            f"--corpus: {escape(path)}: cannot be read ({os.strerror(error.errno or 0)})"
        ) from None
    return _Reader(pickle, f"--corpus: {escape(path)}").read()


class _Reader:
    def __init__(self, pickle: bytes, where: str):
        self.end = len(pickle)
        self.data = pickle + _BEHIND
        self.where = where

    def refuse(self, reason: str) -> NoReturn:
        raise SemcomError(f"{self.where}: {reason}; {_EXPECTED}")

    def read(self) -> list[list[int]]:
        found = self.interpret()
        if type(found) is not list:
            self.refuse(f"holds the number {found} alone")
        known: set[int] = set()
        for number, sentence in enumerate(found, 1):
            if type(sentence) is not list:
                self.refuse(f"place {number} of the outer list holds the number {sentence}, not a list")
            if sentence and id(sentence) not in known:
                if list in set(map(type, sentence)):
                    self.refuse(f"sentence {number} holds a list: lists are nested deeper than two")
                if not 0 <= (low := min(sentence)) <= (high := max(sentence)) <= LARGEST_ID:
                    self.refuse(
                        f"sentence {number} holds {low if low < 0 else high}, ids are from 0 to {LARGEST_ID}"
                    )
            known.add(id(sentence))
        return found

    def interpret(self) -> object:
        """What the pickle makes: a number, or lists of lists and numbers (nothing else can arise)."""
        data, small = self.data, _SMALL
        stack: list = []
        push = stack.append
        beneath: list[list] = []  # the stacks below each mark
        memo: dict[int, list] = {}
        lists = position = start = 0
        try:
            while True:
                start = position
                opcode = data[position]
                position += 1
                if opcode == 0x4D:  # BININT2
                    push(small[data[position] | data[position + 1] << 8])
                    position += 2
                elif opcode == 0x4B:  # BININT1
                    push(data[position])
                    position += 1
                elif opcode in (0x61, 0x65):  # APPEND, APPENDS
                    if opcode == 0x61:
                        items = (stack.pop(),)
                    else:
                        items, stack = stack, beneath.pop()
                        push = stack.append
                    if type(stack[-1]) is not list:
                        self.refuse(f"byte {start}: appends to a number")
                    stack[-1].extend(items)
                elif opcode == 0x28:  # MARK
                    if len(beneath) == _DEEPEST_MARKS:
                        self.refuse(f"byte {start}: lists are nested deeper than two")
                    beneath.append(stack)
                    stack = []
                    push = stack.append
                elif opcode in (0x5D, 0x6C):  # EMPTY_LIST, LIST
                    made: list = []
                    if opcode == 0x6C:
                        made, stack = stack, beneath.pop()
                        push = stack.append
                    push(made)
                    lists += 1
                    if lists > MOST_LISTS:
                        self.refuse(f"byte {start}: more than {MOST_LISTS:,} lists")
                elif opcode in (0x71, 0x72, 0x94, 0x70):  # BINPUT, LONG_BINPUT, MEMOIZE, PUT
                    if opcode == 0x71:
                        index, position = data[position], position + 1
                    elif opcode == 0x72:
                        index, position = (
                            int.from_bytes(data[position : position + 4], "little"),
                            position + 4,
                        )
                    elif opcode == 0x94:
                        index = len(memo)
                    else:
                        index, position = self.digits(position)
                    if type(stack[-1]) is not list:
                        self.refuse(f"byte {start}: keeps a number for later")
                    memo[index] = stack[-1]
                    if len(memo) > lists:
                        self.refuse(f"byte {start}: keeps more lists for later than there are")
                elif opcode == 0x4A:  # BININT
                    push(int.from_bytes(data[position : position + 4], "little", signed=True))
                    position += 4
                elif opcode == 0x68:  # BINGET
                    push(memo[data[position]])
                    position += 1
                elif opcode == 0x6A:  # LONG_BINGET
                    push(memo[int.from_bytes(data[position : position + 4], "little")])
                    position += 4
                elif opcode == 0x67:  # GET
                    index, position = self.digits(position)
                    push(memo[index])
                elif (
                    opcode == 0x49
                    and stack
                    and type(stack[-1]) is list
                    and (run := _APPENDED.match(data, start))
                ):  # INT, APPEND, INT, ..
                    stack[-1].extend(map(int, run[0][1:-2].split(b"\naI")))
                    position = run.end()
                elif opcode in (0x49, 0x4C):  # INT, LONG
                    value, position = self.digits(
                        position, suffix=b"L" if opcode == 0x4C else b"", may_be_bool=opcode == 0x49
                    )
                    push(value)
                elif opcode in (0x8A, 0x8B):  # LONG1, LONG4
                    width = (
                        data[position]
                        if opcode == 0x8A
                        else int.from_bytes(data[position : position + 4], "little", signed=True)
                    )
                    position += 1 if opcode == 0x8A else 4
                    if not 0 <= width <= _WIDEST_LONG:
                        self.refuse(
                            f"byte {start}: a number of {width} bytes, ids are from 0 to {LARGEST_ID}"
                        )
                    push(int.from_bytes(data[position : position + width], "little", signed=True))
                    position += width
                elif opcode == 0x95:  # FRAME
                    if int.from_bytes(data[position : position + 8], "little") > self.end - position - 8:
                        self.refuse("ends too early, it is truncated")
                    position += 8
                elif opcode == 0x80:  # PROTO
                    if data[position] > HIGHEST_PROTOCOL:
                        self.refuse(
                            f"byte {start}: pickle protocol {data[position]}, known are 0 to {HIGHEST_PROTOCOL}"
                        )
                    position += 1
                elif opcode == 0x2E:  # STOP
                    (value,) = stack
                    if beneath or position != self.end:
                        self.refuse(
                            f"byte {position}: something follows the end of the pickle"
                            if not beneath
                            else f"byte {start}: the pickle ends within a list"
                        )
                    return value
                else:
                    self.refuse_opcode(opcode, start)
        except (IndexError, KeyError, ValueError):
            # An empty stack, a missing mark or memo entry, several values at the end.
            if position >= self.end:
                self.refuse("ends too early, it is truncated")
            self.refuse(f"byte {start}: a broken pickle, {_name(data[start])} has nothing to work on")

    def digits(self, position: int, *, suffix: bytes = b"", may_be_bool: bool = False) -> tuple[int, int]:
        """A number in decimal with its line end, and the position behind it."""
        stop = self.data.find(b"\n", position, position + _LONGEST_DIGITS)
        if stop < 0:
            if position + _LONGEST_DIGITS > self.end:
                self.refuse("ends too early, it is truncated")
            self.refuse(
                f"byte {position}: a number of more than {_LONGEST_DIGITS} digits, ids are from 0 to {LARGEST_ID}"
            )
        digits = self.data[position:stop]
        if may_be_bool and digits in (b"00", b"01"):
            self.refuse(f"byte {position - 1}: found {bool(int(digits))} (INT)")
        if not _NUMBER.fullmatch(digits.removesuffix(suffix)):
            self.refuse(f"byte {position}: {escape(digits.decode('latin-1'))!r} is no whole number")
        return int(digits.removesuffix(suffix)), stop + 1

    def refuse_opcode(self, opcode: int, start: int) -> NoReturn:
        if start >= self.end:
            self.refuse("ends too early, it is truncated")
        name = _name(opcode)
        if name in ("GLOBAL", "INST"):
            named = self.data[start + 1 : min(start + 101, self.end)].split(b"\n")[:2]
            name += f" {escape(' '.join(part.decode('latin-1') for part in named))}"
        kinds = {
            kind.name
            for kind in (
                pickletools.code2op[chr(opcode)].stack_after if chr(opcode) in pickletools.code2op else []
            )
        }
        what = (
            f"{name}, a value of type {kinds.pop()}"
            if len(kinds) == 1 and not kinds & {"any", "mark"}
            else name
        )
        self.refuse(f"byte {start}: found {what}; refused, nothing of it was run")


def _name(opcode: int) -> str:
    known = pickletools.code2op.get(chr(opcode))
    return known.name if known else f"0x{opcode:02x}, which is no pickle opcode"
