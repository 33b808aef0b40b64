"""Settings: Which channel, and at which SNRs one trains."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from semcom.base.errors import SemcomError
from semcom.base.flags import Rule, Validated, flag_of, number, setting, whole
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
    """A channel as flags and examples know it. title: its name in text. noisy: whether the SNR matters.
    in_experiment: whether the experiment of channels trains through it. scattered: gains of one scatter, as
    --fading has them. delayed: of a delay line. line_of_sight: whether a path does not fade."""

    title: str
    noisy: bool = True
    in_experiment: bool = True
    scattered: bool = False
    delayed: bool = False
    line_of_sight: bool = False

    @property
    def fades(self) -> bool:
        return self.scattered or self.delayed


KINDS = {
    "ideal": Kind(N_("Ideal"), noisy=False),
    "awgn": Kind(N_("AWGN")),
    "rayleigh": Kind(N_("Rayleigh"), scattered=True),
    "rician": Kind(N_("Rician"), scattered=True, line_of_sight=True),
    "tdl-a": Kind("TDL-A", in_experiment=False, delayed=True),
    "tdl-c": Kind("TDL-C", in_experiment=False, delayed=True),
    "tdl-d": Kind("TDL-D", in_experiment=False, delayed=True, line_of_sight=True),
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


FADINGS = ("block", "symbol", "jakes")
KNOWLEDGE = ("perfect", "pilots", "none")
ESTIMATORS = ("ls", "lmmse")
"""The first where none is given."""
JAKES_SPEED = 30.0
"""km/h where none is given."""
OF_PILOTS = ("csi_pilots", "csi_estimator", "pilot_spacing")
PILOT_SPACING = 8
"""Symbols from pilot to pilot where none is given."""


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
    fading: str = setting(
        "block",
        "Rayleigh, Rician: one gain a sentence, one a symbol, or one that moves with --speed",
        type=str.lower,
        choices=FADINGS,
    )
    speed: float | None = setting(
        None,
        "jakes: speed in km/h",
        number(0, 10_000, example="30"),
        absent=f"{JAKES_SPEED:g}",
        type=float,
        metavar="KM/H",
    )
    carrier: float = setting(
        3.5, "jakes: carrier in GHz", number(0, 1000, above=True, example="3.5"), metavar="GHZ"
    )
    subcarrier_spacing: float = setting(
        30.0,
        "TDL: between complex symbols, in kHz; jakes: a symbol is an OFDM symbol of it, with its prefix",
        number(0, 10_000, above=True, example="30"),
        metavar="KHZ",
    )
    delay_spread: float = setting(
        300.0, "TDL: RMS delay spread in ns", number(0, 100_000, example="300"), metavar="NS"
    )
    csi: str = setting(
        "perfect",
        "fading channels: gains known, estimated from pilots, or nothing known and nothing equalised",
        type=str.lower,
        choices=KNOWLEDGE,
    )
    csi_pilots: int | None = setting(
        None,
        "--csi pilots: pilots of unit power at each pilot place",
        whole(1, 1_000_000, example="4"),
        absent="1",
        type=int,
        metavar="P",
    )
    csi_estimator: str | None = setting(
        None,
        "--csi pilots: least squares, or LMMSE, which knows the gains' statistics",
        absent=ESTIMATORS[0],
        type=str.lower,
        choices=ESTIMATORS,
    )
    pilot_spacing: int | None = setting(
        None,
        "--csi pilots: symbols from pilot to pilot, where gains change within a sentence",
        whole(1, 1_000_000, example="8"),
        absent=f"{PILOT_SPACING}; 1 of --fading symbol",
        type=int,
        metavar="SYMBOLS",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_speed()
        self._check_pilots()

    def _check_speed(self) -> None:
        if self.speed is not None and self.fading != "jakes":
            raise SemcomError(
                f"--speed {self.speed:g}: gains of --fading {self.fading} do not move with the speed; "
                f"leave it out, or give {self._channel_that_moves}--fading jakes"
            )

    @property
    def _channel_that_moves(self) -> str:
        """As flags, where this one does not."""
        return "" if KINDS[self.channel].scattered else "--channel rayleigh "

    def _check_pilots(self) -> None:
        given = [name for name in OF_PILOTS if getattr(self, name) is not None]
        if given and self.csi != "pilots":
            raise SemcomError(
                f"{flag_of(given[0])} {getattr(self, given[0])}: --csi {self.csi} has no pilots; "
                "leave it out, or give --csi pilots"
            )
        alone = self.fading == "symbol" and KINDS[self.channel].scattered
        if alone and (self.pilot_spacing or 1) > 1:
            raise SemcomError(
                f"--pilot-spacing {self.pilot_spacing}: of --fading symbol a pilot says nothing of the gains "
                "beside its own; leave it out, or give --fading jakes"
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
