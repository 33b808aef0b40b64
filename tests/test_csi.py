"""What a receiver knows of gains: estimates from pilots against formulas, brute force and statistics."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from semcom.base.errors import SemcomError
from semcom.channel import csi
from semcom.channel.channels import AWGN, Ideal, Rayleigh, Rician
from semcom.channel.draws import sample
from semcom.channel.settings import ChannelConfig
from semcom.channel.tdl import TDLA, TDLD

MANY, C = 4000, 8
SPREAD = [Rayleigh(fading="jakes", speed=200.0), Rician(fading="jakes", rician_k=3.0), TDLA(), TDLD()]
KINDS = [Rayleigh(), Rician(rician_k=3.0), Rayleigh(fading="symbol"), *SPREAD]
ids = {"ids": str}


def complex_of(x):
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())


def by_pilots(channel, pilots=1, estimator="ls", spacing=None):
    return replace(channel, csi="pilots", csi_pilots=pilots, csi_estimator=estimator, pilot_spacing=spacing)


def observed(channel, lengths, snr=6.0, seed=0, dtype=torch.float64):
    """What is seen of sentences of ones, by ``channel`` and by one that knows its gains, and the draw."""
    draw = sample(range(len(lengths)), lengths, C, seed=seed, number=0, channel=channel)
    signal = torch.ones(draw.noise.shape, dtype=dtype) * 0.5**0.5
    signal[draw.noise == 0] = 0
    perfect = replace(channel, csi="perfect", csi_pilots=None, csi_estimator=None)
    return channel.observe(signal, draw, snr), perfect.observe(signal, draw, snr), draw


def errors(channel, lengths=(2,) * MANY, snr=6.0):
    """[B, N] estimate - h, [B, N] the variance that is told."""
    seen, truth, _ = observed(channel, list(lengths), snr)
    told = torch.broadcast_to(seen.error, seen.y.shape)
    return (seen.gain - truth.gain).flatten(1).numpy(), told.flatten(1).numpy()


def assert_variance(values, expected):
    """The sum of squares of circular Gaussians is gamma; 1 in 10,000 on either side."""
    below = stats.gamma(len(values)).cdf((np.abs(values) ** 2 / expected).sum())
    assert 1e-4 < below < 1 - 1e-4, (np.abs(values) ** 2).mean()


# ---- least squares and its prior


@pytest.mark.parametrize("pilots", [1, 4, 50])
@pytest.mark.parametrize("channel", KINDS, **ids)
def test_least_squares_errs_by_n0_over_p(channel, pilots):
    found, told = errors(by_pilots(channel, pilots, "ls"))
    expected = 10**-0.6 / pilots
    assert told[0, 0] == pytest.approx(expected)
    assert_variance(found[:, 0], expected)
    assert abs(found[:, 0].mean()) < 5 * (expected / MANY) ** 0.5, "without a bias"


@pytest.mark.parametrize("k, pilots", [(None, 1), (None, 9), (3.0, 1), (0.0, 2)])
def test_lmmse_of_a_gain_is_the_posterior_mean(k, pilots):
    block = Rayleigh() if k is None else Rician(rician_k=k)
    mean = 0.0 if k is None else (k / (k + 1)) ** 0.5
    variance, noise = 1 - mean**2, 10**-0.6 / pilots
    for channel in (block, replace(block, fading="symbol")):
        ls, truth, _ = observed(by_pilots(channel, pilots, "ls"), [2] * MANY)
        seen, _, _ = observed(by_pilots(channel, pilots, "lmmse"), [2] * MANY)
        expected = mean + variance / (variance + noise) * (ls.gain - mean)
        torch.testing.assert_close(seen.gain, expected)
        error = variance * noise / (variance + noise)
        assert float(seen.error.flatten()[0]) == pytest.approx(error)
        assert_variance((seen.gain - truth.gain).flatten(1)[:, 0].numpy(), error)
        orthogonal = ((seen.gain - truth.gain) * (seen.gain - mean).conj()).mean().abs()
        assert orthogonal < 5 * (error * variance / MANY) ** 0.5, "the error says nothing of the estimate"


# ---- between pilots


def brute_force(channel, heard, noise):
    """Posterior mean and variance of all N gains from pilots at every k-th, by the joint covariance."""
    n, k = len(heard), channel.spacing
    lags = channel.lags(n).numpy().astype(complex)
    covariance = np.array(
        [[lags[i - j] if i >= j else lags[j - i].conj() for j in range(n)] for i in range(n)]
    )
    places = np.arange(0, n, k)
    inverse = np.linalg.inv(covariance[np.ix_(places, places)] + noise * np.eye(len(places)))
    weights = covariance[:, places] @ inverse
    gain = channel.mean + weights @ (heard[places] - channel.mean)
    return gain, np.diag(covariance - weights @ covariance[places]).real


@pytest.mark.parametrize("spacing", [1, 3, 8, 100])
@pytest.mark.parametrize("channel", SPREAD, **ids)
def test_wiener_filter_is_the_posterior_whatever_the_padding(channel, spacing):
    wiener, lengths, noise = by_pilots(channel, 2, "lmmse", spacing), [5, 2, 9], 10**-0.6 / 2
    seen, truth, draw = observed(wiener, lengths)
    for row, length in enumerate(lengths):
        pilot = torch.view_as_complex(draw.own["pilot_noise"].double())[row, :length]
        heard = (truth.gain[row, :length] + noise**0.5 * pilot).flatten().numpy()
        gain, error = brute_force(wiener, heard, noise)
        np.testing.assert_allclose(seen.gain[row, :length].flatten(), gain, atol=1e-9)
        np.testing.assert_allclose(seen.error[row, :length].flatten(), error, atol=1e-9)
    assert (seen.gain[1, 2:] == 1).all()


@pytest.mark.parametrize("estimator", ["ls", "lmmse"])
@pytest.mark.parametrize("channel", SPREAD, **ids)
def test_the_error_between_pilots_is_the_one_that_is_told(channel, estimator):
    found, told = errors(by_pilots(channel, 2, estimator, 5), [3] * MANY)
    assert told.shape == (MANY, 12) and np.ptp(told, 0).max() < 1e-12
    for place in (0, 2, 4, 5, 7, 10, 11):
        assert_variance(found[:, place], told[0, place])


def test_least_squares_goes_in_straight_lines_and_holds_the_last():
    channel = by_pilots(Rayleigh(fading="jakes"), 1, "ls", 4)
    seen, truth, draw = observed(channel, [3, 2])
    noise = 10**-0.6
    heard = truth.gain + noise**0.5 * torch.view_as_complex(draw.own["pilot_noise"].double())
    for row, symbols in ((0, 12), (1, 8)):
        at = heard[row].flatten().numpy()
        places = np.arange(0, symbols, 4)
        expected = np.interp(np.arange(symbols), places, at[places].real) + 1j * np.interp(
            np.arange(symbols), places, at[places].imag
        )
        np.testing.assert_allclose(seen.gain[row].flatten()[:symbols], expected, atol=1e-12)


def test_wiener_errs_less_than_straight_lines():
    for channel in SPREAD:
        straight, wiener = (errors(by_pilots(channel, 1, e, 6), [6])[1] for e in ("ls", "lmmse"))
        assert (wiener <= straight + 1e-9).all() and wiener.mean() < 0.8 * straight.mean()


@pytest.mark.parametrize("channel", [TDLA(delay_spread=0.0), Rayleigh(fading="jakes", speed=0.0)], **ids)
def test_wiener_filter_of_gains_all_alike_stands_any_noise(channel):
    seen, truth, _ = observed(by_pilots(channel, 1_000_000, "lmmse", 1), [30, 7], snr=100.0)
    assert seen.gain.isfinite().all() and (seen.error >= 0).all()
    torch.testing.assert_close(seen.gain, truth.gain, atol=1e-4, rtol=0)


def test_a_length_takes_one_decomposition_whatever_the_noise():
    channel = by_pilots(Rayleigh(fading="jakes", speed=41.0), 1, "lmmse", 3)
    before = csi._modes.cache_info().misses
    for snr in (-6.0, 0.0, 12.0):
        observed(channel, [6, 3, 6, 3, 3], snr)
    assert csi._modes.cache_info().misses == before + 2


# ---- limits


@pytest.mark.parametrize("equalizer", ["zf", "mmse"])
@pytest.mark.parametrize("estimator", ["ls", "lmmse"])
@pytest.mark.parametrize("channel", KINDS, **ids)
def test_pilots_tend_to_perfect_as_they_grow(channel, estimator, equalizer):
    channel, lengths = replace(channel, equalizer=equalizer), [4, 2, 7]
    distances = []
    for pilots in (1, 100, 1_000_000):
        spaced = 1 if channel in SPREAD or channel.spacing else None
        known = by_pilots(channel, pilots, estimator, spaced)
        draw = sample([5, 6, 7], lengths, C, seed=0, number=0, channel=known)
        signal = torch.randn(
            draw.noise.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
        )
        perfect = channel.apply(signal, draw, 12.0)
        distances.append(float((known.apply(signal, draw, 12.0) - perfect)[draw.noise != 0].abs().median()))
    assert distances[0] > 5 * distances[1] > 25 * distances[2] and distances[2] < 2e-3


@pytest.mark.parametrize("channel", KINDS, **ids)
def test_without_csi_what_arrives_is_taken_as_it_is(channel):
    for equalizer in ("zf", "mmse"):
        seen, truth, draw = observed(replace(channel, csi="none", equalizer=equalizer), [3, 5])
        assert torch.equal(seen.y, truth.y) and (seen.gain == 1).all()
        signal = torch.randn(draw.noise.shape, generator=torch.Generator().manual_seed(0))
        blind = replace(channel, csi="none", equalizer=equalizer)
        arrived = blind.apply(signal, draw, 6.0)
        torch.testing.assert_close(complex_of(arrived), channel.observe(signal, draw, 6.0).y)
    gain = observed(replace(channel, csi="none"), [1] * MANY)[1].gain.numpy()[:, 0, 0]
    expected = float(observed(replace(channel, csi="none"), [1])[0].error)
    assert np.mean(np.abs(1 - gain) ** 2) == pytest.approx(expected, abs=5 * expected * 3 / MANY**0.5)


# ---- draws and counts


@pytest.mark.parametrize("channel", KINDS, **ids)
def test_pilot_noise_is_a_stream_of_its_own(channel):
    plain = sample([3, 8], [4, 6], C, seed=1, number=2, channel=channel)
    piloted = sample([3, 8], [4, 6], C, seed=1, number=2, channel=by_pilots(channel))
    for name in ("level", "scatter", "noise"):
        assert torch.equal(getattr(plain, name), getattr(piloted, name))
    assert all(torch.equal(plain.own[name], piloted.own[name]) for name in plain.own)
    assert set(piloted.own) - set(plain.own) == {"pilot_noise"}
    other = sample([3, 8], [4, 6], C, seed=1, number=2, channel=by_pilots(channel, 7, "lmmse", 3))
    assert torch.equal(piloted.own["pilot_noise"], other.own["pilot_noise"]), "settings meet the same draws"


@pytest.mark.parametrize(
    "channel, pilots, uses",
    [
        (Ideal(), 0, 100),
        (AWGN(), 0, 100),
        (Rayleigh(), 0, 100),
        (Rayleigh(csi="none"), 0, 100),
        (by_pilots(Rayleigh(), 3), 3, 103),
        (by_pilots(Rayleigh(fading="symbol"), 3), 300, 400),
        (by_pilots(Rayleigh(fading="jakes"), 2), 26, 126),
        (by_pilots(Rayleigh(fading="jakes"), 2, spacing=50), 4, 104),
        (by_pilots(TDLA(), 1), 13, 113 * (1 + 144 / 2048)),
    ],
    ids=str,
)
def test_pilots_and_prefix_are_channel_uses(channel, pilots, uses):
    assert channel.pilots(100) == pilots and channel.uses(100) == pytest.approx(uses)


@pytest.mark.parametrize("count", [25, 50])
def test_energy_of_pilots_is_charged(count):
    channel = by_pilots(Rayleigh(), count)
    assert channel.charge_db([100, 50]) == pytest.approx(10 * np.log10((150 + 2 * count) / 150))
    assert Rayleigh().charge_db([100]) == 0


# ---- what is refused


@pytest.mark.parametrize(
    "given, told",
    [
        (
            {"csi_pilots": 4},
            "--csi-pilots 4: --csi perfect has no pilots; leave it out, or give --csi pilots",
        ),
        ({"csi": "none", "csi_estimator": "ls"}, "--csi-estimator ls: --csi none has no pilots"),
        ({"pilot_spacing": 2}, "--pilot-spacing 2: --csi perfect has no pilots"),
        ({"csi": "pilots", "csi_pilots": 0}, "--csi-pilots 0: must be a whole number of 1 or more"),
        ({"csi": "genie"}, "--csi genie: allowed are perfect, pilots, none"),
        ({"speed": 30.0}, "--speed 30: gains of --fading block do not move with the speed"),
        ({"fading": "fast"}, "--fading fast: allowed are block, symbol, jakes"),
        (
            {"fading": "symbol", "csi": "pilots", "pilot_spacing": 2},
            "--pilot-spacing 2: of --fading symbol a pilot says nothing of the gains beside its own",
        ),
        ({"delay_spread": -1.0}, "--delay-spread -1: must be"),
        ({"subcarrier_spacing": 0.0}, "--subcarrier-spacing 0: must be"),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_line(given, told):
    with pytest.raises(SemcomError) as refused:
        ChannelConfig(channel="rayleigh", **given)
    assert str(refused.value).startswith(told) and "\n" not in str(refused.value)
