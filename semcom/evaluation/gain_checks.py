"""The doctor: gains that change within a sentence, and gains estimated from pilots, against theory.

What is measured are squares of circular Gaussians with a variance that theory gives, one a sentence, so that
their sum is chi-square, without approximation.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from semcom.channel.channels import Channel
from semcom.channel.draws import sample
from semcom.channel.fading import Fading, Scattered
from semcom.channel.tdl import TDL, Profile
from semcom.evaluation.link_checks import LEVEL, Check, chi_square, tails, two_sided

APART = (1, 64, 128, 192)
"""Symbols from one gain to the other, of gains that move."""
SUBCARRIERS = 32
"""The same of delay lines."""
PLACES_APART = 32
"""Symbols from pilot place to pilot place, where a gain in the middle between two is estimated."""
PILOTS, SNR = 4, 12.0
ESTIMATORS = (("ls", "least squares"), ("lmmse", "LMMSE"))
"""And what they are called."""
NARROW = 1.0
"""kHz from one frequency to the next, where a gain's change is the delay spread's alone."""
FIRST_DRAW = 1_000_000
"""Number of the first draw, behind those of the SNRs."""


def mean_square(
    name: str, values: np.ndarray, variance: float, shown: Callable[[float], float] = lambda x: x
) -> Check:
    """Of circular Gaussians ``values`` [n] of this variance in theory. shown: what is told of a variance."""
    law = chi_square(len(values))
    measured = float((np.abs(values) ** 2).mean())
    low, high = (law.ppf(p) / (2 * len(values)) for p in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Check(
        name,
        shown(measured),
        shown(variance),
        two_sided(*tails(law, 2 * len(values) * measured / variance)),
        abs(shown(variance * high) - shown(variance * low)) / 2,
    )


def measure(channels: Sequence[Channel], draws: int, seed: int) -> dict[str, Check]:
    """Name -> check, of the channels that fade among ``channels``; of ``draws`` sentences each."""
    checks: list[Check] = []
    for place, channel in enumerate(channels):
        number = FIRST_DRAW + 10 * place
        if isinstance(channel, Scattered):
            checks += _moving(channel, draws, seed, number)
        if isinstance(channel, TDL):
            checks += _delayed(channel, draws, seed, number)
        if isinstance(channel, Fading):
            checks += _estimated(channel, draws, seed, number + 5)
            checks += _between(channel, draws, seed, number + 6)
    return {check.name: check for check in checks}


def gains(channel: Fading, symbols: int, draws: int, seed: int, number: int) -> np.ndarray:
    """[draws, symbols] as a receiver that knows them is told."""
    draw = sample(range(draws), [1] * draws, 2 * symbols, seed=seed, number=number, channel=channel)
    ones = torch.ones(draw.noise.shape, dtype=torch.float64)
    return channel.observe(ones, draw, SNR).gain[:, 0].numpy()


def correlation(name: str, first: np.ndarray, other: np.ndarray, variance: float, rho: float) -> Check:
    """Real part of the correlation of gains; variance: theirs. Their difference has 2 variance (1 - rho)."""
    difference = 2 * variance * (1 - rho)
    return mean_square(name, other - first, difference, lambda x: 1 - x / (2 * variance))


def moving_name(channel: Scattered, fading: str, lag: int) -> str:
    symbols = "neighbours" if lag == 1 else f"{lag} symbols apart"
    return f"{channel.name} {fading} correlation, {symbols}"


def _moving(channel: Scattered, draws: int, seed: int, number: int) -> list[Check]:
    apart_most, variance = APART[-1] + 1, 1 - channel.mean**2
    checks = []
    for fading, lags in (("jakes", APART), ("symbol", APART[:1])):
        moving = replace(channel, fading=fading)
        h = gains(moving, apart_most if fading == "jakes" else 2, draws, seed, number)
        theory = moving.lags(apart_most).numpy() / variance
        for lag in lags:
            name = moving_name(channel, fading, lag)
            checks.append(correlation(name, h[:, 0], h[:, lag], variance, float(theory[lag])))
        number += 1
    return checks


def delay_spread(name: str, first: np.ndarray, second: np.ndarray, taps: Profile, spread: float) -> Check:
    """In ns, of gains [n] at two frequencies ``NARROW`` apart, their line of sight left out. spread: of the
    settings; measured and theory are of all taps, line of sight counted."""
    scattered = sum(taps.powers)
    mean = sum(p * d for p, d in zip(taps.powers, taps.delays)) / scattered
    about_mean = sum(p * (d - mean) ** 2 for p, d in zip(taps.powers, taps.delays))
    turn = 2 * math.pi * NARROW * spread * 1e-6

    def with_line_of_sight(change: float) -> float:
        moment = change / turn**2 + scattered * mean**2
        return spread * math.sqrt(moment - (scattered * mean) ** 2)

    # 1 - cos of a phase this small is half its square, to 1 in 100,000.
    change = second - first * np.exp(-1j * turn * mean)
    return mean_square(name, change, about_mean * turn**2, with_line_of_sight)


def _delayed(channel: TDL, draws: int, seed: int, number: int) -> list[Check]:
    wide = gains(channel, SUBCARRIERS + 1, draws, seed, number)
    lags, variance = channel.lags(SUBCARRIERS + 1).numpy(), 1 - channel.mean**2
    rho = float(lags[SUBCARRIERS].real) / variance
    apart = f"{channel.name} correlation, {SUBCARRIERS} subcarriers apart"
    checks = [correlation(apart, wide[:, 0], wide[:, SUBCARRIERS], variance, rho)]
    if channel.delay_spread > 0:
        narrow = replace(channel, subcarrier_spacing=NARROW)
        h = gains(narrow, 2, draws, seed, number + 1) - channel.mean
        name = f"{channel.name} delay spread, ns"
        checks.append(delay_spread(name, h[:, 0], h[:, 1], channel.profile, channel.delay_spread))
    return checks


def _between(channel: Fading, draws: int, seed: int, number: int) -> list[Check]:
    """The same in the middle between two places, of gains that change."""
    changing = replace(channel, fading="jakes") if isinstance(channel, Scattered) else channel
    middle, symbols, noise = PLACES_APART // 2, PLACES_APART + 1, 10 ** (-SNR / 10) / PILOTS
    checks = []
    for estimator, called in ESTIMATORS:
        known = replace(
            changing, csi="pilots", csi_pilots=PILOTS, csi_estimator=estimator, pilot_spacing=PLACES_APART
        )
        draw = sample(range(draws), [1] * draws, 2 * symbols, seed=seed, number=number, channel=known)
        ones = torch.ones(draw.noise.shape, dtype=torch.float64)
        seen, truth = known.observe(ones, draw, SNR), changing.observe(ones, draw, SNR)
        error = (seen.gain - truth.gain)[:, 0, middle].numpy()
        theory = error_between(changing.lags(symbols).numpy()[[0, middle, 2 * middle]], noise, estimator)
        name = f"{channel.name} {called} error over N0/P, {middle} symbols from two places"
        checks.append(mean_square(name, error, theory, lambda x: x / noise))
    return checks


def error_between(lags: np.ndarray, noise: float, estimator: str) -> float:
    """Of a gain estimated from what is heard at two places, as far from it. lags: [3] covariances of gains
    not, once and twice as far apart."""
    heard = np.array([[lags[0].real + noise, np.conj(lags[2])], [lags[2], lags[0].real + noise]])
    with_gain = np.array([lags[1], np.conj(lags[1])])
    weights = np.array([0.5, 0.5]) if estimator == "ls" else np.linalg.solve(heard.T, with_gain)
    known = 2 * (weights @ with_gain.conj()).real - (weights @ heard @ weights.conj()).real
    return float(lags[0].real - known)


def _estimated(channel: Fading, draws: int, seed: int, number: int) -> list[Check]:
    """Errors of estimates over N0/P, at the first pilot place: of least squares 1, of LMMSE its prior's."""
    checks = []
    noise = 10 ** (-SNR / 10) / PILOTS
    for estimator, called in ESTIMATORS:
        known = replace(channel, csi="pilots", csi_pilots=PILOTS, csi_estimator=estimator)
        draw = sample(range(draws), [1] * draws, 2, seed=seed, number=number, channel=known)
        ones = torch.ones(draw.noise.shape, dtype=torch.float64)
        seen, truth = known.observe(ones, draw, SNR), channel.observe(ones, draw, SNR)
        variance = 1 - channel.mean**2
        theory = noise if estimator == "ls" else variance * noise / (variance + noise)
        error = (seen.gain - truth.gain).flatten().numpy()
        name = f"{channel.name} {called} error over N0/P, {PILOTS} pilots"
        checks.append(mean_square(name, error, theory, lambda x: x / noise))
    return checks
