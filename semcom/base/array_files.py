"""Values and arrays in one file: memory-mapped, with a digest and what it was made from.

The first line is the SHA-256 of all that follows it: a line of JSON, and the arrays one behind the other,
each at a multiple of ``ALIGNED`` bytes.
"""

import contextlib
import hashlib
import json
import mmap
import os
import tempfile
import weakref
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from semcom.base import user_cache

ALIGNED = 64
LONGEST_HEAD = 1 << 24
KINDS = frozenset(("uint8", "uint16", "int32", "int64", "uint64"))
BLOCK = 1 << 20

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Kept:
    """values: as JSON gives them back. arrays: of one dimension, by name; read only. on_disk: arrays of bytes
    of which slices are read one by one, so that no page of them counts as this process's memory."""

    values: dict[str, Any]
    arrays: dict[str, Array]
    on_disk: dict[str, "BytesOnDisk"] = field(default_factory=dict)


class BytesOnDisk:
    """Bytes of a file that stays open, from ``start`` on."""

    def __init__(self, descriptor: int, start: int, length: int):
        self._descriptor, self._start, self._length = os.dup(descriptor), start, length
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, at: slice) -> bytes:
        first, end, _ = at.indices(self._length)
        return os.pread(self._descriptor, end - first, self._start + first)

    def __reduce__(self) -> tuple[Any, ...]:
        """All of them: another process may be on another machine."""
        return np.frombuffer, (self[:], np.uint8)


def write(path: Path, key: Mapping[str, object], kept: Kept) -> None:
    """Whole or not at all, for its owner alone. key: what it was made from. Raises OSError."""
    head = json.dumps({"key": key, "values": kept.values, "arrays": _places(kept.arrays)}).encode() + b"\n"
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            _fill(file, head, kept.arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _places(arrays: Mapping[str, Array]) -> dict[str, list[object]]:
    """Of each its kind, its length, and where it begins behind the head."""
    found: dict[str, list[object]] = {}
    start = 0
    for name, array in arrays.items():
        found[name] = [array.dtype.name, len(array), start]
        start += -(-array.nbytes // ALIGNED) * ALIGNED
    return found


def _fill(file: BinaryIO, head: bytes, arrays: Mapping[str, Array]) -> None:
    digest = hashlib.sha256()
    file.write(_first_line(digest.hexdigest()))  # whose room it keeps
    for part in _parts(head, arrays):
        digest.update(part)
        file.write(part)
    file.seek(0)
    file.write(_first_line(digest.hexdigest()))


def _first_line(digest: str) -> bytes:
    return f"{digest}\n".encode()


def _parts(head: bytes, arrays: Mapping[str, Array]) -> Iterator[bytes | memoryview]:
    yield head
    yield _padding(len(_first_line("0" * 64)) + len(head))
    for array in arrays.values():
        yield np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).data.cast("B")
        yield _padding(array.nbytes)


def _padding(size: int) -> bytes:
    return bytes(-size % ALIGNED)


def read(path: Path, key: Mapping[str, object], on_disk: Collection[str] = ()) -> Kept:
    """What was written there from the same ``key``. on_disk: arrays of bytes that stay there, where the
    system can read without moving a file's place.

    Raises OSError, and ValueError for what is damaged, foreign, or made from something else.
    """
    with path.open("rb") as file:
        if not user_cache.is_private(os.fstat(file.fileno())):
            raise ValueError("of another user, or writable by others")
        claimed = file.readline(len(_first_line("0" * 64)))
        digest, head = hashlib.sha256(), file.readline(LONGEST_HEAD)
        digest.update(head)
        start = file.tell() + len(_padding(file.tell()))
        while block := file.read(BLOCK):
            digest.update(block)
        if claimed != _first_line(digest.hexdigest()):
            raise ValueError("damaged, or no file of this kind")
        described = json.loads(head)
        if described["key"] != json.loads(json.dumps(key)):
            raise ValueError("made from something else")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        places = described["arrays"]
        stay = {name: places[name] for name in on_disk if hasattr(os, "pread")}
        unread = {name: BytesOnDisk(file.fileno(), start + at, size) for name, (_, size, at) in stay.items()}
    arrays = {name: _array(mapped, start, *place) for name, place in places.items() if name not in unread}
    return Kept(described["values"], arrays, unread)


def _array(mapped: mmap.mmap, start: int, kind: str, length: int, place: int) -> Array:
    if kind not in KINDS:
        raise ValueError(f"an array of {kind!r:.40}")
    if not length:
        return np.empty(0, dtype=kind)
    return np.frombuffer(mapped, np.dtype(kind).newbyteorder("<"), length, start + place)
