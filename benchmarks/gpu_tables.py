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
    for name, part in found["parts"].items():
        lines += [f"### {name[:1].upper()}{name[1:]}", ""]
        lines += TABLES.get(name, times)(part["rows"], found["peak"])
        if part["error"]:
            lines += [f"Not all of it: {part['error']}.", ""]
    return "\n".join(lines)


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
