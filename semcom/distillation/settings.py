"""Settings: The training loop, the student, and what is distilled how."""

import math
from dataclasses import dataclass

from semcom.base.errors import SemcomError
from semcom.base.flags import Rule, Validated, differs, flag_of, number, setting, whole


@dataclass(frozen=True)
class TrainingConfig(Validated):
    """The training loop."""

    batch_size: int = setting(128, "sentences a step", whole(1, example="128"), metavar="B")
    batch_tokens: int | None = setting(
        None,
        "target tokens a step, padding included, at most, instead of --batch-size sentences; "
        "a longer sentence is a step of its own",
        whole(1, example="3000"),
        type=int,
        metavar="N",
    )
    epochs: int = setting(10, "passes over the training split", whole(1, example="10"), metavar="N")
    steps: int | None = setting(
        None, "train for this many steps instead of --epochs", whole(1, example="1000"), type=int, metavar="N"
    )
    minutes: float | None = setting(
        None,
        "train for about this many minutes instead: the first steps are timed, the number of steps "
        "fixed from that and recorded",
        number(0, above=True, example="45"),
        type=float,
        metavar="M",
    )
    lr: float = setting(
        1e-3,
        "peak learning rate (AdamW; linear warm-up, then linear decay to 0)",
        number(0, above=True, example="0.001"),
        metavar="RATE",
    )
    warmup_steps: int = setting(
        300, "warm-up steps, a fifth of the run at most", whole(0, example="300"), metavar="N"
    )
    weight_decay: float = setting(0.01, "AdamW weight decay", number(0, example="0.01"), metavar="W")
    clip: float = setting(
        1.0, "clip the gradient's norm at this", number(0, above=True, example="1"), metavar="NORM"
    )
    precision: str = setting(
        "auto",
        "matrix products in float32 or bfloat16; auto takes bf16 above D=64, on CPUs with AMX and GPUs that have it",
        choices=("auto", "fp32", "bf16"),
    )
    compile: bool = setting(
        False,
        "compile attention and losses (on GPUs losses alone; needs a C++ compiler, on GPUs Triton): faster steps "
        "after a few seconds, on GPUs half a minute or more",
        action="store_true",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps and self.minutes:
            raise SemcomError(f"--steps {self.steps} and --minutes {self.minutes:g}: give one of them")
        if self.batch_tokens and differs(self, "batch_size"):
            raise SemcomError(
                f"--batch-size {self.batch_size} and --batch-tokens {self.batch_tokens}: give one of them"
            )


@dataclass(frozen=True)
class StudentConfig(Validated):
    """Capacity of the student: a knob of its knowledge."""

    student_layers: int = setting(2, "layers of each trained end", whole(1, 64, example="2"), metavar="N")
    student_d_model: int | None = setting(
        None,
        "model width of the student; default the teacher's",
        whole(1, 8192, example="64"),
        type=int,
        metavar="D",
    )
    student_heads: int | None = setting(
        None,
        "attention heads of the student; default the teacher's",
        whole(1, 256, example="4"),
        type=int,
        metavar="H",
    )
    student_dff: int | None = setting(
        None,
        "feed-forward width of the student; default the teacher's",
        whole(1, 65_536, example="256"),
        type=int,
        metavar="F",
    )
    student_init: str = setting(
        "teacher",
        "start from evenly spaced teacher layers, or from random weights",
        choices=("teacher", "random"),
    )


KD_LOSSES = ("kd", "rkl", "jsd", "skl", "dkd")
SCHEDULES = ("constant", "linear", "cosine", "snr")
TEMPERATURES = {"kd": 4.0, "rkl": 1.0, "jsd": 1.0, "skl": 1.0, "dkd": 4.0}
STANDARDIZED_TEMPERATURE = 1.0


@dataclass(frozen=True)
class DistillationConfig(Validated):
    """What is distilled and how: loss = (1 - weight) * CE + weight * KD, KD one of the losses of the guide at
    temperature T."""

    distill_part: str = setting(
        "full",
        "train both ends, the transmitter (encoder) or the receiver (decoder); the other end stays the teacher's",
        type=str.lower,
        choices=("full", "encoder", "decoder"),
    )
    temperature: float | None = setting(
        None,
        "distillation temperature T (default 4 for kd and dkd, 1 for the others and with "
        "--standardize-logits)",
        number(0, above=True, example="4"),
        type=float,
        metavar="T",
    )
    distill_weight: float = setting(
        0.7,
        "weight of the distillation term, 0 (labels alone) to 1",
        number(0, 1, example="0.7"),
        metavar="WEIGHT",
    )
    kd_loss: str = setting(
        "kd",
        "divergence of the student from the teacher: Kullback-Leibler, reversed, Jensen-Shannon, skewed, decoupled",
        type=str.lower,
        choices=KD_LOSSES,
    )
    standardize_logits: bool = setting(
        False, "compare z-scores of the logits (LSKD): their shape, not their size", action="store_true"
    )
    jsd_beta: float = setting(
        0.5,
        "jsd: the teacher's share of the mixture",
        Rule("a number between 0 and 1, neither of them", lambda x: 0 < x < 1, "0.5"),
        metavar="BETA",
    )
    skew: float = setting(
        0.1,
        "skl: the teacher's share of the mixture",
        Rule("a number of 0 or more and below 1", lambda x: 0 <= x < 1, "0.1"),
        metavar="SHARE",
    )
    dkd_alpha: float = setting(
        1.0, "dkd: weight of target against all others", number(0, example="1"), metavar="ALPHA"
    )
    dkd_beta: float = setting(
        8.0, "dkd: weight of the distribution over the others", number(0, example="8"), metavar="BETA"
    )
    dkd_warmup: float = setting(
        0.08,
        "dkd: share of the run over which its weight rises from 0",
        number(0, 1, example="0.08"),
        metavar="SHARE",
    )
    scales: tuple[int, ...] = setting(
        (),
        "distil contiguous segments of a sentence too, this many each (SDD), for example 1 2 4",
        Rule(
            "distinct whole numbers from 1 to 512",
            lambda m: len(set(m)) == len(m) and all(1 <= x <= 512 for x in m),
            "1 2 4",
        ),
        type=int,
        nargs="+",
        metavar="M",
    )
    scale_weight: float = setting(
        1.0, "--scales: weight of the segments beside the tokens", number(0, example="1"), metavar="WEIGHT"
    )
    complementary_weight: float = setting(
        2.0,
        "--scales: weight of a segment in which the teacher sees another class than in the whole",
        number(0, example="2"),
        metavar="WEIGHT",
    )
    temperature_schedule: str = setting(
        "constant",
        "how T goes from --temperature to --final-temperature: over the run, or with the "
        "sentence's SNR from LOW to HIGH",
        choices=SCHEDULES,
    )
    final_temperature: float | None = setting(
        None, "T at the end of its schedule", number(0, above=True, example="1"), type=float, metavar="T"
    )
    weight_schedule: str = setting("constant", "the same for --distill-weight", choices=SCHEDULES)
    final_weight: float | None = setting(
        None, "weight at the end of its schedule", number(0, 1, example="0.3"), type=float, metavar="WEIGHT"
    )

    def __post_init__(self) -> None:
        if self.temperature is None:
            given = STANDARDIZED_TEMPERATURE if self.standardize_logits else TEMPERATURES.get(self.kd_loss)
            object.__setattr__(self, "temperature", given)
        super().__post_init__()
        owners = {
            "jsd_beta": "jsd",
            "skew": "skl",
            "dkd_alpha": "dkd",
            "dkd_beta": "dkd",
            "dkd_warmup": "dkd",
        }
        for name, owner in owners.items():
            if self.kd_loss != owner and differs(self, name):
                raise SemcomError(
                    f"{flag_of(name)} {getattr(self, name):g}: is a setting of --kd-loss {owner}, this run has {self.kd_loss}; "
                    f"leave it out, or give --kd-loss {owner}"
                )
        if self.scales and not self.scale_weight:
            raise SemcomError(
                "--scale-weight 0: the segments of --scales would count for nothing; leave both out"
            )
        for name in ("scale_weight", "complementary_weight"):
            if not self.scales and differs(self, name):
                raise SemcomError(
                    f"{flag_of(name)} {getattr(self, name):g}: weighs segments, and there are none without --scales; "
                    "leave it out, or add --scales 1 2"
                )
        for schedule, final in (
            ("temperature_schedule", "final_temperature"),
            ("weight_schedule", "final_weight"),
        ):
            shape, end = getattr(self, schedule), getattr(self, final)
            if (shape == "constant") != (end is None):
                cure = (
                    f"leave it out, or give {flag_of(schedule)} linear"
                    if end is not None
                    else f"add {flag_of(final)}"
                )
                given = f"{flag_of(final)} {end:g}" if end is not None else f"{flag_of(schedule)} {shape}"
                raise SemcomError(
                    f"{given}: needs {'a schedule' if end is not None else 'an end to go to'}; {cure}"
                )
        if self.distill_weight == self.final_weight:
            raise SemcomError(
                f"--final-weight {self.final_weight:g}: is --distill-weight itself; leave the schedule out, or give another end"
            )
        if not self.distils:
            for name in ("kd_loss", "standardize_logits", "scales", "temperature_schedule"):
                if differs(self, name):
                    raise SemcomError(
                        f"{flag_of(name)}: with --distill-weight 0 nothing is compared with the teacher; "
                        "leave it out, or give a weight above 0"
                    )

    @property
    def distils(self) -> bool:
        """Whether the teacher's distributions enter the loss at all."""
        return self.distill_weight > 0 or bool(self.final_weight)

    @property
    def is_plain(self) -> bool:
        """Whether the divergence is ``kd`` of logits as they are."""
        return self.kd_loss == "kd" and not self.standardize_logits

    def describe(self) -> str:
        """The loss in a few words."""
        if not self.distils:
            return "labels alone"
        parts = [f"{self.kd_loss}{' of standardised logits' * self.standardize_logits}"]
        for name, first, schedule, last in (
            ("T=", self.temperature, self.temperature_schedule, self.final_temperature),
            ("weight ", self.distill_weight, self.weight_schedule, self.final_weight),
        ):
            parts.append(f"{name}{first:g}" + (f" to {last:g} ({schedule})" if last is not None else ""))
        return ", ".join(parts + [f"scales {' '.join(map(str, self.scales))}"] * bool(self.scales))

    def advice(self) -> list[str]:
        """One line for each setting that is legal but unwise."""
        lines = []
        for flag, temperature in (
            ("--temperature", self.temperature),
            ("--final-temperature", self.final_temperature),
        ):
            if temperature is not None and temperature < 1 and not self.standardize_logits:
                lines.append(
                    f"{flag} {temperature:g} is under 1: it sharpens the teacher instead of softening it"
                )
            if temperature is not None and temperature > 15:
                lines.append(f"{flag} {temperature:g} is over 15: the teacher's distribution is nearly flat")
        for flag, weight in (
            ("--distill-weight", self.distill_weight),
            ("--final-weight", self.final_weight),
        ):
            if weight is not None and weight > 0.95:
                lines.append(f"{flag} {weight:g} is over 0.95: the labels hardly count")
        return lines


@dataclass(frozen=True)
class TransferConfig(Validated):
    """What else the student learns from: features, crossed pairs, several teachers, the teacher's own
    sentences."""

    feature_weight: float = setting(
        0.0,
        "weight of the difference of transmitted signals (encoder), decoder states (decoder) or both (full)",
        number(0, example="1"),
        metavar="WEIGHT",
    )
    encoder_weight: float = setting(
        0.0, "weight of the difference of semantic encoder states", number(0, example="1"), metavar="WEIGHT"
    )
    signal_weight: float | None = setting(
        None,
        "weight of the difference of transmitted signals (default --feature-weight)",
        number(0, example="1"),
        type=float,
        metavar="WEIGHT",
    )
    decoder_weight: float | None = setting(
        None,
        "weight of the difference of decoder states (default --feature-weight)",
        number(0, example="1"),
        type=float,
        metavar="WEIGHT",
    )
    feature_loss: str = setting(
        "mse", "difference of features: mean square, or 1 - cosine", choices=("mse", "cosine")
    )
    cross_weight: float = setting(
        0.0,
        "full mode: weight of the crossed pairs, student transmitter to teacher receiver and the reverse, so "
        "that every splice works",
        number(0, example="0.5"),
        metavar="WEIGHT",
    )
    sequence_level: int = setting(
        0,
        "train on what the teacher decodes at the training SNRs instead of on the sentences sent, found by beam "
        "search of this width; 1 is greedy, 0 off",
        whole(0, 64, example="1"),
        metavar="WIDTH",
    )
    teacher_mean: str = setting(
        "logits",
        "several teachers: mean of their logits or of their probabilities",
        choices=("logits", "probabilities"),
    )
    teacher_weights: tuple[float, ...] = setting(
        (),
        "several teachers: their weights in the mean (default equal)",
        Rule("numbers above 0", lambda w: all(0 < x < math.inf for x in w), "2 1"),
        type=float,
        nargs="+",
        metavar="W",
    )

    def describe(self, part: str) -> list[str]:
        """What is on, in a few words each."""
        lines = [f"{name} weight {weight:g}" for name, weight in self.feature_weights(part).items()]
        lines += [f"crossed pairs, weight {self.cross_weight:g}"] if self.cross_weight else []
        return lines + (["labels are the teacher's sentences"] if self.sequence_level else [])

    def feature_weights(self, part: str) -> dict[str, float]:
        """Of encoder, signal and decoder terms, those that are above 0 where the distilled ``part`` has
        them."""
        given = {"encoder": self.encoder_weight, "signal": self.signal_weight, "decoder": self.decoder_weight}
        ends = {"encoder": "encoder", "signal": "encoder", "decoder": "decoder"}
        weights = {}
        for name, weight in given.items():
            if part in ("full", ends[name]):
                weights[name] = self.feature_weight if weight is None else weight
            elif weight:
                compared = "transmitted signals" if name == "signal" else f"semantic {name} states"
                raise SemcomError(
                    f"{flag_of(name + '_weight')} {weight:g}: compares {compared}, and --distill-part {part} trains the other end; "
                    "leave it out"
                )
        return {name: weight for name, weight in weights.items() if weight > 0}
