"""The transceiver of a transmitter and a receiver; ``splice`` joins parts of two transceivers.

The seam between the ends is the channel signal alone, so ends of any kind, depth and width splice as long as
C, the real channel dimensions a token, and V, the pieces, agree.
"""

import copy
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from semcom.base import device
from semcom.base.errors import SemcomError
from semcom.models.aligner import Aligner
from semcom.models.architecture import ENDS, FRONTS, Architecture, EndSize
from semcom.models.kinds import RECEIVERS, TRANSMITTERS
from semcom.models.protocols import Receiver, Transmitter
from semcom.models.receiver_fronts import behind_fronts, fronts, made_receiver, owner_of
from semcom.models.settings import PARTS, RECEIVER_PARTS, TRANSMITTER_PARTS

BYTES_TRAINED = 16
"""A parameter's, its gradient's and the optimiser's two means, in float32."""
PARTS_OF = {"transmitter": TRANSMITTER_PARTS, "receiver": RECEIVER_PARTS}
SEMANTIC_PART = {"transmitter": "encoder", "receiver": "decoder"}
CHANNEL_PART = {"transmitter": "channel_encoder", "receiver": "channel_decoder"}
CHANNEL_PART_FIELDS = {
    "channel_encoder": ("channel_encoder_hidden",),
    "channel_decoder": ("channel_decoder_hidden", "amplitude", *FRONTS),
}
ALIGNER = "aligner"


class Transceiver(nn.Module):
    """A transmitter and a receiver that share a vocabulary and a signal width C."""

    transmitter: Transmitter
    receiver: Receiver

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        self.transmitter = TRANSMITTERS[architecture.transmitter.kind]().make(architecture)
        self.receiver = made_receiver(architecture)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "Transceiver":
        """The model of ``Checkpoint.from_pretrained``, on the CPU, in eval mode. Raises SemcomError."""
        from semcom.models.checkpoint import Checkpoint

        return Checkpoint.from_pretrained(folder).model

    def end(self, name: str) -> Transmitter | Receiver:
        """The ``transmitter`` or the ``receiver``."""
        return self.transmitter if name == "transmitter" else self.receiver

    def parts(self) -> tuple[str, ...]:
        """Names of its parts: ``PARTS``, and the aligner where there is one."""
        return PARTS if self.architecture.aligner is None else (*PARTS, ALIGNER)

    def part(self, name: str) -> nn.Module:
        """The module of one of its parts."""
        return getattr(self._owner(name), name)

    def set_part(self, name: str, module: nn.Module) -> None:
        """Put a module of the same sizes into the place of a part."""
        setattr(self._owner(name), name, module)

    def _owner(self, part: str) -> nn.Module:
        return self.transmitter if part in TRANSMITTER_PARTS else owner_of(self.receiver, part)

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


def build(architecture: Architecture, seed: int) -> Transceiver:
    """A transceiver with fresh weights, drawn as its kinds of ends say. Raises SemcomError for one that this
    machine could not train."""
    _check_memory(architecture)
    model = Transceiver(architecture)
    generator = torch.Generator().manual_seed(seed)
    TRANSMITTERS[architecture.transmitter.kind]().draw(model.transmitter, generator)
    RECEIVERS[architecture.receiver.kind]().draw(behind_fronts(model.receiver), generator)
    for front in fronts(model.receiver):
        front.draw(generator)
    return model


def _check_memory(architecture: Architecture) -> None:
    with torch.device("meta"):
        count = Transceiver(architecture).parameter_count()
    needed, there = count * BYTES_TRAINED, device.memory()
    if there is not None and needed > there:
        raise SemcomError(
            f"a model of {count:,} parameters: training it takes {needed / 1e9:,.1f} GB of memory, this "
            f"machine has {there / 1e9:,.1f}; give fewer layers or smaller widths"
        )


def check_joint(transmitter: Architecture, receiver: Architecture) -> None:
    """Raise unless a transmitter of one architecture and a receiver of the other share V and C."""
    for name, what in (("vocab_size", "vocabulary size"), ("channel_dim", "signal width C")):
        ours, theirs = getattr(transmitter, name), getattr(receiver, name)
        if ours != theirs:
            raise SemcomError(
                f"the ends do not join: {what} {ours} beside {theirs}; use checkpoints that share it"
            )


def splice(teacher: Transceiver, student: Transceiver, parts: Iterable[str]) -> Transceiver:
    """A copy of ``teacher`` with the named ``parts`` taken from ``student``. What stands before a receiver
    goes with its channel decoder.

    Raises SemcomError when the ends cannot share a signal, or a set that separates parts of one end meets
    unequal kinds or D.
    """
    parts = frozenset(parts)
    if unknown := parts.difference(PARTS):
        raise SemcomError(f"hybrid part {sorted(unknown)[0]!r} is unknown; allowed are {' '.join(PARTS)}")
    ours, theirs = teacher.architecture, student.architecture
    check_joint(ours, theirs)
    for end in ENDS:
        if len(parts.intersection(PARTS_OF[end])) == 1:
            _check_separable(end, ours.size(end), theirs.size(end), parts)
    with torch.device("meta"):
        hybrid = Transceiver(_spliced(ours, theirs, parts))
    for name in (*PARTS, *(front.own for front in fronts(hybrid.receiver))):
        source = student if taken_with(name) in parts else teacher
        hybrid.set_part(name, copy.deepcopy(source.part(name)))
    return hybrid.train(teacher.training)


def taken_with(part: str) -> str:
    """The one of ``PARTS`` with which a part is spliced: itself, or for a front the channel decoder."""
    return part if part in PARTS else CHANNEL_PART["receiver"]


def with_aligner(transmitter: Transceiver, receiver: Transceiver, aligner: Aligner) -> Transceiver:
    """The transmitter of one and the receiver of another behind a map between them, all copied.

    Raises SemcomError where V, or the widths of signal, map and receiver, do not fit, or the receiver has an
    aligner already.
    """
    ours, theirs = transmitter.architecture, receiver.architecture
    _check_aligned(ours, theirs, aligner)
    kept = {name: getattr(theirs, name) for name in CHANNEL_PART_FIELDS["channel_decoder"]}
    made = replace(ours, receiver=theirs.receiver, **{**kept, ALIGNER: aligner.size})
    with torch.device("meta"):
        aligned = Transceiver(made)
    sources = {**dict.fromkeys(TRANSMITTER_PARTS, transmitter), **dict.fromkeys(RECEIVER_PARTS, receiver)}
    sources |= {front.own: receiver for front in fronts(receiver.receiver)}
    modules = {name: source.part(name) for name, source in sources.items()} | {ALIGNER: aligner}
    for name, module in modules.items():
        aligned.set_part(name, copy.deepcopy(module))
    return aligned.train(receiver.training)


def _check_aligned(ours: Architecture, theirs: Architecture, aligner: Aligner) -> None:
    if theirs.aligner is not None:
        raise SemcomError("the receiver stands behind an aligner already; give the checkpoint it was made of")
    pairs = {
        "vocabulary size": (ours.vocab_size, theirs.vocab_size),
        "signal width C and the aligner's": (ours.channel_dim, aligner.inputs),
        "receiver's C and the aligner's": (theirs.channel_dim, aligner.size.channel_dim),
    }
    for what, (one, other) in pairs.items():
        if one != other:
            raise SemcomError(
                f"the ends do not join: {what} {one} beside {other}; use what was made for both"
            )


def _check_separable(end: str, ours: EndSize, theirs: EndSize, parts: frozenset[str]) -> None:
    """Raise unless one part of ours and the other of theirs make an end."""
    owned = PARTS_OF[end]
    if ours.kind != theirs.kind:
        unlike = f"which are of two kinds ({ours.kind} in the teacher, {theirs.kind} in the student)"
    elif ours.d_model != theirs.d_model:
        unlike = f"whose widths differ (D={ours.d_model} in the teacher, {theirs.d_model} in the student)"
    else:
        return
    raise SemcomError(
        f"--hybrid-parts {' '.join(sorted(parts))}: separates {owned[0]} from {owned[1]}, {unlike}; "
        f"take both: {' '.join(owned)}"
    )


def _spliced(ours: Architecture, theirs: Architecture, parts: frozenset[str]) -> Architecture:
    """Of the hybrid. The size of an end belongs to its semantic part; the channel part has D and C alone."""
    ends = {end: theirs.size(end) if SEMANTIC_PART[end] in parts else ours.size(end) for end in ENDS}
    made = replace(ours, transmitter=ends["transmitter"], receiver=ends["receiver"])
    for part in parts.intersection(CHANNEL_PART_FIELDS):
        made = replace(made, **{name: getattr(theirs, name) for name in CHANNEL_PART_FIELDS[part]})
    return made


def start_from_teacher(teacher: Transceiver, student: Transceiver, ends: Iterable[str] = ENDS) -> None:
    """Copy weights of the teacher's ends into those of a smaller ``student``, as their kinds say. Raises
    SemcomError where the kinds differ, or have no such start."""
    for end in ends:
        ours, theirs = student.architecture.size(end).kind, teacher.architecture.size(end).kind
        if ours != theirs:
            raise SemcomError(
                f"--student-init teacher: a {end} of kind {ours} cannot start from the teacher's, "
                f"which is of kind {theirs}; give --student-init random"
            )
        if end == "transmitter":
            student.transmitter.start_from(teacher.transmitter)
        else:
            student.receiver.start_from(teacher.receiver)
