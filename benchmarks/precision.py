"""Which setting is fastest? Distillation steps in float32 and bfloat16, plain and compiled, in turn on the
same batches, by model width and vocabulary. What ``semcom/base/fastest.py`` chooses by is made from this.

    python benchmarks/precision.py --json precision.json
    python benchmarks/precision.py --kinds here avx512 avx2

Other kinds of machine than this one are this one with instructions left out: ``avx512`` without those for
bfloat16, ``avx2`` without AVX-512. Times are of the processor, in one thread, so that what else runs here
matters little.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch  # noqa: E402

from benchmarks import harness  # noqa: E402
from semcom.base.device import keep_freed_memory  # noqa: E402
from semcom.base.fastest import weights_multiplied  # noqa: E402
from semcom.data import batching  # noqa: E402
from semcom.distillation.training_loop import Loop  # noqa: E402
from semcom.models.decoding import greedy  # noqa: E402
from semcom.models.kernels import native  # noqa: E402

SCRIPT = "precision.py"
HEAD_WIDTH = 16
SETTINGS = ("fp32", "bf16", "fp32, compiled", "bf16, compiled")
KINDS: dict[str, tuple[str, dict[str, str]]] = {
    "here": ("-march=native", {}),
    "avx512": (
        "-march=native -mno-avx512bf16",
        {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"},
    ),
    "avx2": (
        "-march=x86-64-v3",
        {
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        },
    ),
}
"""By what a compiler is told, and by what torch's libraries are told in their environment."""


def main(argv: list[str] | None = None) -> None:
    parser = harness.parser_of(SCRIPT, __doc__)
    parser.add_argument("--steps", type=int, default=6, help="timed steps of each (default 6)")
    parser.add_argument(
        "--shapes",
        type=int,
        default=2,
        help="batches that take turns, each met once before it counts: the first product of a shape "
        "generates code (default 2)",
    )
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--widths", type=int, nargs="+", default=(32, 64, 128, 256), metavar="D")
    parser.add_argument("--vocabularies", type=int, nargs="+", default=(4000,), metavar="V")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=("here",))
    parser.add_argument("--one", metavar="KIND", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.quick:
        given.steps, given.shapes, given.widths, given.vocabularies = 1, 1, (16, 32), (300,)
    if given.one:
        print(json.dumps(measured(given)))
        return
    report = harness.Report(SCRIPT, argv)
    for kind in given.kinds:
        figures = harness.apart(SCRIPT, *_words(given, kind), environment=KINDS[kind][1])
        show(report, kind, figures, given.batch_size)
    report.write(given.json)


def _words(given: argparse.Namespace, kind: str) -> list[str]:
    several = {"--widths": given.widths, "--vocabularies": given.vocabularies}
    one = {"--steps": given.steps, "--shapes": given.shapes, "--batch-size": given.batch_size, "--one": kind}
    words = [str(word) for flag, value in one.items() for word in (flag, value)]
    return words + [str(word) for flag, values in several.items() for word in (flag, *values)]


def show(report: harness.Report, kind: str, figures: list[dict], batch_size: int) -> None:
    rows = []
    for each in figures:
        plain = each["seconds"]["fp32"]
        ratios = [f"{plain / each['seconds'][name]:.2f}" for name in SETTINGS[1:]]
        losses = " ".join(f"{loss:.4f}" for loss in each["losses"].values())
        gflops = f"{each['gflop'] / plain:.0f}"
        decoding = each["decoding"]
        decoded = f"{decoding['plain'] / decoding['compiled']:.2f}"
        rows.append((each["vocabulary"], each["width"], f"{plain:.3f}", gflops, *ratios, decoded, losses))
        at = f"at_width_{each['width']}_v{each['vocabulary']}"
        report.record(f"{kind}_decoding_{at}", decoding["plain"], decoding["compiled"], "s", "plain kernels")
        for name in SETTINGS[1:]:
            report.record(
                f"{kind}_{name.replace(', ', '_')}_step_{at}", plain, each["seconds"][name], "s", "fp32"
            )
    head = ("V", "D", "fp32, CPU s", "GFLOP a CPU s", *(f"{name}, times" for name in SETTINGS[1:]))
    compiler, environment = KINDS[kind]
    told = " ".join([compiler, *(f"{name}={value}" for name, value in environment.items())])
    head = (*head, "greedy decoding compiled, times")
    report.table(
        f"{kind} ({told}): a distillation step of {batch_size} sentences, teacher 4+4, student 2+2 layers",
        (*head, "mean losses"),
        rows,
    )


def measured(given: argparse.Namespace) -> list[dict]:
    """For each vocabulary and width, CPU seconds of a step and mean loss of each setting."""
    torch.set_num_threads(1)
    keep_freed_memory()
    machine, _ = KINDS[given.one]
    native.FLAGS = [
        word for flag in native.FLAGS for word in (machine.split() if "march" in flag else [flag])
    ]
    if missing := native.cannot_compile():
        raise SystemExit(f"nothing to compare: {missing}")
    return [_at(pieces, width, given) for pieces in given.vocabularies for width in given.widths]


def _at(pieces: int, width: int, given: argparse.Namespace) -> dict:
    heads = max(1, width // HEAD_WIDTH)
    shape = harness.Shape(pieces, 4, 2, width, heads, 4 * width, batch_size=given.batch_size)
    sentences = harness.sentences(shape, 40 * shape.batch_size)
    batches = [batching.collate(each) for each in batching.shuffled(sentences, shape.batch_size, 0, 1)]
    batches = batches[: given.shapes]
    loops = {name: _loop(name, shape) for name in SETTINGS}
    seconds: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for number in range(given.shapes + given.steps):
        for name, loop in loops.items():
            started = time.process_time()
            loop.step(loop.task.step_of(batches[number % given.shapes], 1), 1, 1e-3, number)
            seconds[name].append(time.process_time() - started)
    decoding = _decoding(shape, batches[0], given.steps)
    tokens = statistics.mean(batch.target_tokens for batch in batches)
    return {
        "vocabulary": pieces,
        "width": width,
        "gflop": tokens * _flop_a_token(shape) / 1e9,
        "seconds": {name: statistics.median(values[given.shapes :]) for name, values in seconds.items()},
        "decoding": decoding,
        "losses": {name: loop.loss() for name, loop in loops.items()},
    }


def _decoding(shape: harness.Shape, batch: batching.Batch, times: int) -> dict[str, float]:
    """CPU seconds of greedy decoding by plain and by compiled kernels."""
    teacher = harness.never_ending(harness.pair(shape)[0])
    received = harness.received_of(teacher, batch)
    seconds: dict[str, list[float]] = {"plain": [], "compiled": []}
    for _ in range(1 + times // 2):
        for name, each in seconds.items():
            started = time.process_time()
            greedy(teacher.receiver, received, batch.source_mask, compiled=name == "compiled")
            each.append(time.process_time() - started)
    return {name: statistics.median(each[1:] or each) for name, each in seconds.items()}


def _flop_a_token(shape: harness.Shape) -> float:
    """Of the products: the teacher's forward, the student's forward and backward."""
    teacher, student = harness.pair(shape)
    return 2 * weights_multiplied(teacher) + 6 * weights_multiplied(student)


def _loop(name: str, shape: harness.Shape) -> Loop:
    precision, _, compiled = name.partition(", ")
    objective = harness.objective_of(*harness.pair(shape), compiled=bool(compiled))
    return harness.loop_of(objective, shape.channel_dim, precision)


if __name__ == "__main__":
    main()
