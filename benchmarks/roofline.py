"""What the machine can do, what a distillation step must do, and the share of the machine that our step
reaches.

    python benchmarks/roofline.py --json roofline.json

Ceilings are the best of several runs: square matrix products, products in the shape of the vocabulary
projection, streaming memory, exponentials in cache. A step is counted without anything that could be left
out: real tokens only, no logits in memory, nothing computed twice, no elementwise work outside softmax over
the vocabulary. Each part takes at least the longest of its times for products, for memory and for
exponentials; the step at least the sum over its parts.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch  # noqa: E402

from benchmarks import harness  # noqa: E402
from semcom.base.device import keep_freed_memory  # noqa: E402
from semcom.data.batching import Batch  # noqa: E402
from semcom.models.architecture import Architecture  # noqa: E402

SCRIPT = "roofline.py"
FLOAT = 4  # bytes
EXPONENTIALS = 3  # a logit: the student's softmax, and both models' softened ones
ADAM_FLOATS = (
    8  # a weight: weight, gradient and two moments read, weight and moments written, gradient zeroed
)


def main(argv: list[str] | None = None) -> None:
    parser = harness.parser_of(SCRIPT, __doc__)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(argv)
    shape = harness.QUICK if given.quick else harness.Shape()
    keep_freed_memory()
    report = harness.Report(SCRIPT, argv)
    batch = harness.batch_of(shape)
    ceilings = {
        precision: ceiling_of(precision, 256 if given.quick else 2048, given.rounds)
        for precision in ("fp32", "bf16")
    }
    rows = [("square products, GFLOP/s", *(f"{c.flops / 1e9:,.0f}" for c in ceilings.values()))]
    rows += [
        (
            f"[{n}, {k}] by [{k}, {m}], GFLOP/s",
            *(f"{product_rate(n, k, m, p, given.rounds) / 1e9:,.0f}" for p in ceilings),
        )
        for n, k, m in shapes_of_products(shape, batch)
    ]
    rows += [
        ("streaming memory, GB/s", *(f"{c.bytes / 1e9:,.1f}" for c in ceilings.values())),
        ("exponentials in cache, 10^9/s", *(f"{c.exponentials / 1e9:,.2f}" for c in ceilings.values())),
    ]
    report.table("Ceilings of this machine", ("what", *ceilings), rows)

    parts = count(shape, batch)
    rows = [
        (name, *work.columns(), *(f"{work.least(c):.4f}" for c in ceilings.values()))
        for name, work in parts.items()
    ]
    least = {p: sum(work.least(c) for work in parts.values()) for p, c in ceilings.items()}
    total = sum(parts.values(), Work())
    rows.append(("step", *total.columns(), *(f"{s:.4f}" for s in least.values())))
    report.table(
        f"What a step must do ({shape}; {batch.target_tokens:,} target tokens)",
        ("part", "GFLOP", "MB", "10^6 exponentials", *(f"least s, {p}" for p in ceilings)),
        rows,
    )

    choices = [""] if given.quick else ["", ", compiled"]
    sides = {f"{precision}{choice}": precision for precision in ceilings for choice in choices}
    seconds = harness.alternate({side: harness.step_of(side, shape, batch) for side in sides}, given.rounds)
    report.table(
        "Share reached",
        ("our step", "s", "GFLOP/s", "share of the machine"),
        [
            (side, f"{s:.3f}", f"{total.flops / s / 1e9:,.0f}", f"{least[sides[side]] / s:.0%}")
            for side, s in seconds.items()
        ],
    )
    for side, s in seconds.items():
        report.record(f"share_of_machine_{side}", least[sides[side]], s, "s", "least time of this machine")
    report.write(given.json)


@dataclass(frozen=True)
class Ceiling:
    """A second's floating-point operations in products, bytes of memory, exponentials."""

    flops: float
    bytes: float
    exponentials: float


@dataclass(frozen=True)
class Work:
    """What must be done: floating-point operations in products, bytes, exponentials."""

    flops: float = 0
    bytes: float = 0
    exponentials: float = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.flops + other.flops, self.bytes + other.bytes, self.exponentials + other.exponentials
        )

    def __mul__(self, times: float) -> "Work":
        return Work(self.flops * times, self.bytes * times, self.exponentials * times)

    def least(self, ceiling: Ceiling) -> float:
        """Seconds, were all of it overlapped."""
        return max(
            self.flops / ceiling.flops, self.bytes / ceiling.bytes, self.exponentials / ceiling.exponentials
        )

    def columns(self) -> tuple[str, str, str]:
        return f"{self.flops / 1e9:,.2f}", f"{self.bytes / 1e6:,.0f}", f"{self.exponentials / 1e6:,.0f}"


def best_seconds(run: Callable[[], object], rounds: int) -> float:
    """Of the fastest of ``rounds`` runs after two that do not count."""
    run(), run()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def product_rate(rows: int, inner: int, columns: int, precision: str, rounds: int) -> float:
    """FLOP/s of [rows, inner] times [inner, columns]."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b, out = (torch.randn(*size).to(dtype) for size in ((rows, inner), (columns, inner), (rows, columns)))
    return 2 * rows * inner * columns / best_seconds(lambda: torch.mm(a, b.t(), out=out), rounds)


def ceiling_of(precision: str, side: int, rounds: int) -> Ceiling:
    large, target = torch.randn(side * side * 16), torch.empty(side * side * 16)
    cached, result = torch.randn(1 << 16), torch.empty(1 << 16)

    def exponentials() -> None:
        for _ in range(64):
            torch.exp(cached, out=result)

    return Ceiling(
        product_rate(side, side, side, precision, rounds),
        2 * FLOAT * large.numel() / best_seconds(lambda: target.copy_(large), rounds),
        64 * cached.numel() / best_seconds(exponentials, rounds),
    )


def shapes_of_products(shape: harness.Shape, batch: Batch) -> list[tuple[int, int, int]]:
    """Rows, inner and columns: logits as a whole and by chunks, their way back to states, a feed-forward
    layer."""
    n, d, v = batch.target_tokens, shape.d_model, shape.vocab_size
    return [(n, d, v), (min(128, n), d, v), (min(128, n), v, d), (n, d, shape.dff)]


def linear(rows: float, inner: int, outer: int) -> Work:
    """[rows, inner] to [rows, outer]: both, and the weights, pass through memory once."""
    return Work(2 * rows * inner * outer, FLOAT * (rows * (inner + outer) + inner * outer))


def attention(queries: float, keys: float, pairs: float, width: int, memory_width: int) -> Work:
    """Projections of ``queries`` and ``keys`` rows, and scores and mixing of ``pairs`` pairs of a query and a
    key."""
    projected = linear(queries, width, width) * 2 + linear(keys, memory_width, width) * 2
    return projected + Work(4 * pairs * width, FLOAT * (2 * queries + 2 * keys) * width)


def layers(shape: harness.Shape, batch: Batch, count: int) -> Work:
    """The forward pass of both ends with ``count`` layers each, without the vocabulary's projection."""
    d, sources, targets = shape.d_model, float(sum(batch.lengths)), float(batch.target_tokens)
    square = sum(n * n for n in batch.lengths)
    below = sum((n - 1) * n / 2 for n in batch.lengths)
    across = sum((n - 1) * n for n in batch.lengths)

    def feed_forward(rows: float) -> Work:
        return linear(rows, d, shape.dff) + linear(rows, shape.dff, d)

    encoder = attention(sources, sources, square, d, d) + feed_forward(sources)
    decoder = (
        attention(targets, targets, below, d, d)
        + attention(targets, sources, across, d, d)
        + feed_forward(targets)
    )
    narrow, wide = Architecture.channel_encoder_hidden, Architecture.channel_decoder_hidden
    channel = linear(sources, d, narrow) + linear(sources, narrow, shape.channel_dim)
    channel += linear(sources, shape.channel_dim, d) + linear(sources, d, wide) + linear(sources, wide, d)
    return (encoder + decoder) * count + channel


def count(shape: harness.Shape, batch: Batch) -> dict[str, Work]:
    """The parts of a step. A backward pass makes two products of the size of each forward one."""
    rows, d, v = batch.target_tokens, shape.d_model, shape.vocab_size
    project = Work(2 * rows * d * v, FLOAT * (rows * d + v * d))
    student = sum(p.numel() for p in harness.pair(shape)[1].parameters())
    return {
        "teacher's layers": layers(shape, batch, shape.teacher_layers),
        "student's layers, forward and backward": layers(shape, batch, shape.student_layers) * 3,
        "projections and loss, forward and backward": project * 4
        + Work(exponentials=EXPONENTIALS * rows * v),
        "optimiser": Work(bytes=FLOAT * ADAM_FLOATS * student),
    }


if __name__ == "__main__":
    main()
