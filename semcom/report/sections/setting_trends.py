"""What controls divergence: runs over seeds, and over the values of one setting."""

from collections.abc import Sequence

from semcom.base.messages import N_
from semcom.evaluation import frames, intervals, measures, setting_trends
from semcom.evaluation.campaign import Sweep
from semcom.evaluation.dialled import AXIS, TARGET
from semcom.evaluation.intervals import Interval
from semcom.evaluation.measures import Measure
from semcom.evaluation.setting_trends import Claim
from semcom.evaluation.study import Row
from semcom.report import figures
from semcom.report.document import Block, Column, Figure, Folded, Table, Text
from semcom.report.names_in_words import PARTS, setting_told
from semcom.report.sections.dial_names import axis_told
from semcom.report.sections.study_report import RUNGS_SHARE, StudyReport

SHOWN_SWEEPS = 4
CLAIMS: dict[Claim, str] = {
    "falls": N_("higher value, smaller divergence"),
    "rises": N_("higher target, larger divergence"),
}
VERDICTS = {
    "supported": N_("supported"),
    "contradicted": N_("contradicted"),
    "undecided": N_("undecided with these runs"),
}
UNDECIDED = {
    "few_values": N_("fewer than four values"),
    "few_seeds": N_("fewer than three seeds"),
    "unbalanced": N_("too many seeds lack a value"),
    "not_significant": N_("p of 0.05 or more"),
    "signs_differ": N_("seeds disagree in sign"),
}
MEAN = N_("mean over seeds")


def blocks(report: StudyReport) -> list[Block]:
    sweeps = report.study.campaign.sweeps
    if not sweeps:
        return [*_not_told_apart(report)]
    each = list(enumerate(sweeps, 1))
    curves = [_curves(report, sweep, number) for number, sweep in each]
    values = [_by_value(report, sweep, number) for number, sweep in each]
    aside: list[Block] = [*values, _divergence_and_quality(report, sweeps)]
    return [
        *_not_told_apart(report),
        _trends(report, sweeps),
        *curves,
        Folded(report.gettext("Means by value, and divergence beside quality"), aside),
    ]


def _not_told_apart(report: StudyReport) -> list[Text]:
    _, campaign = report.gettext, report.study.campaign
    followed = {label for sweep in campaign.sweeps for label in sweep.runs}
    # What was dialled has a section of its own, with two hybrids or one.
    alone = [run for run in campaign.runs if run.label not in followed and run.dial is None]
    differing = [name for name in campaign.differing() if name not in (TARGET, AXIS)]
    if len(differing) < 2 or not alone:
        return []
    text = _(
        "The runs differ in {settings}. What each of these does cannot be told apart by runs that differ "
        "from all others in several at once, or in what is no number: {runs}."
    )
    settings = _(", ").join(_(setting_told(name)) for name in differing)
    runs = _("; ").join(dict.fromkeys(report.told(report.study.name_of(run)) for run in alone))
    return [Text(text.format(settings=settings, runs=runs))]


def _trends(report: StudyReport, sweeps: Sequence[Sweep]) -> Table:
    _ = report.gettext
    columns = {
        "setting": Column(_("setting")),
        "held": Column(_("held fixed"), rank=6),
        "claim": Column(_("claim"), rank=5),
        "measure": Column(_("measure")),
        "rho": Column(_("ρ"), 2),
        "p": Column(_("p"), is_p=True),
        "values": Column(_("values"), rank=3),
        "seeds": Column(_("seeds"), rank=3),
        "verdict": Column(_("verdict")),
    }
    caption = _("Spearman's rank correlation of a setting with divergence, and what it says of the claim.")
    note = _(
        "A verdict needs at least four values and three seeds, values permuted within seeds, p < 0.05 and "
        "one sign in every seed."
    )
    if any(sweep.setting == TARGET for sweep in sweeps):
        note = report.in_one([note, _(RUNGS_SHARE)])
    # A claim is of divergence, so of these.
    judged = [measure for measure in measures.followed() if measure.better == "lower"]
    rows = [_trend(report, sweep, measure) for sweep in sweeps for measure in judged]
    shown = frames.frame_of(rows)
    # An empty column would say nothing.
    if not any(row["held"] for row in rows):
        del columns["held"]
    return report.table("trends", caption, columns, shown, note)


def _trend(report: StudyReport, sweep: Sweep, measure: Measure) -> Row:
    _, trend = report.gettext, sweep.trends[measure.followed_name]
    claim = setting_trends.claim_of(sweep.setting)
    verdict = _(VERDICTS[setting_trends.judge(trend, claim)])
    if trend.why:
        verdict += report.in_brackets(_(UNDECIDED[trend.why]))
    return {
        "setting": _(setting_told(sweep.setting)),
        "held": held_fixed(report, sweep),
        "claim": _(CLAIMS[claim]),
        "measure": report.followed_label(measure),
        **vars(trend),
        "verdict": verdict,
    }


def _means(sweep: Sweep, measure: Measure) -> dict[float, Interval]:
    """By value of the setting, over seeds."""
    points = sweep.points.sort_values(["value", "seed"])
    over_seeds = points.groupby("value")[measure.followed_name].agg(list)
    return dict(zip(over_seeds.index.tolist(), map(_mean, over_seeds.tolist())))


def _by_value(report: StudyReport, sweep: Sweep, number: int) -> Table:
    """The numbers of the curves."""
    _ = report.gettext
    name = _(setting_told(sweep.setting))
    columns = {"value": Column(name), "seeds": Column(_("seeds"), rank=3)}
    columns |= {
        measure.followed_name: Column(report.followed_label(measure), measure.decimals)
        for measure in measures.followed()
    }
    found = {measure.followed_name: _means(sweep, measure) for measure in measures.followed()}
    seeds = sweep.points.groupby("value")["seed"].nunique()
    rows = [
        [f"{value:g}", count, *(_over(count, of_measure[value]) for of_measure in found.values())]
        for value, count in zip(seeds.index.tolist(), seeds.tolist())
    ]
    caption = _("Divergence by {setting}{held} at {snr}: mean over seeds and 95 % interval (Student's t).")
    if seeds.max() == 1:
        caption = _("Divergence by {setting}{held} at {snr}: of one seed, without an interval over seeds.")
    return report.table(
        f"values_{number}",
        caption.format(setting=name, held=report.in_brackets(held_fixed(report, sweep)), snr=report.snr),
        columns,
        frames.frame_of(rows, list(columns)),
    )


def _over(seeds: int, mean: Interval) -> Interval | float:
    """Of a single seed the value alone: it has no interval over seeds."""
    return mean if seeds > 1 else mean.value


def _curves(report: StudyReport, sweep: Sweep, number: int) -> Figure:
    _ = report.gettext
    panels: dict[str, figures.Curves] = {
        _axis_title(report, measure): {report.in_figure(MEAN): list(_means(sweep, measure).items())}
        for measure in measures.followed()
    }
    points = sweep.points.sort_values(["value", "seed"])
    data = points.assign(setting=sweep.setting)[["setting", *points.columns]]
    caption = _(
        "Divergence by {setting}{held} at {snr}: mean over seeds, with its 95 % interval where there are "
        "several."
    )
    held = report.in_brackets(held_fixed(report, sweep))
    return Figure(
        report.name(f"trend_{number}"),
        caption.format(setting=_(setting_told(sweep.setting)), held=held, snr=report.snr),
        _("Curves over the setting's values, a panel a measure."),
        frames.none_where_missing(data),
        figures.curves(panels, across=report.in_figure(setting_told(sweep.setting))),
    )


def _divergence_and_quality(report: StudyReport, sweeps: Sequence[Sweep]) -> Figure:
    """Divergence against cross-entropy: an undertrained student diverges for that alone."""
    _ = report.gettext
    gap, kl = measures.named("cross_entropy"), measures.named("kl_divergence")
    points = {
        _sweep_in_figure(report, sweep): _means_beside(sweep, gap, kl) for sweep in sweeps[:SHOWN_SWEEPS]
    }
    rows = [(name, *point) for name, group in points.items() for point in group]
    data = frames.frame_of(rows, ["setting", "cross_entropy_gap", "kl_divergence", "value"])
    return Figure(
        report.name("divergence_and_quality"),
        _(
            "KL to the teacher beside the cross-entropy gap: a student that has learnt too little diverges "
            "for that alone."
        ),
        _("A point a value of the setting, mean over seeds."),
        frames.none_where_missing(data),
        figures.scatter(points, _axis_title(report, gap), _axis_title(report, kl)),
    )


def _sweep_in_figure(report: StudyReport, sweep: Sweep) -> str:
    held = held_fixed(report.with_labels_of_figures, sweep)
    name = report.in_figure(setting_told(sweep.setting))
    return report.in_figure("{what} ({aside})").format(what=name, aside=held) if held else name


def _means_beside(sweep: Sweep, across: Measure, up: Measure) -> list[tuple[float, float, str]]:
    """Of each value of the setting, and the value."""
    ours, theirs = _means(sweep, across), _means(sweep, up)
    return [(ours[value].value, theirs[value].value, f"{value:g}") for value in ours]


def _axis_title(report: StudyReport, measure: Measure) -> str:
    if not measure.gap:
        return report.figure_title(measure)
    _ = report.in_figure
    gap = _("{measure} gap").format(measure=_(measure.title))
    return _("{measure}, {unit}").format(measure=gap, unit=_(measure.unit)) if measure.unit else gap


def held_fixed(report: StudyReport, sweep: Sweep) -> str:
    """What the runs of a sweep share and others have otherwise."""
    _ = report.gettext
    of_each = [
        f"{_(setting_told(name))} {_(PARTS.get(str(value), str(value)))}"
        for name, value in sweep.held.items()
        if name != AXIS
    ]
    dials = [run.dial for run in report.study.pairing.runs if run.label in sweep.runs and run.dial]
    if AXIS in sweep.held and dials:
        of_each.append(axis_told(report, dials[0]))
    return _(", ").join(of_each)


def _mean(values: Sequence[float]) -> Interval:
    """Over seeds, with its interval; a single value is drawn as a point."""
    if len(values) == 1:
        return Interval(values[0], values[0], values[0])
    return intervals.estimate(values).interval
