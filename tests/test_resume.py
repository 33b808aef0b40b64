"""A training that was stopped goes on to the bits of one that was not: its weights, its history, what it
keeps on the way."""

import math
import os
import signal
import time

import pytest
import torch
from toy import CPU, C, bits, channel_of, encoded, same_bits, size, spoken, transceiver

from semcom.base.errors import SemcomError
from semcom.distillation import run_state, trainer
from semcom.distillation.objectives import DistillationObjective, TransceiverObjective
from semcom.distillation.run_state import Keeper
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.training_settings import TrainingConfig
from semcom.distillation.transfer_settings import TransferConfig
from semcom.models.state_file import digest_of

SENTENCES, HELD_OUT = encoded(90, 3, 9), encoded(20, seed=9)
DROPOUT = {"dropout": 0.2}


@pytest.fixture(autouse=True)
def at_each_epoch(monkeypatch):
    """However short it is."""
    monkeypatch.setattr(run_state, "SHARE", math.inf)


def labels():
    return TransceiverObjective(transceiver(**DROPOUT), channel_of("rayleigh"), (-6.0, 18.0))


def distils(part, transfer=None, *, teachers=1, student=None, **settings):
    ours = transceiver(*(student or (size(), size())), seed=1, **DROPOUT)
    theirs = [transceiver(seed=seed) for seed in range(2, 2 + teachers)]
    config = DistillationConfig(distill_part=part, **settings)
    return DistillationObjective(theirs, ours, channel_of("awgn"), (-6.0, 18.0), config, transfer)


MAPPED = TransferConfig(feature_weight=0.5, encoder_weight=0.5, cross_weight=0.25)
SCHEDULES = {"temperature_schedule": "cosine", "final_temperature": 1.0, "weight_schedule": "linear"}
CASES = {
    "labels": (labels, {"epochs": 3}),
    "decoder": (lambda: distils("decoder"), {"epochs": 3}),
    "encoder": (lambda: distils("encoder"), {"epochs": 3}),
    "feature maps": (
        lambda: distils("full", MAPPED, student=(size(1, 8), size(1, 8))),
        {"steps": 14},
    ),
    "tokens, schedules": (
        lambda: distils("decoder", **SCHEDULES, final_weight=0.2),
        {"epochs": 2, "batch_size": 128, "batch_tokens": 70},
    ),
    "teachers, segments": (lambda: distils("decoder", teachers=2, scales=(1, 2)), {"epochs": 2}),
}


class Run:
    """One life of a training: as in a process of its own, all is built anew. ``ends``: the steps after which
    a signal comes."""

    def __init__(self, case, path, ends=(), number=signal.SIGTERM, minutes=5.0, **changes):
        make, config = CASES[case]
        self.objective, self.best, self.ends, self.number = make(), {}, ends, number
        self.keeper = Keeper(path, minutes, {"--lr": 3e-3})
        self.keeper.find()
        settings = {"batch_size": 16, "lr": 3e-3, "warmup_steps": 5, **config, **changes}
        self.result = trainer.fit(
            self.objective,
            SENTENCES,
            HELD_OUT,
            TrainingConfig(**settings),
            width=C,
            device=CPU,
            seed=3,
            quiet=True,
            on_epoch=self.on_epoch,
            on_step=self.on_step,
            keeper=self.keeper,
        )

    def on_epoch(self, epoch, is_best):
        if is_best:
            self.best = bits(self.objective)

    def on_step(self, step, means):
        if step in self.ends:
            os.kill(os.getpid(), self.number)


def numbers(result):
    return [
        (e.epoch, e.steps, e.loss, e.parts, e.validation, e.lr, e.target_tokens, e.padding)
        for e in result.history
    ]


def assert_same(broken, whole):
    assert not broken.result.stopped and not broken.result.failed
    assert numbers(broken.result) == numbers(whole.result)
    ours, theirs = broken.result, whole.result
    assert (ours.best_loss, ours.best_epoch, ours.steps, ours.total) == (
        theirs.best_loss,
        theirs.best_epoch,
        theirs.steps,
        theirs.total,
    )
    assert same_bits(bits(broken.objective), bits(whole.objective))


CONFIRMING = {"labels", "encoder", "teachers, segments"}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (case in CONFIRMING)) for case in CASES]
)
def test_a_stopped_training_goes_on_to_the_same_bits(case, tmp_path):
    whole = Run(case, tmp_path / "whole.pt")
    assert len(whole.result.history) > 1 and not whole.result.stopped
    path, total = tmp_path / "broken.pt", whole.result.total
    of_first_epoch = whole.result.history[0].steps
    best = {}
    for end in (1, of_first_epoch - 1, of_first_epoch, of_first_epoch + 2, total):
        life = Run(case, path, ends=(end,))
        best = life.best or best
        assert life.result.stopped.endswith(f"step {end} of {total}") and life.result.signal == signal.SIGTERM
        assert life.result.steps == end
    last = Run(case, path)
    assert_same(last, whole)
    assert same_bits(last.best or best, whole.best)


def test_what_ends_the_training_between_two_saves_is_done_again(tmp_path):
    """As after kill -9: the state is older than the end, the files of the run may be newer."""
    whole, path = Run("labels", tmp_path / "whole.pt"), tmp_path / "broken.pt"
    kept = []

    class Killed(Exception):
        pass

    class Dies(Run):
        def on_step(self, step, means):
            if step == 8:
                raise Killed

    with pytest.raises(Killed):
        Dies("labels", path)
    kept.append(run_state.read(path, "")["training"]["steps"])
    assert kept == [6], "saved at the end of the epoch, not when it was killed"
    assert_same(Run("labels", path), whole)


def test_a_finished_training_has_nothing_left_to_do(tmp_path):
    whole = Run("decoder", tmp_path / "state.pt")
    again = Run("decoder", tmp_path / "state.pt")
    assert_same(again, whole)
    assert not again.best, "no epoch was trained again"


def test_it_is_saved_by_the_clock(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(run_state, "write", lambda path, state: saved.append(state["training"]["steps"]) or 1)
    Run("labels", tmp_path / "state.pt", minutes=1e-9)
    assert saved == sorted([*range(1, 19), 6, 12, 18]), "after each step, and each epoch"
    saved.clear()
    Run("labels", tmp_path / "state.pt")
    assert saved == [6, 12, 18]
    saved.clear()
    Run("labels", tmp_path / "state.pt", minutes=0, ends=(4,))
    assert saved == []


def test_short_epochs_do_not_wait_for_the_disk(tmp_path, monkeypatch):
    saved = []

    def slow(path, state):
        saved.append(state["training"]["steps"])
        time.sleep(0.02)
        return 1

    monkeypatch.setattr(run_state, "write", slow)
    monkeypatch.setattr(run_state, "SHARE", 1e-6)
    Run("labels", tmp_path / "state.pt")
    assert saved == [6, 18], "the first, whose cost nobody knew, and the last"
    saved.clear()
    Run("labels", tmp_path / "state.pt", ends=(9,))
    assert saved == [6, 9]


def test_minutes_are_timed_once(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    first = Run("labels", path, ends=(2,), epochs=10)
    monkeypatch.setattr(trainer, "_seconds_a_step", lambda *_: pytest.fail("timed again"))
    total = first.result.total
    CASES["minutes"] = (labels, {"minutes": 1.0})
    try:
        again = Run("minutes", path)
    finally:
        del CASES["minutes"]
    assert again.result.total == total == again.result.steps


def test_without_its_generator_dropout_is_another(tmp_path):
    """So that the tests above say something: a generator left alone gives other bits."""
    whole, path = Run("labels", tmp_path / "whole.pt"), tmp_path / "broken.pt"
    Run("labels", path, ends=(4,))
    state = run_state.read(path, "")
    state["training"]["task"]["dropout"] = [[[1, 2, 3, 4], []]]
    run_state.write(path, state)
    other = Run("labels", path)
    assert numbers(other.result) != numbers(whole.result)


# --- the file


def saved(tmp_path):
    path = tmp_path / "state.pt"
    Run("labels", path, ends=(4,))
    return path


def test_a_state_of_other_settings_is_refused_by_name(tmp_path):
    path = saved(tmp_path)
    for run, words in [
        ({"--lr": 1e-3}, ("--lr 0.001", "begun with 0.003")),
        ({"--lr": 3e-3, "--standardize-logits": True}, ("--standardize-logits", "not given")),
        ({}, ("--lr not given", "begun with 0.003")),
    ]:
        with pytest.raises(SemcomError) as refusal:
            Keeper(path, 5.0, run, cure="begin anew").find()
        assert all(word in str(refusal.value) for word in (*words, "begin anew"))
        assert len(str(refusal.value)) <= 500
    assert Keeper(path, 5.0, {"--lr": 3e-3}).find()
    assert not Keeper(tmp_path / "other.pt", 5.0, {"--lr": 3e-3}).find()
    state = run_state.read(path, "")
    state["run"]["--compile"] = True  # a switch, in earlier versions
    run_state.write(path, state)
    assert Keeper(path, 5.0, {"--lr": 3e-3, "--compile": "on"}).find()
    with pytest.raises(SemcomError, match="--compile auto.*begun with on"):
        Keeper(path, 5.0, {"--lr": 3e-3, "--compile": "auto"}).find()


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_damaged_state_is_refused(tmp_path, share):
    path = saved(tmp_path)
    whole = run_state.read(path, "")
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 16
    path.write_bytes(content)
    try:
        # The bit may be of what the archive pads its records with.
        assert digest_of(run_state.read(path, "begin anew")) == digest_of(whole)
    except SemcomError as error:
        assert "begin anew" in str(error) and str(path) in str(error) and "\n" not in str(error)
    for broken in (content[:-100], b"", b"nonsense"):
        path.write_bytes(broken)
        with pytest.raises(SemcomError, match="begin anew"):
            run_state.read(path, "begin anew")


def test_a_changed_value_is_noticed_even_in_a_whole_archive(tmp_path):
    path = saved(tmp_path)
    payload = torch.load(path, weights_only=True)
    payload["state"]["training"]["steps"] += 1
    torch.save(payload, path)
    with pytest.raises(SemcomError, match="damaged"):
        run_state.read(path, "begin anew")


def test_a_state_is_plain_and_of_its_own_memory(tmp_path):
    """A view drags its whole storage along; what pickles code is no state."""
    path = tmp_path / "state.pt"
    run_state.write(path, {"part": torch.zeros(1_000_000)[:10], "words": [1, 2.5, "x", None, True]})
    assert path.stat().st_size < 10_000
    assert run_state.read(path, "")["words"] == [1, 2.5, "x", None, True]
    with pytest.raises(TypeError):
        run_state.write(path, {"path": path})


def test_a_save_that_fails_leaves_the_state_before_and_the_run_goes_on(tmp_path, monkeypatch):
    whole, path = Run("labels", tmp_path / "whole.pt"), tmp_path / "state.pt"
    from semcom.models import state_file

    plain, calls = state_file.write_atomically, []

    def full(place, content):
        calls.append(place)
        if len(calls) > 1:
            raise SemcomError(f"{place}: cannot be written (No space left on device); free some space")
        plain(place, content)

    monkeypatch.setattr(state_file, "write_atomically", full)
    with spoken() as lines:
        done = Run("labels", path)
    assert_same(done, whole)
    assert len(calls) == 3 and sum("No space left" in line for line in lines) == 1
    assert run_state.read(path, "")["training"]["steps"] == 6


def test_threads_are_put_back(tmp_path):
    path, before = tmp_path / "state.pt", torch.get_num_threads()
    Run("labels", path, ends=(4,))
    try:
        torch.set_num_threads(before + 1)
        with spoken() as lines:
            Run("labels", path)
        assert torch.get_num_threads() == before
        assert any(f"{before} threads" in line for line in lines)
    finally:
        torch.set_num_threads(before)


def test_what_saving_costs_is_counted_over_all_lives(tmp_path):
    path = tmp_path / "state.pt"
    first = Run("labels", path, ends=(7,))
    assert first.keeper.saves == 2 and first.keeper.bytes == path.stat().st_size
    again = Run("labels", path)
    assert again.keeper.saves == 1 + 2 and 0 < first.keeper.seconds and 0 < again.keeper.seconds
