"""The folder that ``export --format onnx`` makes, read: its link.json, its graphs and its vocabulary.

All of it comes from a stranger until proved otherwise: files are bounded before they are read and are those
that link.json has the digests of, and what that says is checked value by value.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semcom.base import json_files
from semcom.base.advice import path_word
from semcom.base.errors import SemcomError, escape
from semcom.base.json_files import NotJSON
from semcom.data.vocabulary import BOS, EOS, PAD, Vocabulary
from semcom.data.vocabulary_files import read_vocabulary
from semcom.models.architecture import Architecture, from_file
from semcom.models.decoding import LIMIT_FACTOR, LIMIT_MORE, LONGEST_TARGET
from semcom.models.onnx_folder import FORMAT, FP32, GRAPHS, INT8, LINK

VOCABULARIES = ("vocabulary.model", "vocabulary.json")
PRECISIONS = (FP32, INT8)
LARGEST_LINK = 10_000_000
LARGEST_GRAPH = 2**31 - 1
"""Bytes: what a graph of ONNX can have."""
FIXED = {
    "pieces": {"pad": PAD, "bos": BOS, "eos": EOS},
    "length_limit": {"factor": LIMIT_FACTOR, "more": LIMIT_MORE, "most": LONGEST_TARGET},
}
"""What this program decodes by, and what the folder is to say."""


@dataclass(frozen=True)
class OnnxFolder:
    """graphs: name of the file -> its bytes. digests: name of the file -> SHA-256. precision: one of
    ``PRECISIONS``."""

    where: str
    architecture: Architecture
    vocabulary: Vocabulary
    precision: str
    graphs: dict[str, bytes]
    digests: dict[str, str]
    origin: dict[str, str]
    metrics: dict[str, Any]
    config: dict[str, Any]


def is_onnx_folder(path: str | Path) -> bool:
    return (Path(path) / LINK).is_file()


def read(path: str | Path) -> OnnxFolder:
    """Raises SemcomError for a folder that is not there, damaged, or none of this program's."""
    folder, where = Path(path), f"onnx folder {escape(path)}"
    if not folder.exists():
        raise SemcomError(f"{where}: no such folder; make one with: {_command(path)}")
    if not folder.is_dir():
        raise SemcomError(f"{where}: is a file; of a checkpoint a folder is made with: {_command(path)}")
    link = _link(folder, where)
    try:
        return _checked(link, folder, where)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SemcomError(
            f"{where}: its {LINK} is not as this program writes it ({type(error).__name__}: "
            f"{escape(error)[:60]}); export it again"
        ) from error


def _command(path: str | Path) -> str:
    output = path_word(path) if Path(path).suffix == "" else "FOLDER"
    return f"python -m semcom export CHECKPOINT --format onnx --output {output}"


def _link(folder: Path, where: str) -> dict[str, Any]:
    try:
        link = json_files.read(folder / LINK, LARGEST_LINK)
    except FileNotFoundError:
        raise SemcomError(
            f"{where}: has no {LINK}, so no export made it; make one with: {_command(folder)}"
        ) from None
    except (OSError, NotJSON) as error:
        raise SemcomError(f"{where}: {LINK}: {json_files.problem(error)}; export it again") from None
    if not isinstance(link, dict) or type(link.get("format")) is not int or link["format"] < 1:
        raise SemcomError(f"{where}: its {LINK} is not of a semcom export; export it again")
    if link["format"] > FORMAT:
        raise SemcomError(
            f"{where}: format {link['format']} is newer than this program reads ({FORMAT}); "
            "update the program"
        )
    return link


def _checked(link: dict[str, Any], folder: Path, where: str) -> OnnxFolder:
    for name, expected in FIXED.items():
        if link[name] != expected:
            raise SemcomError(
                f"{where}: its {name} are {escape(link[name])[:80]}, this program decodes by {expected}; "
                "export it again"
            )
    if link["precision"] not in PRECISIONS:
        raise SemcomError(
            f"{where}: its precision is {escape(link['precision'])[:40]}, known are {', '.join(PRECISIONS)}"
        )
    architecture = from_file(dict(link["architecture"]), where)
    name = link["vocabulary"]["file"]
    if name not in VOCABULARIES:
        raise SemcomError(
            f"{where}: its vocabulary is {escape(name)[:60]}, allowed are {' or '.join(VOCABULARIES)}"
        )
    files = {each: _file(folder, each, link["files"][each], where) for each in (*GRAPHS, name)}
    vocabulary = read_vocabulary(files.pop(name), f"{where}: {name}")
    if len(vocabulary) != architecture.vocab_size:
        raise SemcomError(
            f"{where}: its vocabulary ({vocabulary}) is not that of its graphs "
            f"({architecture.vocab_size} pieces); export it again"
        )
    return OnnxFolder(
        where,
        architecture,
        vocabulary,
        link["precision"],
        files,
        {each: link["files"][each]["sha256"] for each in GRAPHS},
        {str(part): str(origin) for part, origin in link["origin"].items()},
        dict(link["metrics"]),
        dict(link["config"]),
    )


def _file(folder: Path, name: str, recorded: Mapping[str, Any], where: str) -> bytes:
    size, digest = recorded["bytes"], recorded["sha256"]
    if type(size) is not int or not 0 <= size <= LARGEST_GRAPH:
        raise SemcomError(
            f"{where}: claims {escape(size)[:40]} bytes of {name}, at most {LARGEST_GRAPH:,} are read"
        )
    try:
        with open(folder / name, "rb", opener=json_files.opened_at_once) as file:
            content = json_files.bytes_of(file, size)
    except (OSError, NotJSON) as error:
        raise SemcomError(
            f"{where}: {name}: cannot be read ({json_files.problem(error)}); copy or export it again"
        ) from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise SemcomError(
            f"{where}: {name} is damaged, {LINK} has the digest of other contents; copy or export it again"
        )
    return content
