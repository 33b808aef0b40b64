"""Groups of pairs that differ in seeds alone, and what they are called; values over seeds against scipy."""

import gettext

import numpy as np
import pytest
from dials import record
from scipy import stats
from test_pairs import TEACHER, checkpoint, model_of, run, spliced
from test_study import EFFECTS, FULL, at, made_up
from test_study import run as run_of
from toy import encoded

from semcom.base.messages import Message, said
from semcom.data.batching import Encoded
from semcom.data.corpus import make_sentence
from semcom.evaluation import intervals, lost_words, measures, snr_gap, yardsticks
from semcom.evaluation.groups import Grouping
from semcom.evaluation.intervals import Interval
from semcom.evaluation.names import told_apart
from semcom.evaluation.pairs import CODE, KNOWLEDGE, UNKNOWN, UNRELATED, Run, pair_up
from semcom.evaluation.snr_gap import OTHER_NOT_REACHED, Price
from semcom.models.checkpoint import Checkpoint
from semcom.models.settings import PARTS
from semcom.models.transceiver import splice

SEEDS = (1, 2, 3)


def groups(*runs, matrix="all"):
    return Grouping(pair_up(TEACHER, runs, matrix)).groups()


def names(found):
    return [str(group.name) for group in found]


def student(label, part, weights, origins=True, **settings):
    """A run whose checkpoint says where its parts come from."""
    made = run(label, part, weights, **settings)
    parts = {"full": PARTS, "encoder": PARTS[:2], "decoder": PARTS[2:]}[part]
    told = dict.fromkeys(PARTS, "teacher t.pt: trained on text, seed 42")
    told |= dict.fromkeys(parts, f"student of t.pt ({part} mode)")
    kept = Checkpoint(made.checkpoint.model, made.checkpoint.vocabulary, told, {}, {}, f"{label}.pt")
    return Run(label, kept, made.made)


def test_seeds_are_one_group():
    """Three decoder runs of two temperatures, the hotter ones named first."""
    runs = [
        run(f"T{t:g}/{seed}", "decoder", 10 * seed + i, seed=seed, temperature=t)
        for i, t in enumerate((16.0, 2.0))
        for seed in SEEDS
    ]
    found = groups(*runs)
    assert names(found) == [
        "teacher → teacher",
        "teacher, another draw of the noise",
        "teacher → decoder student, T=2",
        "teacher → decoder student, T=16",
    ]
    assert [group.seeds for group in found] == [(None,), (None,), SEEDS, SEEDS]
    assert [group.role for group in found] == ["teacher", "noise", "compared", "compared"]
    assert [pair.receiver.label for pair in found[2].pairs] == ["T2/1", "T2/2", "T2/3"]
    assert found[2].transmitter == "teacher" and found[2].kind == KNOWLEDGE


def test_ends_of_different_seeds_meet_in_no_group():
    runs = [
        run(f"{part}{seed}", part, 10 * seed + len(part), seed=seed)
        for seed in SEEDS[:2]
        for part in ("encoder", "decoder")
    ]
    runs.append(run("full1", "full", 7, seed=1))
    found = {str(group.name): group for group in groups(*runs)}
    assert len(pair_up(TEACHER, runs, "all").pairs) == 1 + 16 and len(found) == 1 + 9
    both = found["encoder student, T=4 → decoder student, T=4"]
    assert [(p.transmitter.label, p.receiver.label) for p in both.pairs] == [
        ("encoder1", "decoder1"),
        ("encoder2", "decoder2"),
    ]
    assert both.seeds == (1, 2) and both.kind == KNOWLEDGE
    crossed = found["full student, T=4 → decoder student, T=4"]
    assert len(crossed.pairs) == 1 and crossed.kind == UNRELATED
    assert found["full student, T=4 → full student, T=4"].seeds == (1,)


def test_ends_that_belong_together_meet_whatever_their_seeds():
    ours, theirs = run("enc", "encoder", 2), run("dec", "decoder", 3, seed=2)
    assert "encoder student, T=4 → decoder student, T=4" in names(groups(ours, theirs)), "the only two"
    more = [run("enc2", "encoder", 4, seed=2), run("dec1", "decoder", 5)]
    found = groups(ours, theirs, *more, spliced("both", ours, theirs))
    assert names(found)[-2:] == [
        "encoder student, T=4 → decoder student, T=4",
        "encoder student, T=4, seed 1 → decoder student, T=4, seed 2",
    ]


def test_two_runs_of_one_seed_are_two_groups():
    found = groups(run("a", "decoder", 1), run("b", "decoder", 2), run("c", "decoder", 3, seed=2))
    assert names(found)[2:] == ["teacher → decoder student, T=4, a", "teacher → decoder student, T=4, b"]
    assert [group.seeds for group in found[2:]] == [(1, 2), (1,)]


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"temperature": 2.5}, "decoder student, T=2.5"),
        ({"student_layers": 1}, "decoder student, 1 layer"),
        ({"student_d_model": 64, "temperature": 8.0}, "decoder student, T=8, width 64"),
        ({"topics": ["trade", "energy"]}, "decoder student, topics trade+energy"),
        ({"standardize_logits": True}, "decoder student, standardize-logits"),
        ({"unfinished": "killed"}, "decoder student, T=4, unfinished"),
    ],
)
def test_a_name_has_the_settings_that_differ(settings, told):
    made = run("dec", "decoder", 1, **settings)
    assert told in [group.receiver for group in groups(run("other", "decoder", 2), made)]


def test_what_a_record_of_an_earlier_version_does_not_know_is_no_difference():
    before, now = run("dec", "decoder", 1), run("other", "decoder", 2, fading="block", snr_aware=False)
    assert before.settings() == {**now.settings(), "teachers": before.settings()["teachers"]}
    assert run("new", "decoder", 3, fading="symbol").settings()["fading"] == "symbol"
    assert Run("kept.pt", checkpoint(model_of(5)), {}).settings()["fading"] is None


def test_an_end_of_which_nothing_is_recorded_keeps_its_label():
    model = model_of(5)
    found = groups(Run("kept\n.pt", checkpoint(model), {}), run("dec", "decoder", 1))
    assert "kept\\n.pt → kept\\n.pt" in names(found)
    called = groups(Run("teacher", checkpoint(model), {}))
    assert len(set(names(called))) == len(called), "nor is it taken for the teacher"


def test_a_hybrid_is_called_what_it_is():
    """Of splices without the runs that they come from, and beside them."""
    ours, theirs = student("enc", "encoder", 2), student("dec", "decoder", 3)
    alone = groups(_splice("hybrid", student("t", "decoder", 3), theirs.checkpoint, temperature=4.0))
    assert names(alone)[2:] == ["teacher → decoder student, T=4"] and alone[2].kind == KNOWLEDGE
    both = groups(_splice("both", ours, theirs.checkpoint, temperature=4.0))
    assert [(str(group.name), group.kind) for group in both[2:]] == [
        ("teacher → decoder student, T=4", KNOWLEDGE),
        ("encoder student, T=4 → teacher", KNOWLEDGE),
        ("encoder student, T=4 → decoder student, T=4", KNOWLEDGE),
    ]
    beside = groups(theirs, _splice("hybrid", student("t", "decoder", 3), theirs.checkpoint, temperature=4.0))
    assert names(beside) == names(alone), "a hybrid that is its student is shown once"
    of_codes = groups(
        _splice("codes", student("f", "full", 8), student("g", "full", 9).checkpoint, cross_weight=0.0)
    )
    assert [group.kind for group in of_codes[2:]] == [CODE, CODE, UNRELATED]


def _splice(label, sender, receiver: Checkpoint, **lineage):
    """As the verb ``splice`` records it: no mode where the two have different ones."""
    model = splice(sender.checkpoint.model, receiver.model, PARTS[2:])
    origin = {
        part: f"{source.path}: {source.origin[part]}"
        for source, parts in ((sender.checkpoint, PARTS[:2]), (receiver, PARTS[2:]))
        for part in parts
    }
    made = {
        "other_fingerprint": receiver.fingerprint,
        "teacher_fingerprint": None,
        "distill_part": None,
        **lineage,
    }
    return Run(label, Checkpoint(model, receiver.vocabulary, origin, {}, made, f"{label}.pt"), made)


def teacher_of(weights, seed, **settings):
    """What ``train`` leaves."""
    model, vocabulary = model_of(weights), TEACHER.vocabulary
    origin = dict.fromkeys(PARTS, f"trained on text, seed {seed}")
    return Checkpoint(model, vocabulary, origin, {}, {"seed": seed, "steps": 9, **settings}, f"t{seed}.pt")


def test_another_teacher_is_a_yardstick():
    teacher, other = teacher_of(0, 42), teacher_of(6, 43)
    found = Grouping(pair_up(teacher, [Run("t43", other, other.config), run("dec", "decoder", 1)])).groups()
    told = {str(group.name): (group.role, group.kind) for group in found}
    assert list(told)[2] == "another teacher in its own pair" and found[2].seeds == (43,)
    assert told["another teacher in its own pair"] == ("other teacher", "other teacher")
    assert told["teacher → another teacher"] == ("compared", CODE)
    shorter = teacher_of(6, 43, steps=8)
    found = Grouping(pair_up(teacher, [Run("t43", shorter, shorter.config)])).groups()
    assert {group.role for group in found} == {"teacher", "noise", "compared"}, "of more than its seed"
    assert found[-1].kind == "other teacher"


def test_yardsticks_are_added_once_and_understand_nothing():
    teacher = teacher_of(0, 42)
    others = [Run(f"t{seed}", teacher_of(seed, seed), {"seed": seed, "steps": 9}) for seed in (43, 44)]
    others += [
        Run("short", teacher_of(7, 45), {"seed": 45, "steps": 8}),
        Run("itself", teacher, teacher.config),
    ]
    who = pair_up(teacher, [run("dec", "decoder", 1), others[0]])
    before = len(who.pairs)
    yardsticks.add(who, teacher, others, noisy=True)
    assert len(who.pairs) == before + 2 and [pair.forced for pair in who.pairs[2:4]] == [True, True]
    found = Grouping(who).groups()
    assert [group.role for group in found[:5]] == ["teacher", "noise", "decibel", "other teacher", "compared"]
    assert set(found[3].seeds) == {43, 44} and found[2].name == "teacher, 1 dB less"
    assert Grouping(who).told(who.pairs[3]) == ("another teacher, seed 44",) * 2
    assert len({who.label(pair) for pair in who.pairs}) == len(who.pairs)
    quiet = pair_up(teacher, [])
    yardsticks.add(quiet, teacher, [], noisy=False)
    assert [quiet.role(pair) for pair in quiet.pairs] == ["teacher", "noise"]


def test_dialled_ends_are_told_by_what_was_asked_for():
    hybrids = [
        run(f"l/{target}", "decoder", 20 + i, dial=record(target)) for i, target in enumerate((0.4, 0.05))
    ]
    found = groups(run("dec", "decoder", 1), *hybrids)
    assert [group.receiver for group in found[2:]] == [
        "decoder student, T=4",
        "decoder student dialled to 0.05, T=4",
        "decoder student dialled to 0.4, T=4",
    ]
    between = groups(run("l", "decoder", 1, dial=record(0.1, path="between")))
    assert between[-1].kind == UNKNOWN
    axes = groups(
        *(run(f"l{snr}", "decoder", int(snr) + 30, dial=record(0.1, snr=snr)) for snr in (6.0, 12.0))
    )
    assert [
        group.receiver.rpartition(", ")[0].endswith(f"at {snr:g} dB") for group, snr in zip(axes[2:], (6, 12))
    ]


def test_names_are_told_in_another_language():
    chinese = gettext.NullTranslations()
    words = {
        "{transmitter} → {receiver}": "{transmitter}到{receiver}",
        "teacher": "教师",
        "decoder student": "译码端学生",
    }
    chinese.gettext = lambda text: words.get(text, text)
    found = groups(run("dec", "decoder", 1))
    assert said(found[-1].name, chinese.gettext) == "教师到译码端学生, T=4"


def test_only_what_stands_twice_is_told_apart():
    found = told_apart(["a", "b", "a"], [["", "x"], ["", "y"], ["", "z"]])
    assert found == ["a, x", "b", "a, z"] and isinstance(found[0], Message)


# Values


@pytest.fixture(scope="module")
def study():
    runs = [
        run_of(f"d{t:g} {seed}", "decoder", seed=seed, temperature=t) for t in (2.0, 8.0) for seed in SEEDS
    ]
    runs += [
        run_of(f"{part}4 {seed}", part, seed=seed) for part in ("encoder", "decoder") for seed in SEEDS[:2]
    ]
    return made_up(pair_up(TEACHER, [*runs, FULL], "matched"), encoded(30, 4, 12), step=0.02)


def group_of(study, transmitter, receiver):
    return next(g for g in study.groups if (g.transmitter, g.receiver) == (transmitter, receiver))


def test_a_row_of_several_seeds_is_their_mean_with_student_s_interval(study):
    group = group_of(study, "teacher", "decoder student, T=8")
    assert len(group.pairs) == 3
    for name in ("bleu", "kl_divergence", "kl_worst_share", "cross_entropy_gap", "js_divergence_over_noise"):
        each = [study.row(pair, 12.0)[name].value for pair in group.pairs]
        low, high = stats.t.interval(0.95, 2, loc=np.mean(each), scale=stats.sem(each))
        found = study.group_row(group, 12.0)[name]
        assert (found.value, found.low, found.high) == pytest.approx((np.mean(each), low, high)), name
    row = study.group_row(group)
    assert (row["snr"], row["seeds"], row["role"], row["p_of"]) == (6.0, 3, "compared", "seeds")


def test_its_p_is_a_t_test_over_seeds_and_of_fewer_the_sentences_of_the_first(study):
    theirs = at(study, study.pairing.reference, 2)["bleu"]
    for group in study.groups:
        if group.role != "compared":
            continue
        p, test = study.by_group.p_value(group, "bleu", 2)
        if len(group.pairs) == 3:
            each = [at(study, pair, 2)["bleu"] - theirs for pair in group.pairs]
            assert test == "seeds" and p == pytest.approx(stats.ttest_1samp(each, 0).pvalue)
        else:
            assert test == "sentences" and p == study.p_values["bleu"][group.pairs[0].key, 2]


def test_p_values_of_groups_are_adjusted_over_groups_and_snrs(study):
    for measure in measures.tested():
        compared = [group for group in study.groups if group.role == "compared"]
        plain = [study.by_group.p_value(g, measure.name, k)[0] for g in compared for k in range(3)]
        found = [study.group_row(g, snr)[measure.p_name] for g in compared for snr in study.snrs]
        assert found == pytest.approx(intervals.holm(plain))
    assert study.group_row(study.groups[0])["bleu_p"] is None


def test_a_single_pair_s_row_is_its_own(study):
    group = group_of(study, "full student, T=4", "full student, T=4")
    ours, own = study.group_row(group), study.row(group.pairs[0])
    shared = [
        name
        for name in own.index
        if name not in ("pair", "transmitter", "receiver") and not name.endswith(("_p", "_file"))
    ]
    assert all(ours[name] == own[name] for name in shared) and len(shared) > 20
    assert ours["pair"] == "full student, T=4 → full student, T=4"


def test_the_matrix_of_groups_has_a_row_a_group_and_snr(study):
    assert len(study.grouped_matrix) == len(study.groups) * 3
    assert study.grouped_matrix["pair"].nunique() == len(study.groups)


def over(values):
    """Mean and ends of Student's interval, by scipy."""
    mean = np.mean(values)
    return pytest.approx((mean, *stats.t.interval(0.95, len(values) - 1, loc=mean, scale=stats.sem(values))))


def ends_of(interval):
    return interval.value, interval.low, interval.high


def test_effects_of_several_seeds(study):
    squares = {str(square.name): square for square in study.by_group.squares}
    both = squares["encoder student, T=4 + decoder student, T=4"]
    assert len(both.squares) == 2 and both.kind == KNOWLEDGE and "full student, T=4" in squares
    found = study.by_group.effects(*squares.values()).set_index(["square", "measure", "snr"])
    assert len(found) == len(squares) * len(EFFECTS) * 3
    for name in EFFECTS:
        corners = [study.pairing.corners(square) for square in both.squares]
        ours = [{at_: at(study, pair, 0)[name] for at_, pair in four.items()} for four in corners]
        row = found.loc[both.name, name, 12.0]
        assert ends_of(row["transmitter"]) == over([m["ST"] - m["TT"] for m in ours]), name
        assert ends_of(row["interaction"]) == over([m["SS"] - m["ST"] - m["TS"] + m["TT"] for m in ours])
        assert row["total"].value == pytest.approx(np.mean([m["SS"] - m["TT"] for m in ours]))
    alone = study.effects(*squares["full student, T=4"].squares)
    assert (
        found.loc["full student, T=4", "bleu", 6.0]["receiver"]
        == alone[(alone["measure"] == "bleu") & (alone["snr"] == 6.0)]["receiver"].item()
    )


def test_prices_of_several_seeds(study):
    found = study.by_group.prices().set_index("pair")
    assert list(found.index) == [group.name for group in study.groups if group.role == "compared"]
    for group in study.groups:
        if group.role == "compared":
            each = [study.price(pair) for pair in group.pairs]
            row = found.loc[group.name]
            if len(each) == 1 or None in [price.gap for price in each]:
                assert row["gap"] == (each[0].gap if len(each) == 1 else None)
            else:
                assert ends_of(row["gap"]) == over([price.gap.value for price in each])
            assert row["replicates"] == sum(price.replicates for price in each) == 150 * row["seeds"]


def test_a_price_over_seeds_is_known_where_each_is():
    known, other = (
        Price(Interval(1, 0, 2), 40.0, "", 1, 1, 9, 1, 0, 0),
        Price(Interval(3, 2, 5), 40.0, "", 3, 3, 9, 0, 2, 0),
    )
    unknown = Price(None, 40.0, OTHER_NOT_REACHED, 4, np.inf, 9, 9, 0, 0)
    both = snr_gap.over_seeds([known, other])
    assert ends_of(both.gap) == over([1, 3]) and (both.at_least, both.why, both.above) == (2.0, "", 1)
    one = snr_gap.over_seeds([known, unknown])
    assert (one.gap, one.why, one.at_least, one.at_most) == (None, OTHER_NOT_REACHED, 1, np.inf)
    assert snr_gap.over_seeds([unknown]) is unknown


def test_words_lost_over_seeds():
    sentences = [make_sentence("the house votes on two reports"), make_sentence("no member was there")]
    who = pair_up(TEACHER, [run_of(f"d{seed}", "decoder", seed=seed) for seed in SEEDS])
    texts = {f"teacher → d{seed}": [" ".join(s.text.split()[seed:]) for s in sentences] for seed in SEEDS}
    study = made_up(who, [Encoded(sentence, [1, 5, 2]) for sentence in sentences], texts)
    found = study.by_group.words_lost(lost_words.frequency_bands({"the": 3}))
    all_words = found[(found["by"] == "all") & (found["class"] == "words")].set_index("pair")
    # Of 10 words 2, 4 and 6 do not arrive.
    assert ends_of(all_words.loc["teacher → decoder student, T=4", "lost"]) == over([0.2, 0.4, 0.6])
    assert all_words.loc["teacher → teacher", "lost"].value == 0.0
    single = study.words_lost(lost_words.frequency_bands({"the": 3}))
    assert list(found[found["pair"] == "teacher → teacher"]["lost"]) == list(
        single[single["pair"] == "teacher → teacher"]["lost"]
    )


def test_representations_over_seeds(study):
    found, each = study.by_group.representations(), study.representations().set_index("end")
    assert found["end"].is_unique and len(found) == 3 + len(study.groups)
    wanted = [each.loc[f"encoder4 {seed}", "signal_distance"].value for seed in SEEDS[:2]]
    assert ends_of(found.set_index("end").loc["encoder student, T=4", "signal_distance"]) == over(wanted)
