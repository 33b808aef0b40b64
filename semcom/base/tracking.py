"""Experiment trackers: what a run logs while it works, through those of accelerate.

Tracking is no part of a run's result: a tracker that fails is left with a warning, and the run goes on.
"""

import importlib.util
import logging
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semcom.base import distributed
from semcom.base.errors import SemcomError, escape
from semcom.base.settings import TrackConfig

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

log = logging.getLogger(__name__)

PROJECT = "semcom"
UNTRACKED = TrackConfig()
NONE: Mapping[str, str] = {}
Numbers = Mapping[str, float | None]


def check_installed(config: TrackConfig) -> None:
    """Raise SemcomError for a tracker whose package is not there."""
    for kind in config.track:
        if importlib.util.find_spec(kind) is None:
            raise SemcomError(
                f"--track {kind}: the package {kind} is not installed; install it with: pip install {kind}"
            )


class Tracker:
    """What one run logs, on its main process. ``Tracker()`` logs nothing.

    name: of the run. files: where a tracker writes that keeps files, in a folder of its name. done: steps
    that an earlier life of the run has logged and that stay. ids: tracker -> what it calls the run, to go on
    with it; at first as that life left them. also: asked at each step for more to log.
    """

    def __init__(
        self,
        config: TrackConfig = UNTRACKED,
        name: str = "",
        files: str | Path = "tensorboard",
        *,
        done: int = 0,
        ids: Mapping[str, str] = NONE,
    ):
        self.name, self.files = config.track_name or name, Path(files)
        self.every, self.done = config.track_every, done
        self.ids = dict(ids)
        self.also: Callable[[], Numbers] = dict
        self._at_work: dict[str, GeneralTracker] = {}
        if distributed.rank() == 0:
            for kind in dict.fromkeys(config.track):
                self._try(kind, self._start, kind)

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Log the settings of the run, unless its earlier life has."""
        plain = {name: _plain(value) for name, value in settings.items() if value is not None}
        for kind, tracker in list(self._at_work.items()):
            if not self.done:
                self._try(kind, tracker.store_init_configuration, plain)

    def is_due(self, step: int) -> bool:
        """Whether numbers of this step are to be logged."""
        return bool(self._at_work) and step % self.every == 0

    def log(self, group: str, numbers: Numbers, step: int) -> None:
        """Numbers by name, after ``step`` steps; those that are None are left out. group: stands before each
        name."""
        known = {f"{group}/{name}": value for name, value in numbers.items() if value is not None}
        for kind, tracker in list(self._at_work.items()):
            self._try(kind, tracker.log, known, step)

    def finish(self) -> None:
        """All that was logged is written; nothing is logged afterwards."""
        for kind, tracker in list(self._at_work.items()):
            self._try(kind, tracker.finish)
        self._at_work.clear()

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def _start(self, kind: str) -> None:
        from accelerate import PartialState

        if distributed.count() == 1:
            # Asked for by accelerate's trackers; of a process alone it must not start a group or take a GPU.
            PartialState(cpu=True)
        tracker = STARTS[kind](self)
        tracker.start()
        self._at_work[kind] = tracker
        if kind == "mlflow":
            self.ids[kind] = tracker.tracker.info.run_id

    def _try(self, kind: str, action: Callable[..., object], *arguments: object) -> None:
        try:
            action(*arguments)
        except Exception as error:
            self._at_work.pop(kind, None)
            told = escape(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
            log.warning(f"--track {kind}: {told}; the run goes on without it")


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, (bool, int, float, str)) else " ".join(map(str, value))


# --- the trackers


def _tensorboard(of: Tracker) -> "GeneralTracker":
    """In a folder of the run. What an earlier life logged beyond its last state is logged anew."""
    from accelerate.tracking import TensorBoardTracker

    return TensorBoardTracker(of.name, of.files, purge_step=of.done + 1 if of.done else 0)


def _wandb(of: Tracker) -> "GeneralTracker":
    from accelerate.tracking import WandBTracker

    own = of.ids.setdefault("wandb", uuid.uuid4().hex)
    return WandBTracker(PROJECT, name=of.name, id=own, resume="allow")


def _mlflow(of: Tracker) -> "GeneralTracker":
    from accelerate.tracking import MLflowTracker

    return MLflowTracker(PROJECT, run_name=of.name, run_id=of.ids.get("mlflow"))


def _trackio(of: Tracker) -> "GeneralTracker":
    """There the name is the run's identity."""
    from accelerate.tracking import TrackioTracker

    goes_on = "trackio" in of.ids
    name = of.ids.setdefault("trackio", of.name)
    return TrackioTracker(PROJECT, name=name, resume="allow" if goes_on else "never")


STARTS: dict[str, Callable[[Tracker], "GeneralTracker"]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "trackio": _trackio,
}
"""A row for each of ``settings.TRACKERS``."""
