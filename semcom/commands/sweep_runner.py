"""The runs of a sweep on this machine: so many at a time, each a process with its share of the cores."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from semcom.base import locks
from semcom.base.errors import SemcomError, escape
from semcom.base.flag_words import words_of
from semcom.base.progress import Progress
from semcom.base.provenance import PROJECT
from semcom.commands.sweep_plan import SHARED, Point, Sweep
from semcom.commands.sweep_state import goes_on

log = logging.getLogger(__name__)

CHILD = "semcom.commands.sweep_child"
OF_A_LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
THREADS_OF_LIBRARIES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
KILLED = 9
LOOKS_EVERY = 0.1
"""Seconds."""


@dataclass(frozen=True)
class Share:
    """jobs: runs at a time. threads: of each. gpus: how many there are to be dealt out."""

    jobs: int
    threads: int
    gpus: int = 0


@dataclass(frozen=True)
class Running:
    """slot: its number among those that run at a time. log: its file, and where in it this process began."""

    point: Point
    slot: int
    process: subprocess.Popen[bytes]
    log: Path
    log_begins: int


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of_libraries() -> int | None:
    """Those that OMP_NUM_THREADS asks for, where it is set."""
    outermost = os.environ.get(THREADS_OF_LIBRARIES[0], "").partition(",")[0].strip()
    return int(outermost) or None if outermost.isdecimal() else None


def gpus_of(devices: Iterable[str]) -> int:
    """How many GPUs there are to be dealt out among runs of these ``--device``s, without torch; 0 where a run
    says which it takes."""
    if set(devices) - {"auto", "cuda"}:
        return 0
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if seen is not None:
        return len(list(filter(None, seen.split(","))))
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def words_of_run(sweep: Sweep, point: Point) -> list[str]:
    """What is typed after ``distillation.py``: a run that was stopped goes on, unless it is one that is to be
    replaced."""
    resuming = replace(point.settings.resuming, resume=goes_on(sweep, point))
    return words_of(replace(point.settings, resuming=resuming))


def command_of(sweep: Sweep, point: Point) -> list[str]:
    """What the operating system is asked to start."""
    return [sys.executable, "-m", CHILD, str(sweep.root / SHARED), *words_of_run(sweep, point)]


def environment_of(share: Share, slot: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in OF_A_LAUNCHER}
    kept |= dict.fromkeys(THREADS_OF_LIBRARIES, str(share.threads))
    # The package that is at work here, also where it is not installed and another folder is the current one.
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))
    if share.gpus > 1:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = seen.split(",") if seen else [str(number) for number in range(share.gpus)]
        kept["CUDA_VISIBLE_DEVICES"] = names[slot % len(names)]
    return kept


class Runner:
    """finished: is called with each run that has ended well. failed: run -> why."""

    def __init__(self, sweep: Sweep, share: Share, finished: Callable[[Point], None]):
        self.sweep, self.share, self.finished = sweep, share, finished
        self.running: list[Running] = []
        self.failed: dict[str, str] = {}
        self.told_of_others = False

    def run(self, points: Sequence[Point], done: int, quiet: bool) -> dict[str, str]:
        """Make the runs; a failed one leaves the others alone. done: how many of the sweep there were
        already.

        Returns ``failed``. Raises KeyboardInterrupt once all that was at work has saved its state and ended.
        """
        waiting = deque(points)
        with Progress(len(self.sweep.points), "runs", quiet=quiet, done=done) as bar:
            try:
                while waiting or self.running:
                    while len(self.running) < self.share.jobs and (point := _next(waiting)):
                        self._start(point)
                    if not self.running:
                        self._tell_of_others(waiting)
                    time.sleep(LOOKS_EVERY)
                    bar.advance(self._gather())
            except KeyboardInterrupt:
                self._stop()
                raise
        return self.failed

    def _tell_of_others(self, waiting: Iterable[Point]) -> None:
        """Once, that other processes hold all that is left."""
        names = ", ".join(escape(point.name) for point in waiting)[:300]
        if names and not self.told_of_others:
            log.info(f"waiting for other processes, which are at work on {names}")
            self.told_of_others = True

    def _start(self, point: Point) -> None:
        slot = min(set(range(self.share.jobs)) - {running.slot for running in self.running})
        path = self.sweep.logs / f"{point.name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(f"$ {point.settings.command()}\n".encode())
            file.flush()
            begins = file.tell()
            process = subprocess.Popen(
                command_of(self.sweep, point),
                # The only one who holds its other end is this process: the run sees when it is gone.
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment_of(self.share, slot),
                # Ctrl-C in a terminal goes to this process alone, which tells the runs.
                start_new_session=True,
            )
        self.running.append(Running(point, slot, process, path, begins))

    def _gather(self) -> int:
        """How many have ended since the last look."""
        ended = [running for running in self.running if running.process.poll() is not None]
        for running in ended:
            self.running.remove(running)
            if running.process.returncode == 0:
                self.finished(running.point)
            else:
                self._note_failure(running)
        return len(ended)

    def _note_failure(self, running: Running) -> None:
        name, why = running.point.name, _why(running)
        self.failed[name] = why
        log.warning(f"{escape(name)} failed: {why}; see {escape(running.log)}")

    def _stop(self) -> None:
        """What is at work saves its state and ends."""
        for running in self.running:
            running.process.terminate()
        for running in self.running:
            running.process.wait()
        self._gather_quietly()

    def _gather_quietly(self) -> None:
        for running in self.running:
            if running.process.returncode == 0:
                self.finished(running.point)
        self.running = []


def _next(waiting: deque[Point]) -> Point | None:
    """Taken from ``waiting``, the first that no other process is at work on: what a sweep that was killed has
    left may still be saving its state."""
    for point in waiting:
        try:
            locks.refuse_held("--output-path", point.settings.output_path)
        except SemcomError:
            continue
        waiting.remove(point)
        return point
    return None


def _why(running: Running) -> str:
    """The last line that a run left, or the signal that ended it."""
    code = running.process.returncode
    if code < 0:
        hint = ", perhaps for want of memory" if -code == KILLED else ""
        return f"ended by {signal.Signals(-code).name}{hint}"
    with running.log.open("rb") as file:
        file.seek(running.log_begins)
        lines = file.read().decode("utf-8", "replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), f"exit code {code}")
    return escape(last.split("\r")[-1].removeprefix("error: "))[:400]
