"""What ``gpu.py`` has found, as Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence

Row = Mapping


def markdown(found: Mapping) -> str:
    """found: as ``gpu.py`` writes it to JSON."""
    memory = f", {found['memory'] / 1e9:.0f} GB" if "memory" in found else ""
    peak = f", {found['peak'] / 1e12:.0f} TFLOP/s of dense bf16" if found["peak"] else ""
    lines = [
        f"`{found['command']}` at {found['commit']}: {found['card']}{memory}{peak}; torch {found['torch']}, "
        f"CUDA {found['cuda']}; {found['cpu']}",
        "",
    ]
    lines += against_peers(found["parts"])
    for name, part in found["parts"].items():
        lines += [f"### {name[:1].upper()}{name[1:]}", ""]
        lines += TABLES.get(name, times)(part["rows"], found["peak"])
        if part["error"]:
            lines += [f"Not all of it: {part['error']}.", ""]
    return "\n".join(lines)


def against_peers(parts: Mapping[str, Mapping]) -> list[str]:
    """Of each work our fastest side beside the fastest of the others, whatever their products. A beam, which
    decodes other tokens, and a graph, which the program does not use, do not count."""
    made = []
    for part, found in parts.items():
        timed = [row for row in found["rows"] if "seconds" in row and "side" in row]
        timed = [row for row in timed if not any(word in row["side"] for word in ("beam", "graph"))]
        for work in dict.fromkeys(row["work"] for row in timed):
            own = [row for row in timed if row["work"] == work]
            ours = min((row for row in own if is_ours(row)), key=seconds_of, default=None)
            peer = min((row for row in own if not is_ours(row)), key=seconds_of, default=None)
            if ours and peer:
                ratio = f"{peer['seconds'] / ours['seconds']:.2f}"
                made.append([f"{part}: {work}", named(ours), named(peer), ratio])
    return table(("work", "our fastest", "fastest peer", "times as fast"), made) if made else []


def is_ours(row: Row) -> bool:
    return row["side"].startswith("ours")


def seconds_of(row: Row) -> float:
    return row["seconds"]


def named(row: Row) -> str:
    return f"{row['side']}, {row['kind']}: {1e3 * row['seconds']:,.2f} ms"


def outcomes(rows: Sequence[Row], peak: float | None) -> list[str]:
    """Of the tests: how many passed, and which did not."""
    counts = {name: sum(row["outcome"] == name for row in rows) for name in ("passed", "failed", "skipped")}
    lines = [", ".join(f"{number} {name}" for name, number in counts.items()) + ".", ""]
    wrong = [row for row in rows if row["outcome"] in ("failed", "error")]
    lines += [
        f"- {' '.join(filter(None, (row['test'], row.get('error'))))}: {row['outcome']}" for row in wrong
    ]
    return [*lines, *[""] * bool(wrong)]


def times(rows: Sequence[Row], peak: float | None) -> list[str]:
    """A table for each work and shape; ratios are to its first row that has a time."""
    lines: list[str] = []
    for work, shape in dict.fromkeys((row["work"], row["shape"]) for row in rows):
        own = [row for row in rows if (row["work"], row["shape"]) == (work, shape)]
        base = next((row["seconds"] for row in own if "seconds" in row), None)
        head = (
            "side",
            "products",
            "ms",
            "tokens/s",
            "times as fast",
            "peak memory, GB",
            "of the peak",
            "apart",
            "first, s",
        )
        lines += [f"{work}: {shape}, {own[0]['tokens']:,} target tokens", ""]
        lines += table(head, [line_of(row, base, peak) for row in own])
    return lines


def line_of(row: Row, base: float | None, peak: float | None) -> list[str]:
    if "seconds" not in row:
        return [row["side"], row["kind"], row.get("error", ""), *[""] * 6]
    seconds = row["seconds"]
    of_peak = row["flops"] / seconds / peak if peak and row.get("flops") else None
    return [
        row["side"],
        row["kind"],
        f"{1e3 * seconds:,.2f}",
        f"{row['tokens'] / seconds:,.0f}",
        f"{base / seconds:.2f}" if base else "",
        written(row["peak"], lambda peak: f"{peak / 1e9:.2f}"),
        written(of_peak, lambda share: f"{share:.1%}"),
        written(row.get("apart"), lambda apart: f"{apart:.1e}")
        + (f" {row['error']}" if "error" in row else ""),
        f"{row['first']:.1f}",
    ]


def profiles(rows: Sequence[Row], peak: float | None) -> list[str]:
    lines: list[str] = []
    for row in rows:
        lines += [
            f"Our step in bf16, {row['work']}: {1e3 * row['seconds']:.2f} ms, the device at work in "
            f"{row['busy']:.0%} of it",
            "",
        ]
        lines += table(("kernel", "ms a step"), [[name, f"{1e3 * s:.3f}"] for name, s in row["longest"]])
    return lines


def written(value: float | None, form: Callable[[float], str]) -> str:
    return "" if value is None else form(value)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    names = list(head)
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    lines = [names, ["---"] * len(names), *cells]
    return [*("| " + " | ".join(line) + " |" for line in lines), ""]


TABLES: dict[str, Callable[[Sequence[Row], float | None], list[str]]] = {
    "tests": outcomes,
    "profile": profiles,
}
