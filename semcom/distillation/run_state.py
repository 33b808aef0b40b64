"""The state of a training in one file, from which it goes on to the bit."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semcom.base.errors import SemcomError, escape
from semcom.base.flag_words import shown_flag
from semcom.models.state_file import State, read, write

log = logging.getLogger(__name__)

FILE = "resume.pt"
SHARE = 0.02
"""Of the time, that saving at the ends of epochs may take."""
StateOf = Callable[[], State]


@dataclass
class Keeper:
    """Keeps the state of a training in ``path`` while it runs.

    minutes: between two saves in the course of an epoch; 0: nothing is ever saved. run: what the training is,
    by the names that a message may call it by; the state of another is refused. own: what the caller needs
    beside to go on. cure: how to begin anew.

    found: the state to go on from. saves, seconds, bytes: what saving has cost until now, over all lives of
    the run, and the size of the last file. defaults: what names of ``run`` mean to a state of an earlier
    version, which does not know them.
    """

    path: Path
    minutes: float
    run: Mapping[str, Any]
    own: StateOf = dict
    cure: str = "leave --resume out to begin anew"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    found: State | None = None
    saves: int = 0
    seconds: float = 0.0
    bytes: int = 0
    _last: float = field(default_factory=time.monotonic)
    _took: float = 0.0
    _refused: bool = False

    @property
    def total(self) -> int:
        """Steps of the run that goes on; 0 where none does."""
        return self.found["training"]["total"] if self.found else 0

    def tracked(self) -> tuple[int, dict[str, str]]:
        """Of the run that goes on: steps done, and what trackers call it."""
        if not self.found:
            return 0, {}
        return self.found["training"]["steps"], self.found["own"].get("trackers", {})

    def due(self) -> bool:
        return self.minutes > 0 and time.monotonic() - self._last >= 60 * self.minutes

    def is_worth_it(self) -> bool:
        """Whether to save at the end of an epoch: not where epochs are so short that training would wait for
        the disk."""
        return self.minutes > 0 and self._took <= SHARE * (time.monotonic() - self._last)

    def find(self) -> bool:
        """Whether there is a state to go on from. Raises SemcomError for a damaged one and for that of
        another run."""
        if not self.path.is_file():
            return False
        found = read(self.path, self.cure)
        self._check_same(found["run"])
        self.found = found
        return True

    def _check_same(self, theirs: Mapping[str, Any]) -> None:
        for name in {**self.run, **theirs}:
            ours, begun = self.run.get(name), theirs.get(name, self.defaults.get(name))
            if isinstance(ours, str) and isinstance(begun, bool):  # what was a switch in earlier versions
                begun = "on" if begun else "off"
            if ours != begun:
                raise SemcomError(
                    f"{name} {shown_flag(ours)}: the run in {escape(self.path.parent)} was begun with "
                    f"{shown_flag(begun)}; give what it was begun with, or {self.cure}"
                )

    def take_up(self) -> None:
        """Go on from the state that was found, with as many threads as it was made by. Called on every
        process."""
        assert self.found
        saving = self.found["saving"]
        self.saves, self.seconds, self.bytes = saving["saves"], saving["seconds"], saving["bytes"]
        threads, own = self.found["threads"], torch.get_num_threads()
        if threads != own:
            torch.set_num_threads(threads)
            log.info(f"on with the {threads} threads that the run was begun with, not with {own}")

    def save(self, training: State) -> None:
        """Where it cannot be written, the state before stays, and the run goes on."""
        if not self.minutes:
            return
        started = time.perf_counter()
        state = {
            "run": dict(self.run),
            "threads": torch.get_num_threads(),
            "saving": {"saves": self.saves, "seconds": self.seconds, "bytes": self.bytes},
            "training": training,
            "own": self.own(),
        }
        try:
            self.bytes = write(self.path, state)
            self.saves += 1
        except SemcomError as error:
            if not self._refused:
                log.warning(f"{error}; the run goes on, but not on from here should it be stopped")
            self._refused = True
        self._took = time.perf_counter() - started
        self.seconds += self._took
        self._last = time.monotonic()

    def remove(self) -> None:
        """Once the run has ended well."""
        self.path.unlink(missing_ok=True)

    def advice(self) -> str:
        """For the message of a run that is interrupted."""
        return "; --resume goes on from here" if self.path.is_file() else ""

    def summary(self) -> str:
        """What saving has cost, for the last line of a run; empty where nothing was saved."""
        if not self.saves:
            return ""
        times = "once" if self.saves == 1 else f"{self.saves} times"
        return f", of these {self.seconds:.1f} s for saving its state, {self.bytes / 1e6:.1f} MB, {times}"

    @property
    def cost(self) -> dict[str, float]:
        return {"saves": self.saves, "seconds": round(self.seconds, 3), "bytes": self.bytes}


def load_weights(into: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Copy weights into those of the same names. Raises SemcomError where names or shapes differ."""
    shapes = [{name: tuple(tensor.shape) for name, tensor in each.items()} for each in (into, weights)]
    if shapes[0] != shapes[1]:
        raise SemcomError("the state to go on from is of other weights than this run's; begin anew")
    with torch.no_grad():
        for name, tensor in into.items():
            tensor.copy_(weights[name])
