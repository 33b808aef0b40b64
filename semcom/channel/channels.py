"""The physical channels, a class each: ``draw`` draws what is random, ``apply`` maps a signal through it.

Real channel dimensions 2k and 2k+1 of a token are the real and imaginary part of its k-th complex symbol. The
signal has mean power 1 per complex symbol; the SNR in dB is per complex symbol, before equalisation, so the
noise power is N0 = 10^(-SNR/10) per complex symbol and N0/2 per real dimension.

Letters: B sentences, S source tokens, C real channel dimensions a token.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from semcom.base.errors import SemcomError
from semcom.channel import gains
from semcom.channel.deepsc_link import PublicAWGN, PublicLink, PublicRayleigh, PublicRician
from semcom.channel.draws import Draw
from semcom.channel.gains import RicianPower, Theory
from semcom.channel.observation import Observation, complex_symbols, equalised_pairs, multiply
from semcom.channel.settings import ChannelConfig

GREATEST_K = 1000.0
"""Beyond it the noncentral chi-square of many draws has no series that converges."""


@dataclass(frozen=True)
class Channel(ABC):
    """A deterministic channel model; all randomness is in the ``Draw``. Its fields are those settings of
    ``ChannelConfig`` that it has.

    name: that of its row in ``CHANNELS`` and in ``settings.KINDS``. in_label: fields that ``label``
    tells.
    """

    name: ClassVar[str]
    in_label: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def of(cls, settings: ChannelConfig) -> "Channel":
        return cls(**{f.name: getattr(settings, f.name) for f in fields(cls)})

    def draw(self, generator: torch.Generator, length: int, width: int) -> Mapping[str, Tensor]:
        """What a sentence of ``length`` tokens meets here beside level, scatter and noise, drawn after those
        three from ``generator`` alone: name -> [length, ...], a row a token, in units that no SNR changes.

        ``width`` is C. What belongs to the whole sentence is the same in each row.
        """
        return {}

    @abstractmethod
    def apply(self, signal: Tensor, draw: Draw, snr_db: Tensor | float) -> Tensor:
        """What the receiver has after its equaliser.

        signal: [B, S, C], power 1 per complex symbol. snr_db: a number or [B]. Returns [B, S, C]; padded
        positions stay zero.
        """

    def observe(self, signal: Tensor, draw: Draw, snr_db: Tensor | float) -> Observation:
        """What the receiver has before its equaliser; the arguments are those of ``apply``.

        Where nothing fades, that is what ``apply`` returns, of gain 1.
        """
        y = complex_symbols(self.apply(signal, draw, snr_db))
        n0 = noise_power(signal, snr_db)
        return Observation(y, torch.ones_like(y), torch.zeros_like(n0), n0)

    @property
    def label(self) -> str:
        """Its name and what it has of the gain's settings; the name first."""
        return self.name

    def __str__(self) -> str:
        """The label and all other settings."""
        others = [str(getattr(self, f.name)) for f in fields(self) if f.name not in self.in_label]
        return " ".join([self.label, *others])

    @property
    def key(self) -> dict[str, object]:
        """All that decides what it makes of a signal and a draw, as JSON gives it back."""
        # Files kept by earlier versions name K and equaliser of every channel, and stay valid.
        return {"kind": self.name, "rician_k": 1.0, "equalizer": "zf", **asdict(self)}

    @property
    def theory(self) -> Theory | None:
        """What the doctor holds it against; None: nothing."""
        return None

    @property
    def public_link(self) -> PublicLink | None:
        """Its counterpart in the public DeepSC code; None: there is none."""
        return None


@dataclass(frozen=True)
class Ideal(Channel):
    """y = x."""

    name = "ideal"

    def apply(self, signal: Tensor, draw: Draw, snr_db: Tensor | float) -> Tensor:
        return signal

    def observe(self, signal: Tensor, draw: Draw, snr_db: Tensor | float) -> Observation:
        return super().observe(signal, draw, float("inf"))


def noise_power(signal: Tensor, snr_db: Tensor | float) -> Tensor:
    """N0 per complex symbol, [B, 1, 1]."""
    snr_db = torch.as_tensor(snr_db, dtype=signal.dtype, device=signal.device).expand(signal.shape[0])
    return (10 ** (-snr_db / 10))[:, None, None]


@dataclass(frozen=True)
class AWGN(Channel):
    """y = x + n."""

    name = "awgn"

    def apply(self, signal: Tensor, draw: Draw, snr_db: Tensor | float) -> Tensor:
        return signal + draw.noise.to(signal.dtype) * (noise_power(signal, snr_db) / 2).sqrt()

    @property
    def theory(self) -> Theory:
        return Theory(lambda draw: torch.ones_like(draw.level[:, None]))

    @property
    def public_link(self) -> PublicLink:
        return PublicAWGN()


@dataclass(frozen=True)
class Fading(Channel):
    """y = hx + n, h one gain a sentence (block fading), known to the receiver.

    equalizer: zf returns h*y/|h|^2, mmse h*y/(|h|^2 + N0).
    """

    equalizer: str = ChannelConfig.equalizer

    @abstractmethod
    def gain(self, draw: Draw, dtype: torch.dtype) -> Tensor:
        """[B, 2] gains h with E|h|^2 = 1, made of the draw's CN(0, 1) ``scatter`` [B, 2], or of its own."""

    def apply(self, signal: Tensor, draw: Draw, snr_db: Tensor | float) -> Tensor:
        y, h, n0 = self._received(signal, draw, snr_db)
        return equalised_pairs(y, h, n0 if self.equalizer == "mmse" else None)

    def observe(self, signal: Tensor, draw: Draw, snr_db: Tensor | float) -> Observation:
        wide = signal.to(torch.promote_types(signal.dtype, torch.float32))
        y, h, n0 = self._received(wide, draw, snr_db)
        gain = torch.view_as_complex(h).expand(y.shape[:-1])
        return Observation(torch.view_as_complex(y), gain, torch.zeros_like(n0), n0)

    def _received(self, signal: Tensor, draw: Draw, snr_db: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
        """y as pairs [B, S, C/2, 2], h as pairs [B, 1, 1, 2], N0 [B, 1, 1]."""
        n0 = noise_power(signal, snr_db)
        noise = draw.noise.to(signal.dtype) * (n0 / 2).sqrt()
        h = self.gain(draw, signal.dtype)[:, None, None, :]
        return multiply(signal.unflatten(-1, (-1, 2)), h) + noise.unflatten(-1, (-1, 2)), h, n0

    def power(self, draw: Draw) -> Tensor:
        """[B, 1] |h|^2, in float64."""
        return self.gain(draw, torch.float64).square().sum(-1)[:, None]


@dataclass(frozen=True)
class Rayleigh(Fading):
    """h = s, s ~ CN(0, 1)."""

    name = "rayleigh"

    def gain(self, draw: Draw, dtype: torch.dtype) -> Tensor:
        return draw.scatter.to(dtype)

    @property
    def theory(self) -> Theory:
        return Theory(self.power, RicianPower(0.0, "1-e^-x"))

    @property
    def public_link(self) -> PublicLink:
        return PublicRayleigh()


@dataclass(frozen=True)
class Rician(Fading):
    """h = sqrt(K/(K+1)) + s/sqrt(K+1), s ~ CN(0, 1).

    rician_k: ratio of line-of-sight to scattered power, linear.
    """

    name = "rician"
    in_label = ("rician_k",)
    rician_k: float = ChannelConfig.rician_k

    def gain(self, draw: Draw, dtype: torch.dtype) -> Tensor:
        return gains.rician(draw.scatter.to(dtype), self.rician_k)

    @property
    def label(self) -> str:
        return f"{self.name} K={self.rician_k:g}"

    @property
    def theory(self) -> Theory:
        """Raises SemcomError for a K beyond ``GREATEST_K``."""
        if self.rician_k > GREATEST_K:
            raise SemcomError(
                f"--rician-k {self.rician_k:g}: doctor compares with theory up to {GREATEST_K:g}; "
                "for example --rician-k 10"
            )
        return Theory(self.power, RicianPower(self.rician_k))

    @property
    def public_link(self) -> PublicLink:
        return PublicRician(self.rician_k)


CHANNELS: dict[str, type[Channel]] = {
    "ideal": Ideal,
    "awgn": AWGN,
    "rayleigh": Rayleigh,
    "rician": Rician,
}
"""Name, as ``--channel`` has it -> class. A new one comes last: the doctor numbers draws in this order."""


def make_channel(settings: ChannelConfig) -> Channel:
    return CHANNELS[settings.channel].of(settings)
