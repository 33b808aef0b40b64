"""Who meets whom: ends by their weights, pairs, and which ends belong together, of toy checkpoints with
made-up settings."""

import copy

import pytest
from toy import Numbers, size, transceiver

from semcom.base.flags import as_record
from semcom.channel.settings import ChannelConfig, TrainingSNRConfig
from semcom.data.settings import CorpusConfig
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.training_settings import StudentConfig, TrainingConfig
from semcom.distillation.transfer_settings import TransferConfig
from semcom.evaluation.pairs import (
    CODE,
    INTEROPERABLE,
    KNOWLEDGE,
    MATRIX_LIMIT,
    UNKNOWN,
    Run,
    pair_up,
)
from semcom.evaluation.runs import SETTINGS
from semcom.models.checkpoint import Checkpoint
from semcom.models.settings import PARTS
from semcom.models.transceiver import splice

DEFAULTS = as_record(
    DistillationConfig(),
    TransferConfig(),
    StudentConfig(),
    CorpusConfig(),
    ChannelConfig(),
    TrainingSNRConfig(),
    TrainingConfig(),
)
TRANSMITTER, RECEIVER = PARTS[:2], PARTS[2:]
TRAINED = {"full": PARTS, "encoder": TRANSMITTER, "decoder": RECEIVER}


def model_of(seed):
    return transceiver(size(1), size(1), seed=seed)


def checkpoint(model, **settings):
    return Checkpoint(model, Numbers(), {}, {}, settings)


TEACHER = checkpoint(model_of(0), topics_seen=["trade", "energy"])


def run(label, part, weights, *, seed=1, **settings):
    """A student of ``part`` mode: the teacher's with the trained ends of another transceiver. It carries
    copies of the teacher's weights."""
    student = splice(copy.deepcopy(TEACHER.model), model_of(weights), TRAINED[part])
    return Run(label, checkpoint(student), {**DEFAULTS, "distill_part": part, "seed": seed, **settings})


def spliced(label, transmitter, receiver, made=None):
    return Run(
        label,
        checkpoint(splice(transmitter.checkpoint.model, receiver.checkpoint.model, RECEIVER)),
        made or {},
    )


def labels(found, pairs):
    return [found.label(pair) for pair in pairs]


def squares(found):
    return {square.label: square.kind for square in found.squares}


FULL, ENCODER, DECODER = run("full", "full", 1), run("enc", "encoder", 2), run("dec", "decoder", 3)


def test_reference_and_noise_come_first():
    found = pair_up(TEACHER, [FULL, ENCODER])
    assert found.pairs[:2] == [found.reference, found.noise]
    assert (
        found.reference.draw == 0 and found.noise.draw == 1 and found.noise.key[:2] == found.reference.key[:2]
    )
    assert (
        found.reference.transmitter.module is TEACHER.model.transmitter
        and found.reference.receiver.module is TEACHER.model.receiver
    )
    assert labels(found, found.pairs[:2]) == ["teacher → teacher", "teacher → teacher (other draw)"]
    assert len({pair.key for pair in found.pairs}) == len(found.pairs)


def test_ends_of_the_same_weights_are_one():
    """Part-mode students carry the teacher's other end, hybrids those of two others."""
    hybrid = Run("full hybrid", checkpoint(splice(TEACHER.model, FULL.checkpoint.model, RECEIVER)), FULL.made)
    found = pair_up(TEACHER, [FULL, hybrid, ENCODER, DECODER])
    assert [end.label for end in found.transmitters] == ["teacher", "full", "enc"]
    assert [end.label for end in found.receivers] == ["teacher", "full", "dec"]
    assert {label: found.label(pair) for label, pair in found.own.items()} == {
        "full": "full → full",
        "full hybrid": "teacher → full",
        "enc": "enc → teacher",
        "dec": "teacher → dec",
    }
    assert len(found.pairs) == 1 + 3 * 3


def test_a_student_equal_to_the_teacher_is_the_teacher():
    found = pair_up(TEACHER, [run("copy", "full", 0)])
    assert (
        found.pairs == [found.reference, found.noise]
        and found.own["copy"].key == found.reference.key
        and not found.squares
    )


def test_topics_are_those_of_each_end():
    by_end = {"transmitter": ["trade", "energy"], "receiver": ["trade", "health"]}
    found = pair_up(
        TEACHER, [Run("dec", checkpoint(DECODER.checkpoint.model, topics_by_end=by_end), {}), FULL]
    )
    assert found.reference.seen_topics == {"trade", "energy"} and found.own["dec"].seen_topics == {"trade"}
    assert found.own["full"].seen_topics is None
    assert found.receivers[1].seen_topics == {"trade", "health"} and found.transmitters[0].seen_topics == {
        "trade",
        "energy",
    }


def test_corners_have_the_transmitter_first():
    found = pair_up(TEACHER, [FULL])
    corners = found.corners(found.squares[0])
    assert {name: found.label(pair) for name, pair in corners.items()} == {
        "TT": "teacher → teacher",
        "ST": "full → teacher",
        "TS": "teacher → full",
        "SS": "full → full",
    }
    assert corners["TT"] == found.reference and {pair.key for pair in corners.values()} <= {
        pair.key for pair in found.pairs
    }


@pytest.mark.parametrize(
    "settings, kind",
    [
        ({}, CODE),
        ({"cross_weight": 0.5}, INTEROPERABLE),
        ({"cross_weight": None}, UNKNOWN),
        ({"distill_part": None}, UNKNOWN),
        ({"distill_part": "encoder"}, UNKNOWN),
    ],
)
def test_a_square_of_one_run(settings, kind):
    made = Run("full", FULL.checkpoint, FULL.made | settings)
    assert squares(pair_up(TEACHER, [made])) == {"full": kind}
    assert squares(pair_up(TEACHER, [Run("full", FULL.checkpoint, {})])) == {"full": UNKNOWN}


def test_encoder_and_decoder_runs_of_the_same_settings_make_a_square():
    runs = [
        ENCODER,
        DECODER,
        run("enc 2", "encoder", 4, seed=2),
        run("dec 2", "decoder", 5, seed=2),
        run("enc hot", "encoder", 6, temperature=8.0),
        run("dec wide", "decoder", 7, student_d_model=32),
    ]
    found = pair_up(TEACHER, runs)
    assert squares(found) == {"enc + dec": KNOWLEDGE, "enc 2 + dec 2": KNOWLEDGE}
    assert all(square.differing == () for square in found.squares)
    assert squares(pair_up(TEACHER, runs[::-1])) == squares(found)


def test_a_compiled_run_is_matched_all_the_same():
    assert squares(
        pair_up(
            TEACHER,
            [ENCODER, DECODER, run("e", "encoder", 8, seed=3, compile=True), run("d", "decoder", 9, seed=3)],
        )
    ) == {"enc + dec": KNOWLEDGE, "e + d": KNOWLEDGE}


def test_the_only_two_runs_make_a_square_that_says_what_they_differ_in():
    other = run("dec", "decoder", 3, seed=2, temperature=8.0, student_layers=1)
    found = pair_up(TEACHER, [ENCODER, other])
    assert squares(found) == {"enc + dec": KNOWLEDGE} and set(found.squares[0].differing) == {
        "temperature",
        "student_layers",
        "seed",
    }
    assert squares(pair_up(TEACHER, [ENCODER, other, run("third", "decoder", 4, seed=3)])) == {}, (
        "of three it is not said which belong together"
    )


def test_two_encoder_runs_and_two_full_runs_make_no_square_with_each_other():
    assert squares(pair_up(TEACHER, [ENCODER, run("enc 2", "encoder", 4)])) == {}
    assert squares(pair_up(TEACHER, [FULL, run("full 2", "full", 4, seed=2)])) == {
        "full": CODE,
        "full 2": CODE,
    }
    assert squares(pair_up(TEACHER, [FULL, DECODER])) == {"full": CODE}


@pytest.mark.parametrize("first", [False, True])
def test_a_spliced_checkpoint_takes_no_end_from_the_run_that_made_it(first):
    """Whether it is named before or behind; a splice of an encoder and a decoder student is the square's far
    corner."""
    both, hybrid = (
        spliced("both", ENCODER, DECODER),
        spliced("hybrid", Run("", TEACHER, {}), FULL, {"distill_part": "full", "cross_weight": 0.0}),
    )
    runs = [both, hybrid, ENCODER, DECODER, FULL] if first else [ENCODER, DECODER, FULL, both, hybrid]
    found = pair_up(TEACHER, runs)
    assert sorted(square.kind for square in found.squares) == sorted([KNOWLEDGE, CODE])
    far = {found.corners(square)["SS"].key for square in found.squares}
    assert far == {found.own["both"].key, found.own["full"].key}


def test_a_spliced_checkpoint_alone_is_a_square_of_unknown_kind():
    assert squares(pair_up(TEACHER, [spliced("both", ENCODER, DECODER)])) == {"both": UNKNOWN}


# Matrices


def test_the_whole_matrix_up_to_the_limit():
    """Two full runs and an encoder run are 4 transmitters and 3 receivers, three full runs 4 and 4."""
    runs = [run(f"run {k}", "full", 10 + k, seed=k) for k in range(3)]
    assert MATRIX_LIMIT == 12
    found = pair_up(TEACHER, [*runs[:2], ENCODER])
    assert found.whole and len(found.pairs) == 12 + 1
    found = pair_up(TEACHER, runs)
    assert not found.whole and len(found.pairs) == 1 + 1 + 3 * 3, (
        "beside reference and noise three pairs a run"
    )
    found = pair_up(TEACHER, runs, "all")
    assert found.whole and len(found.pairs) == 16 + 1


def test_matched_pairs_are_those_with_the_teacher_and_with_one_s_own():
    found = pair_up(TEACHER, [FULL, ENCODER, DECODER], "matched")
    assert not found.whole and set(labels(found, found.pairs[2:])) == {
        "full → full",
        "enc → teacher",
        "teacher → dec",
        "teacher → full",
        "full → teacher",
        "enc → dec",
    }
    assert "enc → full" in labels(found, pair_up(TEACHER, [FULL, ENCODER, DECODER], "all").pairs)
    splice_of_two = spliced("odd", ENCODER, FULL)
    assert "enc → full" in labels(found, pair_up(TEACHER, [FULL, ENCODER, splice_of_two], "matched").pairs), (
        "it is a pair of its own"
    )


def test_all_pairs_that_are_asked_for_are_measured():
    for matrix in ("auto", "all", "matched"):
        found = pair_up(TEACHER, [FULL, ENCODER, DECODER], matrix)
        keys = {pair.key for pair in found.pairs}
        assert {pair.key for pair in found.own.values()} | {
            p.key for s in found.squares for p in found.corners(s).values()
        } <= keys


# Labels


def test_a_run_called_teacher_stays_apart_from_the_teacher():
    found = pair_up(TEACHER, [run("teacher", "full", 1), DECODER])
    assert found.reference.transmitter.module is TEACHER.model.transmitter
    assert found.own["teacher"].transmitter.fingerprint != found.reference.transmitter.fingerprint
    assert len(set(labels(found, found.pairs))) == len(found.pairs) and set(found.own) == {"teacher", "dec"}


def test_the_teacher_s_label_may_be_chosen():
    found = pair_up(TEACHER, [], teacher_label="big.pt")
    assert (
        labels(found, found.pairs) == ["big.pt → big.pt", "big.pt → big.pt (other draw)"]
        and found.runs == [] == found.squares
    )


def test_settings_hold_all_that_runs_can_differ_in():
    assert set(DEFAULTS) - set(SETTINGS) == {"compile"} and "seed" not in SETTINGS
    assert (
        FULL.settings()["temperature"] == 4.0
        and FULL.seed == 1
        and Run("", TEACHER, {}).settings()["temperature"] is None
    )
