"""Settings: aligners, and the tuning of an end on pilots."""

from dataclasses import dataclass

from semcom.base.flags import Validated, number, setting, whole

MAPS = ("none", "scale", "orthogonal", "linear", "affine", "network", "anchors")
"""Ways to join two ends that never met: those that fit a map on what arrives."""
TUNED = ("decoder", "surrogate", "encoder")
"""Those that go on training an end: the receiver; the receiver through a model of the foreign transmitter;
or, with gradients fed back, the transmitter."""
WAYS = (*MAPS, *TUNED)
NEED_TEXTS = ("surrogate",)
"""Those that need sentences of the listener's own corpus beside the pilots."""
GENIE = ("encoder",)
"""Those that need more than pilots that arrive."""
EQUAL_C = ("none", "scale", "orthogonal", "encoder")
"""Those that need ends of one C."""

PILOT_CHOICES = ("random", "covering", "covering-per-symbol")
"""How pilot sentences are chosen from the training split."""


@dataclass(frozen=True)
class TuningConfig(Validated):
    """Going on with an end's training on pilots."""

    tuning_steps: int = setting(400, "decoder, encoder: steps at most", whole(1, example="400"), metavar="N")
    tuning_lr: float = setting(
        1e-3,
        "decoder, surrogate, encoder: peak learning rate (AdamW; linear warm-up, then linear decay to 0)",
        number(0, above=True, example="0.001"),
        metavar="RATE",
    )
    tuning_batch: int = setting(
        32, "decoder, surrogate, encoder: pilot sentences a step", whole(1, example="32"), metavar="B"
    )
    imitation_steps: int = setting(
        400,
        "surrogate: steps in which B's transmitter learns to send as A",
        whole(1, example="400"),
        metavar="N",
    )
    surrogate_steps: int = setting(
        1400, "surrogate: steps of B's receiver", whole(1, example="1400"), metavar="N"
    )
