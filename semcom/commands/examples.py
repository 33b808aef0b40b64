"""The numbered experiments: each a list of commands that a person would type, run one after another."""

import argparse
import logging
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from semcom.base.errors import SemcomError
from semcom.base.flags import settings_of
from semcom.commands import ablation, cli, parsers
from semcom.commands.settings import DIGITS, DigitsSettings
from semcom.report import tables

log = logging.getLogger(__name__)

CLOSING = (
    "Three single runs cannot decide what temperature does: one seed each, and the differences are of the size that "
    "another seed makes. Repeat with several --seed before you conclude."
)
SEEDS = 5
ANALYSED = "300"
"""Test sentences of an experiment's report."""


@dataclass(frozen=True)
class Experiment:
    """title: one line. distillations: the flags of ``distillation.py``, one run each. analyse: folder to
    report on in the end.

    study: what runs it instead, where it compares over seeds: (other flags, number of seeds, whether to print
    the commands alone). switches: of the flags given for ``all``, those that are for this one too; None for
    all of them.
    """

    title: str
    distillations: tuple[str, ...] = ()
    analyse: str | None = None
    closing: str = ""
    study: Callable[[list[str], int, bool], object] | None = None
    switches: tuple[str, ...] | None = None


def _digits(extra: list[str], seeds: int, dry_run: bool) -> None:
    settings = settings_of(DigitsSettings, parsers.digits_parser().parse_args(extra))
    if dry_run:
        return log.info(
            "\n$ " + shlex.join(["python", "distillation_examples.py", "9", "--seeds", str(seeds), *extra])
        )
    from semcom.commands import digits

    digits.run(
        settings.output_path or DIGITS,
        seeds,
        named=settings.output_path is not None,
        overwrite=settings.outputs.overwrite,
        quiet=settings.run.quiet,
    )


EXPERIMENTS = {
    1: Experiment(
        "basic compression: a 2-layer student of both ends", ("--output-path checkpoints/examples/basic",)
    ),
    2: Experiment(
        "receiver distillation and hybrid",
        (
            "--distill-part decoder --create-hybrid --output-path checkpoints/examples/receiver "
            "--hybrid-output checkpoints/examples/receiver_hybrid.pt",
        ),
    ),
    3: Experiment(
        "transmitter distillation and hybrid",
        (
            "--distill-part encoder --create-hybrid --output-path checkpoints/examples/transmitter "
            "--hybrid-output checkpoints/examples/transmitter_hybrid.pt",
        ),
    ),
    4: Experiment("soft targets, T=8", ("--temperature 8 --output-path checkpoints/examples/soft",)),
    5: Experiment("hard targets, T=2", ("--temperature 2 --output-path checkpoints/examples/hard",)),
    6: Experiment(
        "temperatures 2, 4 and 8, all else held fixed",
        tuple(
            f"--temperature {t} --distill-weight 0.7 --output-path checkpoints/temp_exp/T{t:.1f}"
            for t in (2, 4, 8)
        ),
        analyse="checkpoints/temp_exp",
        closing=CLOSING,
    ),
    7: Experiment(
        "channels: AWGN, Rayleigh, Rician",
        tuple(
            f"--channel {c} --output-path checkpoints/examples/{c}" for c in ("awgn", "rayleigh", "rician")
        ),
    ),
    8: Experiment(
        "what distillation gains: receivers from labels alone and by three losses, over seeds",
        study=ablation.experiment,
    ),
    9: Experiment(
        "image setting: every loss on handwritten digits, few labels, and a digit never seen, over seeds",
        study=_digits,
        switches=("--quiet", "--debug", "--overwrite"),
    ),
}


def listing() -> str:
    return "\n".join(f"{number}  {e.title}" for number, e in EXPERIMENTS.items())


def commands(number: int, extra: list[str]) -> list[list[str]]:
    """The commands of an experiment as argument lists; ``extra`` flags go to each distillation, and to the
    analysis where it has them.

    Raises SemcomError for flags that are wrong or that the experiment sets itself.
    """
    e = EXPERIMENTS[number]
    own = {word for flags in e.distillations for word in shlex.split(flags) if word.startswith("--")} | {
        "--student-layers"
    }
    for word in extra:
        if (flag := word.split("=")[0]) in own | {"--output-path", "--hybrid-output"}:
            raise SemcomError(
                f"{flag}: experiment {number} sets it; for another value type the command yourself, see --dry-run"
            )
    lines = [
        ["python", "distillation.py", "--student-layers", "2", *shlex.split(flags), *extra]
        for flags in e.distillations
    ]
    if e.analyse:
        lines.append(
            [
                "python",
                "semantic_analysis.py",
                "--runs",
                e.analyse,
                "--sentences",
                ANALYSED,
                "--output",
                f"{e.analyse}/semantic_analysis_results.json",
                "--report-dir",
                f"{e.analyse}/report",
                *cli.shared_flags(lines[0][2:]),
            ]
        )
    return lines


def run(number: int, extra: list[str], seeds: int, dry_run: bool) -> None:
    """Run an experiment, or print its commands. A failed step raises and stops it, after the table of those
    before it."""
    e = EXPERIMENTS[number]
    if e.study:
        log.info(f"experiment {number}: {e.title}")
        e.study(extra, seeds, dry_run)
        return
    lines = commands(number, extra)
    for line in lines:
        if line[1] == "distillation.py":
            parsers.distillation_parser().parse_args(line[2:])
    log.info(f"experiment {number}: {e.title}")
    outcomes = []
    try:
        for line in lines:
            log.info(f"\n$ {shlex.join(line)}")
            if dry_run:
                continue
            if line[1] == "distillation.py":
                outcomes.append(cli.distil(line[2:], keep_earlier=True))
            else:
                cli.analyse(line[2:], keep_earlier=True)
    finally:
        if outcomes:
            log.info("\n" + _table(outcomes))
    if e.closing:
        log.info("\n" + e.closing)


def _table(outcomes: list) -> str:
    rows = []
    for outcome in outcomes:
        r = outcome.record
        overall = outcome.scores[outcome.scores["topic"] == ""]
        bleu = overall.pivot(index="model", columns="snr", values="bleu")
        rows.append(
            [
                r["output_path"],
                r["distill_part"],
                float(r["temperature"]),
                r["channel"],
                r["best_loss"],
                r["compression_ratio"],
                *bleu.loc["student"].tolist(),
                bleu.loc["teacher"].iloc[-1],
            ]
        )
    snrs = [f"BLEU {snr:g} dB" for snr in bleu.columns]
    return tables.table(
        rows,
        [
            "run",
            "part",
            "T",
            "channel",
            "validation CE",
            "compression",
            *snrs,
            snrs[-1].replace("BLEU", "teacher"),
        ],
    )


def parse_numbers(text: str) -> list[int]:
    """``all`` or a number. Raises SemcomError for another."""
    if text == "all":
        return list(EXPERIMENTS)
    if not text.isdecimal() or int(text) not in EXPERIMENTS:
        raise SemcomError(
            f"experiment {text!r}: allowed are {', '.join(map(str, EXPERIMENTS))}, all and list; "
            "see: python distillation_examples.py list"
        )
    return [int(text)]


def parser() -> argparse.ArgumentParser:
    made = parsers.Parser(
        prog="distillation_examples.py",
        description=(
            "Numbered experiments; other flags of distillation.py are passed on. Experiment 9 has --output-path, --overwrite and --quiet."
        ),
    )
    made.add_argument("number", metavar="N|all|list", help="which experiment; list names them")
    made.add_argument(
        "--seeds", type=int, metavar="N", help=f"experiments over seeds: how many (default {SEEDS})"
    )
    made.add_argument(
        "--epochs", metavar="N", help="passes over the training split (default that of distillation.py)"
    )
    made.add_argument(
        "--dry-run", action="store_true", help="print the commands a person would type, run nothing"
    )
    return made


def examples(argv: Sequence[str]) -> None:
    """``python distillation_examples.py``"""
    flags, extra = parser().parse_known_args(argv)
    extra += ["--epochs", flags.epochs] if flags.epochs else []
    if flags.seeds is not None and flags.seeds < 1:
        raise SemcomError(
            f"--seeds {flags.seeds}: must be a whole number of 1 or more; for example --seeds 5"
        )
    if flags.number == "list":
        return log.info(listing())
    numbers = parse_numbers(flags.number)
    if flags.seeds and not any(EXPERIMENTS[number].study for number in numbers):
        over_seeds = " and ".join(str(number) for number, e in EXPERIMENTS.items() if e.study)
        raise SemcomError(
            f"--seeds {flags.seeds}: experiment {flags.number} runs one seed, {over_seeds} run several; leave it out, or give --seed N"
        )
    for number in numbers:
        switches = EXPERIMENTS[number].switches if len(numbers) > 1 else None
        run(
            number,
            extra if switches is None else [word for word in extra if word in switches],
            flags.seeds or SEEDS,
            flags.dry_run,
        )
