"""Settings: Sizes of a transceiver, and what the weights of a public model do not tell."""

from dataclasses import dataclass

from semcom.base.errors import SemcomError
from semcom.base.flags import Rule, Validated, setting, whole
from semcom.models.kinds import RECEIVERS, TRANSMITTERS, USUAL

DEFAULT_TEACHER = "checkpoints/teacher.pt"
PARTS = ("encoder", "channel_encoder", "channel_decoder", "decoder")
TRANSMITTER_PARTS, RECEIVER_PARTS = PARTS[:2], PARTS[2:]


@dataclass(frozen=True)
class ModelConfig(Validated):
    """Kinds and size of a transceiver trained from nothing.

    A kind of end passes over the sizes that mean nothing to it.
    """

    transmitter_type: str = setting(USUAL, "kind of the transmitter", choices=TRANSMITTERS.keys())
    receiver_type: str = setting(USUAL, "kind of the receiver", choices=RECEIVERS.keys())
    layers: int = setting(4, "layers of each end", whole(1, 64, example="4"), metavar="N")
    model_width: int = setting(128, "model width D", whole(1, 8192, example="128"), metavar="D")
    heads: int = setting(8, "attention heads", whole(1, 256, example="8"), metavar="H")
    feed_forward: int = setting(512, "feed-forward width", whole(1, 65_536, example="512"), metavar="F")
    channel_dim: int = setting(
        16,
        "real channel dimensions a token, C (C/2 complex symbols)",
        Rule("an even number from 2 to 4096", lambda c: 2 <= c <= 4096 and c % 2 == 0, "16"),
        metavar="C",
    )
    dropout: float = setting(
        0.1,
        "dropout rate",
        Rule("a number of 0 or more and below 1", lambda p: 0 <= p < 1, "0.1"),
        metavar="P",
    )
    snr_aware: bool = setting(
        False,
        "the receiver is told the SNR, and adds a bias made of it to what it receives",
        action="store_true",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_heads("--model-width", self.model_width, "--heads", self.heads)


def check_heads(width_flag: str, width: int, heads_flag: str, heads: int) -> None:
    """Raise SemcomError unless the width divides by the heads."""
    if width % heads:
        fitting = max(h for h in range(1, heads) if width % h == 0)
        raise SemcomError(
            f"{heads_flag} {heads}: {width_flag} {width} does not divide by it; "
            f"for example {heads_flag} {fitting}"
        )


@dataclass(frozen=True)
class ImportConfig(Validated):
    """What the weights of a public model do not tell."""

    heads: int = setting(
        8, "attention heads it was built with (8 in public scripts)", whole(1, 256, example="8"), metavar="H"
    )
    dropout: float = setting(
        0.1,
        "dropout, for training on",
        Rule("a number of 0 or more and below 1", lambda p: 0 <= p < 1, "0.1"),
        metavar="P",
    )


@dataclass(frozen=True)
class ExportConfig(Validated):
    """What the public code's constructor is called with."""

    positions: int | None = setting(
        None,
        "deepsc: rows of the position tables, max_len of the public constructor",
        whole(1, 1_000_000, example="22234"),
        absent="as imported, else the vocabulary's size, as the public scripts have it",
        type=int,
        metavar="N",
    )
