"""From which end a divergence comes: the transmitter's share, the receiver's, and that of their meeting."""

from semcom.base.messages import N_
from semcom.evaluation import measures
from semcom.evaluation.pairs import Square
from semcom.report import figures
from semcom.report.document import Block, Column, Figure, Table, Text
from semcom.report.sections.first_screen import kind_of
from semcom.report.sections.study_report import StudyReport, curve_data

SHOWN_SQUARES = 4
PARTS = ("transmitter", "receiver", "interaction")


def blocks(report: StudyReport) -> list[Block]:
    if not report.study.compared:
        return []
    squares = report.study.pairing.squares
    if not squares:
        wanted = report.gettext(
            "A transmitter and a receiver of one student are wanted to tell the ends apart: distil with "
            "--distill-part encoder and with --distill-part decoder, all else equal."
        )
        return [Text(wanted)]
    kinds = [Text(report.with_head(square.label, kind_of(report, square))) for square in squares]
    return [*kinds, _effects(report), _effects_by_snr(report)]


def _effects(report: StudyReport) -> Table:
    _, study = report.gettext, report.study
    titles = {measure.name: report.with_unit(measure.label, measure) for measure in measures.parted()}
    effects = study.effects(*study.pairing.squares)
    shown = effects[effects["snr"] == study.reference_snr]
    shown = shown.assign(measure=shown["measure"].map(titles))
    columns = {
        "square": Column(_("student")),
        "measure": Column(_("measure")),
        "transmitter": Column(_("transmitter"), 4),
        "receiver": Column(_("receiver"), 4),
        "interaction": Column(_("interaction"), 4),
        "total": Column(_("total"), 4),
    }
    note = _(
        "With m(transmitter, receiver) and T, S for teacher and student: transmitter m(ST)-m(TT), receiver "
        "m(TS)-m(TT), interaction m(SS)-m(ST)-m(TS)+m(TT); they add up to m(SS)-m(TT)."
    )
    caption = _("What each end adds, at {snr}, in the measure's own units.").format(snr=report.snr)
    return report.table("effects", caption, columns, shown, note)


def _effects_by_snr(report: StudyReport) -> Figure:
    _ = report.gettext
    squares = report.study.pairing.squares[:SHOWN_SQUARES]
    panels = {square.label: _curves(report, square) for square in squares}
    up = report.in_figure(N_("effect on {measure}")).format(measure=report.figure_title(measures.parted()[0]))
    return Figure(
        report.name("effects_by_snr"),
        _(
            "Effect of either end and of their meeting on cross-entropy (nats a token) by SNR, with 95 % "
            "intervals."
        ),
        _("Curves of transmitter, receiver and interaction effects over SNR."),
        curve_data(panels),
        figures.effects(panels, up, report.in_figure(figures.SNR)),
    )


def _curves(report: StudyReport, square: Square) -> figures.Curves:
    primary = measures.parted()[0].name
    effects = report.study.effects(square)
    by_snr = effects[effects["measure"] == primary].sort_values("snr", kind="stable")
    snrs = by_snr["snr"].tolist()
    return {report.in_figure(part): list(zip(snrs, by_snr[part].tolist())) for part in PARTS}
