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
from semcom.data.batching import Batch, Encoded, by_length, shuffled
from semcom.distillation.aligners import Pilots, fit_aligner
from semcom.distillation.objectives import Frozen, TransceiverObjective
from semcom.distillation.pilot_task import PilotTask, Received, linked, train
from semcom.distillation.pilots import BATCH
from semcom.distillation.task import Terms
from semcom.distillation.trainer import LinkTask
from semcom.distillation.training_settings import TrainingConfig
from semcom.models.protocols import Transmitter
from semcom.models.transceiver import Transceiver

LR = 2e-3
TEXTS = 64
"""Sentences a step that it sends."""
BLUR = 0.5
"""Share of its error on held-out pilots that stands as noise on what it sends."""


class Surrogate(Transmitter):
    """A copy of a transmitter of any kind, with an affine map of its symbols behind it.

    error: the mean square of what it lacks on pilots held out, their noise included, per complex symbol.
    """

    error = 1.0

    def __init__(self, own: Transmitter, mapped: nn.Module):
        super().__init__(own.size)
        self.encoder = copy.deepcopy(own.encoder)
        self.channel_encoder = nn.Sequential(copy.deepcopy(own.channel_encoder), mapped)


def fitted(sender: Transceiver, listener: Transceiver, received: Received) -> Surrogate:
    """One that sends, for the pilots, what arrived of the sender's. It begins as the listener's transmitter
    behind the ridge map of its symbols onto what arrived, and then all of it learns."""
    architecture = sender.architecture
    mapped = fit_aligner("affine", _symbols(sender, listener, received), seed=received.seed)
    made = Surrogate(listener.transmitter, mapped).to(next(sender.parameters()).device)
    link = linked(architecture, made.requires_grad_(), Frozen(listener.receiver))
    objective = _Imitation(link, Frozen(sender.transmitter), received)
    made.error = train(PilotTask(objective, received), LR)
    return made


@torch.no_grad()
def _symbols(sender: Transceiver, listener: Transceiver, received: Received) -> Pilots:
    """The listener's own symbols before their power is normalised, and what arrived of the sender's."""
    own = listener.transmitter
    device = next(own.parameters()).device
    raw, arrived = [], []
    for batch in (each.to(device) for each in by_length(received.split()[0], BATCH)):
        raw.append(batch.of_sources(own.channel_encoder(own.encoder(batch.source, batch.source_mask))))
        arrived.append(
            batch.of_sources(_arrived(sender.transmitter, batch, _drawn(batch, sender, received), received))
        )
    return Pilots(torch.cat(raw).double(), torch.cat(arrived).double())


def _drawn(batch: Batch, sender: Transceiver, received: Received) -> Draw:
    width = sender.architecture.channel_dim
    return batch.draw(received.channel, width, seed=received.seed, number=received.number)


@torch.no_grad()
def _arrived(transmitter: nn.Module, batch: Batch, draw: Draw, received: Received) -> Tensor:
    signal, _ = transmitter(batch.source, batch.source_mask)
    arrived: Tensor = received.channel.apply(signal, draw, draw.snr_between(*received.snrs))
    return arrived


class _Imitation(TransceiverObjective):
    """The squared error of what the model's transmitter sends from what arrived, per complex symbol: "ce",
    which it takes the place of."""

    def __init__(self, link: Transceiver, sender: Frozen, received: Received):
        super().__init__(link, received.channel, received.snrs)
        self.sender, self.received = sender, received

    def forward(self, batch: Batch, draw: Draw) -> Terms:
        arrived = _arrived(self.sender, batch, draw, self.received)
        signal, _ = self.model.transmitter(batch.source, batch.source_mask)
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
