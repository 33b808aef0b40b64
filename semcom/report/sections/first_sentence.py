"""What was found of a study in one sentence: at most 40 words and six numbers, rounded to what their
intervals support."""

from collections.abc import Callable, Mapping, Sequence

from semcom.base.messages import N_
from semcom.evaluation import research_question
from semcom.evaluation.research_question import Finding, Line
from semcom.evaluation.targets import TARGETS
from semcom.report import names_in_words
from semcom.report.cells import p_text
from semcom.report.rounding import places_of, plain, significant
from semcom.report.sections import first_costs
from semcom.report.sections.first_costs import capital
from semcom.report.sections.study_report import StudyReport

WHY_UNDECIDED = {
    "few_values": N_("too few values to speak of a trend"),
    "few_seeds": N_("too few seeds to speak of a trend"),
    "unbalanced": N_("too few seeds have every value to speak of a trend"),
}
"""Where more runs would be wanted before anything else."""


def sentence(report: StudyReport, found: Finding) -> str:
    """ValueError for a question that has no sentence."""
    if found.question not in OF_QUESTION:
        raise ValueError(f"no sentence for {found.question!r}")
    return OF_QUESTION[found.question](report, found)


def _nothing(report: StudyReport, found: Finding) -> str:
    told = report.gettext(
        "Only the teacher's own pair was measured{where}: there is nothing that could diverge from it."
    )
    return told.format(where=report.where)


# --- a setting


def _setting(report: StudyReport, found: Finding) -> str:
    _, sweep = report.gettext, found.sweep
    assert sweep is not None
    trend = sweep.trends[found.headline.followed_name]
    fields = {
        "setting": setting_told(_, sweep.setting),
        "low": found.lines[0].name,
        "high": found.lines[-1].name,
        "measure": _(found.headline.label),
        "rho": "–" if trend.rho is None else plain(trend.rho, 2),
        "p": "–" if trend.p is None else p_text(trend.p),
        **_first_and_last(report, found),
    }
    if trend.why in WHY_UNDECIDED:
        fields["why"] = _(WHY_UNDECIDED[trend.why])
        told = _("{setting} {low} to {high}: {measure} goes from {first} to {last}; {why}.")
    elif trend.verdict == "undecided":
        told = _(
            "{setting} {low} to {high}: no trend that these runs can show (ρ {rho}, p {p}); {measure} goes "
            "from {first} to {last}."
        )
    elif trend.verdict == "falls":
        told = _("{setting} {low} to {high}: {measure} falls from {first} to {last} (ρ {rho}, p {p}).")
    else:
        told = _("{setting} {low} to {high}: {measure} rises from {first} to {last} (ρ {rho}, p {p}).")
    return capital(told.format(**fields))


def _first_and_last(report: StudyReport, found: Finding) -> dict[str, str]:
    """The headline measure at the lowest value and at the highest."""
    ends = {"first": found.lines[0], "last": found.lines[-1]}
    values = {
        name: value
        for name, line in ends.items()
        if (value := research_question.over_pairs(report.study, line.pairs, found.headline)) is not None
    }
    # Seeds move both alike: what tells first from last is their difference.
    supported = [*values.values(), *([found.change] if found.change else [])]
    most = found.headline.decimals
    places = max((places_of(value, most) for value in supported), default=most)
    shown = max((significant(value.value, places, most) for value in values.values()), default=places)
    return {name: plain(values[name].value, shown) if name in values else "–" for name in ends}


def setting_told(gettext: Callable[[str], str], setting: str) -> str:
    return gettext(names_in_words.setting_told(setting))


# --- a ladder


def _ladder(report: StudyReport, found: Finding) -> str:
    _ = report.gettext
    rungs = [line for line in found.lines if line.value is not None]
    dial = found.ladders[0].dial
    measure = _(TARGETS[dial.measure].title) if dial.measure in TARGETS else dial.measure
    last = research_question.over_pairs(report.study, rungs[-1].pairs, found.quality)
    told = _(
        "{measure} of {low} to {high} was asked for at {snr:g} dB, {reached}; the furthest hybrid has "
        "{quality} {last}."
    )
    return capital(
        told.format(
            measure=measure,
            low=rungs[0].name,
            high=rungs[-1].name,
            snr=dial.snr,
            reached=_reached(report, rungs),
            quality=_(found.quality.label),
            last="–" if last is None else plain(last.value, places_of(last, found.quality.decimals)),
        )
    )


def _reached(report: StudyReport, rungs: Sequence[Line]) -> str:
    """The ends of what was reached, and how many hybrids miss what was asked, beyond 5 % and their
    intervals."""
    _ = report.gettext
    reached = [line.reached for line in rungs if line.reached is not None]
    if len(reached) < len(rungs):
        return _("which is not measured here")
    missed = sum(not research_question.has_what_was_asked(line) for line in rungs)
    ends = [plain(value.value, significant(value.value, places_of(value, 4), 4)) for value in reached]
    told = _("{low} to {high} reached; {missed} hybrids miss it")
    if missed == 0:
        told = _("{low} to {high} reached; no hybrid is shown to miss it")
    if missed == len(rungs):
        told = _("{low} to {high} reached; every hybrid misses it")
    return told.format(low=ends[0], high=ends[-1], missed=missed)


OF_QUESTION: Mapping[str, Callable[[StudyReport, Finding], str]] = {
    "nothing": _nothing,
    "pair": first_costs.of_pair,
    "pairs": first_costs.of_pairs,
    "ends": first_costs.of_ends,
    "setting": _setting,
    "ladder": _ladder,
}
