"""What ``--teacher-top-k K`` leaves out, on validation sentences at training SNRs, of the shipped teacher and
a 2-layer receiver of its layers before training: the teacher's mass in the rest, the loss and its gradient
beside those over all pieces, and the time that the loss takes.

    python benchmarks/teacher_top_k.py --json top_k.json
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from benchmarks import harness  # noqa: E402
from semcom.channel.channels import AWGN  # noqa: E402
from semcom.commands.distil_settings import DistilSettings  # noqa: E402
from semcom.commands.inputs import load_teacher  # noqa: E402
from semcom.commands.student import new_student  # noqa: E402
from semcom.data import corpus  # noqa: E402
from semcom.data.batching import collate, encode  # noqa: E402
from semcom.distillation import fused_linear_loss, losses  # noqa: E402
from semcom.distillation.kd_loss import row_loss  # noqa: E402
from semcom.distillation.projected_logits import Projected  # noqa: E402
from semcom.distillation.settings import DistillationConfig  # noqa: E402
from semcom.models.link import heard_by  # noqa: E402

SCRIPT = "teacher_top_k.py"
NUMBERS, TEMPERATURES = (1, 10, 50, 200, 1000), (1.0, 4.0)


def main(argv: list[str] | None = None) -> None:
    parser = harness.parser_of(SCRIPT, __doc__)
    parser.add_argument("--sentences", type=int, default=128, help="validation sentences (default 128)")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(argv)
    sentences, rounds = (8, 1) if given.quick else (given.sentences, given.rounds)
    report = harness.Report(SCRIPT, argv)
    student, teacher, targets = pair(sentences)
    rows = [left_out(student, teacher, targets, k, t, report) for t in TEMPERATURES for k in NUMBERS]
    report.table(
        f"Of {len(targets):,} rows, V={len(teacher.projection.weight):,}",
        [
            "T",
            "K",
            "teacher's mass in the rest",
            "kd over all",
            "over K and the rest",
            "less",
            "gradient off by",
        ],
        rows,
    )
    times = {k: seconds(student, teacher, targets, k, rounds) for k in (None, 50)}
    report.record("loss_over_top_50", times[None], times[50], "s", "over all pieces")
    print(f"the loss over 50 and the rest takes {times[50] / times[None]:.1f} times that over all pieces")
    report.write(given.json)


@torch.no_grad()
def pair(number: int) -> tuple[Projected, Projected, Tensor]:
    """The student's and the teacher's states at the target tokens of so many sentences, each at an SNR of its
    own, and the right pieces."""
    settings = DistilSettings()
    settings = replace(settings, distillation=replace(settings.distillation, distill_part="decoder"))
    given = load_teacher(None)
    teacher, student = given.model.eval(), new_student(settings, given).eval()
    encoded = encode(corpus.built_in(40 * number).split("validation")[:number], given.vocabulary)
    batch = collate(encoded)
    draw = batch.draw(AWGN(), teacher.architecture.channel_dim, seed=0, number=1)
    signal, _ = teacher.transmitter(batch.source, batch.source_mask)
    snr = draw.snr_between(*harness.SNR_RANGE)
    received = AWGN().apply(signal, draw, snr)
    states = []
    for model in (student, teacher):
        heard = heard_by(model.receiver, received, snr)
        states.append(batch.of_targets(model.receiver(heard, batch.source_mask, batch.target_in)))
    ours, theirs = (
        Projected(state, model.receiver.projection) for state, model in zip(states, (student, teacher))
    )
    return ours, theirs, batch.of_targets(batch.target_out)


# Six arguments: two models, what is right, the loss, and where it is recorded.
def left_out(
    student: Projected, teacher: Projected, targets: Tensor, k: int, t: float, report: harness.Report
) -> list[str]:
    """A row of the table."""
    ours, theirs = (one.projection(one.state).detach() for one in (student, teacher))
    rest = 1 - losses.log_softmax(theirs, t).exp().topk(k).values.sum(-1)
    whole, its_gradient = loss_and_gradient(ours, theirs, targets, t, None)
    part, gradient = loss_and_gradient(ours, theirs, targets, t, k)
    off = float((gradient - its_gradient).norm() / its_gradient.norm())
    report.record(f"kd_over_top_{k}_at_T_{t:g}", whole, part, "nats", "over all pieces")
    mass = float(rest.mean())
    return [
        f"{t:g}",
        f"{k:,}",
        f"{mass:.2%}",
        f"{whole:.4f}",
        f"{part:.4f}",
        f"{1 - part / whole:.1%}",
        f"{off:.1%}",
    ]


def loss_and_gradient(
    ours: Tensor, theirs: Tensor, targets: Tensor, t: float, k: int | None
) -> tuple[float, Tensor]:
    """The mean of kd, and its gradient with respect to the student's logits [N, V]."""
    ours = ours.clone().requires_grad_()
    loss = row_loss(DistillationConfig(teacher_top_k=k))(ours, theirs, targets, t).mean()
    return float(loss.detach()), torch.autograd.grad(loss, ours)[0]


def seconds(student: Projected, teacher: Projected, targets: Tensor, k: int | None, rounds: int) -> float:
    """CPU time of cross-entropy and kd with their gradients, as a step takes them."""
    chosen = None if k is None else row_loss(DistillationConfig(teacher_top_k=k))
    state = student.state.clone().requires_grad_()
    times = []
    for _ in range(rounds + 1):
        started = time.process_time()
        fused_linear_loss.distillation(
            Projected(state, student.projection), teacher, targets, 4.0, (0.3, 0.7), row_loss=chosen
        ).loss.backward()
        times.append(time.process_time() - started)
    return median(times[1:])


if __name__ == "__main__":
    main()
