"""The physical layer measured against theory, through the code that every other figure of this program rests
on.

Each measurement becomes a ``Check`` with the probability of a deviation as large on a link that is right;
``failing`` calls those off whose probability is below what a whole run is allowed. Letters: B sentences, S
source tokens, C real channel dimensions a token.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from semcom.channel import channels, deepsc_link
from semcom.channel.channels import Channel
from semcom.data.batching import Batch, Encoded, collate
from semcom.models.transceiver import Transceiver

BATCH = 64
FALSE_ALARMS = 5e-4  # of a whole run on a right link: half of the 1 in 1,000 promised, since two of the tests are approximations
ROUNDING = 1e-4  # of a power that no noise enters, in float32
LEVEL = 0.95
FADES = tuple(10 ** (db / 10) for db in (-20, -10, -3, 0, 3))
GAIN_DRAW, PUBLIC_DRAW, FIRST_SNR_DRAW = (
    0,
    1,
    2,
)  # numbers of the draws: every SNR of every channel takes one of its own


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


def two_sided(distribution, value: float) -> float:
    """Probability of a value as far out on either side; 0 of what is not a number."""
    p = 2 * min(float(distribution.cdf(value)), float(distribution.sf(value)))
    return min(1.0, p) if math.isfinite(p) else 0.0


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
def send(model: Transceiver, encoded: Sequence[Encoded], device: torch.device) -> list[Sent]:
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
        two_sided(degrees, 2 * symbols * 10 ** ((nominal - measured) / 10)),
        (high - low) / 2,
    )


def chi_square(symbols: int):
    return stats.chi2(2 * symbols)


def snr_tolerance(symbols: int, level: float) -> float:
    """How many dB a right link may be off at probability ``level`` of a false alarm."""
    return max(
        abs(decibels(float(chi_square(symbols).ppf(p)) / (2 * symbols))) for p in (level / 2, 1 - level / 2)
    )


def realised_snr(
    sent: Sequence[Sent], snrs: Sequence[float], rician_k: float, seed: int
) -> dict[tuple[str, float], Check]:
    """(channel, SNR) -> power sent over noise power before the equaliser, in dB.

    What ``channel.apply`` returns less the signal is the noise; of fading channels it is n/h, and the known h
    is multiplied back.
    """
    checks = {}
    number = FIRST_SNR_DRAW
    for link in (Channel("awgn"), Channel("rayleigh"), Channel("rician", rician_k)):
        for snr in snrs:
            signal = noise = 0.0
            for s in sent:
                draw = s.batch.draw(s.signal.shape[-1], seed=seed, number=number)
                error = (
                    (channels.apply(link, s.signal, draw, snr).double() - s.signal.double()).square().sum(-1)
                )
                if link.kind != "awgn":
                    error = error * channels.fading(link, draw.scatter.double()).square().sum(-1)[:, None]
                noise += float((error * s.batch.source_mask).sum())
                signal += float(s.signal.double().square().sum())
            symbols = sum(s.symbols for s in sent)
            checks[link.kind, snr] = snr_check(f"{link.kind}, {snr:g} dB", signal, noise, symbols, snr)
            number += 1
    return checks


@dataclass(frozen=True)
class Gains:
    """Gains |h|^2 of a fading channel, one a sentence. power: their mean. distance: Kolmogorov-Smirnov, from
    the distribution function ``cdf``."""

    values: np.ndarray
    cdf: Callable[[np.ndarray], np.ndarray]
    power: Check
    distance: Check


def gain_distribution(k: float) -> Callable[[np.ndarray], np.ndarray]:
    """P(|h|^2 < x) of a Rician gain of mean 1 (Rayleigh: K = 0): 2(K+1)|h|^2 is noncentral chi-square, 2
    degrees, noncentrality 2K."""
    if k == 0:
        return lambda x: -np.expm1(-np.asarray(x, dtype=float))
    return lambda x: stats.ncx2.cdf(2 * (k + 1) * np.asarray(x, dtype=float), 2, 2 * k)


def gain_checks(name: str, values: np.ndarray, k: float) -> Gains:
    """Mean and distribution of gains of a Rician channel of mean 1, or Rayleigh with K = 0."""
    count = len(values)
    total = 2 * (k + 1) * float(values.sum())
    spread = (1 + 2 * k) ** 0.5 / (1 + k)
    half_width = float(stats.norm.ppf((1 + LEVEL) / 2)) * spread / count**0.5
    power = Check(
        f"{name} E|h|^2",
        float(values.mean()),
        1.0,
        two_sided(stats.ncx2(2 * count, 2 * k * count), total),
        half_width,
    )
    cdf = gain_distribution(k)
    found = stats.kstest(values, cdf)
    return Gains(
        values,
        cdf,
        power,
        Check(f"{name} distribution of |h|^2", float(found.statistic), 0.0, float(found.pvalue)),
    )


def gains(link: Channel, draws: int, seed: int) -> np.ndarray:
    """|h|^2 of ``draws`` sentences as ``channel.apply`` has them: of the same draw, noise of awgn over noise
    after zero forcing is h."""
    draw = channels.sample(range(draws), [1] * draws, 2, seed=seed, number=GAIN_DRAW)
    signal = torch.full((draws, 1, 2), 0.5**0.5, dtype=torch.float64)
    plain, faded = (channels.apply(c, signal, draw, 0.0) - signal for c in (Channel("awgn"), link))
    return (plain.square().sum((1, 2)) / faded.square().sum((1, 2))).numpy()


def fading(draws: int, rician_k: float, seed: int) -> dict[str, Gains]:
    """Rayleigh and Rician gains, one a sentence."""
    return {
        "rayleigh": gain_checks("rayleigh", gains(Channel("rayleigh"), draws, seed), 0.0),
        "rician": gain_checks("rician", gains(Channel("rician", rician_k), draws, seed), rician_k),
    }


def public_offsets(
    sent: Sequence[Sent], draws: int, rician_k: float, snr: float, seed: int
) -> dict[str, Check]:
    """Channel -> by how many dB ``snr`` of the public code is more here, where its power rule acts, measured
    on its restated link.

    Each of ``draws`` tokens of the checkpoint meets a fade of its own, as a batch of the public code does.
    Its signal's power times the mean of |h|^2, over the power of the noise before the equaliser.
    """
    width = sent[0].raw.shape[-1]
    tokens = torch.cat([s.raw.flatten(0, 1) for s in sent]).double()
    x = tokens[torch.arange(draws) % len(tokens)][:, None]
    root = x.square().mean().sqrt()
    x = deepsc_link.scale_power(x if root > 1 else x * (2 / root))
    draw = channels.sample(range(draws), [1] * draws, width, seed=seed, number=PUBLIC_DRAW)
    power = float(x.square().mean()) * 2
    symbols = draws * width // 2
    offsets = {}
    for kind, gain, k in (("awgn", 1, None), ("rayleigh", 1, 0.0), ("rician", 2, rician_k)):
        h = deepsc_link.fades(kind, draw.scatter.double(), rician_k)
        strength = h.square().sum(-1)
        error = (deepsc_link.receive(kind, x, h, draw.noise.double(), snr) - x).square().sum(
            (1, 2)
        ) * strength
        theory = decibels(2 * gain)
        measured = decibels(power * float(strength.mean()) / (float(error.sum()) / symbols)) - snr
        # Relative variances of the noise's and the gain's mean; the logarithm of such a ratio is closer to
        # normal than the ratio.
        variance = 1 / symbols + (0 if k is None else (1 + 2 * k) / (1 + k) ** 2 / draws)
        deviation = decibels(math.e) * variance**0.5
        offsets[kind] = Check(
            f"public {kind} offset",
            measured,
            theory,
            two_sided(stats.norm(theory, deviation), measured),
            float(stats.norm.ppf((1 + LEVEL) / 2)) * deviation,
        )
    return offsets
