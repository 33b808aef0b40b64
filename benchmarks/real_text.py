"""Students of a teacher trained on real text: three modes, two depths, their hybrids; the table of
docs/results.md.

    python -m semcom vocab --corpus captions.en --size 4000 --output captions.model
    python -m semcom train --corpus captions.en --corpus-size all --vocab captions.model --output teacher.pt
    python benchmarks/real_text.py --teacher teacher.pt --corpus captions.en --folder real_text

prints a Markdown table of BLEU on the test split and, below it, what was understood of twenty sentences.
"""

import argparse
import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import trained_parser  # noqa: E402
from semcom.base import console  # noqa: E402
from semcom.base.settings import OutputConfig, RunConfig  # noqa: E402
from semcom.commands.distil import distil  # noqa: E402
from semcom.commands.distil_settings import DistillationFiles, DistilSettings  # noqa: E402
from semcom.commands.evaluate import evaluate  # noqa: E402
from semcom.commands.settings import EvaluateSettings  # noqa: E402
from semcom.data.settings import CorpusConfig  # noqa: E402
from semcom.distillation.settings import DistillationConfig  # noqa: E402
from semcom.distillation.training_settings import StudentConfig, TrainingConfig  # noqa: E402
from semcom.evaluation.settings import EvaluationConfig  # noqa: E402

PARTS, LAYERS, SNRS = ("full", "encoder", "decoder"), (2, 1), (0.0, 6.0, 12.0, 18.0)


@console.speaking()
def main() -> None:
    parser = trained_parser(__doc__, folder="real_text", steps="600")
    parser.add_argument("--corpus-size", default="24000")
    parser.add_argument("--precision", default="fp32")
    given = parser.parse_args()
    made = []
    for part in PARTS:
        for layers in LAYERS:
            made += made_by(student(given, part, layers))
    table = Path(given.folder) / "scores.csv"
    evaluate(
        EvaluateSettings(
            checkpoints=(given.teacher, *made),
            output=str(table),
            outputs=OutputConfig(overwrite=True),
            evaluation=EvaluationConfig(snr=SNRS, sentences=int(given.sentences), examples=20),
            corpus=CorpusConfig(corpus=(given.corpus,), corpus_size=None),
            run=RunConfig(quiet=True),
        )
    )
    with table.open() as file:
        print("\n" + markdown(list(csv.DictReader(file))))


def student(given: argparse.Namespace, part: str, layers: int) -> DistilSettings:
    run, hybrid = (str(Path(given.folder) / f"{part}{layers}{what}") for what in ("", "_hybrid.pt"))
    return DistilSettings(
        files=DistillationFiles(
            teacher_checkpoint=(given.teacher,), output_path=run, create_hybrid=True, hybrid_output=hybrid
        ),
        distillation=DistillationConfig(distill_part=part),
        student=StudentConfig(student_layers=layers),
        corpus=CorpusConfig(corpus=(given.corpus,), corpus_size=int(given.corpus_size)),
        training=TrainingConfig(steps=int(given.steps), precision=given.precision),
        run=RunConfig(quiet=True),
    )


def made_by(settings: DistilSettings) -> list[str]:
    """Files of the best student and the hybrid."""
    outcome = distil(settings)
    return [str(outcome.student), str(outcome.hybrid)]


def markdown(rows: list[dict[str, str]]) -> str:
    """BLEU by model and SNR."""
    bleu = {(row["model"], row["snr"]): float(row["bleu"]) for row in rows if row["snr"]}
    models, snrs = (list(dict.fromkeys(key[i] for key in bleu)) for i in (0, 1))
    lines = [
        "| model | " + " | ".join(f"{float(snr):g} dB" for snr in snrs) + " |",
        "| --- " * (len(snrs) + 1) + "|",
    ]
    lines += [
        f"| {model} | " + " | ".join(f"{bleu[model, snr]:.1f}" for snr in snrs) + " |" for model in models
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
