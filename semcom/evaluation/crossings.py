"""Where two curves over SNR cross: from which SNR on a transceiver is ahead of a baseline, or it of the
transceiver."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

MODEL, BASELINE = "model", "baseline"


@dataclass(frozen=True)
class Crossing:
    """snr: in dB. ahead: who is ahead above it, ``MODEL`` or ``BASELINE``. low, high: the SNRs measured
    between which it lies, anywhere; ``snr`` is by a straight line."""

    snr: float
    ahead: str
    low: float
    high: float

    def __str__(self) -> str:
        return f"between {self.low:g} and {self.high:g} dB ({self.snr:.1f}), {self.ahead} ahead above"


@dataclass(frozen=True)
class Crossings:
    """Of a model's curve and a baseline's, by rising SNR. throughout: who is ahead where they do not cross;
    empty where neither ever is, or where they do cross."""

    found: Sequence[Crossing]
    throughout: str = ""

    def __str__(self) -> str:
        if self.found:
            return "; ".join(map(str, self.found))
        return f"none: {self.throughout} ahead throughout" if self.throughout else "none: level throughout"


def crossings(snrs: Sequence[float], model: Sequence[float], baseline: Sequence[float]) -> Crossings:
    """Where the difference of two curves changes its sign, by straight lines between the SNRs.

    snrs: K in dB, rising. model, baseline: K values at them, larger is better. Of a stretch on which both are
    level the crossing is its middle; one that is left as it was entered is none. ValueError for SNRs that do
    not rise or values that are as many not.
    """
    if len({len(snrs), len(model), len(baseline)}) > 1 or any(low >= high for low, high in pairwise(snrs)):
        raise ValueError(f"SNRs must rise, with a value each of both curves: {list(snrs)}")
    apart = [(snr, ours - theirs) for snr, ours, theirs in zip(snrs, model, baseline) if ours != theirs]
    # Where neither is ahead at a point, the line goes through zero there.
    level = [snr for snr, ours, theirs in zip(snrs, model, baseline) if ours == theirs]
    found = []
    for (low, before), (high, after) in pairwise(apart):
        if (before > 0) != (after > 0):
            zeros = [snr for snr in level if low < snr < high]
            straight = low + (high - low) * before / (before - after)
            at = (zeros[0] + zeros[-1]) / 2 if zeros else straight
            found.append(Crossing(at, _ahead(after), low, high))
    if found or not apart:
        return Crossings(found)
    return Crossings((), _ahead(apart[0][1]))


def _ahead(difference: float) -> str:
    return MODEL if difference > 0 else BASELINE
