"""Mismatch beside the channel's own noise."""

from semcom.report.document import Block, Text
from semcom.report.sections.study_report import StudyReport


def blocks(report: StudyReport) -> list[Block]:
    _, study = report.gettext, report.study
    if not study.compared:
        return []
    lines = {_("the channel's noise, KL"): (study.pairing.noise, "kl_divergence")}
    lines |= {report.pair(pair): (pair, "kl_divergence_over_noise") for pair in study.compared}
    how_to_read = _(
        "The first line is the teacher against itself under an independent draw of fading and noise; below "
        "it, each pair's KL as a multiple of that. A ratio under 1 says that the mismatch changes what "
        "arrives less than another draw of the channel does; it is never subtracted."
    )
    caption = _("KL over that of the channel's own noise, by SNR in dB.")
    return [Text(how_to_read), report.table_by_snr("noise", caption, 3, lines)]
