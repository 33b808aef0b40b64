"""What was found of a study in one sentence: at most 40 words and six numbers, rounded to what their
intervals support."""

from collections.abc import Callable, Mapping

from semcom.base.messages import N_, said
from semcom.evaluation import finding, measures, setting_trends
from semcom.evaluation.finding import Finding, Line
from semcom.evaluation.intervals import Interval
from semcom.evaluation.pairs import INTEROPERABLE, KNOWLEDGE, OWN, Pair
from semcom.evaluation.snr_gap import OTHER_NOT_REACHED, Price
from semcom.evaluation.targets import TARGETS
from semcom.report import wording
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
COSTLY = {
    (True, True): N_("A {layers}-layer student at both ends"),
    (True, False): N_("A {layers}-layer transmitter"),
    (False, True): N_("A {layers}-layer receiver"),
}
"""Whether the transmitter is a student's, and the receiver."""


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


# --- one pair


def _pair(report: StudyReport, found: Finding) -> str:
    _ = report.gettext
    line = next(line for line in found.lines if report.study.pairing.reference not in line.pairs)
    cost = finding.cost(report.study, line.pairs, found.quality)
    fields = {
        "who": _who(report, line),
        "quality": _(found.quality.label),
        "snr": report.snr,
        "cost": "–" if cost is None else bracketed(cost, found.quality.decimals),
        "price": _price(report, line),
        "beside": _beside_noise(report, line),
    }
    if cost is None or cost.low <= 0 <= cost.high:
        told = _("{who} costs no {quality} that these sentences can show at {snr}: {cost}{beside}.")
    else:
        told = _("{who} costs {cost} {quality} at {snr}{price}{beside}.")
    return told.format(**fields)


def _who(report: StudyReport, line: Line) -> str:
    """By its layers, where it has fewer than the teacher's end; else by its name."""
    _, pair, teacher = report.gettext, line.pairs[0], report.study.pairing.reference
    students = (pair.transmitter != teacher.transmitter, pair.receiver != teacher.receiver)
    counts = {
        _layers(pair, end)
        for end, is_students in zip(("transmitter", "receiver"), students)
        if is_students and (_layers(pair, end) or 0) < (_layers(teacher, end) or 0)
    }
    count = counts.pop() if len(counts) == 1 else None
    if students not in COSTLY or count is None or count > len(LAYERS):
        return _capital(_name(report, line, students))
    return _(COSTLY[students]).format(layers=_(LAYERS[count - 1]))


def _name(report: StudyReport, line: Line, students: tuple[bool, bool]) -> str:
    """Of the end that is a student's, where one is and the other the teacher's; of the pair otherwise."""
    if line.group is None or students not in ((True, False), (False, True)):
        return said(line.name, report.gettext)
    return said(line.group.transmitter if students[0] else line.group.receiver, report.gettext)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _layers(pair: Pair, end: str) -> int | None:
    """None of an end that has no layers."""
    return getattr(getattr(pair, end).module.size, "layers", None)


def _price(report: StudyReport, line: Line) -> str:
    """In dB of SNR, where the SNRs measured tell it."""
    prices = [report.study.price(pair) for pair in line.pairs] if report.study.noisy else []
    gap = finding.gap_of(prices)
    if gap is not None and gap.value > 0:
        return report.gettext(", or {gap} dB of SNR").format(gap=plain(gap.value, places_of(gap, 1)))
    if bound := least_gap(prices):
        return report.gettext(", or more than {gap:.0f} dB of SNR").format(gap=bound)
    return ""


def least_gap(prices: list[Price]) -> float | None:
    """dB that a pair needs at least, where the SNRs measured do not hold what it needs."""
    bounds = [price.at_least for price in prices if price.why == OTHER_NOT_REACHED and price.level > 0]
    return min(bounds) if bounds and len(bounds) == len(prices) and min(bounds) >= 1 else None


def _beside_noise(report: StudyReport, line: Line) -> str:
    ratio = finding.beside_noise(report.study, line.pairs, measures.named(KL))
    if ratio is None:
        return ""
    told = report.gettext("; its KL to the teacher is {ratio} times what the channel's noise makes")
    return told.format(ratio=plain(ratio.value, places_of(ratio, 1)))


# --- two ends


def _ends(report: StudyReport, found: Finding) -> str:
    ends, _ = found.ends, report.gettext
    if ends is None:
        return _pairs(report, found)
    dearer = ends.difference.value > 0
    first, second = (ends.receiver, ends.transmitter) if dearer else (ends.transmitter, ends.receiver)
    if ends.difference.low <= 0 <= ends.difference.high:
        told = _(
            "Neither end is shown to cost more at {snr}: the receiver {first}, the transmitter {second} "
            "{quality}; together {total}, {sum}."
        )
        first, second = ends.receiver, ends.transmitter
    elif dearer:
        told = _(
            "The receiver costs more than the transmitter at {snr}: {first} against {second} {quality}; "
            "together {total}, {sum}."
        )
    else:
        told = _(
            "The transmitter costs more than the receiver at {snr}: {first} against {second} {quality}; "
            "together {total}, {sum}."
        )
    most = found.quality.decimals
    return told.format(
        snr=report.snr,
        first=bracketed(first, most),
        second=plain(second.value, places_of(second, most)),
        total=plain(ends.total.value, places_of(ends.total, most)),
        quality=_(found.quality.label),
        sum=_sum(report, ends.interaction),
    )


def _sum(report: StudyReport, interaction: Interval) -> str:
    if interaction.low <= 0 <= interaction.high:
        return report.gettext("which is their sum, as far as can be told")
    if interaction.value > 0:
        return report.gettext("which is more than their sum")
    return report.gettext("which is less than their sum")


# --- a setting


def _setting(report: StudyReport, found: Finding) -> str:
    _, sweep = report.gettext, found.sweep
    assert sweep is not None
    trend = sweep.trends[found.headline.followed_name]
    first, last = (
        finding.over_pairs(report.study, line.pairs, found.headline)
        for line in (found.lines[0], found.lines[-1])
    )
    assert first is not None and last is not None
    # Seeds move both alike: what tells first from last is their difference.
    supported = [value for value in (first, last, found.change) if value is not None]
    places = max(places_of(value, found.headline.decimals) for value in supported)
    fields = {
        "setting": setting_told(_, sweep.setting),
        "low": found.lines[0].name,
        "high": found.lines[-1].name,
        "measure": _(found.headline.label),
        "rho": "–" if trend.rho is None else plain(trend.rho, 2),
        "p": "–" if trend.p is None else f"{trend.p:.2g}",
        "first": plain(first.value, places),
        "last": plain(last.value, places),
    }
    verdicts: Mapping[str, str] = {
        "falls": _("{setting} {low} to {high}: {measure} falls from {first} to {last} (ρ {rho}, p {p})."),
        "rises": _("{setting} {low} to {high}: {measure} rises from {first} to {last} (ρ {rho}, p {p})."),
        "undecided": _(
            "{setting} {low} to {high}: no trend that these runs can show (ρ {rho}, p {p}); {measure} "
            "{first} … {last}."
        ),
    }
    return _capital(verdicts[trend.verdict].format(**fields))


def setting_told(gettext: Callable[[str], str], setting: str) -> str:
    return gettext(wording.setting_told(setting))


# --- a ladder


def _ladder(report: StudyReport, found: Finding) -> str:
    _ = report.gettext
    rungs = [line for line in found.lines if line.value is not None]
    dial = found.ladders[0].dial
    measure = _(TARGETS[dial.measure].title) if dial.measure in TARGETS else dial.measure
    ends = [finding.over_pairs(report.study, line.pairs, found.quality) for line in (rungs[0], rungs[-1])]
    first, last = (
        "–" if value is None else plain(value.value, places_of(value, found.quality.decimals))
        for value in ends
    )
    told = _(
        "Asked for {measure} of {low} to {high} at {snr:g} dB, {reached}; {quality} goes from {first} to "
        "{last}."
    )
    return told.format(
        measure=measure,
        low=rungs[0].name,
        high=rungs[-1].name,
        snr=dial.snr,
        reached=_reached(report, rungs),
        quality=_(found.quality.label),
        first=first,
        last=last,
    )


def _reached(report: StudyReport, rungs: list[Line]) -> str:
    """How many hybrids have what was asked, by their interval or within 5 %."""
    _ = report.gettext
    known = [finding.has_what_was_asked(line) for line in rungs if line.reached is not None]
    if not known:
        return _("which is not measured here")
    if all(known):
        return _("every hybrid has what was asked of it")
    if not any(known):
        return _("no hybrid has what was asked of it")
    return _("all hybrids but {missed} have it").format(missed=known.count(False))


# --- other pairs


def _pairs(report: StudyReport, found: Finding) -> str:
    _, teacher = report.gettext, report.study.pairing.reference
    compared = [line for line in found.lines if teacher not in line.pairs]
    met = [line for line in compared if line.group is not None and line.group.kind in TELLING]
    costs = {
        line.name: cost
        for line in met or compared
        if (cost := finding.cost(report.study, line.pairs, found.quality)) is not None
    }
    dearest = max(costs, key=lambda name: costs[name].value)
    alike = sum(1 for line in compared if line.p is not None and line.p >= setting_trends.ALPHA)
    told = _(
        "Of {count} pairs, {name} costs most at {snr}: {cost} {quality}; {alike} cannot be told from the "
        "teacher's."
    )
    return told.format(
        count=len(compared),
        name=said(dearest, _),
        snr=report.snr,
        cost=bracketed(costs[dearest], found.quality.decimals),
        quality=_(found.quality.label),
        alike=alike or _("none"),
    )


OF_QUESTION: Mapping[str, Callable[[StudyReport, Finding], str]] = {
    "nothing": _nothing,
    "pair": _pair,
    "pairs": _pairs,
    "ends": _ends,
    "setting": _setting,
    "ladder": _ladder,
}
