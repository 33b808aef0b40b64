"""What a checkpoint holds, in files that other programs read too: weights as safetensors, the rest as JSON
beside them, the vocabulary as the file that it came from. Bits and fingerprint stay, there and back.

In a folder of the Hugging Face hub the files have the names that are usual there. Whoever wrote them, they
are data: bounded, checked against each other, and no file that they name is opened.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from semcom.base import json_files
from semcom.base.advice import meant_path
from semcom.base.errors import SemcomError, escape, shown
from semcom.base.output_files import write_atomically, write_json
from semcom.data import vocabulary_files
from semcom.data.vocabulary import Vocabulary
from semcom.data.word_vocabulary import WordVocabulary
from semcom.models import checkpoint, other_formats, state_dicts, torch_files
from semcom.models.checkpoint import Checkpoint
from semcom.models.tensors import check_finite, own_memory

FORMAT = 1
MODEL_TYPE = "semcom-transceiver"
"""By which the JSON is known, as hub's model types are."""
MOST_BYTES = 20_000_000
"""Of the JSON: what a checkpoint of thousands of epochs says of itself."""
DEEPEST = 64
FORMS = {"pieces": ".model", "words": ".json"}
"""Of a vocabulary -> how its file's name ends."""
WHAT = "weights that semcom wrote as safetensors"
CURE = "write them again: python -m semcom export"


@dataclass(frozen=True)
class WeightFiles:
    """Where weights and JSON are. stem: of the vocabulary's file, without its ending."""

    weights: Path
    record: Path
    stem: str

    @property
    def is_whole(self) -> bool:
        """Whether weights and JSON are there."""
        return self.weights.is_file() and self.record.is_file()

    def vocabulary(self, form: str) -> Path:
        """form: of ``FORMS``."""
        return self.weights.with_name(self.stem + FORMS[form])

    def all(self, vocabulary: Vocabulary) -> Iterator[Path]:
        """Those that ``write`` makes of a checkpoint with this vocabulary."""
        yield from (self.weights, self.record, self.vocabulary(form_of(vocabulary)))


def beside(weights: str | Path) -> WeightFiles:
    """X.safetensors, X.json, X.vocabulary.model or X.vocabulary.json."""
    path = Path(weights)
    return WeightFiles(path, path.with_suffix(".json"), f"{path.stem}.vocabulary")


def in_folder(folder: str | Path) -> WeightFiles:
    """As hubs name them: model.safetensors, config.json."""
    return WeightFiles(Path(folder, "model.safetensors"), Path(folder, "config.json"), "vocabulary")


def form_of(vocabulary: Vocabulary) -> str:
    return "words" if isinstance(vocabulary, WordVocabulary) else "pieces"


# --- write


def write(source: Checkpoint, files: WeightFiles) -> None:
    """Raises SemcomError without the library safetensors, and for what cannot be written."""
    weights = {state_dicts.unwrapped(name): each for name, each in source.model.state_dict().items()}
    check_finite(weights, f"{escape(files.weights)}: not written", "train it again, with a smaller --lr")
    record = record_of(source)
    write_atomically(files.weights, _serialized(own_memory(weights)))
    write_atomically(files.vocabulary(form_of(source.vocabulary)), source.vocabulary.serialized)
    write_json(files.record, record)


def record_of(source: Checkpoint) -> dict[str, Any]:
    """All but the weights and the vocabulary itself, as values of JSON."""
    vocabulary = source.vocabulary
    return {
        "model_type": MODEL_TYPE,
        "library_name": "semcom",
        "format": FORMAT,
        "fingerprint": source.fingerprint,
        "architecture": source.model.architecture.to_dict(),
        "vocabulary": {"form": form_of(vocabulary), "fingerprint": vocabulary.fingerprint},
        "origin": source.origin,
        "metrics": _plain(source.metrics),
        "config": _plain(source.config),
    }


def _plain(value: object, depth: int = 0) -> object:
    """JSON has neither tensors nor numbers that are not finite: null stands in their place."""
    if depth > DEEPEST:
        raise SemcomError(f"its record is nested over {DEEPEST} deep, which no run writes")
    if isinstance(value, Mapping):
        return {str(name): _plain(each, depth + 1) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each, depth + 1) for each in value]
    is_nothing = isinstance(value, Tensor) or (isinstance(value, float) and not math.isfinite(value))
    return None if is_nothing else value


def _serialized(weights: dict[str, Tensor]) -> bytes:
    try:
        from safetensors.torch import save
    except ImportError:
        raise SemcomError("safetensors: is not there; install it with: pip install .[safetensors]") from None
    # Readers of other frameworks look for this entry, which says whose layout the tensors have.
    content: bytes = save(weights, metadata={"format": "pt"})
    return content


# --- read


def are_ours(path: str | Path) -> bool:
    """Whether ``read`` is for this path: a folder, or weights with our JSON beside them. Raises SemcomError
    where that cannot be read."""
    given = Path(path)
    if given.is_dir():
        return True
    files = beside(given)
    if not files.is_whole or not other_formats.is_safetensors(given):
        return False
    return _is_ours(_json(files.record, f"{escape(files.record)}"))


def read(path: str | Path, flag: str = "checkpoint") -> Checkpoint:
    """The checkpoint of what ``write`` wrote, in eval mode. path: of the weights, or a folder as hubs have
    them. Raises SemcomError that names ``flag`` and the file."""
    given = Path(path)
    where = f"{flag} {escape(path)}"
    if not given.exists():
        raise SemcomError(f"{where}: is not there{meant_path(given) or '; get it with: hf download'}")
    files = in_folder(given) if given.is_dir() else beside(given)
    if missing := next((file for file in (files.record, files.weights) if not file.is_file()), None):
        raise SemcomError(f"{where}: {escape(missing.name)} is missing; copy it beside the others, or {CURE}")
    record = _json(files.record, where)
    if not _is_ours(record):
        raise SemcomError(
            f"{where}: {escape(files.record.name)} is of another kind of model "
            f"({shown(_model_type(record))}), wanted is {MODEL_TYPE}; give what semcom exported"
        )
    with torch_files.told(where, WHAT, CURE):
        return _checkpoint(record, files, str(path), where)


def _checkpoint(record: dict[str, Any], files: WeightFiles, path: str, where: str) -> Checkpoint:
    if type(record["format"]) is not int or record["format"] > FORMAT:
        raise SemcomError(
            f"{where}: format {shown(record['format'])} is newer than this program reads ({FORMAT}); "
            "update the program"
        )
    serialized = vocabulary_files.bytes_of(files.vocabulary(record["vocabulary"]["form"]), "vocabulary")
    payload = {
        **{name: record[name] for name in ("architecture", "origin", "metrics", "config")},
        "weights": state_dicts.load(files.weights, "weights"),
        "vocabulary": {
            "model": torch.frombuffer(bytearray(serialized), dtype=torch.uint8),
            "fingerprint": record["vocabulary"]["fingerprint"],
        },
    }
    made = checkpoint.rebuilt(payload, Path(path), where)
    if made.fingerprint != record["fingerprint"]:
        raise SemcomError(
            f"{where}: its weights have the fingerprint {made.fingerprint}, {escape(files.record.name)} "
            f"speaks of {shown(record['fingerprint'])}; give the files of one export"
        )
    return made


def _json(file: Path, where: str) -> object:
    try:
        return json_files.read(file, MOST_BYTES)
    except (OSError, json_files.NotJSON) as error:
        why = escape(json_files.problem(error))
        raise SemcomError(f"{where}: {escape(file.name)} cannot be read ({why}); {CURE}") from None


def _model_type(record: object) -> object:
    return record.get("model_type") if isinstance(record, dict) else None


def _is_ours(record: object) -> TypeGuard[dict[str, Any]]:
    return _model_type(record) == MODEL_TYPE
