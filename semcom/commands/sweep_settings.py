"""Settings of a sweep; the flags of its runs are those of ``distillation.py``."""

from dataclasses import dataclass

from semcom.base.errors import SemcomError, escape
from semcom.base.flags import Validated, differs, flag_of, group, setting, whole
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
class SlurmConfig(Validated):
    """A SLURM cluster instead of this machine."""

    slurm: bool = setting(
        False,
        "hand the runs to the cluster as one array job, through submitit, and wait for them",
        action="store_true",
    )
    partition: str | None = setting(None, "of the cluster (default its own)", metavar="NAME")
    time: int = setting(
        240,
        "minutes of a job; a run that needs more is saved before they end, put into the queue again and goes "
        "on, three times at most",
        whole(1, example="240"),
        metavar="MINUTES",
    )
    gpus: int = setting(0, "GPUs of a run", whole(0, 1, example="1"), metavar="N")
    sbatch: tuple[str, ...] = setting(
        (), "other options of sbatch, such as account=mine mem=8G", nargs="+", metavar="NAME=VALUE"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("partition", "time", "gpus", "sbatch"):
            if differs(self, name) and not self.slurm:
                raise SemcomError(f"{flag_of(name)}: is of a cluster; leave it out, or add --slurm")
        for option in self.sbatch:
            if not all(option.partition("=")) or option.startswith("-"):
                raise SemcomError(
                    f"--sbatch {escape(option)}: must be NAME=VALUE; for example --sbatch account=mine"
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
        "runs at a time (default as many as there are GPUs, or else cores, by --threads; on a cluster, all)",
        whole(1, 1024, example="2"),
        type=int,
        metavar="N",
    )
    threads: int | None = setting(
        None,
        "threads of a run, the same whenever the sweep goes on (default OMP_NUM_THREADS if set, or else the "
        "cores by --jobs; on a cluster, 1)",
        whole(1, 1024, example="1"),
        type=int,
        metavar="N",
    )
    dry_run: bool = setting(
        False, "print the commands of the runs, and the script of --slurm; run nothing", action="store_true"
    )
    report: SweepReport = group(SweepReport())
    slurm: SlurmConfig = group(SlurmConfig())
