"""Tables of a report from bare rows."""

from semcom.evaluation.frames import frame_of
from semcom.report.document import Table


def of_rows(name, caption, columns, rows, note=""):
    """Under names "0", "1", …, so that two columns may have one title."""
    names = [str(place) for place in range(len(columns))]
    return Table(name, caption, dict(zip(names, columns)), frame_of(rows, names), note)
