"""What a divergence that was asked for costs, as curves."""

from collections.abc import Sequence

from semcom.base.messages import N_
from semcom.evaluation import frames, intervals, measures
from semcom.evaluation.intervals import Interval
from semcom.evaluation.ladders import WORDS_LOST
from semcom.report import figures
from semcom.report.document import Figure
from semcom.report.figures import Curve
from semcom.report.sections.dial_names import Family, axis_title, family_told, scale_told
from semcom.report.sections.study_report import StudyReport, curve_data

SHOWN_SCALES = 4
AT = N_("{measure} at {snr}")
ASKED = N_("asked: {divergence}")
SHARE = N_("share of words lost")


def figures_of(report: StudyReport, families: Sequence[Family]) -> list[Figure]:
    """A figure a scale, since targets of two do not stand on one axis."""
    by_scale: dict[tuple[object, ...], list[Family]] = {}
    for family in families:
        by_scale.setdefault(family[0].dial.scale, []).append(family)
    shown = list(by_scale.values())[:SHOWN_SCALES]
    return [_curves_of_scale(report, of_scale, number) for number, of_scale in enumerate(shown, 1)]


def _curves_of_scale(report: StudyReport, families: Sequence[Family], number: int) -> Figure:
    _, dial = report.gettext, families[0][0].dial
    # Their names are those of the table, in the language of labels.
    labels = report.with_labels_of_figures
    named = {family_told(labels, family, families): family for family in families}
    furthest = max(rung.dial.target for family in families for ladder in family for rung in ladder.rungs)
    teacher = report.drawn(report.study.groups[0].transmitter)
    panels: dict[str, dict[str, Curve]] = {}
    at_reference = report.in_figure(AT)
    for name, title in (("bleu", measures.named("bleu").title), (WORDS_LOST, SHARE)):
        curves = {label: _curve(report, family, name) for label, family in named.items()}
        theirs = _teachers(report, name)
        curves[teacher] = [] if theirs is None else [(0.0, theirs), (furthest, theirs)]
        panels[at_reference.format(measure=report.in_figure(title), snr=report.snr)] = curves
    caption = _(
        "BLEU and words lost at {snr} by the divergence asked for, {scale}: a line a path, mean over its "
        "seeds. Without points: the teacher's own pair."
    )
    return Figure(
        report.name(f"dial_curve_{number}"),
        caption.format(snr=report.snr, scale=scale_told(report, dial)),
        _("Curves over the divergence asked for, a panel a measure and a line a path."),
        frames.none_where_missing(curve_data(panels)),
        figures.curves(
            panels,
            references=[teacher],
            across=report.in_figure(ASKED).format(divergence=axis_title(labels, dial)),
        ),
    )


def _curve(report: StudyReport, family: Family, name: str) -> Curve:
    known = report.study.dialled.rows.set_index("run")[name]
    by_target: dict[float, list[object]] = {}
    for ladder in family:
        for rung in ladder.rungs:
            by_target.setdefault(rung.dial.target, []).append(known[rung.run.label])
    points = [(target, over_seeds(values)) for target, values in sorted(by_target.items())]
    return [(target, value) for target, value in points if value is not None]


def _teachers(report: StudyReport, name: str) -> Interval | None:
    """A measure of the teacher's own pair, or its words lost."""
    teacher = report.study.groups[0]
    if name != WORDS_LOST:
        return report.study.group_row(teacher)[name]
    lost = report.lost
    found = lost[(lost["pair"] == teacher.name) & (lost["by"] == "all") & (lost["class"] == "words")]
    return None if found.empty else found["lost"].iloc[0]


def over_seeds(values: Sequence[object]) -> Interval | None:
    """Of one seed its own interval, of several the mean with Student's; None where one of them lacks it."""
    known = [value for value in values if isinstance(value, Interval)]
    if len(known) < len(values):
        return None
    return known[0] if len(known) == 1 else intervals.estimate([value.value for value in known]).interval
