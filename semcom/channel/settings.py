"""Settings: Which channel, and at which SNRs one trains."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from semcom.base.errors import SemcomError
from semcom.base.flags import Rule, Validated, number, setting
from semcom.base.messages import N_


def _snr_values(values: Iterable[float]) -> bool:
    return all(math.isfinite(v) and -100 <= v <= 100 for v in values)


SNR = Rule("numbers in dB from -100 to 100", _snr_values, "-6 0 6 12 18")
SNR_RANGE = Rule(
    "two numbers in dB from -100 to 100, LOW not above HIGH",
    lambda r: _snr_values(r) and r[0] <= r[1],
    "-6 18",
)


@dataclass(frozen=True)
class Kind:
    """A channel as flags and examples know it. title: its name in text. noisy: whether the SNR matters."""

    title: str
    noisy: bool = True


KINDS = {
    "ideal": Kind(N_("Ideal"), noisy=False),
    "awgn": Kind(N_("AWGN")),
    "rayleigh": Kind(N_("Rayleigh")),
    "rician": Kind(N_("Rician")),
}
"""Name -> kind, a row for each of ``channels.CHANNELS``."""


def is_noisy(name: str) -> bool:
    """Whether the SNR matters to the channel of this name."""
    return KINDS[name].noisy


def check_snr_is_told(snr_aware: bool, channel: str) -> None:
    """Raise SemcomError for a receiver that would be told the SNR of a channel without noise."""
    if snr_aware and not is_noisy(channel):
        raise SemcomError(
            f"--snr-aware: --channel {channel} has no noise whose SNR could be told; leave it out, or give "
            "a channel with noise, for example --channel awgn"
        )


@dataclass(frozen=True, kw_only=True)
class ChannelConfig(Validated):
    """The physical channel."""

    channel: str = setting("awgn", "channel model", type=str.lower, choices=KINDS)
    rician_k: float = setting(
        1.0, "Rician: line-of-sight over scattered power, linear", number(0, example="1"), metavar="K"
    )
    equalizer: str = setting(
        "zf", "fading channels: zero forcing or MMSE", type=str.lower, choices=("zf", "mmse")
    )


@dataclass(frozen=True)
class TrainingSNRConfig(Validated):
    snr_range: tuple[float, float] = setting(
        (-6.0, 18.0),
        "SNR in dB per complex symbol, uniform in dB, one a sentence",
        SNR_RANGE,
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
    )
