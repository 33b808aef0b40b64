"""Settings: Seed, device, how much is said, and what may be replaced."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from semcom.base.errors import SemcomError
from semcom.base.flags import Rule, Validated, differs, flag_of, number, setting, whole


@dataclass(frozen=True)
class RunConfig(Validated):
    """Seed, device and how much is said."""

    seed: int = setting(
        42,
        "seed of weights, order, dropout and channel draws",
        whole(0, 2**31 - 1, example="42"),
        metavar="N",
    )
    device: str = setting(
        "auto", "auto, cpu, cuda or cuda:N; auto takes a GPU if there is one", metavar="DEVICE"
    )
    quiet: bool = setting(
        False, "no progress and no warnings of libraries, results only", action="store_true", recorded=False
    )
    debug: bool = setting(False, "show the traceback of an error", action="store_true", recorded=False)


@dataclass(frozen=True)
class OutputConfig(Validated):
    """What is written where. Default paths set an earlier run aside; a named path is refused without
    --overwrite."""

    overwrite: bool = setting(
        False, "replace outputs that exist, once the new ones are whole", action="store_true", recorded=False
    )


@dataclass(frozen=True)
class Request:
    """How a run was asked for: the command as typed; where its --config names the record of an earlier run,
    that file and what it holds, as ``run_files.read`` reads it."""

    command: str | None = None
    file: str = ""
    record: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ResumeConfig(Validated):
    """A run that was stopped goes on."""

    resume: bool = setting(
        False,
        "go on with the run that was stopped here, to the numbers that it would have had; with the flags "
        "that it was begun with",
        action="store_true",
        recorded=False,
    )
    save_every: float = setting(
        5.0,
        "minutes between two saves of what --resume goes on from, which is also saved at the end of each "
        "epoch, unless that takes over 2 % of the time, and when the run is interrupted; 0: never",
        number(0, example="5"),
        metavar="MINUTES",
        recorded=False,
    )


TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")
NAME = Rule(
    "a name without / and \\", lambda name: name.strip(". ") and not set(name) & set("/\\"), "trial_1"
)


@dataclass(frozen=True)
class TrackConfig(Validated):
    """Experiment trackers: losses, learning rate, T, weight and speed by step; validation; closing scores."""

    track: tuple[str, ...] = setting(
        (),
        "log the run to these trackers, whose packages are to be installed; TensorBoard's files stand in "
        "tensorboard/ of the run",
        nargs="+",
        choices=TRACKERS,
        metavar="TRACKER",
        recorded=False,
    )
    track_name: str | None = setting(
        None,
        "what trackers call the run (default the name of its output)",
        NAME,
        metavar="NAME",
        recorded=False,
    )
    track_every: int = setting(
        10, "steps between two that are logged", whole(1, example="10"), metavar="N", recorded=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("track_name", "track_every"):
            if differs(self, name) and not self.track:
                raise SemcomError(f"{flag_of(name)}: nothing is logged without --track; leave it out")
