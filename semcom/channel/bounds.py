"""What any code could do on a block: block error probabilities by theory, without a code.

k bits on n complex symbols; SNR per complex symbol, in dB. All functions broadcast: numbers or arrays.

Finite lengths: Polyanskiy, Poor and Verdú, "Channel coding rate in the finite blocklength regime", IEEE
Trans. Inf. Theory 56(5), 2010. A complex symbol is two uses of their real channel of the same SNR.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import trapezoid
from scipy.special import ndtr

LOG2_E = np.log2(np.e)
FADES = np.exp(np.linspace(-8, 8, 1601))
"""Of the integral over |h|^2: multiples of that at which the capacity is k/n."""


def capacity(snr_db: ArrayLike) -> np.ndarray:
    """Shannon's, bits a complex symbol of AWGN: log2(1 + SNR)."""
    return np.log2(1 + _ratio(snr_db))


def shannon_error(bits: ArrayLike, symbols: ArrayLike, snr_db: ArrayLike) -> np.ndarray:
    """0 where k <= n log2(1 + SNR), else 1: what codes of unbounded length reach over AWGN."""
    return (np.asarray(bits, float) > np.asarray(symbols) * capacity(snr_db)).astype(float)


def normal_error(bits: ArrayLike, symbols: ArrayLike, snr_db: ArrayLike) -> np.ndarray:
    """The normal approximation over AWGN, equation 296 solved for the error:
    Q((N C - k + log2(N)/2) / sqrt(N V)), N = 2n real uses, C = log2(1 + SNR)/2,
    V = SNR (SNR + 2) / (2 (SNR + 1)^2) log2(e)^2."""
    return _normal_error(np.asarray(bits, float), np.asarray(symbols, float), _ratio(snr_db))


def rayleigh_outage(bits: ArrayLike, symbols: ArrayLike, snr_db: ArrayLike) -> np.ndarray:
    """P(n log2(1 + |h|^2 SNR) < k) of one Rayleigh gain a block: 1 - exp(-(2^(k/n) - 1)/SNR)."""
    return -np.expm1(-_needed(bits, symbols) / _ratio(snr_db))


def rayleigh_normal_error(bits: ArrayLike, symbols: ArrayLike, snr_db: ArrayLike) -> np.ndarray:
    """The normal approximation at SNR |h|^2, in the mean over one Rayleigh gain a block."""
    bits, symbols, snr = np.broadcast_arrays(
        np.asarray(bits, float)[..., None], np.asarray(symbols, float)[..., None], _ratio(snr_db)[..., None]
    )
    power = _needed(bits, symbols) / snr * FADES
    error = _normal_error(bits, symbols, snr * power)
    # Below the least of these fades nothing arrives, above the greatest everything.
    deep = -np.expm1(-power[..., 0])
    return deep + trapezoid(error * np.exp(-power) * power, np.log(FADES), axis=-1)


def _ratio(snr_db: ArrayLike) -> np.ndarray:
    return 10 ** (np.asarray(snr_db, float) / 10)


def _needed(bits: ArrayLike, symbols: ArrayLike) -> np.ndarray:
    """SNR at which the capacity is k/n: 2^(k/n) - 1."""
    return np.expm1(np.asarray(bits, float) / np.asarray(symbols, float) * np.log(2))


def _normal_error(bits: np.ndarray, symbols: np.ndarray, snr: np.ndarray) -> np.ndarray:
    uses = 2 * symbols
    surplus = uses * np.log2(1 + snr) / 2 - bits + np.log2(uses) / 2
    dispersion = snr * (snr + 2) / (2 * (snr + 1) ** 2) * LOG2_E**2
    return ndtr(-surplus / np.sqrt(uses * dispersion))
