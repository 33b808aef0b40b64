"""What distillation gains on real text: a screen of all arms, then the final comparison over fresh seeds; the
tables and the figure of docs/results.md.

    python benchmarks/evidence.py screen --teacher captions_teacher.pt --corpus captions.en --folder evidence
    python benchmarks/evidence.py final --teacher captions_teacher.pt --corpus captions.en --folder evidence
    python benchmarks/evidence.py equal-time --teacher captions_teacher.pt --corpus captions.en

Runs that are finished are not run again, so an interrupted comparison goes on where it stopped. Two processes
share the work: start both with OMP_NUM_THREADS=1, one with ``--share 0 2``, one with ``--share 1 2``;
``--report`` then prints the tables alone.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import trained_parser  # noqa: E402
from semcom.base import console  # noqa: E402
from semcom.base.settings import RunConfig  # noqa: E402
from semcom.commands import ablation  # noqa: E402
from semcom.commands.ablation import Arm  # noqa: E402
from semcom.commands.analyse_settings import AnalysisSettings  # noqa: E402
from semcom.commands.distil_settings import DistillationFiles, DistilSettings  # noqa: E402
from semcom.data.settings import CorpusConfig  # noqa: E402
from semcom.distillation.training_settings import TrainingConfig  # noqa: E402
from semcom.evaluation.settings import EvaluationConfig  # noqa: E402
from semcom.report import plots  # noqa: E402

SCREEN_SEED, FINAL_SEEDS = 1, (11, 12, 13, 14, 15)
SCREEN = (
    Arm("labels", "--distill-weight 0", None),
    Arm("kd", ""),
    Arm("labels, random start", "--distill-weight 0 --student-init random", None),
    Arm("kd, random start", "--student-init random", "labels, random start"),
    Arm("rkl", "--kd-loss rkl"),
    Arm("jsd", "--kd-loss jsd"),
    Arm("skl", "--kd-loss skl"),
    Arm("dkd", "--kd-loss dkd"),
    Arm("lskd, T=1", "--standardize-logits"),
    Arm("sdd", "--scales 1 2"),
    Arm("sdd + lskd, T=1", "--scales 1 2 --standardize-logits"),
    Arm("kd, T=1", "--temperature 1"),
    Arm("kd, T=2", "--temperature 2"),
    Arm("kd, T=8", "--temperature 8"),
    Arm("kd, T=16", "--temperature 16"),
    Arm("kd, weight 0.3", "--distill-weight 0.3"),
    Arm("kd, weight 0.5", "--distill-weight 0.5"),
    Arm("kd, weight 0.9", "--distill-weight 0.9"),
    Arm("lskd, T=0.5", "--standardize-logits --temperature 0.5"),
    Arm("lskd, T=0.7", "--standardize-logits --temperature 0.7"),
    Arm("lskd, T=2", "--standardize-logits --temperature 2"),
    Arm("kd + decoder states", "--decoder-weight 1"),
    Arm("kd + decoder states, cosine", "--decoder-weight 1 --feature-loss cosine"),
    Arm("sequence level, labels", "--distill-weight 0 --sequence-level 1"),
    Arm("sequence level + kd", "--sequence-level 1"),
    Arm("both ends: labels", "--distill-part full --distill-weight 0", None),
    Arm("both ends: kd", "--distill-part full", "both ends: labels"),
    Arm("both ends: kd + encoder states", "--distill-part full --encoder-weight 1", "both ends: labels"),
    Arm("both ends: kd + signal", "--distill-part full --signal-weight 1", "both ends: labels"),
    Arm("both ends: kd, crossed", "--distill-part full --cross-weight 0.5", "both ends: labels"),
)
STARTS = {"teacher layers": "", "random weights": " --student-init random"}


def finals(start: str, chosen: list[str]) -> list[Arm]:
    """Labels alone, kd and the chosen arms of the screen, from one start."""
    screened = {arm.name: arm for arm in SCREEN}
    return [
        Arm(name, screened[name].flags + STARTS[start], screened[name].base)
        for name in ("labels", "kd", *chosen)
    ]


@console.speaking()
def main(argv: list[str] | None = None) -> None:
    parser = trained_parser(__doc__, folder="evidence", steps="600")
    parser.set_defaults(sentences="500")
    parser.add_argument("phase", choices=("screen", "final", "equal-time"))
    parser.add_argument("--batch-size", default="64")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[2_000, 20_000], help="final: training sentences"
    )
    parser.add_argument(
        "--starts",
        nargs="+",
        choices=STARTS,
        default=list(STARTS),
        help="final: where the students start from",
    )
    parser.add_argument(
        "--chosen", nargs="*", default=["kd, T=2", "skl"], help="final: the best two arms of the screen"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=FINAL_SEEDS)
    parser.add_argument(
        "--equal-steps",
        type=int,
        metavar="N",
        help="equal-time: steps of labels alone (default: as the seconds of the fastest runs have it)",
    )
    parser.add_argument("--share", type=int, nargs=2, default=(0, 1), metavar=("K", "N"))
    parser.add_argument(
        "--report", action="store_true", help="print the tables of what is there, run nothing"
    )
    parser.add_argument(
        "--figure",
        metavar="FILE",
        help="final: what each arm gains at 6 dB, a panel a comparison, as PNG or SVG",
    )
    given = parser.parse_args(argv)
    root = Path(given.folder) / given.phase.replace("equal-time", "final")
    if given.phase == "screen":
        compare(given, "screen, one seed", list(SCREEN), [SCREEN_SEED], root, 21_600, given.steps)
        return
    panels = {}
    for start in given.starts:
        for size in given.sizes:
            folder, what = root / f"{size}_{start.split()[0]}", f"{size:,} training sentences, from {start}"
            arms = finals(start, given.chosen)
            if given.phase == "final":
                panels[what] = compare(
                    given, f"{what}, {given.steps} steps", arms, given.seeds, folder, size, given.steps
                )
                continue
            if not all_finished(arms[:2], given.seeds, folder):
                raise SystemExit(
                    f"{folder}: equal time takes its seconds from labels and kd of the final phase; finish "
                    "that first"
                )
            steps = given.equal_steps or steps_in_equal_time(arms, given.seeds, folder, int(given.steps))
            fair = [
                replace(arms[1], base=None),
                Arm(f"labels, {steps} steps", arms[0].flags + f" --steps {steps}", "kd"),
            ]
            compare(
                given,
                f"{what}, equal time: labels alone for {steps} steps",
                fair,
                given.seeds,
                folder,
                size,
                given.steps,
                "equal_time",
            )
    if given.figure:
        plots.plot_intervals({title: gains for title, gains in panels.items() if gains}, given.figure, mark=0)


def all_finished(arms: list[Arm], seeds: list[int], root: Path) -> bool:
    return all(ablation.finished(arm, seed, root) for arm in arms for seed in seeds)


def steps_in_equal_time(arms: list[Arm], seeds: list[int], root: Path, steps: int) -> int:
    """Steps that labels alone can take in the time of kd: by the fastest run of each, the one that a shared
    machine held up least."""
    labels, kd = (min(ablation.measured(arm, seed, root)["seconds"] for seed in seeds) for arm in arms[:2])
    return round(steps * max(1.0, kd / labels))


def compare(
    given: argparse.Namespace,
    title: str,
    arms: list[Arm],
    seeds: list[int],
    root: Path,
    size: int,
    steps: str,
    stem: str = "arms",
) -> list[ablation.Gain]:
    """Run what is missing of a comparison, and show what is whole of it; returns what its arms gain at 6
    dB."""
    comparison = ablation.Comparison(arms, seeds, root, common_of(given, size, steps), analysis_of(given))
    if not given.report:
        comparison.run(share=tuple(given.share))
    whole = [arm for arm in arms if all_finished([arm], seeds, root)]
    shown = [arm for arm in whole if arm.base in (None, *(other.name for other in whole))]
    if missing := [arm.name for arm in arms if arm not in shown]:
        print(f"\n{title}: not finished yet: {', '.join(missing)}")
    if not shown:
        return []
    lines = ablation.collect(shown, seeds, root)
    print(f"\n{title}; {len(seeds)} seeds\n{ablation.table(lines)}")
    ablation.keep(lines, root, title, stem)
    return ablation.gains(lines)


def common_of(given: argparse.Namespace, size: int, steps: str) -> DistilSettings:
    # Nine tenths of a corpus are its training split.
    return replace(
        ablation.RECEIVER,
        files=DistillationFiles(teacher_checkpoint=(given.teacher,)),
        corpus=CorpusConfig(corpus=(given.corpus,), corpus_size=round(size / 0.9)),
        training=TrainingConfig(steps=int(steps), batch_size=int(given.batch_size)),
    )


def analysis_of(given: argparse.Namespace) -> AnalysisSettings:
    return AnalysisSettings(
        corpus=CorpusConfig(corpus=(given.corpus,), corpus_size=None),
        evaluation=EvaluationConfig(sentences=int(given.sentences)),
        run=RunConfig(quiet=True),
    )


if __name__ == "__main__":
    main()
