"""What a step of a link works on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from semcom.base.device import copied
from semcom.channel.draws import Draw
from semcom.data.batching import Batch
from semcom.distillation.task import Step


@dataclass(frozen=True)
class LinkData:
    """A batch, what it meets in the channel, and what is known of it already: ``signals``, [B, S, C] of each
    frozen transmitter whose signals are kept, or none. arrival: of what is still on its way to a GPU."""

    batch: Batch
    draw: Draw
    signals: Sequence[Tensor] = ()
    arrival: torch.cuda.Event | None = None

    def to(self, device: torch.device) -> "LinkData":
        if self.arrival is not None:
            return self._arrived(self.arrival, torch.cuda.current_stream(device))
        signals = [copied(signal, device) for signal in self.signals]
        return LinkData(self.batch.to(device), self.draw.to(device), signals)

    def sent(self, stream: torch.cuda.Stream) -> "LinkData":
        """On the way to the stream's GPU, beside what that computes."""
        with torch.cuda.stream(stream):
            return replace(self.to(stream.device), arrival=stream.record_event())

    def _arrived(self, arrival: torch.cuda.Event, stream: torch.cuda.Stream) -> "LinkData":
        """What is queued in ``stream`` from here on finds them there."""
        stream.wait_event(arrival)
        b, d = self.batch, self.draw
        of_batch = (b.source, b.source_mask, b.target_in, b.target_out, b.target_mask)
        for tensor in (*of_batch, d.level, d.scatter, d.noise, *d.own.values(), *self.signals):
            # Their memory is not to be used again before this stream is through with it.
            tensor.record_stream(stream)
        return replace(self, arrival=None)


def sent_ahead(steps: Iterable[Step[LinkData]], device: torch.device) -> Iterable[Step[LinkData]]:
    """The same steps, their data on the way to ``device`` if that is a GPU."""
    if device.type != "cuda":
        return steps
    stream = torch.cuda.Stream(device)
    return (replace(step, data=step.data.sent(stream)) for step in steps)
