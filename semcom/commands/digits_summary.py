"""What the seeds of the image setting come to: means, intervals, paired differences; as tables and panels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from semcom.commands.digits_plan import LABELS_ALONE, Plan
from semcom.commands.digits_students import BIASED, FEW, STUDENT, TEACHER, UNSEEN_CLASS
from semcom.evaluation import frames
from semcom.evaluation.intervals import Estimate, estimate, paired
from semcom.report import tables
from semcom.report.tables import Row


@dataclass(frozen=True)
class FewLabels:
    """A method's test accuracy in %, and its paired differences from labels alone and from kd in points."""

    method: str
    accuracy: Estimate
    over_labels: Estimate | None
    over_kd: Estimate | None
    parameters: int


@dataclass(frozen=True)
class UnseenClass:
    """Of a class that the student never sees: recall of it and accuracy on the others in %, what the bias on
    its logit costs these in points, and the bias."""

    hidden: int
    model: str
    recall: Estimate
    others: Estimate
    cost: Estimate | None
    bias: Estimate | None


Line = FewLabels | UnseenClass
COLUMNS = {"over_labels": "over labels", "over_kd": "over kd", "hidden": "class"}


@dataclass(frozen=True)
class Summary:
    few_labels: list[FewLabels]
    unseen_class: list[UnseenClass]


def summarise(rows: Sequence[Row]) -> Summary:
    """rows: of ``digits_students.measure``, of all seeds."""
    frame = pd.DataFrame(list(rows))
    return Summary(
        few_labels(frame[frame["experiment"] == FEW]),
        unseen_class(frame[frame["experiment"] == UNSEEN_CLASS]),
    )


def few_labels(frame: pd.DataFrame) -> list[FewLabels]:
    """A line for each method."""
    accuracies = {str(name): group["accuracy"].tolist() for name, group in frame.groupby("model", sort=False)}
    parameters = frame.groupby("model")["parameters"].first()

    def over(name: str, other: str) -> Estimate | None:
        comparable = other in accuracies and name not in (other, TEACHER)
        return paired(accuracies[name], accuracies[other]) if comparable else None

    return [
        FewLabels(name, estimate(ours), over(name, LABELS_ALONE), over(name, "kd"), int(parameters.loc[name]))
        for name, ours in accuracies.items()
    ]


def unseen_class(frame: pd.DataFrame) -> list[UnseenClass]:
    """Three lines for each hidden class."""
    lines = []
    hidden_classes = frame["hidden"].unique().tolist() if len(frame) else []
    for hidden in hidden_classes:
        group = frame[frame["hidden"] == hidden]
        models = {name: group[group["model"] == name] for name in (TEACHER, STUDENT, BIASED)}
        unbiased = models[STUDENT]["others"].tolist()
        for name, found in models.items():
            recall, others, bias = (found[column].tolist() for column in ("recall", "others", "bias"))
            is_biased = name == BIASED
            lines.append(
                UnseenClass(
                    int(hidden),
                    name,
                    estimate(recall),
                    estimate(others),
                    paired(unbiased, others) if is_biased else None,
                    estimate(bias) if is_biased else None,
                )
            )
    return lines


def describe(plan: Plan, seeds: int, summary: Summary) -> str:
    """The tables on the console."""
    parts = [
        f"few labels: accuracy in % on the same {plan.test} test images, mean and 95 % interval over {seeds} "
        f"seed{'s' * (seeds > 1)};\ndifferences are paired by seed, in points",
        _table(summary.few_labels),
    ]
    if plan.hidden:
        parts += [
            "",
            "a class that the student never sees: recall of it and accuracy on the other nine, in %;\n"
            "cost is what the bias on its logit, chosen on validation, takes from the others, in points",
            _table(summary.unseen_class),
        ]
    return "\n".join(parts)


def _table(lines: Sequence[Line]) -> str:
    return tables.text(frames.frame_of([_shown(line) for line in lines]))


def _shown(line: Line) -> dict[str, object]:
    cells = _cells(line)
    return {name: f"{cell:.2f}" if isinstance(cell, Estimate) else cell for name, cell in cells.items()}


def _cells(line: Line) -> dict[str, object]:
    return {COLUMNS.get(name, name): value for name, value in vars(line).items()}


def plain(lines: Sequence[Line]) -> list[dict[str, object]]:
    """As JSON has them."""
    return [
        {name: asdict(cell) if isinstance(cell, Estimate) else cell for name, cell in _cells(line).items()}
        for line in lines
    ]


def panels(summary: Summary) -> Mapping[str, list[tuple[str, float, float | None]]]:
    """Title -> what stands in it, mean and half of its interval."""
    accuracies = [(line.method, line.accuracy) for line in summary.few_labels]
    found = {"few labels: test accuracy, %": accuracies}
    for line in summary.unseen_class:
        panel = found.setdefault(f"digit {line.hidden} never seen, %", [])
        panel.append((f"{line.model}, digit {line.hidden}", line.recall))
        panel.append((f"{line.model}, the others", line.others))
    return {title: [(name, of.mean, of.half_width) for name, of in panel] for title, panel in found.items()}
