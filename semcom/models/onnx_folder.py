"""The folder in which a link lies as ONNX: its files, and the JSON that says what is needed beside the
graphs."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from semcom.data.piece_vocabulary import PieceVocabulary
from semcom.data.plain_pieces import plain_pieces
from semcom.data.settings import MAX_POSITIONS
from semcom.data.vocabulary import BOS, EOS, PAD, Vocabulary
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import LIMIT_FACTOR, LIMIT_MORE, LONGEST_TARGET

FORMAT = 1
LINK = "link.json"
GRAPHS = TRANSMITTER, START, STEP = "transmitter.onnx", "receiver_start.onnx", "receiver_step.onnx"
VOCABULARY = "vocabulary.*"
PIECES = "pieces.json"
"""The pieces for programs without sentencepiece, where they can be told as plain numbers."""
OWN = (LINK, *GRAPHS, VOCABULARY, PIECES)
"""Patterns of the names of all that lies in it."""
FP32, INT8 = "fp32", "int8"


def write_vocabulary(vocabulary: Vocabulary, folder: Path) -> dict[str, Any]:
    """Its files; what the JSON says of it."""
    pieces = isinstance(vocabulary, PieceVocabulary)
    name = VOCABULARY.replace("*", "model" if pieces else "json")
    (folder / name).write_bytes(vocabulary.serialized)
    plain = plain_pieces(vocabulary) if isinstance(vocabulary, PieceVocabulary) else None
    if plain is not None:
        (folder / PIECES).write_bytes(plain)
    return {"file": name, "fingerprint": vocabulary.fingerprint, "size": len(vocabulary)}


def described(source: Checkpoint, precision: str, opset: int) -> dict[str, Any]:
    """What of a link is needed beside its graphs, but for its files."""
    return {
        "format": FORMAT,
        "opset": opset,
        "precision": precision,
        "architecture": source.model.architecture.to_dict(),
        "hears_snr": source.model.receiver.hears_snr,
        "power": "1 per complex symbol and sentence, padding left out; the graph scales to it",
        "pieces": {"pad": PAD, "bos": BOS, "eos": EOS},
        "length_limit": {"factor": LIMIT_FACTOR, "more": LIMIT_MORE, "most": LONGEST_TARGET},
        "longest": MAX_POSITIONS,
        "source": {"name": Path(source.path).name, "fingerprint": source.fingerprint},
        "origin": source.origin,
        "metrics": source.metrics,
        "config": source.config,
    }


def digests(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of files, by name."""
    found = {path.name: path.read_bytes() for path in sorted(paths)}
    return {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in found.items()
    }
