"""Does a higher temperature mean a smaller divergence? Receivers at five temperatures, three seeds, from both
starts; the reports of docs/results.md.

    python benchmarks/temperatures.py --teacher captions_teacher.pt --corpus captions.en --folder temperatures

Runs that are finished are not run again. Two processes share the work: start both with OMP_NUM_THREADS=1, one
with ``--share 0 2``, one with ``--share 1 2``; ``--report`` then writes the report of each start into its
folder.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import trained_parser  # noqa: E402
from semcom.commands import cli  # noqa: E402

TEMPERATURES, SEEDS, STARTS = ("1", "2", "4", "8", "16"), ("1", "2", "3"), ("teacher", "random")


def main(argv: list[str] | None = None) -> None:
    parser = trained_parser(__doc__, folder="temperatures", steps="300")
    parser.set_defaults(sentences="500")
    parser.add_argument("--batch-size", default="64")
    parser.add_argument("--corpus-size", default="24000")
    parser.add_argument("--share", type=int, nargs=2, default=(0, 1), metavar=("K", "N"))
    parser.add_argument("--report", action="store_true", help="write the reports, train nothing")
    given = parser.parse_args(argv)
    runs = [(start, seed, t) for start in STARTS for seed in SEEDS for t in TEMPERATURES]
    if given.report:
        for start in STARTS:
            folder = Path(given.folder) / start
            cli.analyse(
                [
                    "--runs",
                    str(folder),
                    "--corpus",
                    given.corpus,
                    "--sentences",
                    given.sentences,
                    "--quiet",
                    "--overwrite",
                    "--output",
                    str(folder / "divergence.json"),
                    "--report-dir",
                    str(folder / "report"),
                ]
            )
        return
    for start, seed, t in runs[given.share[0] :: given.share[1]]:
        folder = Path(given.folder) / start / f"T{t}_seed{seed}"
        if not (folder / "final_student_model.pt").exists():
            cli.distil(
                [
                    "--teacher-checkpoint",
                    given.teacher,
                    "--corpus",
                    given.corpus,
                    "--corpus-size",
                    given.corpus_size,
                    "--distill-part",
                    "decoder",
                    "--student-layers",
                    "2",
                    "--student-init",
                    start,
                    "--temperature",
                    t,
                    "--seed",
                    seed,
                    "--steps",
                    given.steps,
                    "--batch-size",
                    given.batch_size,
                    "--quiet",
                    "--overwrite",
                    "--output-path",
                    str(folder),
                ]
            )


if __name__ == "__main__":
    main()
