"""Channels that fade: gains, and what a receiver knows of them.

Letters: B sentences, S source tokens, C real channel dimensions a token, N complex symbols of a sentence.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from semcom.base.errors import SemcomError
from semcom.channel import doppler, gains
from semcom.channel.csi import (
    PILOT_NOISE,
    SENT,
    Estimate,
    Prior,
    at_every_place,
    between_places,
    heard_of,
)
from semcom.channel.deepsc_link import PublicLink, PublicRayleigh, PublicRician
from semcom.channel.draws import Draw
from semcom.channel.gains import RicianPower, Theory
from semcom.channel.model import Channel, noise_power
from semcom.channel.observation import Observation, equalised, equalised_pairs, multiply
from semcom.channel.settings import (
    ESTIMATORS,
    JAKES_SPEED,
    OF_PILOTS,
    PILOT_SPACING,
    ChannelConfig,
)

GREATEST_K = 1000.0
"""Beyond it the noncentral chi-square of many draws has no series that converges."""
OF_SPEED = ("speed", "carrier", "subcarrier_spacing")


def unit_scatter(generator: torch.Generator, *shape: int) -> Tensor:
    """[..., 2] real and imaginary part of independent CN(0, 1)."""
    return torch.randn(*shape, 2, generator=generator) * 0.5**0.5


@dataclass(frozen=True)
class Fading(Channel):
    """y = hx + n, h a gain with E|h|^2 = 1, of which the receiver has an estimate g.

    equalizer: zf returns conj(g)*y/|g|^2, mmse conj(g)*y/(|g|^2 + e + N0), e the variance of g - h. csi:
    perfect has g = h, none takes what arrives as it is, pilots has g of unit pilots, ``csi_pilots``
    at each pilot place, by ``csi_estimator``. pilot_spacing: symbols from one place to the next, where gains
    change within a sentence.
    """

    equalizer: str = ChannelConfig.equalizer
    csi: str = ChannelConfig.csi
    csi_pilots: int | None = None
    csi_estimator: str | None = None
    pilot_spacing: int | None = None

    @abstractmethod
    def gain(self, draw: Draw, dtype: torch.dtype) -> Tensor:
        """Gains h as pairs: [B, 2], one a sentence (block fading), made of the draw's CN(0, 1) ``scatter``
        [B, 2]; or [B, S, C/2, 2], one a symbol, made of what ``drawn`` has drawn."""

    def drawn(self, generator: torch.Generator, length: int, width: int) -> dict[str, Tensor]:
        """As ``draw``, for gains that change within a sentence."""
        return {}

    @property
    def mean(self) -> float:
        """E h, which is real."""
        return 0.0

    def lags(self, symbols: int) -> Tensor:
        """[N] E[g_(i+d) conj(g_i)] of g = h - E h for d = 0 to N-1, in float64 or complex128."""
        return torch.full((symbols,), 1 - self.mean**2, dtype=torch.float64)

    @property
    def spacing(self) -> int:
        """Symbols from one pilot place to the next; 0: a sentence has one place."""
        return 0

    @property
    def pilots_a_place(self) -> int:
        return self.csi_pilots or 1

    def pilots(self, symbols: int) -> int:
        if self.csi != "pilots":
            return 0
        places = -(-symbols // self.spacing) if self.spacing else 1
        return places * self.pilots_a_place

    def draw(self, generator: torch.Generator, length: int, width: int) -> Mapping[str, Tensor]:
        own = self.drawn(generator, length, width)
        if self.spacing:
            own[SENT] = torch.ones(length, dtype=torch.bool)
        if self.csi == "pilots":
            noise = (
                unit_scatter(generator, length, width // 2) if self.spacing else unit_scatter(generator, 1)
            )
            own[PILOT_NOISE] = noise if self.spacing else noise.expand(length, 2)
        return own

    def apply(self, signal: Tensor, draw: Draw, snr_db: Tensor | float) -> Tensor:
        if self.csi == "pilots":
            return equalised(self.observe(signal, draw, snr_db), self.equalizer).to(signal.dtype)
        y, h, n0 = self._received(signal, draw, snr_db)
        if self.csi == "none":
            return y.flatten(-2)
        return equalised_pairs(y, h, n0 if self.equalizer == "mmse" else None)

    def observe(self, signal: Tensor, draw: Draw, snr_db: Tensor | float) -> Observation:
        wide = signal.to(torch.promote_types(signal.dtype, torch.float32))
        pairs, h, n0 = self._received(wide, draw, snr_db)
        y = torch.view_as_complex(pairs)
        known = self._known(torch.view_as_complex(h.contiguous()), draw, n0)
        return Observation(y, known.gain.expand(y.shape), known.error, n0)

    def _received(self, signal: Tensor, draw: Draw, snr_db: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
        """y as pairs [B, S, C/2, 2], h as pairs [B, 1, 1, 2] or [B, S, C/2, 2], N0 [B, 1, 1]."""
        n0 = noise_power(signal, snr_db)
        noise = draw.noise.to(signal.dtype) * (n0 / 2).sqrt()
        h = self._gains(draw, signal.dtype)
        return multiply(signal.unflatten(-1, (-1, 2)), h) + noise.unflatten(-1, (-1, 2)), h, n0

    def _gains(self, draw: Draw, dtype: torch.dtype) -> Tensor:
        """Pairs [B, 1, 1, 2] or [B, S, C/2, 2]; 1 at padded positions, which zero forcing divides by."""
        h = self.gain(draw, dtype)
        if h.dim() == 2:
            return h[:, None, None, :]
        return torch.where(draw.own[SENT][..., None, None], h, h.new_tensor((1.0, 0.0)))

    def _known(self, h: Tensor, draw: Draw, n0: Tensor) -> Estimate:
        if self.csi == "perfect":
            return Estimate(h, torch.zeros_like(n0))
        if self.csi == "none":
            return Estimate(torch.ones_like(h), torch.full_like(n0, 2 - 2 * self.mean))
        noise = n0 / self.pilots_a_place
        heard = heard_of(h, draw, noise)
        prior = Prior(self.mean, self.lags(h[0].numel()))
        estimator = self.csi_estimator or ESTIMATORS[0]
        if self.spacing == 0 or self.alone:
            return at_every_place(heard, noise, prior, estimator)
        return between_places(heard, draw.own[SENT], noise, prior, self.spacing, estimator)

    @property
    def alone(self) -> bool:
        """Whether the gain of a symbol says nothing of those beside it."""
        return False

    def power(self, draw: Draw) -> Tensor:
        """|h|^2 in float64: [B, 1, 1] or [B, S, C/2]."""
        return self._gains(draw, torch.float64).square().sum(-1)

    @property
    def _without_meaning(self) -> set[str]:
        """Settings that make nothing of this channel other than it is."""
        if self.csi != "pilots":
            return {*OF_PILOTS, *(("csi",) if self.csi == "perfect" else ())}
        return set() if self.spacing else {"pilot_spacing"}

    def _told(self, name: str) -> object:
        """A setting as it acts, where nobody has given it."""
        acts = {
            "csi_pilots": self.pilots_a_place,
            "csi_estimator": self.csi_estimator or ESTIMATORS[0],
            "pilot_spacing": self.spacing,
        }
        return acts.get(name, getattr(self, name))

    @property
    def key(self) -> dict[str, object]:
        without = self._without_meaning
        acts = {f.name: self._told(f.name) for f in fields(self) if f.name not in without}
        return {"kind": self.name, "rician_k": 1.0, "equalizer": "zf", **acts}

    def __str__(self) -> str:
        left_out = {*self.in_label, *OF_PILOTS, "csi"}
        others = [str(getattr(self, f.name)) for f in fields(self) if f.name not in left_out]
        return " ".join([self.label, *others, *self._csi_told()])

    def _csi_told(self) -> list[str]:
        if self.csi != "pilots":
            return [] if self.csi == "perfect" else ["without CSI"]
        every = f" every {self.spacing}" if self.spacing else ""
        count = self.pilots_a_place
        pilots = "1 pilot" if count == 1 else f"{count} pilots"
        return [f"{self._told('csi_estimator')} of {pilots}{every}"]


@dataclass(frozen=True)
class Scattered(Fading):
    """h made of CN(0, 1) scatter: one of a sentence, one a symbol, or moving with the speed.

    fading: block, symbol or jakes. speed: km/h. carrier: GHz. subcarrier_spacing: kHz; a symbol of
    jakes is an OFDM symbol on one subcarrier.
    """

    in_label: ClassVar[tuple[str, ...]] = ("fading", *OF_SPEED)
    fading: str = ChannelConfig.fading
    speed: float | None = None
    carrier: float = ChannelConfig.carrier
    subcarrier_spacing: float = ChannelConfig.subcarrier_spacing

    @abstractmethod
    def made_of(self, scatter: Tensor) -> Tensor:
        """[..., 2] gains with E|h|^2 = 1 of CN(0, 1) ``scatter`` [..., 2]."""

    def gain(self, draw: Draw, dtype: torch.dtype) -> Tensor:
        if self.fading == "block":
            return self.made_of(draw.scatter.to(dtype))
        scatter = draw.own["scatter"]
        if self.fading == "jakes":
            moved = doppler.moving(scatter.flatten(1, 2), self.shift)
            scatter = moved.unflatten(1, scatter.shape[1:3])
        return self.made_of(scatter.to(dtype))

    def drawn(self, generator: torch.Generator, length: int, width: int) -> dict[str, Tensor]:
        if self.fading == "block":
            return {}
        return {"scatter": unit_scatter(generator, length, width // 2)}

    @property
    def shift(self) -> float:
        """f_D T, the greatest Doppler shift times the time of a symbol."""
        speed = JAKES_SPEED if self.speed is None else self.speed
        return doppler.shift(speed, self.carrier, self.subcarrier_spacing)

    def lags(self, symbols: int) -> Tensor:
        variance = 1 - self.mean**2
        if self.fading == "jakes":
            return variance * doppler.jakes(symbols, self.shift)
        if self.fading == "symbol":
            return variance * torch.eye(1, symbols, dtype=torch.float64)[0]
        return super().lags(symbols)

    @property
    def spacing(self) -> int:
        return {"block": 0, "symbol": 1, "jakes": self.pilot_spacing or PILOT_SPACING}[self.fading]

    @property
    def alone(self) -> bool:
        return self.fading == "symbol"

    @property
    def _without_meaning(self) -> set[str]:
        without = super()._without_meaning
        if self.fading != "jakes":
            without |= {*OF_SPEED, *(("fading",) if self.fading == "block" else ())}
        return without

    def _told(self, name: str) -> object:
        return JAKES_SPEED if name == "speed" and self.speed is None else super()._told(name)

    @property
    def label(self) -> str:
        if self.fading == "jakes":
            return f"{self.name} jakes {self._told('speed'):g} km/h"
        return self.name if self.fading == "block" else f"{self.name} {self.fading}"

    @property
    def of_public_code(self) -> bool:
        return self.fading == "block" and self.csi == "perfect"


@dataclass(frozen=True)
class Rayleigh(Scattered):
    """h = s, s ~ CN(0, 1)."""

    name = "rayleigh"

    def made_of(self, scatter: Tensor) -> Tensor:
        return scatter

    @property
    def theory(self) -> Theory | None:
        return Theory(self.power, RicianPower(0.0, "1-e^-x")) if self.csi == "perfect" else None

    @property
    def public_link(self) -> PublicLink | None:
        return PublicRayleigh() if self.of_public_code else None


@dataclass(frozen=True)
class Rician(Scattered):
    """h = sqrt(K/(K+1)) + s/sqrt(K+1), s ~ CN(0, 1); the line of sight has no Doppler shift.

    rician_k: ratio of line-of-sight to scattered power, linear.
    """

    name = "rician"
    in_label = ("rician_k", *Scattered.in_label)
    rician_k: float = ChannelConfig.rician_k

    def made_of(self, scatter: Tensor) -> Tensor:
        return gains.rician(scatter, self.rician_k)

    @property
    def mean(self) -> float:
        return (self.rician_k / (self.rician_k + 1)) ** 0.5

    @property
    def label(self) -> str:
        name, *others = super().label.split(maxsplit=1)
        return " ".join([name, f"K={self.rician_k:g}", *others])

    @property
    def theory(self) -> Theory | None:
        """Raises SemcomError for a K beyond ``GREATEST_K``."""
        if self.rician_k > GREATEST_K:
            raise SemcomError(
                f"--rician-k {self.rician_k:g}: doctor compares with theory up to {GREATEST_K:g}; "
                "for example --rician-k 10"
            )
        return Theory(self.power, RicianPower(self.rician_k)) if self.csi == "perfect" else None

    @property
    def public_link(self) -> PublicLink | None:
        return PublicRician(self.rician_k) if self.of_public_code else None
