"""Mismatch beside the channel's own noise."""

from semcom.report.document import Block
from semcom.report.sections.study_report import StudyReport


def blocks(report: StudyReport) -> list[Block]:
    _, noise = report.gettext, report.yardstick("noise")
    if not report.compared or noise is None:
        return []
    lines = [(_("the channel's noise, KL"), noise, "kl_divergence")]
    lines += [(report.told(group.name), group, "kl_divergence_over_noise") for group in report.compared]
    caption = _(
        "KL over that of the channel's own noise, by SNR in dB. First line: the KL of the teacher from "
        "itself under another draw of fading and noise."
    )
    return [report.table_by_snr("noise", caption, 3, lines)]
