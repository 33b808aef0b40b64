"""The bent part of an aligner that is a network: a hidden layer that learns what an affine map leaves.

By L-BFGS over all rows at once, in float64. Letters: N rows, C_a and C_b real channel dimensions a token, H
hidden units.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Array = npt.NDArray[np.float64]
WEIGHT_DECAY = 1e-4
MOST_STEPS = 200

Rows = tuple[Array, Array]
"""What arrived, [N, C_a], and what an affine map lacks there, [N, C_b]."""


@dataclass(frozen=True)
class Bent:
    """x -> ReLU(x inner + shift) outer. inner: [C_a, H]; shift: [H]; outer: [H, C_b]."""

    inner: Array
    shift: Array
    outer: Array

    @classmethod
    def drawn(cls, sizes: tuple[int, int, int], seed: int) -> "Bent":
        """One that is zero everywhere. sizes: C_a, H, C_b."""
        c_a, hidden, c_b = sizes
        generator = np.random.default_rng(seed)
        bound = c_a**-0.5
        inner, shift = (generator.uniform(-bound, bound, size) for size in ((c_a, hidden), hidden))
        return cls(inner, shift, np.zeros((hidden, c_b)))

    @property
    def flat(self) -> Array:
        return np.concatenate([self.inner.ravel(), self.shift, self.outer.ravel()])

    def like(self, flat: Array) -> "Bent":
        """One of the same sizes with these weights."""
        inner, shift, outer = np.split(flat, np.cumsum([self.inner.size, self.shift.size]))
        return Bent(inner.reshape(self.inner.shape), shift, outer.reshape(self.outer.shape))

    def __call__(self, arrived: Array) -> Array:
        made: Array = np.maximum(arrived @ self.inner + self.shift, 0) @ self.outer
        return made

    def loss(self, rows: Rows) -> tuple[float, Array]:
        """Half the mean squared error of a row, with weight decay, and its gradient by ``flat``."""
        arrived, left = rows
        hidden = np.maximum(arrived @ self.inner + self.shift, 0)
        lacking = (hidden @ self.outer - left) / len(left)
        back = (lacking @ self.outer.T) * (hidden > 0)
        gradient = Bent(arrived.T @ back, back.sum(0), hidden.T @ lacking).flat
        weights = self.flat
        loss = len(left) * np.square(lacking).sum() / 2 + WEIGHT_DECAY * weights @ weights / 2
        return float(loss), gradient + WEIGHT_DECAY * weights


def bent_part(rows: Rows, hidden: int, *, seed: int, steps: int) -> Bent:
    """What has learnt so many steps, or as many as led anywhere; after none it is zero everywhere."""
    return _learnt(rows, hidden, seed, steps)[-1]


def best_steps(rows: Rows, held_out: Rows, hidden: int, *, seed: int) -> int:
    """After how many steps the error of the rows held out is least."""
    arrived, left = held_out
    errors = [np.square(bent(arrived) - left).sum() for bent in _learnt(rows, hidden, seed, MOST_STEPS)]
    return int(np.argmin(errors))


def _learnt(rows: Rows, hidden: int, seed: int, steps: int) -> list[Bent]:
    """After 0, 1, 2 … steps."""
    arrived, left = rows
    first = Bent.drawn((arrived.shape[1], hidden, left.shape[1]), seed)
    found = [first]

    def loss(flat: Array) -> tuple[float, Array]:
        return first.like(flat).loss(rows)

    def keep(flat: Array) -> None:
        found.append(first.like(flat.copy()))

    if steps:
        minimize(  # type: ignore[call-overload]
            loss, first.flat, jac=True, method="L-BFGS-B", callback=keep, options={"maxiter": steps}
        )
    return found
