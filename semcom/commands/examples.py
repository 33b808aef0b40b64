"""The numbered experiments: each a list of commands that a person would type, run one after another."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from semcom.base.advice import meant
from semcom.base.errors import SemcomError, shown
from semcom.base.flag_words import parse_over
from semcom.base.flags import check_rule, flag_of, whole
from semcom.base.typed_words import FLAGS_OF_HELP, plain
from semcom.channel.settings import KINDS
from semcom.commands import example_studies, parsers
from semcom.commands.analyse_settings import AnalysisSettings, analysis_like
from semcom.commands.distil_settings import DistillationFiles, DistilSettings
from semcom.commands.example_studies import Study
from semcom.commands.settings import SEEDS
from semcom.commands.sweep_plan import Grid
from semcom.commands.sweep_settings import SweepReport, SweepSettings
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.training_settings import StudentConfig

if TYPE_CHECKING:
    from semcom.commands.distil import Outcome

log = logging.getLogger(__name__)

CLOSING = (
    "Three single runs cannot decide what temperature does: one seed each, and the differences are of the "
    "size that another seed makes. Repeat with --seeds 3 before you conclude."
)
LADDERS = (
    "Each hybrid has the divergence asked for; what that costs beside another end's hybrid of the same "
    "divergence is of these three runs, one seed each. Repeat with --seeds 3 before you conclude."
)
ANALYSED_SENTENCES = 300
"""Test sentences of an experiment's report."""
ANALYSIS_SHOWN_FIRST = ("runs", "sentences")
PATHS = ("output_path", "hybrid_output")
SWITCHES = ("--quiet", "--debug", "--overwrite")
"""Of studies that are not made of distillations."""


@dataclass(frozen=True)
class Experiment:
    """title: one line. runs: the distillations. sets: names of the settings that they are about, whose flags
    are shown in any case and not taken from the user. analyse: folder to report on in the end. varied: the
    values of the settings of which its one run is a sweep.

    study: what runs it instead, where it compares by itself. seeds: of a study without --seeds; None for the
    one of its --seed. switches: of the flags given for ``all``, those that are for this one too; None for all
    of them. takes: what ``all`` says of it beforehand, of one that takes long.
    """

    title: str
    runs: tuple[DistilSettings, ...] = ()
    sets: tuple[str, ...] = ()
    analyse: str | None = None
    closing: str = ""
    varied: Mapping[str, Sequence[object]] | None = None
    study: Study | None = None
    seeds: int | None = SEEDS
    switches: tuple[str, ...] | None = None
    takes: str = ""


def _run(
    folder: str, distillation: DistillationConfig | None = None, *, hybrid: str | None = None
) -> DistilSettings:
    files = DistillationFiles(output_path=folder, create_hybrid=hybrid is not None, hybrid_output=hybrid)
    return DistilSettings(files=files, distillation=distillation or DistillationConfig())


def _ladder(part: str, layers: int, targets: tuple[float, ...]) -> DistilSettings:
    """A run of a part mode, dialled to targets that its path reaches after one epoch already."""
    folder = f"checkpoints/ladder_exp/{part}"
    files = DistillationFiles(
        output_path=folder,
        create_hybrid=True,
        hybrid_output=f"{folder}_hybrid.pt",
        target_divergence=targets,
    )
    return DistilSettings(
        files=files,
        distillation=DistillationConfig(distill_part=part),
        student=StudentConfig(student_layers=layers),
    )


_HYBRID = ("student_layers", "distill_part", "create_hybrid", "output_path", "hybrid_output")
_LADDER = (*_HYBRID[:3], "target_divergence", "target_measure", "reference_snr", *_HYBRID[3:])
_TEMPERATURE = ("student_layers", "temperature", "output_path")

NOISY = [name for name, kind in KINDS.items() if kind.noisy and kind.in_experiment]
"""Channels that are worth an experiment."""
EXPERIMENTS = {
    1: Experiment(
        "basic compression: a 2-layer student of both ends",
        (_run("checkpoints/examples/basic"),),
        ("student_layers", "output_path"),
    ),
    2: Experiment(
        "receiver distillation and hybrid",
        (
            _run(
                "checkpoints/examples/receiver",
                DistillationConfig(distill_part="decoder"),
                hybrid="checkpoints/examples/receiver_hybrid.pt",
            ),
        ),
        _HYBRID,
    ),
    3: Experiment(
        "transmitter distillation and hybrid",
        (
            _run(
                "checkpoints/examples/transmitter",
                DistillationConfig(distill_part="encoder"),
                hybrid="checkpoints/examples/transmitter_hybrid.pt",
            ),
        ),
        _HYBRID,
    ),
    4: Experiment(
        "soft targets, T=8",
        (_run("checkpoints/examples/soft", DistillationConfig(temperature=8.0)),),
        _TEMPERATURE,
    ),
    5: Experiment(
        "hard targets, T=2",
        (_run("checkpoints/examples/hard", DistillationConfig(temperature=2.0)),),
        _TEMPERATURE,
    ),
    6: Experiment(
        "temperatures 2, 4 and 8, all else held fixed",
        (_run("checkpoints/temp_exp", DistillationConfig(distill_weight=0.7)),),
        ("student_layers", "temperature", "distill_weight", "output_path"),
        varied={"temperature": (2.0, 4.0, 8.0)},
        closing=CLOSING,
    ),
    7: Experiment(
        f"channels: {', '.join(KINDS[name].title for name in NOISY)}",
        (_run("checkpoints/examples/channels"),),
        ("student_layers", "channel", "output_path"),
        varied={"channel": NOISY},
    ),
    8: Experiment(
        "what distillation gains: receivers from labels alone and by three losses, over seeds",
        study=example_studies.evidence,
    ),
    9: Experiment(
        "image setting: every loss on handwritten digits, few labels, and a digit never seen, over seeds",
        study=example_studies.digits,
        switches=SWITCHES,
    ),
    10: Experiment(
        "the dial: a ladder of four divergences from the teacher in each part mode",
        (
            _ladder("decoder", 2, (0.1, 0.2, 0.4, 0.8)),
            # From teacher layers, a transmitter starts and ends near the teacher.
            _ladder("encoder", 1, (0.05, 0.06, 0.08, 0.1)),
            _ladder("full", 2, (0.2, 0.4, 0.6, 0.8)),
        ),
        _LADDER,
        analyse="checkpoints/ladder_exp",
        closing=LADDERS,
    ),
    11: Experiment(
        "image pairs: few labels and a teacher, labels alone against KD and the fusion of SDD and LSKD",
        study=example_studies.images,
        seeds=None,
        switches=SWITCHES,
        takes="about ten minutes of one core",
    ),
}
SWEEPS = [number for number, e in EXPERIMENTS.items() if e.varied or e.study is example_studies.evidence]


def listing() -> str:
    return "\n".join(f"{number}  {e.title}" for number, e in EXPERIMENTS.items())


def runs_of(number: int, extra: Sequence[str]) -> list[DistilSettings]:
    """The distillations of an experiment, with the flags ``extra`` that the user adds to each.

    Raises SemcomError for flags that are wrong or that the experiment sets itself.
    """
    e = EXPERIMENTS[number]
    own = {flag_of(name) for name in (*e.sets, *PATHS)}
    for word in extra:
        if (flag := word.split("=")[0]) in own:
            raise SemcomError(
                f"{flag}: experiment {number} sets it; for another value type the command yourself, "
                "see --dry-run"
            )
    runs = [_run_of(run, e, extra, number) for run in e.runs]
    return [replace(run, keep_earlier=True) for run in runs]


def _run_of(run: DistilSettings, e: Experiment, extra: Sequence[str], number: int) -> DistilSettings:
    parser = parsers.distillation_parser()
    settings = parse_over(parser, extra, run, e.sets)
    for name in (*e.sets, *PATHS):
        if name in parser.from_files:
            raise SemcomError(
                f"{name} of --config: experiment {number} sets it; leave it out of the file, or type the "
                "command yourself, see --dry-run"
            )
    return settings


def analysis_of(folder: str, run: DistilSettings) -> AnalysisSettings:
    """The report on all runs in a folder, of which ``run`` is one."""
    like = analysis_like(run)
    files = replace(like.files, runs=folder, output=f"{folder}/semantic_analysis_results.json")
    return replace(
        like,
        files=files,
        report=replace(like.report, report_dir=f"{folder}/report"),
        evaluation=replace(like.evaluation, sentences=ANALYSED_SENTENCES),
        keep_earlier=True,
    )


def run(number: int, extra: list[str], seeds: int | None, jobs: int | None, dry_run: bool) -> None:
    """Run an experiment, or print its commands. seeds: how many of each run; None: the one of ``--seed``, or
    ``SEEDS`` where the experiment is over seeds. A failed step raises and stops it, after the table of those
    before it."""
    e = EXPERIMENTS[number]
    if e.study:
        log.info(f"experiment {number}: {e.title}")
        e.study(extra, seeds or e.seeds, jobs, dry_run)
        return
    runs = runs_of(number, extra)
    log.info(f"experiment {number}: {e.title}")
    if seeds is not None:
        _over_seeds(e, runs, seeds, jobs, dry_run)
    elif e.varied:
        _sweep(Grid(runs[0], e.varied), e.sets, jobs, dry_run)
    else:
        _one_by_one(e, runs, dry_run)
    if e.closing and (seeds or 1) == 1:
        log.info("\n" + e.closing)


def _over_seeds(
    e: Experiment, runs: Sequence[DistilSettings], seeds: int, jobs: int | None, dry_run: bool
) -> None:
    """A sweep for each run; where all of them are analysed in the end, without a report of each."""
    varied = {**(e.varied or {}), "seed": range(1, seeds + 1)}
    sets = [name for name in e.sets if name != "hybrid_output"]
    for run in runs:
        common = replace(run, files=replace(run.files, hybrid_output=None))
        _sweep(Grid(common, varied), sets, jobs, dry_run, report=not e.analyse)
    if e.analyse:
        _show_and_analyse(analysis_of(e.analyse, runs[0]), dry_run)


def _sweep(grid: Grid, sets: Sequence[str], jobs: int | None, dry_run: bool, report: bool = True) -> None:
    wanted = SweepReport(sentences=ANALYSED_SENTENCES, no_report=not report)
    settings = SweepSettings(jobs=jobs, report=wanted)
    log.info(f"\n$ {grid.command(settings, sets)}")
    if not dry_run:
        from semcom.commands import sweep

        sweep.run(grid.sweep(sets), settings)


def _one_by_one(e: Experiment, runs: Sequence[DistilSettings], dry_run: bool) -> None:
    outcomes: list[Outcome] = []
    try:
        for settings in runs:
            log.info(f"\n$ {settings.command(first=e.sets)}")
            if not dry_run:
                outcomes.append(_distil(settings))
        if e.analyse:
            _show_and_analyse(analysis_of(e.analyse, runs[0]), dry_run)
    finally:
        if outcomes:
            log.info("\n" + _table(runs, outcomes))


def _distil(settings: DistilSettings) -> "Outcome":
    from semcom.commands import distil

    return distil.distil(settings)


def _show_and_analyse(settings: AnalysisSettings, dry_run: bool) -> None:
    log.info(f"\n$ {settings.command(ANALYSIS_SHOWN_FIRST)}")
    if not dry_run:
        _analyse(settings)


def _analyse(settings: AnalysisSettings) -> None:
    from semcom.commands import analyse

    analyse.analyse(settings)


def _table(runs: Sequence[DistilSettings], outcomes: Sequence["Outcome"]) -> str:
    from semcom.commands.examples_table import table

    return table(runs, outcomes)


def parse_numbers(text: str) -> list[int]:
    """``all`` or a number. Raises SemcomError for another."""
    numbers = {**{str(number): [number] for number in EXPERIMENTS}, "all": list(EXPERIMENTS)}
    typed = plain(text)
    if typed not in numbers:
        near = meant(typed, [*numbers, "list"])
        raise SemcomError(
            f"experiment {shown(text)!r}: allowed are {', '.join(numbers)} and list{near}; see: python "
            "distillation_examples.py list"
        )
    return numbers[typed]


def examples(argv: Sequence[str]) -> None:
    """``python distillation_examples.py``"""
    if len(argv) > 1 and argv[0] in example_studies.PARSERS and FLAGS_OF_HELP & {*argv}:
        return example_studies.PARSERS[argv[0]]().print_help()
    flags, extra = parsers.examples_parser().parse_known_args(argv)
    extra += ["--epochs", flags.epochs] if flags.epochs else []
    for flag, given in (("--seeds", flags.seeds), ("--jobs", flags.jobs)):
        check_rule(flag, given, whole(1, 1024, example="5"))
    if "--print-config" in extra:
        raise SemcomError("--print-config: an experiment is several commands; see them by --dry-run")
    if flags.number == "list":
        return log.info(listing())
    numbers = parse_numbers(flags.number)
    if flags.seeds and any(word.split("=")[0] == "--seed" for word in extra):
        raise SemcomError(
            f"--seeds {flags.seeds}: is seeds 1 to {flags.seeds}, --seed names one; leave one of the two out"
        )
    if flags.jobs and not flags.seeds and not set(numbers) & set(SWEEPS):
        raise SemcomError(
            f"--jobs {flags.jobs}: experiment {flags.number} runs one step at a time; leave it out, or add "
            "--seeds 3"
        )
    for number in numbers:
        if takes := EXPERIMENTS[number].takes if len(numbers) > 1 else "":
            log.info(f"of these, {number} takes {takes}")
    for number in numbers:
        switches = EXPERIMENTS[number].switches if len(numbers) > 1 else None
        taken = extra if switches is None else [word for word in extra if word in switches]
        run(number, taken, flags.seeds, flags.jobs, flags.dry_run)
