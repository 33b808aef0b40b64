"""What the terms of a step come to, over all processes: read at once on CPUs, on a GPU while the next step is
under way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from semcom.base.device import copied
from semcom.base.distributed import Processes
from semcom.base.tracking import Numbers
from semcom.distillation.task import Step, Terms

COUNTS = 4
"""Numbers of a step beside its terms: processes that were asked to end, those that want to save, tokens,
cells."""


@dataclass
class Sum:
    """Of a term, over rows and processes."""

    value: float = 0.0
    rows: float = 0

    @property
    def mean(self) -> float:
        return self.value / max(self.rows, 1)


@dataclass(frozen=True)
class StepSums:
    """Of a step over processes. end, save: how many were asked to end, and how many want the state saved.
    tokens, cells: real target positions, and with padding."""

    end: float
    save: float
    tokens: int
    cells: int
    terms: Mapping[str, Sum]

    @classmethod
    def of(cls, names: Sequence[str], numbers: Sequence[float]) -> "StepSums":
        """numbers: ``COUNTS`` counts, rows of the terms, their values."""
        end, save, tokens, cells, *of_terms = numbers
        rows, values = of_terms[: len(names)], of_terms[len(names) :]
        terms = {name: Sum(value, row) for name, value, row in zip(names, values, rows)}
        return cls(end, save, int(tokens), int(cells), terms)

    def loss(self, weights: Mapping[str, float]) -> float:
        return sum(weight * self.terms[name].mean for name, weight in weights.items())

    def means(self) -> dict[str, float]:
        return {name: of_step.mean for name, of_step in self.terms.items()}


def read(step: Step, terms: Terms, asks: Sequence[float], processes: Processes) -> StepSums:
    """At once. asks: whether this process was asked to end, and whether it wants to save."""
    values = [step.counts * float(value.detach()) for value, _ in terms.values()]
    known: Terms = {name: (value, int(rows)) for name, (value, rows) in terms.items()}
    return StepSums.of(list(terms), processes.sum([*_counted(step, known, asks), *values]))


class LateSums:
    """The sums of a step on the device that makes them, for which nothing waits until ``read``."""

    def __init__(self, step: Step, terms: Terms, asks: Sequence[float], processes: Processes):
        self.names = list(terms)
        values = torch.stack([step.counts * value.detach().double() for value, _ in terms.values()])
        counted = torch.tensor(_counted(step, terms, asks), dtype=torch.float64)
        numbers = torch.cat((copied(counted, values.device), values))
        for place, (_, rows) in enumerate(terms.values(), COUNTS):
            if isinstance(rows, Tensor):
                numbers[place] = step.counts * rows
        self.numbers = processes.total(numbers)
        rows, values = self.numbers[COUNTS:].chunk(2)
        rows = rows.clamp_min(1)
        self.rows = {name: row.to(terms[name][0].dtype) for name, row in zip(self.names, rows)}
        self.means = dict(zip(self.names, values / rows))

    def not_finite(self, weights: Mapping[str, float]) -> Tensor:
        """1 where the loss is not finite, else 0: a float32 scalar on the device."""
        loss = torch.stack([weight * self.means[name] for name, weight in weights.items()]).sum()
        return (~loss.isfinite()).float()

    def send(self) -> None:
        """Begin to copy the numbers to the CPU."""
        numbers = self.numbers
        self.numbers = numbers.to("cpu", non_blocking=True)
        self.arrival = torch.cuda.current_stream(numbers.device).record_event() if numbers.is_cuda else None

    def read(self) -> StepSums:
        """Once they have been sent: waits for them, and for nothing that was begun later."""
        if self.arrival is not None:
            self.arrival.synchronize()
        return StepSums.of(self.names, self.numbers.tolist())


@dataclass
class Begun:
    """A step whose numbers are still to be told. also: what a tracker logs beside them, None where nothing is
    due. sums: None until they are read; then ``late`` has been."""

    epoch: int
    number: int
    also: Numbers | None
    sums: StepSums | None = None
    late: LateSums | None = None


def _counted(step: Step, terms: Terms, asks: Sequence[float]) -> list[float]:
    """What is known here without a look at the device; 0 rows where that would take one."""
    rows = [0 if isinstance(count, Tensor) else count for _, count in terms.values()]
    return [float(ask) for ask in asks] + [step.counts * n for n in (step.tokens, step.cells, *rows)]
