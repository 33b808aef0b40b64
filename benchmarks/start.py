"""How long a person waits: for ``--help``, for the answer to a wrong flag, and until the first step of a
distillation is done.

python benchmarks/start.py
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness  # noqa: E402

SCRIPT = "start.py"
ROUNDS = 3
FIRST_STEP = """
import os
import sys
sys.path.insert(0, {root!r})
from semcom.commands import cli
from semcom.distillation import training_loop
step = training_loop.Loop.step
def first(self, *given, **choice):
    step(self, *given, **choice)
    os._exit(0)
training_loop.Loop.step = first
cli.distil(["--quiet"])
"""


def seconds(command: list[str]) -> float:
    """The fastest of a few starts, in an empty folder."""
    times = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            subprocess.run([sys.executable, *command], cwd=folder, capture_output=True)
            times.append(time.perf_counter() - started)
    return min(times)


def main(argv: list[str] | None = None) -> None:
    harness.parser_of(SCRIPT, __doc__).parse_args(argv)
    report = harness.Report(SCRIPT, argv)
    script = str(harness.ROOT / "distillation.py")
    commands = {
        "--help": [script, "--help"],
        "a wrong flag": [script, "--temperature", "0"],
        "first step done": ["-c", FIRST_STEP.format(root=str(harness.ROOT))],
    }
    report.table(
        f"Seconds after the start, fastest of {ROUNDS}",
        ("what", "s"),
        [(what, f"{seconds(c):.2f}") for what, c in commands.items()],
    )


if __name__ == "__main__":
    main()
