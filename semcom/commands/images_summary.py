"""What the arms of an image pair come to: means, intervals, paired differences; as a table and as curves."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from semcom.commands.images_settings import KD, LABELS
from semcom.evaluation import frames, intervals
from semcom.evaluation.intervals import Estimate
from semcom.report import figures, tables
from semcom.report.cells import p_text
from semcom.report.look import Draw
from semcom.report.tables import Row

FEWEST_SEEDS = 3
"""That have an interval: of two, Student's t is 13 standard errors wide."""
ARMS_A_PICTURE = 5
"""Beside the teacher, as many as a picture has colours for."""
PICTURE = "images.png"
TITLE = "accuracy on validation images, %"
COMPARED = {"over_labels": LABELS, "over_kd": KD}


@dataclass(frozen=True)
class Line:
    """A model's test accuracy and its validation accuracy after the first epoch in %, its parameters, and its
    paired differences from labels alone and from kd in points; of each the Holm-adjusted p, of the family of
    its column."""

    model: str
    parameters: int
    accuracy: Estimate
    first_epoch: Estimate
    over_labels: Estimate | None = None
    over_labels_p: float | None = None
    over_kd: Estimate | None = None
    over_kd_p: float | None = None


def summarise(rows: Sequence[Row], teacher: str) -> list[Line]:
    """rows: ``model``, ``accuracy`` and ``first_epoch`` in % and ``parameters`` of each seed, seed by seed.
    teacher: the model that is compared with none."""
    accuracies: dict[str, list[float]] = {}
    first: dict[str, list[float]] = {}
    for row in rows:
        accuracies.setdefault(row["model"], []).append(row["accuracy"])
        first.setdefault(row["model"], []).append(row["first_epoch"])
    parameters = {row["model"]: row["parameters"] for row in rows}
    students = [name for name in accuracies if name != teacher]
    found: dict[str, dict[str, Any]] = {name: {} for name in accuracies}
    for column, base in COMPARED.items():
        if base not in students:
            continue
        gains = {
            name: _of_seeds([a - b for a, b in zip(accuracies[name], accuracies[base])])
            for name in students
            if name != base
        }
        adjusted = _adjusted(gains)
        for name, gain in gains.items():
            found[name] |= {column: gain, f"{column}_p": adjusted.get(name)}
    return [
        Line(name, parameters[name], _of_seeds(values), _of_seeds(first[name]), **found[name])
        for name, values in accuracies.items()
    ]


def _of_seeds(values: Sequence[float]) -> Estimate:
    estimate = intervals.estimate(values)
    return estimate if len(values) >= FEWEST_SEEDS else Estimate(estimate.mean, None, None, len(values))


def _adjusted(gains: Mapping[str, Estimate]) -> dict[str, float]:
    tested = {name: gain.p for name, gain in gains.items() if gain.p is not None}
    return dict(zip(tested, intervals.holm(list(tested.values()))))


def table(lines: Sequence[Line]) -> str:
    """As the console has it; without columns that are empty."""
    rows = [
        {
            "model": line.model,
            "parameters": f"{line.parameters:,}",
            "epoch 1, %": f"{line.first_epoch.mean:.1f}",
            "accuracy, %": f"{line.accuracy:.2f}",
            "over labels": _told(line.over_labels),
            "Holm p": _p(line.over_labels_p),
            "over kd": _told(line.over_kd),
            "Holm p ": _p(line.over_kd_p),
        }
        for line in lines
    ]
    frame = frames.frame_of(rows)
    return tables.text(frame.loc[:, frame.notna().any()])


def _told(gain: Estimate | None) -> str | None:
    return None if gain is None else f"{gain:.2f}"


def _p(p: float | None) -> str | None:
    return None if p is None else p_text(p)


def plain(lines: Sequence[Line]) -> list[dict[str, object]]:
    """As JSON has them."""
    return [asdict(line) for line in lines]


def percent(row: Row) -> float:
    """Validation accuracy of an epoch."""
    accuracy: float = row["accuracy"]
    return 100 * accuracy


def pictures(arms: Sequence[str]) -> dict[str, Sequence[str]]:
    """Names of pictures, and the arms whose curves each shows."""
    parts = [arms[first : first + ARMS_A_PICTURE] for first in range(0, len(arms), ARMS_A_PICTURE)]
    return {f"images_{number}.png" if number > 1 else PICTURE: part for number, part in enumerate(parts, 1)}


def curves(histories: Mapping[str, Sequence[Sequence[Row]]], teacher: str, level: Sequence[float]) -> Draw:
    """Validation accuracy by epoch, the mean over seeds and, from three on, the band of its interval.

    histories: of each arm and seed a row an epoch. level: the teacher's at its end, of each seed, in %.
    """
    lines: dict[str, figures.Curve] = {}
    for arm, of_seeds in histories.items():
        by_epoch = zip(*(map(percent, rows) for rows in of_seeds))
        lines[arm] = [(epoch, _of_seeds(values).interval) for epoch, values in enumerate(by_epoch, 1)]
    last = max(len(points) for points in lines.values())
    reached = _of_seeds(level).interval
    of_teacher = {teacher: [(1, reached), (last, reached)]}
    return figures.curves({TITLE: of_teacher | lines}, references=[teacher], across="epoch")
