"""Runs of tiny models that are killed at random moments and gone on with: does each end in the bits of the
unbroken run, with nothing lost on the way?

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/kills.py --kills 200 --seed 1

Each run is a child of this process, made by ``fork``, so that nothing is imported anew. It is killed by a
signal after a random time, or at a random one of its calls that write, rename or remove a file.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse  # noqa: E402
import csv  # noqa: E402
import json  # noqa: E402
import random  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import torch  # noqa: E402
from cli_support import distil, package, train_tiny_teacher  # noqa: E402
from conftest import ONE_PIXEL  # noqa: E402

from semcom.models import checkpoint, state_dicts  # noqa: E402

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
FILE_CALLS = ("replace", "rename", "fsync", "unlink", "mkdir", "rmdir")
SCORED = 6
"""Test sentences of a run's closing table."""
NOT_BEGUN = 99
"""Exit code of a child that is interrupted before it calls the program."""
LONGEST = 120
"""Seconds that a child may take."""
RUN = Path("runs/run")
TEACHER_MADE = Path("runs/made.pt")
COMMON = ["--corpus-size", "240", "--device", "cpu", "--quiet", "--resume"]
OFTEN = ["--save-every", "0.0002"]
SMALL_BATCHES = ("--batch-size", "32")
DISTILLED = ["--steps", "17", "--output-path", str(RUN), "--teacher-checkpoint"]
HYBRID = ["--create-hybrid", "--hybrid-output", "runs/hybrid.pt"]


@dataclass(frozen=True)
class Job:
    """A command with what it leaves; ``--seed`` is added to its words."""

    name: str
    main: Callable[..., int]
    words: tuple[str, ...]
    outputs: tuple[Path, ...]

    @property
    def record(self) -> Path:
        return self.outputs[-1]


def distillation_job(name: str, *words: str, teachers: tuple[str, ...] = ("../teacher.pt",)) -> Job:
    hybrid = (Path("runs/hybrid.pt"),) if HYBRID[0] in words else ()
    record = RUN / "distillation_config.json"
    return Job(name, distil, (*DISTILLED, *teachers, *words), (RUN, *hybrid, record))


JOBS = (
    distillation_job("decoder", "--distill-part", "decoder", *SMALL_BATCHES, *HYBRID),
    distillation_job("encoder", "--distill-part", "encoder", *HYBRID, "--batch-tokens", "700"),
    distillation_job(
        "full",
        "--student-init",
        "random",
        "--student-d-model",
        "8",
        "--feature-weight",
        "0.5",
        "--temperature-schedule",
        "cosine",
        "--final-temperature",
        "1",
    ),
    distillation_job("sequence level", "--distill-part", "decoder", "--sequence-level", "1", *SMALL_BATCHES),
    distillation_job("two teachers", "--distill-part", "decoder", teachers=("../teacher.pt", "../second.pt")),
    Job(
        "training",
        package,
        (
            *("train", "--output", str(TEACHER_MADE), "--layers", "1", "--model-width", "16"),
            *("--heads", "2", "--feed-forward", "32", "--steps", "17", *SMALL_BATCHES),
        ),
        (TEACHER_MADE, TEACHER_MADE.with_suffix(".json")),
    ),
)


# --- a run as a child of this process


@dataclass(frozen=True)
class Death:
    """By this signal; at the ``call``-th call that changes a file, before or after it, or, where ``call`` is
    None, after ``seconds``."""

    signal: signal.Signals
    seconds: float = 0.0
    call: int | None = None
    after: bool = False

    def __str__(self) -> str:
        place = "after" if self.after else "before"
        when = f"{self.seconds:.2f} s" if self.call is None else f"{place} call {self.call}"
        return f"{self.signal.name} at {when}"


@contextmanager
def counted_calls(death: Death | None) -> Iterator[list[int]]:
    """Count the calls that change files; die at the one that ``death`` names."""
    count, originals = [0], {name: getattr(os, name) for name in FILE_CALLS}

    def counting(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            count[0] += 1
            due = death is not None and count[0] == death.call
            if due and not death.after:
                os.kill(os.getpid(), death.signal)
            result = original(*given, **named)
            if due and death.after:
                os.kill(os.getpid(), death.signal)
            return result

        return call

    for name, original in originals.items():
        setattr(os, name, counting(original))
    try:
        yield count
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def run_in_child(
    job: Job, place: Path, words: tuple[str, ...], death: Death | None
) -> tuple[int, float, int]:
    """Exit code (negative: the signal), seconds, and calls that changed files."""
    reading, writing = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_the_run(job, place, words, death, writing)
    os.close(writing)
    if death and death.call is None:
        timer = threading.Timer(death.seconds, _kill, (child, death.signal))
        timer.start()
    code = _wait(child)
    if death and death.call is None:
        timer.cancel()
        timer.join()
    with os.fdopen(reading) as pipe:
        calls = int(pipe.read() or 0)
    return code, time.monotonic() - started, calls


def _be_the_run(job: Job, place: Path, words: tuple[str, ...], death: Death | None, writing: int) -> None:
    """Never returns."""
    code = NOT_BEGUN
    try:
        os.chdir(place)
        said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        _make_small()
        with counted_calls(death) as count:
            code = job.main(*job.words, *COMMON, *words)
        os.write(writing, str(count[0]).encode())
    finally:
        os._exit(code)


def _make_small() -> None:
    """The end of a run takes longer than its tiny training: few sentences are scored, nothing is drawn."""
    from semcom.commands import distil_summary
    from semcom.report import look

    distil_summary.SENTENCES = SCORED
    look.pictures = lambda draw, place, *kinds: [ONE_PIXEL for _ in kinds]


def _kill(child: int, by: signal.Signals) -> None:
    try:
        os.kill(child, by)
    except ProcessLookupError:
        pass


def _wait(child: int) -> int:
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    _kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"a child took more than {LONGEST} s")


# --- what it left


def is_free(name: str) -> bool:
    """Whether a value of a record is a time, or differs with --overwrite."""
    return "seconds" in name or "per_second" in name or name in ("state_saves", "command", "overwrite")


def without_free(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_free(inner) for name, inner in value.items() if not is_free(name)}
    return [without_free(inner) for inner in value] if isinstance(value, list) else value


def content(path: Path, root: Path) -> Any:
    """Of a file, times aside; what cannot be read raises."""
    if "resume" in path.name:
        return torch.load(path, map_location="cpu", weights_only=True)["digest"]
    if path.suffix == ".pt":
        return _content_of_weights(path)
    if path.suffix == ".json":
        value = without_free(json.loads(path.read_text(encoding="utf-8")))
        # A digest is of a file, whose record has times.
        return {name: inner for name, inner in value.items() if name != "digests"}
    if path.suffix == ".csv":
        with open(path, newline="") as file:
            return [without_free(row) for row in csv.DictReader(file)]
    return path.read_bytes()


def _content_of_weights(path: Path) -> Any:
    if path.name == "snapshots.pt":
        return {name: tensor.numpy().tobytes() for name, tensor in state_dicts.load(path).items()}
    loaded = checkpoint.load(path)
    weights = {name: tensor.numpy().tobytes() for name, tensor in loaded.model.state_dict().items()}
    return weights, without_free(loaded.config), loaded.metrics, loaded.origin


def contents(place: Path, outputs: tuple[Path, ...]) -> dict[str, Any]:
    """Of all files of the outputs; hidden ones and states are no outputs."""
    found = {}
    for output in outputs:
        whole = place / output
        for path in sorted(whole.rglob("*")) if whole.is_dir() else [whole]:
            if path.is_file() and not path.name.startswith(".") and "resume" not in path.name:
                found[str(path.relative_to(place))] = content(path, place)
    return found


def differing(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Names of files whose contents differ; of a record with its keys."""
    shown = []
    for name in sorted({*found, *wanted}):
        ours, theirs = found.get(name), wanted.get(name)
        if ours != theirs:
            records = isinstance(ours, dict) and isinstance(theirs, dict) and name.endswith(".json")
            keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)] if records else []
            shown.append(" ".join([name, *keys]))
    return shown


def check_all_load(place: Path) -> None:
    """Every file that is there, wherever it stands at the moment."""
    for path in (place / "runs").rglob("*"):
        if not path.is_file() or path.name.startswith(".") or path.suffix in (".lock", ".new"):
            continue
        content(path, place)


def check_earlier(place: Path, job: Job, earlier: dict[str, Any], wanted: dict[str, Any]) -> None:
    """What was finished before is whole: under its name, or beside it where its successor is being put
    there; or the successor is whole."""
    for output in job.outputs:
        theirs = {name: value for name, value in earlier.items() if _within(name, output)}
        ours = {name: value for name, value in wanted.items() if _within(name, output)}
        beside = [
            path for path in (place / output).parent.glob(f"*{output.name}*") if "lock" not in path.name
        ]
        states = [
            _renamed(contents(place, (p.relative_to(place),)), p, place / output, place) for p in beside
        ]
        if not any(state in (theirs, ours) for state in states):
            told = [f"{path.name}: {differing(state, ours)}" for path, state in zip(beside, states)]
            raise AssertionError(f"{output}: the earlier one is lost; unlike the new one are {told}")


def _within(name: str, output: Path) -> bool:
    return Path(name) == output or output in Path(name).parents


def _renamed(found: dict[str, Any], path: Path, output: Path, place: Path) -> dict[str, Any]:
    old, new = str(path.relative_to(place)), str(output.relative_to(place))
    return {new + name.removeprefix(old): value for name, value in found.items()}


def check_nothing_is_left(place: Path) -> None:
    """Of an unfinished run."""
    for path in (place / "runs").rglob("*"):
        name = path.name
        # Files of locks stay, and are harmless.
        left = (name.startswith("."), "resume" in name, ".new" in name)
        assert name.endswith(".lock") or not any(left), f"{path} is left"


# --- the campaign


@dataclass
class Unbroken:
    """What a job leaves when nothing ends it; how long it takes, and how many calls change files."""

    contents: dict[str, Any]
    seconds: float
    calls: int


class Campaign:
    """folder: all happens there. A job's outputs are made in the folder of a case."""

    def __init__(self, folder: Path, seed: int):
        self.folder, self.random = folder, random.Random(seed)
        self.unbroken: dict[tuple[str, int], Unbroken] = {}
        self.codes: Counter[str] = Counter()
        self._make_teachers()

    def _make_teachers(self) -> None:
        for name, seed in (("teacher.pt", 42), ("second.pt", 43)):
            child = os.fork()
            if child == 0:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                made = train_tiny_teacher(self.folder, "--seed", seed, "--overwrite")
                made.rename(self.folder / name)
                os._exit(0)
            assert _wait(child) == 0

    def reference(self, job: Job, seed: int) -> Unbroken:
        if (job.name, seed) not in self.unbroken:
            place = self._new_place(f"unbroken_{job.name.replace(' ', '_')}_{seed}")
            code, seconds, calls = run_in_child(job, place, ("--seed", str(seed), *OFTEN), None)
            assert code == 0, (place / "said.txt").read_text()
            check_nothing_is_left(place)
            self.unbroken[job.name, seed] = Unbroken(contents(place, job.outputs), seconds, calls)
        return self.unbroken[job.name, seed]

    def _new_place(self, name: str) -> Path:
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return place

    def case(self, number: int, most: int) -> int:
        """A run that is killed up to ``most`` times and then ends; returns how often it was killed."""
        job = self.random.choice(JOBS)
        wanted = self.reference(job, 1)
        place = self._new_place("case")
        words: tuple[str, ...] = ("--seed", "1", *OFTEN)
        earlier = None
        if self.random.random() < 0.5:
            earlier = self.reference(job, 2).contents
            assert run_in_child(job, place, ("--seed", "2", *OFTEN), None)[0] == 0
            words += ("--overwrite",)
        deaths: list[Death] = []
        wished = self.random.randint(1, min(3, most))
        try:
            while len(deaths) < wished:
                deaths.append(self._death(wanted))
                code, _, _ = run_in_child(job, place, words, deaths[-1])
                self._check_code(code, deaths[-1])
                check_all_load(place)
                if earlier:
                    check_earlier(place, job, earlier, wanted.contents)
            code, _, _ = run_in_child(job, place, words, None)
            assert code == 0, f"it ends with code {code}"
            check_nothing_is_left(place)
            found = contents(place, job.outputs)
            unlike = differing(found, wanted.contents)
            assert not unlike, f"other bits than the unbroken run: {unlike}"
        except Exception as error:
            said = (place / "said.txt").read_text()
            told = "; ".join(map(str, deaths))
            over = " over an earlier run" if earlier else ""
            raise AssertionError(
                f"case {number}, {job.name}{over}: {told}: {error!r}\n{said[-3000:]}"
            ) from error
        return len(deaths)

    def _death(self, unbroken: Unbroken) -> Death:
        by = self.random.choice(SIGNALS)
        if self.random.random() < 0.5:
            return Death(by, seconds=self.random.uniform(0, unbroken.seconds))
        return Death(by, call=self.random.randint(1, unbroken.calls), after=self.random.random() < 0.5)

    def _check_code(self, code: int, death: Death) -> None:
        ended = -death.signal if death.signal == signal.SIGKILL else 128 + death.signal
        # One that was through when the signal came ends well; one that had not begun does not heed it.
        assert code in (0, ended, -death.signal, NOT_BEGUN), f"code {code} after {death}"
        self.codes[f"{death.signal.name} {code}"] += 1


def campaign(folder: Path, kills: int, seed: int) -> Counter[str]:
    """At least so many kills; returns how the runs ended. Raises AssertionError at the first that is not as
    it should be."""
    at_work, done, number = Campaign(folder, seed), 0, 0
    while done < kills:
        number += 1
        done += at_work.case(number, kills - done)
        print(f"\r{done} of {kills} kills, {number} runs", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return at_work.codes


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(argv)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        codes = campaign(Path(folder), given.kills, given.seed)
    ends = ", ".join(f"{count} {name}" for name, count in sorted(codes.items()))
    print(f"{sum(codes.values())} kills in {time.monotonic() - started:.0f} s, signal and exit code: {ends}")


if __name__ == "__main__":
    main()
