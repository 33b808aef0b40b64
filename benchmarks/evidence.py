"""What distillation gains on real text: a screen of all arms, then the final comparison over fresh seeds; the
tables and the figure of docs/results.md.

    python benchmarks/evidence.py screen --teacher captions_teacher.pt --corpus captions.en --folder evidence
    python benchmarks/evidence.py final --teacher captions_teacher.pt --corpus captions.en --folder evidence
    python benchmarks/evidence.py equal-time --teacher captions_teacher.pt --corpus captions.en

Each comparison is a sweep: runs are made ``--jobs`` at a time, and one that is interrupted goes on where it
stopped. ``--report`` prints the tables of what is there alone.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pandas as pd  # noqa: E402

from benchmarks.harness import trained_parser  # noqa: E402
from semcom.base import console  # noqa: E402
from semcom.commands import ablation  # noqa: E402
from semcom.commands.ablation import Arm  # noqa: E402
from semcom.commands.distil_settings import DistillationFiles, DistilSettings  # noqa: E402
from semcom.data.settings import CorpusConfig  # noqa: E402
from semcom.distillation.training_settings import TrainingConfig  # noqa: E402
from semcom.report import plots  # noqa: E402

SCREEN_SEED, FINAL_SEEDS = 1, (11, 12, 13, 14, 15)
LABELS: dict[str, object] = {"distill_weight": 0.0}
LSKD: dict[str, object] = {"standardize_logits": True}
RANDOM: dict[str, object] = {"student_init": "random"}
BOTH_ENDS: dict[str, object] = {"distill_part": "full"}
SCREEN = (
    Arm("labels", LABELS, None),
    Arm("kd", {}),
    Arm("labels, random start", LABELS | RANDOM, None),
    Arm("kd, random start", RANDOM, "labels, random start"),
    Arm("rkl", {"kd_loss": "rkl"}),
    Arm("jsd", {"kd_loss": "jsd"}),
    Arm("skl", {"kd_loss": "skl"}),
    Arm("dkd", {"kd_loss": "dkd"}),
    Arm("lskd, T=1", LSKD),
    Arm("sdd", {"scales": (1, 2)}),
    Arm("sdd + lskd, T=1", {"scales": (1, 2)} | LSKD),
    Arm("kd, T=1", {"temperature": 1.0}),
    Arm("kd, T=2", {"temperature": 2.0}),
    Arm("kd, T=8", {"temperature": 8.0}),
    Arm("kd, T=16", {"temperature": 16.0}),
    Arm("kd, weight 0.3", {"distill_weight": 0.3}),
    Arm("kd, weight 0.5", {"distill_weight": 0.5}),
    Arm("kd, weight 0.9", {"distill_weight": 0.9}),
    Arm("lskd, T=0.5", LSKD | {"temperature": 0.5}),
    Arm("lskd, T=0.7", LSKD | {"temperature": 0.7}),
    Arm("lskd, T=2", LSKD | {"temperature": 2.0}),
    Arm("kd + decoder states", {"decoder_weight": 1.0}),
    Arm("kd + decoder states, cosine", {"decoder_weight": 1.0, "feature_loss": "cosine"}),
    Arm("sequence level, labels", LABELS | {"sequence_level": 1}),
    Arm("sequence level + kd", {"sequence_level": 1}),
    Arm("both ends: labels", BOTH_ENDS | LABELS, None),
    Arm("both ends: kd", BOTH_ENDS, "both ends: labels"),
    Arm("both ends: kd + encoder states", BOTH_ENDS | {"encoder_weight": 1.0}, "both ends: labels"),
    Arm("both ends: kd + signal", BOTH_ENDS | {"signal_weight": 1.0}, "both ends: labels"),
    Arm("both ends: kd, crossed", BOTH_ENDS | {"cross_weight": 0.5}, "both ends: labels"),
)
STARTS: dict[str, dict[str, object]] = {"teacher layers": {}, "random weights": RANDOM}


def finals(start: str, chosen: list[str]) -> list[Arm]:
    """Labels alone, kd and the chosen arms of the screen, from one start."""
    screened = {arm.name: arm for arm in SCREEN}
    arms = [screened[name] for name in ("labels", "kd", *chosen)]
    return [replace(arm, changes={**arm.changes, **STARTS[start]}) for arm in arms]


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
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at a time (default: the cores)")
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
            labels, kd = arms[:2]
            runs = comparison_of(given, [labels, kd], given.seeds, folder, size, given.steps).results()
            if len(whole([labels, kd], given.seeds, runs)) < 2:
                raise SystemExit(
                    f"{folder}: equal time takes its seconds from labels and kd of the final phase; finish "
                    "that first"
                )
            steps = given.equal_steps or steps_in_equal_time(runs, int(given.steps))
            fair = [
                replace(kd, base=None),
                Arm(f"labels, {steps} steps", {**labels.changes, "steps": steps}, "kd"),
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


def whole(arms: list[Arm], seeds: list[int], runs: pd.DataFrame) -> list[Arm]:
    """Those of which the runs of all seeds are finished."""
    count = runs["arm"].value_counts()
    return [arm for arm in arms if count.get(arm.name) == len(seeds)]


def steps_in_equal_time(runs: pd.DataFrame, steps: int) -> int:
    """Steps that labels alone can take in the time of kd: by the fastest run of each, the one that a shared
    machine held up least."""
    seconds = runs.groupby("arm")["seconds"].min()
    return round(steps * max(1.0, seconds["kd"] / seconds["labels"]))


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
    comparison = comparison_of(given, arms, seeds, root, size, steps)
    runs = comparison.results() if given.report else comparison.run(given.jobs)
    finished = whole(arms, seeds, runs)
    shown = [arm for arm in finished if arm.base in (None, *(other.name for other in finished))]
    if missing := [arm.name for arm in arms if arm not in shown]:
        print(f"\n{title}: not finished yet: {', '.join(missing)}")
    if not shown:
        return []
    summary = ablation.summary(shown, runs)
    print(f"\n{title}; {len(seeds)} seeds\n{ablation.table(summary)}")
    ablation.keep(summary, root, title, stem)
    return ablation.gains(summary)


def comparison_of(
    given: argparse.Namespace, arms: list[Arm], seeds: list[int], root: Path, size: int, steps: str
) -> ablation.Comparison:
    measured = ablation.measured(int(given.sentences))
    return ablation.Comparison(arms, seeds, root, common_of(given, size, steps), measured)


def common_of(given: argparse.Namespace, size: int, steps: str) -> DistilSettings:
    # Nine tenths of a corpus are its training split.
    return replace(
        ablation.RECEIVER,
        files=DistillationFiles(teacher_checkpoint=(given.teacher,)),
        corpus=CorpusConfig(corpus=(given.corpus,), corpus_size=round(size / 0.9)),
        training=TrainingConfig(steps=int(steps), batch_size=int(given.batch_size)),
    )


if __name__ == "__main__":
    main()
