"""Ladders in the analysis: what a dialled hybrid says of itself, how ladders are found, what the report makes
of them. The hybrids are toys on a straight line; what they are said to have been asked for is made up."""

import json
import math
import re
import shutil

import numpy as np
import pytest
from cli_support import TINY_TRAINING, analyse, distil, refused
from dials import between, record, write_ladder
from sacrebleu import corpus_bleu
from toy import CPU, Numbers, encoded, sharp, size, spoken, word_vocabulary

from semcom.base.errors import SemcomError
from semcom.channel.channels import AWGN
from semcom.commands import ladders as finding
from semcom.commands.dial_state import UNFINISHED
from semcom.commands.runs import by_teacher, load_group
from semcom.data.batching import Encoded
from semcom.data.corpus import Sentence
from semcom.evaluation import frames, intervals, measures, pair_matrix
from semcom.evaluation.campaign import Campaign
from semcom.evaluation.dialled import Dial, dial_of
from semcom.evaluation.intervals import Interval
from semcom.evaluation.lost_words import frequency_bands
from semcom.evaluation.pairs import CODE, KNOWLEDGE, UNKNOWN, Run, pair_up
from semcom.evaluation.scores import Meeting
from semcom.evaluation.setting_trends import claim_of
from semcom.evaluation.study import Study
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint
from semcom.models.transceiver import splice
from semcom.report.catalogue import translation
from semcom.report.cells import columns_of_text
from semcom.report.document import Table
from semcom.report.look import LIGHT, PAGE
from semcom.report.names_in_words import setting_told
from semcom.report.sections import dial as section
from semcom.report.sections import first_screen
from semcom.report.sections import setting_trends as trends_section
from semcom.report.sections.study_report import StudyReport

RECEIVER = ("channel_decoder", "decoder")
PLACES = {0.1: 0.1, 0.2: 0.3, 0.3: 0.6, 0.4: 1.0}
TEACHER = Checkpoint(sharp(), Numbers(), {}, {}, {})
MADE = {"distill_part": "decoder", "teacher_fingerprint": TEACHER.fingerprint, "temperature": 4.0}


def receiver_of(seed, layers=1):
    """The teacher with another receiver: a relative of its own, or one of another depth."""
    other = sharp(noise=0.3 + seed / 50) if layers == 1 else sharp(size(1), size(layers), seed=seed)
    return splice(TEACHER.model, other, RECEIVER)


def rung(label, target, place, *, seed=1, layers=1, **changes):
    start = TEACHER.model if layers == 1 else receiver_of(seed + 50, layers)
    model = between(start, receiver_of(seed, layers), place)
    made = {**MADE, "seed": seed, "student_layers": layers, "dial": record(target, place, **changes)}
    return Run(label, Checkpoint(model, Numbers(), {}, {}, made), made)


def ladder(name, *, seed=1, places=PLACES, **changes):
    changes.setdefault("run", f"runs/{name}")
    return [
        rung(f"{name}/{target:g}", target, place, seed=seed, **changes) for target, place in places.items()
    ]


def study_of(runs, sentences=24, topics=("trade", "health")):
    texts = [
        Encoded(Sentence(e.sentence.id, e.sentence.text, topic=topics[i % len(topics)]), e.source)
        for i, e in enumerate(encoded(sentences, 4, 9, seed=3))
    ]
    who = pair_up(TEACHER, runs, "matched")
    meeting = Meeting(AWGN(), (6.0, 12.0), 0, CPU, 24, quiet=True)
    measured = pair_matrix.measure(
        who.pairs, who.reference, texts, Numbers(), meeting, cka_snr=12.0, cache=None
    )
    return Study(who, measured, "awgn", True, 12.0, 120, 1, Numbers().decode)


@pytest.fixture(scope="module")
def study():
    """Three seeds of a path from the teacher; three of a deeper receiver, of whose targets one is the same;
    an undialled run of each seed and temperature."""
    runs = [
        Run(f"T{t:g} s{seed}", rung("", 1, place).checkpoint, {**MADE, "seed": seed, "temperature": t})
        for seed, place in ((1, 0.2), (2, 0.5), (3, 0.8))
        for t in (1.0, 2.0)
    ]
    for seed in (1, 2, 3):
        runs += ladder(f"near{seed}", seed=seed, path="knowledge")
        runs += ladder(f"deep{seed}", seed=seed, places={0.4: 0.5, 0.9: 1.0}, layers=2)
    return study_of(runs)


def report_of(study, language="en"):
    return StudyReport(study, translation(language), study.by_group.words_lost(frequency_bands({})))


# What a hybrid says of itself


def test_a_record_is_read():
    found = dial_of({"dial": record(0.2, 0.25, topics=["trade", "health"], snr=12)})
    assert found == Dial(
        "learning", 0.25, "kl_divergence", "gold", 0.2, 12.0, "awgn", ("health", "trade"),
        Interval(0.2 * 1.01, 0.2 * 0.97, 0.2 * 1.05), "runs/decoder",
    )  # fmt: skip
    assert found.axis == "learning path, kl_divergence (gold) at 12 dB, awgn, topics health trade"
    assert dial_of({}) is None
    assert dial_of({"dial": record(test=None)}).test is None
    assert dial_of({"dial": record(test_low=None)}).test.low == -math.inf


@pytest.mark.parametrize(
    "damage",
    [
        {"target": "0.1"}, {"target": True}, {"target": math.nan}, {"target": 10**400}, {"place": 1.5},
        {"snr": None}, {"path": 3}, {"channel": ""}, {"measure": ["kl"]}, {"topics": "trade"},
        {"topics": [1]},
    ],
)  # fmt: skip
def test_a_damaged_record_says_nothing(damage):
    assert dial_of({"dial": record() | damage}) is None
    assert dial_of({"dial": [record()]}) is None


def test_what_was_asked_for_is_a_setting():
    one, other = rung("a", 0.1, 0.5).settings(), rung("b", 0.2, 0.6).settings()
    assert [name for name in one if one[name] != other[name]] == ["dial_target"]
    assert (one["dial_target"], other["dial_target"]) == (0.1, 0.2)
    for change in ({"snr": 12.0}, {"channel": "ideal"}, {"measure": "js_divergence"}, {"path": "knowledge"},
                   {"prefix": "reference"}, {"topics": ["trade"]}):  # fmt: skip
        changed = rung("c", 0.1, 0.5, **change).settings()
        assert [name for name in one if one[name] != changed[name]] == ["dial_axis"], change
    plain = Run("d", TEACHER, MADE).settings()
    assert plain["dial_target"] is None and plain["dial_axis"] is None


def test_the_kind_is_that_of_the_run_but_between_any_two_it_is_not_known():
    made = rung("a", 0.1, 0.5).made
    full = {**made, "distill_part": "full", "cross_weight": 0.0}
    somewhere = {**made, "dial": record(path="between")}
    kinds = [
        Run("", TEACHER, settings).kind(TEACHER.fingerprint, "receiver")
        for settings in (made, full, somewhere)
    ]
    assert kinds == [KNOWLEDGE, CODE, UNKNOWN]


# Does it control divergence?


def campaign_of(runs):
    return Campaign(runs, lambda run: {"kl_divergence": run.dial.target if run.dial else 1 / run.seed})


def test_ladders_are_a_sweep_of_targets_and_leave_that_of_temperatures_alone():
    plain = [
        Run(f"T{t:g} s{seed}", TEACHER, {**MADE, "temperature": t, "seed": seed})
        for t in (1.0, 2.0, 4.0, 8.0)
        for seed in (1, 2, 3)
    ]
    dialled = [
        rung(f"l{seed}/{target:g}", target, place, seed=seed, layers=1)
        for seed in (1, 2, 3)
        for target, place in PLACES.items()
    ]
    # A second ladder of another temperature: at each target two temperatures, which are no sweep.
    other = [Run(f"{run.label} T8", run.checkpoint, {**run.made, "temperature": 8.0}) for run in dialled]
    elsewhere = ladder("six", snr=12.0)
    alone = {s.setting: s for s in campaign_of(plain).sweeps}
    found = campaign_of([*plain, *dialled, *other, *elsewhere]).sweeps
    temperature = [sweep for sweep in found if sweep.setting == "temperature"]
    assert [sweep.runs for sweep in temperature] == [alone["temperature"].runs]
    assert not set(temperature[0].held) & {"dial_target", "dial_axis"}
    targets = {sweep.runs: sweep for sweep in found if sweep.setting == "dial_target"}
    assert set(targets) == {tuple(run.label for run in group) for group in (dialled, other, elsewhere)}
    sweep = targets[tuple(run.label for run in dialled)]
    assert sweep.held["dial_axis"] == dialled[0].dial.axis
    assert sweep.trends["kl_divergence"].verdict == "rises"
    assert (claim_of("dial_target"), claim_of("temperature")) == ("rises", "falls")
    assert len(found) == 4


def test_the_table_of_verdicts_says_what_is_claimed(study):
    blocks = trends_section.blocks(report_of(study))
    table = next(block for block in blocks if isinstance(block, Table))
    rows = frames.records(table.frame)
    near = [row for row in rows if row["setting"] == "divergence asked for" and row["values"] == 4]
    assert {row["claim"] for row in near} == {"higher target, larger divergence"}
    assert {row["verdict"] for row in near if row["measure"] == "KL"} == {"supported"}
    assert {row["claim"] for row in rows if row["setting"] == "temperature"} == {
        "higher value, smaller divergence"
    }
    assert "not independent" in table.note


def test_one_dialled_hybrid_beside_its_run_is_no_riddle():
    model = rung("", 1, 0.5).checkpoint
    runs = [Run("run", model, {**MADE, "seed": 1}), rung("ladder/0.1", 0.1, 0.4)]
    assert trends_section.blocks(report_of(study_of(runs))) == []
    hot = Run("hot", rung("", 1, 0.6).checkpoint, {**MADE, "seed": 1, "temperature": 8.0})
    other = Run("other/0.1", runs[1].checkpoint, {**runs[1].made, "distill_weight": 0.3, "temperature": 2.0})
    study = study_of([runs[0], hot, other])
    table, curve, folded = trends_section.blocks(report_of(study))
    values = next(block for block in folded.blocks if isinstance(block, Table))
    assert "of one seed" in values.caption
    of_each = [study.followed(run)["kl_divergence"] for run in (runs[0], hot)]
    assert values.frame["kl_divergence"].tolist() == pytest.approx(of_each)
    assert [block.name for block in (table, curve, *folded.blocks)] == [
        "trends",
        "trend_1",
        "values_1",
        "divergence_and_quality",
    ]


# Ladders, and what was reached


def test_rungs_of_one_path_are_one_ladder(study):
    found = study.dialled.ladders
    assert [ladder.name for ladder in found] == ["near1", "deep1", "near2", "deep2", "near3", "deep3"]
    assert [rung.dial.target for rung in found[0].rungs] == [0.1, 0.2, 0.3, 0.4]
    assert found[0].kind == found[2].kind != found[1].kind


def test_the_same_name_stands_once():
    runs = [*ladder("a"), *ladder("a", run="elsewhere", path="knowledge")]
    runs = [Run(f"{run.label}", run.checkpoint, run.made) for run in runs]
    study = Study(pair_up(TEACHER, [], "matched"), None, "awgn", True, 12.0, 9, 1, None)
    study.pairing.runs = runs
    assert [ladder.name for ladder in study.dialled.ladders] == ["a", "a (2)"]


def sums_of(study, pair, chosen, column):
    place = measures.columns().index(column)
    return study.measured.pairs[pair.key].sums[study.snrs.index(6.0)][chosen][:, place].sum()


@pytest.mark.parametrize(
    "asked, words, is_reached",
    [
        ("bleu_drop", {"bleu_signature": "nrefs:1|tok:13a|version:2.4"}, True),
        ("bleu_drop", {"bleu_signature": "nrefs:1|tok:zh|version:2.4"}, False),
        ("bleu_drop", {"bleu_signature": "nrefs:1|tok:13a", "text_normalization": "identity"}, False),
        ("kl_divergence", {"bleu_signature": "nrefs:1|tok:zh|version:2.4"}, True),
    ],
)
def test_a_drop_in_bleu_of_other_words_is_not_measured_here(study, asked, words, is_reached):
    run = study.pairing.runs[8]
    run = Run(run.label, run.checkpoint, {**run.made, "dial": record(measure=asked, **words)})
    pairing = pair_up(TEACHER, [run], "matched")
    alone = Study(pairing, study.measured, "awgn", True, 12.0, 50, 1, None)
    (rung_of_it,) = alone.dialled.ladders[0].rungs
    assert (alone.dialled.reached(rung_of_it) is not None) == is_reached


@pytest.mark.parametrize("topics", [None, ["trade"]])
@pytest.mark.parametrize("asked", ["kl_divergence", "cross_entropy_gap", "bleu_drop"])
def test_what_was_reached_is_of_the_measure_and_the_sentences_asked_for(study, asked, topics):
    run = study.pairing.runs[8]
    run = Run(run.label, run.checkpoint, {**run.made, "dial": record(measure=asked, topics=topics)})
    (found,) = [
        study.dialled.reached(rung)
        for ladder in Study(
            pair_up(TEACHER, [run], "matched"), study.measured, "awgn", True, 12.0, 50, 1, None
        ).dialled.ladders
        for rung in ladder.rungs
    ]
    own, reference = study.pairing.own[run.label], study.pairing.reference
    chosen = [topics is None or s.topic in topics for s in study.sentences]
    if asked == "kl_divergence":
        wanted = sums_of(study, own, chosen, "kl") / sums_of(study, own, chosen, "tokens")
    elif asked == "cross_entropy_gap":
        ours, theirs = (
            sums_of(study, pair, chosen, "nats") / sums_of(study, pair, chosen, "targets")
            for pair in (own, reference)
        )
        wanted = ours - theirs
    else:
        sent = [s.text for s, here in zip(study.sentences, chosen) if here]
        ours, theirs = (
            corpus_bleu([t for t, here in zip(study.texts(pair, 0), chosen) if here], [sent]).score
            for pair in (own, reference)
        )
        wanted = theirs - ours
    assert found.value == pytest.approx(wanted) and found.low < found.value < found.high


@pytest.mark.parametrize("change", [{"snr": 9.0}, {"channel": "rayleigh zf"}, {"measure": "mine"}])
def test_what_is_not_measured_here_is_not_told(study, change):
    rungs = study.dialled.ladders[0].rungs
    changed = rung(rungs[0].run.label, 0.1, 0.5, **change)
    assert study.dialled.reached(rungs[0]) is not None
    assert study.dialled.reached(type(rungs[0])(changed, changed.dial)) is None


def test_a_distance_from_another_teacher_is_not_told(study):
    """Nor is it a distance on the axis of those from this one."""
    first = study.dialled.ladders[0].rungs[0]

    def told(**changes):
        changed = rung(first.run.label, 0.1, 0.5, **changes)
        return study.dialled.reached(type(first)(changed, changed.dial)), changed.settings()["dial_axis"]

    older, axis = told()
    assert older is not None and told(teacher_fingerprint=TEACHER.fingerprint) == (older, axis)
    reached, elsewhere = told(teacher_fingerprint="0ther")
    assert reached is None and elsewhere == f"{axis}, from the teacher 0ther"
    # Of an older record it is the teacher of the run, or any where that is not recorded.
    made = {**first.run.made, "teacher_fingerprint": "0ther"}
    assert not dial_of(made).is_from(TEACHER.fingerprint)
    assert dial_of({"dial": record()}).is_from(TEACHER.fingerprint)
    assert dial_of({**made, "dial": record(teacher_fingerprint="mine")}).teacher == "mine"
    assert dial_of({"dial": record(teacher_fingerprint=3, teacher_checkpoint=[])}) == dial_of(
        {"dial": record()}
    )


def test_targets_from_two_teachers_are_not_the_same():
    here, there = ladder("a", places={0.1: 0.5}), ladder("b", places={0.1: 0.4}, path="knowledge")
    assert study_of([*here, *there]).dialled.same_amount()[0].asked == 0.1
    there = ladder("b", places={0.1: 0.4}, path="knowledge", teacher_fingerprint="0ther")
    study = study_of([*here, *there])
    assert [found.asked for found in study.dialled.same_amount() if found.asked is not None] == []
    table, one, other, *_ = section.blocks(report_of(study))
    assert [row["reached"] is None for row in frames.records(table.frame)] == [False, True]
    told = ", from another teacher (0ther)"
    assert told in other.caption and told not in one.caption


def test_words_lost_are_those_of_the_words_section(study):
    lost = study.words_lost(frequency_bands({}))
    lost = lost[(lost["by"] == "all") & (lost["class"] == "words")].set_index("pair")
    for row in frames.records(study.dialled.rows):
        pair = study.pairing.label(study.pairing.own[row["run"]])
        assert row["words_lost"].value == lost.loc[pair, "lost"].value


# The same amount, another kind


def test_the_same_was_asked_of_two_kinds(study):
    asked = [found for found in study.dialled.same_amount() if found.asked is not None]
    (found,) = asked
    assert found.asked == 0.4
    assert [rung.run.label for rung in found.first] == [f"near{seed}/0.4" for seed in (1, 2, 3)]
    assert [rung.run.label for rung in found.second] == [f"deep{seed}/0.4" for seed in (1, 2, 3)]
    for name in ("kl_divergence", "bleu", "agreement_rate", "exact"):
        ours, theirs = (
            [float(study.values(study.pairing.own[rung.run.label])[name][1, 0]) for rung in rungs]
            for rungs in (found.first, found.second)
        )
        first, second, apart = found.values[name]
        assert first.value == pytest.approx(np.mean(ours)) and second.value == pytest.approx(np.mean(theirs))
        assert apart == intervals.paired(ours, theirs).interval


def test_of_one_seed_the_difference_is_over_the_same_sentences():
    one, other = ladder("near", path="knowledge"), ladder("deep", places={0.4: 0.5}, layers=2)
    study = study_of([*one, *other])
    (found,) = [found for found in study.dialled.same_amount() if found.asked is not None]
    first, second = (study.values(study.pairing.own[label])["bleu"][1] for label in ("near/0.4", "deep/0.4"))
    apart = first - second
    low, high = np.quantile(apart[1:], [0.025, 0.975], method="closest_observation")
    assert found.values["bleu"][2].value == apart[0]
    assert found.values["bleu"][2].low == pytest.approx(low, abs=np.ptp(apart) / 20)
    assert found.values["bleu"][2].high == pytest.approx(high, abs=np.ptp(apart) / 20)


def test_amounts_measured_alone_are_within_five_percent():
    """The same weights dialled by another path and to another target have the same KL."""
    one = ladder("a", places={0.1: 0.5, 0.2: 1.0})
    other = ladder("b", places={0.15: 0.5, 0.7: 0.1}, path="knowledge")
    found = study_of([*one, *other]).dialled.same_amount()
    labels = [(f.first[0].run.label, f.second[0].run.label, f.asked) for f in found]
    assert labels == [("a/0.1", "b/0.15", None)]
    assert found[0].values["kl_divergence"][2].value == 0


def test_other_seeds_are_no_other_kind():
    runs = [run for seed in (1, 2) for run in ladder(f"l{seed}", seed=seed, places={0.1: 0.5})]
    assert study_of(runs).dialled.same_amount() == []


TRAININGS = [
    {"student_init": "teacher"}, {"distill_weight": 0}, {"topics": ["trade"]}, {"exclude_topics": ["trade"]},
    {"corpus": ["mine.txt"]},
]  # fmt: skip


@pytest.mark.parametrize("other_training", TRAININGS, ids=lambda changed: next(iter(changed)))
def test_another_training_is_another_kind(other_training):
    usual = {"student_init": "random", "distill_weight": 1.0, "topics": [], "corpus": None}
    (one,) = ladder("one", places={0.2: 0.5})
    (other,) = ladder("other", places={0.2: 0.6}, seed=2)
    one = Run(one.label, one.checkpoint, {**one.made, **usual})
    alike = Run(other.label, other.checkpoint, {**other.made, **usual, "distill_weight": 1, "topics": None})
    assert study_of([one, alike]).dialled.same_amount() == []
    apart = Run(other.label, other.checkpoint, {**other.made, **usual, **other_training})
    study = study_of([one, apart])
    (found,) = study.dialled.same_amount()
    assert found.asked == 0.2
    ((setting, value),) = other_training.items()
    shown = " ".join(value) if isinstance(value, list) else str(value)
    table, _, folded = section.blocks(report_of(study))
    setting = setting_told(setting)
    told = f"learning path, receiver, 1 layer of width 16, {setting} {shown}"
    seconds = {row["second"] for row in frames.records(folded.blocks[0].frame)}
    name = study.name_of(apart)
    assert "decoder student dialled to 0.2" in name and seconds == {f"{name} ({told})"}
    of_one, of_other = [row["path"] for row in frames.records(table.frame)]
    assert of_other == f"learning path, receiver, {setting} {shown}"
    assert setting in of_one and of_one.count(", ") == 2


def test_ladders_of_one_kind_seed_and_target_are_all_shown():
    runs = [run for seed in (1, 2) for run in ladder(f"deep{seed}", seed=seed, places={0.4: 0.5}, layers=2)]
    runs += [run for seed in (1, 2) for run in ladder(f"near{seed}", seed=seed, places={0.4: 1.0})]
    runs += ladder("again", seed=1, places={0.4: 0.7})
    # The same run dialled twice, into two folders.
    runs += ladder("twice", seed=1, places={0.4: 0.6}, run="runs/near1")
    study = study_of(runs)
    asked = [found for found in study.dialled.same_amount() if found.asked is not None]
    labels = [
        (sorted(rung.run.label for rung in found.first), sorted(rung.run.label for rung in found.second))
        for found in asked
    ]
    both = ["deep1/0.4", "deep2/0.4"]
    assert sorted(labels, key=str) == sorted(
        [(both, ["near1/0.4", "near2/0.4"]), (both[:1], ["again/0.4"]), (both[:1], ["twice/0.4"])], key=str
    )
    (same,) = section.blocks(report_of(study))[-1].blocks
    told = {row["second"].split(" (")[0] for row in frames.records(same.frame)}
    name = "teacher → decoder student dialled to 0.4, 1 layer, "
    assert told == {f"{name}near1/0.4", f"{name}again/0.4", f"{name}twice/0.4"}


def test_hybrids_of_other_paths_are_told_apart_in_words():
    runs = [*ladder("a", places={0.2: 0.3}), *ladder("b", places={0.2: 0.4}, path="knowledge")]
    names = {study_of(runs).name_of(run) for run in runs}
    assert names == {
        f"teacher → decoder student dialled to 0.2, T=4, {path} path" for path in ("learning", "knowledge")
    }


@pytest.mark.parametrize("snr", [6.0, 12.0])
def test_what_sweeps_of_targets_hold_fixed_is_in_words(snr):
    others = {0.1: 0.2, 0.3: 0.5}
    runs = [*ladder("a"), *ladder("b", path="knowledge", snr=snr, places=others)]
    table = trends_section.blocks(report_of(study_of(runs)))[0]
    more = "" if snr == 6.0 else ", KL (gold prefixes) at {snr} dB, AWGN"
    told = [f"{path} path" + more.format(snr=at) for path, at in (("learning", 6), ("knowledge", 12))]
    assert list(dict.fromkeys(row["held"] for row in frames.records(table.frame))) == told


# The section


def test_the_section_has_what_was_asked_and_reached(study):
    table, figure, folded = section.blocks(report_of(study))
    (same,) = folded.blocks
    assert (table.name, figure.name, same.name) == ("dial", "dial_curve_1", "dial_same_amount")
    rows = frames.records(table.frame)
    assert [row["target"] for row in rows] == [*PLACES, 0.4, 0.9] and {row["seeds"] for row in rows} == {3}
    row = rows[2]
    of_each = [study.dialled.reached(study.dialled.ladders[number].rungs[2]) for number in (0, 2, 4)]
    assert row["reached"] == intervals.estimate([reached.value for reached in of_each]).interval
    assert row["recorded"].value == pytest.approx(0.3 * 1.01)
    bleu = [study.row(study.pairing.own[f"near{seed}/0.3"])["bleu"].value for seed in (1, 2, 3)]
    assert row["bleu"] == intervals.estimate(bleu).interval
    assert "KL (gold prefixes) at 6 dB, AWGN" in table.caption and "not independent" in table.note
    assert row["path"] == "knowledge path, receiver"
    told = {(row["first"], row["second"], row["seeds"]) for row in frames.records(same.frame)}
    assert ("knowledge path, receiver, 1 layer of width 16",
            "learning path, receiver, 2 layers of width 16", 3) in told  # fmt: skip


def test_each_measure_side_by_side_has_its_decimals(study):
    (same,) = section.blocks(report_of(study))[-1].blocks
    decimals = {}
    for row in zip(*columns_of_text(same)):
        cells = [cell for cell in row[5:] if cell != "–"]
        if cells:
            decimals.setdefault(row[4], set()).update(len(re.search(r"\.(\d+)", cell)[1]) for cell in cells)
    own = {measure.label: {measure.decimals} for measure in measures.MEASURES}
    assert own["BLEU"] != own["KL"]
    assert {name: found for name, found in decimals.items() if name in own} == {
        name: own[name] for name in decimals if name in own
    }
    assert decimals["words lost"] == {4} and len(decimals) > 3


def test_the_figure_has_a_line_a_path(study):
    figure = section.blocks(report_of(study))[1]
    near = figure.data[figure.data["name"] == "knowledge path, receiver"]
    assert near["x"].tolist() == [0.1, 0.2, 0.3, 0.4] * 2
    means = near[near["measure"] == "BLEU at 12 dB"]["value"].tolist()
    of_seeds = [
        [study.row(study.pairing.own[f"near{seed}/{t:g}"])["bleu"].value for seed in (1, 2, 3)]
        for t in PLACES
    ]
    assert means == pytest.approx([sum(values) / 3 for values in of_seeds])
    canvas = figure.draw(PAGE)
    colours = {line.get_label(): line.get_color() for line in canvas.axes[0].lines}
    assert len(set(colours.values())) == 3 and colours["teacher"] == LIGHT.strong


def test_targets_of_two_scales_stand_on_two_axes():
    runs = [*ladder("a"), *ladder("b", snr=12.0, places={0.1: 0.4})]
    table, *others = section.blocks(report_of(study_of(runs)))
    assert [block.name for block in others] == ["dial_curve_1", "dial_curve_2"]
    assert "scale" in table.columns


def test_without_ladders_there_is_no_section():
    study = study_of([Run("plain", rung("", 1, 0.5).checkpoint, {**MADE, "seed": 1})])
    report = report_of(study)
    assert section.blocks(report) == [] and "ladders" not in study.results()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_first_screen_of_a_ladder_says_what_was_asked_and_reached(study, language):
    answer = first_screen.answer(report_of(study, language))
    (first, *_) = [ladder for ladder in study.dialled.ladders if len(ladder.rungs) > 1]
    targets = sorted(rung.dial.target for rung in first.rungs)
    assert {f"{targets[0]:g}", f"{targets[-1]:g}"} <= set(re.findall(r"\d+(?:\.\d+)?", answer.sentence))
    alike = [ladder for ladder in study.dialled.ladders if ladder.kind == first.kind]
    assert len(alike) == 3, "seeds"
    rows = dict(zip(answer.table.frame["line"], answer.table.frame["reached"]))
    for target in targets:
        rungs = [rung for ladder in alike for rung in ladder.rungs if rung.dial.target == target]
        reached = intervals.estimate([study.dialled.reached(rung).value for rung in rungs])
        assert rows[f"{target:g}"].value == pytest.approx(reached.mean)
    assert section.scale_told(report_of(study, language), first.dial) in answer.table.note


def test_what_was_reached_of_kl_at_the_reference_snr_has_one_column():
    runs = [run for seed in (1, 2) for run in ladder(f"l{seed}", seed=seed, path="knowledge")]
    at_six = study_of(runs)
    at_six.reference_snr = 6.0
    table = first_screen.answer(report_of(at_six)).table
    assert "reached" not in table.columns and "kl_divergence" in table.columns


# Found


@pytest.fixture
def models(tmp_path):
    """A start and the best of a toy run, whose vocabulary can be written."""
    words = word_vocabulary([f"w{i}" for i in range(20)])
    start = sharp()
    best = Checkpoint(sharp(noise=0.5), words, {}, {}, {"distill_part": "decoder", "seed": 1})
    return start, best


def test_ladders_are_found_by_target_under_labels_of_their_folders(models, tmp_path):
    write_ladder(tmp_path / "a/ladder", *models, {0.2: 0.5, 0.1: 0.25, 10.0: 0.75})
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / UNFINISHED).write_text("{}")
    with spoken() as lines:
        found = finding.found_under(str(tmp_path))
    assert [one.label for one in found] == ["a/ladder/0.1", "a/ladder/0.2", "a/ladder/10"]
    assert [one.made["dial"]["target"] for one in found] == [0.1, 0.2, 10.0]
    assert found[0].made["seed"] == 1
    assert len(lines) == 1 and "not finished" in lines[0]
    assert [one.label for one in finding.found_under(str(tmp_path / "a/ladder"))][0] == "ladder/0.1"


def test_hybrids_that_are_gone_are_named_in_one_line(models, tmp_path):
    write_ladder(tmp_path / "ladder", *models, {0.1: 0.25, 0.2: 0.5, 0.4: 0.75})
    (tmp_path / "ladder/hybrid_0.1.pt").unlink()
    # Another hybrid in the place of this one is not it.
    shutil.copy(tmp_path / "ladder/hybrid_0.2.pt", tmp_path / "ladder/hybrid_0.4.pt")
    with spoken() as lines:
        found = finding.ladders_under(str(tmp_path))
    assert [one.label for one in found] == ["ladder/0.2"]
    assert len(lines) == 1 and "no longer there" in lines[0] and lines[0].endswith("0.1, 0.4")


def test_a_ladder_that_was_moved_or_set_aside_is_found(models, tmp_path):
    write_ladder(tmp_path / "ladder", *models, {0.1: 0.25})
    (tmp_path / "ladder").rename(tmp_path / "moved")
    write_ladder(tmp_path / "run", *models, {0.3: 0.25}, hybrids=tmp_path / "elsewhere")
    (tmp_path / "elsewhere/hybrid_0.3.pt").rename(tmp_path / "elsewhere/hybrid_0.3.1.pt")
    found = {one.label: one.path for one in finding.ladders_under(str(tmp_path))}
    assert found == {
        "moved/0.1": str(tmp_path / "moved/hybrid_0.1.pt"),
        "run/0.3": str(tmp_path / "elsewhere/hybrid_0.3.1.pt"),
    }


DAMAGED = (
    "", "[]", "{", '{"finished": 1}', '{"finished": true}', '{"finished": true, "hybrids": []}',
    '{"finished": true, "hybrids": [{"file": "x.pt"}]}', "[" * 100_000,
    json.dumps({"finished": True, "hybrids": [{"file": 3, **record()}]}),
    json.dumps({"finished": True, "hybrids": [{"file": "x.pt", **record(), "target": "a\x1b"}]}),
)  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_ladder_is_one_line(models, tmp_path, text):
    write_ladder(tmp_path / "whole", *models, {0.1: 0.25})
    (tmp_path / "bad\x1b").mkdir()
    (tmp_path / "bad\x1b/ladder.json").write_text(text)
    with spoken() as lines:
        assert [one.label for one in finding.found_under(str(tmp_path))] == ["whole/0.1"]
    (line,) = lines
    assert line.startswith("warning: ") and "\\x1b" in line and "\x1b" not in line and len(line) < 500


@pytest.mark.parametrize("file", ["\0", "a" * 5000, "", "/", "[*", "..", "/dev/zero"])
def test_strange_paths_are_gone(tmp_path, file):
    whole = {"finished": True, "hybrids": [{"file": file, **record()}]}
    (tmp_path / "ladder.json").write_text(json.dumps(whole))
    with spoken() as lines:
        assert finding.ladders_under(str(tmp_path)) == []
    assert len(lines) == 1 and "no longer there" in lines[0]


def test_a_damaged_checkpoint_is_left_out(models, tmp_path):
    write_ladder(tmp_path / "ladder", *models, {0.1: 0.25, 0.2: 0.5})
    (tmp_path / "ladder/hybrid_0.1.pt").write_bytes(b"x")
    with spoken() as lines:
        assert [one.label for one in finding.found_under(str(tmp_path))] == ["ladder/0.2"]
    assert "hybrid_0.1.pt" in lines[0]


@pytest.fixture
def two_teachers(models, tmp_path):
    """Two teachers, and ladders of one run of the first: one dialled against it by a record that does not say
    so, one against the second."""
    _, best = models
    teachers = []
    for name, noise in (("usual", 0.0), ("named", 0.2)):
        path = tmp_path / f"{name}.pt"
        checkpoint.save(Checkpoint(sharp(noise=noise), best.vocabulary, {}, {}, {}), path)
        teachers.append((str(path), checkpoint.load(path).fingerprint))
    (usual, fingerprint), (named, other_fingerprint) = teachers
    made = {**best.config, "teacher_checkpoint": usual, "teacher_fingerprint": fingerprint}
    best = Checkpoint(best.model, best.vocabulary, {}, {}, made)
    elsewhere = {"teacher_checkpoint": named, "teacher_fingerprint": other_fingerprint}
    write_ladder(tmp_path / "ladders/a", sharp(), best, {0.1: 0.25})
    write_ladder(tmp_path / "ladders/b", sharp(), best, {0.2: 0.5}, **elsewhere)
    return usual, named, finding.found_under(str(tmp_path / "ladders"))


def test_a_hybrid_belongs_to_the_teacher_that_it_was_dialled_against(two_teachers):
    usual, named, found = two_teachers
    groups = by_teacher(found, None)
    assert {path: [one.label for one in group] for path, group in groups.items()} == {
        usual: ["a/0.1"],
        named: ["b/0.2"],
    }
    for path, group in groups.items():
        teacher, (run,) = load_group(path, group, None)
        assert run.dial.is_from(teacher.fingerprint)


@pytest.mark.parametrize("path", ["\0", "a\x1b" * 3000])
def test_a_teacher_that_can_be_no_path_is_one_line(path):
    for made in ({"teacher_checkpoint": path}, {"dial": record(teacher_checkpoint=path)}):
        with pytest.raises(SemcomError, match="can be no path") as refusal:
            by_teacher([finding.Found("a", "a.pt", made)], None)
        assert len(str(refusal.value)) < 500 and "\x1b" not in str(refusal.value)


def test_a_hybrid_is_refused_beside_a_teacher_that_it_was_not_dialled_against(two_teachers):
    usual, named, found = two_teachers
    assert list(by_teacher(found, usual)) == [usual]
    with pytest.raises(SemcomError, match="hybrid_0.2.pt: its teacher had the weights"):
        load_group(usual, found, None)
    teacher, runs = load_group(usual, found, named=usual)
    assert [run.dial.is_from(teacher.fingerprint) for run in runs] == [True, False]


# All of it


@pytest.fixture(scope="module")
def dialled(teacher, made_once):
    """A run, with a ladder in its own folder whose hybrid stands where the run's hybrid would."""

    def make(folder):
        part = ["--distill-part", "decoder", "--output-path", folder / "runs/dec"]
        assert distil("--teacher-checkpoint", teacher, *TINY_TRAINING, "--steps", 3, *part) == 0
        best = checkpoint.load(folder / "runs/dec/best_student_model.pt")
        start = between(best.model, best.model, 0.0)
        for weights in start.receiver.parameters():
            weights.data.mul_(0.9)
        write_ladder(folder / "runs/dec", start, best, {0.2: 0.5, 0.4: 0.2}, snr=12.0)
        path = folder / "runs/dec/distillation_config.json"
        made = json.loads(path.read_text())
        hybrid = {"create_hybrid": True, "hybrid_output": str(folder / "runs/dec/hybrid.pt")}
        path.write_text(json.dumps({**made, **hybrid, "target_divergence": [0.2, 0.4]}))

    return made_once("dialled", make)


QUICK = ["--corpus-size", 1000, "--sentences", 8, "--quiet", "--replicates", 100, "--snr", 12]


def test_a_run_that_was_dialled_is_reported_once(dialled, here, capsys):
    assert analyse("--runs", dialled / "runs", *QUICK) == 0
    out = capsys.readouterr().out
    results = json.loads((here / "semantic_analysis_results.json").read_text())
    assert [record["model"] for record in results["records"]] == ["dec", "dec/0.2", "dec/0.4"]
    assert [record["dial"] and record["dial"]["target"] for record in results["records"]] == [None, 0.2, 0.4]
    (study,) = results["studies"]
    assert [row["target"] for row in study["ladders"]] == [0.2, 0.4]
    kinds = {row["pair"]: row["kind"] for row in study["matrix"]}
    assert kinds["teacher → dec/0.2"] == "knowledge"
    assert "no longer there" not in out and "KL to the teacher of 0.2 to 0.4 was asked for" in out
    page = (here / "checkpoints/report/report.html").read_text(encoding="utf-8")
    assert 'id="dial"' in page and (here / "checkpoints/report/tables/dial.csv").is_file()
    epochs = (here / "checkpoints/report/figures/training.csv").read_text()
    assert "dec" in epochs and "dec/0.2" not in epochs


def test_named_hybrids_are_ladders_too(dialled, here, capsys):
    files = [dialled / f"runs/dec/hybrid_{target}.pt" for target in (0.4, 0.2)]
    assert analyse(*files, *QUICK, "--lang", "zh") == 0
    (study,) = json.loads((here / "semantic_analysis_results.json").read_text())["studies"]
    assert [(row["run"], row["target"]) for row in study["ladders"]] == [
        ("hybrid_0.2", 0.2),
        ("hybrid_0.4", 0.4),
    ]
    assert "差异调节" in (here / "checkpoints/report/report.html").read_text(encoding="utf-8")


def test_a_checkpoint_whose_record_is_damaged_is_no_dialled_one(dialled, here, capsys):
    made = checkpoint.load(dialled / "runs/dec/hybrid_0.2.pt")
    made.config["dial"] = {"target": "<script>"}
    checkpoint.save(made, here / "odd.pt")
    assert analyse(here / "odd.pt", *QUICK) == 0
    assert "record of how it was dialled is damaged" in "".join(capsys.readouterr())
    (record_of,) = json.loads((here / "semantic_analysis_results.json").read_text())["records"]
    assert record_of["dial"] is None


def test_nothing_found_is_one_line(here, capsys):
    refused(capsys, analyse("--runs", here), "no finished run there")
