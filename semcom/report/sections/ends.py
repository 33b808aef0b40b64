"""From which end a divergence comes: the transmitter's share, the receiver's, and that of their meeting."""

from semcom.base.messages import N_
from semcom.evaluation import measures
from semcom.evaluation.groups import SquareGroup
from semcom.report import figures
from semcom.report.document import Block, Column, Figure, Table, Text
from semcom.report.sections.first_beside import kind_of
from semcom.report.sections.study_report import StudyReport, curve_data

SHOWN_SQUARES = 4
PARTS = {
    "transmitter": N_("transmitter"),
    "receiver": N_("receiver"),
    "interaction": N_("interaction"),
}
EFFECT = N_("effect on {measure}")


def blocks(report: StudyReport) -> list[Block]:
    if not report.compared:
        return []
    squares = report.study.by_group.squares
    if not squares:
        wanted = report.gettext(
            "A transmitter and a receiver of one student are wanted to tell the ends apart: distil with "
            "--distill-part encoder and with --distill-part decoder, all else equal."
        )
        return [Text(wanted)]
    by_snr = [_effects_by_snr(report, squares)] if report.study.noisy else []
    return [*_kinds(report, squares), _effects(report), *by_snr]


def _kinds(report: StudyReport, squares: list[SquareGroup]) -> list[Text]:
    """A line each kind, with the students that it is of where there are several."""
    students: dict[str, list[str]] = {}
    for group in squares:
        told = kind_of(report, group.squares[0])
        students.setdefault(told, []).append(report.told(group.name))
    if len(students) == 1:
        return [Text(kind) for kind in students]
    comma = report.gettext(", ")
    return [Text(report.with_head(comma.join(names), kind)) for kind, names in students.items()]


def _effects(report: StudyReport) -> Table:
    _, by_group = report.gettext, report.study.by_group
    known = {measure.name: measure for measure in measures.parted()}
    found = by_group.effects(*by_group.squares)
    shown = found[found["snr"] == report.study.reference_snr]
    decimals = tuple(known[name].decimals for name in shown["measure"])
    titles = {name: report.with_unit(measure.label, measure) for name, measure in known.items()}
    named = shown.assign(
        square=[report.told(name) for name in shown["square"]], measure=shown["measure"].map(titles)
    )
    columns = {"square": Column(_("student")), "measure": Column(_("measure"))}
    if (shown["seeds"] > 1).any():
        columns["seeds"] = Column(_("seeds"), rank=3)
    columns |= {part: Column(_(title), by_row=decimals) for part, title in PARTS.items()}
    columns["total"] = Column(_("total"), by_row=decimals, rank=1)
    note = _(
        "With m(transmitter, receiver) and T, S for teacher and student: transmitter m(ST)-m(TT), receiver "
        "m(TS)-m(TT), interaction m(SS)-m(ST)-m(TS)+m(TT); they add up to m(SS)-m(TT)."
    )
    caption = _("What each end adds, at {snr}, with 95 % intervals.").format(snr=report.snr)
    return report.table("effects", caption, columns, named, note, in_paper=True)


def _effects_by_snr(report: StudyReport, squares: list[SquareGroup]) -> Figure:
    _, primary = report.gettext, measures.parted()[0]
    panels = {report.drawn(group.name): _curves(report, group) for group in squares[:SHOWN_SQUARES]}
    caption = _("Effect of either end and of their meeting on {measure} by SNR, with 95 % intervals{first}.")
    return Figure(
        report.name("effects_by_snr"),
        caption.format(
            measure=report.with_unit(primary.title, primary), first=report.first(squares, SHOWN_SQUARES)
        ),
        _("Curves of transmitter, receiver and interaction effects over SNR."),
        curve_data(panels),
        figures.effects(
            panels, report.in_figure(EFFECT).format(measure=report.figure_title(primary)), report.snr_axis
        ),
    )


def _curves(report: StudyReport, group: SquareGroup) -> figures.Curves:
    primary = measures.parted()[0].name
    effects = report.study.by_group.effects(group)
    by_snr = effects[effects["measure"] == primary].sort_values("snr", kind="stable")
    return {
        report.in_figure(title): list(zip(by_snr["snr"].tolist(), by_snr[part].tolist()))
        for part, title in PARTS.items()
    }
