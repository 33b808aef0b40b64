"""What mismatch costs in dB."""

from semcom.evaluation import frames
from semcom.evaluation.snr_gap import OTHER_NOT_REACHED
from semcom.evaluation.study import Row
from semcom.report.document import Block, Cell, Column, Text
from semcom.report.sections.study_report import StudyReport


def blocks(report: StudyReport) -> list[Block]:
    _, study = report.gettext, report.study
    if len(study.snrs) < 2 or not study.noisy:
        return []
    rows: list[list[Cell]] = [
        [
            row["pair"],
            row["level"],
            row["gap"],
            _remark(report, row),
            row["above"] + row["below"] + row["unbounded"],
            row["replicates"],
        ]
        for row in frames.records(study.prices())
    ]
    if not rows:
        return []
    how_to_read = _(
        "How many dB more than the teacher's own pair each pair needs for 90 % of the teacher's BLEU at the "
        "highest SNR: the horizontal gap of monotone fits, linear between SNRs. A replicate in which the "
        "level is not met within the grid is censored and stands at an end."
    )
    columns = [
        Column(_("pair")),
        Column(_("BLEU to reach"), 2),
        Column(_("more dB"), 2),
        Column(_("remark")),
        Column(_("censored replicates")),
        Column(_("replicates")),
    ]
    return [Text(how_to_read), report.table("price", _("The price of mismatch in dB."), columns, rows)]


def _remark(report: StudyReport, price: Row) -> str:
    _ = report.gettext
    if price["gap"] is not None:
        return ""
    if price["level"] <= 0:
        return _("the teacher itself understands nothing here")
    if price["why"] == OTHER_NOT_REACHED:
        return _("not reached; the gap is above {at_least:.1f} dB").format(at_least=price["at_least"])
    return _("reached below the lowest SNR: give lower ones")
