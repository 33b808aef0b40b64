"""The history that ``Distiller.fit`` returns: a row an epoch, and columns by their names."""

from typing import Any

from semcom.base.advice import meant
from semcom.base.errors import SemcomError, shown

Row = dict[str, float | None]

COLUMNS = {
    "acc": "accuracy",
    "test_acc": "accuracy",
    "test_accuracy": "accuracy",
    "val_acc": "accuracy",
    "val_accuracy": "accuracy",
    "test_loss": "validation",
    "val_loss": "validation",
    "validation_loss": "validation",
    "train_loss": "loss",
    "total_loss": "loss",
    "student_loss": "train_ce",
    "hard_loss": "train_ce",
    "ce_loss": "train_ce",
    "soft_loss": "train_kd",
    "kd_loss": "train_kd",
    "distill_loss": "train_kd",
    "distillation_loss": "train_kd",
    "learning_rate": "lr",
}
"""What other code calls a column -> its name here."""


class Rows(list[Row]):
    """A list of rows, dictionaries of the same names; ``rows["accuracy"]`` is that of each. A name that there
    is not raises SemcomError with the one that there is."""

    def __getitem__(self, place: Any) -> Any:
        if not isinstance(place, str):
            return super().__getitem__(place)
        names = list(self[0]) if self else []
        if place not in names:
            ours = COLUMNS.get(place)
            here = f"is history[{ours!r}] here" if ours in names else f"is not there{meant(place, names)}"
            unit = ", a share from 0 to 1" if ours == "accuracy" else ""
            raise SemcomError(
                f"history[{shown(place)!r}] {here}{unit}; there are {', '.join(names) or 'no epochs'}"
            )
        return [row[place] for row in self]

    def __getattr__(self, name: str) -> Any:
        if name == "history":
            raise AttributeError("fit returns the history itself; type history['loss']")
        raise AttributeError(f"a history has no attribute {name!r}; type history['loss'] for a column")
