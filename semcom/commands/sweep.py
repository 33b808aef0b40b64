"""The verb ``sweep``: runs that differ in their settings, several at a time; what is left of them where some
are there; a table of what they came to."""

import json
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from semcom.base import output_files, signals
from semcom.base.errors import ChecksFailed, InterruptedRun, SemcomError, escape
from semcom.base.varied_flags import Variant
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.run_record import RunRecord
from semcom.commands.sweep_plan import PLAN, Point, Sweep, sweep_of_flags
from semcom.commands.sweep_runner import Runner, Share, cores
from semcom.commands.sweep_settings import SweepSettings
from semcom.commands.sweep_state import is_there, missing_of

log = logging.getLogger(__name__)


def sweep(settings: SweepSettings, variants: Sequence[Variant[DistilSettings]]) -> None:
    """``python -m semcom sweep``"""
    run(sweep_of_flags(variants), settings)


def run(sweep: Sweep, settings: SweepSettings) -> None:
    """Make what is missing of a sweep. Raises ChecksFailed at the end where a run failed."""
    if settings.dry_run:
        for point in sweep.points:
            log.info(f"$ {point.settings.command()}")
        return
    missing = missing_of(sweep)
    share = share_of(sweep, settings)
    quiet = sweep.points[0].settings.run.quiet
    done = len(sweep.points) - len(missing)
    log.info(
        f"{len(sweep.points)} runs in {escape(sweep.root)}, {done} of them finished; "
        f"{share.jobs} at a time, threads of each: {share.threads}"
    )
    runner = Runner(sweep, share, _tell)
    try:
        failed = runner.run(missing, done, quiet)
    except KeyboardInterrupt as interrupt:
        finished = sum(map(is_there, sweep.points))
        raise InterruptedRun(
            f"interrupted; {finished} of {len(sweep.points)} runs are finished, the same command goes on",
            signals.number_of(interrupt),
        ) from None
    # Only now: what measures imports torch, which the runs at work have no need of here.
    from semcom.commands.sweep_report import report

    wrong = report(sweep, settings.report).wrong
    if failed:
        raise ChecksFailed(
            f"{len(failed)} of {len(sweep.points)} runs failed: {', '.join(map(escape, failed))}"[:400]
            + f"; their logs are in {escape(sweep.logs)}, the same command tries them again"
        )
    if wrong:
        raise ChecksFailed(f"all runs are finished, but were not compared: {wrong}")


def _tell(point: Point) -> None:
    record = RunRecord.read(str(point.settings.output_path))
    log.info(
        f"{escape(point.name)}: best validation CE {record.number('best_loss'):.4f}, "
        f"{record.number('wall_seconds'):,.0f} s"
    )


def share_of(sweep: Sweep, settings: SweepSettings) -> Share:
    """How many runs at a time, and the threads of each: those of the sweep's first start, as threads decide
    the last bits of a run."""
    jobs = settings.jobs or min(cores(), len(sweep.points))
    kept = _plan_of(sweep.root).get("threads")
    threads = kept if type(kept) is int else settings.threads or max(1, cores() // jobs)
    if settings.threads and settings.threads != threads:
        raise SemcomError(
            f"--threads {settings.threads}: the runs of {escape(sweep.root)} have {threads}, which decides "
            "their last bits; leave it out, or name another --output-path"
        )
    plan = {
        "threads": threads,
        "runs": {point.name: shlex.split(point.settings.command()) for point in sweep.points},
    }
    output_files.write_json(sweep.root / PLAN, plan)
    return Share(jobs, threads)


def _plan_of(root: Path) -> dict:
    try:
        plan = json.loads((root / PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SemcomError(
            f"{escape(root / PLAN)}: cannot be read ({type(error).__name__}); remove it, the runs stay"
        ) from None
    return plan if isinstance(plan, dict) else {}
