"""``python -m semcom sweep`` by running it: what it leaves, and what a second call does. But for one test,
its runs are made in this process."""

import csv
import json
import os
import signal
import subprocess
import sys
from functools import partial

import pytest
from cli_support import TINY_TRAINING, UNDRAWN, distil, package, refused, runs_in_this_process, wait_for

from semcom.base import locks
from semcom.commands import analyse_settings, sweep_runner
from semcom.data.settings import CorpusConfig
from semcom.distillation import trainer
from semcom.models import checkpoint

COMMON = ["--steps", 3, "--save-every", 0, *TINY_TRAINING, "--sentences", 20, "--output-path", "grid"]


@pytest.fixture
def here_alone(here, monkeypatch):
    runs_in_this_process(monkeypatch)
    monkeypatch.setattr(analyse_settings, "WHOLE_CORPUS", CorpusConfig(corpus_size=1000))
    return here


def sweep(teacher, *flags):
    return package("sweep", "--teacher-checkpoint", teacher, *COMMON, *flags)


def record_of(folder):
    return json.loads((folder / "distillation_config.json").read_text())


def rows_of(root):
    return list(csv.DictReader((root / "runs.csv").open()))


def test_a_sweep_ends_in_its_table_and_the_verdict(teacher, here_alone, capsys):
    assert sweep(teacher, "--temperature", 2, 8, "--seed", 1, 2, "--create-hybrid") == 0
    out = capsys.readouterr().out
    assert "to speak of a trend" in out
    assert "made grid/runs.csv and grid/runs.png" in out
    ends = record_of(here_alone / "grid/temperature-2_seed-1")
    bleu = next(row["bleu"] for row in ends["test_scores"][::-1] if row["model"] == "student")
    said = f"best validation CE {ends['best_loss']:.4f}, BLEU {bleu:.2f} (13a) at 12 dB"
    assert f"temperature-2_seed-1: {said}" in out
    rows = rows_of(here_alone / "grid")
    assert [(row["temperature"], row["seed"]) for row in rows] == [
        ("2.0", "1"),
        ("2.0", "2"),
        ("8.0", "1"),
        ("8.0", "2"),
    ]
    measured = json.loads((here_alone / "grid/semantic_analysis_results.json").read_text())
    assert measured["reference_snr"] == 12 and measured["settings"]["snr"] == [12]
    for row in rows:
        made = record_of(here_alone / "grid" / row["run"])
        assert float(row["best_loss"]) == made["best_loss"]
        assert float(row["seconds"]) == made["training_seconds"]
        assert (float(row["temperature"]), int(row["seed"])) == (made["temperature"], made["seed"])
        best = f"grid/{row['run']}/best_student_model.pt"
        (at,) = [r["by_snr"]["12"] for r in measured["records"] if r["checkpoint"] == best]
        assert float(row["kl_divergence"]) == at["kl_divergence"] and float(row["bleu"]) == at["bleu"]
        assert (here_alone / "grid" / row["run"] / "hybrid_model.pt").is_file()
    assert (here_alone / "grid/report/report.html").is_file()


def test_a_failed_run_leaves_the_others_and_is_tried_again(teacher, here_alone, capsys):
    too_deep = ["--student-layers", 1, 9, "--distill-part", "decoder"]
    assert sweep(teacher, *too_deep) == 1
    said = capsys.readouterr()
    assert "student-layers-9 failed: " in said.out and "1 of 2 runs failed: student-layers-9" in said.err
    assert "made grid/runs.csv" in said.out
    whole, failed = rows_of(here_alone / "grid")
    assert whole["best_loss"] and whole["bleu"] and not failed["best_loss"] and not failed["bleu"]
    before = record_of(here_alone / "grid/student-layers-1")
    assert sweep(teacher, *too_deep) == 1 and "1 of them finished" in capsys.readouterr().out
    assert record_of(here_alone / "grid/student-layers-1") == before


@pytest.mark.slow
def test_what_cannot_be_compared_still_has_its_rows(teacher, here_alone, capsys):
    """Two texts, neither of them long enough to be measured on."""
    for name in ("a", "b"):
        lines = [f"the committee of {name} has adopted report number {n} on the budget." for n in range(300)]
        (here_alone / f"{name}.en").write_text("\n".join(lines))
    assert sweep(teacher, "--corpus", "a.en", "--corpus", "b.en", "--no-report", "--snr", 0, 6) == 0
    out = capsys.readouterr().out
    assert "different corpora; measuring on the built-in one" in out and "BLEU 6 dB" in out
    assert [row["corpus"] for row in rows_of(here_alone / "grid")] == ["a.en", "b.en"]
    assert not (here_alone / "grid/report").exists()


def test_channels_are_each_measured_through_their_own(teacher, here_alone):
    assert sweep(teacher, "--channel", "awgn", "rayleigh", "--no-report") == 0
    measured = json.loads((here_alone / "grid/semantic_analysis_results.json").read_text())["records"]
    for row in rows_of(here_alone / "grid"):
        own = [r for r in measured if r["model"] == row["run"] and r["channel"].startswith(row["channel"])]
        assert float(row["kl_divergence"]) == own[0]["by_snr"]["12"]["kl_divergence"]
    assert len(measured) == 4


def test_a_run_of_other_settings_is_refused_by_name_before_anything_runs(teacher, here_alone, capsys):
    assert sweep(teacher, "--seed", 1, 2, "--no-report") == 0
    capsys.readouterr()
    other = sweep(teacher, "--seed", 2, 3, "--temperature", 3)
    refused(capsys, other, "grid/seed-2", "--temperature 4, this one has 3", "name another --output-path")
    assert not (here_alone / "grid/seed-3").exists()
    refused(capsys, sweep(teacher, "--seed", 1, 2, "--threads", 9), "--threads 9")


def test_a_second_sweep_in_one_folder_is_refused_while_the_first_is_at_work(teacher, here_alone, capsys):
    with locks.hold("--output-path", "grid/sweep.json"):
        refused(capsys, sweep(teacher, "--seed", 1, 2), "another run", "grid")
    assert not list((here_alone / "grid").glob("seed*"))


@pytest.mark.slow
def test_in_the_default_place_a_sweep_of_other_settings_is_set_aside(teacher, here_alone, capsys):
    place = COMMON.index("--output-path")
    words = ["--teacher-checkpoint", teacher, *COMMON[:place], "--no-report"]
    assert package("sweep", *words, "--seed", 1, 2) == 0
    assert package("sweep", *words, "--seed", 1, 2, "--temperature", 3) == 0
    out = capsys.readouterr().out
    assert "kept the earlier checkpoints/sweep as checkpoints/sweep.before-1" in out
    for name, temperature in (("sweep", 3), ("sweep.before-1", 4)):
        assert record_of(here_alone / f"checkpoints/{name}/seed-2")["temperature"] == temperature


def test_a_sweep_is_not_set_aside_while_a_run_in_it_is_at_work(here, capsys):
    """Its own or another; it is refused before a run is begun."""
    root = here / "checkpoints/sweep"
    (root / "seed-1").mkdir(parents=True)
    (root / "seed-1/distillation_config.json").write_text('{"settings": {"temperature": 4.0}}')
    place = COMMON.index("--output-path")
    words = [*COMMON[:place], "--teacher-checkpoint", here, "--seed", 1, 2, "--temperature", 3]
    with locks.hold("--output-path", root / "seed-9"):
        refused(capsys, package("sweep", *words), "checkpoints/sweep: another run", "wait for it")
    assert (root / "seed-1").is_dir() and not (here / "checkpoints/sweep.before-1").exists()


def test_a_file_is_no_place_for_a_sweep(here, capsys):
    (here / "grid").write_text("mine")
    words = [*COMMON, "--teacher-checkpoint", here, "--seed", 1, 2]
    refused(capsys, package("sweep", *words), "--output-path grid: is a file, a folder is wanted")


@pytest.mark.slow
def test_overwriting_begins_every_run_anew(teacher, here_alone, capsys):
    assert sweep(teacher, "--seed", 1, 2, "--no-report") == 0
    again = sweep(teacher, "--seed", 1, 2, "--no-report", "--temperature", 3, "--overwrite")
    assert again == 0 and "0 of them finished" in capsys.readouterr().out
    assert [record_of(here_alone / f"grid/seed-{seed}")["temperature"] for seed in (1, 2)] == [3, 3]


@pytest.mark.slow
def test_an_overwriting_that_is_stopped_goes_on_with_the_same_command(
    teacher, here_alone, monkeypatch, capsys
):
    """Stopped after the first run, and within the second, of which there is an earlier one."""
    at = COMMON.index("--save-every")
    common = ["--steps", 9, *COMMON[2:at], *COMMON[at + 2 :]]
    words = ["--teacher-checkpoint", teacher, *common, "--seed", 1, 2, 3]
    sweep = partial(package, "sweep", *words, "--no-report", "--jobs", 1)
    assert sweep() == 0
    folders = {seed: here_alone / f"grid/seed-{seed}" for seed in (1, 2, 3)}

    def written():
        return [(folder / "distillation_config.json").stat().st_mtime_ns for folder in folders.values()]

    old, plain, fit = written(), sweep_runner.Runner._start, trainer.fit

    def stopped(runner, point):
        if point.name == "seed-2":
            with monkeypatch.context() as within:
                within.setattr(trainer, "fit", interrupted)
                plain(runner, point)
            runner.running.clear()
            raise KeyboardInterrupt
        plain(runner, point)

    def interrupted(*given, on_epoch, **choice):
        def then_stop(*epoch):
            on_epoch(*epoch)
            signal.raise_signal(signal.SIGTERM)

        return fit(*given, on_epoch=then_stop, **choice)

    with monkeypatch.context() as within:
        within.setattr(sweep_runner.Runner, "_start", stopped)
        assert sweep("--overwrite") == 130
    assert "interrupted; 1 of 3 runs are finished" in capsys.readouterr().err
    first, *others = written()
    assert first != old[0] and others == old[1:]
    assert sweep("--overwrite") == 0
    out = capsys.readouterr().out
    assert "1 of them finished" in out and out.count("--resume: on from epoch 2") == 1
    now = written()
    assert now[0] == first and not set(now[1:]) & set(old)
    # It has ended: now the same command begins anew.
    assert sweep("--overwrite") == 0
    assert "0 of them finished" in capsys.readouterr().out and not set(written()) & set(now)


@pytest.mark.slow
@pytest.mark.processes
def test_runs_are_processes_with_their_share_of_the_cores(teacher, here, monkeypatch):
    monkeypatch.setattr(analyse_settings, "WHOLE_CORPUS", CorpusConfig(corpus_size=1000))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert sweep(teacher, "--seed", 1, 2, "--jobs", 2, "--no-report") == 0
    for seed in (1, 2):
        record = record_of(here / f"grid/seed-{seed}")
        assert (
            record["threads"] == max(1, sweep_runner.cores() // 2)
            and record["processes"] == 1
            and record["seed"] == seed
        )
    assert {path.name for path in (here / "grid/logs").iterdir()} == {"seed-1.log", "seed-2.log"}


@pytest.mark.processes
def test_a_sweep_that_is_stopped_goes_on_to_the_same_bits(teacher, here):
    common = ["--teacher-checkpoint", teacher, *TINY_TRAINING, "--epochs", 12, "--seed", 2]
    words = [*common, 1, "--sentences", 20, "--no-report", "--jobs", 2, "--output-path", "grid"]
    command = [sys.executable, "-m", "semcom", "sweep", *map(str, words)]
    started = {"cwd": here, "env": {**os.environ, "PYTHONPATH": UNDRAWN}, "text": True}
    begun = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, **started)
    for seed in (1, 2):
        wait_for(here / f"grid/seed-{seed}/history.csv", begun)
    begun.send_signal(signal.SIGTERM)
    _, said = begun.communicate(timeout=60)
    assert begun.returncode == 128 + signal.SIGTERM
    assert "interrupted; 0 of 2 runs are finished; the same command goes on" in said
    assert all((here / f"grid/seed-{seed}/resume.pt").is_file() for seed in (1, 2))
    assert subprocess.run(command, capture_output=True, **started).returncode == 0
    assert "--resume: on from" in (here / "grid/logs/seed-2.log").read_text()
    assert distil(*common, "--output-path", "unbroken") == 0
    broken, whole = (
        checkpoint.load(f"{place}/final_student_model.pt").model.state_dict()
        for place in ("grid/seed-2", "unbroken")
    )
    assert all(weights.equal(whole[name]) for name, weights in broken.items())
    assert [row["run"] for row in rows_of(here / "grid")] == ["seed-2", "seed-1"]
