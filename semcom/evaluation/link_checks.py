"""The physical layer measured against theory, through the code that every other figure of this program rests
on.

Each measurement becomes a ``Check`` with the probability of a deviation as large on a link that is right;
``failing`` calls those off whose probability is below what a whole run is allowed. Letters: B sentences, S
source tokens, C real channel dimensions a token.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from semcom.channel import deepsc_link
from semcom.channel.channels import AWGN, Channel
from semcom.channel.deepsc_link import PublicLink
from semcom.channel.draws import Draw, sample
from semcom.channel.gains import PowerLaw, Theory
from semcom.data.batching import Batch, Encoded, collate
from semcom.models.transceiver import Transceiver

BATCH = 64
# Of a whole run on a right link: half of the 1 in 1,000 promised, since two of the tests are approximations.
FALSE_ALARMS = 5e-4
ROUNDING = 1e-4  # of a power that no noise enters, in float32
LEVEL = 0.95
FADES = tuple(10 ** (db / 10) for db in (-20, -10, -3, 0, 3))
# Numbers of the draws: every SNR of every channel takes one of its own.
GAIN_DRAW, PUBLIC_DRAW, FIRST_SNR_DRAW = 0, 1, 2


class Distribution(Protocol):
    """What is used of scipy's frozen distributions."""

    def cdf(self, x: float) -> float: ...

    def sf(self, x: float) -> float: ...

    def ppf(self, q: float) -> float: ...


@dataclass(frozen=True)
class Check:
    """A figure beside its theory.

    name: what, for example "rayleigh, 6 dB". p: probability of a deviation as large on a right link; 1 or 0
    where nothing is random. half_width: of the 95 % interval of ``measured``, None where nothing is random.
    """

    name: str
    measured: float
    theory: float
    p: float
    half_width: float | None = None

    @property
    def difference(self) -> float:
        return self.measured - self.theory


def threshold(checks: Sequence[Check]) -> float:
    """The p below which one of these is off; Bonferroni's, which holds whatever their dependence."""
    return FALSE_ALARMS / max(1, len(checks))


def failing(checks: Sequence[Check]) -> list[Check]:
    """Those that are off. What is not a number is."""
    return [check for check in checks if not check.p >= threshold(checks)]


def decibels(ratio: float) -> float:
    """10 log10; minus infinity of nothing, not a number of what has none."""
    return 10 * math.log10(ratio) if ratio > 0 else -math.inf if ratio == 0 else math.nan


def two_sided(below: float, above: float) -> float:
    """Probability of a value as far out on either side, of the tails on both sides of it; 0 of what is not a
    number."""
    p = 2 * min(below, above)
    return min(1.0, p) if math.isfinite(p) else 0.0


def tails(distribution: Distribution, value: float) -> tuple[float, float]:
    """Probabilities of less than ``value``, and of more."""
    return float(distribution.cdf(value)), float(distribution.sf(value))


def exactly(name: str, measured: float, theory: float, tolerance: float) -> Check:
    return Check(name, measured, theory, float(abs(measured - theory) <= tolerance))


@dataclass(frozen=True)
class Sent:
    """What a transmitter makes of a batch, on the CPU. raw: [B, S, C] before its power is scaled, padding
    included; signal: [B, S, C] as sent."""

    batch: Batch
    raw: Tensor
    signal: Tensor

    @property
    def symbols(self) -> int:
        """Complex symbols at real tokens."""
        return sum(self.batch.lengths) * self.signal.shape[-1] // 2

    def power(self, x: Tensor) -> Tensor:
        """[B] mean powers per complex symbol of ``x`` [B, S, C], over real tokens."""
        energy = (x.double().square().sum(-1) * self.batch.source_mask).sum(1)
        return energy / (self.batch.source_mask.sum(1) * x.shape[-1] / 2)


@torch.inference_mode()
def transmissions(model: Transceiver, encoded: Sequence[Encoded], device: torch.device) -> list[Sent]:
    """Batches in the order given, as the public code has them: nothing is sorted by length."""
    model = model.to(device)
    sent = []
    for start in range(0, len(encoded), BATCH):
        batch = collate(encoded[start : start + BATCH])
        signal, state = model.transmitter(batch.source.to(device), batch.source_mask.to(device))
        sent.append(Sent(batch, model.transmitter.channel_encoder(state).float().cpu(), signal.cpu()))
    return sent


@dataclass(frozen=True)
class Transmitted:
    """Power of a transmitter: as sent, and before its scaling.

    power: mean, least, greatest of sentences, per complex symbol. padding: positions and the greatest
    amplitude sent there. raw_square: mean square per real dimension over real tokens. active_sentences: share
    whose root mean square is above 1; active_batches: how many are, with their padding, so that the public
    rule scales them. public_power: mean power per complex symbol of real tokens as the public code would send
    them. public_spread: least and greatest of a sentence there, in dB about that mean.
    """

    power: tuple[float, float, float]
    padding: tuple[int, float]
    raw_square: float
    active_sentences: float
    active_batches: int
    batches: int
    public_power: float
    public_spread: tuple[float, float]
    checks: tuple[Check, ...]


def transmitted(sent: Sequence[Sent]) -> Transmitted:
    """Measured per sentence; a signal of power 1 and silent padding are checked to rounding."""
    power = torch.cat([s.power(s.signal) for s in sent])
    quiet = [s.signal[~s.batch.source_mask].abs() for s in sent]
    loudest = max((float(x.max()) for x in quiet if x.numel()), default=0.0)
    symbols = sum(s.symbols for s in sent)
    raw = torch.cat([s.power(s.raw) for s in sent]) / 2
    lengths = torch.cat([s.batch.source_mask.sum(1) for s in sent])
    public = torch.cat([s.power(deepsc_link.scale_power(s.raw)) for s in sent])
    mean = float((public * lengths).sum() / lengths.sum())
    worst = max(power.tolist(), key=lambda p: abs(p - 1) if math.isfinite(p) else math.inf)
    return Transmitted(
        (float(power.mean()), float(power.min()), float(power.max())),
        (sum(len(x) for x in quiet), loudest),
        float((raw * lengths).sum() / lengths.sum()),
        float((raw > 1).double().mean()),
        sum(bool(s.raw.double().square().mean() > 1) for s in sent),
        len(sent),
        mean,
        (decibels(float(public.min()) / mean), decibels(float(public.max()) / mean))
        if mean
        else (math.nan, math.nan),
        (
            exactly(f"power of {len(power):,} sentences ({symbols:,} symbols)", worst, 1.0, ROUNDING),
            exactly("padded positions", loudest, 0.0, 0.0),
        ),
    )


def snr_check(name: str, signal: float, noise: float, symbols: int, nominal: float) -> Check:
    """Sums of signal and noise energy over complex symbols: 2·symbols·N/N0 is chi-square of as many
    degrees."""
    degrees = chi_square(symbols)
    measured = decibels(signal / noise) if noise > 0 else math.inf if noise == 0 else math.nan
    low, high = (decibels(float(degrees.ppf(p)) / (2 * symbols)) for p in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Check(
        name,
        measured,
        nominal,
        two_sided(*tails(degrees, 2 * symbols * 10 ** ((nominal - measured) / 10))),
        (high - low) / 2,
    )


def chi_square(symbols: int) -> Distribution:
    return stats.chi2(2 * symbols)


def snr_tolerance(symbols: int, level: float) -> float:
    """How many dB a right link may be off at probability ``level`` of a false alarm."""
    return max(
        abs(decibels(float(chi_square(symbols).ppf(p)) / (2 * symbols))) for p in (level / 2, 1 - level / 2)
    )


def realised_snr(
    sent: Sequence[Sent], snrs: Sequence[float], measured: Sequence[Channel], seed: int
) -> dict[tuple[str, float], Check]:
    """(Channel, SNR) -> power sent over noise power before the equaliser, in dB, of channels with a theory.

    What ``apply`` returns less the signal is the noise; of fading channels it is n/h, and the known h is
    multiplied back.
    """
    checks = {}
    symbols = sum(s.symbols for s in sent)
    signal = sum(float(s.signal.double().square().sum()) for s in sent)
    number = FIRST_SNR_DRAW
    for channel in measured:
        if (theory := channel.theory) is None:
            continue
        for snr in snrs:
            noise = 0.0
            for s in sent:
                draw = s.batch.draw(channel, s.signal.shape[-1], seed=seed, number=number)
                noise += _noise_energy(s, channel, theory, draw, snr)
            name = f"{channel.name}, {snr:g} dB"
            checks[channel.name, snr] = snr_check(name, signal, noise, symbols, snr)
            number += 1
    return checks


def _noise_energy(s: Sent, channel: Channel, theory: Theory, draw: Draw, snr: float) -> float:
    """Of the noise before the equaliser, over real tokens."""
    error = channel.apply(s.signal, draw, snr).double() - s.signal.double()
    energy = error.square().unflatten(-1, (-1, 2)).sum(-1) * theory.power(draw)
    return float((energy.sum(-1) * s.batch.source_mask).sum())


@dataclass(frozen=True)
class Gains:
    """Gains |h|^2 of a fading channel, one a sentence. law: theirs in theory. power: their mean. distance:
    Kolmogorov-Smirnov, from the distribution function of the law."""

    values: np.ndarray
    law: PowerLaw
    power: Check
    distance: Check


def gain_checks(name: str, values: np.ndarray, law: PowerLaw) -> Gains:
    """Mean and distribution of gains |h|^2 of mean 1."""
    count = len(values)
    mean = Check(
        f"{name} E|h|^2",
        float(values.mean()),
        1.0,
        two_sided(*law.tails(float(values.sum()), count)),
        float(stats.norm.ppf((1 + LEVEL) / 2)) * law.spread / count**0.5,
    )
    # scipy calls it with arrays, which its stubs do not say.
    found = stats.kstest(values, law.cdf)  # type: ignore[arg-type]
    distance = Check(f"{name} distribution of |h|^2", float(found.statistic), 0.0, float(found.pvalue))
    return Gains(values, law, mean, distance)


def gains(channel: Channel, draws: int, seed: int) -> np.ndarray:
    """|h|^2 of ``draws`` sentences as ``apply`` has them: of the same draw, noise of awgn over noise after
    zero forcing is h."""
    draw = sample(range(draws), [1] * draws, 2, seed=seed, number=GAIN_DRAW, channel=channel)
    signal = torch.full((draws, 1, 2), 0.5**0.5, dtype=torch.float64)
    plain, faded = (by.apply(signal, draw, 0.0) - signal for by in (AWGN(), channel))
    return (plain.square().sum((1, 2)) / faded.square().sum((1, 2))).numpy()


def fading(measured: Sequence[Channel], draws: int, seed: int) -> dict[str, Gains]:
    """Channel -> its gains, one a sentence, of channels with a law of them."""
    return {
        channel.name: gain_checks(channel.name, gains(channel, draws, seed), theory.law)
        for channel in measured
        if (theory := channel.theory) is not None and theory.law is not None
    }


def public_offsets(
    sent: Sequence[Sent], draws: int, measured: Sequence[Channel], snr: float, seed: int
) -> dict[str, Check]:
    """Channel -> by how many dB ``snr`` of the public code is more here, where its power rule acts, measured
    on its restated link; of channels that have a counterpart there.

    Each of ``draws`` tokens of the checkpoint meets a fade of its own, as a batch of the public code does.
    Its signal's power times the mean of |h|^2, over the power of the noise before the equaliser.
    """
    width = sent[0].raw.shape[-1]
    tokens = torch.cat([s.raw.flatten(0, 1) for s in sent]).double()
    x = tokens[torch.arange(draws) % len(tokens)][:, None]
    root = x.square().mean().sqrt()
    x = deepsc_link.scale_power(x if root > 1 else x * (2 / root))
    draw = sample(range(draws), [1] * draws, width, seed=seed, number=PUBLIC_DRAW)
    return {
        channel.name: _offset(f"public {channel.name} offset", link, x, draw, snr)
        for channel in measured
        if (link := channel.public_link) is not None
    }


def _offset(name: str, link: PublicLink, x: Tensor, draw: Draw, snr: float) -> Check:
    """Of the signal ``x`` [B, 1, C], a fade a token."""
    draws, _, width = x.shape
    symbols = draws * width // 2
    h = link.fades(draw.scatter.double())
    strength = h.square().sum(-1)
    error = link.receive(x, h, draw.noise.double(), snr) - x
    noise = float((error.square().sum((1, 2)) * strength).sum()) / symbols
    power = float(x.square().mean()) * 2 * float(strength.mean())
    theory = decibels(2 * link.power)
    measured = decibels(power / noise) - snr
    # Relative variances of the noise's and the gain's mean; the logarithm of such a ratio is closer to normal
    # than the ratio.
    deviation = decibels(math.e) * (1 / symbols + link.relative_variance / draws) ** 0.5
    return Check(
        name,
        measured,
        theory,
        two_sided(*tails(stats.norm(theory, deviation), measured)),
        float(stats.norm.ppf((1 + LEVEL) / 2)) * deviation,
    )
