"""Checkpoints: one self-describing file each, and the only place that touches ``torch.save`` and
``torch.load``.

A checkpoint comes from a stranger until proved otherwise: its pickle may name tensors and nothing else, its
tensors may not claim more memory than the file has bytes, and its architecture is bounded before anything is
built from it.
"""

import contextlib
import hashlib
import io
import pickletools
import shlex
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import torch

from semcom.base.errors import SemcomError, escape
from semcom.base.output_files import write_atomically
from semcom.data.vocabulary import Vocabulary, read_vocabulary
from semcom.models.layers import Attention
from semcom.models.transceiver import LIMITS, PARTS, Architecture, ChannelDecoder, Transceiver

FORMAT = 2
ENDS = ("transmitter", "receiver")
USUAL_HEADS = 8
_GLOBALS = {
    "torch._utils _rebuild_tensor_v2",
    "collections OrderedDict",
    "torch FloatStorage",
    "torch HalfStorage",
    "torch BFloat16Storage",
    "torch ByteStorage",
}
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled magic number that such files begin with
_STATE_DICT_GLOBALS = {
    "torch._utils _rebuild_parameter",
    *(f"torch {kind}Storage" for kind in ("Double", "Long", "Int", "Short", "Char", "Bool")),
}


@dataclass
class Checkpoint:
    """A transceiver and what is known of it.

    origin: part -> where its weights came from. metrics: name -> number. config: settings of the run that
    made it.
    """

    model: Transceiver
    vocabulary: Vocabulary
    origin: dict[str, str]
    metrics: dict = field(default_factory=dict)
    config: dict = field(default_factory=dict)
    path: str = ""

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
        # Usual settings go unsaid, so that what older runs recorded still holds.
        if isinstance(part, Attention) and part.heads != USUAL_HEADS:
            digest.update(f"{name} heads {part.heads}".encode())
        if isinstance(part, ChannelDecoder) and part.amplitude != 1:
            digest.update(f"{name} amplitude {part.amplitude!r}".encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def save(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write the checkpoint atomically; see ``files.write_atomically``."""
    vocabulary = checkpoint.vocabulary
    payload = {
        "format": FORMAT,
        "architecture": checkpoint.model.architecture.to_dict(),
        # A view would drag its whole storage into the file.
        "weights": {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in checkpoint.model.state_dict().items()
        },
        "vocabulary": {
            "model": torch.frombuffer(bytearray(vocabulary.serialized), dtype=torch.uint8),
            "fingerprint": vocabulary.fingerprint,
        },
        "origin": checkpoint.origin,
        "metrics": checkpoint.metrics,
        "config": checkpoint.config,
    }
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    write_atomically(path, buffer.getvalue())


def weights_size(module: torch.nn.Module) -> int:
    """Bytes of the saved weights of any module."""
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    return buffer.tell()


def _topics(value: object) -> frozenset[str] | None:
    return (
        frozenset(value)
        if isinstance(value, list) and value and all(isinstance(topic, str) for topic in value)
        else None
    )


def _train_command(path: str | Path) -> str:
    return f"python -m semcom train --output {escape(shlex.quote(str(path)))}"


def load(path: str | Path, flag: str = "checkpoint") -> Checkpoint:
    """Read a checkpoint onto the CPU, in eval mode. Raises SemcomError that names ``flag`` and the file."""
    path = Path(path)
    where = f"{flag} {escape(path)}"
    if not path.is_file():
        reason = "is a folder, give the .pt file inside" if path.is_dir() else "no such file"
        remedy = (
            _train_command(path)
            if flag == "--teacher-checkpoint"
            else "python distillation.py (see its --output-path)"
        )
        raise SemcomError(f"{where}: {reason}; make one with: {remedy}")
    with _told(where, "a semcom checkpoint", "make it again"):
        with path.open("rb") as file:
            if file.read(len(_LEGACY)) == _LEGACY:
                raise SemcomError(
                    f"{where}: weights saved by torch before 1.6, not a semcom checkpoint; if they are of public DeepSC code, import "
                    f"them: {_import_command(path)}"
                )
        payload = _read(path, where)
        return _rebuild(payload, path, where)


@contextlib.contextmanager
def _told(where: str, what: str, cure: str) -> Iterator[None]:
    """Whatever reading a stranger's file may raise, as a SemcomError of one line."""
    try:
        yield
    except SemcomError:
        raise
    except (MemoryError, OSError) as error:
        raise SemcomError(f"{where}: cannot be read ({escape(error)})") from None
    except Exception as error:
        raise SemcomError(f"{where}: broken or not {what} ({type(error).__name__}); {cure}") from error


def _read(path: Path, where: str) -> dict:
    pickled, stored = _archived(path, where, "a semcom checkpoint", "make it again")
    if foreign := sorted(_globals(pickled) - _GLOBALS):
        raise SemcomError(
            f"{where}: refused, it names code or foreign objects ({escape(foreign[0])}); "
            "a semcom checkpoint holds tensors, numbers and strings alone"
        )
    payload = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(payload, dict) or not isinstance(payload.get("format"), int):
        raise SemcomError(f"{where}: not a semcom checkpoint{_hint(payload, path)}")
    if payload["format"] < 1:
        raise SemcomError(f"{where}: format {payload['format']} does not exist; not a semcom checkpoint")
    if payload["format"] > FORMAT:
        raise SemcomError(
            f"{where}: format {payload['format']} is newer than this program reads ({FORMAT}); update the program"
        )
    _check_memory(payload, stored, where)
    return payload


def _hint(payload: object, path: Path) -> str:
    layers = [payload, *payload.values()] if isinstance(payload, dict) else []
    if any(
        isinstance(name, str) and name.endswith("channel_encoder.0.weight")
        for layer in layers
        if isinstance(layer, dict)
        for name in layer
    ):
        return f" but weights of public DeepSC code; import them: {_import_command(path)}"
    return f"; make one with: {_train_command('FILE')}"


def _import_command(path: Path) -> str:
    return f"python -m semcom import {escape(shlex.quote(str(path)))} --vocab-file vocab.json --output teacher.pt"


def _archived(path: Path, where: str, what: str, cure: str) -> tuple[bytes, int]:
    """The pickle in torch's archive at ``path``, and the bytes of all its records."""
    if path.stat().st_size == 0:
        raise SemcomError(f"{where}: the file is empty; {cure}")
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            stored = sum(r.file_size for r in records)
            # torch stores its records as they are: a compressed one may unpack to anything.
            if stored > path.stat().st_size or any(r.compress_type != zipfile.ZIP_STORED for r in records):
                raise SemcomError(f"{where}: not {what} (its records claim more than the file holds); {cure}")
            pickles = [archive.read(r) for r in records if r.filename.endswith("data.pkl")]
            if archive.testzip() is not None:
                raise SemcomError(f"{where}: the file is damaged; copy or {cure}")
    except zipfile.BadZipFile:
        raise SemcomError(f"{where}: truncated, or not {what}; copy or {cure}") from None
    if len(pickles) != 1:
        raise SemcomError(f"{where}: not {what}; {cure}")
    return pickles[0], stored


def load_state_dict(path: str | Path, flag: str = "checkpoint") -> dict[str, torch.Tensor]:
    """The tensors of a state dict that other code wrote with ``torch.save``, in either of torch's file forms,
    onto the CPU.

    A state dict wrapped as ``{"state_dict": …}`` is unwrapped. Raises SemcomError that names ``flag`` and the
    file; no code in it runs.
    """
    path = Path(path)
    where = f"{flag} {escape(path)}"
    if not path.is_file():
        raise SemcomError(
            f"{where}: {'is a folder, give the file inside' if path.is_dir() else 'no such file'}"
        )
    what, cure = "a state dict", "save it with: torch.save(model.state_dict(), FILE)"
    with _told(where, what, cure):
        if zipfile.is_zipfile(path):
            pickled, stored = _archived(path, where, what, cure)
            named = _globals(pickled)
        else:
            named, stored = _globals_of_legacy_file(path), path.stat().st_size
        if foreign := sorted(
            named - _GLOBALS - _STATE_DICT_GLOBALS,
            key=lambda name: (name.startswith(("__builtin__", "builtins")), name),
        ):
            raise SemcomError(
                f"{where}: holds more than tensors: it names code ({escape(foreign[0])[:100]}), which is never run; {cure}"
            )
        state = torch.load(path, map_location="cpu", weights_only=True)
        for name in ("state_dict", "model_state_dict", "model"):
            if isinstance(state, dict) and isinstance(state.get(name), dict):
                state = state[name]
                break
        if not isinstance(state, dict) or not all(
            isinstance(name, str) and isinstance(t, torch.Tensor) for name, t in state.items()
        ):
            raise SemcomError(f"{where}: not {what} (tensors by name); {cure}")
        # Weights may be tied or transposed, but a stride of 0 could claim any size.
        if any(
            t.numel() * t.element_size() > stored or t.untyped_storage().nbytes() > stored
            for t in state.values()
        ):
            raise SemcomError(f"{where}: its tensors claim more memory than the file holds; not {what}")
        return dict(state)


def save_state_dict(state: dict[str, torch.Tensor], path: str | Path) -> None:
    """Write named tensors as ``torch.save(model.state_dict(), path)`` does, atomically."""
    buffer = io.BytesIO()
    torch.save(
        {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in state.items()
        },
        buffer,
    )
    write_atomically(path, buffer.getvalue())


def _globals_of_legacy_file(path: Path) -> set[str]:
    """What the pickles at the head of a file of torch before 1.6 would import: magic number, protocol,
    system, object, keys of storages."""
    named: set[str] = set()
    with path.open("rb") as file, contextlib.suppress(ValueError):  # torch says later what is broken
        for _ in range(5):
            named |= _globals(file)
    return named


def _globals(pickled: bytes | BinaryIO) -> set[str]:
    """Names of all that a pickle, or the next one of a file, would import ("module name"); unknown ways to
    import count as foreign."""
    named, strings = set(), []
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "GLOBAL":
            named.add(argument)
        elif opcode.name in ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4"):
            named.add(f"{opcode.name} {' '.join(strings[-2:])}")
        if isinstance(argument, str):
            strings.append(argument)
    return named


def _check_memory(payload: dict, stored: int, where: str) -> None:
    """Tensors may overlap or claim storage that is not there; neither occurs in a file that ``save``
    wrote."""
    tensors = [t for t in payload.get("weights", {}).values()] + [payload["vocabulary"]["model"]]
    if not all(isinstance(t, torch.Tensor) and t.is_contiguous() for t in tensors):
        raise SemcomError(f"{where}: not a semcom checkpoint (its weights are not plain tensors)")
    if sum(t.numel() * t.element_size() for t in tensors) > stored or any(
        t.untyped_storage().nbytes() > stored for t in tensors
    ):
        raise SemcomError(
            f"{where}: its tensors claim more memory than the file holds; not a semcom checkpoint"
        )


def _rebuild(payload: dict, path: Path, where: str) -> Checkpoint:
    fields = payload["architecture"]
    for sizes in (fields, fields["transmitter"], fields["receiver"]):
        for name, value in sizes.items():
            if name in LIMITS and not (type(value) is int and 1 <= value <= LIMITS[name]):
                raise SemcomError(
                    f"{where}: claims {name} {escape(value)}, allowed are 1 to {LIMITS[name]}; not a semcom checkpoint"
                )
    architecture = Architecture.from_dict(fields)
    sizes = (architecture.transmitter, architecture.receiver)
    if any(size.d_model % size.num_heads for size in sizes) or architecture.channel_dim % 2:
        raise SemcomError(
            f"{where}: claims a width that its heads do not divide, or an odd channel_dim; not a semcom checkpoint"
        )
    if any(type(size.stored_positions) is not bool for size in sizes):
        raise SemcomError(f"{where}: its stored_positions is neither true nor false; not a semcom checkpoint")
    if type(architecture.dropout) not in (int, float) or not 0 <= architecture.dropout < 1:
        raise SemcomError(
            f"{where}: claims dropout {escape(architecture.dropout)}, allowed are 0 to under 1; not a semcom checkpoint"
        )
    if type(architecture.amplitude) not in (int, float) or not 1e-3 <= architecture.amplitude <= 1e3:
        raise SemcomError(
            f"{where}: claims amplitude {escape(architecture.amplitude)}, allowed are 0.001 to 1000; not a semcom checkpoint"
        )
    with torch.device("meta"):
        model = Transceiver(architecture)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in payload["weights"].items()}
    if wanted != found:
        name = next(n for n in [*wanted, *found] if wanted.get(n) != found.get(n))
        raise SemcomError(
            f"{where}: weights and architecture disagree at {escape(name)} "
            f"({escape(found.get(name, 'absent'))}, expected {wanted.get(name, 'none')}); not a semcom checkpoint"
        )
    # Buffers such as the position table are not stored: build them for real, take the weights as they are.
    model = Transceiver(architecture)
    model.load_state_dict(payload["weights"])
    vocabulary = read_vocabulary(payload["vocabulary"]["model"].numpy().tobytes(), f"{where}: its vocabulary")
    if (
        len(vocabulary) != architecture.vocab_size
        or vocabulary.fingerprint != payload["vocabulary"]["fingerprint"]
    ):
        raise SemcomError(
            f"{where}: its vocabulary ({vocabulary}) is not the one it was trained with "
            f"({architecture.vocab_size} pieces, {escape(payload['vocabulary']['fingerprint'])})"
        )
    origin = {part: str(payload["origin"].get(part, "unknown")) for part in PARTS}
    return Checkpoint(
        model.eval(), vocabulary, origin, dict(payload["metrics"]), dict(payload["config"]), str(path)
    )


def check_same_vocabulary(first: Checkpoint, second: Checkpoint) -> None:
    """Raise SemcomError naming both files and vocabularies unless they are one vocabulary."""
    if first.vocabulary.fingerprint != second.vocabulary.fingerprint:
        raise SemcomError(
            f"vocabularies differ: {first.name} has {first.vocabulary}, {second.name} has {second.vocabulary}; "
            "use checkpoints trained with one vocabulary"
        )
