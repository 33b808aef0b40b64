"""Gains that change within a sentence: their law, their correlation, and that they belong to the sentence."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import special, stats

from semcom.channel.channels import Rayleigh, Rician, make_channel
from semcom.channel.doppler import PREFIX, moving, shift, toeplitz
from semcom.channel.draws import sample
from semcom.channel.settings import ChannelConfig
from semcom.channel.tdl import TDLA, TDLC, TDLD, correlation, profile

MANY = 4000
CHANNELS = [
    Rayleigh(fading="symbol"),
    Rician(fading="symbol", rician_k=3.0),
    Rayleigh(fading="jakes", speed=60.0),
    Rician(fading="jakes", rician_k=3.0),
    TDLA(),
    TDLC(delay_spread=100.0),
    TDLD(),
]
ids = {"ids": str}


def complex_of(x):
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())


def gains_of(channel, draws, tokens, width, seed=0):
    """[draws, N] of sentences of ``tokens`` tokens, by what the receiver is told."""
    draw = sample(range(draws), [tokens] * draws, width, seed=seed, number=0, channel=channel)
    signal = torch.full(draw.noise.shape, 0.5**0.5, dtype=torch.float64)
    return channel.observe(signal, draw, 0.0).gain.flatten(1).numpy()


def assert_mean_square(values, expected):
    """Circular Gaussian values: the sum of their squares is gamma; within 1 in 10,000 on either side."""
    law = stats.gamma(len(values), scale=expected)
    assert 1e-4 < law.cdf((np.abs(values) ** 2).sum()) < 1 - 1e-4, ((np.abs(values) ** 2).mean(), expected)


# ---- the law


@pytest.mark.parametrize("channel", CHANNELS, **ids)
def test_gains_have_mean_variance_and_correlation_as_told(channel):
    h = gains_of(channel, MANY, 3, 8) - channel.mean
    lags = channel.lags(12).numpy()
    assert lags[0].real == pytest.approx(1 - channel.mean**2)
    assert_mean_square(h[:, 0], lags[0].real)
    for place in (5, 11):
        assert_mean_square(h[:, place], lags[0].real)
        assert abs(h[:, place].mean()) < 5 * (lags[0].real / MANY) ** 0.5
        for turned in (1, 1j):
            between = h[:, place] - turned * h[:, 0]
            assert_mean_square(between, 2 * (lags[0] - np.conj(turned) * lags[place]).real)


@pytest.mark.parametrize("channel", CHANNELS, **ids)
def test_a_single_symbol_has_the_law_of_its_theory(channel):
    power = np.abs(gains_of(channel, MANY, 1, 2)[:, 0]) ** 2
    assert stats.kstest(power, channel.theory.law.cdf).pvalue > 1e-3


def test_symbols_fade_independently():
    h = gains_of(Rayleigh(fading="symbol"), 50, 10, 16)
    assert len(np.unique(h)) == h.size
    correlation = np.corrcoef(h.T)[~np.eye(80, dtype=bool)]
    assert np.abs(correlation).max() < 6 / 50**0.5


def test_jakes_moves_by_bessel_j0_of_speed_and_time():
    channel = Rayleigh(fading="jakes", speed=120.0, carrier=2.0, subcarrier_spacing=15.0)
    turns = 120 / 3.6 * 2e9 / 299_792_458 * (1 + 144 / 2048) / 15e3
    assert channel.shift == pytest.approx(turns) == shift(120.0, 2.0, 15.0)
    np.testing.assert_allclose(channel.lags(9), special.j0(2 * np.pi * turns * np.arange(9)), atol=1e-12)
    h = gains_of(channel, MANY, 1, 128)
    for apart in (1, 8, 27, 63):
        # Its variance is (1 + rho^2)/2, of circular Gaussians with a real correlation rho.
        expected = special.j0(2 * np.pi * turns * apart)
        measured = (h[:, apart] * h[:, 0].conj()).real.mean()
        assert abs(measured - expected) < 5 * ((1 + expected**2) / 2 / MANY) ** 0.5


def test_without_speed_jakes_is_block_fading():
    h = gains_of(Rayleigh(fading="jakes", speed=0.0), 20, 4, 6)
    np.testing.assert_allclose(h, np.broadcast_to(h[:, :1], h.shape), atol=2e-4)


def test_moving_is_exact_in_law():
    """The map of independent draws is a square root of the covariance."""
    root = moving(torch.eye(40, dtype=torch.float64)[..., None].expand(-1, -1, 2), 0.02)
    root = root[..., 0].T.numpy()
    apart = np.subtract.outer(np.arange(40), np.arange(40))
    np.testing.assert_allclose(root @ root.T, special.j0(2 * np.pi * 0.02 * apart), atol=1e-8)


# ---- delay lines


@pytest.mark.parametrize("name, taps, k", [("tdl-a", 23, None), ("tdl-c", 24, None), ("tdl-d", 13, 13.3)])
def test_profiles_are_those_of_the_report(name, taps, k):
    p = profile(name)
    assert len(p.delays) == len(p.powers) == taps
    assert sum(p.powers) + p.line_of_sight == pytest.approx(1, abs=1e-12)
    assert p.spread == pytest.approx(1, abs=1e-4 if k is None else 7e-3)
    if k is not None:
        assert 10 * math.log10(p.line_of_sight / p.powers[0]) == pytest.approx(k)
    assert (p.line_of_sight == 0) == (k is None)


def test_taps_are_sionnas():
    tdl = pytest.importorskip("sionna.phy.channel.tr38901.tdl")
    for name in ("tdl-a", "tdl-c", "tdl-d"):
        theirs, ours = tdl.TDL(name[-1].upper(), 300e-9, 3.5e9, device="cpu"), profile(name)
        powers = list(ours.powers)
        powers[0] += ours.line_of_sight
        np.testing.assert_allclose(theirs.mean_powers, powers, rtol=1e-5)
        np.testing.assert_allclose(theirs.delays, [d * 300e-9 for d in ours.delays], rtol=1e-5)


@pytest.mark.parametrize("kind", [TDLA, TDLC, TDLD])
def test_a_response_is_the_transform_of_its_taps(kind):
    channel = kind(delay_spread=200.0, subcarrier_spacing=60.0)
    draw = sample([4, 9], [5, 3], 6, seed=1, number=0, channel=channel)
    h = channel.observe(torch.ones(2, 5, 6, dtype=torch.float64), draw, 0.0).gain
    p = channel.profile
    for row, length in ((0, 5), (1, 3)):
        taps = complex_of(draw.own["taps"][row, 0].double())[:, 0]
        assert torch.equal(draw.own["taps"][row, :length], draw.own["taps"][row, :1].expand(length, -1, -1))
        for n in range(3 * length):
            expected = math.sqrt(p.line_of_sight) + sum(
                tap * math.sqrt(power) * np.exp(-2j * np.pi * n * 60e3 * delay * 200e-9)
                for tap, power, delay in zip(taps.tolist(), p.powers, p.delays)
            )
            assert complex(h[row].flatten()[n]) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("kind", [TDLA, TDLC, TDLD])
def test_the_delay_spread_is_that_of_the_settings(kind):
    """From one kHz to the next, the gain turned by its mean delay changes by the delay spread alone."""
    channel = kind(delay_spread=300.0, subcarrier_spacing=1.0)
    h, p = gains_of(channel, MANY, 1, 4), channel.profile
    mean_delay = sum(a * b for a, b in zip(p.powers, p.delays)) / (1 - p.line_of_sight)
    h = h - channel.mean
    change = h[:, 1] - h[:, 0] * np.exp(-2j * np.pi * 1e3 * mean_delay * 300e-9)
    scattered = [(power, delay - mean_delay) for power, delay in zip(p.powers, p.delays)]
    variance = sum(power * delay**2 for power, delay in scattered)
    assert_mean_square(change, variance * (2 * np.pi * 1e3 * 300e-9) ** 2)


def test_over_a_narrow_band_a_delay_line_is_block_fading():
    h = gains_of(TDLA(delay_spread=0.01), 10, 4, 8)
    np.testing.assert_allclose(h, np.broadcast_to(h[:, :1], h.shape), atol=1e-3)
    wide = gains_of(TDLA(), 10, 4, 64)
    assert np.abs(wide[:, 127] - wide[:, 0]).min() > 1e-2


def test_a_prefix_is_a_channel_use():
    assert TDLA().uses(100) == pytest.approx(100 * (1 + 144 / 2048)) and PREFIX == 144 / 2048
    assert Rayleigh().uses(100) == Rayleigh(fading="jakes").uses(100) == 100


def test_correlation_is_that_of_the_powers():
    p = profile("tdl-c")
    lags = correlation(p, 4, 0.01).numpy()
    expected = [
        sum(a * np.exp(-2j * np.pi * d * 0.01 * b) for a, b in zip(p.powers, p.delays)) for d in range(4)
    ]
    np.testing.assert_allclose(lags, expected, atol=1e-12)
    covariance = toeplitz(torch.from_numpy(lags)).numpy()
    assert covariance[3, 1] == lags[2] and covariance[1, 3] == lags[2].conj()


# ---- whose they are


@pytest.mark.parametrize("channel", CHANNELS, **ids)
@pytest.mark.parametrize("csi", ["perfect", "pilots"])
def test_gains_belong_to_the_sentence_whatever_the_batch_and_its_padding(channel, csi):
    channel = replace(channel, csi=csi)
    lengths, C = [3, 17, 8], 6
    common = sample([11, 2**64 - 1, 5], lengths, C, seed=5, number=9)
    together = sample([11, 2**64 - 1, 5], lengths, C, seed=5, number=9, channel=channel, size=25)
    signal = torch.randn(3, 25, C, generator=torch.Generator().manual_seed(0))
    signal[together.noise == 0] = 0
    seen, arrived = channel.observe(signal, together, 3.0), channel.apply(signal, together, 3.0)
    assert torch.equal(together.noise[:, :17], common.noise) and torch.equal(together.scatter, common.scatter)
    assert arrived.isfinite().all() and not arrived[signal == 0].any()
    for row, (sentence, length) in enumerate(zip([11, 2**64 - 1, 5], lengths)):
        alone = sample([sentence], [length], C, seed=5, number=9, channel=channel)
        one = channel.observe(signal[row : row + 1, :length], alone, 3.0)
        torch.testing.assert_close(seen.y[row, :length], one.y[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(seen.gain[row, :length], one.gain[0], rtol=1e-4, atol=1e-5)
        error = torch.broadcast_to(seen.error, seen.y.shape)[row, :length]
        torch.testing.assert_close(error, torch.broadcast_to(one.error, one.y.shape)[0])
    other = sample([11], [3], C, seed=5, number=10, channel=channel)
    moved = channel.observe(signal[:1, :3], other, 3.0)
    assert not torch.equal(moved.gain[0], seen.gain[0, :3])


@pytest.mark.parametrize("equalizer", ["zf", "mmse"])
@pytest.mark.parametrize("channel", CHANNELS, **ids)
def test_each_symbol_is_equalised_by_its_own_gain(channel, equalizer):
    channel = replace(channel, equalizer=equalizer)
    draw = sample([1, 2], [4, 6], 4, seed=0, number=0, channel=channel)
    signal = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    signal[draw.noise == 0] = 0
    seen = channel.observe(signal, draw, 5.0)
    n0 = 10**-0.5
    y = seen.gain * complex_of(signal) + complex_of(draw.noise.double()) * (n0 / 2) ** 0.5
    expected = y * seen.gain.conj() / (seen.gain.abs() ** 2 + (n0 if equalizer == "mmse" else 0))
    torch.testing.assert_close(complex_of(channel.apply(signal, draw, 5.0)), expected, rtol=1e-9, atol=1e-12)
    assert channel.apply(signal.bfloat16(), draw, 5.0).dtype == torch.bfloat16


def test_a_speed_is_a_setting_so_that_all_speeds_meet_the_same_draws():
    slow, fast = (Rayleigh(fading="jakes", speed=v) for v in (3.0, 300.0))
    first, second = (sample([7], [9], 4, seed=0, number=0, channel=c).own["scatter"] for c in (slow, fast))
    assert torch.equal(first, second)
    assert slow.key != fast.key and str(slow) == "rayleigh jakes 3 km/h zf"


# ---- names and keys


def test_channels_of_before_are_named_and_keyed_as_before():
    assert Rayleigh().key == {"kind": "rayleigh", "rician_k": 1.0, "equalizer": "zf"}
    assert Rician(rician_k=2.0).key == {"kind": "rician", "rician_k": 2.0, "equalizer": "zf"}
    assert (str(Rayleigh()), str(Rician("mmse", rician_k=0.5))) == ("rayleigh zf", "rician K=0.5 mmse")


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"channel": "rayleigh", "fading": "symbol"}, "rayleigh symbol zf"),
        ({"channel": "rician", "fading": "jakes", "speed": 5.0}, "rician K=1 jakes 5 km/h zf"),
        ({"channel": "tdl-d", "equalizer": "mmse"}, "tdl-d 300 ns mmse"),
        ({"channel": "rayleigh", "csi": "none"}, "rayleigh zf without CSI"),
        ({"channel": "rayleigh", "csi": "pilots", "csi_pilots": 4}, "rayleigh zf ls of 4 pilots"),
        (
            {"channel": "tdl-a", "csi": "pilots", "csi_estimator": "lmmse"},
            "tdl-a 300 ns zf lmmse of 1 pilot every 8",
        ),
    ],
)
def test_a_channel_tells_its_settings_and_its_key_is_its_own(settings, told):
    channel = make_channel(ChannelConfig(**settings))
    assert str(channel) == told
    assert channel.key != make_channel(ChannelConfig(channel=settings["channel"], fading="block")).key or (
        settings == {"channel": "tdl-d"}
    )
