"""JSON from files that a stranger may have written: bounded, in any encoding that JSON has, with or without a
byte order mark, each key once, numbers finite.

What the program keeps for itself carries a digest, so that what was changed since is never used.
"""

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

MAX_BYTES = 100_000_000
"""Of a record or of results; a file that a run keeps for the next may be larger."""
DIGEST = "digest"


class NotJSON(ValueError):
    """Not JSON, or none that is to be trusted; the message says why."""


def read(path: str | Path, most: int = MAX_BYTES) -> Any:
    """What the JSON file holds. Raises NotJSON for one that is broken or has over ``most`` bytes, OSError for
    one that cannot be read."""
    with open(path, "rb", opener=opened_at_once) as file:
        return parsed(bytes_of(file, most))


def bytes_of(file: BinaryIO, most: int) -> bytes:
    """All that a file holds. Raises NotJSON for what is none, or larger than ``most``."""
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise NotJSON("it is no regular file")
    content = file.read(most + 1)
    if len(content) > most:
        raise NotJSON(f"it is larger than {most:,} bytes")
    return content


def opened_at_once(path: str, flags: int) -> int:
    """Opens a file for ``open`` without waiting for a writer, should it be a named pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def parsed(content: bytes | str) -> Any:
    """The value that JSON text stands for. Raises NotJSON."""
    try:
        return json.loads(
            content,
            object_pairs_hook=_each_once,
            parse_float=_finite,
            parse_constant=_finite,
            parse_int=whole,
        )
    except RecursionError:
        raise NotJSON("it is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise NotJSON(f"it is not {error.encoding.upper()} from byte {error.start} on") from None
    except json.JSONDecodeError as error:
        raise NotJSON(f"it is no JSON, {error.msg} in line {error.lineno}") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise NotJSON(f"it has {twice!a:.60} twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotJSON(f"it holds {text[:20]}, which is no finite number")
    return number


def finite(value: Any) -> Any:
    """A plain value with None in the place of numbers that JSON does not have: not a number, infinity."""
    if isinstance(value, Mapping):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def whole(text: str) -> int:
    """A number without a fraction. Raises NotJSON for one of more digits than any has a use for."""
    if len(text) > 400:
        raise NotJSON(f"it holds a number of {len(text):,} digits")
    return int(text)


def digested(value: Mapping[str, Any]) -> dict[str, Any]:
    """With the digest of its other values."""
    return {**value, DIGEST: _digest_of(value)}


def undigested(value: Any) -> dict[str, Any]:
    """What ``digested`` was given. Raises NotJSON where the digest is not there or of something else."""
    if not isinstance(value, dict) or DIGEST not in value:
        raise NotJSON("it carries no digest")
    rest = {name: each for name, each in value.items() if name != DIGEST}
    if value[DIGEST] != _digest_of(rest):
        raise NotJSON("it is damaged, its digest is of other contents")
    return rest


def _digest_of(value: Mapping[str, Any]) -> str:
    """SHA-256 of the value as JSON, in hexadecimal digits; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def problem(error: Exception) -> str:
    """Why ``read`` could not, in a few words."""
    return str(error.strerror if isinstance(error, OSError) else error)
