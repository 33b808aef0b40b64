"""The ladder of the benchmark: transceivers whose transmitter differs from a teacher's by a recipe, a level
and a seed. Nothing is trained, and arithmetic in float64 that is rounded once makes the same weights
everywhere.

Letters: C real channel dimensions a token.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import expm
from torch import Tensor, nn

from semcom.models.checkpoint import fingerprint_of
from semcom.models.protocols import Transmitter
from semcom.models.transceiver import Transceiver


@dataclass(frozen=True)
class Rung:
    """A transmitter of the ladder.

    kind: a row of ``RECIPES``. divergence: KL to the teacher for which the level was chosen, in nats a token.
    level, seed: what the recipe is given. fingerprint: of the transmitter that it makes.
    """

    kind: str
    divergence: float
    level: float
    seed: int
    fingerprint: str = ""

    @property
    def name(self) -> str:
        return f"{self.kind} {self.divergence:g}"


def rotated(transmitter: Transmitter, level: float, generator: np.random.Generator) -> None:
    """Turn what is sent of each token by an orthogonal map of R^C whose largest angle is ``level``, in
    radians: another code of the same knowledge."""
    last = transmitter.channel_encoder[-1]  # type: ignore[index]  # a sequence of layers
    assert isinstance(last, nn.Linear)
    drawn = generator.uniform(-1, 1, (last.out_features, last.out_features))
    generating = drawn - drawn.T
    turn = expm(level * generating / np.linalg.norm(generating, 2))
    _set(last.weight, turn @ _values(last.weight))
    _set(last.bias, turn @ _values(last.bias))


def channel_encoder_redrawn(transmitter: Transmitter, level: float, generator: np.random.Generator) -> None:
    """Another code that is no linear map of the teacher's."""
    _towards_fresh(transmitter.channel_encoder, level, generator)


def encoder_redrawn(transmitter: Transmitter, level: float, generator: np.random.Generator) -> None:
    """Other knowledge, in nearly the same code."""
    _towards_fresh(transmitter.encoder, level, generator)


RECIPES: dict[str, Callable[[Transmitter, float, np.random.Generator], None]] = {
    "rotation": rotated,
    "channel encoder": channel_encoder_redrawn,
    "encoder": encoder_redrawn,
}


def transceiver_of(teacher: Transceiver, rung: Rung) -> Transceiver:
    """A copy of the teacher with the rung's transmitter."""
    made = copy.deepcopy(teacher).eval()
    RECIPES[rung.kind](made.transmitter, rung.level, np.random.default_rng(rung.seed))
    return made


def fingerprint(made: Transceiver) -> str:
    """Of a rung."""
    return fingerprint_of(made.transmitter)


def _towards_fresh(part: nn.Module, level: float, generator: np.random.Generator) -> None:
    """Move the linear maps of a part along the straight line to freshly drawn ones
    (``protocols.draw_weights``), by the share ``level``."""
    for module in part.modules():
        if isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            for weights in module.parameters(recurse=False):
                fresh = generator.uniform(-bound, bound, tuple(weights.shape))
                _set(weights, (1 - level) * _values(weights) + level * fresh)


def _values(weights: Tensor) -> np.ndarray:
    return weights.detach().double().cpu().numpy()


@torch.no_grad()
def _set(weights: Tensor, values: np.ndarray) -> None:
    weights.copy_(torch.from_numpy(values))
