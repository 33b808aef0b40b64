"""What enters the benchmark: a receiver, and perhaps a way to fit it to a foreign transmitter from pilots.

Letters: B sentences, S source tokens, N real tokens of all pilots, C_a real channel dimensions a token of
what arrives, C_b of what the receiver was trained to read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from semcom.base.errors import SemcomError, shown
from semcom.data.batching import Encoded
from semcom.distillation.aligner_settings import NEED_TEXTS, TUNED
from semcom.distillation.aligners import Pilots, fit_aligner
from semcom.distillation.pilot_tuning import tuned
from semcom.evaluation.pilots import Air, Ends
from semcom.models.protocols import Receiver
from semcom.models.receiver_fronts import FrontedReceiver
from semcom.models.transceiver import Transceiver, check_joint

Map = Callable[[Tensor], Tensor]
"""[..., C_a] -> [..., C_b]."""
Fit = Callable[[Pilots], Map]


@dataclass(frozen=True)
class Lesson:
    """What an entry may learn from.

    ends: the foreign transceiver, of which the transmitter alone may be asked for nothing but its pilots,
    and the receiver's own. encoded: the pilot sentences. pilots: what arrived of them beside what the
    receiver was trained to read. texts: gives the training split, which the receiver's side has, without what
    the foreign one would send. snr: in dB. seed: for whatever is random. air: channel and device.
    """

    ends: Ends
    encoded: Sequence[Encoded]
    pilots: Pilots
    texts: Callable[[], Sequence[Encoded]]
    snr: float
    seed: int
    air: Air


Join = Callable[[Lesson], Transceiver]


@runtime_checkable
class Joiner(Protocol):
    """An aligner that learns more than a map, such as one that tunes the receiver."""

    def join(self, lesson: Lesson) -> Transceiver:
        """The rung's transmitter, unchanged, with the receiver that has learned from the lesson."""


@dataclass(frozen=True)
class Entry:
    """listener: whose receiver hears the rungs, and whose transmitter sends what it was trained to read.
    join: makes a pair of a lesson; None: no pilots are sent. told: what the record says of it."""

    name: str
    listener: Transceiver
    join: Join | None
    told: dict[str, object]


class MappedReceiver(FrontedReceiver):
    """A receiver behind any map, token by token; one that is no module is called on the CPU.

    width: C_a; what is told beside the symbols, in further columns, goes on as it is.
    """

    own = "map"

    def __init__(self, inner: Receiver, map: Map, width: int):
        super().__init__(inner)
        self.map, self.width = map, width

    def front(self, received: Tensor, source_mask: Tensor) -> Tensor:
        symbols, told = received.tensor_split([self.width], -1)
        there = symbols if isinstance(self.map, nn.Module) else symbols.cpu()
        mapped = self.map(there).to(received) * source_mask[..., None]
        return torch.cat((mapped, told), -1) if told.shape[-1] else mapped

    def draw(self, generator: torch.Generator) -> None:
        """A map that was fitted has no fresh weights."""


def paired(sender: Transceiver, receiver: Receiver) -> Transceiver:
    """The transmitter of one beside a receiver, neither copied; the architecture is the first one's."""
    with torch.device("meta"):
        made = Transceiver(sender.architecture)
    made.transmitter, made.receiver = sender.transmitter, receiver
    return made.eval()


def unaligned(ends: Ends) -> Transceiver:
    """Raises SemcomError where the ends do not share a signal."""
    check_joint(ends.sender.architecture, ends.listener.architecture)
    return paired(ends.sender, ends.listener.receiver)


def by_map(fit: Fit, name: str) -> Join:
    """The map that ``fit`` makes of the pilots before the receiver. name: of the entry, for what is wrong."""

    def join(lesson: Lesson) -> Transceiver:
        made = fit(lesson.pilots)
        _check_map(made, lesson.pilots, name)
        sender, receiver = lesson.ends.sender, lesson.ends.listener.receiver
        if isinstance(made, nn.Module):
            made = made.to(lesson.air.device).eval()
        return paired(sender, MappedReceiver(receiver, made, sender.architecture.channel_dim))

    return join


def _check_map(made: Map, pilots: Pilots, name: str) -> None:
    wanted = tuple(pilots.wanted.shape)
    if not callable(made):
        raise SemcomError(
            f"aligner {shown(name)}: fit(pilots) gave {shown(type(made).__name__)}, a map is wanted"
        )
    with torch.no_grad():
        mapped = made(pilots.arrived.float())
    if not isinstance(mapped, Tensor) or tuple(mapped.shape) != wanted:
        found = tuple(mapped.shape) if isinstance(mapped, Tensor) else type(mapped).__name__
        raise SemcomError(
            f"aligner {shown(name)}: its map makes {shown(found)} of the pilots, {wanted} is wanted"
        )
    if not mapped.isfinite().all():
        raise SemcomError(f"aligner {shown(name)}: its map makes numbers of the pilots that are not finite")


def by_way(way: str) -> Join | None:
    """One of ``WAYS``; None of "none"."""
    if way == "none":
        return None
    if way in TUNED:
        return lambda lesson: tuned(
            way,
            lesson.ends.sender,
            lesson.ends.listener,
            lesson.encoded,
            texts=lesson.texts() if way in NEED_TEXTS else (),
            channel=lesson.air.channel,
            snr=lesson.snr,
            seed=lesson.air.seed,
            device=lesson.air.device,
        )
    return lambda lesson: by_map(lambda pilots: fit_aligner(way, pilots, seed=lesson.seed), way)(lesson)
