"""Checkpoints: one self-describing file each. Beside ``state_file`` and ``state_dicts`` the only place that
touches ``torch.save`` and ``torch.load``.

A checkpoint comes from a stranger until proved otherwise: its pickle may name tensors and nothing else, its
tensors may not claim more memory than the file has bytes, and its architecture is bounded before anything is
built from it.
"""

import hashlib
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semcom.base import console
from semcom.base.advice import meant_path, path_word
from semcom.base.errors import SemcomError, escape, shown
from semcom.base.output_files import write_atomically
from semcom.data.vocabulary import Vocabulary
from semcom.data.vocabulary_files import read_vocabulary
from semcom.models import other_formats, state_dicts, torch_files
from semcom.models.architecture import ENDS, Architecture, from_file
from semcom.models.archive import is_zip
from semcom.models.protocols import MoreThanWeights
from semcom.models.settings import DEFAULT_TEACHER
from semcom.models.stand_ins import not_read
from semcom.models.state_dicts import Found, unwrapped
from semcom.models.state_file import check_plain, digest_of
from semcom.models.tensors import check_finite, claimed, held, own_memory
from semcom.models.transceiver import Transceiver

FORMAT = 2
REMEDY = "make it again"
OWN = "transmitter.channel_encoder.0.weight"
"""How a weight's name ends in what this program writes."""
DIGESTED = ("format", "architecture", "weights", "vocabulary", "origin", "metrics", "config")
"""What the digest of a file is of, in this order."""
WEIGHTS = (torch.float32, torch.float16, torch.bfloat16)
"""What numbers weights are."""
_said: set[tuple[str, str]] = set()
"""Files of which a line was said, and the line."""


@dataclass
class Checkpoint:
    """A transceiver and what is known of it.

    origin: part -> where its weights came from. metrics: name -> number. config: settings of the run that
    made it.
    """

    model: Transceiver
    vocabulary: Vocabulary
    origin: dict[str, str]
    metrics: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    path: str = ""

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "Checkpoint":
        """What ``export --format hub`` or ``--format safetensors`` wrote, or was downloaded from a hub: a
        folder, or a file of weights with its JSON beside it. Raises SemcomError."""
        from semcom.models import weight_files

        return weight_files.read(folder, "from_pretrained")

    @property
    def name(self) -> str:
        return escape(self.path)

    @cached_property
    def fingerprint(self) -> str:
        """``fingerprint_of`` the whole transceiver."""
        return fingerprint_of(self.model)

    def topics_by_end(self) -> dict[str, frozenset[str] | None]:
        """Topics of the built-in corpus that each end has seen; None where that is not known."""
        by_end = self.config.get("topics_by_end")
        found = by_end if isinstance(by_end, dict) else dict.fromkeys(ENDS, self.config.get("topics_seen"))
        return {end: _topics(found.get(end)) for end in ENDS}

    def seen_topics(self) -> frozenset[str] | None:
        """Topics that both ends have seen."""
        sender, listener = self.topics_by_end().values()
        return sender & listener if sender is not None and listener is not None else None


def fingerprint_of(module: torch.nn.Module) -> str:
    """16 hexadecimal digits of the SHA-256 of the weights, their names, and what else the forward pass
    depends on."""
    digest = hashlib.sha256()
    for name, part in module.named_modules():
        if isinstance(part, MoreThanWeights) and part.beside_weights:
            digest.update(f"{name} {part.beside_weights}".encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def save(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write the checkpoint and its digest atomically; see ``output_files.write_atomically``.

    Raises SemcomError for weights that are no finite numbers.
    """
    vocabulary, weights = checkpoint.vocabulary, checkpoint.model.state_dict()
    check_finite(weights, f"{escape(path)}: not written", "try a smaller --lr")
    payload = {
        "format": FORMAT,
        "architecture": checkpoint.model.architecture.to_dict(),
        "weights": own_memory({unwrapped(name): each for name, each in weights.items()}),
        "vocabulary": {
            "model": torch.frombuffer(bytearray(vocabulary.serialized), dtype=torch.uint8),
            "fingerprint": vocabulary.fingerprint,
        },
        "origin": checkpoint.origin,
        "metrics": checkpoint.metrics,
        "config": checkpoint.config,
    }
    buffer = io.BytesIO()
    torch.save({**payload, "digest": digest_of(payload)}, buffer)
    write_atomically(path, buffer.getvalue())


def weights_size(module: torch.nn.Module) -> int:
    """Bytes of the saved weights of any module."""
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    return buffer.tell()


def _topics(value: object) -> frozenset[str] | None:
    known = isinstance(value, list) and value and all(isinstance(topic, str) for topic in value)
    return frozenset(value) if isinstance(value, list) and known else None


def _train_command(path: str | Path) -> str:
    return f"python -m semcom train --output {path_word(path)}"


def _how_to_make(path: Path, flag: str) -> str:
    if flag == "--teacher-checkpoint" or path.parts[-2:] == Path(DEFAULT_TEACHER).parts[-2:]:
        return f"; make one with: {_train_command(path)}"
    return f"; make a teacher with: {_train_command(path)}, or a student of one with: python distillation.py"


def load(path: str | Path, flag: str = "checkpoint") -> Checkpoint:
    """Read a checkpoint onto the CPU, in eval mode. Raises SemcomError that names ``flag`` and the file."""
    path = Path(path)
    where = f"{flag} {escape(path)}"
    if path.is_dir():
        cure = _import_of_ours(path) or _of_graphs(path) or "give the .pt file inside"
        raise SemcomError(f"{where}: is a folder, {cure}")
    if not path.exists():
        # What was meant and is there need not be made.
        cure = meant_path(path) or _how_to_make(path, flag)
        raise SemcomError(f"{where}: no such file{cure}")
    other_formats.check(path, where)
    with torch_files.told(where, "a semcom checkpoint", REMEDY):
        if other := _other_form(path):
            if cure := _import_of_ours(path):
                raise SemcomError(f"{where}: {other}, {cure}")
            raise SemcomError(
                f"{where}: {other}, not a semcom checkpoint; if they are of public DeepSC code, import them: "
                f"{_import_command(path)}"
            )
        return rebuilt(_read(path, where), path, where)


def _import_of_ours(path: Path) -> str:
    """How to go on with what ``weight_files`` wrote; empty for anything else."""
    from semcom.models import weight_files

    if not weight_files.are_ours(path) or (path.is_dir() and not weight_files.in_folder(path).is_whole):
        return ""
    command = f"python -m semcom import {path_word(path)} --output model.pt"
    return f"which export wrote; make a checkpoint of it: {command}"


def _of_graphs(path: Path) -> str:
    """What a folder of ONNX is for; empty for anything else."""
    from semcom.models.onnx_reading import is_onnx_folder

    if not is_onnx_folder(path):
        return ""
    return "of ONNX graphs, which only evaluate --runtime onnx runs; give the checkpoint that it was made of"


def _other_form(path: Path) -> str:
    """Which weights it holds where it is no archive of torch; or nothing."""
    if torch_files.is_by_torch(path) and not is_zip(path):
        return "weights saved by torch before 1.6"
    return "weights in a safetensors file" if other_formats.is_safetensors(path) else ""


def _read(path: Path, where: str) -> dict[str, Any]:
    pickled, stored = torch_files.archived(path, where, "a semcom checkpoint", REMEDY)
    named = torch_files.imports(pickled)
    if foreign := sorted(named - torch_files.TENSORS):
        if not not_read(named) and _are_public(names := torch_files.strings(pickled)):
            raise SemcomError(f"{where}: not a semcom checkpoint{_hint(names, path)}")
        raise SemcomError(
            f"{where}: refused, it names code or foreign objects ({escape(foreign[0])}); "
            "a semcom checkpoint holds tensors, numbers and strings alone"
        )
    payload = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(payload, dict) or not isinstance(payload.get("format"), int):
        raise SemcomError(f"{where}: not a semcom checkpoint{_hint(torch_files.strings(pickled), path)}")
    if payload["format"] < 1:
        raise SemcomError(f"{where}: format {payload['format']} does not exist; not a semcom checkpoint")
    if payload["format"] > FORMAT:
        raise SemcomError(
            f"{where}: format {payload['format']} is newer than this program reads ({FORMAT}); "
            "update the program"
        )
    _check_memory(payload, stored, where)
    check_finite(payload["weights"], where, REMEDY)
    _check_digest(payload, stored, path, where)
    return payload


def _check_digest(payload: dict[str, Any], stored: int, path: Path, where: str) -> None:
    """Raise where it is of something else; a line, once a file, where there is none."""
    check_plain(payload, stored)
    digest = payload.get("digest")
    if digest is not None and digest != digest_of({name: payload[name] for name in DIGESTED}):
        raise SemcomError(f"{where}: damaged, its digest is of other contents; copy or {REMEDY}")
    if digest is None:
        _say_once(path, where, "carries no digest, as older versions wrote it; damage to it goes unnoticed")


def _say_once(path: Path, where: str, line: str) -> None:
    """A warning about a file, once however often and by whatever name it is read."""
    key = (os.path.realpath(path), line)
    if key not in _said:
        _said.add(key)
        console.warn_of(where, line)


def _hint(names: Iterable[str], path: Path) -> str:
    """What can be done with a file whose pickle holds these names."""
    if _are_public(names):
        return f" but weights of public DeepSC code; import them: {_import_command(path)}"
    if _end_in(names, OWN):
        return (
            " but weights of one without what a checkpoint has beside; save it with: "
            "semcom.models.checkpoint.save(Checkpoint(model, vocabulary, origin), FILE)"
        )
    return f"; make one with: {_train_command('FILE')}"


def _are_public(names: Iterable[str]) -> bool:
    return _end_in(names, "channel_encoder.0.weight") and not _end_in(names, OWN)


def _end_in(names: Iterable[str], ending: str) -> bool:
    return any(unwrapped(name).endswith(ending) for name in names)


def _import_command(path: Path) -> str:
    given = path_word(path)
    return f"python -m semcom import {given} --vocab-file vocab.json --output teacher.pt"


def _check_memory(payload: dict[str, Any], stored: int, where: str) -> None:
    """Tensors may overlap or claim storage that is not there; neither occurs in a file that ``save``
    wrote."""
    tensors: Iterable[Any] = [*payload.get("weights", {}).values(), payload["vocabulary"]["model"]]
    if not all(isinstance(t, Tensor) and t.is_contiguous() for t in tensors):
        raise SemcomError(f"{where}: not a semcom checkpoint (its weights are not plain tensors)")
    if sum(map(claimed, tensors)) > stored or any(held(t) > stored for t in tensors):
        raise SemcomError(
            f"{where}: its tensors claim more memory than the file holds; not a semcom checkpoint"
        )


def rebuilt(payload: dict[str, Any], path: Path, where: str) -> Checkpoint:
    """The checkpoint of what a file holds, in eval mode. Raises SemcomError that begins with ``where``."""
    architecture = from_file(payload["architecture"], where)
    found = _found_weights(architecture, payload["weights"], where)
    if found.left_out:
        _say_once(path, where, "; ".join(found.told()))
    # Buffers such as the position table are not stored: build them for real, take the weights as they are.
    model = Transceiver(architecture)
    model.load_state_dict(found.weights)
    given = payload["vocabulary"]
    vocabulary = read_vocabulary(given["model"].numpy().tobytes(), f"{where}: its vocabulary")
    if len(vocabulary) != architecture.vocab_size or vocabulary.fingerprint != given["fingerprint"]:
        raise SemcomError(
            f"{where}: its vocabulary ({vocabulary}) is not the one it was trained with "
            f"({architecture.vocab_size} pieces, {escape(given['fingerprint'])})"
        )
    origin = {part: str(payload["origin"].get(part, "unknown")) for part in model.parts()}
    metrics, config = dict(payload["metrics"]), dict(payload["config"])
    return Checkpoint(model.eval(), vocabulary, origin, metrics, config, str(path))


def _found_weights(architecture: Architecture, given: dict[str, Tensor], where: str) -> Found:
    """By their own names, where a compiler or trainer has put something into them. Raises unless they are
    those of this architecture; nothing is built for real."""
    wanted = _shapes(architecture)
    as_saved = given.keys() == wanted.keys()
    found = Found(given, "", []) if as_saved else state_dicts.plain(given, wanted, where)
    shapes = {name: tuple(tensor.shape) for name, tensor in found.weights.items()}
    if wanted != shapes:
        name = next(n for n in [*wanted, *shapes] if wanted.get(n) != shapes.get(n))
        raise SemcomError(
            f"{where}: weights and architecture disagree at {shown(name)} "
            f"({escape(shapes.get(name, 'absent'))}, expected {wanted.get(name, 'none')}); "
            "not a semcom checkpoint"
        )
    for name, tensor in found.weights.items():
        if tensor.dtype not in WEIGHTS:
            allowed = ", ".join(map(_kind_of_numbers, WEIGHTS))
            raise SemcomError(
                f"{where}: its weights {shown(name)} are {_kind_of_numbers(tensor.dtype)}, allowed are "
                f"{allowed}; {REMEDY}"
            )
    return found


@lru_cache(maxsize=32)
def _shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Of its weights, by name."""
    with torch.device("meta"):
        sketch = Transceiver(architecture)
    return {name: tuple(tensor.shape) for name, tensor in sketch.state_dict().items()}


def _kind_of_numbers(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def check_same_vocabulary(first: Checkpoint, second: Checkpoint) -> None:
    """Raise SemcomError naming both files and vocabularies unless they are one vocabulary."""
    if first.vocabulary.fingerprint != second.vocabulary.fingerprint:
        raise SemcomError(
            f"vocabularies differ: {first.name} has {first.vocabulary}, "
            f"{second.name} has {second.vocabulary}; use checkpoints trained with one vocabulary"
        )
