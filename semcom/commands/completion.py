"""The mark of a run that has finished, in its record: with the digests of what it made."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semcom.base import replacing

UNFINISHED: dict[str, object] = {"finished": False}
"""In the record from before the first step on."""


def completion(made: Mapping[str, Path]) -> dict[str, object]:
    """What marks a run as finished in its record. made: name -> checkpoint."""
    return {"finished": True, "digests": {name: digest_of(file) for name, file in made.items()}}


def digest_of(file: Path) -> str:
    """SHA-256 of the whole file, in hexadecimal digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def why_unfinished(record: Mapping[str, Any], name: str, file: Path, run: Path) -> str:
    """Empty where a run has finished with the checkpoint ``file``, ``name`` in its record; runs of versions
    before there was a mark have. run: its first output."""
    if "finished" not in record:
        return ""
    if record["finished"] is not True:
        return "it was not ended"
    if replacing.is_under_way(Path(os.path.realpath(run))):
        return "what it made is not all in its place yet"
    digests = record.get("digests")
    recorded = digests.get(name) if isinstance(digests, dict) else None
    try:
        same = recorded == digest_of(file)
    except OSError:
        return f"its {file.name} is not there"
    return "" if same else f"its {file.name} is not the one that its record speaks of"
