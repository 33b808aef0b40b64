"""Students of a teacher trained on real text: three modes, two depths, their hybrids; the table of
docs/results.md.

    python -m semcom vocab --corpus captions.en --size 4000 --output captions.model
    python -m semcom train --corpus captions.en --vocab captions.model --output captions_teacher.pt …
    python benchmarks/real_text.py --teacher captions_teacher.pt --corpus captions.en --folder real_text

prints a Markdown table of BLEU on the test split and, below it, what was understood of twenty sentences.
"""

import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import trained_parser  # noqa: E402
from semcom.commands import cli  # noqa: E402

PARTS, LAYERS, SNRS = ("full", "encoder", "decoder"), (2, 1), ("0", "6", "12", "18")


def main() -> None:
    parser = trained_parser(__doc__, folder="real_text", steps="600")
    parser.add_argument("--corpus-size", default="24000")
    parser.add_argument("--precision", default="fp32")
    given = parser.parse_args()
    folder = Path(given.folder)
    made = []
    for part in PARTS:
        for layers in LAYERS:
            run, hybrid = folder / f"{part}{layers}", folder / f"{part}{layers}_hybrid.pt"
            cli.distil(
                [
                    "--teacher-checkpoint",
                    given.teacher,
                    "--corpus",
                    given.corpus,
                    "--corpus-size",
                    given.corpus_size,
                    "--distill-part",
                    part,
                    "--student-layers",
                    str(layers),
                    "--steps",
                    given.steps,
                    "--precision",
                    given.precision,
                    "--output-path",
                    str(run),
                    "--create-hybrid",
                    "--hybrid-output",
                    str(hybrid),
                    "--quiet",
                ]
            )
            made += [str(run / "best_student_model.pt"), str(hybrid)]
    table = folder / "scores.csv"
    cli.package(
        [
            "evaluate",
            given.teacher,
            *made,
            "--corpus",
            given.corpus,
            "--corpus-size",
            "all",
            "--snr",
            *SNRS,
            "--sentences",
            given.sentences,
            "--output",
            str(table),
            "--overwrite",
            "--examples",
            "20",
            "--quiet",
        ]
    )
    print("\n" + markdown(list(csv.DictReader(table.open()))))


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
