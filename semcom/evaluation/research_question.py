"""What a study's runs answer, in numbers: which question they are for, a line for each pair or value of the
setting, and which of these differ from the best."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from semcom.evaluation import bootstrap, intervals, measures
from semcom.evaluation.campaign import Sweep
from semcom.evaluation.groups import Group
from semcom.evaluation.intervals import Interval
from semcom.evaluation.ladders import NEAR, Ladder, Rung
from semcom.evaluation.measure_row import Measure
from semcom.evaluation.pairs import Pair, Square
from semcom.evaluation.setting_trends import ALPHA
from semcom.evaluation.snr_gap import OTHER_NOT_REACHED, Price
from semcom.evaluation.study import Study

Question = Literal["nothing", "pair", "ends", "setting", "ladder", "pairs"]
SEEDS_FOR_T = 3
"""Seeds from which a test is over them; with fewer it is over the sentences, of these models alone."""
KL = "kl_divergence"
"""What a setting is said to control."""


@dataclass(frozen=True)
class Line:
    """A row of the first table. name: of the pair, or a value of the setting. pairs: one of each of
    ``seeds``. group: whose pairs they are, where they are those of a group. value: of the setting, or the
    target asked for. reached: of a ladder's line, what was asked for. p: of no difference from the best line,
    in Holm's way over the lines; None of the best and of what is no part of the tests."""

    name: str
    pairs: tuple[Pair, ...]
    seeds: tuple[object, ...]
    group: Group | None = None
    value: float | None = None
    reached: Interval | None = None
    p: float | None = None
    best: bool = False


@dataclass(frozen=True)
class Ends:
    """What students cost at either end, at both, and beyond the sum of the two: of the quality, at the
    reference SNR, positive where they are worse. difference: the receiver's less the transmitter's."""

    square: Square
    transmitter: Interval
    receiver: Interval
    total: Interval
    interaction: Interval
    difference: Interval


@dataclass(frozen=True)
class Finding:
    """quality: the measure of what arrives. headline: that of the tests. over_seeds: whether the tests are
    over seeds; else they are over sentences and say something of these models alone. ends, ends_in_kl: of
    that question, the latter in KL. sweep: of a question of a setting. change: of its headline from the
    lowest value to the highest, over ``change_seeds`` seeds or, of one, over sentences. ladders: of that
    question."""

    question: Question
    lines: Sequence[Line]
    quality: Measure
    headline: Measure
    over_seeds: bool = False
    ends: Ends | None = None
    ends_in_kl: Ends | None = None
    sweep: Sweep | None = None
    change: Interval | None = None
    change_seeds: int = 0
    ladders: Sequence[Ladder] = field(default=())


def finding_of(study: Study, quality: Measure) -> Finding:
    """quality: the measure in which costs are told."""
    return _asked(study, quality)(study, quality)


def _asked(study: Study, quality: Measure) -> Callable[[Study, Measure], Finding]:
    """The question that the runs are for, the most particular first."""
    compared = [group for group in study.groups if group.role == "compared"]
    if not compared:
        return lambda study, quality: Finding("nothing", [], quality, quality)
    if any(len(ladder.rungs) > 1 for ladder in study.dialled.ladders):
        return _ladder
    if study.campaign.sweeps:
        return _setting
    if _are_of_one_square(study, compared):
        return _ends
    return _pair if len(compared) == 1 else _pairs


def _pair(study: Study, quality: Measure) -> Finding:
    return _tested(study, Finding("pair", _lines_of_groups(study), quality, quality))


def _pairs(study: Study, quality: Measure) -> Finding:
    return _tested(study, Finding("pairs", _lines_of_groups(study), quality, quality))


def _ends(study: Study, quality: Measure) -> Finding:
    (squares,) = _squares_by_group(study)
    ends, in_kl = (_costs(study, measure, squares) for measure in (quality, measures.named(KL)))
    found = Finding("ends", _lines_of_groups(study), quality, quality, ends=ends, ends_in_kl=in_kl)
    return _tested(study, found)


def _setting(study: Study, quality: Measure) -> Finding:
    """Of the setting with the most values; of several such the one with the most runs."""
    sweep = max(study.campaign.sweeps, key=lambda sweep: (sweep.points["value"].nunique(), len(sweep.runs)))
    own = study.pairing.own
    by_value: dict[float, dict[object, Pair]] = {}
    for label, value, seed in zip(sweep.runs, sweep.points["value"], sweep.points["seed"]):
        by_value.setdefault(float(value), {})[seed] = own[label]
    lines = [
        Line(f"{value:g}", tuple(of_value.values()), tuple(of_value), value=value)
        for value, of_value in sorted(by_value.items())
    ]
    headline = measures.named(KL)
    first, last = by_value[min(by_value)], by_value[max(by_value)]
    both = [(first[seed], last[seed]) for seed in first if seed in last]
    change = _over([of_pair(study, late, headline) - of_pair(study, early, headline) for early, late in both])
    found = Finding("setting", lines, quality, headline, sweep=sweep, change=change, change_seeds=len(both))
    return _tested(study, found)


def _ladder(study: Study, quality: Measure) -> Finding:
    ladders = [ladder for ladder in study.dialled.ladders if len(ladder.rungs) > 1]
    first = ladders[0]
    same = (first.kind, first.dial.scale)
    alike = [ladder for ladder in ladders if (ladder.kind, ladder.dial.scale) == same]
    by_target: dict[float, list[Rung]] = {}
    for ladder in alike:
        for rung in ladder.rungs:
            by_target.setdefault(rung.dial.target, []).append(rung)
    lines = [_line_of_rungs(study, target, by_target[target]) for target in sorted(by_target)]
    teachers = [line for line in _lines_of_groups(study) if line.group and line.group.role == "teacher"]
    return _tested(study, Finding("ladder", [*teachers, *lines], quality, quality, ladders=alike))


def _line_of_rungs(study: Study, target: float, rungs: Sequence[Rung]) -> Line:
    pairs = tuple(study.pairing.own[rung.run.label] for rung in rungs)
    reached = [study.dialled.reached(rung) for rung in rungs]
    known = [interval for interval in reached if interval is not None]
    over = None
    if len(known) == len(rungs):
        over = known[0] if len(known) == 1 else intervals.estimate([i.value for i in known]).interval
    return Line(f"{target:g}", pairs, tuple(rung.run.seed for rung in rungs), value=target, reached=over)


def _lines_of_groups(study: Study) -> list[Line]:
    """The teacher's own pair and all that is compared with it."""
    shown = [group for group in study.groups if group.role in ("teacher", "compared")]
    return [Line(group.name, group.pairs, group.seeds, group) for group in shown]


def of_pair(study: Study, pair: Pair, measure: Measure, snr: float | None = None) -> np.ndarray:
    """A measure at an SNR, by default the reference SNR, [R+1]: of the sentences, then of their resamples."""
    k = study.at_reference if snr is None else study.snrs.index(snr)
    return study.values(pair)[measure.name][k]


def over_pairs(
    study: Study, pairs: Sequence[Pair], measure: Measure, snr: float | None = None
) -> Interval | None:
    """A measure of pairs that differ in their seed alone, at an SNR."""
    return _over([of_pair(study, pair, measure, snr) for pair in pairs])


def _over(values: Sequence[np.ndarray]) -> Interval | None:
    """values: [R+1] of each seed. Of several the mean with Student's interval over them, of one its
    bootstrap."""
    if len(values) == 1:
        return bootstrap.interval(values[0])
    plain = [float(value[0]) for value in values]
    return intervals.estimate(plain).interval if plain and not np.isnan(plain).any() else None


def _squares_by_group(study: Study) -> list[list[Square]]:
    """Squares whose pairs differ in their seed alone, together."""
    group_of = {pair.key: number for number, group in enumerate(study.groups) for pair in group.pairs}
    found: dict[object, list[Square]] = {}
    for square in study.pairing.squares:
        both = study.pairing.corners(square)["SS"]
        found.setdefault(group_of.get(both.key), []).append(square)
    return list(found.values())


def _are_of_one_square(study: Study, compared: Sequence[Group]) -> bool:
    """Whether all pairs are corners of squares that differ in seeds alone."""
    squares = _squares_by_group(study)
    if len(squares) != 1:
        return False
    corners = {pair.key for square in squares[0] for pair in study.pairing.corners(square).values()}
    return all(pair.key in corners for group in compared for pair in group.pairs)


def _costs(study: Study, quality: Measure, squares: Sequence[Square]) -> Ends | None:
    sign = 1 if quality.better == "higher" else -1
    costs: dict[str, list[np.ndarray]] = {}
    for square in squares:
        corners = study.pairing.corners(square)
        tt, st, ts, ss = (of_pair(study, corners[name], quality) for name in ("TT", "ST", "TS", "SS"))
        sender, listener, total = (sign * (tt - other) for other in (st, ts, ss))
        parts = {
            "transmitter": sender,
            "receiver": listener,
            "total": total,
            "interaction": total - sender - listener,
            "difference": listener - sender,
        }
        for name, values in parts.items():
            costs.setdefault(name, []).append(values)
    found = {name: _over(values) for name, values in costs.items()}
    known = {name: value for name, value in found.items() if value is not None}
    return Ends(squares[0], **known) if len(known) == len(costs) else None


def cost(study: Study, pairs: Sequence[Pair], quality: Measure) -> Interval | None:
    """What pairs lose of the teacher's own quality at the reference SNR, positive where they are worse."""
    sign = 1 if quality.better == "higher" else -1
    teachers = of_pair(study, study.pairing.reference, quality)
    return _over([sign * (teachers - of_pair(study, pair, quality)) for pair in pairs])


# --- which lines are not to be told from the best


def _tested(study: Study, found: Finding) -> Finding:
    """The finding with the best of its lines, and a p for each of the others."""
    sign = 1 if found.headline.better == "higher" else -1
    values = [over_pairs(study, line.pairs, found.headline) for line in found.lines]
    known = [number for number, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return found
    best = max(known, key=lambda number: sign * _value(values[number]))
    others = [number for number in known if number != best]
    given = [found.lines[number] for number in others]
    over_seeds = all(_enough_seeds(study, line, found.lines[best]) for line in given)
    test = _over_seeds if over_seeds else _over_sentences
    p_values = intervals.holm([test(study, line, found.lines[best], found.headline) for line in given])
    p_of: Mapping[int, float] = dict(zip(others, p_values))
    lines = [
        replace(line, p=p_of.get(number), best=number == best) for number, line in enumerate(found.lines)
    ]
    return replace(found, lines=lines, over_seeds=over_seeds)


def _value(interval: Interval | None) -> float:
    return -np.inf if interval is None else interval.value


def _side_by_side(study: Study, line: Line, best: Line) -> list[tuple[Pair, Pair]]:
    """Pairs of the seeds that both have; the teacher's beside each of the other's."""
    ours, theirs = dict(zip(line.seeds, line.pairs)), dict(zip(best.seeds, best.pairs))
    if study.pairing.reference in best.pairs:
        return [(pair, best.pairs[0]) for pair in line.pairs]
    if study.pairing.reference in line.pairs:
        return [(line.pairs[0], pair) for pair in best.pairs]
    return [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]


def _enough_seeds(study: Study, line: Line, best: Line) -> bool:
    return len(_side_by_side(study, line, best)) >= SEEDS_FOR_T


def _over_seeds(study: Study, line: Line, best: Line, measure: Measure) -> float:
    """p of the paired t-test over the seeds."""
    beside = _side_by_side(study, line, best)
    ours, theirs = ([float(of_pair(study, pair, measure)[0]) for pair in side] for side in zip(*beside))
    p = intervals.paired(ours, theirs).p
    return 1.0 if p is None else p


def _over_sentences(study: Study, line: Line, best: Line, measure: Measure) -> float:
    """p of sentences that change sides, of the sums of these models."""
    beside = _side_by_side(study, line, best) or [(line.pairs[0], best.pairs[0])]
    k = study.at_reference
    ours, theirs = (
        np.sum([study.measured.pairs[pair.key].sums[k] for pair in side], axis=0)[:, None]
        for side in zip(*beside)
    )

    def value(sums: np.ndarray) -> Mapping[str, np.ndarray]:
        return measures.of_sums(sums, [measure])

    return float(bootstrap.swap_tests(ours, theirs, value, study.trials, study.seed)[measure.name][0])


def differing_from_teacher(study: Study, found: Finding) -> int:
    """Lines that differ from the teacher's own pair in the quality: p below 0.05, in Holm's way over all."""
    teacher = next((line for line in found.lines if study.pairing.reference in line.pairs), None)
    compared = [line for line in found.lines if line is not teacher]
    if teacher is None or not compared:
        return 0
    test = _over_seeds if all(len(line.pairs) >= SEEDS_FOR_T for line in compared) else _over_sentences
    p_values = intervals.holm([test(study, line, teacher, found.quality) for line in compared])
    return sum(p < ALPHA for p in p_values)


def gap_of(prices: Sequence[Price]) -> Interval | None:
    """What pairs of one a seed need more than the teacher's, in dB; None where one of them does not tell."""
    gaps = [price.gap for price in prices]
    known = [gap for gap in gaps if gap is not None]
    if not known or len(known) < len(gaps):
        return None
    return known[0] if len(known) == 1 else intervals.estimate([gap.value for gap in known]).interval


def least_gap(prices: Sequence[Price]) -> float | None:
    """What pairs need more than the teacher's at least, in dB, where the SNRs measured do not hold what one
    of them needs; None where they tell it, or where nothing is known of one."""
    unknown = any(price.why == OTHER_NOT_REACHED for price in prices)
    bounds = [price.at_least for price in prices if price.level > 0]
    if not unknown or len(bounds) < len(prices) or not np.isfinite(bounds).all():
        return None
    return float(np.mean(bounds))


def beside_noise(study: Study, pairs: Sequence[Pair], measure: Measure) -> Interval | None:
    """A divergence over what another draw of the channel makes of the teacher; None where that is nothing."""
    noise = of_pair(study, study.pairing.noise, measure)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = _over([of_pair(study, pair, measure) / noise for pair in pairs])
    return found if found is not None and np.isfinite(found.value) else None


def has_what_was_asked(line: Line) -> bool:
    """Within 5 % or its interval."""
    if line.reached is None or line.value is None:
        return False
    near = abs(line.reached.value - line.value) <= NEAR * line.value
    return near or line.reached.low <= line.value <= line.reached.high
