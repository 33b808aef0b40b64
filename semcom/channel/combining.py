"""Several receptions of one signal as one: maximum ratio combining.

Letters: B sentences, S source tokens, C real channel dimensions a token.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from semcom.channel.channels import Channel
from semcom.channel.observation import Observation, equalised


def combined(channel: Channel, observations: Sequence[Observation]) -> Tensor:
    """[B, S, C], what the receiver has after its equaliser of all that it observed."""
    # Where nothing fades there is no equaliser to choose: the mean is left to take.
    return equalised(maximum_ratio(observations), getattr(channel, "equalizer", "zf"))


def maximum_ratio(observations: Sequence[Observation]) -> Observation:
    """What a single link would have received whose gain is real, g = sqrt(sum |h_i|^2) (Brennan 1959, "Linear
    diversity combining techniques", equation 20).

    y = sum conj(h_i) y_i / g has the noise power of one reception, so y / g is the maximum ratio estimate of
    the signal; under awgn, where all h_i are 1, it is the mean. h_i are gains as the receiver has them; the
    error of g is theirs, weighted by |h_i|^2. Where no gain is left, nothing is received.

    observations: of the same sentences at the same SNRs, so that their noise powers are equal.
    """
    powers = [one.gain.abs().square() for one in observations]
    power = sum(powers[1:], powers[0])
    gain = power.sqrt()
    matched = [one.gain.conj() * one.y for one in observations]
    weighted = [p * one.error for p, one in zip(powers, observations)]
    divisor = power.clamp_min(torch.finfo(power.dtype).tiny)
    y = sum(matched[1:], matched[0]) / divisor.sqrt()
    error = sum(weighted[1:], weighted[0]) / divisor
    return Observation(y, gain.to(y.dtype), error, observations[0].n0)
