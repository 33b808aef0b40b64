"""A distillation step, both ends trained: the textbook's against ours in float32 and bfloat16, compiled and
not, in turn on the same sentences.

    python benchmarks/distillation_step.py --json step.json

First it checks that with the same weights, sentences and noise, and without dropout, the textbook's loss is
ours. The second table times projection and loss alone, forward and backward, over the batch's real target
tokens. The textbook is given our allocator settings (``keep_freed_memory``); one row has it as it
runs without them, in a process of its own; another has its products in bfloat16, by torch's autocast.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch  # noqa: E402
from torch import nn  # noqa: E402

from benchmarks import harness, textbook  # noqa: E402
from semcom.base import precision
from semcom.base.device import keep_freed_memory
from semcom.distillation import fused_linear_loss  # noqa: E402
from semcom.distillation.projected_logits import Projected  # noqa: E402

SCRIPT = "distillation_step.py"
PLAIN = "fp32", "fp32, compiled"
IN_BF16 = "textbook, bf16"
DEFAULTS = "textbook, glibc's allocator as it comes"


def main(argv: list[str] | None = None) -> None:
    parser = harness.parser_of(SCRIPT, __doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="time our compiled steps too (default: unless --quick)",
    )
    parser.add_argument("--textbook-alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    shape = harness.QUICK if given.quick else harness.Shape()
    if given.textbook_alone:
        torch.manual_seed(0)
        print(
            json.dumps(
                harness.alternate(
                    {"textbook": harness.step_of("textbook", shape, harness.batch_of(shape))}, given.rounds
                )
            )
        )
        return
    compiled = not given.quick if given.compile is None else given.compile
    keep_freed_memory()
    torch.manual_seed(0)
    report = harness.Report(SCRIPT, argv)
    batch = harness.batch_of(shape)
    harness.check_loss(shape, batch, compiled=compiled)
    print(f"{shape}: {batch.target_tokens:,} target tokens\n")

    mixed = f"fp32, compiled, {harness.TEACHER_IN_BF16}"
    names = ["fp32", "bf16", *["fp32, compiled", mixed, "bf16, compiled"] * compiled]
    sides = ["textbook", IN_BF16, *names]
    medians = harness.alternate({name: harness.step_of(name, shape, batch) for name in sides}, given.rounds)
    base, in_bf16 = medians["textbook"], medians[IN_BF16]
    as_it_comes = harness.apart(
        SCRIPT,
        "--textbook-alone",
        *("--rounds", str(given.rounds), "--threads", str(torch.get_num_threads())),
        *["--quick"] * given.quick,
    )["textbook"]
    medians = {"textbook": base, DEFAULTS: as_it_comes, **medians}
    report.table(
        "Distillation step, both ends",
        ("step", "median s", "target tokens/s", "times as fast", "as the textbook in bf16"),
        [
            (
                harness.label(name),
                f"{s:.3f}",
                f"{batch.target_tokens / s:,.0f}",
                f"{base / s:.2f}",
                f"{in_bf16 / s:.2f}",
            )
            for name, s in medians.items()
        ],
    )
    report.record("distillation_step_fp32", base, min(s for name, s in medians.items() if name in PLAIN), "s")
    if compiled:
        report.record("distillation_step_fp32_teacher_bf16", base, medians[mixed], "s")
    report.record("distillation_step_best", base, best := min(medians[name] for name in names), "s")
    report.record("distillation_step_best_against_bf16", in_bf16, best, "s", IN_BF16)
    report.record("distillation_step_best_default_allocator", as_it_comes, best, "s", DEFAULTS)

    medians = harness.alternate(losses_alone(shape, batch.target_tokens, compiled), given.rounds)
    report.table(
        f"Projection and loss alone, forward and backward, {batch.target_tokens:,} rows",
        ("loss", "median s", "times as fast"),
        [(harness.label(name), f"{s:.3f}", f"{medians['textbook'] / s:.2f}") for name, s in medians.items()],
    )
    report.write(given.json)


def losses_alone(shape: harness.Shape, rows: int, compiled: bool) -> dict:
    """Projection, cross-entropy and distillation with their gradients, over ``rows`` real tokens."""
    state, teacher_state = (torch.randn(rows, shape.d_model) for _ in "st")
    student, teacher = (nn.Linear(shape.d_model, shape.vocab_size) for _ in "st")
    targets = torch.randint(4, shape.vocab_size, (rows,))
    temperature, weight = harness.TEMPERATURE, harness.DISTILL_WEIGHT
    state.requires_grad_()

    def forget() -> None:
        state.grad = student.weight.grad = student.bias.grad = None

    def theirs() -> None:
        forget()
        with torch.no_grad():
            teacher_logits = teacher(teacher_state)
        textbook.distillation_loss(
            student(state)[None], teacher_logits[None], targets[None], temperature, weight
        ).backward()

    def ours(kind: str, compile_it: bool) -> None:
        forget()
        with precision.products(kind, harness.CPU):
            sums = fused_linear_loss.distillation(
                Projected(state, student),
                Projected(teacher_state, teacher),
                targets,
                temperature,
                (1 - weight, weight),
                compiled=compile_it,
            )
            (sums.loss / rows).backward()

    sides = {"textbook": theirs, "fp32": lambda: ours("fp32", False), "bf16": lambda: ours("bf16", False)}
    if compiled:
        sides |= {"fp32, compiled": lambda: ours("fp32", True), "bf16, compiled": lambda: ours("bf16", True)}
    return sides


if __name__ == "__main__":
    main()
