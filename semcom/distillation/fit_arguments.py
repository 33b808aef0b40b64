"""What was typed into ``Distiller.fit``, told apart by type: batches to train on, batches to validate on, and
the number of epochs, in any of the orders that people know."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from numbers import Integral, Real
from operator import length_hint
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from semcom.base.errors import SemcomError, shown
from semcom.distillation import generators

USUAL = "fit(train_loader, epochs, validation=val_loader)"
KEPT = ("best", "last")
LOADER = "DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)"


@dataclass(frozen=True)
class FitArguments:
    """validation: None where nothing is validated."""

    batches: Iterable[Any]
    epochs: int
    validation: Iterable[Any] | None

    @classmethod
    def of(cls, typed: Sequence[Any], batches: Any, epochs: Any, validation: Any) -> "FitArguments":
        """typed: those without a name, at most three; the others by their names, None where they were not
        given.

        Raises SemcomError where one is missing or twice there, and for what gives no batches.
        """
        given = {"batches": batches, "epochs": epochs, "validation": validation}
        for value in typed:
            if value is not None:
                given[_free(value, given)] = value
        if given["batches"] is None:
            raise SemcomError(f"fit: there are no batches to train on; type {USUAL}")
        if given["epochs"] is None:
            raise SemcomError(f"fit: the number of epochs is missing; type {USUAL}")
        if not is_whole(given["epochs"]):
            raise SemcomError(f"epochs {shown(given['epochs'])}: must be a whole number, for example 10")
        if _is_array(given["batches"]) and _is_array(given["validation"]):
            raise SemcomError(f"fit: arrays, which say nothing of batches; type fit({LOADER}, epochs)")
        for name in ("batches", "validation"):
            if given[name] is not None:
                _check_gives_batches(given[name], name)
        if given["validation"] is not None and length_hint(given["validation"], 1) == 0:
            raise SemcomError("validation: there is no batch in it; give one at least, or leave it out")
        return cls(given["batches"], int(given["epochs"]), given["validation"])

    def steps(self, begun: int = 0) -> int:
        """Of the whole training. begun: those of the one that goes on, 0 for none.

        Raises SemcomError where there is no step to take, and where it is seen at once that the training was
        begun with others.
        """
        if begun:
            return self._same_steps(begun)
        total = self.epochs * (length_hint(self.batches) or _counted(self.batches))
        if total < 1:
            raise SemcomError(
                f"epochs {self.epochs}: there is no step to take; give an epoch and a batch at least"
            )
        return total

    def _same_steps(self, begun: int) -> int:
        number = length_hint(self.batches)
        if number and number * self.epochs != begun:
            raise SemcomError(
                f"batches: {number} an epoch, the training was begun with {begun / self.epochs:g}; give the "
                "same, or leave resume=True out to begin anew"
            )
        return begun


def _counted(batches: Iterable[Any]) -> int:
    """By a pass over them, after which the training begins with the random numbers that it would have begun
    with."""
    own, device = generators.of_loaders(batches), torch.device("cpu")
    before = generators.states(own, device)
    number = sum(1 for _ in batches)
    generators.put_back(before, own, device)
    return number


def _free(value: Any, given: Mapping[str, Any]) -> str:
    """What a value without a name is: the first of its kind that is not there yet."""
    names = ("epochs",) if isinstance(value, Real) else ("batches", "validation")
    free = [name for name in names if given[name] is None]
    if not free:
        raise SemcomError(f"fit: a {type(value).__name__} too many, {shown(value)}; type {USUAL}")
    return free[0]


def is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_array(given: Any) -> bool:
    return isinstance(given, (Tensor, np.ndarray)) or hasattr(given, "iloc")


def _check_gives_batches(given: Any, name: str) -> None:
    if _is_array(given):
        raise SemcomError(f"{name}: an array, whose targets are not known; give {LOADER}")
    if isinstance(given, Dataset) and not isinstance(given, IterableDataset):
        raise SemcomError(
            f"{name}: a {type(given).__name__} gives samples; "
            "give DataLoader(dataset, batch_size=64, shuffle=True)"
        )
    if not hasattr(given, "__iter__") and not hasattr(given, "__getitem__"):
        raise SemcomError(f"{name}: a {type(given).__name__} gives no batches; type {USUAL}")
    # Not by iter(): a DataLoader draws a random number then, and starts its workers.
    if hasattr(given, "__next__"):
        raise SemcomError(
            f"{name}: a {type(given).__name__} can be gone through only once; give a list or a DataLoader"
        )


def check_ends(early_stopping: Any, keep: Any, resume: Any, save_to: Any, *, validates: bool) -> None:
    """Raise SemcomError for what ``fit`` cannot go by."""
    if resume and not save_to:
        raise SemcomError("resume: from where? Type fit(…, save_to='run.resume.pt', resume=True)")
    if keep not in KEPT:
        raise SemcomError(f"keep {shown(keep)}: allowed are {', '.join(KEPT)}")
    if early_stopping is None:
        return
    if not is_whole(early_stopping) or early_stopping < 1:
        raise SemcomError(
            f"early_stopping {shown(early_stopping)}: must be a number of epochs, as early_stopping=5"
        )
    if not validates:
        raise SemcomError(
            "early_stopping goes by the validation cross-entropy; type fit(batches, epochs, "
            "validation=val_loader)"
        )


def check_callbacks(on_epoch: Any, on_step: Any) -> None:
    """Raise SemcomError for what cannot be called as ``fit`` will."""
    for name, given, takes in (("on_epoch", on_epoch, "row, is_best"), ("on_step", on_step, "number, means")):
        if given is not None and not _takes_two(given):
            raise SemcomError(
                f"{name}: a {shown(type(given).__name__)} that cannot be called with ({takes}); give a "
                f"function, as {name}=lambda {takes}: None"
            )


def _takes_two(given: Any) -> bool:
    if not callable(given):
        return False
    try:
        signature(given).bind(None, None)
    except TypeError:
        return False
    except ValueError:
        # Some that are built in do not tell.
        return True
    return True
