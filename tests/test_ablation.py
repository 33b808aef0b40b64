"""Arms that differ in their settings: what is run, what is left out, what the table says. Distillation itself
is stood in for."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import evidence as benchmark
from semcom.base import console
from semcom.base.errors import SemcomError
from semcom.base.flags import settings_of
from semcom.base.settings import RunConfig
from semcom.commands import ablation
from semcom.commands.ablation import Arm, Comparison
from semcom.commands.analyse_settings import AnalysisSettings
from semcom.commands.distil import Outcome
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.parsers import analysis_parser, distillation_parser
from semcom.distillation.training_settings import TrainingConfig
from semcom.evaluation import intervals

ARMS = [
    Arm("labels", {"distill_weight": 0.0}, None),
    Arm("kd, T=2", {"temperature": 2.0}),
    Arm("other", {"kd_loss": "jsd"}),
]
GAIN = {"labels": 0.0, "kd, T=2": 2.0, "other": -1.0}


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """Runs that leave what a run leaves: the BLEU of an arm is 80 + its gain + noise of the seed."""
    ran = []

    def distil(settings):
        folder, seed = Path(settings.files.output_path), settings.run.seed
        folder.mkdir(parents=True)
        ran.append((folder.parent.name, seed))
        left = {"best_loss": 0.5, "training_seconds": 10.0, "steps_done": 300}
        record = {**settings.record(), **left}
        (folder / "distillation_config.json").write_text(json.dumps(record))
        return Outcome(folder / "best_student_model.pt", None, record, pd.DataFrame())

    def analyse(settings):
        name = Path(settings.checkpoints[0]).parent.parent.name
        gain = next(gain for arm, gain in GAIN.items() if Arm(arm, {}).folder(Path(), 0).parent.name == name)
        bleu = 80 + gain + 0.01 * settings.run.seed**2
        at = {"bleu": bleu, "kl_divergence": 0.1, "reference_bleu": 90.0}
        by_snr = {f"{snr:g}": at for snr in settings.evaluation.snr}
        records = [{"by_snr": by_snr}]
        Path(settings.files.output).write_text(json.dumps({"records": records}))
        return records

    monkeypatch.setattr(ablation, "distil", distil)
    monkeypatch.setattr(ablation, "analyse", analyse)
    with console.speaking():
        yield tmp_path, ran


def comparison(root, seeds, arms=ARMS, steps=300):
    common = DistilSettings(training=TrainingConfig(steps=steps))
    return Comparison(arms, seeds, root, common, AnalysisSettings(run=RunConfig(seed=3)))


def run(root, seeds, **choice):
    return comparison(root, seeds).run(**choice)


def test_every_arm_runs_with_every_seed_once(stand_in):
    root, ran = stand_in
    made = run(root, [1, 2])
    assert sorted(ran) == sorted((name, seed) for name in ("labels", "kd__T_2", "other") for seed in (1, 2))
    assert [*zip(made["arm"], made["seed"])] == [(arm.name, seed) for seed in (1, 2) for arm in ARMS]
    resumed = run(root, [1, 2])
    assert len(ran) == 6, "what is finished is not run again"
    pd.testing.assert_frame_equal(resumed, made)


def test_what_this_call_made_is_not_read_again(stand_in, monkeypatch):
    root, _ = stand_in
    run(root, [1])
    monkeypatch.setattr(ablation, "measures_of", lambda record, divergence: {"read": record["seed"]})
    made = comparison(root, [1]).results({("labels", 1): {"read": 0}})
    assert made["read"].tolist() == [0, 1, 1]


def test_no_runs_are_no_rows(tmp_path):
    assert comparison(tmp_path, [1]).results().empty


def test_runs_of_other_flags_in_the_folder_are_refused(stand_in):
    root, ran = stand_in
    run(root, [1])
    with pytest.raises(SemcomError, match="holds runs of other flags .*settings.json.*name another folder"):
        comparison(root, [1], steps=400).run()
    assert len(ran) == 3


def test_a_run_of_an_arm_with_other_flags_is_refused(stand_in):
    root, _ = stand_in
    run(root, [1])
    changed = Arm("other", {"kd_loss": "rkl", "temperature": 2.0})
    with pytest.raises(SemcomError, match="was run with kd_loss jsd, arm 'other' has rkl; remove it"):
        comparison(root, [1], [changed]).run()
    assert ablation.finished(ARMS[2], 1, root) and ablation.finished(ARMS[2], 2, root) is None


def test_the_experiment_runs_reports_and_keeps(stand_in, monkeypatch, capsys):
    folder, ran = stand_in
    monkeypatch.chdir(folder)
    monkeypatch.setitem(GAIN, "skl", 1.0)
    for name in ("kd", "lskd"):
        monkeypatch.setitem(GAIN, name, 0.5)
    assert ablation.experiment(["--corpus-size", "400"], 2, dry_run=True) is None and not ran
    dry = capsys.readouterr().out
    assert (
        dry.count("$ python distillation.py") == dry.count("$ python semantic_analysis.py") == 8
        and "--steps 300" in dry
    )
    arms = ablation.experiment(["--epochs", "1"], 2, dry_run=False)
    assert arms["arm"].tolist() == ["labels", "kd", "skl", "lskd"]
    assert arms.loc["skl", "bleu 6 less base"].mean == pytest.approx(1.0)
    out = capsys.readouterr().out
    assert "1.00 ± 0.00" in out and "--steps" not in out
    root = folder / ablation.FOLDER
    assert {"arms.csv", "arms.json", "arms.png", "settings.json"} <= {path.name for path in root.iterdir()}
    ablation.experiment(["--epochs", "2"], 2, dry_run=False)
    assert (
        "kept the earlier checkpoints/examples/evidence as checkpoints/examples/evidence.1"
        in capsys.readouterr().out
    )


def test_a_temperature_of_the_users_is_every_arms(capsys):
    with console.speaking():
        ablation.experiment(["--temperature", "4"], 1, dry_run=True)
    skl = next(line for line in capsys.readouterr().out.splitlines() if "--kd-loss skl" in line)
    assert "--temperature 4" in skl, "though it is the default of another loss"


def test_shares_part_the_work(stand_in):
    root, ran = stand_in
    run(root, [1, 2, 3], share=(0, 2))
    first = list(ran)
    run(root, [1, 2, 3], share=(1, 2))
    assert len(first) in (4, 5) and len(ran) == 9 and len(set(ran)) == 9


def test_rows_hold_means_and_paired_gains(monkeypatch, stand_in):
    root, _ = stand_in
    seeds = [1, 2, 3]

    def analyse(settings, before=ablation.analyse):
        seed = int(Path(settings.checkpoints[0]).parent.name.removeprefix("seed"))
        return before(replace(settings, run=RunConfig(seed=seed)))

    monkeypatch.setattr(ablation, "analyse", analyse)
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
    compared = comparison(tmp_path, [7])
    distillation, analysis = compared.distillation(ARMS[1], 7), compared.measurement(ARMS[1], 7)
    scripts = (("distillation.py", distillation), ("semantic_analysis.py", analysis))
    for (script, settings), parser in zip(scripts, (distillation_parser(), analysis_parser())):
        command = shlex.split(settings.command())
        assert command[:2] == ["python", script]
        assert settings_of(type(settings), parser.parse_args(command[2:])) == settings
    assert distillation.run.seed == 7 and distillation.distillation.temperature == 2.0
    assert distillation.training.steps == 300 and analysis.evaluation.snr == ablation.SNRS


def test_equal_time_by_the_runs_seconds_or_by_given_steps(stand_in, monkeypatch, capsys):
    root, ran = stand_in
    for name in ("kd", "labels, 600 steps", "labels, 7 steps"):
        monkeypatch.setitem(GAIN, name, 1.0)
    common = [
        "--teacher",
        "t.pt",
        "--corpus",
        "c.en",
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
    benchmark.main(["final", "--chosen", *common])
    for flags, steps in (([], 600), (["--equal-steps", "7"], 7)):  # the stand-in's runs all take as long
        ran.clear()
        benchmark.main(["equal-time", *flags, *common])
        assert ran == [(f"labels__{steps}_steps", seed) for seed in (1, 2)]
        assert f"labels, {steps} steps" in capsys.readouterr().out
        made = root / "final/100_random" / f"labels__{steps}_steps/seed1/distillation_config.json"
        assert json.loads(made.read_text())["steps"] == steps
