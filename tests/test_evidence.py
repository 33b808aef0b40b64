"""Arms that differ in their flags: what is run, what is left out, what the table says. Distillation itself is
stood in for."""

import json
from pathlib import Path

import pytest

from benchmarks import evidence as benchmark
from semcom.base import console
from semcom.base.errors import SemcomError
from semcom.commands import ablation, cli, parsers
from semcom.commands.ablation import Arm
from semcom.evaluation import intervals

ARMS = [
    Arm("labels", "--distill-weight 0", None),
    Arm("kd, T=2", "--temperature 2"),
    Arm("other", "--kd-loss jsd"),
]
GAIN = {"labels": 0.0, "kd, T=2": 2.0, "other": -1.0}


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """Runs that leave what a run leaves: the BLEU of an arm is 80 + its gain + noise of the seed."""
    ran = []
    console.speak()

    def distil(argv):
        given = parsers.distillation_parser().parse_args(argv)
        folder = Path(given.output_path)
        folder.mkdir(parents=True)
        ran.append((folder.parent.name, given.seed))
        (folder / "distillation_config.json").write_text(
            json.dumps({**vars(given), "best_loss": 0.5, "training_seconds": 10.0, "steps_done": 300})
        )

    def analyse(argv):
        given = parsers.analysis_parser().parse_args(argv)
        seed, name = given.seed, Path(given.checkpoints[0]).parent.parent.name
        at = {
            "bleu": 80
            + next(gain for arm, gain in GAIN.items() if Arm(arm, "").folder(Path(), 0).parent.name == name)
            + 0.01 * seed**2,
            "kl_divergence": 0.1,
            "reference_bleu": 90.0,
        }
        Path(given.output).write_text(
            json.dumps({"records": [{"by_snr": {f"{snr:g}": at for snr in given.snr}}]})
        )

    monkeypatch.setattr(cli, "distil", distil)
    monkeypatch.setattr(cli, "analyse", analyse)
    return tmp_path, ran


def run(root, seeds, **choice):
    ablation.run(ARMS, seeds, root, ["--steps", "300"], ["--seed", "3"], **choice)


def test_every_arm_runs_with_every_seed_once(stand_in):
    root, ran = stand_in
    run(root, [1, 2])
    assert sorted(ran) == sorted((name, seed) for name in ("labels", "kd__T_2", "other") for seed in (1, 2))
    run(root, [1, 2])
    assert len(ran) == 6, "what is finished is not run again"


def test_runs_of_other_flags_in_the_folder_are_refused(stand_in):
    root, ran = stand_in
    run(root, [1])
    with pytest.raises(SemcomError, match="holds runs of other flags .*settings.json.*name another folder"):
        ablation.run(ARMS, [1], root, ["--steps", "400"], ["--seed", "3"])
    assert len(ran) == 3


def test_a_run_of_an_arm_with_other_flags_is_refused(stand_in):
    root, _ = stand_in
    run(root, [1])
    changed = Arm("other", "--kd-loss rkl --temperature 2")
    with pytest.raises(SemcomError, match="was run with kd_loss jsd, arm 'other' has rkl; remove it"):
        ablation.run([changed], [1], root, ["--steps", "300"], ["--seed", "3"])
    assert ablation.finished(ARMS[2], 1, root) and not ablation.finished(ARMS[2], 2, root)


def test_the_experiment_runs_reports_and_keeps(stand_in, monkeypatch, capsys):
    folder, ran = stand_in
    monkeypatch.chdir(folder)
    monkeypatch.setitem(GAIN, "skl", 1.0)
    for name in ("kd", "lskd"):
        monkeypatch.setitem(GAIN, name, 0.5)
    assert ablation.experiment(["--corpus-size", "400"], 2, dry_run=True) == [] and not ran
    dry = capsys.readouterr().out
    assert (
        dry.count("$ python distillation.py") == dry.count("$ python semantic_analysis.py") == 8
        and "--steps 300" in dry
    )
    rows = ablation.experiment(["--epochs", "1"], 2, dry_run=False)
    assert [row["arm"] for row in rows] == ["labels", "kd", "skl", "lskd"] and rows[2][
        "bleu 6 less base"
    ].mean == pytest.approx(1.0)
    out = capsys.readouterr().out
    assert "1.00 ± 0.00" in out and "--steps" not in out
    root = folder / ablation.FOLDER
    assert {"arms.csv", "arms.json", "arms.png", "settings.json"} <= {path.name for path in root.iterdir()}
    ablation.experiment(["--epochs", "2"], 2, dry_run=False)
    assert (
        "kept the earlier checkpoints/examples/evidence as checkpoints/examples/evidence.1"
        in capsys.readouterr().out
    )


def test_shares_part_the_work(stand_in):
    root, ran = stand_in
    run(root, [1, 2, 3], share=(0, 2))
    first = list(ran)
    run(root, [1, 2, 3], share=(1, 2))
    assert len(first) in (4, 5) and len(ran) == 9 and len(set(ran)) == 9


def test_rows_hold_means_and_paired_gains(monkeypatch, stand_in):
    root, _ = stand_in
    seeds = [1, 2, 3]

    def analyse(argv, before=cli.analyse):
        given = parsers.analysis_parser().parse_args(argv)
        before([*argv, "--seed", Path(given.checkpoints[0]).parent.name.removeprefix("seed")])

    monkeypatch.setattr(cli, "analyse", analyse)
    run(root, seeds)
    labels, kd, other = ablation.collect(ARMS, seeds, root)
    assert labels["bleu 6"].mean == pytest.approx(80 + 0.01 * 14 / 3) and "bleu 6 less base" not in labels
    assert kd["bleu 6 less base"].mean == pytest.approx(2.0) and other[
        "bleu 6 less base"
    ].mean == pytest.approx(-1.0)
    assert kd["bleu 6 less base"].half_width == pytest.approx(0, abs=1e-9), (
        "the noise of a seed is common to the pair"
    )
    assert kd["bleu 6"].half_width == pytest.approx(intervals.estimate([80.01, 80.04, 80.09]).half_width)
    assert kd["bleu 6 p"] == pytest.approx(0, abs=1e-6) and kd["validation p"] == 1
    printed = ablation.table([labels, kd, other])
    assert "kd, T=2" in printed and "2.00 ± 0.00" in printed and "BLEU 0 dB" in printed
    flat = ablation.flat([kd])[0]
    assert (
        flat["bleu 6 less base"] == pytest.approx(2.0)
        and flat["bleu 6 half width"] == kd["bleu 6"].half_width
    )
    json.dumps(flat)


def test_commands_are_what_a_person_would_type(tmp_path):
    distillation, analysis = ablation.commands(
        ARMS[1], 7, tmp_path, ["--steps", "300"], ["--sentences", "50"]
    )
    assert distillation[:2] == ["python", "distillation.py"] and analysis[:2] == [
        "python",
        "semantic_analysis.py",
    ]
    given = parsers.distillation_parser().parse_args(distillation[2:])
    assert (given.seed, given.temperature, given.steps) == (7, 2.0, 300)
    assert parsers.analysis_parser().parse_args(analysis[2:]).snr == list(ablation.SNRS)


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
