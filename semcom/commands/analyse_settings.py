"""Settings of ``semantic_analysis.py``."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from semcom.base.errors import SemcomError
from semcom.base.flag_words import words_of
from semcom.base.flags import Validated, group, groups, setting
from semcom.base.settings import OutputConfig, Request, RunConfig
from semcom.channel.settings import ChannelConfig
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.settings import WHOLE_CORPUS
from semcom.data.settings import CorpusConfig
from semcom.evaluation.settings import EvaluationConfig
from semcom.report.settings import ReportConfig

ANALYSED = EvaluationConfig(snr=(0.0, 3.0, 6.0, 9.0, 12.0, 15.0, 18.0))
"""As few as the price in dB can be read off, whose grid must be fine where curves bend."""
MORE_SNRS = tuple(map(float, range(-6, 19, 3)))
"""Offered where these were measured."""


def _listed(snrs: Sequence[float]) -> str:
    return " ".join(f"{snr:g}" for snr in sorted(snrs))


@dataclass(frozen=True)
class AnalysisFiles(Validated):
    """Files."""

    runs: str = setting("checkpoints", "look for finished runs here", metavar="FOLDER")
    teacher_checkpoint: str | None = setting(
        None, "compare with this (default the teacher each run names)", metavar="FILE"
    )
    alignment: tuple[str, ...] = setting(
        (),
        "folders of python -m semcom align, a section of the report each",
        nargs="+",
        metavar="FOLDER",
    )
    output: str | None = setting(
        None, "results as JSON (default semantic_analysis_results.json)", metavar="FILE"
    )


@dataclass(frozen=True)
class AnalysisSettings(Validated):
    """keep_earlier: set aside what is at a named path too, as for a default one. request: how it was
    asked for."""

    checkpoints: tuple[str, ...] = setting(
        (),
        "checkpoints to compare instead of the runs",
        positional=True,
        nargs="*",
        metavar="CHECKPOINT",
    )
    files: AnalysisFiles = group(AnalysisFiles())
    outputs: OutputConfig = group(OutputConfig())
    report: ReportConfig = group(ReportConfig())
    evaluation: EvaluationConfig = group(ANALYSED)
    corpus: CorpusConfig = group(WHOLE_CORPUS)
    channels: tuple[ChannelConfig, ...] = groups(ChannelConfig(), several="channel")
    run: RunConfig = group(RunConfig())
    verbose: bool = setting(
        False,
        "print what the report has beside its answer too: tables by SNR, of ends, prices, ladders and trends",
        action="store_true",
        recorded=False,
    )
    keep_earlier: bool = False
    request: Request = field(default=Request(), compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        elsewhere = [snr for snr in self.report.table_snr if snr not in self.snrs]
        if elsewhere:
            raise SemcomError(
                f"--table-snr {elsewhere[0]:g}: nothing is measured there; allowed are "
                f"{_listed(self.snrs)}, or measure there too with --snr {_listed((*self.snrs, *elsewhere))}"
            )

    @property
    def snrs(self) -> tuple[float, ...]:
        return tuple(sorted({*self.evaluation.snr, self.report.reference_snr}))

    def command(self, first: Sequence[str] = ()) -> str:
        """What a person would type. first: names of settings whose flags stand ahead, also where they say the
        default."""
        return shlex.join(["python", "semantic_analysis.py", *words_of(self, first)])


def analysis_like(run: DistilSettings) -> AnalysisSettings:
    """An analysis on the text, through the channel and with the seed of a distillation, of its first
    teacher."""
    text = replace(run.corpus, corpus_size=WHOLE_CORPUS.corpus_size, topics=(), exclude_topics=())
    teacher = run.files.teacher_checkpoint[0] if run.files.teacher_checkpoint else None
    return AnalysisSettings(
        files=AnalysisFiles(teacher_checkpoint=teacher),
        outputs=run.outputs,
        corpus=text,
        channels=(run.channel,),
        run=run.run,
    )
