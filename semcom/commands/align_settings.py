"""Settings of ``python -m semcom align``."""

from dataclasses import dataclass

from semcom.base.errors import SemcomError
from semcom.base.flags import Rule, Validated, group, required, setting, whole
from semcom.base.settings import OutputConfig, RunConfig
from semcom.channel.settings import ChannelConfig
from semcom.commands.dial_settings import EVALUATION_FLAGS
from semcom.commands.settings import WHOLE_CORPUS
from semcom.data.settings import CorpusConfig
from semcom.distillation.aligner_settings import PILOT_CHOICES, WAYS, TuningConfig
from semcom.evaluation.settings import EvaluationConfig

ALIGNMENT = "checkpoints/alignment"
ALIGNMENT_FILES = RECORD, TABLE, PICTURE = "alignment.json", "alignment.csv", "alignment.png"
MOST_PILOTS = 1_000_000
PILOTS = Rule(
    f"whole numbers of 1 or more, at most {MOST_PILOTS}, each once",
    lambda counts: all(1 <= n <= MOST_PILOTS for n in counts) and len(set(counts)) == len(counts),
    "10 30 100",
)


@dataclass(frozen=True, kw_only=True)
class AlignSettings(Validated):
    transmitter: str = required("its transmitter is taken", metavar="FILE")
    receiver: str = required(
        "its receiver is taken; what its own transmitter sends without noise is what the map aims at",
        metavar="FILE",
    )
    by: tuple[str, ...] = setting(
        ("linear",),
        "ways to join them, one or several: none; a map on what arrives (scale, one complex number; "
        "orthogonal; linear and affine, ridge by five folds; network; anchors); decoder, the receiver tuned "
        "on the pilots; surrogate, the receiver tuned on the training split as a model of the transmitter, "
        "learned from the pilots, sends it; encoder, the transmitter tuned, a genie, since gradients are fed "
        f"back. Choices: {', '.join(WAYS)}",
        choices=WAYS,
        nargs="+",
        metavar="WAY",
    )
    pilots: tuple[int, ...] = setting(
        (10, 30, 100, 300, 1000),
        "sentences of the training split that both sides know, from which the map is learned",
        PILOTS,
        type=int,
        nargs="+",
        metavar="N",
    )
    pilot_choice: str = setting(
        "random",
        "which sentences: random; covering, those whose pieces make up most of the text; "
        "covering-per-symbol, most of it for the symbols that they take",
        choices=PILOT_CHOICES,
    )
    draws: int = setting(
        5, "draws of pilots, of which intervals are", whole(1, 100, example="5"), metavar="N"
    )
    map_snr: str = setting(
        "each",
        "each: a map an SNR, of pilots received there; range: one, of pilots received at SNRs between the "
        "lowest and the highest",
        choices=("each", "range"),
    )
    output_path: str | None = setting(
        None, f"folder of the table, the picture and the joined pairs (default {ALIGNMENT})", metavar="FOLDER"
    )
    outputs: OutputConfig = group(OutputConfig())
    tuning: TuningConfig = group(TuningConfig())
    evaluation: EvaluationConfig = group(
        EvaluationConfig(snr=(0.0, 6.0, 12.0, 18.0), sentences=300), only=("split", *EVALUATION_FLAGS)
    )
    corpus: CorpusConfig = group(WHOLE_CORPUS)
    channel: ChannelConfig = group(ChannelConfig())
    run: RunConfig = group(RunConfig())

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.evaluation.split == "all":
            raise SemcomError(
                "--split all: pilots come from the training split, which would be measured too; leave it "
                "out, or give test or validation"
            )
        if len(set(self.by)) < len(self.by):
            raise SemcomError(f"--by {' '.join(self.by)}: name each way once")
