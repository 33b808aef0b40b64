"""How time and memory of a distillation step, both ends trained, grow with vocabulary, length, batch and
layers, and those of greedy decoding with the number of sentences. Every figure is measured in a process of
its own.

    python benchmarks/scaling.py --json scaling.json

"without weights" is the peak less the float32 weights of both models and the gradients and moments of the
trained one. With chunks of logits it should stay where it is when the vocabulary doubles; the record says so
as a ratio.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness, memory  # noqa: E402

SCRIPT = "scaling.py"
WAYS = ("V", "T", "B", "layers", "sentences")


def main(argv: list[str] | None = None) -> None:
    parser = harness.parser_of(SCRIPT, __doc__)
    parser.add_argument(
        "--side",
        choices=("textbook", *memory.OURS),
        default="fp32",
        help="whose step (default fp32 of ours); decoding is ours",
    )
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="what grows (default all)")
    parser.add_argument("--steps", type=int, default=3, help="steps a figure; the fastest counts")
    given = parser.parse_args(argv)
    base = harness.QUICK if given.quick else harness.Shape()
    report = harness.Report(SCRIPT, argv)
    print(f"{base}; step: {harness.label(given.side)}; decoding: ours, {harness.STEPS} tokens a sentence\n")
    for way in given.ways:
        side = "greedy" if way == "sentences" else given.side
        points = [
            (name, memory.measure_apart(side, shape, given.steps)) for name, shape in growing(way, base)
        ]
        show(report, way, points)
        if way == "V":
            (_, before), (_, after) = points[-2:]
            report.record(
                "memory_at_twice_the_vocabulary",
                before["peak"] - before["weights"],
                after["peak"] - after["weights"],
                "bytes",
                "half V",
            )
    report.write(given.json)


def growing(way: str, base: harness.Shape) -> Iterator[tuple[int, harness.Shape]]:
    """What grows and the shape at each value: from a quarter of the default, or half of it, to twice."""
    for factor in (0.25, 0.5, 1, 2):
        if way == "V":
            yield (value := round(base.vocab_size * factor)), replace(base, vocab_size=value)
        elif way == "T" and factor >= 0.5:
            yield (
                (value := round(base.longest * factor)) - 1,
                replace(base, shortest=max(3, round(base.shortest * factor)), longest=value),
            )
        elif way == "B":
            yield (value := round(base.batch_size * factor)), replace(base, batch_size=value)
        elif way == "layers" and factor >= 0.5:
            yield (
                (value := round(base.student_layers * factor)) or 1,
                replace(base, student_layers=value or 1, teacher_layers=2 * (value or 1)),
            )
        elif way == "sentences":
            yield (value := round(4 * base.batch_size * factor)), replace(base, batch_size=value)


def show(report: harness.Report, way: str, points: list[tuple[int, dict]]) -> None:
    names = {
        "V": "V, pieces",
        "T": "T, most target tokens",
        "B": "B, sentences a step",
        "layers": "student's layers (teacher twice)",
        "sentences": "sentences decoded at once",
    }
    rows, last = [], None
    for value, p in points:
        apart = p["peak"] - p["weights"]
        growth = (
            f"{p['seconds'] / last['seconds']:.2f} / {apart / (last['peak'] - last['weights']):.2f}"
            if last
            else ""
        )
        rows.append(
            (
                f"{value:,}",
                f"{p['seconds']:.3f}",
                f"{p['peak'] / memory.MEGABYTE:,.0f}",
                f"{apart / memory.MEGABYTE:,.0f}",
                growth,
            )
        )
        last = p
    report.table(
        f"By {names[way]}",
        (names[way], "s", "peak, MB", "without weights, MB", "growth of time / of memory without weights"),
        rows,
    )


if __name__ == "__main__":
    main()
