"""What stands beside the first screen's sentence: what a reader must know before it, what it leaves out."""

import math

from semcom.base.messages import N_
from semcom.evaluation import measures
from semcom.evaluation.measure_row import Measure
from semcom.evaluation.pairs import CODE, INTEROPERABLE, KNOWLEDGE, UNKNOWN, Square
from semcom.evaluation.research_question import Finding
from semcom.report.rounding import bracketed, places_of, plain
from semcom.report.sections.first_costs import KL
from semcom.report.sections.first_sentence import WHY_UNDECIDED, setting_told
from semcom.report.sections.setting_trends import held_fixed
from semcom.report.sections.study_report import StudyReport

LEAST_USEFUL, FAR_FROM_FLOOR = 5.0, 10.0
"""Of BLEU or chrF, 0 to 100."""
KINDS = {
    KNOWLEDGE: N_(
        "Each student end was trained through the teacher's other end: they differ in what they know, not in "
        "their code."
    ),
    INTEROPERABLE: N_("The student's ends were trained with crossed pairs, so they keep the teacher's code."),
    CODE: N_("The student's ends were trained with each other alone: this is code mismatch, not knowledge."),
    UNKNOWN: N_("How these ends were trained with this teacher is not recorded."),
}


def lines(report: StudyReport, found: Finding) -> list[str]:
    """Below the first table."""
    told = [*_sum_of_ends(report, found), *_not_excluded(report, found), *_not_here(report, found)]
    if found.ends:
        return [kind_of(report, found.ends.square), *told]
    return [*_code_mismatch(report, found), *told]


def useless_teacher(report: StudyReport, measure: Measure) -> list[str]:
    """A line of one whose own score is about that of any other sentence in the place of the one sent."""
    score, floor = report.study.teachers_score(measure.name)
    if score is None or score >= useful_from(floor or 0.0):
        return []
    told = report.gettext(
        "The teacher{where} understands next to nothing: at {snr:g} dB, the highest SNR here, its {measure} "
        "is {score:.2f}; another sentence in the place of the one sent has {floor}. Whatever follows "
        "compares guesses and says nothing of knowledge: train the teacher longer, or on this kind of text."
    )
    return [
        told.format(
            where=report.where,
            snr=max(report.study.snrs),
            measure=report.gettext(measure.label),
            score=score,
            floor="–" if floor is None else f"{floor:.2f}",
        )
    ]


def useful_from(floor: float) -> float:
    """The score from which a teacher understands something: twice the floor, where that is not far off, and
    at least ``LEAST_USEFUL``."""
    return max(LEAST_USEFUL, min(2 * floor, floor + FAR_FROM_FLOOR))


def kind_of(report: StudyReport, square: Square) -> str:
    """What the square's differences are, and what its runs differ in beside."""
    kind = report.gettext(KINDS[square.kind])
    if square.differing:
        named = [setting_told(report.gettext, name) for name in square.differing]
        settings = report.gettext(", ").join(named)
        kind += report.gettext(" The two runs differ in {settings}.").format(settings=settings)
    return kind


def _code_mismatch(report: StudyReport, found: Finding) -> list[str]:
    kinds = {line.group.kind for line in found.lines if line.group is not None}
    told = N_(
        "Where an end of a full student meets the teacher's other end, their codes differ: code mismatch, "
        "not knowledge."
    )
    return [report.gettext(told)] if CODE in kinds else []


def _sum_of_ends(report: StudyReport, found: Finding) -> list[str]:
    """What both ends cost beyond the sum of either, with intervals."""
    _, ends, in_kl = report.gettext, found.ends, found.ends_in_kl
    if ends is None or in_kl is None:
        return []
    told = _("Beyond the sum of both ends: {cost} {quality} lost, KL {kl} nats a token more (95 %).")
    kl = measures.named(KL)
    return [
        told.format(
            cost=bracketed(ends.interaction, found.quality.decimals),
            quality=_(found.quality.label),
            kl=bracketed(in_kl.interaction, kl.decimals),
        )
    ]


def _not_excluded(report: StudyReport, found: Finding) -> list[str]:
    """Of a trend that is undecided, the largest effect that may still be there."""
    _, change, sweep = report.gettext, found.change, found.sweep
    if sweep is None or change is None or not math.isfinite(change.high - change.low):
        return []
    trend = sweep.trends[found.headline.followed_name]
    if trend.verdict != "undecided":
        return []
    told = _("From {low} to {high}, {measure} changes by {change} {unit} (95 %, {over}).")
    if change.low <= 0 <= change.high and trend.why not in WHY_UNDECIDED:
        told = _(
            "Not excluded: from {low} to {high}, a change of {measure} by {least} to {most} {unit} (95 %, "
            "{over})."
        )
    over = _("over seeds") if found.change_seeds > 1 else _("over sentences, of these models alone")
    places = places_of(change, found.headline.decimals)
    return [
        told.format(
            low=found.lines[0].name,
            high=found.lines[-1].name,
            measure=_(found.headline.label),
            change=bracketed(change, found.headline.decimals),
            least=plain(change.low, places),
            most=plain(change.high, places),
            unit=_(found.headline.unit),
            over=over,
        )
    ]


def _not_here(report: StudyReport, found: Finding) -> list[str]:
    """Of a setting or a ladder: what its runs share and others have otherwise, and how many pairs stand
    elsewhere."""
    _, sweep = report.gettext, found.sweep
    shown = {pair.key for line in found.lines for pair in line.pairs}
    compared = [group for group in report.study.groups if group.role == "compared"]
    left = sum(not shown & {pair.key for pair in group.pairs} for group in compared)
    told = []
    if sweep is not None and sweep.held:
        told.append(_("Of runs with {settings}.").format(settings=held_fixed(report, sweep)))
    if left and found.question in ("setting", "ladder"):
        told.append(
            _("Not in this table: {count} other pairs; the sections below have them.").format(count=left)
        )
    return [report.in_one(told)] if told else []
