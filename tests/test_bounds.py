"""Bounds against second derivations: densities integrated numerically, the textbook's numbers."""

import numpy as np
import pytest
from scipy import integrate, stats

from semcom.channel import bounds


def bits_of_a_real_symbol(snr):
    """Mutual information and its variance, in bits, of Gaussian input over real AWGN: moments of the
    information density, integrated over the noise for the input of the sphere's power."""
    noise = np.linspace(-12, 12, 20001)
    density = stats.norm.pdf(noise)
    # On the power sphere x^2 = snr; i(x; y) = C + (snr - snr z^2 + 2 x z) log2(e) / (2 (1 + snr)).
    x = np.sqrt(snr)
    information = np.log2(1 + snr) / 2 + (snr - snr * noise**2 + 2 * x * noise) * np.log2(np.e) / (
        2 * (1 + snr)
    )
    mean = integrate.trapezoid(information * density, noise)
    return mean, integrate.trapezoid((information - mean) ** 2 * density, noise)


@pytest.mark.parametrize("snr_db", [-5, 0, 10])
def test_capacity_and_dispersion_are_moments_of_the_information_density(snr_db):
    capacity, dispersion = bits_of_a_real_symbol(10 ** (snr_db / 10))
    assert bounds.capacity(snr_db) == pytest.approx(2 * capacity)
    k, n = 100, 80
    argument = (2 * n * capacity - k + np.log2(2 * n) / 2) / np.sqrt(2 * n * dispersion)
    assert bounds.normal_error(k, n, snr_db) == pytest.approx(stats.norm.sf(argument))


def test_the_length_at_which_codes_reach_nine_tenths_of_the_capacity():
    """Section IV-D of the paper: (Q^-1(error) / (1 - 0.9))^2 V/C^2 real uses."""
    capacity, dispersion = 0.5, (3 / 8) * np.log2(np.e) ** 2  # at 0 dB
    uses = (stats.norm.isf(1e-3) / 0.1) ** 2 * dispersion / capacity**2
    bits = 0.9 * uses * capacity + np.log2(uses) / 2
    assert bounds.normal_error(bits, uses / 2, 0.0) == pytest.approx(1e-3)


def test_shannon_is_a_step_at_the_capacity():
    assert bounds.shannon_error([99, 101], 50, 10 * np.log10(3)).tolist() == [0, 1]


def test_outage_is_the_share_of_fades_that_carry_too_little():
    power = np.random.default_rng(0).exponential(size=200_000)
    share = np.mean(100 * np.log2(1 + power * 10**0.5) < 131)
    outage = bounds.rayleigh_outage(131, 100, 5.0)
    assert abs(share - outage) < 4 * np.sqrt(outage * (1 - outage) / len(power))


@pytest.mark.parametrize(
    "bits, symbols, snr_db", [(131, 136, 3), (12, 136, -20), (1000, 136, 30), (131, 136, 40)]
)
def test_the_mean_over_rayleigh_fading(bits, symbols, snr_db):
    """By adaptive integration, in pieces around the fade where the capacity is k/n."""
    edge = (2 ** (bits / symbols) - 1) / 10 ** (snr_db / 10)

    def weighted(power):
        return bounds.normal_error(bits, symbols, snr_db + 10 * np.log10(power)) * np.exp(-power)

    ends = [0, edge / 2, edge, 2 * edge, 20 * edge]
    wanted = sum(integrate.quad(weighted, low, high, limit=200)[0] for low, high in zip(ends, ends[1:]))
    assert bounds.rayleigh_normal_error(bits, symbols, snr_db) == pytest.approx(wanted, rel=1e-5)


def test_arrays_broadcast():
    found = bounds.rayleigh_normal_error([100, 200], [136, 136], [[0.0], [10.0], [20.0]])
    assert found.shape == (3, 2) and (np.diff(found, axis=0) < 0).all() and (found[:, 0] < found[:, 1]).all()
