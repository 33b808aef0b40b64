"""Tapped delay lines of 3GPP TR 38.901, Table 7.7.2, as the subcarriers of one OFDM symbol meet them.

Letters: B sentences, N subcarriers, one a complex symbol, L taps.
"""

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources

import torch
from torch import Tensor

from semcom.channel import doppler
from semcom.channel.draws import Draw
from semcom.channel.fading import Fading, unit_scatter
from semcom.channel.gains import RicianPower, Theory
from semcom.channel.settings import PILOT_SPACING, ChannelConfig


@dataclass(frozen=True)
class Profile:
    """Powers over delays. delays: of L taps that scatter, over the RMS delay spread. powers: theirs, linear.
    line_of_sight: power of the path of delay 0 that does not fade. All powers sum to 1."""

    delays: tuple[float, ...]
    powers: tuple[float, ...]
    line_of_sight: float = 0.0

    @property
    def k(self) -> float:
        """Line-of-sight over scattered power of all taps, linear: the K of a single subcarrier."""
        return self.line_of_sight / sum(self.powers)

    @property
    def spread(self) -> float:
        """RMS delay spread as the table has it, line of sight counted; 1 but for its rounding."""
        moments = [sum(p * d**n for p, d in zip(self.powers, self.delays)) for n in (1, 2)]
        return math.sqrt(moments[1] - moments[0] ** 2)

    def beyond(self, delay: float) -> float:
        """Share of the power at delays above ``delay``, in RMS delay spreads."""
        return sum(p for p, d in zip(self.powers, self.delays) if d > delay)


@cache
def profile(name: str) -> Profile:
    """name: such as "tdl-a"."""
    table = json.loads(resources.files("semcom.channel").joinpath("tdl_taps.json").read_text())[name]
    powers = [10 ** (db / 10) for db in table["powers"]]
    direct = 10 ** (table["line_of_sight"] / 10) if "line_of_sight" in table else 0.0
    total = sum(powers) + direct
    return Profile(tuple(table["delays"]), tuple(p / total for p in powers), direct / total)


def _turns(taps: Profile, symbols: int, step: float, device: torch.device) -> Tensor:
    """[N, L] exp(-2 pi i f tau) at the frequencies 0, ``step``, …; step: spacing times RMS delay spread."""
    frequency = torch.arange(symbols, dtype=torch.float64, device=device) * step
    delays = torch.tensor(taps.delays, dtype=torch.float64, device=device)
    phase = -2 * math.pi * frequency[:, None] * delays
    return torch.polar(torch.ones_like(phase), phase)


def response(scatter: Tensor, taps: Profile, symbols: int, step: float) -> Tensor:
    """[B, N] complex128 gains of N subcarriers, E|h|^2 = 1, of CN(0, 1) ``scatter`` [B, L, 2]."""
    powers = torch.tensor(taps.powers, dtype=torch.float64, device=scatter.device)
    paths = torch.view_as_complex(scatter.double().contiguous()) * powers.sqrt()
    return paths @ _turns(taps, symbols, step, scatter.device).T + math.sqrt(taps.line_of_sight)


def correlation(taps: Profile, symbols: int, step: float) -> Tensor:
    """[N] E[g_(i+d) conj(g_i)] of the scattered part g of the gains, for d = 0 to N-1, complex128."""
    powers = torch.tensor(taps.powers, dtype=torch.complex128)
    return _turns(taps, symbols, step, powers.device) @ powers


@dataclass(frozen=True)
class TDL(Fading):
    """A sentence is one OFDM symbol, each complex symbol a subcarrier, which meets the delay line's frequency
    response. Over a band narrow beside 1/(5 delay_spread) that is block fading.

    delay_spread: RMS, ns. subcarrier_spacing: kHz.
    """

    in_label = ("delay_spread", "subcarrier_spacing")
    delay_spread: float = ChannelConfig.delay_spread
    subcarrier_spacing: float = ChannelConfig.subcarrier_spacing

    @property
    def profile(self) -> Profile:
        return profile(self.name)

    @property
    def step(self) -> float:
        """Subcarrier spacing times RMS delay spread."""
        return self.delay_spread * self.subcarrier_spacing * 1e-6

    def drawn(self, generator: torch.Generator, length: int, width: int) -> dict[str, Tensor]:
        taps = unit_scatter(generator, len(self.profile.delays))
        return {"taps": taps.expand(length, *taps.shape)}

    def gain(self, draw: Draw, dtype: torch.dtype) -> Tensor:
        tokens, each = draw.noise.shape[1], draw.noise.shape[2] // 2
        gains = response(draw.own["taps"][:, 0], self.profile, tokens * each, self.step)
        return torch.view_as_real(gains).to(dtype).unflatten(1, (tokens, each))

    @property
    def mean(self) -> float:
        return math.sqrt(self.profile.line_of_sight)

    def lags(self, symbols: int) -> Tensor:
        return correlation(self.profile, symbols, self.step)

    @property
    def spacing(self) -> int:
        return self.pilot_spacing or PILOT_SPACING

    def uses(self, symbols: int) -> float:
        return super().uses(symbols) * (1 + doppler.PREFIX)

    @property
    def label(self) -> str:
        return f"{self.name} {self.delay_spread:g} ns"

    @property
    def theory(self) -> Theory | None:
        return Theory(self.power, RicianPower(self.profile.k)) if self.csi == "perfect" else None


@dataclass(frozen=True)
class TDLA(TDL):
    """Rayleigh, of a delay spread as in a street or hall without line of sight."""

    name = "tdl-a"


@dataclass(frozen=True)
class TDLC(TDL):
    """Rayleigh, of the longest echoes."""

    name = "tdl-c"


@dataclass(frozen=True)
class TDLD(TDL):
    """With a line of sight of 13.3 dB over the scatter of its own tap."""

    name = "tdl-d"
