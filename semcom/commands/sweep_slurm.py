"""The runs of a sweep on a SLURM cluster: one array job through ``submitit``, which does the scheduling."""

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from semcom.base.errors import SemcomError, escape
from semcom.base.progress import Progress
from semcom.base.provenance import PROJECT
from semcom.commands import sweep_child, sweep_state
from semcom.commands.sweep_plan import SHARED, Point, Sweep
from semcom.commands.sweep_runner import THREADS_OF_LIBRARIES, Share, words_of_run
from semcom.commands.sweep_settings import SlurmConfig
from semcom.commands.sweep_state import is_made

if TYPE_CHECKING:
    from submitit import Executor, Job

log = logging.getLogger(__name__)

FOLDER = "slurm"
"""Of the jobs' scripts and logs, in that of the logs."""
LOOKS_EVERY = 1.0
AT_WORK = ("PENDING", "CONFIGURING", "RUNNING", "REQUEUED", "RESIZING", "SUSPENDED", "COMPLETING")
NOT_THERE = "--slurm: needs submitit, which is not installed; pip install submitit"


class RunOfSweep:
    """What a job does. Python reads it back on the node, each time that the job comes out of the queue."""

    def __init__(self, sweep: Sweep, point: Point, threads: int):
        self.shared, self.threads = str(sweep.root / SHARED), threads
        self.sweep, self.point = sweep, point

    def __call__(self) -> None:
        os.environ.update(dict.fromkeys(THREADS_OF_LIBRARIES, str(self.threads)))
        # It comes along with the signal that counts, SIGUSR2, and would be the second one.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        code = sweep_child.run(self.shared, words_of_run(self.sweep, self.point))
        if code == 128 + signal.SIGUSR2:
            # The state is saved: now submitit, whose handler is there again, may put the job into the queue.
            os.kill(os.getpid(), signal.SIGUSR2)
        if code:
            raise RuntimeError(f"the run ended with exit code {code}")

    def checkpoint(self) -> Any:
        """What submitit starts after a time-out or a preemption: the same command goes on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def parameters(settings: SlurmConfig, share: Share) -> dict[str, Any]:
    """Of an array job, by submitit's names."""
    others = dict(option.split("=", 1) for option in settings.sbatch)
    return {
        "job_name": "semcom",
        "partition": settings.partition,
        "time": settings.time,
        "cpus_per_task": share.threads,
        "gpus_per_node": settings.gpus or None,
        "array_parallelism": share.jobs,
        "setup": [f"export PYTHONPATH={PROJECT}${{PYTHONPATH:+:$PYTHONPATH}}"],
        "additional_parameters": others or None,
    }


def script(sweep: Sweep, runs: int, settings: SlurmConfig, share: Share) -> str:
    """What sbatch would be given."""
    try:
        from submitit.slurm import slurm
    except ImportError:
        raise SemcomError(NOT_THERE) from None
    folder = sweep.logs / FOLDER
    command = f"python -u -m submitit.core._submit {folder}"
    given = {name: value for name, value in parameters(settings, share).items() if value is not None}
    return slurm._make_sbatch_string(command, folder, map_count=runs, **given)


def executor_of(sweep: Sweep, settings: SlurmConfig, share: Share) -> "Executor":
    """Raises SemcomError where there is no cluster."""
    try:
        from submitit import SlurmExecutor
    except ImportError:
        raise SemcomError(NOT_THERE) from None
    try:
        executor = SlurmExecutor(sweep.logs / FOLDER)
        given = parameters(settings, share)
        executor.update_parameters(**{name: value for name, value in given.items() if value is not None})
    except (RuntimeError, ValueError) as error:
        raise SemcomError(f"--slurm: {escape(error)[:300]}; without --slurm the runs are made here") from None
    return executor


def submit(
    sweep: Sweep, points: Sequence[Point], executor: "Executor", threads: int
) -> "dict[str, Job[None]]":
    """One array job; the job of each run by its name."""
    with executor.batch():
        jobs = [executor.submit(RunOfSweep(sweep, point, threads)) for point in points]
    ids = {point.name: job.job_id for point, job in zip(points, jobs)}
    sweep_state.keep(sweep, jobs=sweep_state.kept(sweep).get("jobs", {}) | ids)
    log.info(f"submitted as {' '.join(ids.values())[:200]}; logs are in {escape(sweep.logs / FOLDER)}")
    return {point.name: job for point, job in zip(points, jobs)}


def at_work(sweep: Sweep, points: Sequence[Point]) -> "dict[str, Job[None]]":
    """Jobs of an earlier call that wait or run still, by the name of their run."""
    from submitit import SlurmJob

    ids = sweep_state.kept(sweep).get("jobs", {})
    known = [point.name for point in points if point.name in ids]
    jobs: dict[str, Job[None]] = {name: SlurmJob(sweep.logs / FOLDER, ids[name]) for name in known}
    return {name: job for name, job in jobs.items() if _is_at_work(job)}


def jobs_at_work(sweep: Sweep) -> list[str]:
    """Of all jobs that earlier calls submitted in this folder, whatever their runs: the numbers of those that
    wait or run still."""
    ids = sweep_state.kept(sweep).get("jobs", {}).values()
    if not ids:
        return []
    try:
        from submitit import SlurmJob
    except ImportError:
        raise SemcomError(NOT_THERE) from None
    return [number for number in ids if _is_at_work(SlurmJob(sweep.logs / FOLDER, number))]


def _is_at_work(job: "Job[None]") -> bool:
    return job.state.split()[0] in AT_WORK


def wait(
    sweep: Sweep, jobs: "Mapping[str, Job[None]]", finished: Callable[[Point], None], quiet: bool
) -> dict[str, str]:
    """Until all jobs are over; run -> why, of those that failed. Interrupted, the jobs go on."""
    left = {point.name: point for point in sweep.points if point.name in jobs}
    failed: dict[str, str] = {}
    done = len(sweep.points) - len(left)
    with Progress(len(sweep.points), "runs", quiet=quiet, done=done) as bar:
        while left:
            for name in [name for name in left if jobs[name].done()]:
                point = left.pop(name)
                bar.advance()
                if is_made(sweep, point):
                    finished(point)
                    continue
                failed[name] = _why(jobs[name])
                log.warning(f"{escape(name)} failed: {failed[name]}; see {escape(jobs[name].paths.stderr)}")
            time.sleep(LOOKS_EVERY if left else 0)
    return failed


def _why(job: "Job[None]") -> str:
    """The last line that the run left on standard error, before what submitit says of it."""
    lines = (job.stderr() or "").splitlines()
    told = [line for line in lines if line.startswith("error: ")]
    return escape(told[-1].removeprefix("error: "))[:400] if told else f"its job is {escape(job.state)}"
