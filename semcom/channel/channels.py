"""The physical channel: ``sample`` draws what is random, ``apply`` maps a signal through it. Nothing else is
random.

Real channel dimensions 2k and 2k+1 of a token are the real and imaginary part of its k-th complex symbol. The
signal has mean power 1 per complex symbol; the SNR in dB is per complex symbol, before equalisation, so the
noise power is N0 = 10^(-SNR/10) per complex symbol and N0/2 per real dimension.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Channel:
    """A deterministic channel model; all randomness is in the ``Draw``.

    kind: ideal, awgn, rayleigh or rician. rician_k: ratio of line-of-sight to scattered power, linear.
    equalizer: zf or mmse.
    """

    kind: str = "awgn"
    rician_k: float = 1.0
    equalizer: str = "zf"

    def __str__(self) -> str:
        fades = self.kind in ("rayleigh", "rician")
        k = f" K={self.rician_k:g}" if self.kind == "rician" else ""
        return self.kind + k + (f" {self.equalizer}" if fades else "")


@dataclass(frozen=True)
class Draw:
    """What B sentences meet, in units that no SNR or channel kind changes.

    level: [B], uniform in [0, 1), the place of a sentence's SNR in the training range.
    scatter: [B, 2], real and imaginary part of CN(0, 1).
    noise: [B, S, C], unit variance per real dimension, zero at padded positions.
    """

    level: Tensor
    scatter: Tensor
    noise: Tensor

    def snr_between(self, low: float, high: float) -> Tensor:
        """[B] SNRs in dB, uniform in dB between ``low`` and ``high``."""
        return low + (high - low) * self.level

    def to(self, device: torch.device | str) -> "Draw":
        return Draw(self.level.to(device), self.scatter.to(device), self.noise.to(device))


def _seed_of(seed: int, sentence_id: int, number: int) -> int:
    digest = hashlib.blake2b(struct.pack("<qQq", seed, sentence_id, number), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def sample(
    sentence_ids: Sequence[int], lengths: Sequence[int], width: int, *, seed: int, number: int
) -> Draw:
    """The draw of each sentence, from a CPU generator seeded by (seed, sentence id, draw number).

    sentence_ids: B ids below 2^64. lengths: B token counts. width: C. The batch a sentence is in, its place
    there and the padding beside it change nothing.
    """
    generator = torch.Generator()
    level = torch.empty(len(lengths))
    scatter = torch.empty(len(lengths), 2)
    noise = torch.zeros(len(lengths), max(lengths), width)
    for row, (sentence_id, length) in enumerate(zip(sentence_ids, lengths)):
        generator.manual_seed(_seed_of(seed, sentence_id, number))
        level[row].uniform_(generator=generator)
        scatter[row].normal_(std=0.5**0.5, generator=generator)
        noise[row, :length].normal_(generator=generator)
    return Draw(level, scatter, noise)


def fading(channel: Channel, scatter: Tensor) -> Tensor:
    """[B, 2] gains h with E|h|^2 = 1, made of CN(0, 1) ``scatter``: Rayleigh h = s, Rician h = sqrt(K/(K+1))
    + s/sqrt(K+1)."""
    if channel.kind == "rayleigh":
        return scatter
    line_of_sight = scatter.new_tensor([channel.rician_k**0.5, 0.0])
    return (line_of_sight + scatter) / (channel.rician_k + 1) ** 0.5


def _multiply(a: Tensor, b: Tensor) -> Tensor:
    """Complex product of [..., 2] pairs."""
    return torch.stack(
        (a[..., 0] * b[..., 0] - a[..., 1] * b[..., 1], a[..., 0] * b[..., 1] + a[..., 1] * b[..., 0]), dim=-1
    )


def apply(channel: Channel, signal: Tensor, draw: Draw, snr_db: Tensor | float) -> Tensor:
    """What the receiver has after its equaliser: y = hx + n, h one gain a sentence (block fading), known to
    the receiver.

    signal: [B, S, C], power 1 per complex symbol. snr_db: a number or [B]. Returns [B, S, C]; padded
    positions stay zero. ``zf`` returns h*y/|h|^2, ``mmse`` h*y/(|h|^2 + N0).
    """
    if channel.kind == "ideal":
        return signal
    snr_db = torch.as_tensor(snr_db, dtype=signal.dtype, device=signal.device).expand(signal.shape[0])
    noise_power = (10 ** (-snr_db / 10))[:, None, None]
    noise = draw.noise.to(signal.dtype) * (noise_power / 2).sqrt()
    if channel.kind == "awgn":
        return signal + noise
    h = fading(channel, draw.scatter.to(signal.dtype))[:, None, None, :]
    conjugate = h * h.new_tensor([1.0, -1.0])
    pairs = signal.unflatten(-1, (-1, 2))
    received = _multiply(pairs, h) + noise.unflatten(-1, (-1, 2))
    gain = h.square().sum(-1, keepdim=True)
    if channel.equalizer == "mmse":
        gain = gain + noise_power[..., None]
    return (_multiply(received, conjugate) / gain).flatten(-2)
