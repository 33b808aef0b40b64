"""Does a higher temperature mean a smaller divergence? Receivers at five temperatures, three seeds, from both
starts; the reports of docs/results.md.

    python benchmarks/temperatures.py --teacher captions_teacher.pt --corpus captions.en --folder temperatures

Runs that are finished are not run again. Two processes share the work: start both with OMP_NUM_THREADS=1, one
with ``--share 0 2``, one with ``--share 1 2``; ``--report`` then writes the report of each start into its
folder.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import trained_parser  # noqa: E402
from semcom.base import console  # noqa: E402
from semcom.base.settings import OutputConfig, RunConfig  # noqa: E402
from semcom.commands.analyse import analyse  # noqa: E402
from semcom.commands.analyse_settings import ANALYSED, AnalysisFiles, AnalysisSettings  # noqa: E402
from semcom.commands.distil import distil  # noqa: E402
from semcom.commands.distil_settings import DistillationFiles, DistilSettings  # noqa: E402
from semcom.commands.settings import WHOLE_CORPUS  # noqa: E402
from semcom.data.settings import CorpusConfig  # noqa: E402
from semcom.distillation.settings import DistillationConfig  # noqa: E402
from semcom.distillation.training_settings import StudentConfig, TrainingConfig  # noqa: E402
from semcom.report.settings import ReportConfig  # noqa: E402

TEMPERATURES, SEEDS, STARTS = (1, 2, 4, 8, 16), (1, 2, 3), ("teacher", "random")


@console.speaking()
def main(argv: list[str] | None = None) -> None:
    parser = trained_parser(__doc__, folder="temperatures", steps="300")
    parser.set_defaults(sentences="500")
    parser.add_argument("--batch-size", default="64")
    parser.add_argument("--corpus-size", default="24000")
    parser.add_argument("--share", type=int, nargs=2, default=(0, 1), metavar=("K", "N"))
    parser.add_argument("--report", action="store_true", help="write the reports, train nothing")
    given = parser.parse_args(argv)
    if given.report:
        for start in STARTS:
            analyse(report(given, Path(given.folder) / start))
        return
    runs = [(start, seed, t) for start in STARTS for seed in SEEDS for t in TEMPERATURES]
    for start, seed, t in runs[given.share[0] :: given.share[1]]:
        folder = Path(given.folder) / start / f"T{t}_seed{seed}"
        if not (folder / "final_student_model.pt").exists():
            distil(receiver(given, folder, start, seed, t))


def report(given: argparse.Namespace, folder: Path) -> AnalysisSettings:
    return AnalysisSettings(
        files=AnalysisFiles(runs=str(folder), output=str(folder / "divergence.json")),
        outputs=OutputConfig(overwrite=True),
        report=ReportConfig(report_dir=str(folder / "report")),
        evaluation=replace(ANALYSED, sentences=int(given.sentences)),
        corpus=replace(WHOLE_CORPUS, corpus=(given.corpus,)),
        run=RunConfig(quiet=True),
    )


def receiver(
    given: argparse.Namespace, folder: Path, start: str, seed: int, temperature: int
) -> DistilSettings:
    return DistilSettings(
        files=DistillationFiles(teacher_checkpoint=(given.teacher,), output_path=str(folder)),
        outputs=OutputConfig(overwrite=True),
        distillation=DistillationConfig(distill_part="decoder", temperature=float(temperature)),
        student=StudentConfig(student_layers=2, student_init=start),
        corpus=CorpusConfig(corpus=(given.corpus,), corpus_size=int(given.corpus_size)),
        training=TrainingConfig(steps=int(given.steps), batch_size=int(given.batch_size)),
        run=RunConfig(seed=seed, quiet=True),
    )


if __name__ == "__main__":
    main()
