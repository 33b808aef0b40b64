"""All that is measured of one transmitter's signals and of the channels that have a theory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from semcom.channel.channels import CHANNELS, Channel, Rayleigh
from semcom.channel.settings import ChannelConfig
from semcom.channel.tdl import TDL
from semcom.evaluation import gain_checks, link_checks, sionna_check
from semcom.evaluation.link_checks import Check, Gains, Sent, Transmitted

MEASURED_AT = 12.0
"""dB at which offsets are measured; they are the same at any."""


@dataclass(frozen=True)
class LinkReport:
    """All that was measured. channels: by name. sionna: its checks by name, or the reason why there are
    none. symbols: complex ones, at real tokens. changing: of gains that change within a sentence, and of
    estimated ones."""

    channels: dict[str, Channel]
    transmitted: Transmitted
    snr: dict[tuple[str, float], Check]
    fading: dict[str, Gains]
    offsets: dict[str, Check]
    sionna: dict[str, Check] | str
    symbols: int
    changing: dict[str, Check]

    @property
    def checks(self) -> list[Check]:
        """Every check; Sionna's own under its name."""
        gains = [c for g in self.fading.values() for c in (g.power, g.distance)]
        ours = [*self.transmitted.checks, *self.snr.values(), *gains, *self.changing.values()]
        ours += self.offsets.values()
        if isinstance(self.sionna, str):
            return ours
        return ours + [replace(c, name=f"Sionna {c.name}") for c in self.sionna.values()]

    @property
    def threshold(self) -> float:
        return link_checks.threshold(self.checks)

    @property
    def tolerance(self) -> float:
        """How many dB a right link may be off."""
        return link_checks.snr_tolerance(self.symbols, self.threshold)

    def label(self, channel: str) -> str:
        return self.channels[channel].label

    def verdict(self, *checks: Check) -> str:
        return "OFF" if any(not c.p >= self.threshold for c in checks) else "ok"


def with_theory(settings: ChannelConfig) -> list[Channel]:
    """Every channel that has one, whichever ``settings`` names. Raises SemcomError for settings that theory
    does not reach."""
    everyone = [channel.of(settings) for channel in CHANNELS.values()]
    return [channel for channel in everyone if channel.theory is not None]


def measure(
    sent: Sequence[Sent], channels: Sequence[Channel], snrs: Sequence[float], draws: int, seed: int
) -> LinkReport:
    """Every figure of these signals and channels, at each of the SNRs in dB; of gains, ``draws``
    sentences."""
    snrs = tuple(dict.fromkeys(snrs))
    reason = sionna_check.available()
    return LinkReport(
        {channel.name: channel for channel in channels},
        link_checks.transmitted(sent),
        link_checks.realised_snr(sent, snrs, channels, seed),
        link_checks.fading(channels, draws, seed),
        link_checks.public_offsets(sent, draws, channels, MEASURED_AT, seed),
        reason or _by_sionna(sent, channels, snrs, draws, seed),
        sum(s.symbols for s in sent),
        gain_checks.measure(channels, draws, seed),
    )


def _by_sionna(
    sent: Sequence[Sent], channels: Sequence[Channel], snrs: Sequence[float], draws: int, seed: int
) -> dict[str, Check]:
    found = sionna_check.measure(sent, snrs, draws, seed)
    if not sionna_check.has_delay_lines():
        return found
    lines = [channel for channel in channels if isinstance(channel, TDL)]
    found |= sionna_check.delay_lines(lines, draws, seed)
    for channel in channels:
        if isinstance(channel, Rayleigh):
            found |= sionna_check.moving(channel, draws, seed)
    return found
