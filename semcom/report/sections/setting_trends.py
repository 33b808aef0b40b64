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
from semcom.report.document import Block, Column, Figure, Table, Text
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


def blocks(report: StudyReport) -> list[Block]:
    found: list[Block] = [*_over_seeds(report), *_not_told_apart(report)]
    sweeps = report.study.campaign.sweeps
    if not sweeps:
        return found
    curves = [_curves(report, sweep, number) for number, sweep in enumerate(sweeps, 1)]
    return [*found, _trends(report, sweeps), *curves, _divergence_and_quality(report, sweeps)]


def _over_seeds(report: StudyReport) -> list[Table]:
    _ = report.gettext
    found = report.study.campaign.over_seeds()
    if found.empty:
        return []
    columns = {"runs": Column(_("runs")), "seeds": Column(_("seeds"))}
    for measure in measures.followed():
        columns[measure.followed_name] = Column(report.followed_label(measure), measure.decimals)
    named = found.assign(runs=found["runs"].map(", ".join))
    caption = _(
        "Runs that differ in their seed alone: mean over seeds and 95 % interval (Student's t), at {snr}."
    )
    return [report.table("over_seeds", caption.format(snr=report.snr), columns, named)]


def _not_told_apart(report: StudyReport) -> list[Text]:
    campaign = report.study.campaign
    followed = {label for sweep in campaign.sweeps for label in sweep.runs}
    # What was dialled has a section of its own, with two hybrids or one.
    alone = [run.label for run in campaign.runs if run.label not in followed and run.dial is None]
    differing = [name for name in campaign.differing() if name not in (TARGET, AXIS)]
    if len(differing) < 2 or not alone:
        return []
    text = report.gettext(
        "The runs differ in {settings}. What each of these does cannot be told apart by runs that differ "
        "from all others in several at once, or in what is no number: {runs}."
    )
    comma = report.gettext(", ")
    return [Text(text.format(settings=comma.join(differing), runs=comma.join(alone)))]


def _trends(report: StudyReport, sweeps: Sequence[Sweep]) -> Table:
    _ = report.gettext
    columns = {
        "setting": Column(_("setting")),
        "held": Column(_("held fixed")),
        "claim": Column(_("claim")),
        "measure": Column(_("measure")),
        "rho": Column(_("ρ"), 2),
        "p": Column(_("p"), is_p=True),
        "values": Column(_("values")),
        "seeds": Column(_("seeds")),
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
    return report.table("trends", caption, columns, frames.frame_of(rows), note)


def _trend(report: StudyReport, sweep: Sweep, measure: Measure) -> Row:
    _, trend = report.gettext, sweep.trends[measure.followed_name]
    claim = setting_trends.claim_of(sweep.setting)
    verdict = _(VERDICTS[setting_trends.judge(trend, claim)])
    if trend.why:
        verdict += report.in_brackets(_(UNDECIDED[trend.why]))
    return {
        "setting": sweep.setting,
        "held": held_fixed(sweep),
        "claim": _(CLAIMS[claim]),
        "measure": report.followed_label(measure),
        **vars(trend),
        "verdict": verdict,
    }


def _curves(report: StudyReport, sweep: Sweep, number: int) -> Figure:
    _ = report.gettext
    points = sweep.points.sort_values(["value", "seed"])
    panels: dict[str, figures.Curves] = {}
    for measure in measures.followed():
        over_seeds = points.groupby("value")[measure.followed_name].agg(list)
        means = [_mean(values) for values in over_seeds.tolist()]
        panels[_axis_title(measure)] = {"mean over seeds": list(zip(over_seeds.index.tolist(), means))}
    data = points.assign(setting=sweep.setting)[["setting", *points.columns]]
    caption = _(
        "Divergence by {setting}{held} at {snr}: mean over seeds, with its 95 % interval where there are "
        "several."
    )
    return Figure(
        report.name(f"trend_{number}"),
        caption.format(setting=sweep.setting, held=report.in_brackets(held_fixed(sweep)), snr=report.snr),
        _("Curves over the setting's values, a panel a measure."),
        frames.none_where_missing(data),
        figures.curves(panels, across=sweep.setting),
    )


def _divergence_and_quality(report: StudyReport, sweeps: Sequence[Sweep]) -> Figure:
    """Divergence against cross-entropy: an undertrained student diverges for that alone."""
    _ = report.gettext
    points = {
        sweep.setting + in_brackets(held_fixed(sweep)): _gap_and_divergence(sweep)
        for sweep in sweeps[:SHOWN_SWEEPS]
    }
    rows = [(name, *point) for name, group in points.items() for point in group]
    data = frames.frame_of(rows, ["setting", "cross_entropy_gap", "kl_divergence", "value"])
    return Figure(
        report.name("divergence_and_quality"),
        _(
            "KL to the teacher beside the cross-entropy gap: a student that has learnt too little diverges "
            "for that alone."
        ),
        _("A point a run."),
        frames.none_where_missing(data),
        figures.scatter(points, "cross-entropy gap, nats a token", "KL to the teacher, nats a token"),
    )


def _gap_and_divergence(sweep: Sweep) -> list[tuple[float, float, str]]:
    """Of each run, and the setting's value."""
    points = sweep.points.sort_values(["value", "seed"])
    values = points["value"].map("{:g}".format)
    return list(zip(points["cross_entropy_gap"].tolist(), points["kl_divergence"].tolist(), values.tolist()))


def _axis_title(measure: Measure) -> str:
    title = measure.title_with_unit
    return title.replace(measure.title, f"{measure.title} gap", 1) if measure.gap else title


def held_fixed(sweep: Sweep) -> str:
    """What the runs of a sweep share and others have otherwise."""
    return ", ".join(f"{name} {value}" for name, value in sweep.held.items())


def in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def _mean(values: Sequence[float]) -> Interval:
    """Over seeds, with its interval; a single value is drawn as a point."""
    if len(values) == 1:
        return Interval(values[0], values[0], values[0])
    return intervals.estimate(values).interval
