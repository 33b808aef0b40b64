"""What pairs cost beside the teacher's own, in one sentence: of one pair, of two ends, of several pairs."""

import math
from collections.abc import Sequence
from itertools import pairwise

from semcom.base.messages import N_, said
from semcom.evaluation import measures, research_question
from semcom.evaluation.intervals import Interval
from semcom.evaluation.pairs import INTEROPERABLE, KNOWLEDGE, OWN, Pair
from semcom.evaluation.research_question import Finding, Line
from semcom.evaluation.snr_gap import Price
from semcom.report.rounding import bracketed, places_of, plain
from semcom.report.sections.study_report import StudyReport

KL = "kl_divergence"
TELLING = (KNOWLEDGE, INTEROPERABLE, OWN)
"""Kinds of pairs whose divergence is not first of all that of codes which never met."""
LAYERS = (
    N_("one"),
    N_("two"),
    N_("three"),
    N_("four"),
    N_("five"),
    N_("six"),
    N_("seven"),
    N_("eight"),
)
"""How many, in words: a sentence has digits enough."""
SMALLER = {
    (True, True): N_("A {layers}-layer student at both ends"),
    (True, False): N_("A {layers}-layer transmitter"),
    (False, True): N_("A {layers}-layer receiver"),
}
"""Whether the transmitter is a student's, and the receiver."""
AS_DEEP = {
    (True, True): N_("A student as deep as the teacher at both ends"),
    (True, False): N_("A transmitter as deep as the teacher's"),
    (False, True): N_("A receiver as deep as the teacher's"),
}
FINEST_PRICE = 3.0
"""dB between SNRs measured, up to which a price is told: it is linear between them."""


# --- one pair


def of_pair(report: StudyReport, found: Finding) -> str:
    _ = report.gettext
    line = next(line for line in found.lines if report.study.pairing.reference not in line.pairs)
    cost = research_question.cost(report.study, line.pairs, found.quality)
    fields = {
        "who": _who(report, line),
        "quality": _(found.quality.label),
        "snr": at(report),
        "cost": "–" if cost is None else bracketed(cost, found.quality.decimals),
        "price": _price(report, line),
        "beside": _beside_noise(report, line),
    }
    if cost is None or cost.low <= 0 <= cost.high:
        told = _("{who} is not shown to cost {quality} at {snr}: {cost}{beside}.")
    elif cost.value < 0:
        fields["cost"] = bracketed(Interval(-cost.value, -cost.high, -cost.low), found.quality.decimals)
        told = _("{who} gains {cost} {quality} at {snr}{beside}.")
    else:
        told = _("{who} costs {cost} {quality} at {snr}{price}{beside}.")
    return told.format(**fields)


def at(report: StudyReport) -> str:
    """The SNR that the numbers are of."""
    return report.snr if report.study.noisy else report.gettext("infinite SNR")


def _who(report: StudyReport, line: Line) -> str:
    """By the layers of its students' ends, where these are alike; else by its name."""
    _, pair, teacher = report.gettext, line.pairs[0], report.study.pairing.reference
    students = (pair.transmitter != teacher.transmitter, pair.receiver != teacher.receiver)
    ends = [end for end, is_students in zip(("transmitter", "receiver"), students) if is_students]
    counts = {_layers(pair, end) for end in ends}
    teachers = {_layers(teacher, end) for end in ends}
    dialled = any(run.dial for run in report.study.pairing.runs)
    if len(counts) != 1 or len(teachers) != 1 or None in counts | teachers or dialled:
        return capital(_name(report, line, students))
    count, theirs = counts.pop() or 0, teachers.pop() or 0
    if count < theirs and count <= len(LAYERS):
        return _(SMALLER[students]).format(layers=_(LAYERS[count - 1]))
    return _(AS_DEEP[students]) if count == theirs else capital(_name(report, line, students))


def _name(report: StudyReport, line: Line, students: tuple[bool, bool]) -> str:
    """Of the end that is a student's, where one is and the other the teacher's; of the pair otherwise."""
    if line.group is None or students not in ((True, False), (False, True)):
        return said(line.name, report.gettext)
    return said(line.group.transmitter if students[0] else line.group.receiver, report.gettext)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _layers(pair: Pair, end: str) -> int | None:
    """None of an end that has no layers."""
    return getattr(getattr(pair, end).module.size, "layers", None)


def _price(report: StudyReport, line: Line) -> str:
    """In dB of SNR, where the SNRs measured tell it."""
    prices = prices_of(report, line.pairs)
    gap = research_question.gap_of(prices)
    if gap is None or max_step(report) > FINEST_PRICE:
        return ""
    if gap.low <= 0 or gap.high == math.inf:
        return ""
    return report.gettext(", or {gap} dB of SNR").format(gap=plain(gap.value, places_of(gap, 1)))


def prices_of(report: StudyReport, pairs: Sequence[Pair]) -> list[Price]:
    """None without noise, or of one SNR."""
    known = report.study.noisy and len(report.study.snrs) > 1
    return [report.study.price(pair) for pair in pairs] if known else []


def max_step(report: StudyReport) -> float:
    """dB between neighbours of the SNRs measured, the widest; 0 of one."""
    snrs = sorted(report.study.snrs)
    return max((high - low for low, high in pairwise(snrs)), default=0.0)


def _beside_noise(report: StudyReport, line: Line) -> str:
    ratio = research_question.beside_noise(report.study, line.pairs, measures.named(KL))
    if ratio is None or not math.isfinite(ratio.high - ratio.low):
        return ""
    told = report.gettext("; its KL to the teacher is {ratio} times what the channel's noise makes")
    return told.format(ratio=plain(ratio.value, places_of(ratio, 1)))


# --- two ends


def of_ends(report: StudyReport, found: Finding) -> str:
    ends, _ = found.ends, report.gettext
    if ends is None:
        return of_pairs(report, found)
    first, second = ends.receiver, ends.transmitter
    if min(first.value, second.value) < 0:
        # A gain is no cost.
        first, second, total = (negative(part) for part in (first, second, ends.total))
        told = _(
            "At {snr} the receiver changes {quality} by {first}, the transmitter by {second}; together by "
            "{total}, {sum}."
        )
        return _of_ends(report, found, told, (first, second, total))
    if ends.difference.low <= 0 <= ends.difference.high:
        told = _(
            "Neither end is shown to cost more at {snr}: the receiver {first}, the transmitter {second} "
            "{quality}; together {total}, {sum}."
        )
    elif ends.difference.value > 0:
        told = _(
            "The receiver costs more than the transmitter at {snr}: {first} against {second} {quality}; "
            "together {total}, {sum}."
        )
    else:
        first, second = second, first
        told = _(
            "The transmitter costs more than the receiver at {snr}: {first} against {second} {quality}; "
            "together {total}, {sum}."
        )
    return _of_ends(report, found, told, (first, second, ends.total))


def negative(interval: Interval) -> Interval:
    return Interval(-interval.value, -interval.high, -interval.low)


def _of_ends(
    report: StudyReport, found: Finding, told: str, costs: tuple[Interval, Interval, Interval]
) -> str:
    first, second, total = costs
    most, ends = found.quality.decimals, found.ends
    return told.format(
        snr=at(report),
        first=bracketed(first, most),
        second=plain(second.value, places_of(second, most)),
        total=plain(total.value, places_of(total, most)),
        quality=report.gettext(found.quality.label),
        sum=_sum(report, ends.interaction) if ends else "",
    )


def _sum(report: StudyReport, interaction: Interval) -> str:
    if interaction.low <= 0 <= interaction.high:
        return report.gettext("not shown to differ from their sum")
    if interaction.value > 0:
        return report.gettext("more than their sum")
    return report.gettext("less than their sum")


# --- other pairs


def of_pairs(report: StudyReport, found: Finding) -> str:
    _, teacher = report.gettext, report.study.pairing.reference
    compared = [line for line in found.lines if teacher not in line.pairs]
    met = [line for line in compared if line.group is not None and line.group.kind in TELLING]
    costs = {
        line.name: cost
        for line in met or compared
        if (cost := research_question.cost(report.study, line.pairs, found.quality)) is not None
    }
    if not costs:
        return _("{count} pairs were compared.").format(count=len(compared))
    dearest = max(costs, key=lambda name: costs[name].value)
    differing = research_question.differing_from_teacher(report.study, found)
    told = _(
        "{differing} of {count} pairs differ from the teacher's in {quality} at {snr}; {name} costs most, "
        "{cost}."
    )
    return told.format(
        count=len(compared),
        differing=differing,
        name=said(dearest, _),
        snr=at(report),
        cost=bracketed(costs[dearest], found.quality.decimals),
        quality=_(found.quality.label),
    )
