"""What a dialled divergence is worth: asked against reached; dialled beside grown receivers; the same amount
of three kinds; what two mismatched ends add up to. The tables of docs/dial.md.

    python benchmarks/dial_study.py --teacher captions_teacher.pt --corpus captions.en --other wmt.en \\
        --folder dial_study

Runs and results that are there are not made again. Two processes share the work: start both with
OMP_NUM_THREADS=1, one with ``--share 0 2``, one with ``--share 1 2``, first with ``--train``, then without;
``--report`` then prints the tables.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch  # noqa: E402

from benchmarks import dial_study_tables  # noqa: E402
from benchmarks.dial_study_measures import Dial, described, interaction  # noqa: E402
from semcom.base import console, output_files  # noqa: E402
from semcom.base.device import keep_freed_memory  # noqa: E402
from semcom.base.settings import OutputConfig, RunConfig  # noqa: E402
from semcom.commands.dial import plan_of  # noqa: E402
from semcom.commands.dial_ladder import Plan  # noqa: E402
from semcom.commands.dial_path import path_of_run  # noqa: E402
from semcom.commands.dial_settings import DialSettings  # noqa: E402
from semcom.commands.distil import distil  # noqa: E402
from semcom.commands.distil_settings import DistillationFiles, DistilSettings  # noqa: E402
from semcom.commands.settings import WHOLE_CORPUS  # noqa: E402
from semcom.data.settings import CorpusConfig  # noqa: E402
from semcom.distillation.settings import DistillationConfig  # noqa: E402
from semcom.distillation.training_settings import StudentConfig, TrainingConfig  # noqa: E402
from semcom.evaluation.path_search import OutOfReach  # noqa: E402
from semcom.evaluation.settings import TargetConfig  # noqa: E402

Row = dict[str, object]
TARGETS = {
    "decoder": (0.05, 0.1, 0.2, 0.4, 0.6),
    "encoder": (0.08, 0.12, 0.16, 0.2, 0.3),
    "full": (0.08, 0.1, 0.2, 0.4, 0.6),
}
GROWN_STEPS = (12, 30, 75)
KINDS = {
    "depth, kd": "decoder",
    "depth, labels": "decoder_labels",
    "seen, labels": "seen",
    "education, kd": "education",
}
"""Of a difference, and what its run learned from -> the run whose path has it."""
SAME_AMOUNT = {"kl_divergence": 0.2, "cross_entropy_gap": 0.15}
ONE_END = 0.2


@dataclass(frozen=True)
class Student:
    """How a student is trained. other: on the other text."""

    part: str = "decoder"
    layers: int = 2
    start: str = "teacher"
    weight: float = 0.7
    steps: int | None = None
    other: bool = False


STUDENTS = {
    "decoder": Student(),
    "encoder": Student(part="encoder", layers=1),
    "full": Student(part="full"),
    "decoder_labels": Student(weight=0.0),
    "seen": Student(layers=4, weight=0.0, other=True),
    "education": Student(layers=4, start="random"),
    **{f"grown_{steps}": Student(steps=steps) for steps in GROWN_STEPS},
}


@console.speaking()
def main(argv: list[str] | None = None) -> None:
    given = _parser().parse_args(argv)
    keep_freed_memory()
    folder = Path(given.folder)
    if given.report:
        print(dial_study_tables.report(folder, given.seeds, sys.argv[1:]))
        return
    left_out = () if given.education_steps else ("education",)
    names = [name for name in STUDENTS if name not in left_out]
    runs = [(name, seed) for seed in range(1, given.seeds + 1) for name in names]
    number, of = given.share
    if given.train:
        for name, seed in runs[number::of]:
            train(given, name, seed)
        return
    plan: Plan | None = None
    work = [(part, seed) for seed in range(1, given.seeds + 1) for part in PARTS if part[0] in given.parts]
    for part, seed in work[number::of]:
        file = folder / "results" / f"{part}_seed{seed}.json"
        if not file.exists():
            plan = plan or base_plan(given)
            output_files.write_json(file, PARTS[part](plan, folder, seed))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--corpus", required=True, help="text that teacher and students learn from")
    parser.add_argument("--other", help="text that the teacher never learned from")
    parser.add_argument("--folder", default="dial_study")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument(
        "--education-steps", type=int, default=0, help="of the random start; 0 leaves this kind out"
    )
    parser.add_argument("--sentences", type=int, default=600)
    parser.add_argument("--parts", default="abcd")
    parser.add_argument("--share", type=int, nargs=2, default=(0, 1), metavar=("K", "N"))
    parser.add_argument("--train", action="store_true", help="train the runs alone")
    parser.add_argument("--report", action="store_true", help="print the tables alone")
    return parser


def train(given: argparse.Namespace, name: str, seed: int) -> None:
    student, folder = STUDENTS[name], run_folder(Path(given.folder), name, seed)
    if (folder / "final_student_model.pt").exists():
        return
    text = given.other if student.other else given.corpus
    steps = given.education_steps if name == "education" else student.steps or given.steps
    distil(
        DistilSettings(
            files=DistillationFiles(teacher_checkpoint=(given.teacher,), output_path=str(folder)),
            outputs=OutputConfig(overwrite=True),
            distillation=DistillationConfig(distill_part=student.part, distill_weight=student.weight),
            student=StudentConfig(student_layers=student.layers, student_init=student.start),
            corpus=CorpusConfig(corpus=(text,)),
            training=TrainingConfig(steps=steps, batch_size=64),
            run=RunConfig(seed=seed, quiet=True),
        )
    )


def run_folder(folder: Path, name: str, seed: int) -> Path:
    return folder / f"{name}_seed{seed}"


def base_plan(given: argparse.Namespace) -> Plan:
    """Where everything is measured, with the sentences."""
    run = run_folder(Path(given.folder), "decoder", 1)
    settings = DialSettings(
        source=str(run),
        target=(1.0,),
        corpus=replace(WHOLE_CORPUS, corpus=(given.corpus,)),
        evaluation=replace(DialSettings.evaluation, sentences=given.sentences, snr=(6.0, 12.0)),
        run=RunConfig(quiet=True),
    )
    return plan_of(settings, path_of_run(str(run)), str(run), torch.device("cpu"))


def _of_run(plan: Plan, folder: Path, name: str, seed: int, measure: str = "kl_divergence") -> Plan:
    run = run_folder(folder, name, seed)
    return replace(
        plan,
        dialled=path_of_run(str(run)),
        source=str(run),
        ask=TargetConfig(target_measure=measure),
        seed=seed,
    )


# --- the parts: each of one seed


def accuracy(part: str) -> Callable[[Plan, Path, int], list[Row]]:
    """(a) Asked against reached."""

    def of_seed(plan: Plan, folder: Path, seed: int) -> list[Row]:
        dial = Dial(_of_run(plan, folder, part, seed))
        rows = [dial.reached(target) for target in TARGETS[part]]
        return [{"part": part, "seed": seed, **row} for row in rows]

    return of_seed


def grown(plan: Plan, folder: Path, seed: int) -> list[Row]:
    """(b) Receivers that were trained for a few steps, beside those dialled to the same KL on the path of
    the whole run."""
    rows: list[Row] = []
    dial = Dial(_of_run(plan, folder, "decoder", seed))
    for steps in GROWN_STEPS:
        stopped = _of_run(plan, folder, f"grown_{steps}", seed).dialled.best
        amount = dial.value_of(stopped.model)
        try:
            dialled = dial.hybrid(amount)
        except OutOfReach as error:
            rows.append({"seed": seed, "steps": steps, "asked": amount, "why": str(error)})
            continue
        models = {"grown": stopped, "dialled": dialled}
        rows += [
            {"seed": seed, "steps": steps, "asked": amount, **row} for row in described(dial.plan, models)
        ]
    return rows


def same_amount(plan: Plan, folder: Path, seed: int) -> list[Row]:
    """(c) Receivers of one divergence from three causes, matched on two measures."""
    rows: list[Row] = []
    for measure, amount in SAME_AMOUNT.items():
        hybrids, own = {}, _of_run(plan, folder, "decoder", seed, measure)
        for kind, run in KINDS.items():
            if not (run_folder(folder, run, seed) / "final_student_model.pt").exists():
                continue
            try:
                hybrids[kind] = Dial(_of_run(plan, folder, run, seed, measure)).hybrid(amount)
            except OutOfReach as error:
                rows.append({"seed": seed, "matched": measure, "kind": kind, "why": str(error)})
        found = described(own, hybrids)
        rows += [{"seed": seed, "matched": measure, "asked": amount, **row} for row in found]
    return rows


def both_ends(plan: Plan, folder: Path, seed: int) -> list[Row]:
    """(d) A transmitter and a receiver of one divergence each, alone and together."""
    dials = {part: Dial(_of_run(plan, folder, part, seed)) for part in ("encoder", "decoder")}
    try:
        found = {part: dial.hybrid(ONE_END) for part, dial in dials.items()}
    except OutOfReach:
        return []
    rows = interaction(dials["decoder"].plan, found["encoder"], found["decoder"])
    return [{"seed": seed, **row} for row in rows]


PARTS: Mapping[str, Callable[[Plan, Path, int], Sequence[Row]]] = {
    "a_decoder": accuracy("decoder"),
    "a_encoder": accuracy("encoder"),
    "a_full": accuracy("full"),
    "b_grown": grown,
    "c_same_amount": same_amount,
    "d_both_ends": both_ends,
}


if __name__ == "__main__":
    main()
