"""One temperature a pair, by which its logits come as near to the reference's distributions as one number can
bring them. The KL that is left is no matter of how sure the receiver is.

Guo et al. 2017 (arXiv 1706.04599) fit such a temperature to labels; here it is fitted to the reference.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from semcom.base import progress
from semcom.base.side_by_side import GoOn, side_by_side
from semcom.data.batching import Batch, Encoded, by_length
from semcom.evaluation.batch_sums import (
    distributions_of,
    make_ready,
    received_by,
    row_slices,
    sent_by,
    states_of,
    with_reference,
)
from semcom.evaluation.pairs import Pair, PairKey
from semcom.evaluation.scores import Meeting

SENTENCES = 300
"""Of the validation split, at most."""
COLDEST, HOTTEST = 0.05, 20.0
PRECISION = 1e-5
"""Of a temperature, relative; it is rounded to as many digits, so that the last bits of a float, in which
machines differ, decide nothing."""
CLOSE = 1e-3
"""A step of Newton's as small as this, relative, leaves an error of about its square."""
STEPS = 60
"""At most; Newton's method takes about three."""

States = Mapping[PairKey, Tensor]
"""[rows, D] final decoder states by pair at the same target tokens, teacher-forced."""


@torch.inference_mode()
def fit(
    pairs: Sequence[Pair], reference: Pair, encoded: Sequence[Encoded], meeting: Meeting, snr: float
) -> dict[PairKey, float]:
    """By pair the temperature T, between ``COLDEST`` and ``HOTTEST``, of the least
    KL(reference || softmax(logits / T)) over all target tokens of ``encoded`` (validation sentences), after
    gold prefixes, at ``snr`` in dB. Above 1 a receiver is too sure, below 1 not sure enough. The reference's
    own is 1.

    Empty where there are no sentences; without yardsticks that only foretell, and without a pair whose logits
    are not finite. Of several processes each fits some of the pairs.
    """
    if not encoded:
        return {}
    make_ready(with_reference(pairs, reference), meeting)
    fitted = [pair for pair in pairs if pair.key != reference.key and not pair.forced]
    others = meeting.processes.share(fitted)
    states = _states(others, reference, encoded, replace(meeting, snrs=[snr]))
    likely = _mean_under_reference(others, reference, states)
    found = {}
    for pair in progress.each(others, "calibrating", quiet=meeting.quiet):
        inverse = minimum(partial(_slope, pair, states, likely[pair.key]))
        if inverse is not None:
            found[pair.key] = _rounded(1 / inverse)
    of_all = {key: value for part in meeting.processes.gather(found) for key, value in part.items()}
    return {reference.key: 1.0, **of_all}


def minimum(slope: Callable[[float], tuple[float, float]]) -> float | None:
    """Where a convex function of an inverse temperature has its minimum between 1 / ``HOTTEST`` and
    1 / ``COLDEST``: by Newton's method, and by bisection where that leaves the bounds or hardly gets on.
    slope: first and second derivative. None where these are not finite."""
    low, high = 1 / HOTTEST, 1 / COLDEST
    inverse, before = 1.0, math.inf
    for _ in range(STEPS):
        first, second = slope(inverse)
        if not math.isfinite(first) or not math.isfinite(second):
            return None
        low, high = (low, inverse) if first > 0 else (inverse, high)
        if first == 0 or high - low < PRECISION * low:
            return inverse
        step = -first / second if second > 0 else math.inf
        newton = low < inverse + step < high and abs(step) < before / 2
        if newton and abs(step) < CLOSE * inverse:
            return inverse + step
        following = inverse + step if newton else math.sqrt(low * high)
        inverse, before = following, abs(following - inverse)
    return inverse


def _rounded(temperature: float) -> float:
    digits = round(-math.log10(PRECISION))
    return float(f"{temperature:.{digits}g}")


def _states(
    pairs: Sequence[Pair], reference: Pair, encoded: Sequence[Encoded], meeting: Meeting
) -> dict[PairKey, Tensor]:
    """Of the pairs and the reference at the meeting's one SNR."""
    everyone = with_reference(pairs, reference)

    def of_batch(batch: Batch, go_on: GoOn) -> dict[PairKey, Tensor]:
        batch = batch.to(meeting.device)
        received = received_by(everyone, sent_by(everyone, batch, meeting))
        return states_of(everyone, batch, {key: at_snrs[0] for key, at_snrs in received.items()})

    found = side_by_side(of_batch, by_length(encoded, meeting.batch_size), meeting.device)
    return {pair.key: torch.cat([states[pair.key] for states in found]) for pair in everyone}


def _mean_under_reference(pairs: Sequence[Pair], reference: Pair, states: States) -> dict[PairKey, float]:
    """Log-probabilities of each pair, expected of the reference, summed over all rows."""
    of_reference = states[reference.key]

    def of_some(rows: slice, go_on: GoOn) -> list[float]:
        probabilities = distributions_of(reference, states, rows).probabilities
        each = (distributions_of(pair, states, rows).logs for pair in pairs)
        return [float((probabilities * logs).sum(-1).double().sum()) for logs in each]

    device = of_reference.device
    sums = side_by_side(of_some, list(row_slices(len(of_reference), device)), device)
    return {pair.key: sum(of_pair) for pair, of_pair in zip(pairs, zip(*sums))}


def _slope(pair: Pair, states: States, likely: float, inverse: float) -> tuple[float, float]:
    """First and second derivative of the total KL by the inverse temperature b. With z the log-probabilities
    KL is a constant - b * sum of p z + logsumexp(b z): the first is the mean of z under softmax(b z) less
    that under the reference, ``likely``, the second its variance under softmax(b z)."""

    def of_some(rows: slice, go_on: GoOn) -> tuple[float, float]:
        logs = distributions_of(pair, states, rows).logs
        weights = (inverse * logs).softmax(-1)
        of_row = (weights * logs).sum(-1, keepdim=True)
        spread = (weights * (logs - of_row).square_()).sum(-1)
        return float(of_row.double().sum()), float(spread.double().sum())

    device = states[pair.key].device
    sums = side_by_side(of_some, list(row_slices(len(states[pair.key]), device)), device)
    mean, variance = map(sum, zip(*sums))
    return mean - likely, variance
