"""Commands with arguments as people mistype them: is each answered soon, in one line that says what to do?

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/argument_lists.py --count 2000 --seed 1

Each command is a child of this process, made by ``fork``, so that nothing is imported anew. It has a folder
with tiny files of each kind; where its training or its decoding would begin, it ends.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse  # noqa: E402
import contextlib  # noqa: E402
import io  # noqa: E402
import random  # noqa: E402
import resource  # noqa: E402
import shlex  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import NoReturn  # noqa: E402

from cli_support import analyse, distil, examples, package, train_tiny_teacher  # noqa: E402

from semcom.base.errors import LONGEST_LINE, NothingToDo, escape  # noqa: E402
from semcom.commands import parsers  # noqa: E402

LONGEST = 20
"""Seconds that an answer may take."""
MOST_MEMORY = 3 * 2**30
"""Bytes of address space that a command may take beside what this process has."""
ENOUGH = "enough: the work would begin here"
COMMON = ("--corpus-size", "240", "--quiet")
TINY = ("--layers", "1", "--model-width", "8", "--heads", "1", "--feed-forward", "8", "--steps", "1")
BASES: tuple[tuple[Callable[..., int], tuple[str, ...]], ...] = (
    (package, ("vocab", "--output", "made.model", "--size", "400", "--corpus-size", "240")),
    (package, ("train", "--output", "made.pt", *TINY, *COMMON)),
    (package, ("train", "--output", "made.pt", "--start-from", "teacher.pt", "--steps", "1", *COMMON)),
    (package, ("splice", "--transmitter", "teacher.pt", "--receiver", "teacher.pt", "--output", "made.pt")),
    (package, ("import", "teacher.pt", "--vocab-file", "vocab.json", "--output", "made.pt")),
    (package, ("export", "teacher.pt", "--output", "made.pth")),
    (package, ("evaluate", "teacher.pt", "--snr", "6", "--sentences", "3", *COMMON)),
    (package, ("evaluate", "teacher.pt", "--corpus", "text.txt", "--split", "all", "--output", "made.csv")),
    (package, ("audit", "teacher.pt", "--snr", "6", "--sentences", "3", *COMMON)),
    (package, ("doctor", "teacher.pt", "--snr", "6", "--sentences", "3", "--draws", "1000", *COMMON)),
    (package, ("sweep", "--dry-run", "--temperature", "2", "4", "--seed", "1", "2", *COMMON)),
    (package, ("dial", "run", "--target", "0.015", "--sentences", "5", "--output-path", "made", *COMMON)),
    (package, ("dial", "--from", "teacher.pt", "--to", "other.pt", "--target", "0.2", *COMMON)),
    (package, ("transmit", "We support this report.", "--checkpoints", "teacher.pt", "--snr", "6")),
    (distil, ("--teacher-checkpoint", "teacher.pt", "--steps", "1", "--output-path", "made", *COMMON)),
    (distil, ("--teacher-checkpoint", "teacher.pt", "--create-hybrid", "--config", "run.yaml", *COMMON)),
    (analyse, ("--runs", ".", "--no-report", "--snr", "6", "--sentences", "3", *COMMON)),
    (analyse, ("other.pt", "--teacher-checkpoint", "teacher.pt", "--report-dir", "made", *COMMON)),
    (examples, ("1", "--dry-run", "--teacher-checkpoint", "teacher.pt")),
    (examples, ("9", "--dry-run", "--seeds", "2")),
)

NUMBERS = [
    *"-1 0 1 2.5 1e400 -1e400 1e-400 nan inf -inf 0x10 １２ −6 1,5 -6,0,6 -1e1 6dB abc 1_0 ٣ ²".split(),
    *"1e5 100000 2147483648 -- - “6” ６，７ 6-12 $((1+2)) ½".split(),
    *("", " ", "1 2", "9" * 30, "-" + "9" * 30, "9" * 5000, "1" + "0" * 400),
]
PATHS = [
    *"/ // . .. ~ ~/x teacher.pt/ teacher.pt/x folder folder/ run run/ empty.pt noise.pt".split(),
    *"vocab.json run.yaml no.pt no/no/no.pt techer.pt ./teacher.pt “teacher.pt” made.pt made a:b".split(),
    *"/dev/full /dev/null /proc/self/mem /proc/1/environ /sys/x loop link.pt $HOME -rf it's * \\".split(),
    *"text.txt Run CON".split(),
    *("", " ", "a b.pt", "a\nb", "a\0b", "\x1b[31m", "\udcff.pt", "\ud800"),
    *("x" * 300, "x" * 5000, "漢" * 100, "a/" * 2500),
]
NAMES = ["", " ", "a,b", *"x AWGN awng rayleigh, health helth all ALL none “zf” 漢字".split()]
WORDS = [
    *"-- - -h --version --no-quiet --quiet --overwrite --resume --debug= --snr -x —snr".split(),
    *"–quiet --config noise.pt --config=run.yaml --print-config --device cuda:99 = --=".split(),
    *"--epochs 3 --steps --help=".split(),
    *("", "We support this.", "x" * 5000, "\0", "\n", "\udcff"),
]


# --- a command as a child of this process


@dataclass(frozen=True)
class Answer:
    """code: the exit code, negative for a signal. memory: bytes, at most."""

    code: int
    seconds: float
    memory: int
    said: str
    told: str


def answer(main: Callable[..., int], words: list[str], place: Path) -> Answer:
    """What the command comes to in the folder ``place``."""
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_the_command(main, words, place)
    code, memory = _wait(child)
    said, told = ((place / name).read_text(errors="replace") for name in ("said", "told"))
    return Answer(code, time.monotonic() - started, memory, said, told)


def _be_the_command(main: Callable[..., int], words: list[str], place: Path) -> NoReturn:
    code = 99
    try:
        os.chdir(place)
        for name, number in ((os.devnull, 0), ("said", 1), ("told", 2)):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")
        there = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (there + MOST_MEMORY,) * 2)
        _end_early()
        code = main(*words)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _end_early() -> None:
    """Where the work begins that may take long."""
    from semcom.commands import sweep_runner
    from semcom.data import piece_vocabulary
    from semcom.distillation import optimizer
    from semcom.models import decoding

    def end(*given: object, **named: object) -> NoReturn:
        raise NothingToDo(ENOUGH)

    optimizer.AdamW.step = end  # type: ignore[method-assign]
    decoding.Search.__call__ = end  # type: ignore[method-assign]
    piece_vocabulary.train_vocabulary = end
    sweep_runner.Runner.run = end  # type: ignore[method-assign]


def _wait(child: int) -> tuple[int, int]:
    until = time.monotonic() + 2 * LONGEST
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)


def wrong_with(found: Answer) -> str | None:
    """What is not as it should be."""
    lines = found.told.splitlines()
    if found.seconds > LONGEST:
        return f"it took {found.seconds:.0f} s"
    if found.code not in (0, 1, 2):
        return f"code {found.code}"
    if "Traceback" in found.told + found.said or "fault of the program" in found.told:
        return "a traceback, or a fault of the program"
    if found.code and (len(lines) != 1 or len(lines[0]) > LONGEST_LINE):
        return f"not one line of {LONGEST_LINE} characters: {len(lines)} lines"
    if found.code and not lines[0].isprintable():
        return "characters that are not for a terminal"
    return None


# --- mistakes


def flags_of(main: Callable[..., int], words: tuple[str, ...]) -> list[argparse.Action]:
    """Of the program that ``words`` call."""
    named = {distil: "distillation.py", analyse: "semantic_analysis.py", examples: "distillation_examples.py"}
    name = named.get(main) or f"python -m semcom {words[0]}"
    parser = dict(parsers.commands())[name]
    return [action for action in parser._actions if action.option_strings and action.nargs != 0]


def bad_value(action: argparse.Action, chance: random.Random) -> str:
    if action.type in (int, float) or action.dest in ("corpus_size", "seeds"):
        pool = NUMBERS
    elif action.choices is not None or action.dest.endswith("topics"):
        pool = NAMES
    else:
        pool = PATHS
    return chance.choice(pool if chance.random() < 0.9 else [*NUMBERS, *PATHS, *NAMES])


def mistaken(words: list[str], actions: list[argparse.Action], chance: random.Random) -> list[str]:
    """The words with one mistake more."""
    kind, place = chance.randrange(9), chance.randrange(len(words))
    action = chance.choice(actions)
    flag, value = action.option_strings[-1], bad_value(action, chance)
    if kind <= 2:
        return [*words, flag, value]
    if kind == 3:
        return [*words, f"{flag}={value}"]
    if kind == 4:
        return [*words, flag, *(bad_value(action, chance) for _ in range(chance.choice((2, 3, 50))))]
    if kind == 5:
        return [*words[:place], chance.choice([*PATHS, *NUMBERS, *WORDS]), *words[place + 1 :]]
    if kind == 6:
        return [*words[:place], chance.choice(WORDS), *words[place:]]
    if kind == 7:
        return [*words[:place], *words[place + 1 :]]
    return [*words[:place], misspelt(words[place], chance), *words[place + 1 :]]


def misspelt(word: str, chance: random.Random) -> str:
    at = chance.randrange(len(word) + 1)
    return chance.choice(
        (word[:at] + word[at + 1 :], word[:at] + chance.choice("-_xé，“") + word[at:], word.upper())
    )


def cases(count: int, seed: int) -> Iterator[tuple[Callable[..., int], list[str]]]:
    chance = random.Random(seed)
    actions = [flags_of(main, words) for main, words in BASES]
    for _ in range(count):
        number = chance.randrange(len(BASES))
        main, base = BASES[number]
        words = list(base)
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            words = mistaken(words, actions[number], chance) or ["--"]
        yield main, words


# --- the campaign


def make_files(folder: Path) -> None:
    """One of each kind that a flag may be given."""
    for name, seed in (("teacher.pt", 1), ("other.pt", 2)):
        train_tiny_teacher(folder, "--seed", seed, "--overwrite").rename(folder / name)
    words = ["--teacher-checkpoint", folder / "teacher.pt", "--steps", 2, "--output-path", folder / "run"]
    assert distil(*words, *COMMON, "--device", "cpu") == 0
    (folder / "folder").mkdir()
    (folder / "empty.pt").touch()
    (folder / "noise.pt").write_bytes(random.Random(0).randbytes(3000))
    (folder / "text.txt").write_text("\n".join(f"we support the report of number {i}" for i in range(300)))
    (folder / "vocab.json").write_text('{"token_to_idx": {"<PAD>": 0, "<START>": 1, "<END>": 2, "<UNK>": 3}}')
    (folder / "run.yaml").write_text("steps: 1\nsnr_range: -6,18\n")
    (folder / "loop").symlink_to("loop")
    (folder / "link.pt").symlink_to("teacher.pt")


def campaign(folder: Path, count: int, seed: int) -> Counter[str]:
    """So many commands; returns how they ended. Raises AssertionError in the end for those that are not as
    they should be."""
    files, place, codes = folder / "files", folder / "case", Counter[str]()
    files.mkdir()
    with contextlib.redirect_stdout(io.StringIO()):
        make_files(files)
    wrong = []
    for number, (main, words) in enumerate(cases(count, seed)):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(files, place, symlinks=True)
        found = answer(main, words, place)
        codes["the work would begin" if ENOUGH in found.said else f"code {found.code}"] += 1
        if reason := wrong_with(found):
            wrong.append(f"case {number}: {main.__name__} {shown(words)}: {reason}\n  {found.told[-2000:]}")
            print(wrong[-1], flush=True)
    assert not wrong, f"{len(wrong)} of {count}, seed {seed}:\n" + "\n".join(wrong)
    return codes


def shown(words: list[str]) -> str:
    return escape(
        " ".join(shlex.quote(word if len(word) < 200 else f"{word[:20]}…{len(word)}") for word in words)
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000, help="commands")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        codes = campaign(Path(folder), flags.count, flags.seed)
    told = ", ".join(f"{number} {how}" for how, number in sorted(codes.items()))
    print(f"{sum(codes.values())} commands in {time.monotonic() - started:.0f} s: {told}")


if __name__ == "__main__":
    main()
