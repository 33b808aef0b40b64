"""The task of going on with an end's training on pilots, each received once."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, islice

import torch
from torch import Tensor, nn

from semcom.base import signals
from semcom.base.errors import SemcomError
from semcom.base.signals import Asked
from semcom.channel.channels import Channel
from semcom.data.batching import Batch, Encoded, by_length, shuffled
from semcom.distillation import training_loop
from semcom.distillation.aligner_settings import TuningConfig
from semcom.distillation.history import Epoch
from semcom.distillation.link_data import LinkData
from semcom.distillation.objectives import TransceiverObjective
from semcom.distillation.pilots import BATCH
from semcom.distillation.task import Step, Terms
from semcom.distillation.trainer import LinkTask
from semcom.distillation.training_loop import Loop
from semcom.distillation.training_settings import TrainingConfig
from semcom.models.architecture import Architecture
from semcom.models.layers import seed_dropout
from semcom.models.transceiver import Transceiver

HELD_OUT, MOST_HELD_OUT = 6, 200
"""One pilot of so many tells when to stop; so many at most."""
LOOK_EVERY, LOOKS_IN_VAIN = 20, 10
"""Steps between two looks at the pilots held out, and how many looks may find nothing better."""
WARM_UP = 20


@dataclass(frozen=True)
class Received:
    """Pilot sentences as they were received: through which channel, at which SNRs in dB, a range, under the
    draws ``number`` of ``seed``; and how to learn from them. compiled: by compiled kernels, on CPUs."""

    pilots: Sequence[Encoded]
    channel: Channel
    snrs: tuple[float, float]
    seed: int
    number: int
    config: TuningConfig
    compiled: bool = False

    def objective(self, link: Transceiver) -> TransceiverObjective:
        """Cross-entropy of a link at their SNRs."""
        return TransceiverObjective(link, self.channel, self.snrs, compiled=self.compiled)

    def split(self) -> tuple[list[Encoded], list[Encoded]]:
        """Those to learn from, and those held out; a single one is both."""
        order = list(self.pilots)
        random.Random(f"{self.seed} held out").shuffle(order)
        few = min(MOST_HELD_OUT, max(1, len(order) // HELD_OUT))
        return order[few:] or order, order[:few]


def linked(architecture: Architecture, transmitter: nn.Module, receiver: nn.Module) -> Transceiver:
    """These two ends, which are shared, as one module. Either may be ``Frozen``."""
    with torch.device("meta"):
        link = Transceiver(architecture)
    for end, module in (("transmitter", transmitter), ("receiver", receiver)):
        setattr(link, end, module)
    return link


class PilotTask(LinkTask):
    """What requires gradients in ``objective`` learns from pilots under their draw.

    learnt_from: all but those held out, unless others are set. again: each pass is sent anew, under a draw
    of its own. beside: terms of sentences that are no pilots, by the name of the objective's weight "texts",
    a step after the other; None where there are none.
    """

    again = False
    beside: Iterator[Terms] | None = None

    def __init__(self, objective: TransceiverObjective, received: Received):
        self.received = received
        self.learnt_from, held_out = received.split()
        config = received.config
        seed_dropout(objective, received.seed)
        super().__init__(
            objective,
            by_length(held_out, BATCH),
            TrainingConfig(batch_size=config.tuning_batch, steps=config.tuning_steps, warmup_steps=WARM_UP),
            width=objective.model.architecture.channel_dim,
            device=next(objective.parameters()).device,
            seed=received.seed,
        )

    def step_of(
        self, batch: Batch, epoch: int, signals: Sequence[Tensor] = (), *, counts: bool = True
    ) -> Step[LinkData]:
        number = self.received.number + (epoch - 1 if self.again else 0)
        return super().step_of(batch, number, signals, counts=counts)

    def terms(self, data: LinkData, epoch: int) -> Terms:
        found = super().terms(data, epoch)
        if self.beside is not None and self.objective.training:
            found["texts"] = next(self.beside)["ce"]
        return found

    @torch.no_grad()
    def measure(self, epoch: int, asked: Asked = lambda: 0) -> dict[str, float]:
        """Of the pilots held out, as they arrived the first time."""
        self.objective.eval()
        sums = [self.terms(self.step_of(batch, 1).data, epoch)["ce"] for batch in self.held_out]
        self.objective.train()
        return {"ce": sum(float(value) for value, _ in sums) / sum(int(rows) for _, rows in sums)}

    def steps(self) -> Iterator[Step[LinkData]]:
        """As many as the run has, of pass after pass."""
        passes = (
            self.step_at(self.learnt_from, places, epoch)
            for epoch in count(1)
            for places in shuffled(self.learnt_from, self.config.batch_size, self.seed, epoch).places
        )
        return islice(passes, self.config.steps)


def train(task: PilotTask, lr: float, steps: int, *, keep: str = "best") -> float:
    """Leave the task's weights as they were best on the pilots held out, or the last; returns the loss that
    they had there, per row. lr: the peak learning rate. keep: "best" or "last"."""
    best, least = _copied(task.trained), task.measure(0)["ce"]

    def look(epoch: Epoch, is_best: bool) -> None:
        nonlocal best, least
        if keep == "last" or epoch.validation < least:
            best, least = _copied(task.trained), epoch.validation

    task.config = replace(task.config, lr=lr, steps=steps)
    loop = Loop(task, task.config, total=steps)
    loop.patience = LOOKS_IN_VAIN if keep == "best" else 0
    result = training_loop.run(loop, _looks(task.steps()), on_epoch=look, quiet=True)
    if result.signal:
        raise signals.Interrupt(result.signal)
    if result.failed:
        raise SemcomError(f"tuning on pilots: {result.failed}; give a smaller --tuning-lr")
    with torch.no_grad():
        for weights, kept in zip(task.trained, best):
            weights.copy_(kept)
    return least


def _copied(weights: Sequence[Tensor]) -> list[Tensor]:
    return [each.detach().clone() for each in weights]


def _looks(steps: Iterator[Step[LinkData]]) -> Iterator[Iterator[Step[LinkData]]]:
    """The same, from look to look."""
    while (first := next(steps, None)) is not None:
        yield chain([first], islice(steps, LOOK_EVERY - 1))
