"""The first figure of a study: quality and KL of a few lines, over SNR or, where one was measured, over the
values of the setting."""

from collections.abc import Sequence

from semcom.base.messages import N_, said
from semcom.evaluation import frames, measures, research_question
from semcom.evaluation.intervals import Interval
from semcom.evaluation.measure_row import Measure
from semcom.evaluation.pairs import Pair
from semcom.evaluation.research_question import Finding, Line
from semcom.report import figures
from semcom.report.document import Figure
from semcom.report.sections.first_costs import KL
from semcom.report.sections.first_sentence import setting_told
from semcom.report.sections.study_report import StudyReport, curve_data

TEACHER, NOISE = N_("teacher"), N_("the channel's noise")


def figure(report: StudyReport, found: Finding) -> Figure:
    """Of a finding that has lines."""
    if len(report.study.snrs) > 1:
        return _over_snr(report, found)
    valued = [line for line in found.lines if line.value is not None]
    return _over_values(report, found, valued) if len(valued) > 1 else _points(report, found)


def _over_snr(report: StudyReport, found: Finding) -> Figure:
    """Of the lines, beside the teacher's and the channel's noise."""
    _, study, quality, kl = report.gettext, report.study, found.quality, measures.named(KL)
    teacher, noise = report.in_figure(TEACHER), report.in_figure(NOISE)
    others = [line for line in found.lines if study.pairing.reference not in line.pairs]
    drawn = {_told(report, found, line): line.pairs for line in others}
    panels: dict[str, figures.Curves] = {
        report.figure_title(quality): {
            teacher: _curve(report, [study.pairing.reference], quality),
            **{name: _curve(report, pairs, quality) for name, pairs in drawn.items()},
        },
        report.figure_title(kl): {
            **{name: _curve(report, pairs, kl) for name, pairs in drawn.items()},
            noise: _curve(report, [study.pairing.noise], kl),
        },
    }
    references = teacher, noise
    across = report.in_figure(figures.SNR)
    caption = _(
        "{quality} and KL to the teacher by SNR, with 95 % intervals; without points: the teacher, dashed: "
        "the teacher beside itself under another draw of the channel."
    )
    return Figure(
        report.name("first_by_snr"),
        caption.format(quality=_(quality.label)) + figures.left_out(panels, _, references),
        _("Curves over SNR: {quality} on the left, KL on the right.").format(quality=_(quality.label)),
        frames.none_where_missing(curve_data(panels)),
        figures.over_snr(panels, references, study.reference_snr, across, [report.figure_title(kl)]),
    )


def _curve(report: StudyReport, pairs: Sequence[Pair], measure: Measure) -> figures.Curve:
    """A measure of pairs of one a seed by SNR, where it is known."""
    snrs = sorted(report.study.snrs)
    values = [(snr, research_question.over_pairs(report.study, pairs, measure, snr)) for snr in snrs]
    return [(snr, value) for snr, value in values if value is not None]


def _told(report: StudyReport, found: Finding, line: Line) -> str:
    """A line's name in the figure."""
    name = said(line.name, report.in_figure)
    if found.sweep is not None:
        return f"{setting_told(report.in_figure, found.sweep.setting)} {name}"
    return name if line.value is None else report.in_figure(N_("asked {value}")).format(value=name)


# --- of one SNR


def _over_values(report: StudyReport, found: Finding, lines: Sequence[Line]) -> Figure:
    """A curve of the lines over their values, beside the teacher's level and the noise's."""
    _, study, quality, kl = report.gettext, report.study, found.quality, measures.named(KL)
    across = report.in_figure(N_("asked"))
    if found.sweep is not None:
        across = setting_told(report.in_figure, found.sweep.setting)
    teacher, noise = report.in_figure(TEACHER), report.in_figure(NOISE)
    students, ends = report.in_figure(N_("students")), (lines[0], lines[-1])
    panels: dict[str, figures.Curves] = {
        report.figure_title(quality): {
            teacher: _points_of(report, [(line, [study.pairing.reference]) for line in ends], quality),
            students: _points_of(report, [(line, line.pairs) for line in lines], quality),
        },
        report.figure_title(kl): {
            students: _points_of(report, [(line, line.pairs) for line in lines], kl),
            noise: _points_of(report, [(line, [study.pairing.noise]) for line in ends], kl),
        },
    }
    caption = _(
        "{quality} and KL to the teacher at {snr} by what was varied, with 95 % intervals; without points: "
        "the teacher, dashed: the teacher beside itself under another draw of the channel."
    )
    return Figure(
        report.name("first_by_value"),
        caption.format(quality=_(quality.label), snr=report.snr),
        _("Curves over the setting's values, a panel a measure."),
        frames.none_where_missing(curve_data(panels)),
        figures.curves(panels, (teacher, noise), across, [report.figure_title(kl)]),
    )


def _points_of(
    report: StudyReport, placed: Sequence[tuple[Line, Sequence[Pair]]], measure: Measure
) -> figures.Curve:
    """At each line's value the measure of these pairs."""
    found = [
        (line.value, research_question.over_pairs(report.study, pairs, measure)) for line, pairs in placed
    ]
    return [(place, value) for place, value in found if place is not None and value is not None]


def _points(report: StudyReport, found: Finding) -> Figure:
    """A point with its interval a line."""
    _, quality = report.gettext, found.quality
    points: list[tuple[str, Interval]] = []
    for line in found.lines:
        value = research_question.over_pairs(report.study, line.pairs, quality)
        if value is not None:
            points.append((_told(report, found, line), value))
    title = report.figure_title(quality)
    rows = [(name, value.value, value.low, value.high) for name, value in points]
    caption = _("{quality} at {snr}, with 95 % intervals.")
    return Figure(
        report.name("first_points"),
        caption.format(quality=_(quality.label), snr=report.snr),
        _("A point a pair."),
        frames.none_where_missing(frames.frame_of(rows, ["name", "value", "low", "high"])),
        figures.bars({title: points}, title),
    )
