"""Settings of a sweep; the flags of its runs are those of ``distillation.py``."""

from dataclasses import dataclass

from semcom.base.flags import Validated, group, setting, whole
from semcom.channel.settings import SNR
from semcom.evaluation.settings import EvaluationConfig

ROOT = "checkpoints/sweep"


@dataclass(frozen=True)
class SweepReport(Validated):
    """What is measured in the end."""

    snr: tuple[float, ...] = setting(
        (),
        "SNRs of the report in dB (default its reference SNR alone, 12)",
        SNR,
        type=float,
        nargs="+",
        metavar="DB",
    )
    sentences: int = setting(
        EvaluationConfig.sentences, "test sentences, at most", whole(1, example="1000"), metavar="N"
    )
    no_report: bool = setting(
        False, "leave the report out: the table and runs.csv alone", action="store_true"
    )


@dataclass(frozen=True)
class SweepSettings(Validated):
    """How the runs of a sweep are made."""

    zip_: bool = setting(
        False,
        "pair the values of the flags, the first of each, the second of each and so on, instead of taking "
        "every combination",
        action="store_true",
    )
    jobs: int | None = setting(
        None,
        "runs at a time (default as many as there are cores)",
        whole(1, 1024, example="2"),
        type=int,
        metavar="N",
    )
    threads: int | None = setting(
        None,
        "threads of a run, the same whenever the sweep goes on (default the cores by --jobs)",
        whole(1, 1024, example="1"),
        type=int,
        metavar="N",
    )
    dry_run: bool = setting(False, "print the commands of the runs, run nothing", action="store_true")
    report: SweepReport = group(SweepReport())
