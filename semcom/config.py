"""Settings: one frozen dataclass per concern. A setting's default, help, choices and validation stand here once;
argparse flags are made from them. Standard library only, so that ``--help`` needs no torch.
"""

import argparse
import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from semcom.errors import SemcomError, escape

Config = TypeVar("Config")
DEFAULT_TEACHER = "checkpoints/teacher.pt"
DEFAULT_VOCABULARY = "vocab/parliament.model"
PARTS = ("encoder", "channel_encoder", "channel_decoder", "decoder")


@dataclass(frozen=True)
class Rule:
    """allowed: in words, for the message. holds: the test. example: a value that passes."""

    allowed: str
    holds: Callable[[Any], bool]
    example: str


def _number(low: float, high: float = math.inf, *, above: bool = False, example: str) -> Rule:
    if above:
        allowed = f"a finite number above {low:g}" + (f" and at most {high:g}" if high < math.inf else "")
    elif high < math.inf:
        allowed = f"a number from {low:g} to {high:g}"
    else:
        allowed = f"a finite number of {low:g} or more"
    return Rule(allowed, lambda x: math.isfinite(x) and (x > low if above else x >= low) and x <= high, example)


def _whole(low: int, high: int = 2**31, *, example: str) -> Rule:
    return Rule(f"a whole number of {low} or more" + (f", at most {high}" if high < 2**31 else ""),
                lambda x: low <= x <= high, example)


def _snr_values(values: Iterable[float]) -> bool:
    return all(math.isfinite(v) and -100 <= v <= 100 for v in values)


SNR = Rule("numbers in dB from -100 to 100", _snr_values, "-6 0 6 12 18")
SNR_RANGE = Rule("two numbers in dB from -100 to 100, LOW not above HIGH", lambda r: _snr_values(r) and r[0] <= r[1], "-6 18")


def setting(default: Any, help: str, rule: Rule | None = None, **argument: Any) -> Any:
    """A dataclass field that knows its flag. ``argument`` goes to ``add_argument`` (type, choices, nargs, metavar)."""
    return field(default=default, metadata={"help": help, "rule": rule, "argument": argument})


def _corpus_size(text: str) -> int | None:
    if text.lower() != "all" and not text.lstrip("-").isdecimal():
        raise argparse.ArgumentTypeError(f"{escape(text)!r}: must be a whole number of 1 or more, or 'all'")
    return None if text.lower() == "all" else int(text)


class Validated:
    """Checks each setting against its rule when an instance is made, from flags or from Python alike."""

    def __post_init__(self) -> None:
        for f in fields(self):
            rule: Rule | None = f.metadata.get("rule")
            value = getattr(self, f.name)
            if rule is not None and value is not None and not rule.holds(value):
                raise SemcomError(f"{flag_of(f.name)} {_shown(value)}: must be {rule.allowed}; "
                                  f"for example {flag_of(f.name)} {rule.example}")


def _shown(value: Any) -> str:
    return " ".join(map(_shown, value)) if isinstance(value, (tuple, list)) else escape(f"{value:g}" if isinstance(value, float) else value)


def flag_of(name: str) -> str:
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class CorpusConfig(Validated):
    """Which sentences an end learns from: a knob of its knowledge."""

    corpus: tuple[str, ...] = setting((), "text files (plain or .gz, one sentence a line) and folders of them; "
                                      "without it the built-in parliamentary corpus", nargs="+", metavar="PATH")
    corpus_size: int | None = setting(24_000, "how many sentences, or 'all'; of text files a sample by hash",
                                      Rule("a whole number of 1 or more, or 'all'", lambda x: x >= 1, "24000"), type=_corpus_size, metavar="N")
    topics: tuple[str, ...] = setting((), "built-in corpus: these topics only", nargs="+", metavar="TOPIC")
    exclude_topics: tuple[str, ...] = setting((), "built-in corpus: all but these topics", nargs="+", metavar="TOPIC")
    min_length: int = setting(4, "text files: shortest sentence, in words", _whole(1, example="4"), metavar="WORDS")
    max_length: int = setting(30, "text files: longest sentence, in words", _whole(1, 500, example="30"), metavar="WORDS")
    max_sentences: int = setting(2_000_000, "text files: stop reading after this many", _whole(1, example="2000000"), metavar="N")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_length > self.max_length:
            raise SemcomError(f"--min-length {self.min_length}: is above --max-length {self.max_length}; exchange them")
        for name in ("min_length", "max_length", "max_sentences"):
            if not self.corpus and getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise SemcomError(f"{flag_of(name)} {getattr(self, name)}: chooses among text files; leave it out or give --corpus")
        if self.corpus and (self.topics or self.exclude_topics):
            raise SemcomError("--topics and --exclude-topics choose within the built-in corpus; leave them out or leave --corpus out")


@dataclass(frozen=True)
class ChannelConfig(Validated):
    """The physical channel."""

    channel: str = setting("awgn", "channel model", type=str.lower, choices=("ideal", "awgn", "rayleigh", "rician"))
    rician_k: float = setting(1.0, "Rician: line-of-sight over scattered power, linear", _number(0, example="1"), metavar="K")
    equalizer: str = setting("zf", "Rayleigh and Rician: zero forcing or MMSE", type=str.lower, choices=("zf", "mmse"))


@dataclass(frozen=True)
class TrainingSNRConfig(Validated):
    snr_range: tuple[float, float] = setting((-6.0, 18.0), "SNR in dB per complex symbol, uniform in dB, one a sentence",
                                             SNR_RANGE, type=float, nargs=2, metavar=("LOW", "HIGH"))


@dataclass(frozen=True)
class ModelConfig(Validated):
    """Size of a transceiver trained from nothing."""

    layers: int = setting(4, "layers of each end", _whole(1, 64, example="4"), metavar="N")
    model_width: int = setting(128, "model width D", _whole(1, 8192, example="128"), metavar="D")
    heads: int = setting(8, "attention heads", _whole(1, 256, example="8"), metavar="H")
    feed_forward: int = setting(512, "feed-forward width", _whole(1, 65_536, example="512"), metavar="F")
    channel_dim: int = setting(16, "real channel dimensions a token, C (C/2 complex symbols)",
                               Rule("an even number from 2 to 4096", lambda c: 2 <= c <= 4096 and c % 2 == 0, "16"), metavar="C")
    dropout: float = setting(0.1, "dropout rate", Rule("a number of 0 or more and below 1", lambda p: 0 <= p < 1, "0.1"), metavar="P")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_heads("--model-width", self.model_width, "--heads", self.heads)


def check_heads(width_flag: str, width: int, heads_flag: str, heads: int) -> None:
    """Raise SemcomError unless the width divides by the heads."""
    if width % heads:
        fitting = max(h for h in range(1, heads) if width % h == 0)
        raise SemcomError(f"{heads_flag} {heads}: {width_flag} {width} does not divide by it; for example {heads_flag} {fitting}")


@dataclass(frozen=True)
class TrainingConfig(Validated):
    """The training loop."""

    batch_size: int = setting(128, "sentences a step", _whole(1, example="128"), metavar="B")
    batch_tokens: int | None = setting(None, "target tokens a step, padding included, at most, instead of --batch-size sentences; "
                                       "a longer sentence is a step of its own", _whole(1, example="3000"), type=int, metavar="N")
    epochs: int = setting(10, "passes over the training split", _whole(1, example="10"), metavar="N")
    steps: int | None = setting(None, "train for this many steps instead of --epochs", _whole(1, example="1000"), type=int, metavar="N")
    minutes: float | None = setting(None, "train for about this many minutes instead: the first steps are timed, the number of steps "
                                    "fixed from that and recorded", _number(0, above=True, example="45"), type=float, metavar="M")
    lr: float = setting(1e-3, "peak learning rate (AdamW; linear warm-up, then linear decay to 0)",
                        _number(0, above=True, example="0.001"), metavar="RATE")
    warmup_steps: int = setting(300, "warm-up steps, a fifth of the run at most", _whole(0, example="300"), metavar="N")
    weight_decay: float = setting(0.01, "AdamW weight decay", _number(0, example="0.01"), metavar="W")
    clip: float = setting(1.0, "clip the gradient's norm at this", _number(0, above=True, example="1"), metavar="NORM")
    precision: str = setting("auto", "matrix products in float32 or bfloat16; auto takes bf16 above D=64, on CPUs with AMX and GPUs that have it",
                             choices=("auto", "fp32", "bf16"))
    compile: bool = setting(False, "compile the arithmetic of the losses (needs a C++ compiler, on GPUs Triton): faster steps after "
                            "half a minute or more", action="store_true")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps and self.minutes:
            raise SemcomError(f"--steps {self.steps} and --minutes {self.minutes:g}: give one of them")
        if self.batch_tokens and self.batch_size != type(self).__dataclass_fields__["batch_size"].default:
            raise SemcomError(f"--batch-size {self.batch_size} and --batch-tokens {self.batch_tokens}: give one of them")


@dataclass(frozen=True)
class StudentConfig(Validated):
    """Capacity of the student: a knob of its knowledge."""

    student_layers: int = setting(2, "layers of each trained end", _whole(1, 64, example="2"), metavar="N")
    student_d_model: int | None = setting(None, "model width of the student; default the teacher's", _whole(1, 8192, example="64"),
                                          type=int, metavar="D")
    student_heads: int | None = setting(None, "attention heads of the student; default the teacher's", _whole(1, 256, example="4"),
                                        type=int, metavar="H")
    student_dff: int | None = setting(None, "feed-forward width of the student; default the teacher's", _whole(1, 65_536, example="256"),
                                      type=int, metavar="F")
    student_init: str = setting("teacher", "start from evenly spaced teacher layers, or from random weights", choices=("teacher", "random"))


@dataclass(frozen=True)
class DistillationConfig(Validated):
    """What is distilled and how: loss = (1 - weight) * CE + weight * T^2 * KL(teacher/T || student/T) + feature weight * MSE."""

    distill_part: str = setting("full", "train both ends, the transmitter (encoder) or the receiver (decoder); the other end stays the teacher's",
                                type=str.lower, choices=("full", "encoder", "decoder"))
    temperature: float = setting(4.0, "distillation temperature T", _number(0, above=True, example="4"), metavar="T")
    distill_weight: float = setting(0.7, "weight of the distillation term, 0 (labels alone) to 1", _number(0, 1, example="0.7"), metavar="WEIGHT")
    feature_weight: float = setting(0.0, "weight of the mean squared difference of transmitted signals (encoder), "
                                    "decoder states (decoder) or both (full)", _number(0, example="1"), metavar="WEIGHT")

    def advice(self) -> list[str]:
        """One line for each setting that is legal but unwise."""
        lines = []
        if self.temperature < 1:
            lines.append(f"--temperature {self.temperature:g} is under 1: it sharpens the teacher instead of softening it")
        if self.temperature > 15:
            lines.append(f"--temperature {self.temperature:g} is over 15: the teacher's distribution is nearly flat")
        if self.distill_weight > 0.95:
            lines.append(f"--distill-weight {self.distill_weight:g} is over 0.95: the labels hardly count")
        return lines


@dataclass(frozen=True)
class RunConfig(Validated):
    """Seed, device and how much is said."""

    seed: int = setting(42, "seed of weights, order, dropout and channel draws", _whole(0, 2**31 - 1, example="42"), metavar="N")
    device: str = setting("auto", "auto, cpu, cuda or cuda:N; auto takes a GPU if there is one", metavar="DEVICE")
    quiet: bool = setting(False, "no progress, results only", action="store_true")
    debug: bool = setting(False, "show the traceback of an error", action="store_true")


def add_flags(parser: argparse.ArgumentParser, config: type, *, title: str | None = None,
              only: Iterable[str] | None = None, **defaults: Any) -> None:
    """A group of flags made from the settings of ``config``; ``defaults`` replace the dataclass's own."""
    summary = (config.__doc__ or "").strip().splitlines()[0]
    group = parser.add_argument_group(title or summary.rstrip(".").replace("%", "%%"))
    for f in fields(config):
        if "help" not in f.metadata or (only is not None and f.name not in only):
            continue
        default = defaults.get(f.name, f.default)
        argument = dict(f.metadata["argument"])
        help = f.metadata["help"].replace("%", "%%")
        if argument.get("action") != "store_true":
            if "type" not in argument and isinstance(f.default, (int, float)):
                argument["type"] = type(f.default)
            if default not in (None, ()):
                shown = " ".join(f"{v:g}" for v in default) if isinstance(default, tuple) else default
                help += f" (default {shown})"
            elif default is None and argument.get("type") is _corpus_size:
                help += " (default all)"
        group.add_argument(flag_of(f.name), default=default, help=help, **argument)


def from_flags(config: type[Config], flags: argparse.Namespace) -> Config:
    """The settings of ``config`` out of parsed flags; those without a flag keep their default."""
    given = {f.name: getattr(flags, f.name) for f in fields(config) if hasattr(flags, f.name)}
    return config(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def as_record(*configs: Any) -> dict[str, Any]:
    """All settings as plain JSON values, for the record of a run."""
    record: dict[str, Any] = {}
    for config in configs:
        for name, value in dataclasses.asdict(config).items():
            record[name] = list(value) if isinstance(value, tuple) else value
    return record


@dataclass(frozen=True)
class VocabularyConfig(Validated):
    size: int = setting(4000, "pieces of the vocabulary", _whole(1, 1_000_000, example="4000"), metavar="N")


@dataclass(frozen=True)
class OutputConfig(Validated):
    """What is written where. Default paths set an earlier run aside; a named path is refused without --overwrite."""

    overwrite: bool = setting(False, "replace outputs that exist", action="store_true")


@dataclass(frozen=True)
class DistillationFiles(Validated):
    """Checkpoints read and written."""

    teacher_checkpoint: str | None = setting(None, f"the teacher (default {DEFAULT_TEACHER}, the shipped one)", metavar="FILE")
    student_checkpoint: str | None = setting(None, "start the student from this checkpoint", metavar="FILE")
    output_path: str | None = setting(None, "folder of the run (default checkpoints/distillation, with _encoder or _decoder)", metavar="FOLDER")
    create_hybrid: bool = setting(False, "splice parts of the best student into the teacher", action="store_true")
    hybrid_output: str | None = setting(None, "the hybrid's file (default checkpoints/hybrid_model.pt)", metavar="FILE")
    hybrid_parts: tuple[str, ...] = setting((), "parts to take from the student (default: the receiver; the transmitter in encoder mode)",
                                            nargs="+", choices=PARTS, metavar="PART")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.create_hybrid and (self.hybrid_output or self.hybrid_parts):
            flag = f"--hybrid-output {escape(self.hybrid_output)}" if self.hybrid_output else f"--hybrid-parts {' '.join(self.hybrid_parts)}"
            raise SemcomError(f"{flag}: no hybrid would be written without --create-hybrid; add it")


@dataclass(frozen=True)
class EvaluationConfig(Validated):
    """The sentences and SNRs of a measurement. Only the test split is used."""

    snr: tuple[float, ...] = setting((-6.0, 0.0, 6.0, 12.0, 18.0), "SNRs in dB per complex symbol", SNR, type=float, nargs="+", metavar="DB")
    sentences: int = setting(1000, "test sentences, at most", _whole(1, example="1000"), metavar="N")
    examples: int = setting(0, "show what was understood of this many sentences", _whole(0, example="20"), metavar="N")
    eval_batch_size: int = setting(64, "sentences decoded together, at each SNR", _whole(1, example="64"), metavar="B")
    beam_width: int = setting(1, "hypotheses that beam search follows; 1 is greedy decoding", _whole(1, 1000, example="4"), metavar="N")
    length_penalty: float = setting(1.0, "beam search: divide log-probabilities by ((5 + length) / 6)^A; 0 favours short sentences",
                                    _number(0, 10, example="1"), metavar="A")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beam_width == 1 and self.length_penalty != type(self).__dataclass_fields__["length_penalty"].default:
            raise SemcomError(f"--length-penalty {self.length_penalty:g}: greedy decoding has none; leave it out or add --beam-width 4")
