"""Runs that have not finished, as ``semantic_analysis.py`` finds them."""

import json
import os
import shutil
from pathlib import Path

import pytest
from cli_support import TINY_TRAINING, analyse, distil, refused

from semcom.base import replacing
from semcom.commands.runs import runs_under
from semcom.distillation import trainer
from semcom.evaluation.campaign import Campaign
from semcom.evaluation.pairs import Run
from semcom.models import checkpoint

QUICK = ["--corpus-size", 240, "--sentences", 12, "--snr", 12, "--no-report", "--quiet", "--device", "cpu"]
RECORD = "distillation_config.json"


@pytest.fixture(scope="module")
def made(made_once, teacher):
    def make(folder):
        words = ["--distill-part", "decoder", "--student-layers", 1, "--steps", 3, *TINY_TRAINING]
        for seed in (1, 2):
            place = ["--output-path", folder / f"run{seed}", "--seed", seed]
            hybrid = ["--create-hybrid", "--hybrid-output", folder / f"hybrid{seed}.pt"]
            assert distil("--teacher-checkpoint", teacher, *words, *place, *hybrid) == 0

    return made_once("unfinished_runs", make)


@pytest.fixture
def runs(made, here):
    shutil.copytree(made, "runs")
    return Path("runs")


def change(folder, **values):
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps(record | values))


def labels():
    return [found.label for found in runs_under("runs")]


def test_what_has_finished_says_nothing(runs, caplog):
    assert labels() == ["run1", "run2"] and not caplog.text


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda run: change(run, finished=False), "it was not ended"),
        (lambda run: change(run, digests=None), "is not the one that its record speaks of"),
        (lambda run: change(run, digests={"best_student_model.pt": 3}), "is not the one"),
        (lambda run: shutil.copy("runs/run1/best_student_model.pt", run), "is not the one"),
        (
            lambda run: replacing.begin(Path(os.path.realpath(run)), replacing.Note(os.path.realpath(run))),
            "what it made is not all in its place yet",
        ),
    ],
    ids=["ended", "digests", "digest", "weights", "hybrid"],
)
def test_what_has_not_finished_is_named(runs, caplog, damage, why):
    damage(runs / "run2")
    with caplog.at_level("INFO"):
        assert labels() == ["run1", "run2 (unfinished)"]
    assert "note: the run runs/run2 is unfinished, " in caplog.text and why in caplog.text
    assert "; it is measured as it is" in caplog.text


def test_what_has_left_no_student_is_a_line(runs, caplog):
    change(runs / "run2", finished=False)
    (runs / "run2/best_student_model.pt").unlink()
    with caplog.at_level("INFO"):
        assert labels() == ["run1"]
    assert "note: the run runs/run2 is unfinished, it was not ended; it has left no student" in caplog.text


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, "\udcff"])
def test_what_cannot_be_read_is_left_out_with_a_warning(runs, caplog, capsys, text):
    (runs / "run2" / RECORD).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert labels() == ["run1"]
    (said,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert said.message.startswith(f"runs/run2/{RECORD}: cannot be read (")
    shutil.rmtree(runs / "run1")
    refused(capsys, analyse("--runs", "runs"), "runs: no finished run there")


def test_what_a_dead_run_was_about_to_remove_is_none(runs):
    shutil.copytree("runs/run1", "runs/.run1.replaced")
    assert labels() == ["run1", "run2"]


def test_no_trend_is_told_of_unfinished_runs(runs):
    change(runs / "run2", finished=False)
    given = [
        Run(f.label, checkpoint.load(f.path), {**checkpoint.load(f.path).config, **f.made})
        for f in runs_under("runs")
    ]
    assert [run.distilled for run in given] == [True, False]
    campaign = Campaign(given, lambda run: {})
    assert [run.label for run in campaign.runs] == ["run1"]


def test_a_stopped_run_is_measured_and_named_in_the_results(teacher, here, monkeypatch, capsys):
    plain = trainer.fit

    def stopped(*given, on_epoch, **choice):
        def then_stop(*epoch):
            on_epoch(*epoch)
            raise KeyboardInterrupt

        return plain(*given, on_epoch=then_stop, **choice)

    monkeypatch.setattr(trainer, "fit", stopped)
    flags = ["--teacher-checkpoint", teacher, "--epochs", 3, *TINY_TRAINING, "--output-path", "runs/one"]
    assert distil(*flags) == 130
    assert analyse("--runs", "runs", *QUICK) == 0
    out = capsys.readouterr().out
    assert "note: the run runs/one is unfinished, it was not ended" in out
    assert "unfinished" in out.partition("divergence from teacher")[2], "named in the table"
    (record,) = json.loads(Path("semantic_analysis_results.json").read_text())["records"]
    assert record["model"] == "one (unfinished)" and record["unfinished"] == "it was not ended"


def test_where_nothing_but_unfinished_runs_without_a_student_is_it_is_told(runs, capsys):
    for run in ("run1", "run2"):
        change(runs / run, finished=False)
        (runs / run / "best_student_model.pt").unlink()
    assert analyse("--runs", "runs", *QUICK) == 2
    assert "no finished run there" in capsys.readouterr().err
