"""Lines about channel settings that do nothing, or are unwise."""

from dataclasses import replace

import pytest

from semcom.channel.advice import advice
from semcom.channel.channels import CHANNELS
from semcom.channel.fading import Scattered
from semcom.channel.settings import KINDS, ChannelConfig
from semcom.channel.tdl import TDL


def of(channel, **settings):
    return ChannelConfig(channel=channel, **settings)


@pytest.mark.parametrize("channel", KINDS)
def test_nothing_is_said_of_a_channel_as_it_is(channel):
    assert advice([of(channel)]) == []


@pytest.mark.parametrize("channel", KINDS)
def test_kinds_are_those_of_the_classes(channel):
    kind, made = KINDS[channel], CHANNELS[channel]
    assert kind.scattered == issubclass(made, Scattered) and kind.delayed == issubclass(made, TDL)
    if kind.fades:
        assert kind.line_of_sight == (made.of(of(channel)).mean > 0)


@pytest.mark.parametrize(
    "settings, told",
    [
        (
            of("awgn", fading="jakes"),
            "--fading jakes: nothing of --channel awgn depends on it here",
        ),
        (of("awgn", csi="pilots"), "--csi pilots: nothing of --channel awgn"),
        (of("awgn", csi="none"), "--csi none: nothing of --channel awgn"),
        (of("awgn", equalizer="mmse"), "--equalizer mmse: nothing of --channel awgn"),
        (of("rayleigh", rician_k=3.0), "--rician-k 3.0: nothing"),
        (of("rayleigh", delay_spread=100.0), "--delay-spread 100.0: nothing"),
        (of("rayleigh", carrier=28.0), "--carrier 28.0: nothing"),
        (of("rayleigh", subcarrier_spacing=15.0), "--subcarrier-spacing 15.0: nothing"),
        (of("rayleigh", csi="pilots", pilot_spacing=4), "--pilot-spacing 4: nothing"),
        (of("rician", csi="none", equalizer="mmse"), "--equalizer mmse: nothing"),
        (of("tdl-a", fading="symbol", csi="pilots", pilot_spacing=4), "--fading symbol: nothing of"),
        (of("tdl-a", fading="jakes"), "--fading jakes: nothing of --channel tdl-a"),
        (of("rayleigh", csi="none"), "--csi none: gains of --channel rayleigh have any phase"),
        (of("tdl-c", csi="none"), "--csi none: gains of --channel tdl-c have any phase"),
        (of("tdl-a", delay_spread=10.0), "--delay-spread 10: the 136 subcarriers of a caption, 30 kHz"),
    ],
)
def test_what_does_nothing_or_is_unwise_is_told_in_a_line(settings, told):
    (line,) = advice([settings])
    assert line.startswith(told) and "\n" not in line and len(line) < 300


@pytest.mark.parametrize(
    "settings",
    [
        of("rayleigh", fading="jakes", speed=3.0, carrier=28.0, subcarrier_spacing=15.0),
        of("rayleigh", fading="symbol", csi="pilots", pilot_spacing=1),
        of("rician", rician_k=3.0, csi="none"),
        of("tdl-d", csi="none", delay_spread=100.0),
        of("tdl-a", csi="pilots", pilot_spacing=4, equalizer="mmse", subcarrier_spacing=60.0),
    ],
)
def test_what_acts_is_not_told(settings):
    assert advice([settings]) == []


def test_a_setting_that_acts_on_one_of_several_channels_is_not_told():
    first = of("awgn", csi="pilots", fading="jakes")
    assert advice([first, replace(first, channel="rayleigh")]) == []
    (line,) = advice([first, replace(first, channel="tdl-a")])
    assert line.startswith("--fading jakes: nothing of --channel awgn, tdl-a")
