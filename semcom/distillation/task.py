"""What a training loop trains: a ``Task``, which makes named terms of the data of a step."""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from torch import Tensor, nn

from semcom.base import signals
from semcom.models.state_file import State

Data = TypeVar("Data")
GivenData = TypeVar("GivenData", contravariant=True)

Terms = dict[str, tuple[Tensor, int | Tensor]]
"""Named sums over rows: {name: (sum, rows)}; how many they are may be known to the device alone."""


class NonFiniteLoss(Exception):
    """A training or validation loss is infinite or not a number."""


class AskedToEnd(Exception):
    """Something has asked the training to end, and the last step is whole. number: of the signal, 0 where it
    was none. why: in words, before the place."""

    def __init__(self, number: int, why: str = "interrupted"):
        super().__init__(number, why)
        self.number, self.why = number, why


class Objective(Protocol):
    """weights: of the means of named terms in the loss; terms without one are for the log. progress: share of
    the run that is done, which schedules follow; set before each step."""

    weights: dict[str, float]
    progress: float | None


class Task(Protocol[GivenData]):
    """What is trained."""

    @property
    def objective(self) -> Objective: ...

    @property
    def trained(self) -> list[nn.Parameter]:
        """The parameters that learn."""

    def train(self) -> None:
        """Into training mode."""

    def terms(self, data: GivenData, epoch: int) -> Terms:
        """The forward pass of a step."""

    def measure(self, epoch: int, asked: signals.Asked) -> dict[str, float]:
        """Of held-out data, where there are any: the cross-entropy "ce", by which the best epoch is told, and
        what else is to be logged. Raises AskedToEnd, on all processes, where a signal has ``asked`` for the
        end meanwhile."""

    def state(self) -> State:
        """All that the further steps depend on. Called on every process."""

    def load_state(self, state: State) -> None:
        """Go on from a ``state``."""


@dataclass(frozen=True)
class Step(Generic[Data]):
    """The data of a step.

    tokens: real target positions in it. cells: with padding. counts: False where this process has no share of
    the step, and ``data`` stand in, so that all processes take it together.
    """

    data: Data
    tokens: int = 0
    cells: int = 0
    counts: bool = True
