"""Settings of ``python -m semcom benchmark``."""

from dataclasses import dataclass

from semcom.base.errors import SemcomError
from semcom.base.flags import Validated, group, setting, whole
from semcom.base.settings import OutputConfig, RunConfig
from semcom.distillation.aligner_settings import WAYS

DEFAULT_WAYS = ("none", "linear")
VERSION = 1
"""Of the task that is scored."""
PILOTS, HEADLINE_PILOTS = (10, 100, 1000), 100
"""Of the task: numbers of pilots, and the one that the score stands for."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkSettings(Validated):
    checkpoints: tuple[str, ...] = setting(
        (),
        "receivers, students or hybrids, whose receivers are scored (default the shipped teacher)",
        positional=True,
        nargs="*",
        metavar="CHECKPOINT",
    )
    by: tuple[str, ...] = setting(
        DEFAULT_WAYS,
        "ways to fit each receiver to a foreign transmitter from pilots, scored side by side; none: as it "
        "is; the others as of align",
        choices=WAYS,
        nargs="+",
        metavar="WAY",
    )
    quick: bool = setting(
        False,
        "a small part of the task, to try an entry: its scores are not those of the task",
        action="store_true",
    )
    pilots: tuple[int, ...] = setting(
        (),
        f"numbers of pilots, some of the task's (default all of them; with --quick {HEADLINE_PILOTS}, which "
        "the score stands for)",
        type=int,
        choices=PILOTS,
        nargs="+",
        metavar="N",
    )
    output: str | None = setting(
        None,
        "write all that was found and all that repeats it as JSON, and a picture beside it",
        metavar="FILE",
    )
    outputs: OutputConfig = group(OutputConfig())
    eval_batch_size: int = setting(64, "sentences decoded together", whole(1, example="64"), metavar="B")
    run: RunConfig = group(RunConfig(), only=("device", "quiet", "debug"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.by)) < len(self.by):
            raise SemcomError(f"--by {' '.join(self.by)}: name each way once")
        if self.pilots and HEADLINE_PILOTS not in self.pilots:
            raise SemcomError(
                f"--pilots {' '.join(map(str, self.pilots))}: the score stands for {HEADLINE_PILOTS}; name "
                "it too"
            )
