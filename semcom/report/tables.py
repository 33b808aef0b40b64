"""Rows of plain numbers and strings to console tables, CSV and pictures. Never sees a model."""

import csv
import io
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from semcom.base.errors import escape
from semcom.base.output_files import write_atomically
from semcom.report import figures

Row = Mapping[str, object]


def table(rows: Sequence[Sequence[object]], header: Sequence[str], decimals: int | None = None) -> str:
    """Aligned columns: text to the left, numbers to the right, as many decimals in all of a column; None is a
    dash."""
    places = [
        _decimals([row[i] for row in rows]) if decimals is None else decimals for i in range(len(header))
    ]
    cells = [[_cell(value, d) for value, d in zip(row, places)] for row in rows]
    widths = [max(text_width(line[i]) for line in [list(header), *cells]) for i in range(len(header))]
    numeric = [
        all(isinstance(row[i], (int, float)) or row[i] is None for row in rows) for i in range(len(header))
    ]

    def line(values: Sequence[str]) -> str:
        spaces = [" " * (w - text_width(v)) for v, w in zip(values, widths)]
        return "  ".join(
            space + v if n else v + space for v, space, n in zip(values, spaces, numeric)
        ).rstrip()

    return "\n".join([line(header), "  ".join("-" * w for w in widths), *map(line, cells)])


def text_width(text: str) -> int:
    """Columns of a terminal; Chinese takes two a character."""
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in text)


def _decimals(values: Sequence[object]) -> int:
    numbers = [abs(v) for v in values if isinstance(v, float)]
    if all(v == round(v) for v in numbers) and max(numbers, default=0) > 1:
        return 0
    return 2 if max(numbers, default=0) >= 10 else 4


def _cell(value: object, decimals: int) -> str:
    if value is None:
        return "-"
    return f"{value:.{decimals}f}" if isinstance(value, float) else escape(value)


def pivot(
    rows: Sequence[Row], index: str, column: str, value: str, label: Callable[[object], str] = "{:g}".format
) -> str:
    """A table of ``value`` with one line per ``index`` and one column per ``column``, both in order of
    appearance."""
    lines = list(dict.fromkeys(row[index] for row in rows))
    columns = list(dict.fromkeys(row[column] for row in rows))
    found = {(row[index], row[column]): row[value] for row in rows}
    return table(
        [[line, *(found.get((line, c)) for c in columns)] for line in lines],
        [index, *map(label, columns)],
        _decimals(list(found.values())),
    )


def write_csv(path: str | Path, rows: Sequence[Row]) -> None:
    """All rows, columns in order of first appearance. Text that a spreadsheet would run as a formula is
    quoted."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([spreadsheet_safe(row.get(name)) for name in columns])
    write_atomically(path, buffer.getvalue())


def spreadsheet_safe(value: object) -> object:
    """``value`` for a cell of CSV: text that a spreadsheet would run as a formula is quoted, None is
    empty."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠"):
        return "'" + value
    return "" if value is None else value


def _figure(columns: int, height: float = 3.6, width: float = 4.6):
    # Without pyplot, whose backend is the user's choice: a notebook's pictures stay in the notebook.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.grid(alpha=0.3)
    return figure, axes


def _save(figure, path: str | Path) -> None:
    buffer, vector = io.BytesIO(), Path(path).suffix == ".svg"
    figure.savefig(
        buffer, format="svg" if vector else "png", dpi=130, metadata={"Date": None} if vector else None
    )
    write_atomically(path, buffer.getvalue())


def plot_training_curves(history: Sequence[Row], path: str | Path, unit: str = "token") -> None:
    """Loss with its parts, validation cross-entropy (where there was one), learning rate and, where it is
    known, temperature by epoch, as a PNG. unit: what a row is."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.0, 3.6), layout="constrained")
    figures.training(history, unit)(figure)
    _save(figure, path)


def plot_temperature_effect(
    logits: Sequence[float],
    path: str | Path,
    temperatures: Sequence[float] = (1, 2, 4, 8, 16),
    pieces: Sequence[str] | None = None,
    shown: int = 8,
) -> None:
    """What the temperature does to a teacher's distribution, as a PNG: the ``shown`` most probable of its
    logits [V] at each.

    pieces: names of all V; their numbers where there are none.
    """
    from matplotlib.figure import Figure

    rows, best = figures.temperature_rows(logits, temperatures, shown)
    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    figures.temperature_effect(rows, [pieces[i] if pieces is not None else str(i) for i in best])(figure)
    _save(figure, path)


def plot_by_snr(rows: Sequence[Row], measures: Mapping[str, str], path: str | Path) -> None:
    """One panel per measure (name -> title), one curve per model over SNR, as a PNG."""
    figure, axes = _figure(len(measures))
    for axis, (name, title) in zip(axes, measures.items()):
        axis.set_xticks(sorted({row["snr"] for row in rows}))
        for number, model in enumerate(dict.fromkeys(row["model"] for row in rows)):
            points = sorted(
                (row["snr"], row[name]) for row in rows if row["model"] == model and row.get(name) is not None
            )
            marker = "os^vD*"[number % 6]
            # "$" would start mathematics in a label that may come from a stranger's file name.
            axis.plot(
                *zip(*points), marker=marker, ms=4, label=escape(model).replace("$", r"\$")
            ) if points else None
        axis.set(xlabel="SNR, dB per complex symbol", title=title)
    axes[0].legend(fontsize="small")
    _save(figure, path)


def plot_intervals(
    panels: Mapping[str, Sequence[tuple[str, float, float | None]]],
    path: str | Path,
    *,
    mark: float | None = None,
) -> None:
    """One panel a title, in it a line for each (name, mean, half of its interval or None), the first on top;
    a PNG, or an SVG where ``path`` ends so.

    mark: a value to compare with.
    """
    # Names stand beside the axes, and leave room for the title above them.
    longest = max(len(name) for lines in panels.values() for name, *_ in lines)
    figure, axes = _figure(
        len(panels), height=1 + 0.3 * max(map(len, panels.values())), width=3.6 + 0.08 * longest
    )
    for axis, (title, lines) in zip(axes, panels.items()):
        places = range(len(lines), 0, -1)
        if mark is not None:
            axis.axvline(mark, color="black", lw=0.8)
        axis.errorbar(
            [mean for _, mean, _ in lines],
            places,
            xerr=[half or 0 for *_, half in lines],
            fmt="o",
            ms=4,
            capsize=3,
        )
        axis.set_yticks(places, [escape(name).replace("$", r"\$") for name, *_ in lines])
        axis.set_title(title, fontsize="medium")
    _save(figure, path)


def plot_audit(rows: Sequence[Row], reference: float, path: str | Path) -> None:
    """``figures.audit`` as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14.0, 1.6 + 0.36 * len({row["row"] for row in rows})), layout="constrained")
    figures.audit(rows, reference)(figure)
    _save(figure, path)


def plot_link(
    gains: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
    realised: Sequence[tuple[str, float, float, float]],
    tolerance: float,
    path: str | Path,
) -> None:
    """``figures.link`` as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.0, 3.8), layout="constrained")
    figures.link(gains, realised, tolerance)(figure)
    _save(figure, path)
