"""How gains change from one complex symbol to the next: by speed (Jakes, Clarke), or anew with each symbol.

Letters: N complex symbols of a sentence, one after the other.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

SPEED_OF_LIGHT = 299_792_458.0
PREFIX = 144 / 2048
"""Normal cyclic prefix of an OFDM symbol, as a share of the rest of it (TS 38.211, 5.3.1)."""
WHITE = 1e-9
"""Share of the power that is independent from symbol to symbol: a slow gain's covariance is singular in
float64 without it."""


def shift(speed: float, carrier: float, subcarrier_spacing: float) -> float:
    """Greatest Doppler shift times the time of a symbol, f_D T.

    speed: km/h. carrier: GHz. subcarrier_spacing: kHz; a symbol is an OFDM symbol with its prefix.
    """
    shift = speed / 3.6 * carrier * 1e9 / SPEED_OF_LIGHT
    return shift * (1 + PREFIX) / (subcarrier_spacing * 1e3)


def jakes(symbols: int, doppler: float) -> Tensor:
    """[N] E[h_(i+d) conj(h_i)] = J0(2 pi f_D T d) for d = 0 to N-1, in float64 (Clarke 1968, Jakes 1974)."""
    from scipy import special  # torch's own is off by 4e-7, so that no covariance of it is one

    turns = 2 * math.pi * doppler * torch.arange(symbols, dtype=torch.float64)
    return torch.from_numpy(special.j0(turns.numpy()))


def toeplitz(lags: Tensor) -> Tensor:
    """[N, N] covariance of a stationary gain of which ``lags`` [N] are E[h_(i+d) conj(h_i)]."""
    place = torch.arange(len(lags), device=lags.device)
    apart = place[:, None] - place
    covariance = lags[apart.abs()]
    return torch.where(apart < 0, covariance.conj(), covariance)


@lru_cache(maxsize=16)
def _factor(symbols: int, doppler: float, device: torch.device) -> Tensor:
    """[N, N] lower triangular; that of fewer symbols is its upper left corner."""
    covariance = (toeplitz(jakes(symbols, doppler)) + WHITE * torch.eye(symbols)) / (1 + WHITE)
    return torch.linalg.cholesky(covariance).to(device)


def moving(white: Tensor, doppler: float) -> Tensor:
    """[B, N, 2] gains, in float64, with the correlation of ``jakes``, of independent CN(0, 1) ``white``.

    Exact in law: the Cholesky factor of the covariance, times what was drawn. Each gain is made of the draws
    up to it, so that symbols after a sentence's end change nothing of it.
    """
    symbols = white.shape[1]
    room = 1 << max(symbols - 1, 0).bit_length()
    factor = _factor(room, doppler, white.device)[:symbols, :symbols]
    return factor @ white.double()
