"""Golden numbers: what the commands print and write, for fixed seeds; a later commit can be held to them.

    python benchmarks/golden.py                        compare with golden.json beside it; 1 where it differs
    python benchmarks/golden.py --only splice doctor   these steps, and those that they need
    python benchmarks/golden.py --record FILE          write a record
    python benchmarks/golden.py --tree PATH FILE       run the commands of another checkout, compare with FILE

On the CPU and torch of the record every number is compared to the bit, the weights by digests. On another
machine only what rounding cannot move by a step is compared (see ``golden_values``), and the output says so.
What is new (a file, a key, a column) is told and is no difference; what is missing is one. It all runs in a
folder of its own, on one thread, in about two minutes.
"""

import os

# Before torch is imported: sums of other thread counts round differently.
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

import argparse  # noqa: E402
import contextlib  # noqa: E402
import importlib  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import random  # noqa: E402
import runpy  # noqa: E402
import shlex  # noqa: E402
import shutil  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
from pathlib import Path  # noqa: E402
from unittest import mock  # noqa: E402

import golden_steps  # noqa: E402
import golden_values  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from golden_steps import Step  # noqa: E402
from golden_values import Reading  # noqa: E402

HERE = Path(__file__).resolve().parent
RECORD = HERE / "golden.json"
SHOWN = 30
"""Differences that are printed."""


# --- running


def call(line: str) -> tuple[int | str, str, str]:
    """Run a command in this process: (exit code, what it printed, what it said on stderr)."""
    script, *words = shlex.split(line)
    # The commands set the error handler of their streams, so these must be real ones.
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    ours = mock.patch.multiple(sys, stdout=out, stderr=err, argv=[script, *words])
    with ours:
        try:
            if script == "semcom":
                runpy.run_module(script, run_name="__main__")
                code = 0
            else:
                code = importlib.import_module(script).main(words)
        except SystemExit as stop:
            code = stop.code or 0
        except Exception:
            traceback.print_exc()
            code = "raised"
    return code, *(stream.buffer.getvalue().decode() for stream in (out, err))


def files_below(folder: Path) -> dict[str, int]:
    """Relative path -> time of the last change, in ns."""
    # Those of locks say who held them last.
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    found = {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in files}
    return {name: changed for name, changed in found.items() if not name.startswith(golden_values.CACHE)}


def run(step: Step) -> Reading:
    """Run a step in the working directory and read what it printed and wrote."""
    folder, reading = Path.cwd(), {}
    before = files_below(folder)
    for number, command in enumerate(step.commands, 1):
        # Nothing may depend on what ran before: each command starts as in a process of its own.
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        torch.set_num_threads(1)
        if callable(command):
            try:
                reading[f"values {number}"] = command()
            except Exception:
                reading[f"values {number}"] = {}
                print(f"{step.name}:\n{traceback.format_exc()}", file=sys.stderr)
            continue
        code, printed, said = call(command)
        numbers = golden_values.column(golden_values.numbers_of(printed), golden_values.PRINTED)
        reading[f"console {number}"] = {"exit": code, "numbers": numbers}
        if code != step.code:
            print(f"{step.name}: exit code {code} of: {command}\n{said}", file=sys.stderr)
    for name, changed in sorted(files_below(folder).items()):
        if before.get(name) != changed:
            reading[name] = golden_values.read(folder / name)
    return reading


def chosen(steps: list[Step], only: list[str] | None) -> list[Step]:
    """The steps of these names and all that they need, in order."""
    by_name = {step.name: step for step in steps}
    if only is None:
        return steps
    if unknown := set(only) - by_name.keys():
        raise SystemExit(f"--only: no step {', '.join(sorted(unknown))}; there are {', '.join(by_name)}")
    wanted, waiting = set(), list(only)
    while waiting:
        name = waiting.pop()
        wanted.add(name)
        waiting += by_name[name].needs
    return [step for step in steps if step.name in wanted]


# --- the machine


def processor() -> str:
    """Model, family and stepping, and the instructions that torch takes: they decide how sums are rounded."""
    fields = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    names = ("model name", "cpu family", "model", "stepping")
    known = ", ".join(fields[name] for name in names if name in fields) or platform.processor()
    return f"{known}; {torch.backends.cpu.get_cpu_capability()}"


def compiler() -> str | None:
    """First line of the compiler's version, as the package chooses it; None where there is none."""
    for command in filter(None, (os.environ.get("CXX"), "g++", "clang++")):
        if shutil.which(shlex.split(command)[0]):
            done = subprocess.run([*shlex.split(command), "--version"], capture_output=True, text=True)
            return done.stdout.partition("\n")[0]
    return None


def machine() -> dict[str, str | int | None]:
    return {
        "cpu": processor(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "compiler": compiler(),
    }


# --- record and check


def failed(steps: list[Step], results: dict) -> list[str]:
    """Steps with a command that ended as it should not: nothing to hold others to."""
    readings = {step: results[step.name].get("values", {}) for step in steps}
    return [
        step.name
        for step, reading in readings.items()
        if any(not keys or keys.get("exit", step.code) != step.code for keys in reading.values())
    ]


def run_all(steps: list[Step], found: dict) -> dict:
    """Step name -> seconds, and either its reading or why it was skipped."""
    results = {}
    for step in steps:
        if step.compiled and found["compiler"] is None:
            results[step.name] = {"seconds": 0.0, "skipped": "no C++ compiler"}
            continue
        started = time.perf_counter()
        reading = run(step)
        results[step.name] = {"seconds": round(time.perf_counter() - started, 1), "values": reading}
    return results


def written(record: dict) -> str:
    """JSON with a line for each source, so that two records can be compared by eye."""
    steps = ",\n".join(f"{_line(name)}: {_step_lines(step)}" for name, step in record["steps"].items())
    return f'{{"machine": {_line(record["machine"])},\n"steps": {{\n{steps}}}}}\n'


def _step_lines(step: dict) -> str:
    if "skipped" in step:
        return _line(step)
    sources = [f"  {_line(source)}: {_line(keys)}" for source, keys in step["values"].items()]
    return f'{{"seconds": {step["seconds"]}, "values": {{\n' + ",\n".join(sources) + "}}"


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def check(record: dict, now: dict, steps: list[Step]) -> int:
    """Print a line for each step and what differs; the exit code."""
    same = {name: record["machine"][name] == now["machine"][name] for name in ("cpu", "torch", "compiler")}
    bits = same["cpu"] and same["torch"]
    found, notes = [], []
    print(f"{'step':26} {'values':>7} {'seconds':>8}  equal")
    for step in steps:
        recorded, result = record["steps"].get(step.name), now["steps"][step.name]
        reason = "not in the record" if recorded is None else recorded.get("skipped") or result.get("skipped")
        if reason:
            print(f"{step.name:26} {'':7} {result['seconds']:8.1f}  skipped: {reason}")
            continue
        exact = bits and (same["compiler"] or not step.compiled)
        differ, new, compared = golden_values.differences(recorded["values"], result["values"], exact)
        verdict = "NO" if differ else "yes" if exact else "roughly"
        print(f"{step.name:26} {compared:7} {result['seconds']:8.1f}  {verdict}")
        found += [(step.name, *difference) for difference in differ]
        notes += [f"{step.name}: {note}" for note in new]
    for name, equal in same.items():
        if not equal:
            print(f"other {name}: recorded {record['machine'][name]}, here {now['machine'][name]}")
    if not bits:
        print(
            "BITS WERE NOT COMPARED, but exit codes, files, keys, and to "
            f"{golden_values.ROUNDING:.0%} what rounding cannot move by a step; no console, table, weights"
        )
    if notes:
        print(f"\nnew, and no difference ({len(notes)}):", *notes[:SHOWN], sep="\n  ")
    if found:
        print(f"\ndifferences: {len(found)}, at most {SHOWN} shown: step | source | key | recorded | now")
        print(*(" | ".join(difference) for difference in found[:SHOWN]), sep="\n")
    return 1 if found else 0


def main() -> int:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    add = parser.add_argument
    add("file", nargs="?", type=Path, default=RECORD, help="the record to compare with (default golden.json)")
    add("--record", type=Path, metavar="FILE", help="write a record instead")
    add("--tree", type=Path, default=HERE.parent, metavar="PATH", help="the checkout that runs (this one)")
    add("--only", nargs="+", metavar="STEP", help="these steps, and those that they need")
    given = parser.parse_args()
    tree, target = given.tree.resolve(), given.record and given.record.resolve()
    record = None if target else json.loads(given.file.read_text(encoding="utf-8"))
    sys.path.insert(0, str(tree))
    if not Path(importlib.import_module("semcom").__file__).is_relative_to(tree):
        raise SystemExit(f"--tree {tree}: there is no package semcom in it")
    steps = chosen(golden_steps.steps(tree), given.only)
    torch.set_num_threads(1)
    found = machine()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="golden_") as folder, contextlib.chdir(folder):
        now = {"machine": found, "steps": run_all(steps, found)}
    print(f"{len(steps)} steps of {tree} in {time.perf_counter() - started:.0f} s")
    if target:
        if wrong := failed(steps, now["steps"]):
            raise SystemExit(f"nothing recorded: {', '.join(wrong)} did not run as they should")
        target.write_text(written(now), encoding="utf-8")
        return 0
    return check(record, now, steps)


if __name__ == "__main__":
    sys.exit(main())
