"""Which peak learning rate suits a student? The same short distillation at several rates; prints a Markdown
table.

    python benchmarks/learning_rate.py --epochs 1

Validation cross-entropy of the best student, in nats a token, by mode and rate; one seed.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from semcom.base import console  # noqa: E402
from semcom.base.settings import OutputConfig, RunConfig  # noqa: E402
from semcom.commands.distil import distil  # noqa: E402
from semcom.commands.distil_settings import DistillationFiles, DistilSettings  # noqa: E402
from semcom.distillation.settings import DistillationConfig  # noqa: E402
from semcom.distillation.training_settings import TrainingConfig  # noqa: E402


@console.speaking()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", default="checkpoints/teacher.pt")
    parser.add_argument("--parts", nargs="+", default=["full", "encoder", "decoder"])
    parser.add_argument("--rates", nargs="+", default=["0.0003", "0.001", "0.003"])
    parser.add_argument("--epochs", default="1")
    parser.add_argument("--folder", default="checkpoints/learning_rate")
    given = parser.parse_args()
    losses = {}
    for part in given.parts:
        for rate in given.rates:
            settings = DistilSettings(
                files=DistillationFiles(
                    teacher_checkpoint=(given.teacher,), output_path=f"{given.folder}/{part}_{rate}"
                ),
                outputs=OutputConfig(overwrite=True),
                distillation=DistillationConfig(distill_part=part),
                training=TrainingConfig(lr=float(rate), epochs=int(given.epochs)),
                run=RunConfig(quiet=True),
            )
            outcome = distil(settings)
            losses[part, rate] = outcome.record["best_loss"]
    print("\n| mode | " + " | ".join(given.rates) + " |\n" + "| --- " * (len(given.rates) + 1) + "|")
    for part in given.parts:
        print(f"| {part} | " + " | ".join(f"{losses[part, rate]:.4f}" for rate in given.rates) + " |")


if __name__ == "__main__":
    main()
