"""A batch on its way from a transmitter to a receiver's input."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from semcom.channel.channels import Channel
from semcom.channel.combining import combined
from semcom.data.batching import Batch
from semcom.models.protocols import Receiver

SNR = float | Tensor
NOISELESS = 18.0
"""The SNR in dB that is told of what arrives without noise: the end of the usual range of training."""


@dataclass(frozen=True)
class Transmission:
    """One transmission of a batch, and what arrives of it.

    signal: [B, S, C]. state: [B, S, D], the transmitter's. received: number of the draw -> [B, S, C] for each
    SNR. snrs: the SNRs in dB, each a number or [B].
    """

    signal: Tensor
    state: Tensor
    received: dict[int, list[Tensor]]
    snrs: dict[int, list[SNR]]

    def heard_by(self, receiver: Receiver, number: int = 0) -> list[Tensor]:
        """What a receiver is given under a draw, for each SNR."""
        each = zip(self.received[number], self.snrs[number])
        return [heard_by(receiver, received, snr) for received, snr in each]


def heard_by(receiver: Receiver, received: Tensor, snr_db: SNR) -> Tensor:
    """What a receiver is given of what arrives, [B, S, C]; where it is told the SNR [B, S, C+1], with that in
    dB, a number or [B], in the last column."""
    if not receiver.hears_snr:
        return received
    told = torch.as_tensor(snr_db, dtype=received.dtype, device=received.device).expand(len(received))
    return torch.cat((received, told[:, None, None].expand(-1, received.shape[1], 1)), -1)


# Seven arguments: who sends what over which channel, at which SNRs, under which draws.
def send(
    transmitter: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    batch: Batch,
    channel: Channel,
    snrs: Sequence[float | tuple[float, float]],
    *,
    seed: int,
    numbers: Iterable[int] = (0,),
) -> Transmission:
    """Transmit a batch once; let it meet each of the draws ``numbers`` of ``seed`` at each SNR.

    snrs: in dB; of a range (low, high), each sentence has the SNR there that its draw gives it.
    """
    signal, state = transmitter(batch.source, batch.source_mask)
    sent = Transmission(signal, state, {}, {})
    for number in numbers:
        draw = batch.draw(channel, signal.shape[-1], seed=seed, number=number)
        at = [draw.snr_between(*snr) if isinstance(snr, tuple) else snr for snr in snrs]
        sent.received[number] = [channel.apply(signal, draw, snr) for snr in at]
        sent.snrs[number] = at
    return sent


# Seven arguments: as of ``send``.
def send_again(
    transmitter: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    batch: Batch,
    channel: Channel,
    snrs: Sequence[float],
    *,
    seed: int,
    numbers: Sequence[int],
) -> Transmission:
    """Transmit the same signal of a batch under each of the draws ``numbers`` of ``seed``; what arrives of
    all of them, combined by maximum ratio, as if it were received once under draw 0 at that much more SNR."""
    signal, state = transmitter(batch.source, batch.source_mask)
    draws = [batch.draw(channel, signal.shape[-1], seed=seed, number=number) for number in numbers]
    received = [
        combined(channel, [channel.observe(signal, draw, snr) for draw in draws]).to(signal.dtype)
        for snr in snrs
    ]
    better = 10 * math.log10(len(numbers))
    return Transmission(signal, state, {0: received}, {0: [snr + better for snr in snrs]})
