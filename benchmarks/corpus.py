"""How time and memory grow with a text file until its sentences can be trained on (read, cleaned, told apart,
split, encoded): the first time, and the next, when they are found in the cache; and in training.

    python benchmarks/corpus.py --json corpus.json

The file is made of the built-in generator's short sentences: a quarter of the lines are one of them, the
others two of these in ever new pairs (about 110 bytes a line), and one line in twenty is there twice. None is
left out for its length. Every figure is of a process of its own, imports included.
"""

import json
import os
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness  # noqa: E402

SCRIPT = "corpus.py"
SIZES = (20_000, 200_000, 2_000_000)
QUICK_SIZES = (2_000, 4_000)
SHORT = 15
"""Words of a sentence of which two are within the default limit of length, at most."""
REPEATED = 20
BATCHES = 100
STEPS = 10
LOOKED_EVERY = 0.02
MEGABYTE = 1e6
VOCABULARY = harness.ROOT / "vocab" / "parliament.model"


def main(argv: list[str] | None = None) -> None:
    parser = harness.parser_of(SCRIPT, __doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="lines (default %(default)s)")
    parser.add_argument("--prepare", metavar="FILE", help="prepare this in this process, JSON of its stages")
    given = parser.parse_args(argv)
    if given.prepare:
        print(json.dumps(prepare(given.prepare)))
        return
    report = harness.Report(SCRIPT, argv)
    measured = []
    for size in QUICK_SIZES if given.quick else given.sizes:
        with tempfile.TemporaryDirectory() as folder:
            measured.append(measure(size, Path(folder)))
    show(report, measured)
    if given.json:
        record = {"command": report.command, "commit": report.commit, "cpu": harness.processor()}
        Path(given.json).write_text(json.dumps({**record, "sizes": measured}, indent=1) + "\n")


# --- the file


def lines(size: int) -> Iterator[str]:
    from semcom.data import parliament

    short = (text for text, _ in parliament.sentences(parliament.TOPICS) if text.count(" ") < SHORT)
    pool = list(islice(short, max(2, size // 4)))
    for number in range(size):
        repeats = number % REPEATED == REPEATED - 1
        turn, place = divmod(number - repeats, len(pool))
        # With every turn another partner: no pair twice.
        yield f"{pool[place]} {pool[place - turn]}" if turn else pool[place]


def measure(size: int, folder: Path) -> dict:
    """The figures of a file of ``size`` lines made in ``folder``."""
    text = folder / "text.en"
    with text.open("w") as file:
        file.writelines(f"{line}\n" for line in lines(size))
    environment = {**os.environ, "SEMCOM_CACHE": str(folder / "cache")}
    prepared = [sys.executable, str(harness.ROOT / "benchmarks" / SCRIPT), "--prepare", str(text)]
    trained = [sys.executable, "-m", "semcom", "train", *flags(text), "--steps", str(STEPS), "--quiet"]
    trained += ["--output", str(folder / "teacher.pt")]
    found = {"lines": size, "bytes": text.stat().st_size}
    for name, command in (("first", prepared), ("next", prepared), ("train", trained)):
        found[name] = of_process(command, environment)
    found["cache_bytes"] = sum(
        path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file()
    )
    return found


def flags(text: Path) -> list[str]:
    return [
        "--corpus",
        str(text),
        "--corpus-size",
        "all",
        "--vocab",
        str(VOCABULARY),
    ]


# --- one process


def of_process(command: Sequence[str], environment: dict[str, str]) -> dict:
    """Its seconds from start to end, those of all its threads together, its peak memory in bytes, and what it
    prints as JSON on its last line."""
    before, started, peak = cpu_of_children(), time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, env=environment, cwd=harness.ROOT, stdout=said)
        while process.poll() is None:
            # What the system counts at its end begins with the memory of the process that started it.
            peak = max(peak, peak_of(process.pid))
            time.sleep(LOOKED_EVERY)
        seconds, cpu = time.perf_counter() - started, cpu_of_children() - before
        said.seek(0)
        last = said.read().splitlines()[-1:]
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)} failed")
    stages = json.loads(last[0]) if last and last[0].startswith("{") else {}
    return {"seconds": seconds, "cpu_seconds": cpu, "peak": peak, "stages": stages}


def cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def peak_of(pid: int) -> int:
    """Bytes; 0 of a process that is at its end."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def prepare(text: str) -> dict[str, float]:
    """CPU seconds of each stage, from the start of this process."""
    from semcom.commands import inputs
    from semcom.data import vocabulary_files
    from semcom.data.batching import collate, shuffled
    from semcom.data.settings import CorpusConfig

    stages, before = {}, 0.0

    def done(name: str) -> None:
        nonlocal before
        stages[name] = time.process_time() - before
        before = time.process_time()

    vocabulary = vocabulary_files.read_vocabulary(VOCABULARY.read_bytes(), str(VOCABULARY))
    settings = CorpusConfig(corpus=(text,), corpus_size=None)
    done("imports")
    source = inputs.read_corpus(settings, vocabulary)
    done("read")
    data = inputs.encode_splits(source, vocabulary)
    done("encoded")
    batches = shuffled(data.train, 128, 0, 1)
    done("an epoch's order")
    for batch in batches[:BATCHES]:
        collate(batch)
    done(f"{BATCHES} batches")
    return stages


# --- shown


def show(report: harness.Report, measured: Sequence[dict]) -> None:
    def cell(of: dict) -> str:
        return f"{of['seconds']:.1f} s, {of['peak'] / MEGABYTE:,.0f} MB"

    ways = ("first", "next", "train")
    report.table(
        "Seconds from start to end and peak memory of the process",
        ("lines", "MB", "first time", "next time", f"training, {STEPS} steps", "MB kept"),
        [
            [
                f"{found['lines']:,}",
                f"{found['bytes'] / MEGABYTE:,.1f}",
                *(cell(found[way]) for way in ways),
                f"{found['cache_bytes'] / MEGABYTE:,.1f}",
            ]
            for found in measured
        ],
    )
    names = list(measured[0]["first"]["stages"])
    report.table(
        "CPU seconds of each stage, first and next time",
        ("lines", *names),
        [
            [
                f"{found['lines']:,}",
                *(
                    f"{found['first']['stages'][name]:.2f}, {found['next']['stages'][name]:.2f}"
                    for name in names
                ),
            ]
            for found in measured
        ],
    )


if __name__ == "__main__":
    main()
