"""Golden numbers: what is read out of a command's console and files, and how two readings are compared.

A reading is ``source -> key -> value``. A source is a command's console or a file. A value is a number, a
text, a list of them (a column), or for a column of more than ``LISTED`` the dictionary count, sum and digest.

Left out are ``IGNORED_KEYS``, ``IGNORED_ENDINGS``, ``NOT_NUMBERS`` and ``CACHE``, each with its reason; all
words that are printed; pixels of pictures; and what a page holds: its tables are the report's Markdown
and CSV.
"""

import csv
import hashlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import torch

Value = float | int | bool | str | None | list | dict
Reading = dict[str, dict[str, Value]]

LISTED = 24
"""Longest column of a file that is kept value by value; of a longer one count, sum and digest are."""
PRINTED = 150
"""The same for the numbers that a command prints."""

IGNORED_KEYS = {
    # What differs from machine to machine, or from version to version of what is installed.
    "semcom",
    "python",
    "torch",
    "numpy",
    "sentencepiece",
    "sacrebleu",
    "matplotlib",
    "scipy",
    "scikit-learn",
    "sionna",
    "without_sionna",
    "bleu_signature",
    "platform",
    "host",
    "processes",
    "threads",
    "gpu",
    "commit",
    "date",
    # What it took to save what --resume goes on from.
    "state_saves",
    # Milliseconds that a model takes.
    "latency_ms",
    "latency_ms_ratio",
    # Checkpoints hold how they were made, the commit among it.
    "digests",
}
IGNORED_ENDINGS = ("seconds", "_per_second")
"""Keys that end so hold times and speeds."""

CACHE = "checkpoints/cache/"
"""Files below it only save a later command time; they are no result."""

NOT_NUMBERS = [
    r"of these .* for saving its state, .*",  # what keeping the state has cost
    r"\d+\.\d+\.\d+\S*",  # versions
    r"\b\d{4}-\d\d-\d\d(?: \d\d:\d\d(?: [+-]\d{4})?)?\b",  # dates, with the time of day
    r"\b\d[\d,]*(?:\.\d+)? ?\w+/s\b",  # speeds (tokens/s)
    r"\S*\w/\S+",  # paths
    r"\S+\.(?:pt|pth|json|csv|png|svg|md|tex|html|pkl|txt|model)\b",  # files
    r"\b[0-9a-f]{16}\b",  # fingerprints; the JSON files hold them too
    r"for saving its state, \S+ MB, (?:once|\d+ times)",  # by the clock
    r"\b\d[\d,]*(?:\.\d+)? ?(?:s|ms|min)\b",  # durations
]
"""What looks like a number in printed text and is none of a run's results."""

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")

# --- on another machine
ROUNDING = 0.01
"""Another machine's floats may differ by this share, or by this much where they are under 1 (absolute)."""
JUMPING = {
    # of decoded sentences, in which one piece more or less is right
    "bleu",
    "exact",
    "accuracy",
    "agreement",
    "score",
    "change",
    "lost",
    "recall",
    "others",
    "cost",
    "bias",
    # of ranks, counts and thresholds
    "p",
    "rho",
    "trend",
    "trends",
    "gap",
    "price",
    "level",
    "above",
    "below",
    "least",
    "most",
    "unbounded",
    "epoch",
    # of a difference, or a ratio to a noise, that may be nearly 0
    "over",
    "noise",
    "effects",
    "representations",
    "distance",
    "low",
    "high",
}
"""Files and keys with one of these words hold what another rounding can move by a step."""
MEASURED = (".json", ".csv")
"""Only numbers of such files are compared with another machine's, not consoles, tables and weights."""


def numbers_of(text: str) -> list[float]:
    """The numbers printed in ``text``, in order."""
    for pattern in NOT_NUMBERS:
        text = re.sub(pattern, " ", text)
    return [float(found.replace(",", "")) for found in NUMBER.findall(text.replace("−", "-"))]


def ignored(name: str) -> bool:
    return name in IGNORED_KEYS or name.endswith(IGNORED_ENDINGS)


def column(values: list, listed: int = LISTED) -> Value:
    """``values`` themselves, or what stands for them where they are more than ``listed``."""
    if len(values) <= listed:
        return values
    digest = hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
    return {"count": len(values), "sum": math.fsum(v for v in values if _is_number(v)), "digest": digest}


def leaves(tree: object, path: str = "") -> Iterator[tuple[str, Value]]:
    """(key path, leaf) of what JSON holds; the items of a list have one path, ``name[]``."""
    if isinstance(tree, dict):
        for name, branch in tree.items():
            if not ignored(name):
                yield from leaves(branch, f"{path}.{name}" if path else name)
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from leaves(item, f"{path}[]")
    else:
        yield path, tree


def columns_of(tree: object) -> dict[str, Value]:
    """Key path -> column of its leaves."""
    found: dict[str, list] = {}
    for path, leaf in leaves(tree):
        found.setdefault(path, []).append(leaf)
    return {path: column(values) for path, values in found.items()}


def _of_csv(path: Path) -> dict[str, Value]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    kept = [(n, name) for n, name in enumerate(header) if not ignored(name)]
    return {name: column([_cell(row[n]) for row in rows]) for n, name in kept}


def _cell(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _of_tables(path: Path, mark: str) -> dict[str, Value]:
    """Numbers of the lines of a Markdown or LaTeX file that hold cells, told by ``mark`` between them."""
    rows = [line for line in path.read_text(encoding="utf-8").splitlines() if mark in line]
    return {"numbers": column(numbers_of("\n".join(rows)))}


def _of_tensors(path: Path) -> dict[str, Value]:
    """Key path -> dtype, shape and the first 16 digits of the SHA-256 of each tensor's bytes."""
    found = leaves(torch.load(path, map_location="cpu", weights_only=True))
    return {name: tensor_digest(leaf) for name, leaf in found if isinstance(leaf, torch.Tensor)}


def tensor_digest(tensor: torch.Tensor) -> str:
    content = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    shape = "x".join(map(str, tensor.shape))
    return f"{str(tensor.dtype).removeprefix('torch.')} {shape} {hashlib.sha256(content).hexdigest()[:16]}"


def read(path: Path) -> dict[str, Value]:
    """What is kept of a file: of pictures and pages only that they are there."""
    match path.suffix:
        case ".json":
            return columns_of(json.loads(path.read_text(encoding="utf-8")))
        case ".csv":
            return _of_csv(path)
        case ".md":
            return _of_tables(path, " | ")
        case ".tex":
            return _of_tables(path, " & ")
        case ".pt" | ".pth":
            return _of_tensors(path)
        case ".model":
            return {"digest": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}
        case _:
            return {"exists": True}


# --- comparison


def size(value: Value) -> int:
    """How many values ``value`` stands for."""
    return value["count"] if isinstance(value, dict) else len(value) if isinstance(value, list) else 1


def differences(recorded: Reading, now: Reading, exact: bool) -> tuple[list[tuple[str, ...]], list[str], int]:
    """(what differs as source, key, recorded, now; what is new and no difference; number of values compared).

    exact: to the bit. Else what another machine may round differently is compared loosely, or not at all.
    """
    found, notes, compared = [], [], 0
    for source, keys in recorded.items():
        if source not in now:
            found.append((source, "", "written", "missing"))
            continue
        for key, wanted in keys.items():
            if key not in now[source]:
                found.append((source, key, _short(wanted), "missing"))
                continue
            held = exact or _holds_elsewhere(source, key)
            compared += size(wanted) if held else 0
            if held and (difference := _difference(wanted, now[source][key], exact)):
                where, *both = difference
                found.append((source, f"{key}{where}", *map(_short, both)))
        notes += [f"{source}: {key}" for key in now[source].keys() - keys.keys()]
    notes += [source for source in now.keys() - recorded.keys()]
    return found, sorted(notes), compared


def _holds_elsewhere(source: str, key: str) -> bool:
    if key == "exit":
        return True
    words = set(re.findall(r"[a-z]+", f"{Path(source).name} {key}".lower()))
    return source.endswith(MEASURED) and not words & JUMPING


def _difference(wanted: Value, now: Value, exact: bool) -> tuple[str, Value, Value] | None:
    """(place, recorded, now) of the first difference, or None."""
    if isinstance(wanted, dict) and isinstance(now, dict) and not exact:
        wanted, now = {"count": wanted["count"]}, {"count": now["count"]}
    if isinstance(wanted, list) and isinstance(now, list) and len(wanted) == len(now):
        for n, (first, second) in enumerate(zip(wanted, now)):
            if not _same(first, second, exact):
                return f" [{n}]", first, second
        return None
    return None if _same(wanted, now, exact) else ("", wanted, now)


def _same(wanted: Value, now: Value, exact: bool) -> bool:
    if not exact and _is_number(wanted) and _is_number(now):
        return math.isclose(wanted, now, rel_tol=ROUNDING, abs_tol=ROUNDING)
    if not exact and isinstance(wanted, str) and isinstance(now, str):
        return True  # fingerprints and decoded sentences among them
    return wanted == now


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Value) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
