"""What ``gpu.py`` times: steps, losses and decoders, ours beside the textbook's and Liger's, each made anew
on a device.

A side is made by a function that returns ``run(number)``, which takes so many steps, or decodes so often, and
returns once the device has begun all of them. Letters: N real target tokens, V pieces.
"""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor, nn

from benchmarks import harness, textbook
from semcom.base import precision
from semcom.base.ahead import ahead
from semcom.channel.channels import AWGN
from semcom.data.batching import Batch
from semcom.distillation import fused_linear_loss, trainer
from semcom.distillation.link_data import sent_ahead
from semcom.distillation.objectives import TransceiverObjective
from semcom.distillation.projected_logits import Projected
from semcom.distillation.training_loop import Loop
from semcom.distillation.training_settings import TrainingConfig
from semcom.models import decoding
from semcom.models.layers import seed_dropout
from semcom.models.transceiver import Transceiver, build

Run = Callable[[int], object]
KINDS = ("fp32", "tf32", "bf16")
STEPS_AHEAD = 4
LR = 1e-3


@dataclass(frozen=True)
class Side:
    """name: the textbook's, ours, Liger's, and what of it is compiled. kind: of ``KINDS``. make: builds it.
    check: what it computes, to be compared; None: nothing."""

    name: str
    kind: str
    make: Callable[[], Run]
    check: Callable[[], Tensor] | None = None


@contextmanager
def products(kind: str) -> Iterator[None]:
    """Products of float32 in float32 or in TF32, and afterwards as before."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if kind == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def autocast(kind: str, device: torch.device):
    return precision.products("bf16" if kind == "bf16" else "fp32", device)


@cache
def models(shape: harness.Shape) -> tuple[Transceiver, Transceiver]:
    """A teacher and a student on the CPU, to be copied."""
    return harness.pair(shape)


@cache
def batch_of(shape: harness.Shape) -> Batch:
    return harness.batch_of(shape)


# --- steps


def steps(shape: harness.Shape, device: torch.device, *, distils: bool, compiles: bool) -> list[Side]:
    """A step of distillation, both ends, or of a teacher's training."""
    made = []
    for compiled, kind in ways(compiles):
        for name, make in {"textbook": textbook_step, "ours": our_step}.items():
            if worth_a_compilation(name, kind, compiled):
                of_side = partial(make, shape, device, kind, distils=distils, compiled=compiled)
                made.append(Side(name + ", compiled" * compiled, kind, of_side))
    return made


def ways(compiles: bool) -> list[tuple[bool, str]]:
    """Whether compiled, and the kind of products; eager ones first, and what matters most then."""
    eager = [(False, kind) for kind in KINDS]
    return [*eager, *[(True, kind) for kind in reversed(KINDS)]] if compiles else eager


def worth_a_compilation(name: str, kind: str, compiled: bool) -> bool:
    """The textbook is compiled as one would for such a card, in TF32 or bfloat16; it takes a minute each."""
    return not compiled or name == "ours" or (name == "textbook" and kind != "fp32")


def textbook_step(
    shape: harness.Shape, device: torch.device, kind: str, *, distils: bool, compiled: bool
) -> Run:
    teacher, student = models(shape)
    trained = student if distils else teacher
    plain = textbook.Distillation(
        textbook.like(trained).to(device),
        textbook.like(teacher).to(device) if distils else None,
        temperature=harness.TEMPERATURE,
        weight=harness.DISTILL_WEIGHT,
        snr_range=harness.SNR_RANGE,
    )
    loss = torch.compile(plain.loss) if compiled else plain.loss

    def in_kind(*inputs: Tensor) -> Tensor:
        with autocast(kind, device):
            return loss(*inputs)

    plain.loss = in_kind
    source = harness.padded_source(batch_of(shape), shape.longest).to(device)

    def run(number: int) -> None:
        for _ in range(number):
            plain.step(source, shape.channel_dim)

    return run


def our_step(shape: harness.Shape, device: torch.device, kind: str, *, distils: bool, compiled: bool) -> Run:
    """As the program trains: batches and draws are made in a thread, and copied ahead."""
    teacher, student = (deepcopy(model) for model in models(shape))
    objective: nn.Module = (
        harness.objective_of(teacher, student, compiled=compiled)
        if distils
        else TransceiverObjective(teacher, AWGN(), harness.SNR_RANGE, compiled=compiled)
    )
    seed_dropout(objective.to(device).train(), 0)
    config = TrainingConfig(precision="bf16" if kind == "bf16" else "fp32")
    task = trainer.LinkTask(objective, (), config, width=shape.channel_dim, device=device, seed=0)
    loop, batch = Loop(task, config), batch_of(shape)

    def run(number: int) -> None:
        made = (task.step_of(batch, epoch) for epoch in range(number))
        with ahead(sent_ahead(made, device), STEPS_AHEAD) as arriving:
            for place, step in enumerate(arriving):
                loop.step(step, 1, LR, place)
        loop.settle()

    return run


# --- losses alone


def losses(shape: harness.Shape, device: torch.device, *, distils: bool, compiles: bool) -> list[Side]:
    """Projection and loss, forward and backward, over the N real target tokens of a batch."""
    rows = Rows.of(shape, device)
    makes = {"textbook": textbook_loss, "ours": our_loss}
    if device.type == "cuda" and importlib.util.find_spec("liger_kernel"):
        makes["Liger"] = liger_loss
    made = []
    for compiled, kind in ways(compiles):
        for name, make in makes.items():
            if worth_a_compilation(name, kind, compiled):
                loss = make(rows, kind, distils=distils, compiled=compiled)
                side = name + ", compiled" * compiled
                made.append(Side(side, kind, partial(backward_of, rows, loss), loss))
    return made


@dataclass(frozen=True)
class Rows:
    """States of N rows, the student's and the teacher's [N, D], their projections to V, and targets [N]."""

    state: Tensor
    teacher_state: Tensor
    student: nn.Linear
    teacher: nn.Linear
    targets: Tensor

    @classmethod
    def of(cls, shape: harness.Shape, device: torch.device) -> "Rows":
        number, width, pieces = batch_of(shape).target_tokens, shape.d_model, shape.vocab_size
        torch.manual_seed(0)
        states = torch.randn(2, number, width).to(device)
        student, teacher = (nn.Linear(width, pieces).to(device) for _ in "st")
        targets = torch.randint(4, pieces, (number,)).to(device)
        return cls(states[0].clone().requires_grad_(), states[1], student, teacher, targets)


def backward_of(rows: Rows, loss: Callable[[], Tensor]) -> Run:
    def run(number: int) -> None:
        for _ in range(number):
            rows.state.grad = rows.student.weight.grad = rows.student.bias.grad = None
            loss().backward()

    return run


def textbook_loss(rows: Rows, kind: str, *, distils: bool, compiled: bool) -> Callable[[], Tensor]:
    def plain() -> Tensor:
        logits = rows.student(rows.state)[None]
        if not distils:
            return textbook.cross_entropy(logits, rows.targets[None])
        with torch.no_grad():
            theirs = rows.teacher(rows.teacher_state)[None]
        given = harness.TEMPERATURE, harness.DISTILL_WEIGHT
        return textbook.distillation_loss(logits, theirs, rows.targets[None], *given)

    loss = torch.compile(plain) if compiled else plain

    def in_kind() -> Tensor:
        with autocast(kind, rows.state.device):
            return loss()

    return in_kind


def our_loss(rows: Rows, kind: str, *, distils: bool, compiled: bool) -> Callable[[], Tensor]:
    def loss() -> Tensor:
        ours, theirs = Projected(rows.state, rows.student), Projected(rows.teacher_state, rows.teacher)
        weight = harness.DISTILL_WEIGHT
        with autocast(kind, rows.state.device):
            if not distils:
                summed = fused_linear_loss.cross_entropy(ours, rows.targets, compiled=compiled)
            else:
                summed = fused_linear_loss.distillation(
                    ours, theirs, rows.targets, harness.TEMPERATURE, (1 - weight, weight), compiled=compiled
                ).loss
        return summed / len(rows.targets)

    return loss


def liger_loss(rows: Rows, kind: str, *, distils: bool, compiled: bool) -> Callable[[], Tensor]:
    """Its fused linear cross-entropy, and its fused linear JSD at beta 0, which is KL(teacher || student) and
    knows no bias. Both take states and weights of one type."""
    from liger_kernel.transformers.fused_linear_cross_entropy import LigerFusedLinearCrossEntropyLoss
    from liger_kernel.transformers.fused_linear_jsd import LigerFusedLinearJSD

    cross_entropy = LigerFusedLinearCrossEntropyLoss()
    divergence = LigerFusedLinearJSD(jsd_beta=0.0, temperature=harness.TEMPERATURE)
    dtype = torch.bfloat16 if kind == "bf16" else torch.float32

    def loss() -> Tensor:
        state, weight, bias = (x.to(dtype) for x in (rows.state, rows.student.weight, rows.student.bias))
        ce = cross_entropy(weight, state, rows.targets, bias)
        if not distils:
            return ce
        theirs, their_weight = rows.teacher_state.to(dtype), rows.teacher.weight.detach().to(dtype)
        kd = harness.TEMPERATURE**2 * divergence(state, weight, theirs, their_weight, None)
        return (1 - harness.DISTILL_WEIGHT) * ce + harness.DISTILL_WEIGHT * kd

    return loss


# --- decoding


def decoders(shape: harness.Shape, device: torch.device) -> list[Side]:
    """``harness.STEPS`` tokens of each sentence of a batch, from what was received. Products in float32, as
    the program decodes."""
    model = harness.never_ending(build(shape.architecture(shape.teacher_layers), 0)).to(device)
    plain, batch = textbook.like(model), batch_of(shape).to(device)
    with torch.inference_mode():
        signal, _ = model.transmitter(batch.source, batch.source_mask)
        draw = batch.draw(AWGN(), shape.channel_dim, seed=0, number=0)
        received = AWGN().apply(signal, draw, harness.DECODING_SNR)
    receiver, mask = model.receiver, batch.source_mask

    def textbooks(last: bool) -> Tensor:
        return textbook.greedy(plain.receiver, received, batch.source, harness.STEPS, project_last_only=last)

    def ours(search: decoding.Search, together: int) -> Tensor:
        kept, decoding.ROWS_TOGETHER = decoding.ROWS_TOGETHER, together
        try:
            return torch.tensor(search(receiver, received, mask))
        finally:
            decoding.ROWS_TOGETHER = kept

    greedy, rows = decoding.Search(), decoding.ROWS_TOGETHER
    ways = {
        "textbook": partial(textbooks, False),
        "textbook, projecting the last position alone": partial(textbooks, True),
        f"ours, {rows} rows together": partial(ours, greedy, rows),
        "ours, all rows together": partial(ours, greedy, len(batch)),
        "ours, beam search of width 4": partial(ours, decoding.Search(4), rows),
    }
    made = [Side(name, "fp32", partial(repeated, way), way) for name, way in ways.items()]
    if device.type == "cuda":
        of_graph = partial(graphed, receiver, received, mask)
        made.append(Side("ours, all rows together, as one CUDA graph", "fp32", of_graph))
    return made


def repeated(way: Callable[[], object]) -> Run:
    def run(number: int) -> None:
        with harness.forced(harness.STEPS):
            for _ in range(number):
                way()

    return run


@torch.inference_mode()
def graphed(receiver: nn.Module, received: Tensor, mask: Tensor) -> Run:
    """All steps of greedy decoding caught once, and played again: what launching costs beside it."""

    def decoded(state: decoding.DecodingState) -> Tensor:
        tokens, said = torch.full((len(received),), decoding.BOS, device=received.device), []
        for _ in range(harness.STEPS):
            tokens = receiver.project(state.step(tokens)).argmax(-1)
            said.append(tokens)
        return torch.stack(said, 1)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        decoded(receiver.start(received, mask))
    torch.cuda.current_stream().wait_stream(stream)
    state, graph = receiver.start(received, mask), torch.cuda.CUDAGraph()
    # The graph writes to these again and again, also to those that give way to larger ones.
    held = list(vars(state).values())
    with torch.cuda.graph(graph):
        held.append(decoded(state))

    def run(number: int, held: object = held) -> None:
        for _ in range(number):
            graph.replay()

    return run
