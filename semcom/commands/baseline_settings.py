"""Settings of ``python -m semcom baseline``."""

from dataclasses import dataclass

from semcom.base.errors import SemcomError, escape
from semcom.base.flags import Rule, Validated, differs, group, setting
from semcom.base.settings import OutputConfig, RunConfig
from semcom.base.typed_words import plain_name
from semcom.channel.settings import ChannelConfig, is_noisy
from semcom.commands.settings import WHOLE_CORPUS
from semcom.data.settings import CorpusConfig
from semcom.data.source_code_settings import KINDS, LANGUAGE_MODEL, SourceCodeConfig
from semcom.evaluation.settings import EvaluationConfig
from semcom.models.settings import DEFAULT_TEACHER, ModelConfig

MODULATIONS = {"qpsk": 2, "16qam": 4, "64qam": 6, "256qam": 8}
"""Name -> bits a symbol, the sparsest first."""
ADAPTATIONS = ("one", "snr", "h")
PACKINGS = ("sentence", "packed")
EVALUATION_FLAGS = ("snr", "sentences", "split", "examples", "bleu_tokenizer", "text_normalization")


@dataclass(frozen=True)
class BaselineConfig(Validated):
    """The coded link: text, source code, CRC, LDPC of 5G, QAM."""

    source_code: tuple[str, ...] = setting(
        KINDS,
        "canonical Huffman over characters, over the vocabulary's pieces, or arithmetic coding under a "
        "causal language model; all learn the training split",
        nargs="+",
        type=plain_name,
        choices=KINDS,
    )
    modulation: tuple[str, ...] = setting(
        tuple(MODULATIONS),
        "among which a scheme is chosen",
        nargs="+",
        type=plain_name,
        choices=MODULATIONS,
    )
    crc: int = setting(
        16, "bits of the CRC, 16 or 11", Rule("16 or 11", (16, 11).__contains__, "16"), metavar="BITS"
    )
    adaptation: tuple[str, ...] = setting(
        ADAPTATIONS,
        "what the transmitter knows of the channel: nothing, so that one scheme serves all SNRs; the mean "
        "SNR; the channel's gain. A curve each; the schemes are chosen on validation sentences",
        nargs="+",
        type=plain_name,
        choices=ADAPTATIONS,
    )
    packing: tuple[str, ...] = setting(
        PACKINGS,
        "a block a sentence, or as many sentences as a block holds, which wait for its last one",
        nargs="+",
        type=plain_name,
        choices=PACKINGS,
    )
    header: bool = setting(
        False,
        "curves besides that pay 10 bits a sentence for telling how many symbols and bits it has",
        action="store_true",
    )
    resend: bool = setting(
        False,
        "curves besides where a block whose CRC fails is sent once more, both combined (Chase)",
        action="store_true",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("source_code", "modulation", "adaptation", "packing"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise SemcomError(f"--{name.replace('_', '-')} {' '.join(values)}: name each once")


@dataclass(frozen=True, kw_only=True)
class BaselineSettings(Validated):
    like: str | None = setting(
        None,
        "the transceiver that it is compared with: its vocabulary and C give each sentence its symbols, its "
        f"receiver the size of the language model, its record the corpus (default {DEFAULT_TEACHER})",
        metavar="CHECKPOINT",
    )
    vocab: str | None = setting(
        None,
        "instead of --like: a vocabulary alone, of a transceiver of the size that train gives it, with "
        "--channel-dim",
        metavar="FILE",
    )
    channel_dim: int | None = setting(
        None,
        "beside --vocab: real channel dimensions a token, C",
        type=int,
        absent=str(ModelConfig.channel_dim),
        metavar="C",
    )
    lm_code: str | None = setting(
        None,
        "lm: code by this one instead of training one; with --output a run leaves its own beside "
        "it, as .lm.pt",
        metavar="FILE",
    )
    output: str | None = setting(
        None, "all curves as CSV; beside it a picture as .png and the record as .json", metavar="FILE"
    )
    outputs: OutputConfig = group(OutputConfig())
    link: BaselineConfig = group(BaselineConfig())
    training: SourceCodeConfig = group(SourceCodeConfig())
    evaluation: EvaluationConfig = group(EvaluationConfig(sentences=300), only=EVALUATION_FLAGS)
    corpus: CorpusConfig = group(WHOLE_CORPUS)
    channel: ChannelConfig = group(ChannelConfig())
    run: RunConfig = group(RunConfig())

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.like and self.vocab:
            raise SemcomError(
                f"--vocab {escape(self.vocab)}: the vocabulary is that of --like {escape(self.like)}; leave "
                "one of them out"
            )
        if self.channel_dim is not None:
            if not self.vocab:
                raise SemcomError(
                    f"--channel-dim {self.channel_dim}: is that of the checkpoint; leave it out, or give "
                    "--vocab"
                )
            ModelConfig(channel_dim=self.channel_dim)
        if self.evaluation.split == "all":
            raise SemcomError(
                "--split all: source codes learn the training split, which would be measured too; leave it "
                "out, or give test or validation"
            )
        if self.lm_code:
            trained = [flag for flag, is_given in self._of_lm()[1:] if is_given]
            if trained:
                raise SemcomError(f"{trained[0]}: --lm-code is trained; leave one of them out")
        if LANGUAGE_MODEL not in self.link.source_code:
            given = [flag for flag, is_given in self._of_lm() if is_given]
            if given:
                raise SemcomError(
                    f"{given[0]}: is of the source code lm; leave it out or add --source-code lm"
                )
        if not is_noisy(self.channel.channel):
            raise SemcomError(
                f"--channel {self.channel.channel}: has no noise that a code would be against; for example "
                "--channel awgn"
            )

        if self.channel.csi == "none":
            raise SemcomError(
                "--csi none: QAM is not demodulated without knowing the channel's gain; give --csi pilots or "
                "--csi perfect"
            )

    def _of_lm(self) -> list[tuple[str, bool]]:
        names = ("lm_steps", "lm_minutes", "lm_batch_size", "lm_lr")
        trained = [(f"--{name.replace('_', '-')}", differs(self.training, name)) for name in names]
        return [("--lm-code", bool(self.lm_code)), *trained]
