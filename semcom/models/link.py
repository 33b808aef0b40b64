"""A batch on its way from a transmitter to a receiver's input."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from semcom.channel.channels import Channel
from semcom.channel.combining import combined
from semcom.data.batching import Batch


@dataclass(frozen=True)
class Transmission:
    """One transmission of a batch, and what arrives of it.

    signal: [B, S, C]. state: [B, S, D], the transmitter's. received: number of the draw -> [B, S, C] for each
    SNR.
    """

    signal: Tensor
    state: Tensor
    received: dict[int, list[Tensor]]


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
    received = {}
    for number in numbers:
        draw = batch.draw(channel, signal.shape[-1], seed=seed, number=number)
        at = [draw.snr_between(*snr) if isinstance(snr, tuple) else snr for snr in snrs]
        received[number] = [channel.apply(signal, draw, snr) for snr in at]
    return Transmission(signal, state, received)


# Seven arguments: as of ``send``.
def send_again(
    transmitter: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    batch: Batch,
    channel: Channel,
    snrs: Sequence[float],
    *,
    seed: int,
    numbers: Iterable[int],
) -> list[Tensor]:
    """Transmit the same signal of a batch under each of the draws ``numbers`` of ``seed``; what arrives of
    all of them, combined by maximum ratio, [B, S, C] for each SNR."""
    signal, _ = transmitter(batch.source, batch.source_mask)
    draws = [batch.draw(channel, signal.shape[-1], seed=seed, number=number) for number in numbers]
    return [
        combined(channel, [channel.observe(signal, draw, snr) for draw in draws]).to(signal.dtype)
        for snr in snrs
    ]
