"""Frames of what was measured, whose cells may be intervals: from rows, to rows, to plain values of a file.

A cell that a row lacks is NaN; what was looked for and is not to be had is None, and stays so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from semcom.evaluation.intervals import Interval

if TYPE_CHECKING:
    import pandas as pd


def frame_of(
    rows: Iterable[Mapping[str, Any]] | Iterable[Sequence[Any]], columns: list[str] | None = None
) -> pd.DataFrame:
    """Of rows with names, columns in order of first appearance, or of bare rows under ``columns``. Whole
    numbers stay whole beside a missing one or one with decimals."""
    import pandas as pd

    frame = pd.DataFrame(list(rows), columns=columns, dtype=object)
    typed = pd.DataFrame({place: _typed(frame.iloc[:, place]) for place in range(frame.shape[1])})
    return typed.set_axis(frame.columns, axis="columns").reindex(frame.index)


def _typed(cells: pd.Series) -> pd.Series:
    from pandas.api.types import infer_dtype

    as_they_are = cells.isna().any() or infer_dtype(cells) == "mixed-integer-float"
    return cells if as_they_are else cells.infer_objects()


def none_where_missing(frame: pd.DataFrame) -> pd.DataFrame:
    """The same cells as objects of Python, None where one is missing."""
    return frame.astype(object).where(frame.notna(), None)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows that ``frame_of`` makes ``frame`` of: each without the cells that it lacks."""
    return [
        {str(name): value for name, value in row.items() if value is None or value == value}
        for row in frame.to_dict("records")
    ]


def flat(frame: pd.DataFrame) -> pd.DataFrame:
    """``with_ends`` for programs: None is what is not to be had, and an end without bound."""
    return mapped(with_ends(frame), _finite)


def with_ends(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame with three columns, ``name``, ``name low`` and ``name high``, in the place of each column with
    intervals; of a cell that is none, the ends are None."""
    import pandas as pd

    titles: list[str] = []
    columns: list[list[object]] = []
    for name, cells in frame.items():
        values = cells.tolist()
        titles.append(str(name))
        if any(isinstance(value, Interval) for value in values):
            titles += [f"{name} low", f"{name} high"]
            ends = [_with_its_ends(value) for value in values]
            columns += [[cell[i] for cell in ends] for i in range(3)]
        else:
            columns.append(values)
    return pd.DataFrame(dict(enumerate(columns)), dtype=object).set_axis(titles, axis="columns")


def _with_its_ends(cell: object) -> tuple[object, object, object]:
    return (cell.value, cell.low, cell.high) if isinstance(cell, Interval) else (cell, None, None)


def mapped(frame: pd.DataFrame, change: Callable[[Any], object]) -> pd.DataFrame:
    """Every cell changed. Not ``DataFrame.map``, which makes floats of whole numbers beside a missing one."""
    import pandas as pd

    columns = [[change(cell) for cell in cells.tolist()] for _, cells in frame.items()]
    changed = pd.DataFrame(dict(enumerate(columns)), index=frame.index, dtype=object)
    return changed.set_axis(frame.columns, axis="columns")


def plain_values(value: object) -> object:
    """Frames and rows as JSON has them: a frame as its ``records``, an interval as value, low and high, an
    end without bound as null."""
    import pandas as pd

    if isinstance(value, Interval):
        return {"value": _finite(value.value), "low": _finite(value.low), "high": _finite(value.high)}
    if isinstance(value, Mapping):
        return {str(key): plain_values(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(part) for part in value]
    if isinstance(value, pd.DataFrame):
        return plain_values(records(value))
    return _finite(value)


def _finite(value: object) -> object:
    """None in the place of a number that is not finite; all else as it is, numpy's numbers as Python's."""
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain
