"""Transmitter × receiver as grids: transmitters down, receivers across, one measure a grid."""

from collections.abc import Mapping, Sequence

from semcom.base.messages import N_
from semcom.evaluation import frames, measures
from semcom.evaluation.groups import Group
from semcom.evaluation.intervals import Interval
from semcom.evaluation.measures import Measure
from semcom.report.document import Block, Column, Figure, Folded, Styled, Table
from semcom.report.grid_figures import RECEIVER, TRANSMITTER, Grid, grids
from semcom.report.sections.study_report import StudyReport, bounds_of, value_of

RECEIVERS_WITH_INTERVALS = 3
"""Receivers up to which a grid has its intervals; of more it would be too wide, and a CSV has them."""
OWN = "‡"
"""Marks the teacher's own pair."""
HOW_TO_READ = N_(
    "Transmitters down, receivers across. ‡: the teacher's own pair; the darker, the further from it."
)
Cells = Mapping[tuple[str, str], Group]
"""What a transmitter and a receiver are called -> their pairs."""


def shown(report: StudyReport) -> list[Measure]:
    """BLEU, or what says more of short texts, and KL."""
    text = measures.named("chrf" if report.too_short else "bleu")
    return [text, measures.named("kl_divergence")]


def at_reference(report: StudyReport) -> list[Block]:
    """Figure and tables at the reference SNR; none where there are no grids."""
    if not _are_grids(report):
        return []
    snr = report.study.reference_snr
    tables = [_table(report, measure, snr, f"matrix_{measure.name}") for measure in shown(report)]
    return [_figure(report, snr), *tables]


def _figure(report: StudyReport, snr: float) -> Figure:
    _ = report.gettext
    names = [[report.drawn(name) for name in of_one] for of_one in _axes(report)[:2]]
    found = [
        Grid(report.figure_title(measure), _values(report, measure, snr), measure.better, measure.decimals)
        for measure in shown(report)
    ]
    data = [
        {"measure": grid.title, "transmitter": names[0][i], "receiver": names[1][j], **bounds_of(value)}
        for grid in found
        for i, values in enumerate(grid.values)
        for j, value in enumerate(values)
        if value is not None
    ]
    down, across = report.in_figure(TRANSMITTER), report.in_figure(RECEIVER)
    caption = _(
        "Every transmitter into every receiver at {snr}; framed the teacher's own pair, the darker the worse."
    )
    return Figure(
        report.name("matrix_grids"),
        caption.format(snr=report.snr),
        _("A grid a measure: transmitters down, receivers across, with the value of each pair."),
        frames.frame_of(data),
        grids(found, names[0], names[1], down, across),
    )


def at_other_snrs(report: StudyReport) -> list[Block]:
    """Folded; none where there are no grids, or all SNRs are alike."""
    others = [snr for snr in sorted(report.study.snrs) if snr != report.study.reference_snr]
    if not others or not report.study.noisy or not _are_grids(report):
        return []
    tables = [
        _table(report, measure, snr, f"matrix_{measure.name}_at_{_in_a_name(snr)}")
        for snr in others
        for measure in shown(report)
    ]
    return [Folded(report.gettext("The same grids at other SNRs"), tables)]


def _are_grids(report: StudyReport) -> bool:
    """Of one transmitter or one receiver they would be a line, which the first table has."""
    naming = report.study.naming
    return min(len(naming.transmitters), len(naming.receivers)) > 1


def _in_a_name(snr: float) -> str:
    return f"{snr:g}".replace("-", "m").replace(".", "_")


def _axes(report: StudyReport) -> tuple[list[str], list[str], Cells]:
    """What transmitters and receivers are called, and who meets."""
    naming = report.study.naming
    met = {
        (group.transmitter, group.receiver): group
        for group in report.study.groups
        if group.role not in ("noise", "decibel")
    }
    return [end.name for end in naming.transmitters], [end.name for end in naming.receivers], met


def _values(report: StudyReport, measure: Measure, snr: float) -> list[list[Interval | None]]:
    """[transmitters][receivers]; None where two do not meet."""
    rows, columns, met = _axes(report)

    def value(sender: str, listener: str) -> Interval | None:
        group = met.get((sender, listener))
        return None if group is None else report.study.group_row(group, snr)[measure.name]

    return [[value(sender, listener) for listener in columns] for sender in rows]


def _table(report: StudyReport, measure: Measure, snr: float, name: str) -> Table:
    _ = report.gettext
    rows, receivers, met = _axes(report)
    values = _values(report, measure, snr)
    shades = _shades(measure, values)
    cells = [
        [
            _cell(report, met.get((sender, listener)), values[i][j], shades[i][j])
            for j, listener in enumerate(receivers)
        ]
        for i, sender in enumerate(rows)
    ]
    columns = {"transmitter": Column(_("transmitter ↓ receiver →"))}
    columns |= {
        str(j): Column(report.told(listener), measure.decimals, rank=j)
        for j, listener in enumerate(receivers)
    }
    named = [[report.told(sender), *of_one] for sender, of_one in zip(rows, cells)]
    caption = _("{measure} at {snr}, every transmitter into every receiver.")
    return report.table(
        name,
        report.caption(caption, measure, snr=report.snr_told(snr)),
        columns,
        frames.frame_of(named, list(columns)),
        _note(report, measure, values) if snr == report.study.reference_snr else "",
        in_paper=snr == report.study.reference_snr,
    )


def _cell(
    report: StudyReport, group: Group | None, value: Interval | None, shade: float | None
) -> Styled | None:
    """Without marks of p: the first table's tests are against the best, those of all pairs stand beside
    their p, and two marks for one pair would seem to disagree."""
    if group is None:
        return None
    with_interval = len(report.study.naming.receivers) <= RECEIVERS_WITH_INTERVALS
    marks = OWN if group.role == "teacher" else ""
    return Styled(value if with_interval else value_of(value), marks=marks, shade=shade)


def _shades(measure: Measure, values: Sequence[Sequence[Interval | None]]) -> list[list[float | None]]:
    """How far each is on the way from the best to the worst, 0 to 1."""
    plain = [[value_of(value) for value in row] for row in values]
    known = [value for row in plain for value in row if value is not None]
    if not known:
        return [[None for _ in row] for row in plain]
    best, worst = (max(known), min(known)) if measure.better == "higher" else (min(known), max(known))
    span = worst - best
    return [[_share(value, best, span) for value in row] for row in plain]


def _share(value: float | None, best: float, span: float) -> float | None:
    if value is None:
        return None
    return (value - best) / span if span else 0.0


def _note(report: StudyReport, measure: Measure, values: Sequence[Sequence[Interval | None]]) -> str:
    _ = report.gettext
    said = [_(HOW_TO_READ)]
    if measure.to_teacher and (noise := report.yardstick("noise")):
        beside = _("Another draw of the channel's noise makes {value} of the teacher's own pair.")
        value = value_of(report.study.group_row(noise)[measure.name])
        said += [beside.format(value=f"{value:.{measure.decimals}f}")] if value is not None else []
    if len(report.study.naming.receivers) > RECEIVERS_WITH_INTERVALS:
        said += _of_intervals(report, measure, values)
    return report.in_one(said)


def _of_intervals(
    report: StudyReport, measure: Measure, values: Sequence[Sequence[Interval | None]]
) -> list[str]:
    """How wide the widest is, where the cells do not have them."""
    widths = [(value.high - value.low) / 2 for row in values for value in row if value is not None]
    bounded = [width for width in widths if width < float("inf")]
    if not bounded:
        return []
    told = report.gettext("95 % intervals reach ±{half} or less; matrix.csv has each.")
    return [told.format(half=f"{max(bounded):.{measure.decimals}f}")]
