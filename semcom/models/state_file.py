"""Plain values and tensors in one file, written whole or not at all, with a digest of what it holds."""

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semcom.base.errors import SemcomError, escape, shown
from semcom.base.output_files import write_atomically
from semcom.models import torch_files
from semcom.models.stand_ins import not_read
from semcom.models.tensors import claimed

FORMAT = 1
WHAT = "the state of a run"
MOST_VALUES = 2_000_000
CHARACTERS_A_VALUE = 100
"""A longer text counts as several values."""
PLAIN = (str, int, float, bool, type(None))

State = dict[str, Any]
"""Numbers, strings, tensors, and lists, tuples and dictionaries of them."""


def write(path: Path, state: State) -> int:
    """Write the state atomically; how many bytes it is."""
    held = plain_copy(state)
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "digest": digest_of(held), "state": held}, buffer)
    content = buffer.getvalue()
    write_atomically(path, content)
    return len(content)


def read(path: Path, cure: str, what: str = WHAT, flag: str = "") -> State:
    """Raises SemcomError for a file that ``write`` did not write, or that was changed since; no code in it
    runs. what: its contents, in words. flag: what named the file."""
    where = f"{flag} {escape(path)}".strip()
    with torch_files.told(where, what, cure):
        pickled, stored = torch_files.archived(path, where, what, cure)
        if foreign := not_read(torch_files.imports(pickled)):
            raise SemcomError(f"{where}: not {what}, it names code ({shown(foreign)}); {cure}")
        payload = torch.load(path, map_location="cpu", weights_only=True)
        check_plain(payload, stored)
        if "state" not in payload:
            raise SemcomError(f"{where}: not {what}; {cure}")
        if payload["format"] != FORMAT:
            raise SemcomError(f"{where}: of another version of this program; {cure}")
        if payload["digest"] != digest_of(payload["state"]):
            raise SemcomError(f"{where}: damaged; {cure}")
        state: State = payload["state"]
        return state


def check_plain(value: Any, stored: int) -> None:
    """Raise ValueError for anything but plain values and tensors, and for more of them than a file of ours
    holds: a value that is referred to again and again, or by itself, counts each time. stored: bytes of the
    file, which its tensors are."""
    waiting = [value]
    found, of_tensors = 0, 0
    while waiting:
        each = waiting.pop()
        found += 1
        if isinstance(each, Mapping):
            waiting += [*each, *each.values()]
        elif isinstance(each, (list, tuple)):
            waiting += each
        elif type(each) is Tensor:
            of_tensors += claimed(each)
        elif isinstance(each, str):
            found += len(each) // CHARACTERS_A_VALUE
        elif type(each) not in PLAIN:
            raise ValueError(f"holds a {type(each).__name__}")
        if found + len(waiting) > MOST_VALUES:
            raise ValueError(f"holds more than {MOST_VALUES:,} values")
        if of_tensors > stored:
            raise ValueError("its tensors claim more memory than the file holds")


def digest_of(value: Any) -> str:
    """SHA-256 of plain values and tensors, in hexadecimal digits."""
    digest = hashlib.sha256()
    _feed(digest.update, value)
    return digest.hexdigest()


def _feed(update: Callable[[Any], None], value: Any) -> None:
    if isinstance(value, Tensor):
        update(f"{value.dtype} {tuple(value.shape)}".encode())
        update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    elif isinstance(value, Mapping):
        update(f"{len(value)} names".encode())
        for name, inner in value.items():
            update(f"{name!r}".encode())
            _feed(update, inner)
    elif isinstance(value, (list, tuple)):
        update(f"{len(value)} values".encode())
        for inner in value:
            _feed(update, inner)
    else:
        update(f"{value!r};".encode())


def plain_copy(value: Any) -> Any:
    """Copies of tensors on the CPU: a view would drag its whole storage into the file."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone(memory_format=torch.contiguous_format)
    if isinstance(value, Mapping):
        return {name: plain_copy(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain_copy, value))
    if isinstance(value, np.generic):
        return value.item()
    if type(value) not in PLAIN:
        raise TypeError(f"{type(value).__name__} is no plain value")
    return value
