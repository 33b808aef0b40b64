"""One run of at most 8 minutes on a GPU: the tests that need one, then times, memory, the share of the card.

    python benchmarks/gpu.py --json gpu.json --markdown gpu.md

Parts run one after the other, each in a process of its own and for its own seconds at most: what fails, or
does not end in time, is recorded in a line, and the rest goes on. Both files are written anew after each
part. Sides of a part are measured one after the other: after steps that do not count, blocks of steps
between two synchronisations with the device; the median block counts. Peak memory is that of the device's
allocator during these blocks, less what stood before the side was made. The share of the peak is that of the
products that a step must do (``roofline.py`` counts them), at the card's dense bfloat16 rate.

``--device cpu --quick`` goes through all of it on a CPU, to see that it runs; its figures mean nothing.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch  # noqa: E402

from benchmarks import gpu_parts, harness  # noqa: E402
from benchmarks.gpu_tables import markdown  # noqa: E402
from semcom.base.device import resolve_device  # noqa: E402

SCRIPT = "gpu.py"
SECONDS = 470.0
"""Of the whole run; what is left of eight minutes is for its own start and end."""
PARTS = {
    "tests": 90.0,
    "step, large": 120.0,
    "losses": 55.0,
    "step, DeepSC's shape": 65.0,
    "training": 60.0,
    "decoding": 50.0,
    "profile": 30.0,
}
"""Seconds at most of each."""
# Dense bfloat16 TFLOP/s with float32 sums, as the vendor's data sheets have them; the first name that a
# card's own holds.
PEAKS = {
    "B200": 2250.0,
    "GH200": 989.0,
    "H200": 989.0,
    "H100 NVL": 835.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A40": 149.7,
    "A30": 165.0,
    "A10": 125.0,
    "RTX 4090": 165.0,
    "RTX 3090": 71.0,
}


def main(argv: list[str] | None = None) -> None:
    given = arguments(argv)
    if given.part:
        run_part(given)
        return
    device = resolve_device(given.device)
    found: dict = {**about(device, argv), "parts": {}}
    print(f"`{found['command']}` at {found['commit']}, {found['card']}, torch {torch.__version__}\n")
    begun = time.perf_counter()
    for name, seconds in PARTS.items():
        left = given.seconds - (time.perf_counter() - begun)
        if given.only and name not in given.only:
            continue
        # Without a GPU nobody waits for one that is lent by the minute.
        wanted = 3 * seconds if given.quick else seconds
        found["parts"][name] = in_its_process(name, min(wanted, left), given)
        Path(given.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        Path(given.markdown).write_text(markdown(found), encoding="utf-8")
        told = found["parts"][name]
        print(f"{name}: {len(told['rows'])} rows in {told['seconds']:.0f} s {told['error']}", flush=True)
    print(f"\n{markdown(found)}\nin {time.perf_counter() - begun:.0f} s: {given.json}, {given.markdown}")


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = harness.parser_of(SCRIPT, __doc__)
    parser.set_defaults(json="gpu.json")
    parser.add_argument("--markdown", default="gpu.md", metavar="FILE", help="write the tables there")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of the whole run (default 470)")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--rows", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def about(device: torch.device, argv: list[str] | None) -> dict:
    """The command, the commit and the card."""
    words = sys.argv[1:] if argv is None else argv
    made: dict = {
        "command": " ".join(["python benchmarks/gpu.py", *words]),
        "commit": harness.commit(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cpu": harness.processor(),
        "card": str(device),
        "peak": None,
    }
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        made |= {"card": card.name, "memory": card.total_memory, "capability": [card.major, card.minor]}
        made["peak"] = peak_of(card.name)
    return made


def peak_of(card: str) -> float | None:
    """FLOP/s of dense products in bfloat16; None for a card that is not in the table."""
    return next((1e12 * rate for name, rate in PEAKS.items() if name in card), None)


# --- a part as a process


def in_its_process(name: str, seconds: float, given: argparse.Namespace) -> dict:
    """rows: those that it has written by its end. error: a line that says what went wrong, or nothing."""
    if seconds < 1:
        return {"rows": [], "seconds": 0.0, "error": "not begun: no time was left"}
    with tempfile.TemporaryDirectory(prefix="semcom_gpu_") as folder:
        rows, said = Path(folder) / "rows", Path(folder) / "said"
        words = [sys.executable, str(Path(__file__).resolve()), "--part", name, "--rows", str(rows)]
        words += ["--device", given.device, *["--quick"] * given.quick]
        begun = time.perf_counter()
        with said.open("wb") as console:
            # A session of its own: what it starts, compilers and tests, ends with it.
            child = subprocess.Popen(
                words, stdout=console, stderr=subprocess.STDOUT, cwd=harness.ROOT, start_new_session=True
            )
            try:
                code = child.wait(seconds)
                error = last_line(said) if code else ""
            except subprocess.TimeoutExpired:
                error = f"ended after {seconds:.0f} s"
            end(child)
        lines = rows.read_text(encoding="utf-8").splitlines() if rows.exists() else []
        return {
            "rows": [json.loads(line) for line in lines],
            "seconds": time.perf_counter() - begun,
            "error": error,
        }


def end(child: subprocess.Popen) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def last_line(said: Path) -> str:
    lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return gpu_parts.one_line(lines[-1]) if lines else "failed without a word"


def run_part(given: argparse.Namespace) -> None:
    """In this process. Each row is written as soon as it is there."""
    device = resolve_device(given.device)
    with open(given.rows, "a", encoding="utf-8", buffering=1) as rows:
        for row in gpu_parts.rows_of(given.part, device, quick=given.quick):
            rows.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
