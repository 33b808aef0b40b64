"""Settings: what else a student of a link learns from, beside a distillation's logits."""

import math
from dataclasses import dataclass

from semcom.base.errors import SemcomError
from semcom.base.flags import Rule, Validated, flag_of, number, setting, whole


@dataclass(frozen=True)
class TransferConfig(Validated):
    """What else is learned from: features, crossed pairs, several teachers, the teacher's own sentences."""

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
        "train on what the teacher decodes at the training SNRs instead of on the sentences sent, found by "
        "beam search of this width; 1 is greedy, 0 off",
        whole(0, 64, example="1"),
        metavar="WIDTH",
    )
    teacher_mean: str = setting(
        "logits", "several teachers: mean of logits or of probabilities", choices=("logits", "probabilities")
    )
    teacher_precision: str = setting(
        "auto", "of frozen teachers' products; auto: that of --precision", choices=("auto", "fp32", "bf16")
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
        lines += [f"crossed pairs, weight {self.cross_weight:g}"] * bool(self.cross_weight)
        return lines + ["labels are the teacher's sentences"] * bool(self.sequence_level)

    def feature_weights(self, part: str) -> dict[str, float]:
        """Of encoder, signal and decoder terms, those above 0 where the distilled ``part`` has them."""
        given = {"encoder": self.encoder_weight, "signal": self.signal_weight, "decoder": self.decoder_weight}
        ends = {"encoder": "encoder", "signal": "encoder", "decoder": "decoder"}
        weights = {}
        for name, weight in given.items():
            if part in ("full", ends[name]):
                weights[name] = self.feature_weight if weight is None else weight
            elif weight:
                compared = "transmitted signals" if name == "signal" else f"semantic {name} states"
                told = (
                    f"{flag_of(name + '_weight')} {weight:g}: compares {compared}, and --distill-part {part}"
                )
                raise SemcomError(f"{told} trains the other end; leave it out")
        return {name: weight for name, weight in weights.items() if weight > 0}
