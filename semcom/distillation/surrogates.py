"""A model of a foreign transmitter, made of one's own and of what arrived of its pilots.

Letters: B sentences, S source tokens, M real ones of all sentences, C real channel dimensions a token.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import torch
from torch import Tensor, nn

from semcom.channel.channels import Channel
from semcom.channel.draws import Draw
from semcom.data.batching import Batch, Encoded, shuffled
from semcom.distillation.aligners import Pilots, fit_aligner
from semcom.distillation.objectives import Frozen, TransceiverObjective, transmitted
from semcom.distillation.pilot_task import PilotTask, Received, linked, train
from semcom.distillation.pilots import received_pilots
from semcom.distillation.task import Terms
from semcom.distillation.trainer import LinkTask
from semcom.distillation.training_settings import TrainingConfig
from semcom.models.channel_parts import normalize_power
from semcom.models.protocols import Transmitter
from semcom.models.spans import Spans
from semcom.models.transceiver import Transceiver

LR = 2e-3
TEXTS = 64
"""Sentences a step that it sends."""
BLUR = 0.6
"""Share of its error on held-out pilots that stands as noise on what it sends."""


class Surrogate(Transmitter):
    """A copy of a transmitter of any kind, with an affine map of its signal behind it.

    error: the mean square of what it lacks on pilots held out, their noise included, per complex symbol.
    """

    error = 1.0

    def __init__(self, own: Transmitter, mapped: nn.Module):
        super().__init__(own.size)
        self.own, self.mapped = copy.deepcopy(own), copy.deepcopy(mapped)

    def forward(self, source: Tensor, source_mask: Tensor) -> tuple[Tensor, Tensor]:
        signal, state = self.own(source, source_mask)
        return normalize_power(self.mapped(signal), source_mask), state

    def packed(self, source: Tensor, source_mask: Tensor, sent: Spans) -> tuple[Tensor, Tensor] | None:
        made = self.own.packed(source, source_mask, sent)
        return made and (normalize_power(self.mapped(made[0]), source_mask), made[1])


def fitted(sender: Transceiver, listener: Transceiver, received: Received) -> Surrogate:
    """One that sends, for the pilots, what arrived of the sender's. It begins as the listener's transmitter
    behind the ridge map of its signal onto what arrived, and then all of it learns: twice, without pilots
    held out, which tell its error, and with them."""
    _, error = _learned(sender, listener, received, received.split()[0], keep="best")
    made, _ = _learned(sender, listener, received, received.pilots, keep="last")
    made.error = error
    return made


def _learned(
    sender: Transceiver, listener: Transceiver, received: Received, pilots: Sequence[Encoded], *, keep: str
) -> tuple[Surrogate, float]:
    """A surrogate that has learned from these pilots, and its error on those held out."""
    draws = {"seed": received.seed, "number": received.number}
    rows = received_pilots(sender, listener, pilots, received.channel, received.snrs, **draws)
    mapped = fit_aligner("affine", Pilots(rows.wanted, rows.arrived), seed=received.seed)
    made = Surrogate(listener.transmitter, mapped).to(next(sender.parameters()).device)
    link = linked(sender.architecture, made.requires_grad_(), Frozen(listener.receiver))
    task = PilotTask(_Imitation(link, Frozen(sender.transmitter), received), received)
    task.learnt_from = list(pilots)
    error = train(task, LR, received.config.imitation_steps, keep=keep)
    return made, error


class _Imitation(TransceiverObjective):
    """The squared error of what the model's transmitter sends from what arrived, per complex symbol: "ce",
    which it takes the place of."""

    def __init__(self, link: Transceiver, sender: Frozen, received: Received):
        super().__init__(link, received.channel, received.snrs, compiled=received.compiled)
        self.sender = sender

    def forward(self, batch: Batch, draw: Draw) -> Terms:
        sent = Spans.of(batch.source_mask) if self.compiled else None
        with torch.no_grad():
            theirs, _ = transmitted(self.sender, batch, sent)
            arrived = self.channel.apply(theirs, draw, draw.snr_between(*self.snr_range))
        signal, _ = transmitted(self.model.transmitter, batch, sent)
        lacking = batch.of_sources(signal - arrived)
        return {"ce": (lacking.square().sum() * 2 / signal.shape[-1], len(lacking))}


def sending(
    texts: Sequence[Encoded], surrogate: Surrogate, joined: Transceiver, received: Received
) -> Iterator[Terms]:
    """Cross-entropies of the receiver of ``joined`` on sentences that the surrogate sends, a step each, for
    ever."""
    channel = _Blurred(received.channel, BLUR * surrogate.error)
    link = linked(joined.architecture, Frozen(surrogate), joined.receiver)
    objective = replace(received, channel=channel).objective(link)
    config = TrainingConfig(batch_size=TEXTS)
    task = LinkTask(
        objective,
        (),
        config,
        width=joined.architecture.channel_dim,
        device=next(joined.parameters()).device,
        seed=received.seed,
    )
    for epoch in count(1):
        for places in shuffled(texts, config.batch_size, task.seed, epoch).places:
            yield task.terms(task.step_at(texts, places, epoch).data, epoch)


@dataclass(frozen=True)
class _Blurred(Channel):
    """A channel into which a signal comes with noise of its own. power: of that, per complex symbol."""

    channel: Channel
    power: float

    def draw(self, generator: torch.Generator, length: int, width: int) -> Mapping[str, Tensor]:
        drawn = self.channel.draw(generator, length, width)
        return {**drawn, "blur": torch.randn(length, width, generator=generator)}

    def apply(self, signal: Tensor, draw: Draw, snr_db: Tensor | float) -> Tensor:
        blur = draw.own["blur"].to(signal.dtype) * (self.power / 2) ** 0.5
        return self.channel.apply(signal + blur, draw, snr_db)
