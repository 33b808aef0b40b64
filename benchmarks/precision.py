"""Where does bfloat16 pay? Training steps in float32 and bfloat16, alternating, on the same batches, by model
width.

python benchmarks/precision.py --json precision.json
"""

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch  # noqa: E402

from benchmarks import harness  # noqa: E402
from semcom.base.device import keep_freed_memory, resolve_device
from semcom.channel.channels import AWGN  # noqa: E402
from semcom.commands.inputs import shipped
from semcom.data import batching, corpus
from semcom.data.vocabulary_files import read_vocabulary  # noqa: E402
from semcom.distillation.objectives import TransceiverObjective  # noqa: E402
from semcom.distillation.trainer import LinkTask  # noqa: E402
from semcom.distillation.training_loop import Loop  # noqa: E402
from semcom.distillation.training_settings import TrainingConfig  # noqa: E402
from semcom.models.architecture import Architecture  # noqa: E402
from semcom.models.layers import seed_dropout  # noqa: E402
from semcom.models.transceiver import build  # noqa: E402
from semcom.models.transformer import TransformerSize  # noqa: E402

SCRIPT = "precision.py"
HEAD_WIDTH = 16


def main(argv: list[str] | None = None) -> None:
    parser = harness.parser_of(SCRIPT, __doc__)
    parser.add_argument("--steps", type=int, default=12, help="timed steps of each (default 12)")
    parser.add_argument(
        "--shapes",
        type=int,
        default=3,
        help="batches that take turns, each met once before it counts: the first "
        "product of a shape generates code (default 3)",
    )
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--widths", type=int, nargs="+", default=(32, 64, 128, 256), metavar="D")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args(argv)
    steps, shapes, widths = (1, 1, (16, 32)) if given.quick else (given.steps, given.shapes, given.widths)
    device = resolve_device(given.device)
    keep_freed_memory()
    report = harness.Report(SCRIPT, argv)
    vocabulary = read_vocabulary(Path(shipped("vocab/parliament.model")).read_bytes())
    encoded = batching.encode(corpus.built_in(given.batch_size * 60).split("train"), vocabulary)
    batches = [batching.collate(b) for b in batching.shuffled(encoded, given.batch_size, 0, 1)][:shapes]
    rows = []
    for width in widths:
        loops = {kind: _loop(kind, width, len(vocabulary), device) for kind in ("fp32", "bf16")}
        seconds = {kind: [] for kind in loops}
        for step in range(shapes + steps):
            for kind, loop in loops.items():
                started = time.perf_counter()
                loop.step(loop.task.step_of(batches[step % shapes], 1), 1, 1e-3, step)
                seconds[kind].append(time.perf_counter() - started)
        fp32, bf16 = (statistics.median(values[shapes:]) for values in seconds.values())
        rows.append(
            (
                width,
                f"{fp32:.3f}",
                f"{bf16:.3f}",
                f"{fp32 / bf16:.2f}",
                *(f"{loop.loss():.4f}" for loop in loops.values()),
            )
        )
        report.record(f"bf16_step_at_width_{width}", fp32, bf16, "s")
    report.table(
        f"Training step of {given.batch_size} sentences, 4+4 layers, {device}",
        ("D", "fp32, s", "bf16, s", "times as fast", "mean loss fp32", "mean loss bf16"),
        rows,
    )
    report.write(given.json)


def _loop(kind: str, width: int, pieces: int, device: torch.device) -> Loop:
    size = TransformerSize(4, width, width // HEAD_WIDTH, 4 * width)
    objective = (
        TransceiverObjective(build(Architecture(pieces, size, size), 0), AWGN(), (-6.0, 18.0))
        .to(device)
        .train()
    )
    seed_dropout(objective, 0)
    config = TrainingConfig(precision=kind)
    return Loop(LinkTask(objective, (), config, width=16, device=device, seed=0), config)


if __name__ == "__main__":
    main()
