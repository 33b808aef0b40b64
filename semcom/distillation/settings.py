"""Settings: What is distilled and how."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from semcom.base.errors import SemcomError
from semcom.base.flags import Rule, Validated, differs, flag_of, number, setting, whole, without_flag
from semcom.distillation.other_conventions import line, misplaced, missing_setting


@dataclass(frozen=True)
class KDLoss:
    """What settings know of one ``--kd-loss``; its function stands in ``logit_losses.LOGIT_LOSSES``.

    words: for ``--help``. temperature: the default T. own: fields of ``DistillationConfig`` that are its
    alone. warmup: that of them which is the share of the run over which its weight rises from 0.
    needs_target: it sets the right class apart, so that it has no meaning for a segment of a sentence.
    by_hand: the fused loss has its gradient written by hand, which can be compiled on GPUs too.
    """

    words: str
    temperature: float = 1.0
    own: tuple[str, ...] = ()
    warmup: str = ""
    needs_target: bool = False
    by_hand: bool = False


KD_LOSSES = {
    "kd": KDLoss("Kullback-Leibler", temperature=4.0, by_hand=True),
    "rkl": KDLoss("reversed"),
    "jsd": KDLoss("Jensen-Shannon", own=("jsd_beta",)),
    "skl": KDLoss("skewed", own=("skew",)),
    "dkd": KDLoss(
        "decoupled",
        temperature=4.0,
        own=("dkd_alpha", "dkd_beta", "dkd_warmup"),
        warmup="dkd_warmup",
        needs_target=True,
    ),
}
SCHEDULES = ("constant", "linear", "cosine", "snr")
STANDARDIZED_TEMPERATURE = 1.0
OF_GRIDS = ("complementary", "scale_reduction", "global_term", "scale_warmup")
"""Settings of the cells of grids, which segments of a sentence do not know."""


def _default_temperatures() -> str:
    """Those of ``KD_LOSSES``, for ``--help``."""
    names: dict[float, list[str]] = {}
    for name, loss in KD_LOSSES.items():
        names.setdefault(loss.temperature, []).append(name)
    del names[STANDARDIZED_TEMPERATURE]
    apart = [f"{t:g} for {' and '.join(of)}" for t, of in names.items()]
    return ", ".join([*apart, f"{STANDARDIZED_TEMPERATURE:g} for the others and with --standardize-logits"])


@dataclass(frozen=True)
class DistillationConfig(Validated):
    """What is distilled and how: loss = (1 - weight) * CE + weight * KD, KD one of the losses of
    docs/losses.md at temperature T."""

    distill_part: str = setting(
        "full",
        "train both ends, the transmitter (encoder) or the receiver (decoder); "
        "the other end stays the teacher's",
        type=str.lower,
        choices=("full", "encoder", "decoder"),
    )
    # None until ``__post_init__`` alone.
    temperature: float = setting(
        None,
        f"distillation temperature T (default {_default_temperatures()})",
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
        f"divergence of the student from the teacher: {', '.join(loss.words for loss in KD_LOSSES.values())}",
        type=str.lower,
        choices=KD_LOSSES,
    )
    standardize_logits: bool = setting(
        False, "compare z-scores of the logits (LSKD): their shape, not their size", action="store_true"
    )
    teacher_top_k: int | None = setting(
        None,
        "compare the teacher's K most probable pieces and all others as one (not with dkd)",
        whole(1, example="50"),
        type=int,
        metavar="K",
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
            lambda m: len(set(m)) == len(m) and all(isinstance(x, int) and 1 <= x <= 512 for x in m),
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
    # Of grids of images, and of logit standardisation, as they are published: docs/losses.md.
    complementary: str = without_flag("teacher", choices=("teacher", "label"))
    scale_reduction: str = without_flag("mean", choices=("mean", "sum"))
    global_term: str = without_flag("both", choices=("both", "scales"))
    scale_warmup: float = without_flag(0.0, number(0, 1, example="0.08"))
    standardize_ddof: int = without_flag(0, Rule("0 or 1", lambda ddof: ddof in (0, 1), "1"))

    @classmethod
    def refuse(cls, given: Mapping[str, object]) -> NoReturn:
        raise SemcomError(line(cls.__name__, given, tuple(cls.__dataclass_fields__)))

    if not TYPE_CHECKING:  # which would take any name for a setting then

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(missing_setting(name))

    def __post_init__(self) -> None:
        if not isinstance(self.distill_part, str):
            misplaced("DistillationConfig", (self.distill_part, self.temperature))
        if self.temperature is None:
            object.__setattr__(self, "temperature", self._default_temperature())
        super().__post_init__()
        self._check_own_settings()
        self._check_scales()
        self._check_schedule("temperature_schedule", "final_temperature")
        self._check_schedule("weight_schedule", "final_weight")
        self._check_published()
        if self.distill_weight == self.final_weight:
            raise SemcomError(
                f"--final-weight {self.final_weight:g}: is --distill-weight itself; "
                "leave the schedule out, or give another end"
            )
        if not self.distils:
            self._check_labels_alone()

    def _default_temperature(self) -> float | None:
        """None for a loss that there is not, which the rules refuse."""
        if self.standardize_logits:
            return STANDARDIZED_TEMPERATURE
        loss = KD_LOSSES.get(self.kd_loss)
        return loss.temperature if loss else None

    def _check_own_settings(self) -> None:
        for owner, loss in KD_LOSSES.items():
            for name in loss.own:
                if self.kd_loss != owner and differs(self, name):
                    raise SemcomError(
                        f"{flag_of(name)} {getattr(self, name):g}: is a setting of --kd-loss {owner}, "
                        f"this run has {self.kd_loss}; leave it out, or give --kd-loss {owner}"
                    )

        if self.teacher_top_k and KD_LOSSES[self.kd_loss].needs_target:
            raise SemcomError(
                f"--teacher-top-k {self.teacher_top_k}: --kd-loss {self.kd_loss} sets the right piece apart, "
                "which may be among the others; leave it out, or give --kd-loss kd"
            )

    def _check_scales(self) -> None:
        if self.scales and not self.scale_weight:
            raise SemcomError(
                "--scale-weight 0: the segments of --scales would count for nothing; leave both out"
            )
        for name in ("scale_weight", "complementary_weight"):
            if not self.scales and differs(self, name):
                raise SemcomError(
                    f"{flag_of(name)} {getattr(self, name):g}: weighs segments, and there are none without "
                    "--scales; leave it out, or add --scales 1 2"
                )

    def _check_published(self) -> None:
        for name in OF_GRIDS:
            if not self.scales and differs(self, name):
                raise SemcomError(
                    f"{name} {getattr(self, name)}: is of the cells of grids, and there are none without "
                    "scales; leave it out, or add scales=(1, 2)"
                )
        if self.global_term == "scales" and 1 not in self.scales:
            raise SemcomError(
                f"global_term scales: the whole image is the cell of scale 1, and scales are {self.scales}; "
                f"give scales={(1, *self.scales)}, or leave global_term out"
            )
        if self.standardize_ddof and not self.standardize_logits:
            raise SemcomError(
                "standardize_ddof 1: is of standardised logits; leave it out, or add standardize_logits=True"
            )

    def _check_schedule(self, curve: str, final: str) -> None:
        shape, end = getattr(self, curve), getattr(self, final)
        if shape == "constant" and end is not None:
            raise SemcomError(
                f"{flag_of(final)} {end:g}: needs a schedule; leave it out, or give {flag_of(curve)} linear"
            )
        if shape != "constant" and end is None:
            raise SemcomError(f"{flag_of(curve)} {shape}: needs an end to go to; add {flag_of(final)}")

    def _check_labels_alone(self) -> None:
        for name in ("kd_loss", "standardize_logits", "teacher_top_k", "scales", "temperature_schedule"):
            if differs(self, name):
                raise SemcomError(
                    f"{flag_of(name)}: with --distill-weight 0 nothing is compared with the teacher; "
                    "leave it out, or give a weight above 0"
                )

    def check_of_segments(self) -> None:
        """Raise SemcomError for settings of the cells of grids: segments of a sentence do not know them."""
        for name in OF_GRIDS:
            if differs(self, name):
                raise SemcomError(
                    f"{name} {getattr(self, name)}: is of grids of images, in DistillationLoss and "
                    "Distiller; a link's segments do not know it, leave it out"
                )

    @property
    def distils(self) -> bool:
        """Whether the teacher's distributions enter the loss at all."""
        return self.distill_weight > 0 or bool(self.final_weight)

    @property
    def warmup(self) -> float:
        """Share of the run over which the weight of the loss rises from 0."""
        name = KD_LOSSES[self.kd_loss].warmup
        return getattr(self, name) if name else 0.0

    @property
    def by_hand(self) -> bool:
        """Whether the fused loss has the gradient of this divergence written by hand."""
        return KD_LOSSES[self.kd_loss].by_hand and not (self.standardize_logits or self.teacher_top_k)

    def describe(self) -> str:
        """The loss in a few words."""
        if not self.distils:
            return "labels alone"
        top = f" over the teacher's top {self.teacher_top_k} and the rest" if self.teacher_top_k else ""
        parts = [self.kd_loss + " of standardised logits" * self.standardize_logits + top]
        for name, first, schedule, last in (
            ("T=", self.temperature, self.temperature_schedule, self.final_temperature),
            ("weight ", self.distill_weight, self.weight_schedule, self.final_weight),
        ):
            parts.append(f"{name}{first:g}" + (f" to {last:g} ({schedule})" if last is not None else ""))
        if self.scales:
            parts.append(f"scales {' '.join(map(str, self.scales))}")
        return ", ".join(parts)

    def advice(self) -> list[str]:
        """One line for each setting that is legal but unwise."""
        temperatures = {"--temperature": self.temperature, "--final-temperature": self.final_temperature}
        weights = {"--distill-weight": self.distill_weight, "--final-weight": self.final_weight}
        lines = []
        for flag, t in temperatures.items():
            if t is not None and t < 1 and not self.standardize_logits:
                lines.append(f"{flag} {t:g} is under 1: it sharpens the teacher instead of softening it")
            if t is not None and t > 15:
                lines.append(f"{flag} {t:g} is over 15: the teacher's distribution is nearly flat")
        for flag, weight in weights.items():
            if weight is not None and weight > 0.95:
                lines.append(f"{flag} {weight:g} is over 0.95: the labels hardly count")
        return lines
