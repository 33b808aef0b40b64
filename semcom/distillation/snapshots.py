"""Snapshots of a student on its way, taken while it trains: corners of a path from its start to its best.

They are spaced in loss, not in steps: most of what a student learns it learns in the first steps.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from semcom.models.state_file import State
from semcom.models.transceiver import Transceiver

FILE = "snapshots.pt"
PLACES = (1 / 3, 2 / 3)
"""Of the snapshots between start and best, on the way in loss."""
NEAR = 1 / 6
"""Half the distance between two of them."""
KEPT = 12
"""Candidates that are held in memory, at most."""

Weights = dict[str, Tensor]
"""Parameters of trained ends on the CPU, by their names in the transceiver."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """step: steps taken before it. loss: mean training cross-entropy in nats a token of the steps that lead
    to it; the start's is that of the first step, which its weights gave."""

    step: int
    loss: float
    weights: Weights

    @property
    def row(self) -> dict[str, float]:
        """For the record of a run."""
        return {"step": self.step, "loss": self.loss}


class Snapshots:
    """Start of the ``ends`` of ``student``, and candidates for inner snapshots: after 1, 2, 3, 4, 6, 8, 12,
    16, 24, … steps, of those at most ``KEPT`` that lie furthest apart in loss.

    candidates: the start first, once there was a step. total, steps: sum and number of the losses since the
    last candidate.
    """

    def __init__(self, student: Transceiver, ends: Iterable[str]):
        self._student, self._ends = student, tuple(ends)
        self.start: Weights = self._copied()
        self.candidates: list[Snapshot] = []
        self.total, self.steps = 0.0, 0

    def after_step(self, step: int, means: Mapping[str, float]) -> None:
        """``training_loop.OnStep``, of means among which is the cross-entropy "ce"."""
        if not self.candidates:
            self.candidates.append(Snapshot(0, means["ce"], self.start))
        self.total += means["ce"]
        self.steps += 1
        if is_candidate(step):
            self.candidates.append(Snapshot(step, self.total / self.steps, self._copied()))
            self.total, self.steps = 0.0, 0
            self._thin()

    def state(self) -> State:
        """All that further snapshots depend on, but the start."""
        inner = [[c.step, c.loss, c.weights if c.step else {}] for c in self.candidates]
        return {"candidates": inner, "total": self.total, "steps": self.steps}

    def load_state(self, state: State) -> None:
        """Go on from a ``state`` of the student of the same start."""
        self.total, self.steps = state["total"], state["steps"]
        self.candidates = [
            Snapshot(step, loss, weights or self.start) for step, loss, weights in state["candidates"]
        ]

    def chosen(self, until_step: int) -> list[Snapshot]:
        """The start, and of the candidates before ``until_step`` the nearest to 1/3 and to 2/3 of the way in
        loss from the start to the last step taken, if it is within 1/6 of it."""
        start, *inner = [c for c in self.candidates if c.step < until_step]
        way = self._last_loss() - start.loss
        if not way or not inner:
            return [start]
        nearest = []
        for place in PLACES:
            found = min(inner, key=lambda c: abs((c.loss - start.loss) / way - place))
            if abs((found.loss - start.loss) / way - place) < NEAR:
                nearest.append(found)
        return [start, *sorted(nearest, key=lambda c: c.step)]

    def _last_loss(self) -> float:
        return self.total / self.steps if self.steps else self.candidates[-1].loss

    def _copied(self) -> Weights:
        return {
            f"{end}.{name}": weights.detach().cpu().clone()
            for end in self._ends
            for name, weights in self._student.end(end).named_parameters()
        }

    def _thin(self) -> None:
        """Drop the candidate whose neighbours are nearest to each other in loss; never start or last."""
        if len(self.candidates) > KEPT + 1:
            losses = [c.loss for c in self.candidates]
            gaps = [abs(after - before) for before, after in zip(losses, losses[2:])]
            del self.candidates[1 + gaps.index(min(gaps))]


def is_candidate(step: int) -> bool:
    """Whether it is 2^k or 3 * 2^k."""
    odd = step // (step & -step)
    return odd in (1, 3)


def to_state_dict(snapshots: Sequence[Snapshot]) -> dict[str, Tensor]:
    """Of ``FILE``: all weights under flat names, "0.receiver.…" those of the first snapshot."""
    return {f"{k}.{name}": w for k, snapshot in enumerate(snapshots) for name, w in snapshot.weights.items()}


def from_state_dict(state: Mapping[str, Tensor]) -> list[Weights]:
    """The weights of each snapshot of a ``FILE``. Raises ValueError for a name without a number."""
    found: dict[int, Weights] = {}
    for flat, weights in state.items():
        number, _, name = flat.partition(".")
        found.setdefault(int(number), {})[name] = weights
    return [found[number] for number in sorted(found)]
