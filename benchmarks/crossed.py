"""The 2 x 2 matrix of BLEU, teacher and student at either end, of students trained with and without crossed
pairs.

    python benchmarks/crossed.py --teacher captions_teacher.pt --corpus captions.en --folder crossed

prints a Markdown table at 12 dB: student of both ends, both splices with the teacher, and how far the splices
are behind.
"""

import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import trained_parser  # noqa: E402
from semcom.commands import cli  # noqa: E402

LAYERS, WEIGHTS, SNR = (2, 1), (0.0, 0.5), "12"


def main() -> None:
    parser = trained_parser(__doc__, folder="crossed", steps="300")
    given = parser.parse_args()
    folder, lines = Path(given.folder), []
    for layers in LAYERS:
        for weight in WEIGHTS:
            run = folder / f"layers{layers}_cross{weight:g}"
            cli.distil(
                [
                    "--teacher-checkpoint",
                    given.teacher,
                    "--corpus",
                    given.corpus,
                    "--student-layers",
                    str(layers),
                    "--steps",
                    given.steps,
                    "--cross-weight",
                    str(weight),
                    "--output-path",
                    str(run),
                    "--quiet",
                ]
            )
            student, sends, hears = (
                str(run / "best_student_model.pt"),
                str(run / "student_sends.pt"),
                str(run / "student_hears.pt"),
            )
            cli.package(["splice", "--transmitter", student, "--receiver", given.teacher, "--output", sends])
            cli.package(["splice", "--transmitter", given.teacher, "--receiver", student, "--output", hears])
            table = run / "scores.csv"
            cli.package(
                [
                    "evaluate",
                    given.teacher,
                    student,
                    sends,
                    hears,
                    "--corpus",
                    given.corpus,
                    "--corpus-size",
                    "all",
                    "--snr",
                    SNR,
                    "--sentences",
                    given.sentences,
                    "--output",
                    str(table),
                    "--quiet",
                ]
            )
            teacher, straight, st, ts = (float(row["bleu"]) for row in list(csv.DictReader(table.open()))[:4])
            lines.append(
                f"| {layers} | {weight:g} | {teacher:.1f} | {straight:.1f} | {st:.1f} | {ts:.1f} | "
                f"{min(st, ts) - straight:+.1f} |"
            )
    header = [
        "layers",
        "`--cross-weight`",
        "teacher → teacher",
        "student → student",
        "student → teacher",
        "teacher → student",
        "worse splice less straight",
    ]
    print(f"\nBLEU at {SNR} dB\n\n| {' | '.join(header)} |\n{'| --- ' * len(header)}|\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
