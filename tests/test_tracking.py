"""Experiment trackers: TensorBoard's real event files, and what the others are asked for."""

import csv
import json
import os
import shutil
import signal
from types import SimpleNamespace

import pytest
from cli_support import TINY_TRAINING, distil, package, refused
from toy import spoken

from semcom.base import distributed, tracking
from semcom.base.errors import SemcomError
from semcom.base.settings import TRACKERS, TrackConfig
from semcom.base.tracking import Tracker
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.recorded_flags import recorded
from semcom.distillation.snapshots import Snapshots
from semcom.distillation.updates import learning_rate

LOGGED = ["--track", "tensorboard", "--track-every", "2"]


@pytest.fixture
def events():
    """Of the event files of a folder: tag -> [(step, value)]."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def events(folder):
        read = reader.EventAccumulator(str(folder), size_guidance={"scalars": 0})
        read.Reload()
        return {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}

    return events


def rows_of(file):
    with open(file, newline="") as lines:
        return list(csv.DictReader(lines))


SCHEDULE = "--temperature-schedule linear --final-temperature 2 --feature-weight 0.5".split()


def test_tensorboard_has_what_history_and_record_have(teacher, here, events):
    flags = [*TINY_TRAINING, *SCHEDULE, "--epochs", "3", "--create-hybrid", "--scales", "1", "2"]
    assert distil("--teacher-checkpoint", teacher, *flags, *LOGGED, "--output-path", "run") == 0
    logged = events("run/tensorboard/run")
    rows = rows_of("run/history.csv")
    for name in rows[0]:
        written = [(int(row["steps"]), pytest.approx(float(row[name]), rel=1e-6)) for row in rows]
        assert logged[f"epoch/{name}"] == written, name
    record = json.loads((here / "run/distillation_config.json").read_text())
    total = record["steps_done"]
    even = list(range(2, total + 1, 2))
    step_tags = [tag for tag in logged if tag.startswith("step/")]
    assert all([step for step, _ in logged[tag]] == even for tag in step_tags)
    parts = {name.removeprefix("train_") for name in rows[0] if name.startswith("train_")}
    others = {"loss", "lr", "tokens_per_second", "temperature", "weight"}
    assert {tag.removeprefix("step/") for tag in step_tags} == parts | others
    for step, value in logged["step/lr"]:
        assert value == pytest.approx(learning_rate(step, total, 1e-3, 300), rel=1e-6)
    for step, value in logged["step/temperature"]:
        assert value == pytest.approx(4 - 2 * step / total, rel=1e-6)
    scores = {(row["model"], row["snr"]): row["bleu"] for row in record["test_scores"] if row["topic"] == ""}
    assert len(scores) == 9
    for (model, snr), bleu in scores.items():
        assert logged[f"test/bleu/{model}/{snr:g}dB"] == [(total, pytest.approx(bleu, rel=1e-6))]
    (settings,) = (here / "run/tensorboard/run").glob("*/hparams.yml")
    assert "scales: 1 2" in settings.read_text() and "learning" not in settings.read_text()
    assert "trackers" not in record and "track" not in record["settings"]


def test_the_mean_over_an_epoch_is_that_of_its_steps(teacher, here, events):
    flags = [
        *TINY_TRAINING,
        "--steps",
        "5",
        "--batch-size",
        "16",
        "--track",
        "tensorboard",
        "--track-every",
        "1",
    ]
    assert distil("--teacher-checkpoint", teacher, *flags, "--output-path", "run") == 0
    logged = events("run/tensorboard/run")
    (row,) = rows_of("run/history.csv")
    steps = [value for _, value in logged["step/loss"]]
    assert len(steps) == 5 and min(steps) < float(row["loss"]) < max(steps)
    assert sum(steps) / 5 == pytest.approx(float(row["loss"]), rel=0.02), "but for unequal numbers of tokens"


def stopping(monkeypatch, at):
    """A signal comes after this step."""
    after_step = Snapshots.after_step

    def stops(self, step, means):
        after_step(self, step, means)
        if step == at:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Snapshots, "after_step", stops)
    return lambda: monkeypatch.setattr(Snapshots, "after_step", after_step)


@pytest.mark.slow
def test_a_resumed_run_goes_on_along_the_same_axis(teacher, here, events, monkeypatch):
    """The second life logs steps that no state remembers; the third logs them anew."""
    flags = [
        "--teacher-checkpoint",
        teacher,
        *TINY_TRAINING,
        "--epochs",
        "3",
        *LOGGED,
        "--output-path",
        "run",
    ]
    for at, resume in ((9, []), (15, ["--resume"])):
        undo = stopping(monkeypatch, at)
        assert distil(*flags, *resume) == 128 + signal.SIGTERM
        undo()
        if not resume:
            shutil.copy("run/resume.pt", "state")
    shutil.copy("state", "run/resume.pt")
    assert distil(*flags, "--resume") == 0
    logged = events("run/tensorboard/run")
    rows = rows_of("run/history.csv")
    assert [step for step, _ in logged["step/loss"]] == list(range(2, int(rows[-1]["steps"]) + 1, 2))
    assert [step for step, _ in logged["epoch/loss"]] == [int(row["steps"]) for row in rows]
    assert len(list((here / "run/tensorboard/run").glob("*/hparams.yml"))) == 1


def test_a_training_is_logged_too(here, events):
    sizes = "--layers 1 --model-width 16 --heads 2 --feed-forward 32 --epochs 2 --track-name first".split()
    assert package("train", "--output", "t.pt", *TINY_TRAINING, *sizes, *LOGGED) == 0
    logged = events("t.tensorboard/first")
    history = json.loads((here / "t.json").read_text())["history"]
    for name in history[0]:
        written = [(row["steps"], pytest.approx(row[name], rel=1e-6)) for row in history]
        assert logged[f"epoch/{name}"] == written
    assert len(logged["step/ce"]) == history[-1]["steps"] // 2


# Any tracker


class Fake:
    """A tracker of accelerate's, which remembers; it fails in the method named."""

    made: list["Fake"] = []

    def __init__(self, *given, **named):
        self.given, self.named, self.calls = given, named, []
        self.tracker = SimpleNamespace(info=SimpleNamespace(run_id="an id of mlflow's"))
        self.made.append(self)

    def _call(self, name, *given):
        self.calls.append((name, *given))
        if name == self.fails:
            raise ConnectionError("no way\nout")

    def start(self):
        self._call("start")

    def store_init_configuration(self, values):
        self._call("settings", values)

    def log(self, values, step):
        self._call("log", values, step)

    def finish(self):
        self._call("finish")

    fails = ""


@pytest.fixture
def fakes(monkeypatch):
    """All trackers are fake; those that were made."""
    Fake.made, Fake.fails = [], ""
    for name in ("TensorBoardTracker", "WandBTracker", "MLflowTracker", "TrackioTracker"):
        monkeypatch.setattr(f"accelerate.tracking.{name}", Fake)
    monkeypatch.setattr("semcom.commands.distil.check_installed", lambda config: None)
    return Fake.made


ALL = TrackConfig(track=TRACKERS, track_every=3)


def test_every_tracker_is_asked_for_a_run_and_for_the_same_when_it_goes_on(fakes):
    first = Tracker(ALL, "T2", "there")
    first.begin({"lr": 0.1, "scales": [1, 2], "steps": None})
    assert all(fake.calls[1] == ("settings", {"lr": 0.1, "scales": "1 2"}) for fake in fakes)
    board, wandb, mlflow, trackio = fakes
    assert [fake.given[0] for fake in fakes] == ["T2", "semcom", "semcom", "semcom"]
    assert board.named == {"purge_step": 0} and str(board.given[1]) == "there"
    assert wandb.named["name"] == mlflow.named["run_name"] == trackio.named["name"] == "T2"
    assert mlflow.named["run_id"] is None and trackio.named["resume"] == "never"
    again = Tracker(ALL, "other", done=12, ids=json.loads(json.dumps(first.ids)))
    again.begin({"lr": 0.1})
    board, wandb_again, mlflow, trackio = fakes[4:]
    assert board.named == {"purge_step": 13}
    assert wandb_again.named["id"] == wandb.named["id"] and wandb.named["resume"] == "allow"
    assert mlflow.named["run_id"] == "an id of mlflow's"
    assert (trackio.named["name"], trackio.named["resume"]) == ("T2", "allow")
    assert all(len(fake.calls) == 1 for fake in fakes[4:]), "its settings are there already"


def test_numbers_are_logged_at_steps(fakes):
    tracker = Tracker(TrackConfig(track=("wandb",), track_every=3))
    assert [step for step in range(1, 10) if tracker.is_due(step)] == [3, 6, 9]
    with tracker:
        tracker.log("step", {"loss": 2.0, "temperature": None}, 3)
    assert fakes[0].calls[1:] == [("log", {"step/loss": 2.0}, 3), ("finish",)]
    tracker.log("step", {"loss": 2.0}, 6)
    assert len(fakes[0].calls) == 3 and not tracker.is_due(6)


def test_without_a_tracker_nothing_is_logged(fakes):
    tracker = Tracker()
    tracker.log("step", {"loss": 2.0}, 10)
    assert not tracker.is_due(10) and not fakes


def test_another_process_logs_nothing(fakes, monkeypatch):
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    Tracker(ALL).log("step", {"loss": 2.0}, 3)
    assert not fakes


@pytest.mark.parametrize("fails", ["start", "settings", "log", "finish"])
def test_a_tracker_that_fails_is_told_once_and_left(fails, fakes):
    Fake.fails = fails
    with spoken() as lines:
        tracker = Tracker(TrackConfig(track=("wandb", "mlflow")), "T2")
        tracker.begin({})
        tracker.log("step", {"loss": 2.0}, 10)
        tracker.log("step", {"loss": 2.0}, 20)
        tracker.finish()
        tracker.finish()
    told = "ConnectionError: no way out; the run goes on without it"
    assert lines == [f"warning: --track wandb: {told}", f"warning: --track mlflow: {told}"]


def test_a_run_survives_its_tracker(teacher, here, fakes, capsys):
    Fake.fails = "log"
    flags = [*TINY_TRAINING, "--steps", "4", "--track", "mlflow", "--track-every", "1"]
    assert distil("--teacher-checkpoint", teacher, *flags, "--output-path", "run") == 0
    assert capsys.readouterr().out.count("--track mlflow: ") == 1
    assert (here / "run/final_student_model.pt").is_file()


def test_a_package_that_is_missing_is_told_before_all_else(here, capsys, monkeypatch):
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    for verb in ([], ["train", "--output", "t.pt"]):
        code = (package if verb else distil)(*verb, "--track", "trackio", "--device", "cpu")
        refused(capsys, code, "--track trackio: the package trackio is not installed", "pip install trackio")
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"track_name": "a"}, "--track-name: nothing is logged without --track"),
        ({"track_every": 5}, "--track-every: nothing is logged"),
        ({"track": ("board",)}, "--track board: allowed are tensorboard, wandb"),
        ({"track": ("wandb",), "track_name": "a/b"}, "--track-name a/b: must be a name without /"),
        ({"track": ("wandb",), "track_name": ".."}, "--track-name ..: must be a name"),
    ],
)
def test_what_contradicts_itself_is_refused(settings, message):
    with pytest.raises(SemcomError) as error:
        TrackConfig(**settings)
    assert message in str(error.value)


def test_trackers_are_no_part_of_what_repeats_a_run():
    settings = DistilSettings(tracking=TrackConfig(track=("wandb",), track_name="a"))
    assert not {"track", "track_name", "track_every"} & recorded(settings).keys()
