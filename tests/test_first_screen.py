"""What the first screen says: which question the runs answer, its numbers against second derivations, its
sentence's length, and the marks of its table."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from test_study import TEACHER, at, made_up, run
from toy import encoded

from semcom.evaluation import bootstrap, intervals, measures, research_question
from semcom.evaluation.intervals import Interval
from semcom.evaluation.pairs import pair_up
from semcom.report.catalogue import translation
from semcom.report.document import Styled
from semcom.report.rounding import bracketed, places_of, plain
from semcom.report.sections import first_costs, first_screen
from semcom.report.sections.study_report import StudyReport

BLEU, KL = measures.named("bleu"), measures.named("kl_divergence")
TEMPERATURES, SEEDS = (1.0, 2.0, 4.0, 8.0), (1, 2, 3)


def study_of(*runs, step=0.06, matrix="auto"):
    return made_up(pair_up(TEACHER, runs, matrix), encoded(40, 4, 12), step=step)


def report_on(study, language="en"):
    return StudyReport(study, translation(language), None)


@pytest.fixture(scope="module")
def receiver():
    return study_of(run("dec", "decoder"))


@pytest.fixture(scope="module")
def both_ends():
    return study_of(run("enc", "encoder"), run("dec", "decoder"))


@pytest.fixture(scope="module")
def swept():
    runs = [run(f"T{t:g} s{s}", "decoder", seed=s, temperature=t) for t in TEMPERATURES for s in SEEDS]
    return study_of(*runs, step=0.02, matrix="matched")


@pytest.fixture(scope="module")
def studies(receiver, both_ends, swept):
    several = study_of(run("enc", "encoder"), run("rkl", "decoder", kd_loss="rkl"), run("full"))
    alone = study_of(run("copy", weights=0))
    return {"pair": receiver, "ends": both_ends, "setting": swept, "pairs": several, "nothing": alone}


# Numbers as their intervals support them


@pytest.mark.parametrize(
    "interval, most, told",
    [
        (Interval(4.312, 3.642, 4.982), 2, "4.3 [3.6, 5.0]"),
        (Interval(31.27, 29.9, 32.6), 2, "31 [30, 33]"),
        (Interval(0.2213, 0.2151, 0.2276), 4, "0.221 [0.215, 0.228]"),
        (Interval(-0.04, -0.31, 0.2), 2, "−0.0 [−0.3, 0.2]".replace("−0.0", "0.0")),
        (Interval(2.0, 2.0, 2.0), 2, "2.00 [2.00, 2.00]"),
        (Interval(1.5, -np.inf, np.inf), 2, "1.50"),
        (Interval(1.5, 1.1, np.inf), 2, "1.50 [1.10, ∞]"),
        (Interval(250.0, 150.0, 350.0), 2, "250 [150, 350]"),
    ],
)
def test_a_number_has_the_digits_that_its_interval_supports(interval, most, told):
    assert bracketed(interval, most) == told


def test_the_last_digit_shown_is_of_the_size_of_half_the_interval():
    generator = np.random.default_rng(0)
    for half in 10 ** generator.uniform(-3.9, 1.9, 200):
        places = places_of(Interval(0.0, -half, half), 4)
        last = 10.0**-places
        assert last <= half * (1 + 1e-9) or places == 4
        assert half < 10 * last or places == 0


def test_no_number_is_minus_nothing():
    assert plain(-0.001, 2) == "0.00" and plain(-0.01, 2) == "−0.01"


# Which question


def test_the_question_is_that_of_the_runs(studies):
    for question, study in studies.items():
        assert research_question.finding_of(study, BLEU).question == question


# Its numbers


def test_a_cost_is_what_the_teacher_has_more(receiver):
    pair, teacher = receiver.pairing.own["dec"], receiver.pairing.reference
    k = receiver.at_reference
    cost = research_question.cost(receiver, [pair], BLEU)
    lost = [at(receiver, teacher, k, r)["bleu"] - at(receiver, pair, k, r)["bleu"] for r in range(151)]
    assert cost.value == pytest.approx(lost[0])
    ends = bootstrap.interval(np.array(lost))
    assert (cost.low, cost.high) == (pytest.approx(ends.low), pytest.approx(ends.high))


def test_costs_of_the_ends_add_up(both_ends):
    ends = research_question.finding_of(both_ends, BLEU).ends
    parts = ends.transmitter.value + ends.receiver.value + ends.interaction.value
    assert parts == pytest.approx(ends.total.value)
    assert ends.difference.value == pytest.approx(ends.receiver.value - ends.transmitter.value)
    pairing, k = both_ends.pairing, both_ends.at_reference
    teacher, receiver = pairing.reference, pairing.own["dec"]
    lost = at(both_ends, teacher, k)["bleu"] - at(both_ends, receiver, k)["bleu"]
    assert ends.receiver.value == pytest.approx(lost)


def test_a_value_of_a_setting_is_its_mean_over_seeds(swept):
    found = research_question.finding_of(swept, BLEU)
    assert [line.name for line in found.lines] == ["1", "2", "4", "8"]
    k = swept.at_reference
    by_value = {
        t: [at(swept, swept.pairing.own[f"T{t:g} s{s}"], k)["kl_divergence"] for s in SEEDS]
        for t in TEMPERATURES
    }
    for line in found.lines:
        over = research_question.over_pairs(swept, line.pairs, KL)
        half = stats.t.ppf(0.975, 2) * stats.sem(by_value[line.value])
        assert over.value == pytest.approx(np.mean(by_value[line.value]))
        assert over.high - over.value == pytest.approx(half)
    changes = np.subtract(by_value[8.0], by_value[1.0])
    assert found.change.value == pytest.approx(changes.mean())
    assert found.change.high - found.change.value == pytest.approx(stats.t.ppf(0.975, 2) * stats.sem(changes))


def test_lines_of_three_seeds_are_tested_over_seeds(swept):
    found = research_question.finding_of(swept, BLEU)
    assert found.over_seeds and found.headline == KL
    k = swept.at_reference
    by_value = {
        line.value: [at(swept, pair, k)["kl_divergence"] for pair in line.pairs] for line in found.lines
    }
    best = min(by_value, key=lambda value: np.mean(by_value[value]))
    p = {t: stats.ttest_rel(by_value[t], by_value[best]).pvalue for t in by_value if t != best}
    adjusted = dict(zip(p, intervals.holm(list(p.values()))))
    for line in found.lines:
        assert line.best == (line.value == best)
        assert line.p == (None if line.best else pytest.approx(adjusted[line.value]))


def test_lines_of_one_seed_are_tested_over_sentences(receiver):
    found = research_question.finding_of(receiver, BLEU)
    assert not found.over_seeds
    teacher, student = found.lines
    assert teacher.best and teacher.p is None
    of_matrix = receiver.row(receiver.pairing.own["dec"])["bleu_p"]
    # One test here, three SNRs under Holm there: no smaller than this one.
    assert student.p <= of_matrix + 1e-9


# Its sentence

NUMBER = re.compile(r"\d+(?:\.\d+)?")


def numbers_of(told):
    """What a pair is called may have numbers of its own."""
    return NUMBER.findall(re.sub(r"T=\d+|kd-loss \w+", "", told))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_sentence_is_short(studies, language):
    for study in studies.values():
        told = first_screen.answer(report_on(study, language)).sentence
        assert len(numbers_of(told)) <= 6, told
        assert len(told.split()) <= 40, told
        assert told.endswith("." if language == "en" else "。"), told


def mean_of(study, measure, *labels):
    k = study.at_reference
    return np.mean([at(study, study.pairing.own[label], k)[measure] for label in labels])


def teachers_bleu(study):
    return at(study, study.pairing.reference, study.at_reference)["bleu"]


def test_the_numbers_of_a_pair_are_those_of_its_sums(receiver):
    told = numbers_of(first_screen.answer(report_on(receiver)).sentence)
    k, pair = receiver.at_reference, receiver.pairing.own["dec"]
    lost = teachers_bleu(receiver) - mean_of(receiver, "bleu", "dec")
    noise = at(receiver, receiver.pairing.noise, k)["kl_divergence"]
    ratio = at(receiver, pair, k)["kl_divergence"] / noise
    assert told[0] == f"{lost:.0f}" and told[3] == "6" and told[-1] == f"{ratio:.1f}"


def test_the_numbers_of_two_ends_are_those_of_their_sums(both_ends):
    told = numbers_of(first_screen.answer(report_on(both_ends)).sentence)
    receiver, transmitter = (
        teachers_bleu(both_ends) - mean_of(both_ends, "bleu", label) for label in ("dec", "enc")
    )
    both = both_ends.pairing.corners(both_ends.pairing.squares[0])["SS"]
    total = teachers_bleu(both_ends) - at(both_ends, both, both_ends.at_reference)["bleu"]
    assert told[0] == "6" and told[1] == f"{receiver:.0f}"
    assert told[-2:] == [f"{transmitter:.0f}", f"{total:.0f}"]


def test_the_numbers_of_a_setting_are_those_of_its_sums(swept):
    told = numbers_of(first_screen.answer(report_on(swept)).sentence)
    first, last = (
        mean_of(swept, "kl_divergence", *(f"T{t:g} s{s}" for s in SEEDS))
        for t in (TEMPERATURES[0], TEMPERATURES[-1])
    )
    rho = research_question.finding_of(swept, BLEU).sweep.trends["kl_divergence"].rho
    places = len(told[2].partition(".")[2])
    assert places >= 2 and told[:5] == ["1", "8", f"{first:.{places}f}", f"{last:.{places}f}", f"{rho:.2f}"]


def test_the_dearest_of_several_pairs_is_told(studies):
    study = studies["pairs"]
    told = first_screen.answer(report_on(study)).sentence
    met = [
        line
        for line in research_question.finding_of(study, BLEU).lines
        if line.group.kind in first_costs.TELLING
    ]
    costs = {line.name: research_question.cost(study, line.pairs, BLEU) for line in met}
    dearest = max(costs, key=lambda name: costs[name].value)
    assert f"{dearest} costs most, {bracketed(costs[dearest], 2)}." in told
    k, compared = study.at_reference, [group for group in study.groups if group.role == "compared"]
    p_values = intervals.holm([study.by_group.p_value(group, "bleu", k)[0] for group in compared])
    assert told.startswith(f"{sum(p < 0.05 for p in p_values)} of {len(p_values)} pairs differ")


def swapped(study, *labels):
    """The study in which these runs' pairs are as good as the teacher's, and the teacher's as theirs."""
    pairs = dict(study.measured.pairs)
    reference = study.pairing.reference.key
    for label in labels:
        own = study.pairing.own[label].key
        pairs[own], pairs[reference] = pairs[reference], pairs[own]
    return replace(study, measured=replace(study.measured, pairs=pairs), _values={})


def test_a_gain_is_no_cost(receiver, both_ends):
    told = first_screen.answer(report_on(swapped(receiver, "dec"))).sentence
    assert " gains 4 [1, 8] BLEU" in told and "cost" not in told
    told = first_screen.answer(report_on(swapped(both_ends, "dec"))).sentence
    assert "changes BLEU by" in told and "cost" not in told


def test_of_few_seeds_no_trend_is_spoken_of(studies):
    runs = [run(f"T{t:g}", "decoder", temperature=t) for t in TEMPERATURES]
    few_seeds = study_of(*runs, step=0.02, matrix="matched")
    answer = first_screen.answer(report_on(few_seeds))
    assert "too few seeds to speak of a trend" in answer.sentence and "ρ" not in answer.sentence
    change = research_question.finding_of(few_seeds, BLEU).change
    (line,) = [line for line in answer.beside if "changes by" in line]
    assert bracketed(change, 4) in line and "over sentences" in line


def test_an_undecided_trend_says_what_is_not_excluded(swept, monkeypatch):
    sweep = swept.campaign.sweeps[0]
    undecided = {
        name: replace(trend, verdict="undecided", why="signs_differ") for name, trend in sweep.trends.items()
    }
    flat = replace(
        research_question.finding_of(swept, BLEU),
        sweep=replace(sweep, trends=undecided),
        change=Interval(0.001, -0.02, 0.03),
    )
    monkeypatch.setattr(research_question, "finding_of", lambda study, quality: flat)
    answer = first_screen.answer(report_on(swept))
    assert "no trend that these runs can show" in answer.sentence
    assert [line for line in answer.beside if "−0.02 to 0.03 nats a token (95 %, over seeds)" in line]


def test_seeds_that_no_two_values_share_leave_a_change_over_sentences(studies):
    runs = [run(f"T1 s{s}", "decoder", seed=s, temperature=1.0) for s in SEEDS]
    runs.append(run("T8 s3", "decoder", seed=3, temperature=8.0))
    uneven = study_of(*runs, step=0.02, matrix="matched")
    found = research_question.finding_of(uneven, BLEU)
    assert found.change_seeds == 1
    (line,) = [line for line in first_screen.answer(report_on(uneven)).beside if "changes by" in line]
    assert "over sentences, of these models alone" in line


def test_what_a_sweep_holds_fixed_and_leaves_out_is_said():
    runs = [run(f"T{t:g}", "decoder", temperature=t) for t in (1.0, 4.0)]
    runs += [run(f"rkl T{t:g}", "decoder", temperature=t, kd_loss="rkl") for t in (1.0, 4.0)]
    beside = " ".join(first_screen.answer(report_on(study_of(*runs, matrix="matched"))).beside)
    assert "kd" in beside and "2 other pairs" in beside


def test_the_ends_of_a_full_student_are_said_to_differ_in_code(studies):
    assert any("code mismatch" in line for line in first_screen.answer(report_on(studies["pairs"])).beside)


# Its table


def test_the_table_has_a_row_a_line_and_the_yardsticks(studies):
    for question in ("pair", "ends", "pairs", "setting"):
        answer = first_screen.answer(report_on(studies[question]))
        found = research_question.finding_of(studies[question], BLEU)
        yardsticks = [g for g in studies[question].groups if g.role not in ("teacher", "compared")]
        assert yardsticks and len(answer.table.frame) == len(found.lines) + len(yardsticks)
        assert len(answer.table.columns) <= 7 and answer.table.in_paper


def test_what_is_not_told_from_the_best_is_bold_and_the_rest_marked(swept):
    answer = first_screen.answer(report_on(swept))
    found = research_question.finding_of(swept, BLEU)
    for line, cell in zip(found.lines, answer.table.frame["kl_divergence"]):
        assert isinstance(cell, Styled)
        marks = "" if line.p is None or line.p >= 0.05 else "†" if line.p < 0.01 else "*"
        assert (cell.bold, cell.marks) == (not marks, marks)


def test_tests_over_sentences_are_said_to_be_of_this_model(receiver, swept):
    titles = [column.title for column in first_screen.answer(report_on(receiver)).table.columns.values()]
    assert "BLEU (this model only)" in titles
    titles = [column.title for column in first_screen.answer(report_on(swept)).table.columns.values()]
    assert not [title for title in titles if "only" in title]


def test_the_first_figures_data_hold_every_line(swept):
    answer = first_screen.answer(report_on(swept))
    for _, of_panel in answer.figure.data.groupby("measure"):
        assert of_panel["name"].nunique() == 1 + len(research_question.finding_of(swept, BLEU).lines)


def test_of_one_snr_the_figure_is_over_the_values_of_the_setting(swept, receiver):
    for study, name in ((swept, "first_by_value"), (receiver, "first_points")):
        at_one = replace(study, measured=replace(study.measured, snrs=[6.0]), _values={})
        at_one.measured.pairs = {
            key: replace(found, sums=found.sums[2:], pieces=found.pieces[2:])
            for key, found in study.measured.pairs.items()
        }
        answer = first_screen.answer(report_on(at_one))
        assert answer.figure.name == name
        found = research_question.finding_of(at_one, BLEU)
        drawn = answer.figure.data[answer.figure.data["name"].isin(["students", "teacher → teacher"])]
        means = [research_question.over_pairs(at_one, line.pairs, BLEU).value for line in found.lines]
        assert set(drawn["value"]) & set(means)
