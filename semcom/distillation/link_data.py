"""What a step of a link works on."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from semcom.base.device import copied
from semcom.channel.draws import Draw
from semcom.data.batching import Batch


@dataclass(frozen=True)
class LinkData:
    """A batch, what it meets in the channel, and what is known of it already: ``signals``, [B, S, C] of each
    frozen transmitter whose signals are kept, or none."""

    batch: Batch
    draw: Draw
    signals: Sequence[Tensor] = ()

    def to(self, device: torch.device) -> "LinkData":
        signals = [copied(signal, device) for signal in self.signals]
        return LinkData(self.batch.to(device), self.draw.to(device), signals)
