"""The 2 x 2 matrix of BLEU, teacher and student at either end, of students trained with and without crossed
pairs.

    python benchmarks/crossed.py --teacher captions_teacher.pt --corpus captions.en --folder crossed

prints a Markdown table at 12 dB: student of both ends, both splices with the teacher, and how far the splices
are behind.
"""

import argparse
import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import trained_parser  # noqa: E402
from semcom.base import console  # noqa: E402
from semcom.base.settings import RunConfig  # noqa: E402
from semcom.commands.distil import distil  # noqa: E402
from semcom.commands.distil_settings import DistillationFiles, DistilSettings  # noqa: E402
from semcom.commands.evaluate import evaluate  # noqa: E402
from semcom.commands.settings import EvaluateSettings, SpliceSettings  # noqa: E402
from semcom.commands.splice import splice  # noqa: E402
from semcom.data.settings import CorpusConfig  # noqa: E402
from semcom.distillation.training_settings import StudentConfig, TrainingConfig  # noqa: E402
from semcom.distillation.transfer_settings import TransferConfig  # noqa: E402
from semcom.evaluation.settings import EvaluationConfig  # noqa: E402

LAYERS, WEIGHTS, SNR = (2, 1), (0.0, 0.5), 12.0


@console.speaking()
def main() -> None:
    parser = trained_parser(__doc__, folder="crossed", steps="300")
    given = parser.parse_args()
    lines = []
    for layers in LAYERS:
        for weight in WEIGHTS:
            run = Path(given.folder) / f"layers{layers}_cross{weight:g}"
            distil(student(given, run, layers, weight))
            teacher, straight, st, ts = bleu_of_splices(given, run)
            worse = min(st, ts) - straight
            cells = [layers, f"{weight:g}", *(f"{bleu:.1f}" for bleu in (teacher, straight, st, ts))]
            lines.append("| " + " | ".join(map(str, cells)) + f" | {worse:+.1f} |")
    header = [
        "layers",
        "`--cross-weight`",
        "teacher → teacher",
        "student → student",
        "student → teacher",
        "teacher → student",
        "worse splice less straight",
    ]
    print(f"\nBLEU at {SNR:g} dB\n\n| {' | '.join(header)} |\n{'| --- ' * len(header)}|\n" + "\n".join(lines))


def student(given: argparse.Namespace, run: Path, layers: int, weight: float) -> DistilSettings:
    return DistilSettings(
        files=DistillationFiles(teacher_checkpoint=(given.teacher,), output_path=str(run)),
        transfer=TransferConfig(cross_weight=weight),
        student=StudentConfig(student_layers=layers),
        corpus=CorpusConfig(corpus=(given.corpus,)),
        training=TrainingConfig(steps=int(given.steps)),
        run=RunConfig(quiet=True),
    )


def bleu_of_splices(given: argparse.Namespace, run: Path) -> list[float]:
    """Of the teacher, the student of both ends, and the splices of the two, student's transmitter first."""
    best, sends, hears = (
        str(run / f"{name}.pt") for name in ("best_student_model", "student_sends", "student_hears")
    )
    splice(SpliceSettings(transmitter=best, receiver=given.teacher, output=sends))
    splice(SpliceSettings(transmitter=given.teacher, receiver=best, output=hears))
    table = run / "scores.csv"
    evaluate(
        EvaluateSettings(
            checkpoints=(given.teacher, best, sends, hears),
            output=str(table),
            evaluation=EvaluationConfig(snr=(SNR,), sentences=int(given.sentences)),
            corpus=CorpusConfig(corpus=(given.corpus,), corpus_size=None),
            run=RunConfig(quiet=True),
        )
    )
    with table.open() as file:
        return [float(row["bleu"]) for row in list(csv.DictReader(file))[:4]]


if __name__ == "__main__":
    main()
