"""Settings: The divergence report."""

from dataclasses import dataclass

from semcom.base.errors import SemcomError
from semcom.base.flags import Validated, differs, flag_of, number, setting, whole

LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class ReportConfig(Validated):
    """The divergence report."""

    reference_snr: float = setting(
        12.0, "SNR of the headline figures, in dB", number(-100, 100, example="12"), metavar="DB"
    )
    matrix: str = setting(
        "auto",
        "which transmitters meet which receivers: all; matched, student ends with the teacher's and with "
        "those they belong to; auto, all up to 12 pairs",
        choices=("auto", "all", "matched"),
    )
    replicates: int = setting(
        2000, "bootstrap samples behind each interval", whole(100, 100_000, example="2000"), metavar="N"
    )
    lang: str = setting("en", "language of the report: English or Chinese", choices=LANGUAGES)
    report_dir: str | None = setting(
        None, "folder of the report (default checkpoints/report)", metavar="FOLDER"
    )
    columns: tuple[str, ...] = setting(
        (),
        "LaTeX: only these columns of numbers, by their names in matrix.csv",
        type=str.lower,
        nargs="+",
        metavar="NAME",
    )
    table_snr: tuple[float, ...] = setting(
        (),
        "LaTeX: SNRs in tables by SNR, in dB (default five at most of those measured)",
        type=float,
        nargs="+",
        metavar="DB",
    )
    no_report: bool = setting(
        False, "the divergences of the runs as JSON and on the console alone: no report", action="store_true"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.no_report:
            for name in ("matrix", "lang", "report_dir", "columns", "table_snr"):
                if differs(self, name):
                    raise SemcomError(
                        f"{flag_of(name)}: there is no report with --no-report; leave one of the two out"
                    )
