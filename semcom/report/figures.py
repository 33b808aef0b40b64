"""What the report's figures show: each function fills axes of a matplotlib figure from plain numbers. Never
sees a model or a file.

Labels are in English in every language of the report: not every machine's fonts have Chinese.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from semcom.base.errors import escape
from semcom.evaluation.intervals import Interval

Draw = Callable[[Any], None]
Curve = Sequence[tuple[float, Interval]]
"""Points: place and value."""
Curves = Mapping[str, Curve]
MARKERS = "os^vD*Pxhp"
COLOURS = ("#1f5fa8", "#c8501e", "#2f8f4e", "#8a4fa3", "#b08a00", "#5b5b5b", "#d0447f", "#1a9ba1")
LINES = ("-", "--", ":", "-.")
BANDS_FOR = 5
"""Curves up to which each has its band; more would hide one another, and their intervals are in the table."""
NOISE = {"color": "#999999", "linestyle": "--"}
SNR = "SNR, dB per complex symbol"


def label(text: object) -> str:
    """A name for a legend: "$" would start mathematics in what may be a stranger's file name."""
    return escape(text).replace("$", r"\$")


def _panels(figure: Any, columns: int) -> list[Any]:
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    return list(axes)


def _style(number: int) -> dict[str, Any]:
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 4,
        "linewidth": 1.4,
        "linestyle": LINES[number // len(COLOURS) % len(LINES)],
    }


def curves(
    panels: Mapping[str, Curves],
    dashed: str | None = None,
    across: str = SNR,
    logarithmic: Sequence[str] = (),
) -> Draw:
    """One panel a title, in it a curve a name with the band of its intervals. dashed: the name of the
    channel's own noise."""

    def draw(figure: Any) -> None:
        # A name has one style in all panels, also where a panel leaves some out; so one legend holds for all.
        names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
        styles = {
            name: {**_style(number), **(NOISE | {"marker": ""} if name == dashed else {})}
            for number, name in enumerate(names)
        }
        axes, shown = _panels(figure, len(panels)), {}
        for axis, (title, lines) in zip(axes, panels.items()):
            for name, points in lines.items():
                style = styles[name]
                places, values = [x for x, _ in points], [interval.value for _, interval in points]
                (shown[name],) = axis.plot(places, values, **style)
                if len(lines) > BANDS_FOR:
                    continue
                axis.fill_between(
                    places,
                    [i.low for _, i in points],
                    [i.high for _, i in points],
                    color=style["color"],
                    alpha=0.15,
                    linewidth=0,
                )
            if title in logarithmic and all(
                interval.value > 0 for points in lines.values() for _, interval in points
            ):
                axis.set_yscale("log")
            if across == SNR:
                axis.set_xticks(sorted({x for points in lines.values() for x, _ in points}))
            axis.set(xlabel=label(across), title=label(title))
        figure.legend(
            [shown[name] for name in names],
            [label(name) for name in names],
            loc="outside lower center",
            ncols=4,
            fontsize="small",
            frameon=False,
        )

    return draw


def bars(groups: Mapping[str, Sequence[tuple[str, Interval]]], title: str) -> Draw:
    """Horizontal: for each class a point with its interval for every name; the first class on top."""

    def draw(figure: Any) -> None:
        (axis,) = _panels(figure, 1)
        classes = list(dict.fromkeys(name for points in groups.values() for name, _ in points))
        for number, (name, points) in enumerate(groups.items()):
            shift = 0.7 * ((number + 0.5) / len(groups) - 0.5)
            places = [len(classes) - 1 - classes.index(at) - shift for at, _ in points]
            errors = [[i.value - i.low for _, i in points], [i.high - i.value for _, i in points]]
            axis.errorbar(
                [i.value for _, i in points],
                places,
                xerr=errors,
                fmt=MARKERS[number % len(MARKERS)],
                markersize=4,
                capsize=2,
                color=COLOURS[number % len(COLOURS)],
                linewidth=1,
                label=label(name),
            )
        axis.set_yticks(range(len(classes)), [label(name) for name in reversed(classes)])
        axis.set(xlabel=title)
        axis.legend(fontsize="x-small", frameon=False)

    return draw


def effects(panels: Mapping[str, Curves]) -> Draw:
    """``curves`` of effects, with a line at none."""
    inner = curves(panels)

    def draw(figure: Any) -> None:
        inner(figure)
        for axis in figure.axes:
            axis.axhline(0, color="black", linewidth=0.8)

    return draw


def constellations(symbols: Mapping[str, Any]) -> Draw:
    """The transmitted complex symbols of each transmitter, [M, 2] of unit mean power, on one scale."""

    def draw(figure: Any) -> None:
        for axis, (name, points) in zip(_panels(figure, len(symbols)), symbols.items()):
            axis.plot(points[:, 0], points[:, 1], ".", markersize=1.5, alpha=0.4, color=COLOURS[0])
            axis.set(
                title=label(name),
                xlabel="in phase",
                ylabel="quadrature",
                xlim=(-3, 3),
                ylim=(-3, 3),
                aspect="equal",
            )

    return draw


def scatter(points: Mapping[str, Sequence[tuple[float, float, str]]], across: str, up: str) -> Draw:
    """Points by group: x, y and what to write beside it."""

    def draw(figure: Any) -> None:
        (axis,) = _panels(figure, 1)
        for number, (name, group) in enumerate(points.items()):
            style = _style(number) | {"linestyle": "none"}
            axis.plot([x for x, *_ in group], [y for _, y, _ in group], label=label(name), **style)
            for x, y, text in group:
                axis.annotate(
                    label(text), (x, y), textcoords="offset points", xytext=(4, 3), fontsize="xx-small"
                )
        axis.set(xlabel=across, ylabel=up)
        axis.legend(fontsize="x-small", frameon=False)

    return draw


def training(history: Sequence[Mapping[str, Any]], unit: str = "token") -> Draw:
    """Loss with its parts, validation cross-entropy, learning rate and, where it is known, temperature, by
    epoch. unit: what a row is."""

    def draw(figure: Any) -> None:
        shown = [
            (
                f"training loss, nats a {unit}",
                [
                    n
                    for n in history[0]
                    if n == "loss" or (n.startswith("train_") and n != "train_complementary")
                ],
            ),
            (f"validation cross-entropy, nats a {unit}", ["validation"]),
            ("learning rate", ["lr"]),
        ]
        if history[0].get("temperature") is not None:
            shown.append(("temperature", ["temperature"]))
        epochs = [row["epoch"] for row in history]
        for axis, (title, names) in zip(_panels(figure, len(shown)), shown):
            for number, name in enumerate(names):
                axis.plot(
                    epochs,
                    [row.get(name) for row in history],
                    label=label(name.removeprefix("train_")),
                    **_style(number),
                )
            axis.set(title=title, xlabel="epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
            if len(names) > 1:
                axis.legend(fontsize="x-small", frameon=False)

    return draw


def trainings(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> Draw:
    """``training`` of several runs, a curve each, without the parts of the loss."""

    def draw(figure: Any) -> None:
        names = {
            "loss": "training loss, nats a token",
            "validation": "validation cross-entropy, nats a token",
            "lr": "learning rate",
            "temperature": "temperature",
        }
        shown = {
            name: title
            for name, title in names.items()
            if any(row.get(name) is not None for history in histories.values() for row in history)
        }
        axes = _panels(figure, len(shown))
        for axis, (name, title) in zip(axes, shown.items()):
            for number, (run, history) in enumerate(histories.items()):
                axis.plot(
                    [row["epoch"] for row in history],
                    [row.get(name) for row in history],
                    label=label(run),
                    **_style(number),
                )
            axis.set(title=title, xlabel="epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
        axes[0].legend(fontsize="x-small", frameon=False)

    return draw


def audit(rows: Sequence[Mapping[str, Any]], reference: float) -> Draw:
    """What each habit of an audit moves the score by at the SNR ``reference``, as a waterfall, and the scores
    over SNR.

    rows: ``row``, ``habit``, ``snr``, ``score`` and ``change`` (None: stands on the ground), in the order of
    the habits.
    """

    def draw(figure: Any) -> None:
        falls, lines = _panels(figure, 2)
        here = [row for row in rows if row["snr"] == reference]
        for place, row in enumerate(here):
            whole = row["change"] is None or place == len(here) - 1
            start, length = (0.0, row["score"]) if whole else (row["score"] - row["change"], row["change"])
            colour = COLOURS[0] if whole else COLOURS[2] if length >= 0 else COLOURS[1]
            falls.barh(place, length, left=start, height=0.6, color=colour)
            told = f"{row['score']:.1f}" + ("" if row["change"] is None else f" ({row['change']:+.1f})")
            falls.text(max(start, row["score"]), place, f" {told}", va="center", fontsize="small")
        falls.set_yticks(range(len(here)), [label(f"{row['row']}  {row['habit']}") for row in here])
        falls.invert_yaxis()
        falls.set_xticks(range(0, 101, 20))
        falls.set(xlim=(0, 125), xlabel="score, 0 to 100", title=f"at {reference:g} dB")
        for number, name in enumerate(dict.fromkeys(row["row"] for row in rows)):
            points = sorted((row["snr"], row["score"]) for row in rows if row["row"] == name)
            lines.plot(*zip(*points), label=f"row {name}", **_style(number))
        lines.set_xticks(sorted({row["snr"] for row in rows}))
        lines.set(xlabel="SNR label, dB", title="score, 0 to 100")
        lines.legend(fontsize="small", frameon=False)

    return draw


def link(
    gains: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
    realised: Sequence[tuple[str, float, float, float]],
    tolerance: float,
) -> Draw:
    """A channel beside its theory: shares of fading gains below x, realised SNRs, and their differences with
    95 % intervals.

    gains: channel -> (x, measured, theory). realised: (channel, nominal, realised, half of its interval), in
    dB. tolerance: what a right link may be off, in dB.
    """

    def draw(figure: Any) -> None:
        fades, levels, errors = _panels(figure, 3)
        for number, (name, (x, measured, theory)) in enumerate(gains.items()):
            colour = COLOURS[number + 1]
            fades.plot(x, theory, color=colour, linewidth=5, alpha=0.3, label=f"{label(name)}, theory")
            fades.plot(x, measured, color=colour, linewidth=1, label=f"{label(name)}, measured")
        fades.set(xscale="log", yscale="log", ylim=(5e-4, 1.5), xlabel="x", title="share of |h|² below x")
        fades.legend(fontsize="small", frameon=False)
        nominals, names = (
            sorted({nominal for _, nominal, *_ in realised}),
            list(dict.fromkeys(name for name, *_ in realised)),
        )
        levels.plot(nominals, nominals, color="black", linewidth=0.8)
        errors.axhspan(-tolerance, tolerance, color="#999999", alpha=0.15, linewidth=0)
        errors.axhline(0, color="black", linewidth=0.8)
        for number, name in enumerate(names):
            points = sorted(values for channel, *values in realised if channel == name)
            style = {**_style(number), "linestyle": ""}
            levels.plot(
                [x for x, *_ in points], [y for _, y, _ in points], **style, label=label(name), alpha=0.6
            )
            aside = (
                (number - (len(names) - 1) / 2) * 0.04 * max(1.0, nominals[-1] - nominals[0])
            )  # intervals side by side
            errors.errorbar(
                [x + aside for x, *_ in points],
                [y - x for x, y, _ in points],
                [half for *_, half in points],
                capsize=3,
                **style,
            )
        for axis, title in ((levels, "realised SNR, dB"), (errors, "realised less nominal, dB")):
            axis.set_xticks(nominals)
            axis.set(xlabel="nominal SNR, dB per complex symbol", title=title)
        levels.legend(fontsize="small", frameon=False)

    return draw


def temperature_effect(rows: Mapping[float, Sequence[float]], pieces: Sequence[str]) -> Draw:
    """A teacher's distribution over its most probable ``pieces`` at several temperatures."""

    def draw(figure: Any) -> None:
        (axis,) = _panels(figure, 1)
        width = 0.8 / len(rows)
        for number, (temperature, probabilities) in enumerate(rows.items()):
            places = [place + width * (number - (len(rows) - 1) / 2) for place in range(len(pieces))]
            axis.bar(
                places,
                probabilities,
                width=width,
                color=COLOURS[number % len(COLOURS)],
                label=f"T={temperature:g}",
            )
        axis.set_xticks(
            range(len(pieces)), [label(piece) for piece in pieces], rotation=30, ha="right", fontsize="small"
        )
        axis.set(ylabel="probability", yscale="log")
        axis.legend(fontsize="x-small", frameon=False)

    return draw


def temperature_rows(
    logits: Sequence[float], temperatures: Sequence[float], shown: int
) -> tuple[dict[float, list[float]], list[int]]:
    """Probabilities of the ``shown`` most probable of logits [V] at each temperature, and which pieces they
    are."""
    import numpy as np

    logits = logits.detach().cpu() if hasattr(logits, "detach") else logits
    logits = np.asarray(logits, dtype=np.float64)
    best = np.argsort(-logits, kind="stable")[:shown]
    rows = {}
    for temperature in temperatures:
        p = np.exp((logits - logits.max()) / temperature)
        rows[float(temperature)] = (p[best] / p.sum()).tolist()
    return rows, best.tolist()
