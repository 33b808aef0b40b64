"""What mismatch costs in dB."""

import pandas as pd

from semcom.evaluation.snr_gap import OTHER_NOT_REACHED
from semcom.report.document import Block, Column
from semcom.report.sections.study_report import StudyReport


def blocks(report: StudyReport) -> list[Block]:
    _, study = report.gettext, report.study
    if len(study.snrs) < 2 or not study.noisy:
        return []
    prices = study.by_group.prices()
    if prices.empty:
        return []
    prices["pair"] = [report.told(name) for name in prices["pair"]]
    prices["remark"] = prices.apply(lambda price: _remark(report, price), axis="columns")
    prices["censored"] = prices["above"] + prices["below"] + prices["unbounded"]
    columns = {"pair": Column(_("pair")), "gap": Column(_("more dB"), 2)}
    if prices["remark"].any():
        columns["remark"] = Column(_("remark"), rank=1)
    columns |= {
        "level": Column(_("BLEU to reach"), 2, rank=2),
        "censored": Column(_("censored replicates"), rank=4),
        "replicates": Column(_("replicates"), rank=5),
    }
    caption = _(
        "The price of mismatch: dB that a pair needs beyond the teacher's own for 90 % of the teacher's BLEU "
        "at the highest SNR."
    )
    note = _(
        "The horizontal gap of monotone fits, linear between SNRs. A replicate in which the level is not met "
        "within the grid is censored and stands at an end."
    )
    return [report.table("price", caption, columns, prices, note, in_paper=True)]


def _remark(report: StudyReport, price: pd.Series) -> str:
    _ = report.gettext
    if price["gap"] is not None:
        return ""
    if price["level"] <= 0:
        return _("the teacher itself understands nothing here")
    if price["why"] == OTHER_NOT_REACHED:
        return _("not reached; the gap is above {at_least:.1f} dB").format(at_least=price["at_least"])
    return _("reached below the lowest SNR: give lower ones")
