"""Arms that differ in their settings: what is run, what is left out, what the table says. Distillation itself
is stood in for."""

import json
import shlex
from pathlib import Path

import pandas as pd
import pytest
import toy

from benchmarks import evidence as benchmark
from semcom.base import console
from semcom.base.errors import SemcomError
from semcom.base.flags import as_record, settings_of
from semcom.base.output_files import write_json
from semcom.base.varied_flags import variants
from semcom.commands import ablation, sweep_report, sweep_runner
from semcom.commands.ablation import Arm, Comparison
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.parsers import distillation_parser, package_parser
from semcom.commands.sweep_plan import sweep_of_flags
from semcom.distillation.training_settings import TrainingConfig
from semcom.evaluation import intervals

ARMS = [
    Arm("labels", {"distill_weight": 0.0}, None),
    Arm("kd, T=2", {"temperature": 2.0}),
    Arm("other", {"kd_loss": "jsd"}),
]
GAIN = {"labels": 0.0, "kd, T=2": 2.0, "other": -1.0}


def bleu_of(arm, seed):
    return 80 + GAIN[arm] + 0.01 * seed**2


def arm_of(folder):
    return next(arm for arm in GAIN if Arm(arm, {}).folder == folder)


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """Runs that leave what a run leaves: the BLEU of an arm is 80 + its gain + noise of the seed."""
    ran = []

    class Run:
        """Of a process that is over at once."""

        returncode = 0

        def __init__(self, command, **options):
            settings = settings_of(DistilSettings, distillation_parser().parse_args(command[4:]))
            folder = settings.output_path
            ran.append((folder.parent.name, settings.run.seed))
            toy.finished_run(folder, settings, best_loss=0.5, training_seconds=10.0, steps_done=300)

        def poll(self):
            return 0

    def analyse(settings):
        records = []
        for file in sorted(Path(settings.files.runs).rglob("distillation_config.json")):
            seed = json.loads(file.read_text())["seed"]
            bleu = bleu_of(arm_of(file.parent.parent.name), seed)
            at = {"bleu": bleu, "kl_divergence": 0.1, "reference_bleu": 90.0}
            by_snr = {f"{snr:g}": at for snr in settings.evaluation.snr}
            best = str(file.with_name("best_student_model.pt"))
            records.append({"checkpoint": best, "channel": "awgn", "by_snr": by_snr})
        asked = as_record(settings.evaluation, settings.report, settings.corpus)
        write_json(settings.files.output, {"settings": asked, "records": records})
        return records

    monkeypatch.setattr(sweep_runner.subprocess, "Popen", Run)
    monkeypatch.setattr(sweep_runner, "LOOKS_EVERY", 0)
    monkeypatch.setattr(sweep_report, "analyse", analyse)
    with console.speaking():
        yield tmp_path, ran


def comparison(root, seeds, arms=ARMS, steps=300):
    common = DistilSettings(training=TrainingConfig(steps=steps))
    return Comparison(arms, seeds, root, common, ablation.measured(500))


def run(root, seeds):
    return comparison(root, seeds).run(jobs=1)


def test_every_arm_runs_with_every_seed_once(stand_in):
    root, ran = stand_in
    made = run(root, [1, 2])
    assert sorted(ran) == sorted((name, seed) for name in ("labels", "kd__T_2", "other") for seed in (1, 2))
    assert [*zip(made["arm"], made["seed"])] == [(arm.name, seed) for seed in (1, 2) for arm in ARMS]
    resumed = run(root, [1, 2])
    assert len(ran) == 6, "what is finished is not run again"
    pd.testing.assert_frame_equal(resumed, made)


def test_what_was_measured_is_taken_unless_it_was_changed(stand_in, monkeypatch, capsys):
    root, _ = stand_in
    made = run(root, [1, 2])
    analyse, calls = sweep_report.analyse, []
    monkeypatch.setattr(sweep_report, "analyse", lambda settings: calls.append(1) or analyse(settings))
    pd.testing.assert_frame_equal(run(root, [1, 2]), made)
    assert calls == []
    results = root / "semantic_analysis_results.json"
    results.write_text(results.read_text().replace("0.1", "0.15"))
    capsys.readouterr()
    pd.testing.assert_frame_equal(run(root, [1, 2]), made)
    assert calls == [1] and "not to be trusted" in capsys.readouterr().out


def test_no_runs_are_no_rows(tmp_path):
    assert comparison(tmp_path, [1]).results().empty


def test_runs_of_other_flags_in_the_folder_are_refused(stand_in):
    root, ran = stand_in
    run(root, [1])
    with pytest.raises(SemcomError, match="labels/seed-1: holds a run with --steps 300, this one has 400"):
        comparison(root, [1], steps=400).run()
    changed = Arm("other", {"kd_loss": "jsd", "temperature": 2.0})
    with pytest.raises(SemcomError, match="other/seed-1: holds a run with --temperature 1, this one has 2"):
        comparison(root, [1], [changed]).run()
    assert len(ran) == 3


@pytest.mark.draws("png")
def test_the_experiment_runs_reports_and_keeps(stand_in, monkeypatch, capsys):
    folder, ran = stand_in
    monkeypatch.chdir(folder)
    monkeypatch.setitem(GAIN, "skl", 1.0)
    for name in ("kd", "lskd"):
        monkeypatch.setitem(GAIN, name, 0.5)
    assert ablation.experiment(["--corpus-size", "400"], 2, None, dry_run=True) is None and not ran
    dry = capsys.readouterr().out
    assert dry.count("$ python -m semcom sweep --seed 1 2 ") == 4 and dry.count("--steps 300") == 4
    ablation.experiment([], 2, 3, dry_run=True)
    assert capsys.readouterr().out.count(" --jobs 3") == 4
    arms = ablation.experiment(["--epochs", "1"], 2, 1, dry_run=False)
    assert arms["arm"].tolist() == ["labels", "kd", "skl", "lskd"]
    assert arms.loc["skl", "bleu 6 less base"].mean == pytest.approx(1.0)
    out = capsys.readouterr().out
    assert "1.00 ± 0.00" in out and "--steps" not in out
    root = folder / ablation.FOLDER
    assert {"arms.csv", "arms.json", "arms.png", "sweep.json"} <= {path.name for path in root.iterdir()}
    ablation.experiment(["--epochs", "2"], 2, 1, dry_run=False)
    assert (
        "kept the earlier checkpoints/examples/evidence as checkpoints/examples/evidence.before-1"
        in capsys.readouterr().out
    )


def test_a_temperature_of_the_users_is_every_arms(capsys):
    with console.speaking():
        ablation.experiment(["--temperature", "4"], 1, None, dry_run=True)
    skl = next(line for line in capsys.readouterr().out.splitlines() if "--kd-loss skl" in line)
    assert "--temperature 4" in skl, "though it is the default of another loss"


def test_rows_hold_means_and_paired_gains(stand_in):
    root, _ = stand_in
    seeds = [1, 2, 3]

    arms = ablation.summary(ARMS, run(root, seeds))
    labels, kd, other = (arms.loc[arm.name] for arm in ARMS)
    assert labels["bleu 6"].mean == pytest.approx(80 + 0.01 * 14 / 3)
    assert labels.filter(like="less base").isna().all()
    assert kd["bleu 6 less base"].mean == pytest.approx(2.0)
    assert other["bleu 6 less base"].mean == pytest.approx(-1.0)
    assert kd["bleu 6 less base"].half_width == pytest.approx(0, abs=1e-9), (
        "the noise of a seed is common to the pair"
    )
    by_hand = intervals.estimate([80.01, 80.04, 80.09])
    assert kd["bleu 6"].half_width == pytest.approx(by_hand.half_width)
    assert kd["bleu 6 p"] == pytest.approx(0, abs=1e-6) and kd["validation p"] == 1
    printed = ablation.table(arms)
    assert "kd, T=2" in printed and "2.00 ± 0.00" in printed and "BLEU 0 dB" in printed
    ablation.keep(arms, root, "three arms")
    kept = json.loads((root / "arms.json").read_text())
    assert kept["title"] == "three arms" and not any("less base" in name for name in kept["rows"][0])
    row = kept["rows"][1]
    assert row["flags"] == "--temperature 2" and row["seeds"] == 3
    assert list(row)[:8] == [
        *("arm", "base", "seeds", "flags"),
        *("validation", "validation half width"),
        *("validation less base", "validation less base half width"),
    ]
    assert row["bleu 6 less base"] == pytest.approx(2.0)
    assert row["bleu 6 half width"] == kd["bleu 6"].half_width
    assert row["bleu 6 p"] == kd["bleu 6 p"]


def test_commands_are_what_a_person_would_type(tmp_path):
    """A sweep over the seeds for each arm, into the folders of the runs that the comparison makes."""
    compared, typed = comparison(tmp_path, [7, 8]), []
    for command in compared.commands():
        words = shlex.split(command)
        assert words[:4] == ["python", "-m", "semcom", "sweep"]
        flags = package_parser().parse_args(words[3:])
        assert flags.snr == list(ablation.SNRS) and flags.no_report
        typed += sweep_of_flags(variants(DistilSettings, flags)).points
    ours = {point.settings for point in compared.sweep.points}
    assert {point.settings for point in typed} == ours and len(ours) == 6
    assert {point.settings.run.seed for point in typed} == {7, 8}


def test_equal_time_by_the_runs_seconds_or_by_given_steps(stand_in, monkeypatch, capsys):
    root, ran = stand_in
    for name in ("t.pt", "c.en"):
        (root / name).touch()
    for name in ("kd", "labels, 600 steps", "labels, 7 steps"):
        monkeypatch.setitem(GAIN, name, 1.0)
    common = [
        "--teacher",
        str(root / "t.pt"),
        "--corpus",
        str(root / "c.en"),
        "--folder",
        str(root),
        "--sizes",
        "100",
        "--starts",
        "random weights",
        "--seeds",
        "1",
        "2",
    ]
    benchmark.main(["final", "--chosen", *common, "--jobs", "1"])
    for flags, steps in (([], 600), (["--equal-steps", "7"], 7)):  # the stand-in's runs all take as long
        ran.clear()
        benchmark.main(["equal-time", *flags, *common])
        assert ran == [(f"labels__{steps}_steps", seed) for seed in (1, 2)]
        assert f"labels, {steps} steps" in capsys.readouterr().out
        made = root / "final/100_random" / f"labels__{steps}_steps/seed-1/distillation_config.json"
        assert json.loads(made.read_text())["steps"] == steps
