"""``python -m semcom benchmark``: the frozen task, its ladder, scores of entries that are known, the
command."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import toy
from cli_support import package, refused

import semcom
from semcom.base.errors import SemcomError
from semcom.base.progress import Progress
from semcom.commands import benchmark as verb
from semcom.commands.benchmark_results import FORMAT
from semcom.commands.benchmark_settings import VERSION
from semcom.commands.inputs import shipped
from semcom.data import corpus
from semcom.data.batching import collate
from semcom.distillation import pilot_tuning
from semcom.distillation.aligner_settings import TUNED, TuningConfig
from semcom.evaluation import benchmark_entries, benchmark_ladder, benchmark_scores, benchmark_task
from semcom.evaluation.benchmark_entries import Entry, Lesson, MappedReceiver, by_map, by_way, paired
from semcom.evaluation.benchmark_ladder import RECIPES, Rung, transceiver_of
from semcom.evaluation.benchmark_scores import Board, Hall
from semcom.evaluation.benchmark_task import TASKS, VERSION_1, check, fingerprints_of, stage_of
from semcom.evaluation.pilots import Air, Ends, pilot_rows
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint
from semcom.models.settings import DEFAULT_TEACHER, PARTS

FROZEN = {1: "fe9a9718d5a89c60"}
"""Never change a digest: what others have published was scored on that task. For another task add VERSION_2
to ``benchmark_task.TASKS`` with fingerprints by ``fingerprints_of``, its digest here, and let
``benchmark_settings.VERSION`` be 2."""
TOLD: dict[str, object] = {"receiver": "stub", "aligner": "stub", "genie": False}


@pytest.fixture(scope="module")
def shipped_teacher():
    return checkpoint.load(shipped(DEFAULT_TEACHER))


@pytest.fixture(scope="module")
def built_in(shipped_teacher):
    return corpus.built_in(None, vocabulary=shipped_teacher.vocabulary)


@pytest.fixture(scope="module")
def tiny(shipped_teacher, built_in):
    """Two rungs, one SNR, few sentences."""
    rungs = [Rung("rotation", 0.75, 1.06, 2), Rung("encoder", 0.75, 0.891, 6)]
    made = [transceiver_of(shipped_teacher.model, rung) for rung in rungs]
    named = [
        replace(rung, fingerprint=benchmark_ladder.fingerprint(model)) for rung, model in zip(rungs, made)
    ]
    task = replace(
        VERSION_1,
        rungs=tuple(named),
        snrs=(12.0,),
        sentences=12,
        pilot_counts=(5, 20),
        headline_pilots=20,
        pilot_draws=(1,),
        replicates=50,
    )
    return replace(task, **fingerprints_of(task, shipped_teacher, built_in))


@pytest.fixture(scope="module")
def stage(tiny, shipped_teacher, built_in):
    return stage_of(tiny, shipped_teacher, built_in)


@pytest.fixture(scope="module")
def hall(stage):
    with Progress(1, "benchmark", quiet=True) as bar:
        return Hall(stage, torch.device("cpu"), 64, bar)


@pytest.fixture(scope="module")
def board(stage, hall):
    teacher = Entry("teacher", stage.teacher.model, None, TOLD)
    return Board(stage, benchmark_scores.measure(teacher, hall))


def scored(join, board, hall, genie=False):
    entry = Entry("stub", board.stage.teacher.model, join, {**TOLD, "genie": genie})
    return board.of(entry, benchmark_scores.measure(entry, hall))


# --- the frozen task


@pytest.mark.parametrize("version", TASKS)
def test_a_version_is_what_it_was_frozen_as(version):
    assert TASKS[version].digest == FROZEN[version]


def test_the_command_scores_a_frozen_version():
    assert VERSION in FROZEN


def test_teacher_corpus_pilots_draws_and_rungs_are_those_frozen(shipped_teacher, built_in):
    made = stage_of(VERSION_1, shipped_teacher, built_in)
    assert len(made.test) == VERSION_1.sentences and len(made.rungs) == len(VERSION_1.rungs)
    learned = {e.sentence.id for encoded in made.pilots.values() for e in encoded}
    assert not learned & {e.sentence.id for e in made.test}, "no pilot is measured"
    assert {e.sentence.split for e in made.test} == {"test"}


@pytest.mark.parametrize(
    "change",
    [
        {"sentences": 201},
        {"snrs": (0.0, 6.0, 18.0)},
        {"seed": 1},
        {"pilot_draws": (1, 2)},
        {"headline_pilots": 10},
        {"rungs": (replace(VERSION_1.rungs[0], level=0.79), *VERSION_1.rungs[1:])},
    ],
)
def test_whatever_changes_changes_the_digest(change):
    assert replace(VERSION_1, **change).digest != VERSION_1.digest


@pytest.mark.parametrize("name", ["teacher", "corpus", "test", "pilots", "draws"])
def test_another_teacher_corpus_or_draw_is_refused(name):
    found = {field: getattr(VERSION_1, field) for field in ("teacher", "corpus", "test", "pilots", "draws")}
    rungs = [rung.fingerprint for rung in VERSION_1.rungs]
    check(VERSION_1, found, rungs)
    with pytest.raises(SemcomError, match=f"benchmark version 1: {name} is ffff, {found[name]} was frozen"):
        check(VERSION_1, found | {name: "ffff"}, rungs)
    with pytest.raises(SemcomError, match="encoder 0.75 is ffff"):
        check(VERSION_1, found, [*rungs[:-1], "ffff"])


def test_fingerprints_follow_sentences_seed_and_draws(tiny, shipped_teacher, built_in):
    other = fingerprints_of(replace(tiny, seed=1, sentences=11), shipped_teacher, built_in)
    assert all(other[name] != getattr(tiny, name) for name in ("test", "pilots", "draws"))
    assert all(other[name] == getattr(tiny, name) for name in ("teacher", "vocabulary", "corpus"))


# --- the ladder


@pytest.mark.parametrize("kind", RECIPES)
def test_level_zero_is_the_teacher(kind, shipped_teacher):
    made = transceiver_of(shipped_teacher.model, Rung(kind, 0, 0.0, 1))
    assert checkpoint.fingerprint_of(made) == shipped_teacher.fingerprint


@pytest.mark.parametrize("kind, changed", [("channel encoder", "channel_encoder"), ("encoder", "encoder")])
def test_a_part_redrawn_is_that_part_alone(kind, changed, shipped_teacher):
    before = checkpoint.fingerprint_of(shipped_teacher.model)
    made = transceiver_of(shipped_teacher.model, Rung(kind, 0, 0.5, 1))
    for name, weights in made.state_dict().items():
        same = torch.equal(weights, shipped_teacher.model.state_dict()[name])
        assert same or name.startswith(f"transmitter.{changed}.")
    assert checkpoint.fingerprint_of(shipped_teacher.model) == before, "the teacher is not touched"


def test_half_way_is_half_way(shipped_teacher):
    ends = [
        transceiver_of(shipped_teacher.model, Rung("encoder", 0, level, 1)).state_dict()
        for level in (0.0, 0.5, 1.0)
    ]
    for name, half in ends[1].items():
        torch.testing.assert_close(half, (ends[0][name] + ends[2][name]) / 2)
    fresh = ends[2]["transmitter.channel_encoder.0.weight"]
    assert torch.equal(fresh, ends[0]["transmitter.channel_encoder.0.weight"])


def test_a_rotation_turns_the_signal_by_an_orthogonal_map(shipped_teacher, stage):
    batch = collate(stage.test)
    level = 1.06
    made = transceiver_of(shipped_teacher.model, Rung("rotation", 0, level, 2))
    with torch.inference_mode():
        signals = [
            batch.of_sources(model.transmitter(batch.source, batch.source_mask)[0]).double().numpy()
            for model in (shipped_teacher.model, made)
        ]
    turn = np.linalg.lstsq(*signals, rcond=None)[0]
    np.testing.assert_allclose(turn @ turn.T, np.eye(len(turn)), atol=1e-5)
    np.testing.assert_allclose(signals[0] @ turn, signals[1], atol=1e-5)
    assert abs(np.angle(np.linalg.eigvals(turn))).max() == pytest.approx(level, abs=1e-5)


# --- scores


def test_an_aligner_that_does_nothing_gains_nothing(board, hall):
    found = scored(by_map(lambda pilots: lambda arrived: arrived, "stub"), board, hall)
    for pilots in (5, 20):
        assert (found.score(pilots) == 0).all()


def test_an_oracle_recovers_all(board, hall):
    found = scored(lambda lesson: lesson.ends.listener, board, hall, genie=True)
    np.testing.assert_allclose(found.score(20), 100)
    assert found.record()["score"].low == pytest.approx(100)
    assert all(row["recovery"].value == 1 for row in found.rows() if row["recovery"])
    assert any(row["recovery"] for row in found.rows())


def test_orthogonal_heals_a_rotation(board, hall):
    found = scored(by_way("orthogonal"), board, hall)
    assert found.score(20, "rotation")[0] > 90
    assert found.score(20, "rotation")[0] > found.score(20, "encoder")[0]


def test_the_score_is_gains_over_losses_by_hand(board, hall):
    found = scored(by_way("linear"), board, hall)
    rows = [row for row in found.rows() if row["pilots"] == 20]
    gained = sum(row["bleu"].value - row["as_it_is"].value for row in rows)
    lost = sum(row["straight"].value - row["as_it_is"].value for row in rows)
    record = found.record()
    assert record["score"].value == pytest.approx(100 * gained / lost)
    assert record["mean_bleu"].value == pytest.approx(np.mean([row["bleu"].value for row in rows]))
    assert record["score"].low < record["score"].value < record["score"].high
    (alike,) = benchmark_scores.differences(
        [found, replace(found, entry=replace(found.entry, name="b"))]
    ).values()
    assert (alike.low, alike.value, alike.high) == (0, 0, 0), "paired"


@pytest.mark.parametrize("way", ["decoder", "surrogate"])
def test_tuned_ways_learn_from_the_pilots_and_what_they_need(way, board, hall, stage, monkeypatch):
    asked, frozen = [], {rung.fingerprint for rung in stage.rungs}

    def tuned(way, sender, listener, pilots, *, texts, snr, **options):
        asked.append((way, len(pilots), len(texts), snr, options["seed"]))
        assert benchmark_ladder.fingerprint(sender) in frozen and options["channel"] is benchmark_task.CHANNEL
        return listener

    monkeypatch.setattr(benchmark_entries, "tuned", tuned)
    assert scored(by_way(way), board, hall, genie=True).score(20)[0] == pytest.approx(100)
    texts = len(stage.train) if way == "surrogate" else 0
    seed = VERSION_1.seed
    assert asked == 2 * [(way, 5, texts, 12.0, seed), (way, 20, texts, 12.0, seed)]


@pytest.mark.parametrize("way", TUNED)
def test_tuned_ways_really_train_one_end_and_no_other(way, monkeypatch):
    few = TuningConfig(tuning_steps=2, imitation_steps=2, surrogate_steps=2, tuning_batch=4)
    monkeypatch.setattr(pilot_tuning, "TuningConfig", lambda: few)
    sender, listener = toy.transceiver(seed=1), toy.transceiver(seed=2)
    encoded, air = toy.encoded(8), Air(benchmark_task.CHANNEL, 5, torch.device("cpu"))
    (rows,) = pilot_rows(Ends(sender, listener), encoded, [12.0], air)
    texts = toy.encoded(70, seed=1)
    lesson = Lesson(Ends(sender, listener), encoded, rows, lambda: texts, 12.0, 1, air)
    pair = by_way(way)(lesson)
    transmitter, receiver = (checkpoint.fingerprint_of(end) for end in (pair.transmitter, pair.receiver))
    sends_as_before = transmitter == checkpoint.fingerprint_of(sender.transmitter)
    hears_as_before = receiver == checkpoint.fingerprint_of(listener.receiver)
    assert hears_as_before == (way == "encoder")
    assert sends_as_before or way == "encoder"


@pytest.mark.parametrize(
    "fit, told",
    [
        (lambda pilots: 3, "fit(pilots) gave int, a map is wanted"),
        (lambda pilots: lambda x: x[..., :3], ", 3) of the pilots"),
        (lambda pilots: lambda x: x * torch.nan, "not finite"),
    ],
)
def test_what_is_no_map_is_refused(fit, told, board, hall):
    with pytest.raises(SemcomError) as refusal:
        scored(by_map(fit, "stub"), board, hall)
    assert told in str(refusal.value) and str(refusal.value).startswith("aligner stub: ")


def altered(lesson):
    with torch.no_grad():
        next(lesson.ends.sender.transmitter.parameters()).mul_(2)
    return paired(lesson.ends.sender, lesson.ends.listener.receiver)


@pytest.mark.parametrize(
    "join, told",
    [
        (lambda lesson: 3, "gave int, a Transceiver is wanted"),
        (lambda lesson: lesson.ends.listener, "that of the rung rotation 0.75 is"),
        (altered, "leave it as it is"),
    ],
)
def test_a_pair_has_the_transmitter_of_its_rung(join, told, board, hall, stage):
    with pytest.raises(SemcomError, match=told):
        scored(join, board, hall)
    made = [benchmark_ladder.fingerprint(sender) for sender in stage.rungs.values()]
    assert made == [rung.fingerprint for rung in stage.rungs], "what is lent is a copy"


def test_what_is_told_beside_the_symbols_passes_the_map():
    received = torch.randn(2, 5, toy.C + 1, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    front = MappedReceiver(toy.transceiver().receiver, lambda symbols: 2 * symbols + 1, toy.C)
    heard = front.front(received, mask)
    assert torch.equal(heard[..., -1], received[..., -1])
    assert torch.equal(heard[..., :-1], (2 * received[..., :-1] + 1) * mask[..., None]), "silent at padding"
    assert torch.equal(front.front(received[..., :-1], mask), heard[..., :-1])


# --- the command, and from Python


@pytest.fixture
def played(tiny, shipped_teacher, built_in, here, monkeypatch):
    """The command on the tiny task."""
    monkeypatch.setitem(benchmark_task.TASKS, VERSION, tiny)
    monkeypatch.setattr(verb, "load_teacher", lambda path: shipped_teacher)
    monkeypatch.setattr(verb, "read_corpus", lambda *given, **options: built_in)
    return here


def benchmark(*flags):
    return package("benchmark", "--device", "cpu", "--quiet", *flags)


def test_the_json_has_all_that_repeats_it(played, tiny, capsys):
    assert benchmark("--by", "none", "orthogonal", "--output", "result.json") == 0
    shown = capsys.readouterr().out
    assert "teacher, orthogonal" in shown and "rotation 0.75" in shown and "made result.json" in shown
    found = json.loads((played / "result.json").read_text())
    assert found["format"] == FORMAT and found["digest"] == tiny.digest and not found["quick"]
    assert found["task"]["rungs"][0]["fingerprint"] == tiny.rungs[0].fingerprint
    for name in (
        "command",
        "bleu_signature",
        "torch",
        "numpy",
        "scipy",
        "semcom",
        "commit",
        "threads",
        "device",
    ):
        assert found[name]
    first, second = found["entries"]
    assert (first["score"]["value"], first["score_pilots"]) == (0, 0)
    assert second["score"]["low"] <= second["score"]["value"] <= second["score"]["high"]
    assert second["aligner"] == "orthogonal" and len(second["fingerprints"]["receiver"]) == 16
    cells = {(cell["rung"], cell["snr"], cell["pilots"]) for cell in second["cells"]}
    assert cells == {(rung.name, 12.0, pilots) for rung in tiny.rungs for pilots in (5, 20)}
    assert (played / "result.png").exists()
    again = semcom.benchmark("orthogonal", device="cpu", quiet=True)
    assert again.record["entries"][0]["score"] == second["score"], "the same, from Python"
    assert again.record["entries"][0]["cells"] == second["cells"]


def test_objects_of_python_enter(played, shipped_teacher):
    def silence(pilots):
        return lambda arrived: 0 * arrived

    found = semcom.benchmark(silence, shipped_teacher.model.receiver, device="cpu", quiet=True)
    (name,) = found.scores
    assert "silence" in name and found.scores[name].value < 0
    assert set(found.table["pilots"]) == {5, 20}
    assert found.record["entries"][0]["aligner_module"] == __name__

    class Splice:
        def join(self, lesson):
            assert len(lesson.encoded) in (5, 20) and lesson.snr == 12
            return paired(lesson.ends.sender, lesson.ends.listener.receiver)

    assert semcom.benchmark(Splice(), device="cpu", quiet=True).scores["teacher, Splice"].value == 0
    own = semcom.benchmark(receiver=shipped_teacher.model, name="mine", device="cpu", quiet=True)
    assert own.scores["mine"].value == 0


def test_quick_is_a_part_and_says_so(played, capsys, monkeypatch):
    monkeypatch.setattr(benchmark_task, "QUICK_SENTENCES", 4)
    assert benchmark("--quick", "--by", "none", "--output", "quick.json") == 0
    assert "compare with no others" in capsys.readouterr().out
    found = json.loads((played / "quick.json").read_text())
    assert found["quick"] and found["task"]["sentences"] == 4


def test_wrong_input_is_told_before_any_work(played, vocabulary, capsys, monkeypatch):
    foreign = toy.transceiver(vocab_size=len(vocabulary))
    checkpoint.save(Checkpoint(foreign, vocabulary, dict.fromkeys(PARTS, "toy")), "foreign.pt")
    monkeypatch.setattr(verb, "_stage", None)
    (played / "there.json").write_text("{}")
    for flags, told in [
        (["none.pt"], "none.pt: no such file"),
        (["foreign.pt"], "vocabularies differ"),
        (["--by", "lniear"], "linear"),
        (["--by", "linear", "linear"], "name each way once"),
        (["--output", "there.json"], "give --overwrite"),
    ]:
        refused(capsys, benchmark(*flags), told)


def test_wrong_objects_are_told(played, monkeypatch):
    monkeypatch.setattr(verb, "_stage", None)
    for given, told in [
        ({"aligner": "lniear"}, "did you mean linear"),
        ({"aligner": 3}, "fit\\(pilots\\) -> map"),
        ({"receiver": 3}, "a Transceiver or a Receiver"),
    ]:
        with pytest.raises(SemcomError, match=told):
            semcom.benchmark(**given)
