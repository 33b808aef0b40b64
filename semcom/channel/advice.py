"""What a person should know of the channels asked for: settings that act on none of them, and what is allowed
but unwise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from semcom.base.flags import differs, flag_of
from semcom.channel.settings import KINDS, ChannelConfig

CAPTION = 136
"""Complex symbols of a caption of 17 tokens."""
ALIKE = 1 / 20
"""Bandwidth times RMS delay spread below which the gains of a sentence are all but one; they begin to differ
at a fifth."""


@dataclass(frozen=True)
class Use:
    """Of a setting. acts: whether it makes the channel another. cure: what to give that it acts on."""

    acts: Callable[[ChannelConfig], bool]
    cure: str


def _fades(settings: ChannelConfig) -> bool:
    return KINDS[settings.channel].fades


def _moves(settings: ChannelConfig) -> bool:
    return KINDS[settings.channel].scattered and settings.fading == "jakes"


def _delayed(settings: ChannelConfig) -> bool:
    return KINDS[settings.channel].delayed


FADING, DELAYED = "--channel rayleigh", "--channel tdl-a"
MOVING = f"{FADING} --fading jakes"
USES = {
    "rician_k": Use(lambda s: s.channel == "rician", "--channel rician"),
    "equalizer": Use(lambda s: _fades(s) and s.csi != "none", f"{FADING} --csi perfect"),
    "fading": Use(lambda s: KINDS[s.channel].scattered, FADING),
    "carrier": Use(_moves, MOVING),
    "subcarrier_spacing": Use(lambda s: _delayed(s) or _moves(s), DELAYED),
    "delay_spread": Use(_delayed, DELAYED),
    "csi": Use(_fades, FADING),
    "pilot_spacing": Use(lambda s: _delayed(s) or _moves(s) or s.fading == "symbol", MOVING),
}
"""Name of a setting -> where it acts; those not here are refused where they do not, or always act."""


def advice(channels: Sequence[ChannelConfig]) -> list[str]:
    """A line each. channels: of one command, alike but for their kinds."""
    return [*_ignored(channels), *_blind(channels), *_narrow(channels)]


def _ignored(channels: Sequence[ChannelConfig]) -> list[str]:
    kinds = _kinds(channels)
    return [
        f"{flag_of(name)} {getattr(channels[0], name)}: nothing of --channel {kinds} depends on it here; "
        f"leave it out, or give for example {use.cure}"
        for name, use in USES.items()
        if channels and differs(channels[0], name) and not any(map(use.acts, channels))
    ]


def _blind(channels: Sequence[ChannelConfig]) -> list[str]:
    of_any_phase = [
        each
        for each in channels
        if each.csi == "none" and _fades(each) and not KINDS[each.channel].line_of_sight
    ]
    if not of_any_phase:
        return []
    return [
        f"--csi none: gains of --channel {_kinds(of_any_phase)} have any phase, and the receiver is told "
        "none; only models trained so can understand much, for others give --csi pilots"
    ]


def _narrow(channels: Sequence[ChannelConfig]) -> list[str]:
    of_one_gain = [each for each in channels if _delayed(each) and _bandwidths(each) < ALIKE]
    if not of_one_gain:
        return []
    first = of_one_gain[0]
    return [
        f"--delay-spread {first.delay_spread:g}: the {CAPTION} subcarriers of a caption, "
        f"{first.subcarrier_spacing:g} kHz apart, all have about the same gain: --channel "
        f"{_kinds(of_one_gain)} is block fading here; for more give a greater spread or --subcarrier-spacing"
    ]


def _bandwidths(settings: ChannelConfig) -> float:
    """Of a caption, in units of 1 over the RMS delay spread."""
    return CAPTION * settings.subcarrier_spacing * 1e3 * settings.delay_spread * 1e-9


def _kinds(channels: Sequence[ChannelConfig]) -> str:
    return ", ".join(dict.fromkeys(each.channel for each in channels))
