"""Settings of ``python -m semcom dial``."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from semcom.base.errors import SemcomError, escape
from semcom.base.flag_words import words_of
from semcom.base.flags import Validated, group, required, setting
from semcom.base.settings import OutputConfig, RunConfig
from semcom.channel.settings import ChannelConfig
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.settings import WHOLE_CORPUS
from semcom.data.settings import CorpusConfig
from semcom.evaluation.settings import EvaluationConfig, TargetConfig

LADDER = "checkpoints/ladder"
LADDER_FILES = RECORD, TABLE, PICTURE = "ladder.json", "ladder.csv", "dial_curve.png"
CODE_DRIFT = (
    "a full-mode student's two ends made up a code of their own: its pair (student + student) drifts from "
    "the teacher's code as well as from its knowledge"
)
CORPUS_FLAGS = tuple(f.name for f in fields(CorpusConfig) if "topics" not in f.name)
EVALUATION_FLAGS = (
    "snr",
    "sentences",
    "eval_batch_size",
    "beam_width",
    "length_penalty",
    "compile",
    "bleu_tokenizer",
    "text_normalization",
)


@dataclass(frozen=True, kw_only=True)
class DialSettings(Validated):
    source: str | None = setting(
        None,
        "folder of a finished distillation, whose path is dialled",
        positional=True,
        nargs="?",
        metavar="RUN",
    )
    target: tuple[float, ...] = required(
        "the divergences asked for, a hybrid each", nargs="+", type=float, metavar="VALUE"
    )
    path: str = setting(
        "auto",
        "learning: from the student's start to its best; knowledge: from the teacher to a student that is "
        "the teacher trained further; auto: knowledge where the student is that",
        choices=("auto", "learning", "knowledge"),
    )
    from_: str | None = setting(None, "instead of a run: dial from this checkpoint", metavar="FILE")
    to: str | None = setting(None, "to this one, of the same architecture", metavar="FILE")
    teacher_checkpoint: str | None = setting(
        None, "divergence is from this (default the teacher that the run or both name)", metavar="FILE"
    )
    output_path: str | None = setting(None, f"folder of the ladder (default {LADDER})", metavar="FOLDER")
    outputs: OutputConfig = group(OutputConfig())
    ask: TargetConfig = group(TargetConfig())
    evaluation: EvaluationConfig = group(EvaluationConfig(sentences=10_000), only=EVALUATION_FLAGS)
    corpus: CorpusConfig = group(WHOLE_CORPUS, title="On which sentences", only=CORPUS_FLAGS)
    channel: ChannelConfig = group(ChannelConfig())
    run: RunConfig = group(RunConfig())

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ask.check("--target", self.target)
        if self.source is not None and (self.from_ or self.to):
            flag, given = ("--from", self.from_) if self.from_ else ("--to", self.to)
            raise SemcomError(
                f"{flag} {escape(given)}: the path is that of the run {escape(self.source)}; give a run, or "
                "--from and --to"
            )
        if self.source is None and not (self.from_ and self.to):
            raise SemcomError(
                "dial: nothing to dial; give the folder of a finished distillation (make one with: python "
                "distillation.py --distill-part decoder), or --from FILE --to FILE"
            )
        if self.source is None and self.path != "auto":
            raise SemcomError(f"--path {self.path}: is of a run; with --from and --to leave it out")

    def command(self, targets: Sequence[str] = ()) -> str:
        """What a person would type. targets: in place of those of these settings."""
        words = words_of(self, first=("target",))
        first = words.index("--target") + 1
        words[first : first + len(self.target)] = targets or words[first : first + len(self.target)]
        return shlex.join(["python", "-m", "semcom", "dial", *words])


def dial_like(run: DistilSettings) -> DialSettings:
    """A dial of a distillation's own path to its targets: on its text, whole, through its channel, with its
    seed."""
    return DialSettings(
        source=str(run.output_path),
        target=run.files.target_divergence,
        ask=run.ask,
        corpus=replace(run.corpus, corpus_size=WHOLE_CORPUS.corpus_size, topics=(), exclude_topics=()),
        channel=run.channel,
        run=run.run,
    )
