"""Settings of each verb: one dataclass, of the flags that it has in the order in which ``--help`` shows them."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from semcom.base.errors import SemcomError, escape
from semcom.base.flags import (
    Validated,
    as_record,
    differs,
    flag_of,
    group,
    groups,
    required,
    setting,
    words_of,
)
from semcom.base.settings import OutputConfig, RunConfig
from semcom.channel.settings import ChannelConfig, TrainingSNRConfig
from semcom.data.settings import DEFAULT_VOCABULARY, CorpusConfig, VocabularyConfig
from semcom.distillation.settings import KD_LOSSES, DistillationConfig, TransferConfig
from semcom.distillation.training_settings import StudentConfig, TrainingConfig
from semcom.evaluation.settings import DoctorConfig, EvaluationConfig
from semcom.models.settings import (
    DEFAULT_TEACHER,
    PARTS,
    RECEIVER_PARTS,
    TRANSMITTER_PARTS,
    ExportConfig,
    ImportConfig,
    ModelConfig,
)
from semcom.report.settings import ReportConfig

DIGITS = "checkpoints/examples/digits"
SEEDS = 5
"""Of an experiment over seeds."""
WHOLE_CORPUS = CorpusConfig(corpus_size=60_000)
"""Of the built-in corpus, where a model is trained from nothing or measured."""
AUDITED = EvaluationConfig(snr=(0.0, 6.0, 12.0, 18.0))
EXAMINED = EvaluationConfig(snr=(0.0, 6.0, 12.0, 18.0), sentences=200)
ANALYSED = EvaluationConfig(snr=tuple(range(-6, 19, 3)))
TABLE_OUTPUT = "all rows as CSV; a picture beside it as .png"
DEBUG = "show the traceback of an error"


# --- distillation.py


@dataclass(frozen=True)
class DistillationFiles(Validated):
    """Checkpoints read and written."""

    teacher_checkpoint: tuple[str, ...] = setting(
        (),
        f"the teacher (default {DEFAULT_TEACHER}, the shipped one); of several the first "
        "lends the end that is not trained",
        nargs="+",
        metavar="FILE",
    )
    student_checkpoint: str | None = setting(None, "start the student from this checkpoint", metavar="FILE")
    output_path: str | None = setting(
        None,
        "folder of the run (default checkpoints/distillation, with _encoder or _decoder)",
        metavar="FOLDER",
    )
    create_hybrid: bool = setting(
        False, "splice parts of the best student into the teacher", action="store_true"
    )
    hybrid_output: str | None = setting(
        None, "the hybrid's file (default checkpoints/hybrid_model.pt)", metavar="FILE"
    )
    hybrid_parts: tuple[str, ...] = setting(
        (),
        "parts to take from the student (default: the receiver; the transmitter in encoder mode)",
        nargs="+",
        choices=PARTS,
        metavar="PART",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.create_hybrid and (self.hybrid_output or self.hybrid_parts):
            flag = (
                f"--hybrid-output {escape(self.hybrid_output)}"
                if self.hybrid_output
                else f"--hybrid-parts {' '.join(self.hybrid_parts)}"
            )
            raise SemcomError(f"{flag}: no hybrid would be written without --create-hybrid; add it")


@dataclass(frozen=True)
class DistilSettings(Validated):
    """keep_earlier: set aside what is at a named path too, as for a default one."""

    script: ClassVar[str] = "distillation.py"
    files: DistillationFiles = group(DistillationFiles())
    outputs: OutputConfig = group(OutputConfig())
    distillation: DistillationConfig = group(DistillationConfig(), title="Distillation")
    transfer: TransferConfig = group(TransferConfig())
    student: StudentConfig = group(StudentConfig())
    corpus: CorpusConfig = group(CorpusConfig())
    channel: ChannelConfig = group(ChannelConfig())
    snr: TrainingSNRConfig = group(TrainingSNRConfig(), title="Training SNR")
    training: TrainingConfig = group(TrainingConfig())
    run: RunConfig = group(RunConfig())
    keep_earlier: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.transfer.feature_weights(self.distillation.distill_part)
        self._check_loss()
        self._check_teachers()
        self._check_schedules()
        self._check_features()

    def _check_loss(self) -> None:
        d, crossed = self.distillation, self.transfer.cross_weight
        if d.scales and KD_LOSSES[d.kd_loss].needs_target:
            *others, last = [name for name, loss in KD_LOSSES.items() if not loss.needs_target]
            raise SemcomError(
                f"--scales with --kd-loss {d.kd_loss}: a segment of a sentence has no one right piece for "
                f"{d.kd_loss} to set apart; give --kd-loss {', '.join(others)} or {last}"
            )
        if crossed and d.distill_part != "full":
            raise SemcomError(
                f"--cross-weight {crossed:g}: with --distill-part {d.distill_part} the other end is the "
                "teacher's already; leave it out, or give --distill-part full"
            )

    def _check_teachers(self) -> None:
        t, teachers = self.transfer, max(1, len(self.files.teacher_checkpoint))
        if t.teacher_weights and (len(t.teacher_weights) != teachers or teachers == 1):
            weights = " ".join(f"{w:g}" for w in t.teacher_weights)
            raise SemcomError(
                f"--teacher-weights {weights}: {len(t.teacher_weights)} for {teachers} --teacher-checkpoint; "
                "give one for each of several, or leave it out"
            )
        if t.teacher_mean == "probabilities" and teachers == 1:
            raise SemcomError(
                "--teacher-mean probabilities: there is one teacher; leave it out, or give several "
                "--teacher-checkpoint"
            )
        if t.teacher_mean == "probabilities" and self.distillation.standardize_logits:
            raise SemcomError(
                "--teacher-mean probabilities with --standardize-logits: a mean of probabilities has no logits "
                "to standardise; give --teacher-mean logits"
            )

    def _check_schedules(self) -> None:
        by_snr = "snr" in (self.distillation.temperature_schedule, self.distillation.weight_schedule)
        low, high = self.snr.snr_range
        if by_snr and (self.channel.channel == "ideal" or low == high):
            raise SemcomError(
                "a schedule by snr: the sentences of this run differ in no SNR (--channel ideal, or LOW = HIGH "
                "in --snr-range); give --temperature-schedule or --weight-schedule linear or cosine"
            )

    def _check_features(self) -> None:
        t = self.transfer
        if t.feature_loss != "mse" and not t.feature_weights(self.distillation.distill_part):
            raise SemcomError(
                f"--feature-loss {t.feature_loss}: no feature is compared; leave it out, or add --feature-weight 1"
            )
        if len(self.files.teacher_checkpoint) > 1 and not self.distillation.distils:
            raise SemcomError(
                "--teacher-checkpoint: with --distill-weight 0 a second teacher has nothing to say; give one"
            )

    @property
    def output_path(self) -> Path:
        part = self.distillation.distill_part
        default = "checkpoints/distillation" + ("" if part == "full" else f"_{part}")
        return Path(self.files.output_path or default)

    @property
    def hybrid_output(self) -> Path | None:
        if not self.files.create_hybrid:
            return None
        return Path(self.files.hybrid_output or "checkpoints/hybrid_model.pt")

    @property
    def hybrid_parts(self) -> tuple[str, ...]:
        default = TRANSMITTER_PARTS if self.distillation.distill_part == "encoder" else RECEIVER_PARTS
        return self.files.hybrid_parts or default

    @property
    def topics_left_out(self) -> bool:
        return bool(self.corpus.topics or self.corpus.exclude_topics)

    def record(self) -> dict[str, object]:
        """All settings as plain JSON values."""
        sentences_and_link = (self.corpus, self.channel, self.snr)
        losses = (self.student, self.distillation, self.transfer)
        return as_record(self.files, *sentences_and_link, *losses, self.training, self.run, self.outputs)


# --- semantic_analysis.py


@dataclass(frozen=True)
class AnalysisFiles(Validated):
    """Files."""

    runs: str = setting("checkpoints", "look for finished runs here", metavar="FOLDER")
    teacher_checkpoint: str | None = setting(
        None, "compare with this (default the teacher each run names)", metavar="FILE"
    )
    output: str | None = setting(
        None, "results as JSON (default semantic_analysis_results.json)", metavar="FILE"
    )


@dataclass(frozen=True)
class AnalysisSettings(Validated):
    """keep_earlier: set aside what is at a named path too, as for a default one."""

    script: ClassVar[str] = "semantic_analysis.py"
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
    keep_earlier: bool = False

    @property
    def snrs(self) -> tuple[float, ...]:
        return tuple(sorted({*self.evaluation.snr, self.report.reference_snr}))


def command_of(settings: DistilSettings | AnalysisSettings, first: Sequence[str] = ()) -> str:
    """What a person would type for these settings. first: names of settings whose flags stand ahead, also
    where they say what is the default."""
    return shlex.join(["python", settings.script, *words_of(settings, first)])


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


# --- distillation_examples.py 9


@dataclass(frozen=True)
class DigitsSettings(Validated):
    output_path: str | None = setting(None, f"folder of the results (default {DIGITS})", metavar="FOLDER")
    outputs: OutputConfig = group(OutputConfig())
    run: RunConfig = group(RunConfig(), only=("quiet", "debug"))


# --- python -m semcom


@dataclass(frozen=True, kw_only=True)
class VocabSettings(Validated):
    output: str = required("the model's file", metavar="FILE")
    vocabulary: VocabularyConfig = group(VocabularyConfig(), title="Vocabulary")
    outputs: OutputConfig = group(OutputConfig())
    corpus: CorpusConfig = group(CorpusConfig(corpus_size=None))
    debug: bool = setting(False, DEBUG, action="store_true")


@dataclass(frozen=True, kw_only=True)
class TrainSettings(Validated):
    output: str = required("the checkpoint; its record goes beside it as .json", metavar="FILE")
    vocab: str | None = setting(
        None,
        "sentencepiece model, or vocab.json of public DeepSC code "
        f"(default {DEFAULT_VOCABULARY}, of the built-in corpus)",
        metavar="FILE",
    )
    start_from: str | None = setting(
        None,
        "train on from this checkpoint, with its sizes and vocabulary, instead of from nothing",
        metavar="FILE",
    )
    outputs: OutputConfig = group(OutputConfig())
    model: ModelConfig = group(ModelConfig())
    corpus: CorpusConfig = group(WHOLE_CORPUS)
    channel: ChannelConfig = group(ChannelConfig())
    snr: TrainingSNRConfig = group(TrainingSNRConfig(), title="Training SNR")
    training: TrainingConfig = group(TrainingConfig())
    run: RunConfig = group(RunConfig())

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.start_from:
            return
        given = [flag_of(name) for name in SIZES if differs(self.model, name)]
        given += ["--vocab"] if self.vocab else []
        if given:
            raise SemcomError(
                f"{given[0]}: sizes and vocabulary are those of --start-from {escape(self.start_from)}; leave it out"
            )


SIZES = ("layers", "model_width", "heads", "feed_forward", "channel_dim")
"""Settings of a model that a checkpoint to start from has already."""


@dataclass(frozen=True, kw_only=True)
class SpliceSettings(Validated):
    transmitter: str = required("its transmitter is taken", metavar="FILE")
    receiver: str = required("its receiver is taken", metavar="FILE")
    output: str = required("the checkpoint made", metavar="FILE")
    outputs: OutputConfig = group(OutputConfig())
    debug: bool = setting(False, DEBUG, action="store_true")


@dataclass(frozen=True, kw_only=True)
class ImportSettings(Validated):
    checkpoint: str = required(
        "its state dict, as torch.save(model.state_dict(), …) wrote it",
        positional=True,
        metavar="CHECKPOINT.pth",
    )
    vocab_file: str = required("its vocab.json", metavar="FILE")
    output: str = required("the checkpoint made", metavar="FILE")
    model: ImportConfig = group(ImportConfig())
    outputs: OutputConfig = group(OutputConfig())
    debug: bool = setting(False, DEBUG, action="store_true")


@dataclass(frozen=True, kw_only=True)
class ExportSettings(Validated):
    checkpoint: str = required("a teacher, student or hybrid", positional=True, metavar="CHECKPOINT")
    output: str = required("the state dict made, .pth there", metavar="FILE")
    vocab_output: str | None = setting(None, "write its word vocabulary too, as vocab.json", metavar="FILE")
    model: ExportConfig = group(ExportConfig())
    outputs: OutputConfig = group(OutputConfig())
    debug: bool = setting(False, DEBUG, action="store_true")


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(Validated):
    checkpoints: tuple[str, ...] = required(
        "checkpoints of one vocabulary", positional=True, nargs="+", metavar="CHECKPOINT"
    )
    output: str | None = setting(None, TABLE_OUTPUT, metavar="FILE")
    outputs: OutputConfig = group(OutputConfig())
    evaluation: EvaluationConfig = group(EvaluationConfig())
    corpus: CorpusConfig = group(WHOLE_CORPUS)
    channel: ChannelConfig = group(ChannelConfig())
    run: RunConfig = group(RunConfig())


@dataclass(frozen=True, kw_only=True)
class AuditSettings(Validated):
    checkpoint: str = required(
        "any transceiver, imported or trained here", positional=True, metavar="CHECKPOINT"
    )
    output: str | None = setting(None, TABLE_OUTPUT, metavar="FILE")
    outputs: OutputConfig = group(OutputConfig())
    evaluation: EvaluationConfig = group(AUDITED, only=("snr", "split", "sentences", "eval_batch_size"))
    corpus: CorpusConfig = group(WHOLE_CORPUS)
    channel: ChannelConfig = group(ChannelConfig())
    run: RunConfig = group(RunConfig())


@dataclass(frozen=True, kw_only=True)
class DoctorSettings(Validated):
    checkpoint: str | None = setting(
        None,
        f"its transmitter sends (default {DEFAULT_TEACHER})",
        positional=True,
        nargs="?",
        metavar="CHECKPOINT",
    )
    output: str | None = setting(None, "every figure as JSON; a picture beside it as .png", metavar="FILE")
    outputs: OutputConfig = group(OutputConfig())
    evaluation: EvaluationConfig = group(EXAMINED, only=("snr", "split", "sentences"))
    fades: DoctorConfig = group(DoctorConfig())
    channel: ChannelConfig = group(ChannelConfig(), only=("rician_k",))
    corpus: CorpusConfig = group(WHOLE_CORPUS)
    run: RunConfig = group(RunConfig())


@dataclass(frozen=True, kw_only=True)
class TransmitSettings(Validated):
    sentence: str | None = setting(
        None, "the sentence; without it, lines of standard input", positional=True, nargs="?"
    )
    checkpoints: tuple[str, ...] = setting(
        (), f"transceivers (default {DEFAULT_TEACHER})", nargs="+", metavar="CHECKPOINT"
    )
    evaluation: EvaluationConfig = group(
        EvaluationConfig(), title="SNR and search", only=("snr", "beam_width", "length_penalty")
    )
    channel: ChannelConfig = group(ChannelConfig())
    run: RunConfig = group(RunConfig())
