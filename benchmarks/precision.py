"""Does bfloat16 pay here? Training steps of a teacher-size model in float32 and bfloat16, alternating, on the same batches.

    python benchmarks/precision.py
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch  # noqa: E402

from semcom import batching, corpus, recipes, runtime  # noqa: E402
from semcom.channel import Channel  # noqa: E402
from semcom.config import TrainingConfig  # noqa: E402
from semcom.layers import seed_dropout  # noqa: E402
from semcom.objective import TransceiverObjective  # noqa: E402
from semcom.trainer import _Loop  # noqa: E402
from semcom.transceiver import Architecture, build  # noqa: E402
from semcom.vocab import Vocabulary  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    device = runtime.resolve_device(given.device)
    runtime.keep_freed_memory()
    vocabulary = Vocabulary(Path(recipes.shipped("vocab/parliament.model")).read_bytes())
    encoded = batching.encode(corpus.built_in(given.batch_size * 60).split("train"), vocabulary)
    batches = [batching.collate(b) for b in batching.shuffled(encoded, given.batch_size, 0, 1)]
    loops = {}
    for precision in ("fp32", "bf16"):
        objective = TransceiverObjective(build(Architecture(len(vocabulary)), 0), Channel(), (-6.0, 18.0)).to(device)
        seed_dropout(objective, 0)
        loops[precision] = _Loop(objective, TrainingConfig(precision=precision), 16, device, 0)
    seconds = {precision: [] for precision in loops}
    for step in range(given.steps + 3):
        for precision, loop in loops.items():
            started = time.perf_counter()
            loop.step(batches[step % len(batches)], 1, 1e-3, step)
            if step >= 3:
                seconds[precision].append(time.perf_counter() - started)
    medians = {precision: statistics.median(values) for precision, values in seconds.items()}
    print("| precision | median step, s | loss over the same steps |\n| --- | --- | --- |")
    for precision, loop in loops.items():
        print(f"| {precision} | {medians[precision]:.3f} | {loop.loss():.4f} |")
    print(f"bf16 is {medians['fp32'] / medians['bf16']:.2f} times as fast on {device}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
