"""Settings: Source codes of the coded link: which, and how the language model of one of them learns."""

from dataclasses import dataclass

from semcom.base.flags import Validated, number, setting, whole

CHARACTERS, PIECES, LANGUAGE_MODEL = "huffman-characters", "huffman-pieces", "lm"
KINDS = (CHARACTERS, PIECES, LANGUAGE_MODEL)


@dataclass(frozen=True)
class SourceCodeConfig(Validated):
    """The causal language model under which `lm` codes: it learns the training split."""

    lm_steps: int | None = setting(
        None,
        "lm: train its language model for this many steps instead of --lm-minutes",
        whole(1, example="2000"),
        type=int,
        metavar="N",
    )
    lm_minutes: float = setting(
        10.0,
        "lm: train its language model for about this many minutes; the first steps are timed, the number of "
        "steps fixed from that and recorded",
        number(0, above=True, example="10"),
        metavar="M",
    )
    lm_batch_size: int = setting(128, "lm: sentences a step", whole(1, example="128"), metavar="B")
    lm_lr: float = setting(
        1e-3,
        "lm: peak learning rate (AdamW; linear warm-up, then linear decay to 0)",
        number(0, above=True, example="0.001"),
        metavar="RATE",
    )
