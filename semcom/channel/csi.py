"""What a receiver learns of a gain from pilots of unit power, whose noise is that of the data.

Gains are m + g: m the mean, g the part that fades, circular and Gaussian. Letters: B sentences, N complex
symbols of the longest, Q pilot places of the longest; P pilots at a place.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from semcom.channel.doppler import WHITE, toeplitz
from semcom.channel.draws import Draw

SENT, PILOT_NOISE = "sent", "pilot_noise"
"""What a channel draws for itself: True at real tokens, and the pilots' noise, CN(0, 1) as pairs, that of the
mean of a place's pilots in units of sqrt(N0/P)."""


@dataclass(frozen=True)
class Estimate:
    """gain: complex. error: the variance of estimate - gain, real. Both [B, N], or broadcast to it."""

    gain: Tensor
    error: Tensor


@dataclass(frozen=True)
class Prior:
    """What a receiver knows of gains beforehand. mean: E h, real. lags: [N] E[g_(i+d) conj(g_i)] for d = 0 to
    N-1, the variance of g the first of them, on the CPU."""

    mean: float
    lags: Tensor


def heard_of(h: Tensor, draw: Draw, noise: Tensor) -> Tensor:
    """What the mean of a place's pilots says of the gain there, of the shape of ``h``: [B, 1, 1] or
    [B, S, C/2]. noise: N0/P, [B, 1, 1]."""
    drawn = torch.view_as_complex(draw.own[PILOT_NOISE].to(noise.dtype).contiguous())
    return h + noise.sqrt() * (drawn[:, :1, None] if drawn.dim() == 2 else drawn)


def at_every_place(heard: Tensor, noise: Tensor, prior: Prior, estimator: str) -> Estimate:
    """From the pilots of each place alone, of any shape. noise: N0/P.

    ls: ``heard`` itself, of error N0/P. lmmse: m + v/(v + N0/P) (heard - m), v the variance of g, of error
    v N0/P/(v + N0/P).
    """
    if estimator == "ls":
        return Estimate(heard, noise)
    variance = float(prior.lags[0].real)
    share = variance / (variance + noise)
    return Estimate(prior.mean + share * (heard - prior.mean), share * noise)


# Six things that an estimate is made of: what was heard and where, its noise, the prior, the way.
def between_places(
    heard: Tensor, sent: Tensor, noise: Tensor, prior: Prior, spacing: int, estimator: str
) -> Estimate:
    """From pilots at every ``spacing``-th symbol, the first among them: the gains up to the sentence's end.

    heard: [B, S, C/2], at each symbol what pilots would say there; those at pilot places alone are read.
    sent: [B, S]. noise: N0/P, [B, 1, 1]. ls: straight lines between what pilots say, the last is held. lmmse:
    the Wiener filter of ``prior`` over all pilots of the sentence.
    """
    symbols, n = heard.flatten(1), noise[:, 0]
    lengths = sent.sum(1) * heard.shape[2]
    if estimator == "ls":
        found = _straight(symbols, lengths, n, prior.lags, spacing)
    else:
        found = _wiener(symbols, lengths, n, prior, spacing)
    gain = found.gain.unflatten(1, heard.shape[1:])
    gain = torch.where(sent[..., None], gain, 1)
    return Estimate(gain, found.error.unflatten(1, heard.shape[1:]))


def _straight(heard: Tensor, lengths: Tensor, noise: Tensor, lags: Tensor, spacing: int) -> Estimate:
    place = torch.arange(heard.shape[1], device=heard.device)
    offset = place % spacing
    left = place - offset
    has_right = left + spacing < lengths[:, None]
    right = torch.where(has_right, left + spacing, left)
    of_right = torch.where(has_right, offset / spacing, 0.0).to(noise.dtype)
    of_left = 1 - of_right
    gain = of_left * heard[:, left] + of_right * heard.gather(1, right)
    # The variance of of_left g_left + of_right g_right - g, and the pilots' noise.
    real = lags.real.to(noise)
    apart = real[spacing] if spacing < len(real) else real.new_zeros(())
    to_right = torch.where(has_right, spacing - offset, 0)
    squares = of_left.square() + of_right.square()
    error = (1 + squares) * real[0] + 2 * of_left * of_right * apart
    error = error - 2 * of_left * real[offset] - 2 * of_right * real[to_right.clamp_max(len(real) - 1)]
    return Estimate(gain, error + squares * noise)


@dataclass(frozen=True)
class _Modes:
    """Of the gains at a sentence's pilot places: variances [Q] of those combinations that are independent,
    the combinations [Q, Q], a column each, and their covariance [N, Q] with all gains of the sentence."""

    variances: Tensor
    combinations: Tensor
    with_gains: Tensor


@lru_cache(maxsize=32)
def _modes(lags: bytes, complex_lags: bool, spacing: int, device: torch.device) -> _Modes:
    """lags: those of ``Prior`` as bytes, as many as the sentence has symbols.

    The pilots' noise only adds to each variance, so that one decomposition does for all SNRs.
    """
    dtype = torch.complex128 if complex_lags else torch.float64
    covariance = toeplitz(torch.frombuffer(bytearray(lags), dtype=dtype))
    variances, combinations = torch.linalg.eigh(covariance[::spacing, ::spacing])
    with_gains = covariance[:, ::spacing] @ combinations
    return _Modes(
        variances.clamp_min(0).to(device),
        combinations.to(torch.complex128).to(device),
        with_gains.to(torch.complex128).to(device),
    )


def _wiener(heard: Tensor, lengths: Tensor, noise: Tensor, prior: Prior, spacing: int) -> Estimate:
    """In double precision. The noise is taken as ``WHITE`` at least, without which the covariance of pilots
    that are as good as alike is singular."""
    variance = float(prior.lags[0].real)
    gain = torch.ones_like(heard, dtype=torch.complex128)
    error = torch.full_like(heard.real, variance, dtype=torch.float64)
    noisy = noise.double().clamp_min(WHITE)
    for length in sorted(set(lengths.tolist()) - {0}):
        of_sentence = prior.lags[:length].contiguous()
        modes = _modes(of_sentence.numpy().tobytes(), of_sentence.is_complex(), spacing, heard.device)
        rows = (lengths == length).nonzero()[:, 0]
        said = heard[rows, :length:spacing].to(torch.complex128) - prior.mean
        shares = 1 / (modes.variances + noisy[rows])
        weighted = said @ modes.combinations.conj() * shares
        gain[rows, :length] = prior.mean + weighted @ modes.with_gains.T
        explained = shares @ modes.with_gains.abs().square().T
        error[rows, :length] = (variance - explained).clamp_min(0)
    return Estimate(gain.to(heard.dtype), error.to(noise.dtype))
