"""Logits that are not formed as a whole: states, and the projection that maps them to pieces.

Letters: N rows (real target tokens), n rows of a chunk, V pieces, D width of the states.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Projected:
    """Logits of N rows: state [N, D], and the projection from D to V."""

    state: Tensor
    projection: nn.Linear


@dataclass(frozen=True)
class Mean:
    """The mean of several teachers' logits, or of their probabilities at the temperature of the loss;
    ``shares`` sum to 1. product: the dtype to which factors of their products are rounded; None: the
    student's."""

    members: Sequence[Projected]
    shares: Sequence[float]
    of_probabilities: bool = False
    product: torch.dtype | None = None

    def joined(self) -> tuple[Tensor, Tensor, Tensor]:
        """State, weight and bias of the one projection that gives the mean of the logits."""
        if len(self.members) == 1:
            (only,) = self.members
            return only.state, only.projection.weight, only.projection.bias
        states = [share * member.state for share, member in zip(self.shares, self.members)]
        weights = [member.projection.weight for member in self.members]
        biases = [share * member.projection.bias for share, member in zip(self.shares, self.members)]
        return torch.cat(states, 1), torch.cat(weights, 1), reduce(torch.add, biases)


@dataclass(frozen=True)
class Factors:
    """The factors of products, in the dtype that they are made in, and in that of the losses the bias [V],
    which is added to a block at a time.

    state: [N, D]; weight: [V, D].
    """

    state: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def of(
        cls, state: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype, exact: torch.dtype
    ) -> "Factors":
        return cls(state.to(dtype), weight.to(dtype), bias.detach().to(exact).contiguous())

    def logits(self, part: slice) -> Tensor:
        """[n, V], without the bias."""
        return self.state[part] @ self.weight.t()

    def logits_across(self, part: slice, missing: int, ground: Tensor) -> Tensor:
        """[V, n], with ``missing`` rows of zeros behind those of ``part``, at the beginning of ``ground``."""
        state = F.pad(self.state[part], (0, 0, 0, missing))
        out = ground[: len(self.weight) * len(state)].view(-1, len(state))
        return torch.mm(self.weight, state.t(), out=out)


class Softened:
    """Logits of the mean of several teachers, already divided by the temperature [N]; the mean of logits is
    one projection of all states.

    bias: [V], not in these logits yet nor divided; None where it is in them.
    """

    def __init__(self, teacher: Mean, temperature: Tensor, dtype: torch.dtype):
        members, self.log_shares = [teacher.joined()], None
        if teacher.of_probabilities:
            members = [(m.state, m.projection.weight, m.projection.bias) for m in teacher.members]
            shares = torch.stack([temperature.new_full((), share) for share in teacher.shares])
            self.log_shares = shares.log()
        # Dividing the states saves dividing the logits, which are V/D times as many.
        self.members = [
            Factors.of(state / temperature[:, None], weight, bias, dtype, temperature.dtype)
            for state, weight, bias in members
        ]
        self.temperature = temperature
        self.bias = None if teacher.of_probabilities else self.members[0].bias

    def logits(self, part: slice) -> Tensor:
        """[n, V]; of a mean of probabilities, its logarithm."""
        if self.log_shares is None:
            return self.members[0].logits(part)
        cold = self.temperature[part, None].reciprocal()
        each = [
            share + F.log_softmax(torch.addcmul(member.logits(part).to(cold.dtype), cold, member.bias), -1)
            for share, member in zip(self.log_shares, self.members)
        ]
        return torch.stack(each).logsumexp(0)
