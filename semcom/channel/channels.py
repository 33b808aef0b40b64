"""The physical channels, a class each: ``draw`` draws what is random, ``apply`` maps a signal through it.

Real channel dimensions 2k and 2k+1 of a token are the real and imaginary part of its k-th complex symbol. The
signal has mean power 1 per complex symbol; the SNR in dB is per complex symbol, before equalisation, so the
noise power is N0 = 10^(-SNR/10) per complex symbol and N0/2 per real dimension.

Letters: B sentences, S source tokens, C real channel dimensions a token.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from semcom.channel.deepsc_link import PublicAWGN, PublicLink
from semcom.channel.draws import Draw
from semcom.channel.fading import Fading, Rayleigh, Rician
from semcom.channel.gains import Theory
from semcom.channel.model import Channel, noise_power
from semcom.channel.observation import Observation
from semcom.channel.settings import ChannelConfig
from semcom.channel.tdl import TDLA, TDLC, TDLD

__all__ = [
    "AWGN",
    "CHANNELS",
    "Channel",
    "Fading",
    "Ideal",
    "Rayleigh",
    "Rician",
    "make_channel",
    "noise_power",
]


@dataclass(frozen=True)
class Ideal(Channel):
    """y = x."""

    name = "ideal"

    def apply(self, signal: Tensor, draw: Draw, snr_db: Tensor | float) -> Tensor:
        return signal

    def observe(self, signal: Tensor, draw: Draw, snr_db: Tensor | float) -> Observation:
        return super().observe(signal, draw, float("inf"))


@dataclass(frozen=True)
class AWGN(Channel):
    """y = x + n."""

    name = "awgn"

    def apply(self, signal: Tensor, draw: Draw, snr_db: Tensor | float) -> Tensor:
        return signal + draw.noise.to(signal.dtype) * (noise_power(signal, snr_db) / 2).sqrt()

    @property
    def theory(self) -> Theory:
        return Theory(lambda draw: torch.ones_like(draw.level[:, None, None]))

    @property
    def public_link(self) -> PublicLink:
        return PublicAWGN()


CHANNELS: dict[str, type[Channel]] = {
    "ideal": Ideal,
    "awgn": AWGN,
    "rayleigh": Rayleigh,
    "rician": Rician,
    "tdl-a": TDLA,
    "tdl-c": TDLC,
    "tdl-d": TDLD,
}
"""Name, as ``--channel`` has it -> class. A new one comes last: the doctor numbers draws in this order."""


def make_channel(settings: ChannelConfig) -> Channel:
    return CHANNELS[settings.channel].of(settings)
