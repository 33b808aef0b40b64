"""What mismatch costs in dB."""

import pandas as pd

from semcom.evaluation.snr_gap import OTHER_NOT_REACHED
from semcom.report.document import Block, Column, Text
from semcom.report.sections.study_report import StudyReport


def blocks(report: StudyReport) -> list[Block]:
    _, study = report.gettext, report.study
    if len(study.snrs) < 2 or not study.noisy:
        return []
    prices = study.prices()
    if prices.empty:
        return []
    prices["remark"] = prices.apply(lambda price: _remark(report, price), axis="columns")
    prices["censored"] = prices["above"] + prices["below"] + prices["unbounded"]
    how_to_read = _(
        "How many dB more than the teacher's own pair each pair needs for 90 % of the teacher's BLEU at the "
        "highest SNR: the horizontal gap of monotone fits, linear between SNRs. A replicate in which the "
        "level is not met within the grid is censored and stands at an end."
    )
    columns = {
        "pair": Column(_("pair")),
        "level": Column(_("BLEU to reach"), 2),
        "gap": Column(_("more dB"), 2),
        "remark": Column(_("remark")),
        "censored": Column(_("censored replicates")),
        "replicates": Column(_("replicates")),
    }
    return [Text(how_to_read), report.table("price", _("The price of mismatch in dB."), columns, prices)]


def _remark(report: StudyReport, price: pd.Series) -> str:
    _ = report.gettext
    if price["gap"] is not None:
        return ""
    if price["level"] <= 0:
        return _("the teacher itself understands nothing here")
    if price["why"] == OTHER_NOT_REACHED:
        return _("not reached; the gap is above {at_least:.1f} dB").format(at_least=price["at_least"])
    return _("reached below the lowest SNR: give lower ones")
