"""What the sums of a matrix say, on made-up sums against second derivations, and on toy models whose order is
known."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import CPU, Numbers, encoded, sharp, size, transceiver

from semcom.base.flags import as_record
from semcom.channel.channels import AWGN
from semcom.channel.settings import ChannelConfig, TrainingSNRConfig
from semcom.data.batching import Encoded, collate
from semcom.data.corpus import Sentence, make_sentence
from semcom.data.settings import CorpusConfig
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.training_settings import StudentConfig, TrainingConfig
from semcom.distillation.transfer_settings import TransferConfig
from semcom.evaluation import (
    bootstrap,
    english_words,
    intervals,
    lost_words,
    pair_matrix,
    setting_trends,
    snr_gap,
    text_metrics,
)
from semcom.evaluation.campaign import grouped
from semcom.evaluation.frames import plain_values, records
from semcom.evaluation.intervals import Interval
from semcom.evaluation.measures import columns, followed, parted
from semcom.evaluation.measures import of_sums as measures
from semcom.evaluation.pairs import CODE, KNOWLEDGE, End, Pair, Pairing, Run, Square, pair_up
from semcom.evaluation.results import Measured, PairResult, Signals
from semcom.evaluation.scores import Meeting
from semcom.evaluation.snr_gap import OTHER_NOT_REACHED
from semcom.evaluation.study import TRIALS, Study
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import greedy
from semcom.models.settings import PARTS
from semcom.models.transceiver import splice

COLUMNS = columns()
PLACE = {name: place for place, name in enumerate(COLUMNS)}
EFFECTS = [measure.name for measure in parted()]
FOLLOWED = [measure.followed_name for measure in followed()]
SNRS = (12.0, 0.0, 6.0)
DEFAULTS = as_record(
    DistillationConfig(),
    TransferConfig(),
    StudentConfig(),
    CorpusConfig(),
    ChannelConfig(),
    TrainingSNRConfig(),
    TrainingConfig(),
)
TEACHER = Checkpoint(
    transceiver(size(1), size(1), seed=0), Numbers(), {}, {}, {"topics_seen": ["trade", "energy"]}
)


def run(label, part="full", *, seed=1, weights=None, **settings):
    """A student whose trained ends are fresh ones of their own."""
    parts = {"full": PARTS, "encoder": PARTS[:2], "decoder": PARTS[2:]}[part]
    number = 1 + sum(map(ord, label)) if weights is None else weights
    model = splice(TEACHER.model, transceiver(size(1), size(1), seed=number), parts)
    topics = {"topics_by_end": {"transmitter": ["trade", "health"], "receiver": ["trade"]}}
    return Run(
        label,
        Checkpoint(model, Numbers(), {}, {}, topics),
        {**DEFAULTS, "distill_part": part, "seed": seed, **settings},
    )


FULL, ENCODER, DECODER = run("full"), run("enc", "encoder"), run("dec", "decoder")


def made_up_sums(encoded, generator, level):
    """[S, N, K] of a pair that is the worse the higher its level, 0 the reference's own."""
    count = len(encoded)
    sums = np.zeros((len(SNRS), count, len(COLUMNS)))
    for k, snr in enumerate(SNRS):
        likely = 1 / (1 + (0.1 + level) * (20 - snr) / 20)
        values = {"tokens": [e.target_tokens for e in encoded], "sentences": np.ones(count)}
        values["targets"] = values["tokens"]
        values["matches"] = generator.binomial(values["tokens"], likely)
        values["sent_exact"] = generator.integers(0, 2, count)
        values["own_tokens"] = np.array(values["tokens"]) + generator.integers(0, 3, count)
        for name, scale in (
            ("nats", 1 + level),
            ("kl", level),
            ("calibrated_kl", level / 2),
            ("js", level / 9),
            ("distance", level),
            ("own_kl", 2 * level),
        ):
            values[name] = np.array(values["tokens"]) * scale * generator.gamma(2, (20 - snr) / 20, count)
        values["agree"] = generator.binomial(values["tokens"], likely)
        for to in ("sent", "reference"):
            values[f"{to}_hypothesis_length"] = values[f"{to}_reference_length"] = (
                np.array(values["tokens"]) - 1
            )
            left = values[f"{to}_hypothesis_length"]
            for n in range(1, 5):
                values[f"{to}_ngrams_{n}"] = np.maximum(values[f"{to}_hypothesis_length"] - n + 1, 0)
                left = values[f"{to}_matches_{n}"] = generator.binomial(
                    np.minimum(left, values[f"{to}_ngrams_{n}"]), likely
                )
        for name, value in values.items():
            sums[k, :, PLACE[name]] = value
    return sums


def made_up(who: Pairing, encoded, texts=None, *, step=0.5):
    """A study whose sums are random. step: how much worse each further end is than the one before. texts: by
    a pair's label what it understood at every SNR."""
    generator = np.random.default_rng(4)
    level = {
        end.fingerprint: step * number
        for ends in (who.transmitters, who.receivers)
        for number, end in enumerate(ends)
    }
    heard, sent, said = {}, {}, []
    for pair in who.pairs:
        understood = (texts or {}).get(who.label(pair)) or [e.sentence.text for e in encoded]
        said += understood
        of_one = level[pair.transmitter.fingerprint] + level[pair.receiver.fingerprint] + 0.1 * pair.draw
        pieces = [[len(said) - len(encoded) + i] for i in range(len(encoded))]
        heard[pair.key] = PairResult(made_up_sums(encoded, generator, of_one), [pieces] * len(SNRS), 0.5)
        sent[pair.transmitter.fingerprint] = Signals(
            generator.gamma(2, 1, len(encoded)), np.zeros((1, 2)), None
        )
    return Study(
        who,
        Measured(SNRS, encoded, heard, sent),
        "awgn",
        True,
        6.0,
        150,
        7,
        lambda pieces: [said[i] for [i] in pieces],
    )


@pytest.fixture(scope="module")
def study():
    return made_up(pair_up(TEACHER, [FULL, ENCODER, DECODER]), encoded(40, 4, 12), step=0.06)


def resampled(study, pair, k):
    """A pair's measures at SNR number ``k``, of all sentences and of 150 resamples, [151] each, from its
    sums."""
    return measures(study.weights @ study.measured.pairs[pair.key].sums[k])


def at(study, pair, k, replicate=0):
    """Of one of them."""
    return {name: float(values[replicate]) for name, values in resampled(study, pair, k).items()}


# Rows of the matrix


def test_a_row_a_pair_and_snr_with_the_measures_of_its_sums(study):
    rows = records(study.matrix)
    assert len(rows) == len(study.pairing.pairs) * 3 and len({(r["pair"], r["snr"]) for r in rows}) == len(
        rows
    )
    for pair in study.pairing.pairs:
        for k, snr in enumerate(SNRS):
            row = study.row(pair, snr)
            assert (row["transmitter"], row["receiver"], row["draw"], row["channel"], row["snr"]) == (
                *study.naming.told(pair),
                pair.draw,
                "awgn",
                snr,
            )
            for name, value in measures(study.measured.pairs[pair.key].sums[k].sum(0)).items():
                assert row[name].value == pytest.approx(float(value)), name
    pair, name = study.compared[0], "kl_divergence"
    of_all = resampled(study, pair, 2)[name]
    found, wanted = study.row(pair)[name], bootstrap.interval(of_all)
    assert (found.low, found.high) == pytest.approx(
        (wanted.low, wanted.high)
    ) and found.low < found.value < found.high
    assert study.row(pair).equals(study.row(pair, 6.0)) and study.row(pair)["snr"] == 6.0


def test_noise_is_what_divergences_stand_beside(study):
    pair, noise = study.compared[1], study.pairing.noise
    for name in ("kl_divergence", "js_divergence"):
        of_all = resampled(study, pair, 0)[name] / resampled(study, noise, 0)[name]
        found, wanted = study.row(pair, 12.0)[f"{name}_over_noise"], bootstrap.interval(of_all)
        assert (found.value, found.low, found.high) == pytest.approx((wanted.value, wanted.low, wanted.high))
        assert study.row(study.pairing.reference)[f"{name}_over_noise"] == Interval(0.0, 0.0, 0.0)
        assert study.row(noise)[f"{name}_over_noise"] is None


def test_the_gap_of_cross_entropy_is_paired(study):
    reference = study.pairing.reference
    for pair in study.compared:
        ours, theirs = (resampled(study, p, 1)["cross_entropy"] for p in (pair, reference))
        of_all = ours - theirs
        found, wanted = study.row(pair, 0.0)["cross_entropy_gap"], bootstrap.interval(of_all)
        assert (found.value, found.low, found.high) == pytest.approx((wanted.value, wanted.low, wanted.high))
    assert study.row(reference)["cross_entropy_gap"] == Interval(0.0, 0.0, 0.0)


def test_p_is_adjusted_over_the_whole_table(study):
    """In Holm's way over all pairs and SNRs of a measure; neither teacher nor noise is tested."""
    for name in ("bleu", "cross_entropy"):
        raw = []
        for pair in study.compared:
            for k in range(3):
                ours, theirs = (
                    study.measured.pairs[p.key].sums[k][:, None] for p in (pair, study.pairing.reference)
                )
                raw.append(
                    float(
                        bootstrap.swap_tests(
                            ours,
                            theirs,
                            lambda sums, name=name: {name: measures(sums)[name]},
                            TRIALS,
                            study.seed,
                        )[name][0]
                    )
                )
        expected = intervals.holm(raw)
        assert [
            study.row(pair, snr)[f"{name}_p"] for pair in study.compared for snr in SNRS
        ] == pytest.approx(expected)
        factors = np.divide(expected, raw)
        assert len(raw) == 24 and factors.max() > 12 and factors.min() < 6, "the adjustment shows"
    assert all(
        study.row(pair)[f"{name}_p"] is None
        for pair in (study.pairing.reference, study.pairing.noise)
        for name in ("bleu", "cross_entropy")
    )


def test_compared_are_all_but_teacher_and_noise(study):
    assert len(study.compared) == len(study.pairing.pairs) - 2 and study.pairing.pairs[2:] == study.compared
    assert study.snrs == list(SNRS) and study.at_reference == 2


# Effects


def test_effects_are_differences_of_the_corners_and_add_up(study):
    squares = study.pairing.squares
    assert [square.kind for square in squares] == [CODE, KNOWLEDGE]
    for square in squares:
        rows = {(row["measure"], row["snr"]): row for row in records(study.effects(square))}
        assert set(rows) == {(name, snr) for name in EFFECTS for snr in SNRS}
        corners = study.pairing.corners(square)
        of_corners = {
            (corner, snr): resampled(study, pair, k)
            for corner, pair in corners.items()
            for k, snr in enumerate(SNRS)
        }
        for (name, snr), row in rows.items():
            m = {corner: of_corners[corner, snr][name] for corner in corners}
            wanted = {
                "transmitter": m["ST"] - m["TT"],
                "receiver": m["TS"] - m["TT"],
                "total": m["SS"] - m["TT"],
                "interaction": m["SS"] - m["ST"] - m["TS"] + m["TT"],
            }
            for part, values in wanted.items():
                interval = bootstrap.interval(values)
                assert (row[part].value, row[part].low, row[part].high) == pytest.approx(
                    (interval.value, interval.low, interval.high)
                ), part
            assert row["transmitter"].value + row["receiver"].value + row[
                "interaction"
            ].value == pytest.approx(row["total"].value, abs=1e-12)
            assert (row["square"], row["kind"], row["channel"]) == (square.label, square.kind, "awgn")
        sums = {
            name: sum(
                study.measured.pairs[pair.key].sums[0].sum(0)[PLACE["nats"]] * sign
                for pair, sign in zip(corners.values(), signs)
            )
            for name, signs in {"transmitter": (-1, 0, 1, 0), "receiver": (-1, 1, 0, 0)}.items()
        }
        tokens = sum(e.target_tokens for e in study.measured.encoded)
        assert rows["cross_entropy", 12.0]["transmitter"].value == pytest.approx(
            sums["transmitter"] / tokens
        ), "ST - TT"
        assert rows["cross_entropy", 12.0]["receiver"].value == pytest.approx(sums["receiver"] / tokens), (
            "TS - TT"
        )


# Prices and representations


def test_prices_are_of_curves_in_the_order_of_snrs(study):
    found = {row.pop("pair"): row for row in records(study.prices())}
    assert list(found) == [study.pairing.label(pair) for pair in study.compared]
    for pair in study.compared:
        theirs, ours = (
            np.stack([resampled(study, p, SNRS.index(snr))["bleu"] for snr in sorted(SNRS)], -1)
            for p in (study.pairing.reference, pair)
        )
        row = found[study.pairing.label(pair)]
        wanted = dict(vars(snr_gap.price(np.array(sorted(SNRS)), theirs, ours)))
        gap, expected = row.pop("gap"), wanted.pop("gap")
        assert row.pop("why") == wanted.pop("why")
        assert row == pytest.approx(wanted, rel=1e-9), "but for the order of sums"
        assert (gap is None) == (expected is None)
        assert gap is None or vars(gap) == pytest.approx(vars(expected), rel=1e-9)


def test_rows_of_representations(study):
    rows = records(study.representations())
    assert [row["end"] for row in rows] == [
        "teacher",
        "full",
        "enc",
        *(study.pairing.label(pair) for pair in study.pairing.pairs),
    ]
    distance = study.measured.sent[study.pairing.transmitters[1].fingerprint].distance
    assert (
        rows[1]["signal_distance"].value == pytest.approx(distance.mean())
        and rows[1]["signal_distance"].low < distance.mean()
    )
    assert rows[1]["cka"] is None and rows[-1]["cka"] == 0.5 and rows[-1]["signal_distance"] is None


# Words and sentences

SAID = [
    ("trade", "The council has not adopted 25 reports on Turkey."),
    ("energy", "We support gas and gas alone."),
    (
        "health",
        "It is no good, as the rapporteur of the committee said to the members of this house in May and in "
        "June 2006.",
    ),
    ("trade", "Trade is free."),
    ("health", "Nobody is ill."),
]
HEARD = [
    "The council has adopted reports on Turkey Turkey.",
    "We support gas.",
    "It is good as the committee said to members of this house in May.",
    "Trade is free.",
    "",
]


def spoken(said=SAID):
    return [
        Encoded(make_sentence(text, topic), [1, *range(4, 4 + len(text.split())), 2]) for topic, text in said
    ]


@pytest.fixture
def of_words():
    who = pair_up(TEACHER, [FULL])
    return made_up(who, spoken(), {"full → full": HEARD, "teacher → full": [text for _, text in SAID]})


def test_words_lost_are_those_counted_one_by_one(of_words):
    bands = lost_words.frequency_bands(
        lost_words.count(["the the the council has", "the council has adopted gas"]), edges=(2, 4)
    )
    rows = records(of_words.words_lost(bands))
    found = {(r["by"], r["class"]): r for r in rows if r["pair"] == "full → full"}
    tallies: dict[tuple[str, str], list[int]] = {}
    for (topic, text), understood in zip(SAID, HEARD):
        apart = english_words.words(text)
        for word, kind, lost in zip(apart, english_words.kinds(apart), lost_words.lost(text, understood)):
            for key in (
                ("all", "words"),
                ("kind", kind),
                ("frequency", bands(word.lower())),
                ("length", lost_words.length_band(len(apart))),
                ("topic", topic),
                ("topics of this pair", "seen" if topic == "trade" else "not seen"),
            ):
                tally = tallies.setdefault(key, [0, 0])
                tally[0] += lost
                tally[1] += 1
    assert {
        key: [round(row["lost"].value * row["words"]), row["words"]]
        for key, row in found.items()
        if key != ("all", "added")
    } == tallies
    assert found["kind", "negation"]["lost"].value == 1.0 and found["topic", "energy"]["words"] == 6
    added, heard = found["all", "added"], sum(len(english_words.words(text)) for text in HEARD)
    assert (added["words"], added["lost"].value) == (heard, 1 / heard), "the second Turkey"
    assert all(row["snr"] == 6.0 and row["channel"] == "awgn" for row in rows)


def test_words_lost_have_the_interval_of_their_ratio(of_words):
    [row] = [
        r
        for r in records(of_words.words_lost(lost_words.frequency_bands({})))
        if (r["pair"], r["by"], r["class"]) == ("full → full", "all", "words")
    ]
    lost = np.array([sum(lost_words.lost(text, understood)) for (_, text), understood in zip(SAID, HEARD)])
    sent = np.array([len(english_words.words(text)) for _, text in SAID])
    assert row["lost"] == bootstrap.interval((of_words.weights @ lost) / (of_words.weights @ sent))


def test_words_lost_of_whom_and_in_what(of_words):
    rows = records(of_words.words_lost(lost_words.frequency_bands({})))
    assert {row["pair"] for row in rows} == {
        of_words.pairing.label(pair) for pair in of_words.pairing.pairs if pair.draw == 0
    }
    assert all(row["lost"].value == 0 for row in rows if row["pair"] != "full → full")
    by_pair = {
        row["pair"]: {
            r["class"]: r["words"]
            for r in rows
            if r["pair"] == row["pair"] and r["by"] == "topics of this pair"
        }
        for row in rows
    }
    assert by_pair["teacher → teacher"]["seen"] == 17 + 1 and by_pair["full → full"]["seen"] == 12, (
        "trade and energy, and trade alone"
    )
    plain_text = made_up(pair_up(TEACHER, [FULL]), spoken([(None, text) for _, text in SAID]))
    assert set(plain_text.words_lost(lost_words.frequency_bands({}))["by"]) == {
        "all",
        "kind",
        "frequency",
        "length",
    }
    assert all(row["words"] for row in rows), "classes without words have no row"


def test_most_diverging_sentences(study):
    by_token = np.mean(
        [
            [sums[PLACE["kl"]] / sums[PLACE["tokens"]] for sums in study.measured.pairs[pair.key].sums[2]]
            for pair in study.compared
        ],
        0,
    )
    order = sorted(range(40), key=lambda i: -by_token[i])
    found = study.most_diverging(7)
    assert [sentence for sentence, *_ in found] == [study.sentences[i] for i in order[:7]]
    assert [value for _, value, _ in found] == pytest.approx([by_token[i] for i in order[:7]])
    groups = [group.name for group in study.groups if group.role in ("teacher", "compared")]
    assert all(list(understood) == groups for *_, understood in found)
    assert len(study.most_diverging(99)) == 40


def test_what_each_understood(of_words):
    of_words.measured.pairs[of_words.pairing.own["full"].key].pieces[0] = [[0]] * 5  # at 12 dB
    assert (
        of_words.texts(of_words.pairing.own["full"]) == HEARD
        and of_words.texts(of_words.pairing.own["full"], 0) == [SAID[0][1]] * 5
    )
    understood = {sentence.text: texts for sentence, _, texts in of_words.most_diverging(5)}
    assert [understood[text]["full student, T=4 → full student, T=4"] for _, text in SAID] == HEARD
    assert [understood[text]["teacher → teacher"] for _, text in SAID] == [text for _, text in SAID]


def test_a_teacher_alone_with_itself():
    """A student of the teacher's own weights leaves nothing to compare."""
    alone = made_up(pair_up(TEACHER, [run("copy", weights=0)]), spoken())
    assert (
        not alone.compared
        and alone.most_diverging(3) == []
        and alone.prices().empty
        and len(alone.matrix) == 2 * 3
    )
    assert (
        len(alone.words_lost(lost_words.frequency_bands({})))
        and alone.followed(alone.pairing.runs[0])["cross_entropy_gap"] == 0
    )
    json.dumps(plain_values(alone.results()), allow_nan=False)


# Runs over seeds and settings


@pytest.fixture(scope="module")
def swept():
    """Temperatures 1, 2, 4, 8 of three seeds; weight 0.3 beside 0.7 at temperature 4; a loss that is no
    number; a spliced checkpoint."""
    runs = [
        run(f"T{t:g} s{seed}", "decoder", seed=seed, temperature=t)
        for t in (1.0, 2.0, 4.0, 8.0)
        for seed in (1, 2, 3)
    ]
    runs += [run(f"w s{seed}", "decoder", seed=seed, distill_weight=0.3) for seed in (1, 2)]
    runs += [
        run("rkl", "decoder", kd_loss="rkl"),
        Run("hybrid", runs[0].checkpoint, runs[0].made),
        Run("unknown", FULL.checkpoint, {}),
    ]
    return made_up(pair_up(TEACHER, runs, "matched"), encoded(20, 4, 12))


def test_a_run_is_followed_by_its_own_pair_at_the_reference_snr(swept):
    for run in swept.pairing.runs:
        ours, theirs = at(swept, swept.pairing.own[run.label], 2), at(swept, swept.pairing.reference, 2)
        assert swept.followed(run) == pytest.approx(
            {
                "kl_divergence": ours["kl_divergence"],
                "bleu": ours["bleu"],
                "cross_entropy_gap": ours["cross_entropy"] - theirs["cross_entropy"],
            }
        )


def test_runs_of_unknown_settings_and_hybrids_are_not_followed(swept):
    assert [run.label for run in swept.campaign.runs] == [
        run.label for run in swept.pairing.runs if run.label not in ("hybrid", "unknown")
    ]


def test_over_seeds(swept):
    rows = records(swept.campaign.over_seeds())
    assert [row["runs"] for row in rows] == [[f"T{t} s{s}" for s in (1, 2, 3)] for t in (1, 2, 4, 8)] + [
        ["w s1", "w s2"]
    ]
    by_label = {run.label: swept.followed(run) for run in swept.campaign.runs}
    for row in rows:
        assert row["seeds"] == len(row["runs"])
        for name in FOLLOWED:
            expected = intervals.estimate([by_label[label][name] for label in row["runs"]])
            assert row[name].value == pytest.approx(expected.mean) and row[name].high - row[
                name
            ].value == pytest.approx(expected.half_width)
            assert row[name].value - row[name].low == pytest.approx(expected.half_width)


def test_trends_are_over_runs_that_differ_in_one_setting(swept):
    found = {(sweep.setting, *sweep.held.values()): sweep for sweep in swept.campaign.sweeps}
    assert sorted(sweep.setting for sweep in swept.campaign.sweeps) == ["distill_weight", "temperature"], (
        "a loss has a name, no size"
    )
    temperature, weight = found["temperature", 0.7, "kd"], found["distill_weight", 4.0, "kd"]
    assert temperature.held == {"distill_weight": 0.7, "kd_loss": "kd"} and weight.held == {
        "temperature": 4.0,
        "kd_loss": "kd",
    }
    assert set(temperature.runs) == {f"T{t} s{s}" for t in (1, 2, 4, 8) for s in (1, 2, 3)}
    assert set(weight.runs) == {"T4 s1", "T4 s2", "T4 s3", "w s1", "w s2"}
    by_label = {run.label: swept.followed(run) for run in swept.campaign.runs}
    points = {(row.pop("value"), row.pop("seed")): row for row in records(temperature.points)}
    assert points == {(float(t), s): by_label[f"T{t} s{s}"] for t in (1, 2, 4, 8) for s in (1, 2, 3)}
    for name in FOLLOWED:
        expected = setting_trends.trend(
            setting_trends.Point(value, seed, by_label[f"T{value:g} s{seed}"][name]) for value, seed in points
        )
        assert temperature.trends[name] == expected
        assert weight.trends[name].why == "few_values"
    # Made up so that each further receiver is worse: later temperatures, and among them later seeds.
    assert temperature.trends["kl_divergence"].verdict == "rises" and temperature.trends["bleu"].rho < 0


def test_differing_settings(swept):
    assert swept.campaign.differing() == {
        "temperature": [1.0, 2.0, 4.0, 8.0],
        "distill_weight": [0.7, 0.3],
        "kd_loss": ["kd", "rkl"],
    }


def test_grouping_is_by_settings_and_not_by_seed():
    runs = [run("a"), run("b", seed=2), run("c", temperature=1.0), run("d", seed=3)]
    assert [[r.label for r in group] for group in grouped(runs)] == [["a", "b", "d"], ["c"]]


# As JSON


def test_plain_rows_have_no_infinity_and_no_nan():
    assert plain_values(Interval(1.5, -math.inf, math.inf)) == {"value": 1.5, "low": None, "high": None}
    numbers = plain_values([np.int64(3), np.float32(0.5), np.bool_(True), np.float32(math.nan)])
    assert numbers == [3, 0.5, True, None] and json.dumps(numbers, allow_nan=False)
    given = {
        "a": (math.nan, np.float64(2), [math.inf]),
        3: {"b": Interval(math.inf, 0.0, math.inf)},
        "c": None,
        "d": "x",
        "e": 4,
        "f": True,
    }
    found = plain_values(given)
    assert found == {
        "a": [None, 2.0, [None]],
        "3": {"b": {"value": None, "low": 0.0, "high": None}},
        "c": None,
        "d": "x",
        "e": 4,
        "f": True,
    }
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_all_results_are_json(study, swept):
    """Also of ends of another width, and of a channel without noise to stand beside."""
    odd = made_up(pair_up(TEACHER, [FULL]), encoded(12, 4, 9))
    own = odd.pairing.own["full"]
    odd.measured.pairs[own.key].sums[:, :, PLACE["distance"]] = np.nan
    for name in ("kl", "js"):
        odd.measured.pairs[odd.pairing.noise.key].sums[:, :, PLACE[name]] = 0
    assert (
        odd.row(own)["representation_distance"] is None
        and odd.row(own)["kl_divergence_over_noise"].value == math.inf
    )
    assert odd.row(odd.pairing.reference)["kl_divergence_over_noise"] is None
    for one in (study, swept, odd):
        found = json.loads(json.dumps(plain_values(one.results()), allow_nan=False))
        assert set(found) == {
            "matrix",
            "effects",
            "price",
            "representations",
            "over_seeds",
            "differing_settings",
            "trends",
        }
        assert len(found["matrix"]) == 3 * len(one.pairing.pairs) and len(found["price"]) == len(one.compared)
        first = found["matrix"][0]
        assert set(first["bleu"]) == {"value", "low", "high"} and first["pair"] == "teacher → teacher"
    assert found["effects"][0]["transmitter"]["value"] == pytest.approx(
        odd.effects(odd.pairing.squares[0])["transmitter"][0].value
    )
    swept_trends = plain_values(swept.results())["trends"]
    assert {len(sweep["points"]) for sweep in swept_trends} == {12, 5} and swept_trends[0]["points"][0][
        "seed"
    ] == 1


# Models whose order is known


GRID, NOISES = (-6.0, 0.0, 6.0, 12.0, 18.0, 24.0), (0.0, 0.02, 0.1, 0.5)


@pytest.fixture(scope="module")
def ordered():
    """Students of growing noise, the first the teacher itself under another fingerprint. What they are to say
    is what the teacher decodes without noise, so that it needs no training to be good at it."""
    teacher, sentences = sharp(noise=0), []
    for e in encoded(40, 6, 9, seed=3):
        batch = collate([e])
        with torch.no_grad():
            pieces = greedy(
                teacher.receiver, teacher.transmitter(batch.source, batch.source_mask)[0], batch.source_mask
            )
        sentences.append(Encoded(Sentence(e.sentence.id, Numbers().decode(pieces)[0]), e.source))
    ends = [
        [End(label, getattr(model, name), f"{label} {name}") for name in ("transmitter", "receiver")]
        for label, model in [
            ("teacher", teacher),
            *((f"noise {noise:g}", sharp(noise=noise)) for noise in NOISES),
        ]
    ]
    transmitters, receivers = ([pair[side] for pair in ends] for side in (0, 1))
    reference = Pair(*ends[0])
    noise = replace(reference, draw=1)
    squares = [Square(*pair, CODE) for pair in ends[1:]]
    crossed = [Pair(transmitters[1], receivers[0]), Pair(transmitters[0], receivers[1])]
    own = {pair[0].label: Pair(*pair) for pair in ends[1:]}
    who = Pairing(
        reference,
        noise,
        [],
        own,
        transmitters,
        receivers,
        [reference, noise, *own.values(), *crossed],
        squares,
        owners={end.fingerprint: Run(end.label, TEACHER, {}) for pair in ends for end in pair},
    )
    meeting = Meeting(AWGN(), GRID, 0, CPU, 40, quiet=True)
    measured = pair_matrix.measure(
        who.pairs, reference, sentences, Numbers(), meeting, cka_snr=12.0, cache=None
    )
    return Study(who, measured, "awgn", True, 12.0, 300, 1, Numbers().decode)


def price_of(study, pair):
    prices = study.prices()
    [price] = records(prices[prices["pair"] == study.pairing.label(pair)])
    return price


def test_a_student_equal_to_the_teacher_has_no_effect_and_costs_nothing(ordered):
    equal = ordered.pairing.squares[0]
    assert equal.label == "noise 0"
    for row in records(ordered.effects(equal)):
        assert all(
            row[part] == Interval(0.0, 0.0, 0.0)
            for part in ("transmitter", "receiver", "interaction", "total")
        )
    pairs = [pair for pair in ordered.pairing.corners(equal).values() if pair != ordered.pairing.reference]
    assert len(pairs) == 3
    for pair in pairs:
        cost = price_of(ordered, pair)
        assert cost["gap"] == Interval(0.0, 0.0, 0.0)
        for snr in GRID:
            row = ordered.row(pair, snr)
            assert row["bleu_p"] == row["cross_entropy_p"] == 1.0 and row["cross_entropy_gap"] == Interval(
                0.0, 0.0, 0.0
            )
            assert (
                row["kl_divergence_over_noise"] == Interval(0.0, 0.0, 0.0)
                and abs(row["js_divergence_over_noise"].value) < 1e-4
            )
            assert row["agreement_rate"].value == 1 and row["bleu_to_reference"].value == pytest.approx(100)


def test_more_noise_on_the_weights_is_more_divergence(ordered):
    rows = [ordered.row(ordered.pairing.own[f"noise {noise:g}"]) for noise in NOISES]
    for one, other in zip(rows, rows[1:]):
        assert one["kl_divergence"].high < other["kl_divergence"].low
        assert (
            one["bleu"].value > other["bleu"].value
            and one["bleu_to_reference"].value > other["bleu_to_reference"].value
        )
        assert one["kl_reference_prefix"].value < other["kl_reference_prefix"].value
        assert (
            one["js_divergence"].value < other["js_divergence"].value
            and one["agreement_rate"].value > other["agreement_rate"].value
        )
        assert one["kl_divergence_over_noise"].value < other["kl_divergence_over_noise"].value
    assert rows[-1]["bleu_p"] < 0.05 and rows[-2]["bleu_p"] < 0.05 and rows[1]["bleu_p"] > 0.05


def test_more_noise_on_the_weights_costs_more(ordered):
    """Teacher 82 BLEU at 24 dB: little noise delays the 74 that count, more of it never gets there."""
    prices = [price_of(ordered, ordered.pairing.own[f"noise {noise:g}"]) for noise in NOISES]
    assert prices[0]["gap"].value == 0 < 0.3 < prices[1]["gap"].value < 8
    assert [p["why"] == OTHER_NOT_REACHED for p in prices] == [False, False, True, True]
    least = [p["at_least"] for p in prices]
    assert least[0] < least[1] < least[2] <= least[3]
    assert prices[2]["gap"] is None and prices[2]["at_most"] == math.inf


def test_bleu_of_the_study_is_sacrebleus(ordered):
    for pair in ordered.pairing.pairs:
        assert ordered.row(pair)["bleu"].value == pytest.approx(
            text_metrics.bleu(ordered.texts(pair), [s.text for s in ordered.sentences])
        )
