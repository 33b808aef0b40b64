"""Is the plain command the fastest? README's distillation of a receiver as a process, without flags for
precision and kernels, and with each of its four settings, in turn.

    python benchmarks/default_run.py --json default_run.json
    python benchmarks/default_run.py --steps 200 --rounds 5

Code is compiled before, so that the settings are compared as of the second run on; ``--first`` has the plain
command with an empty cache besides. Seconds are those of the whole process, from its start to its last line.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness  # noqa: E402

SCRIPT = "default_run.py"
DEFAULT = "default"
SETTINGS = {
    DEFAULT: [],
    "fp32, plain": ["--precision", "fp32", "--compile", "off"],
    "bf16, plain": ["--precision", "bf16", "--compile", "off"],
    "fp32, compiled": ["--precision", "fp32", "--compile", "on"],
    "bf16, compiled": ["--precision", "bf16", "--compile", "on"],
}
COMMAND = ["--distill-part", "decoder", "--create-hybrid", "--quiet"]
QUICK = ["--corpus-size", "400", "--batch-size", "16"]


def main(argv: list[str] | None = None) -> None:
    parser = harness.parser_of(SCRIPT, __doc__)
    parser.add_argument("--steps", type=int, default=40, help="steps of each run (default 40)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each setting (default 3)")
    parser.add_argument("--first", action="store_true", help="also the first run, which compiles")
    given = parser.parse_args(argv)
    if given.quick:
        given.steps, given.rounds = 2, 1
    flags = [*COMMAND, "--steps", str(given.steps), *QUICK * given.quick]
    report = harness.Report(SCRIPT, argv)
    print(f"`python distillation.py {' '.join(flags)}`\n")
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        first = _run(flags, Path(folder), cache) if given.first else None
        _run([*flags, "--compile", "on"], Path(folder), cache)
        runs = _in_turn(flags, Path(folder), cache, given.rounds)
    seconds = {name: statistics.median(run["seconds"] for run in each) for name, each in runs.items()}
    settings = [name for name in SETTINGS if name != DEFAULT]
    best = min(settings, key=seconds.__getitem__)
    rows = [_row(name, runs[name][0], seconds[name], seconds[best]) for name in SETTINGS]
    if first:
        rows.append(_row("default, the first run", first, first["seconds"], seconds[best]))
        report.record("default_run_first", seconds[best], first["seconds"], "s", best)
    head = ("setting", "median s", "of the best", "best loss", "what it says of itself")
    report.table(f"The plain command and its settings, {given.rounds} runs of each in turn", head, rows)
    report.record("default_run", seconds[best], seconds[DEFAULT], "s", best)
    report.write(given.json)


def _in_turn(flags: list[str], folder: Path, cache: Path, rounds: int) -> dict[str, list[dict]]:
    runs: dict[str, list[dict]] = {name: [] for name in SETTINGS}
    for _ in range(rounds):
        for name, setting in SETTINGS.items():
            runs[name].append(_run([*flags, *setting], folder, cache))
    return runs


def _row(name: str, run: dict, seconds: float, best: float) -> tuple[str, ...]:
    return name, f"{seconds:.1f}", f"{best / seconds:.2f}", f"{run['best_loss']:.4f}", run["way"]


def _run(flags: list[str], folder: Path, cache: Path) -> dict:
    """Seconds of the process, and what its record says."""
    place = folder / "run"
    words = ["--output-path", str(place), "--hybrid-output", str(folder / "hybrid.pt"), "--overwrite"]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(harness.ROOT / "distillation.py"), *flags, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "SEMCOM_CACHE": str(cache)},
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"distillation.py {' '.join(flags)} failed:\n{done.stderr}")
    record = json.loads((place / "distillation_config.json").read_text())
    return {"seconds": seconds, "best_loss": record["best_loss"], "way": record["way"]}


if __name__ == "__main__":
    main()
