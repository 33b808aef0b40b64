"""Settings of each verb: one dataclass, its flags in the order in which ``--help`` shows them."""

from dataclasses import dataclass, field, replace

from semcom.base.errors import SemcomError, escape
from semcom.base.flags import (
    Validated,
    differs,
    flag_of,
    group,
    required,
    setting,
    whole,
)
from semcom.base.settings import OutputConfig, Request, ResumeConfig, RunConfig, TrackConfig
from semcom.channel.settings import KINDS, ChannelConfig, TrainingSNRConfig, check_snr_is_told
from semcom.data.settings import DEFAULT_VOCABULARY, CorpusConfig, VocabularyConfig
from semcom.distillation.training_settings import TrainingConfig
from semcom.evaluation.settings import DoctorConfig, EvaluationConfig, ResendingConfig
from semcom.models.settings import (
    DEFAULT_TEACHER,
    ImportConfig,
    ModelConfig,
)

DIGITS = "checkpoints/examples/digits"
SEEDS = 5
"""Of an experiment over seeds."""
WHOLE_CORPUS = CorpusConfig(corpus_size=60_000)
"""Of the built-in corpus, where a model is trained from nothing or measured."""
AUDITED = EvaluationConfig(snr=(0.0, 6.0, 12.0, 18.0))
EXAMINED = EvaluationConfig(snr=(0.0, 6.0, 12.0, 18.0), sentences=200)
MEASURED_BY = ("rician_k", "delay_spread")
"""Settings of the channels as the doctor has them: every channel, gains known, under zero forcing."""
TABLE_OUTPUT = "all rows as CSV; a picture beside it as .png"
DEBUG = "show the traceback of an error"


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
    debug: bool = setting(False, DEBUG, action="store_true", recorded=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.corpus.check_without_files()


@dataclass(frozen=True, kw_only=True)
class TrainSettings(Validated):
    """request: how the training was asked for."""

    output: str = required("the checkpoint; its record goes beside it as .json", metavar="FILE")
    vocab: str | None = setting(
        None,
        "sentencepiece model, or vocab.json of public DeepSC code "
        f"(default {DEFAULT_VOCABULARY}, of the built-in corpus)",
        metavar="FILE",
    )
    vocab_size: int | None = setting(
        None,
        "train a vocabulary of so many pieces on the corpus, in place of --vocab; the checkpoint keeps it",
        whole(1, 1_000_000, example="8000"),
        type=int,
        metavar="N",
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
    resuming: ResumeConfig = group(ResumeConfig())
    run: RunConfig = group(RunConfig())
    tracking: TrackConfig = group(TrackConfig())
    request: Request = field(default=Request(), compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.corpus.check_without_files()
        check_snr_is_told(self.model.snr_aware, self.channel.channel)
        if self.vocab and self.vocab_size:
            raise SemcomError(
                f"--vocab-size {self.vocab_size}: trains a vocabulary, and --vocab {escape(self.vocab)} "
                "is one; leave one of them out"
            )
        if not self.start_from:
            return
        given = [flag_of(name) for name in SIZES if differs(self.model, name)]
        given += [flag for flag, value in self._vocabularies() if value]
        if given:
            raise SemcomError(
                f"{given[0]}: sizes and vocabulary are those of --start-from {escape(self.start_from)}; "
                "leave it out"
            )

    def _vocabularies(self) -> tuple[tuple[str, object], ...]:
        return ("--vocab", self.vocab), ("--vocab-size", self.vocab_size)


SIZES = (
    "transmitter_type",
    "receiver_type",
    "layers",
    "model_width",
    "heads",
    "feed_forward",
    "channel_dim",
    "snr_aware",
)
"""Settings of a model that a checkpoint to start from has already."""


@dataclass(frozen=True, kw_only=True)
class SpliceSettings(Validated):
    transmitter: str = required("its transmitter is taken", metavar="FILE")
    receiver: str = required("its receiver is taken", metavar="FILE")
    output: str = required("the checkpoint made", metavar="FILE")
    outputs: OutputConfig = group(OutputConfig())
    debug: bool = setting(False, DEBUG, action="store_true", recorded=False)


@dataclass(frozen=True, kw_only=True)
class ImportSettings(Validated):
    checkpoint: str = required(
        "its weights: a state dict of public DeepSC code, or a trainer's file that holds one; or what export "
        "--format safetensors or hub wrote, a file or folder",
        positional=True,
        metavar="CHECKPOINT.pth",
    )
    vocab_file: str | None = setting(None, "the vocab.json of a model of public DeepSC code", metavar="FILE")
    output: str = required("the checkpoint made", metavar="FILE")
    model: ImportConfig = group(ImportConfig())
    outputs: OutputConfig = group(OutputConfig())
    debug: bool = setting(False, DEBUG, action="store_true", recorded=False)


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(Validated):
    checkpoints: tuple[str, ...] = required(
        "checkpoints of one vocabulary; with --runtime onnx also folders that export --format onnx made",
        positional=True,
        nargs="+",
        metavar="CHECKPOINT",
    )
    output: str | None = setting(None, TABLE_OUTPUT, metavar="FILE")
    baseline: tuple[str, ...] = setting(
        (),
        "tables that the verb baseline made on the same sentences and draws: their curves stand beside, "
        "with the SNRs at which they are crossed",
        nargs="+",
        metavar="FILE.csv",
    )
    channels: tuple[str, ...] = setting(
        (),
        "channels besides --channel, with its settings: a grid of models and channels",
        type=str.lower,
        choices=KINDS,
        nargs="+",
        metavar="CHANNEL",
    )
    runtime: str = setting(
        "torch",
        "onnx: run exported folders by onnxruntime, on the CPU, checkpoints beside them by torch, and "
        "measure the latency of each end",
        type=str.lower,
        choices=("torch", "onnx"),
    )
    outputs: OutputConfig = group(OutputConfig())
    evaluation: EvaluationConfig = group(EvaluationConfig())
    resending: ResendingConfig = group(ResendingConfig())
    corpus: CorpusConfig = group(WHOLE_CORPUS)
    channel: ChannelConfig = group(ChannelConfig())
    run: RunConfig = group(RunConfig())

    def __post_init__(self) -> None:
        super().__post_init__()
        self.resending.check_channel(self.channel.channel, self.channel.csi)
        # What one of the others refuses is told now, not after the first is measured.
        _ = self.through

    @property
    def through(self) -> tuple[ChannelConfig, ...]:
        """Each channel once, that of the group first."""
        names = dict.fromkeys((self.channel.channel, *self.channels))
        return tuple(replace(self.channel, channel=name) for name in names)


@dataclass(frozen=True, kw_only=True)
class AuditSettings(Validated):
    checkpoint: str = required(
        "any transceiver, imported or trained here", positional=True, metavar="CHECKPOINT"
    )
    output: str | None = setting(None, TABLE_OUTPUT, metavar="FILE")
    outputs: OutputConfig = group(OutputConfig())
    evaluation: EvaluationConfig = group(
        AUDITED,
        only=(
            "snr",
            "split",
            "sentences",
            "eval_batch_size",
            "compile",
            "bleu_tokenizer",
            "text_normalization",
        ),
    )
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
    channel: ChannelConfig = group(ChannelConfig(), only=MEASURED_BY)
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
        EvaluationConfig(), title="SNR and search", only=("snr", "beam_width", "length_penalty", "compile")
    )
    channel: ChannelConfig = group(ChannelConfig())
    run: RunConfig = group(RunConfig())
