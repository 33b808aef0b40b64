"""The image setting of the papers on real handwritten digits: ``python distillation_examples.py 9``.

Few labels and many unlabelled images: what each loss makes of them; and Hinton's experiment, a student that
never sees one class.
"""

import dataclasses
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path

import torch

from semcom.base import output_files, places
from semcom.base.device import environment
from semcom.base.errors import escape
from semcom.base.flags import as_record
from semcom.base.progress import Progress
from semcom.commands import digits_summary
from semcom.commands.digits_images import Digits
from semcom.commands.digits_plan import Plan
from semcom.commands.digits_students import FEW, UNSEEN_CLASS, Seed, measure
from semcom.commands.digits_summary import Summary
from semcom.commands.settings import DIGITS, DigitsSettings
from semcom.report import look, plots, tables
from semcom.report.tables import Row

log = logging.getLogger(__name__)

FILES = ("digits.json", "digits.csv", *look.with_print("digits.png"))


def run(settings: DigitsSettings, seeds: int, plan: Plan | None = None) -> Summary:
    """Both experiments with seeds 0 to ``seeds`` - 1: tables on the console; JSON, CSV and PNG in the folder.

    A folder that the user named is refused where it holds something, without --overwrite; the default one is
    set aside.
    """
    started, plan = time.monotonic(), plan or Plan()
    folder = Path(settings.output_path or DIGITS)
    named, overwrite = settings.output_path is not None, settings.outputs.overwrite
    place = places.Place("--output-path", folder, named, overwrite, folder=True, own=FILES)
    files = {f"--output-path ({name})": folder / name for name in FILES}
    output_files.check_outputs({"--output-path": folder, **files}, [])
    with ExitStack() as held:
        reserved = places.reserve([place], held)
        places.make_room(reserved)
        digits = Digits()
        _announce(digits, plan)
        rows = _measure(digits, plan, seeds, quiet=settings.run.quiet)
        summary = digits_summary.summarise(rows)
        log.info("\n" + digits_summary.describe(plan, seeds, summary))
        _write(
            reserved[0].working,
            _record(plan, seeds, rows, summary, time.monotonic() - started),
            rows,
            summary,
        )
        places.publish(reserved)
        made = ", ".join(escape(folder / name) for name in FILES)
        log.info(f"\nmade {made}; {time.monotonic() - started:,.0f} s")
    return summary


def _announce(digits: Digits, plan: Plan) -> None:
    learn = len(digits.classes) - plan.test - plan.validation
    log.info(
        f"{len(digits.classes):,} digits: {plan.test} to test, and by seed {plan.validation} to validate and "
        f"{learn} to learn from, all labelled for the teacher, {plan.labelled} for a student; "
        f"{plan.steps} steps each"
    )


def _measure(digits: Digits, plan: Plan, seeds: int, *, quiet: bool) -> list[Row]:
    """Rows of all seeds, one seed after another."""
    rows: list[Row] = []
    models = seeds * (1 + len(plan.methods) + len(plan.hidden))
    with Progress(models, "models", quiet=quiet, leave=True) as bar:
        for number in range(seeds):
            seed = Seed(digits, plan, number)
            bar.advance()
            rows += measure(seed, bar.advance)
    return rows


def _record(
    plan: Plan, seeds: int, rows: Sequence[Row], summary: Summary, seconds: float
) -> dict[str, object]:
    settings = {
        **dataclasses.asdict(plan),
        "methods": {name: as_record(method) for name, method in plan.methods.items()},
        "unseen": as_record(plan.unseen),
    }
    versions = {name: metadata.version(name) for name in ("scikit-learn", "scipy")}
    return {
        FEW: digits_summary.plain(summary.few_labels),
        UNSEEN_CLASS: digits_summary.plain(summary.unseen_class),
        "rows": rows,
        "seeds": seeds,
        "settings": settings,
        "wall_seconds": round(seconds, 1),
        **environment(torch.device("cpu")),
        **versions,
    }


def _write(folder: Path, record: dict[str, object], rows: Sequence[Row], summary: Summary) -> None:
    output_files.write_json(folder / "digits.json", record)
    tables.write_csv(folder / "digits.csv", rows)
    plots.plot_intervals(digits_summary.panels(summary), folder / "digits.png")
