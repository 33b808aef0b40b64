"""Peak memory of a distillation step, both ends trained, each side in a process of its own: the peak minus
what stood after imports.

    python benchmarks/memory.py --json memory.json

First it checks that the textbook's loss is ours. The peak holds weights, gradients, optimiser state and all
that a step needs. Ours runs under the allocator settings that the program runs under, the textbook's under
the default ones, with which it needs less than with ours.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch  # noqa: E402
import torch._dynamo  # noqa: E402  # torch.optim imports it with its first optimiser; it is to count as an import

from benchmarks import harness  # noqa: E402
from semcom.base.device import keep_freed_memory
from semcom.models import decoding  # noqa: E402
from semcom.models.transceiver import build  # noqa: E402

SCRIPT = "memory.py"
OURS = ("fp32", "bf16", "fp32, compiled", "bf16, compiled")
MEGABYTE = 1e6


def main(argv: list[str] | None = None) -> None:
    parser = harness.parser_of(SCRIPT, __doc__)
    parser.add_argument("--sides", nargs="+", choices=OURS, default=OURS, help="steps of ours (default: all)")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument(
        "--side",
        choices=("textbook", *OURS, "greedy"),
        help="measure this side in this process and print its figures as JSON",
    )
    parser.add_argument(
        "--shape", type=json.loads, metavar="JSON", help="fields of the shape that differ from the default"
    )
    given = parser.parse_args(argv)
    shape = harness.Shape(**given.shape) if given.shape else harness.QUICK if given.quick else harness.Shape()
    if given.side:
        print(json.dumps(measure(given.side, shape, given.steps)))
        return
    report = harness.Report(SCRIPT, argv)
    print(f"{shape}\n")
    harness.check_loss(shape, harness.batch_of(shape))
    peaks = {side: measure_apart(side, shape, given.steps) for side in ("textbook", *given.sides)}
    base = peaks["textbook"]["peak"]
    report.table(
        "Peak memory of a distillation step, MB",
        ("step", "peak", "of it weights and their states", "share of the textbook's"),
        [
            (
                harness.label(name),
                f"{p['peak'] / MEGABYTE:,.0f}",
                f"{p['weights'] / MEGABYTE:,.0f}",
                f"{p['peak'] / base:.3f} (1/{base / p['peak']:.1f})",
            )
            for name, p in peaks.items()
        ],
    )
    report.record(
        "peak_memory", base, max(p["peak"] for name, p in peaks.items() if name != "textbook"), "bytes"
    )
    report.write(given.json)


def measure_apart(side: str, shape: harness.Shape, steps: int) -> dict:
    """``measure`` in a process of its own."""
    return harness.apart(SCRIPT, "--side", side, "--steps", str(steps), "--shape", harness.shape_json(shape))


def measure(side: str, shape: harness.Shape, steps: int) -> dict:
    """peak: bytes above what stood after imports. weights: bytes of the weights, and of the trained ones'
    gradients and moments.

    seconds: the fastest step. ``greedy`` decodes a batch, as in ``decoding.py``.
    """
    imported = harness.status_bytes("VmRSS")
    torch.manual_seed(0)
    if side != "textbook":
        keep_freed_memory()
    batch = harness.batch_of(shape)
    run = decode_of(shape, batch) if side == "greedy" else harness.step_of(side, shape, batch)
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return {
        "peak": harness.status_bytes("VmHWM") - imported,
        "weights": weights_of(side, shape),
        "seconds": min(seconds),
    }


def weights_of(side: str, shape: harness.Shape) -> int:
    """Bytes of float32 weights; the trained ones' gradients and two moments are of the same size."""
    teacher, student = (sum(p.numel() for p in model.parameters()) for model in harness.pair(shape))
    return 4 * (teacher if side == "greedy" else teacher + 4 * student)


def decode_of(shape: harness.Shape, batch) -> Callable[[], object]:
    """Greedy decoding of a batch by the teacher, ``harness.STEPS`` tokens a sentence."""
    model = harness.never_ending(build(shape.architecture(shape.teacher_layers), 0))

    def run() -> None:
        with harness.forced(harness.STEPS):
            decoding.greedy(model.receiver, harness.received_of(model, batch), batch.source_mask)

    return run


if __name__ == "__main__":
    main()
