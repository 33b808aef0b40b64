"""The verb ``sweep``: runs that differ in their settings, several at a time; what is left of them where some
are there; a table of what they came to."""

import logging
import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from semcom.base import signals
from semcom.base.errors import ChecksFailed, InterruptedRun, SemcomError, escape
from semcom.base.varied_flags import Variant
from semcom.commands import sweep_state
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.run_record import RunRecord
from semcom.commands.sweep_plan import Point, Sweep, sweep_of_flags
from semcom.commands.sweep_runner import Runner, Share, cores, gpus_of, threads_of_libraries
from semcom.commands.sweep_settings import SweepSettings
from semcom.commands.sweep_state import check_inputs, end_overwriting, is_made, missing_of
from semcom.evaluation.text_scoring import way_of

log = logging.getLogger(__name__)


def sweep(settings: SweepSettings, variants: Sequence[Variant[DistilSettings]]) -> None:
    """``python -m semcom sweep``"""
    asked = sweep_of_flags(variants)
    if settings.dry_run:
        _show(asked, settings)
    else:
        run(asked, settings)


def _show(sweep: Sweep, settings: SweepSettings) -> None:
    for point in sweep.points:
        log.info(f"$ {point.settings.command()}")
    if settings.slurm.slurm:
        from semcom.commands import sweep_slurm

        share = share_of(sweep, settings)
        log.info(f"\n{sweep_slurm.script(sweep, len(sweep.points), settings.slurm, share)}")


def run(sweep: Sweep, settings: SweepSettings) -> None:
    """Make what is missing of a sweep, and report on all of it. Raises ChecksFailed at the end where a run
    failed, InterruptedRun where a signal ended it before."""
    failed = make(sweep, settings)
    # Only now: what measures imports torch, which the runs at work have no need of here.
    from semcom.commands.sweep_report import report

    wrong = report(sweep, settings.report).wrong
    check_whole(sweep, failed)
    end_overwriting(sweep)
    if wrong:
        raise ChecksFailed(f"all runs are finished, but were not compared: {wrong}")


def make(sweep: Sweep, settings: SweepSettings) -> dict[str, str]:
    """Make what is missing of a sweep; run -> why, of those that failed. Raises InterruptedRun where a signal
    ended it before."""
    check_inputs(sweep)
    with ExitStack() as held:
        missing = missing_of(sweep, held)
        share = share_of(sweep, settings)
        log.info(
            f"{len(sweep.points)} runs in {escape(sweep.root)}, {len(sweep.points) - len(missing)} of them "
            f"finished; {share.jobs} at a time, threads of each: {share.threads}"
        )
        try:
            return _make(sweep, missing, share, settings) if missing else {}
        except KeyboardInterrupt as interrupt:
            how = _how_to_go_on(sweep, settings)
            raise InterruptedRun(how, signals.number_of(interrupt)) from None


def check_whole(sweep: Sweep, failed: Mapping[str, str]) -> None:
    """Raise ChecksFailed where a run failed."""
    if failed:
        raise ChecksFailed(
            f"{len(failed)} of {len(sweep.points)} runs failed: {', '.join(map(escape, failed))}"[:400]
            + f"; their logs are in {escape(sweep.logs)}, the same command tries them again"
        )


def _make(sweep: Sweep, missing: Sequence[Point], share: Share, settings: SweepSettings) -> dict[str, str]:
    """The runs; run -> why, of those that failed."""
    quiet = sweep.points[0].settings.run.quiet
    commands = {point.name: shlex.split(point.settings.command()) for point in sweep.points}
    if not settings.slurm.slurm:
        sweep_state.keep(sweep, threads=share.threads, runs=commands)
        return Runner(sweep, share, _tell).run(missing, len(sweep.points) - len(missing), quiet)
    from semcom.commands import sweep_slurm

    executor = sweep_slurm.executor_of(sweep, settings.slurm, share)
    sweep_state.keep(sweep, threads=share.threads, runs=commands)
    jobs = sweep_slurm.at_work(sweep, missing)
    new = [point for point in missing if point.name not in jobs]
    if new:
        jobs |= sweep_slurm.submit(sweep, new, executor, share.threads)
    return sweep_slurm.wait(sweep, jobs, _tell, quiet)


def _how_to_go_on(sweep: Sweep, settings: SweepSettings) -> str:
    finished = sum(is_made(sweep, point) for point in sweep.points)
    jobs = "the jobs go on by themselves, " if settings.slurm.slurm else ""
    return f"interrupted; {finished} of {len(sweep.points)} runs are finished; {jobs}the same command goes on"


def _tell(point: Point) -> None:
    """A line about a finished run."""
    record = RunRecord.read(str(point.settings.output_path))
    log.info(
        f"{escape(point.name)}: best validation CE {record.number('best_loss'):.4f}, "
        f"{_bleu(record.values)}{record.number('wall_seconds'):,.0f} s"
    )


def _bleu(record: Mapping[str, Any]) -> str:
    """Of the student in its own closing scores, at their highest SNR."""
    rows = [row for row in record.get("test_scores", ()) if (row["model"], row["topic"]) == ("student", "")]
    words = way_of(record).partition(",")[0]
    return f"BLEU {rows[-1]['bleu']:.2f} ({words}) at {rows[-1]['snr']:g} dB, " if rows else ""


def share_of(sweep: Sweep, settings: SweepSettings) -> Share:
    """How many runs at a time, and the threads of each: those of the sweep's first start, as threads decide
    the last bits of a run."""
    on_cluster, number = settings.slurm.slurm, len(sweep.points)
    gpus = 0 if on_cluster else gpus_of(point.settings.run.device for point in sweep.points)
    kept = sweep_state.kept(sweep).get("threads")
    asked = kept if type(kept) is int else settings.threads or threads_of_libraries()
    at_a_time = gpus or max(1, cores() // (asked or 1))
    jobs = settings.jobs or (number if on_cluster else min(at_a_time, number))
    threads = asked or (1 if on_cluster else max(1, cores() // jobs))
    if settings.threads and settings.threads != threads:
        raise SemcomError(
            f"--threads {settings.threads}: the runs of {escape(sweep.root)} have {threads}, which decides "
            "their last bits; leave it out, or name another --output-path"
        )
    return Share(jobs, threads, gpus)
