"""Settings: The training loop, and the size of the student."""

from dataclasses import dataclass

from semcom.base.errors import SemcomError
from semcom.base.flags import Validated, compile_setting, differs, number, setting, whole
from semcom.models.kinds import RECEIVERS, TRANSMITTERS


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
        "matrix products of training in float32 or bfloat16; auto takes what is faster on this machine, and "
        "fp32 in a short run",
        choices=("auto", "fp32", "bf16"),
    )
    compile: str = compile_setting(
        "kernels compiled for this machine (on GPUs losses alone), by a C++ compiler, which takes seconds in "
        "the first run, on GPUs by Triton; auto takes them where they are faster and the run is long enough"
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
    """Capacity of the student: a knob of its knowledge.

    A kind of end passes over the sizes that mean nothing to it.
    """

    student_transmitter_type: str | None = setting(
        None,
        "kind of the student's transmitter; one other than the teacher's needs --student-init random",
        absent="the teacher's",
        choices=TRANSMITTERS.keys(),
    )
    student_receiver_type: str | None = setting(
        None,
        "the same for its receiver",
        absent="the teacher's",
        choices=RECEIVERS.keys(),
    )
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
    snr_aware: bool = setting(
        False,
        "the student's receiver is told the SNR, and adds a bias made of it to what it receives, whether the "
        "teacher's does or not",
        action="store_true",
    )
