"""``python semantic_analysis.py`` and ``python distillation_examples.py`` by running them."""

import json
import math
import shlex
from dataclasses import replace

import pytest
from cli_support import (
    TINY_TRAINING,
    analyse,
    distil,
    examples,
    refused,
    runs_in_this_process,
    script,
)

from semcom.base.flags import settings_of
from semcom.base.settings import Request
from semcom.base.varied_flags import variants
from semcom.commands import analyse_settings, analysis_console, measuring
from semcom.commands import examples as examples_module
from semcom.commands.analyse_settings import AnalysisFiles, AnalysisSettings
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.parsers import analysis_parser, package_parser
from semcom.data import corpus
from semcom.data.settings import CorpusConfig
from semcom.report.document import Answer, Document, Table

pytestmark = pytest.mark.usefixtures("no_scores")

KEYS = {
    "model",
    "temperature",
    "distill_weight",
    "distill_part",
    "kl_divergence",
    "representation_distance",
    "agreement_rate",
    "semantic_difference_score",
    "calibration_temperature",
    "by_snr",
}
QUICK = ["--corpus-size", 1000, "--sentences", 12, "--quiet", "--no-report"]


@pytest.mark.draws("png")
def test_all_runs_are_found_and_measured(teacher, here, capsys):
    tiny = ["--teacher-checkpoint", teacher, *TINY_TRAINING, "--steps", 2]
    assert distil(*tiny, "--distill-part", "decoder", "--temperature", 2) == 0
    assert distil(*tiny, "--create-hybrid") == 0
    assert analyse(*QUICK, "--snr", 0, 12) == 0
    results = json.loads((here / "semantic_analysis_results.json").read_text())
    records = {r["model"]: r for r in results["records"]}
    assert set(records) == {"distillation", "distillation hybrid", "distillation_decoder"}
    decoder = records["distillation_decoder"]
    assert decoder.keys() >= KEYS and decoder["temperature"] == 2 and decoder["distill_part"] == "decoder"
    assert (
        set(decoder["by_snr"]) == {"0", "12"}
        and decoder["kl_divergence"] == decoder["by_snr"]["12"]["kl_divergence"] > 0
    )
    assert decoder["semantic_difference_score"] == pytest.approx(
        decoder["kl_divergence"] * (1 - decoder["agreement_rate"])
    )
    assert {"bleu", "reference_bleu", "kl_reference_prefix", "js_divergence", "cross_entropy_gap"} <= decoder[
        "by_snr"
    ]["0"].keys()
    at_reference = decoder["by_snr"]["12"]
    assert decoder["calibration_temperature"] != 1
    assert 0 < at_reference["kl_calibrated"] != at_reference["kl_divergence"]
    assert 0.05 < at_reference["kl_worst_share"] < 1
    assert results["decoding"] == "greedy decoding"
    assert results["reference_snr"] == 12 and results["seed"] == 42 and "nrefs:1" in results["bleu_signature"]
    out = capsys.readouterr().out
    assert "; 12 test sentences, awgn" in out and "nats a token, by SNR in dB" not in out
    (study,) = results["studies"]
    shown = {(row["pair"], row["snr"]): row["kl_divergence"] for row in study["matrix"]}
    kl = shown["teacher → distillation_decoder", 12]
    assert kl["low"] < kl["value"] < kl["high"] and kl["value"] == decoder["kl_divergence"]
    assert f"{kl['value']:.4f} [{kl['low']:.4f}, {kl['high']:.4f}]" in out.replace("\n", " ")
    next_line = out.splitlines()[-1]
    assert next_line.startswith("next, ") and next_line.endswith("--verbose")


def test_a_model_does_not_diverge_from_itself(teacher, here, capsys):
    assert analyse(teacher, "--teacher-checkpoint", teacher, *QUICK, "--snr", 6, "--reference-snr", 6) == 0
    record = json.loads((here / "semantic_analysis_results.json").read_text())["records"][0]
    assert (
        record["kl_divergence"] == 0
        and record["agreement_rate"] == 1
        and record["representation_distance"] == 0
    )
    assert math.isclose(record["by_snr"]["6"]["cross_entropy_gap"], 0)
    assert record["by_snr"]["6"]["bleu"] == record["by_snr"]["6"]["reference_bleu"]
    assert record["calibration_temperature"] == 1 and record["by_snr"]["6"]["kl_calibrated"] == 0
    assert record["by_snr"]["6"]["kl_worst_share"] is None, "of nothing"


def test_without_validation_sentences_nothing_is_calibrated(teacher, here):
    """Where the whole corpus is measured on, none are left."""
    one = ["--corpus-size", 100, "--sentences", 4, "--quiet", "--no-report", "--split", "all", "--snr", 12]
    assert analyse(teacher, "--teacher-checkpoint", teacher, *one) == 0
    record = json.loads((here / "semantic_analysis_results.json").read_text())["records"][0]
    assert record["calibration_temperature"] is None and record["by_snr"]["12"]["kl_calibrated"] is None
    assert record["kl_divergence"] == 0


def test_validation_sentences_leave_the_test_split_alone(teacher, here, capsys):
    flags = ["--corpus-size", 1000, "--sentences", 40, "--quiet", "--no-report", "--split", "validation"]
    assert analyse(teacher, "--teacher-checkpoint", teacher, *flags, "--snr", 12) == 0
    out = capsys.readouterr().out
    results = json.loads((here / "semantic_analysis_results.json").read_text())
    head = next(line for line in out.splitlines() if line.startswith("pair "))
    assert "BLEU" in head and "semantic_analysis_results.json has all." in out.replace("\n", " ")
    assert "tables/" not in out
    assert results["settings"]["split"] == "validation" and results["sentences"] == 40
    assert "40 validation sentences (--split validation; test is left alone)" in out
    whole = corpus.built_in(1000)
    measured = measuring.test_split(whole, 40, "validation")
    fitted = measuring.validation_split(whole, 300, measured)
    assert {s.id for s in measured} | {s.id for s in fitted} == {s.id for s in whole.split("validation")}
    assert len(measured) == 40 and 0 < len(fitted) == len(whole.split("validation")) - 40


def test_what_comes_next_measures_the_same_runs_at_more_snrs(capsys):
    settings = AnalysisSettings(
        files=AnalysisFiles(runs="my runs", output="a b.json"), request=Request("as typed")
    )
    line = analysis_console._next(settings, str)
    assert "measured at 0 3 6 9 12 15 18 dB" in line
    python, script_name, *words = shlex.split(line.partition("SNRs: ")[2])
    asked = settings_of(AnalysisSettings, analysis_parser().parse_args(words))
    assert (python, script_name) == ("python", "semantic_analysis.py")
    assert asked.files == settings.files and asked.outputs.overwrite
    assert set(asked.snrs) > set(settings.snrs)
    assert not analysis_console._next(replace(settings, request=Request()), str), "a verb that has its own"


def test_conditions_of_each_channel_are_told():
    tables = [Table("t", "c", {}, None, conditions=told) for told in ("A; AWGN", "A; Rayleigh", "A; AWGN")]
    answers = [Answer("s", table=table) for table in tables]
    document = Document("Report", "en", answers, [], [])
    assert analysis_console._conditions(None, document) == "A; AWGN\nA; Rayleigh"


def test_results_are_kept_and_repeat(teacher, here, capsys):
    for _ in range(2):
        assert analyse(teacher, "--teacher-checkpoint", teacher, *QUICK, "--snr", 6) == 0
    first, second = (
        json.loads((here / f"semantic_analysis_results{n}.json").read_text()) for n in (".before-1", "")
    )
    assert first["records"] == second["records"]
    refused(
        capsys,
        analyse(teacher, *QUICK, "--output", "semantic_analysis_results.json"),
        "--output",
        "--overwrite",
    )


def test_without_a_run_one_line_says_what_makes_one(here, capsys):
    refused(capsys, analyse(), "no finished run", "python distillation.py")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--reference-snr", "nan"], ["nan"]),
        (["--snr", "600"], ["--snr 600"]),
        (["absent.pt"], ["absent.pt"]),
        (["--device", "tpu"], ["--device tpu"]),
    ],
)
def test_wrong_input(here, capsys, flags, words):
    refused(capsys, analyse(*flags), *words)


def test_examples_list_and_dry_run(here, capsys):
    assert examples("list") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        str(number) for number in examples_module.EXPERIMENTS
    ]
    assert examples("6", "--dry-run", "--epochs", 2) == 0
    out = capsys.readouterr().out
    (command,) = [line for line in out.splitlines() if line.startswith("$ ")]
    assert command.startswith("$ python -m semcom sweep --temperature 2 4 8 --student-layers 2 ")
    assert "--output-path checkpoints/temp_exp" in command and "--epochs 2" in command
    assert "cannot decide" in out
    assert not list(here.iterdir())


def test_the_experiment_over_seeds_shows_its_commands_and_refuses_what_it_sets(here, capsys):
    assert examples(8, "--dry-run", "--seeds", 2, "--channel", "rayleigh", "--steps", 7) == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("$ ")]
    assert len(lines) == 4 and not list(here.iterdir())
    assert all("sweep --seed 1 2 " in line and "--channel rayleigh" in line for line in lines)
    assert all("--steps 7 " in line for line in lines)
    assert sum("--distill-weight 0" in line for line in lines) == 1
    refused(capsys, examples(8, "--kd-loss", "rkl"), "--kd-loss: experiment 8 sets it")
    refused(capsys, examples(8, "--seeds", 0), "--seeds 0", "1 or more")
    refused(capsys, examples(6, "--seeds", 3, "--seed", 4), "--seeds 3: is seeds 1 to 3, --seed names one")
    refused(capsys, examples(8, "--no-such-flag"), "--no-such-flag")


@pytest.mark.parametrize("number", [n for n, e in examples_module.EXPERIMENTS.items() if not e.study])
def test_every_experiment_takes_several_seeds_as_a_sweep(number, here, capsys):
    assert examples(number, "--dry-run", "--seeds", 2) == 0
    out = capsys.readouterr().out
    commands = [shlex.split(line)[1:] for line in out.splitlines() if line.startswith("$ ")]
    sweeps = [words for words in commands if words[:4] == ["python", "-m", "semcom", "sweep"]]
    runs = examples_module.runs_of(number, ())
    assert len(sweeps) == len(runs) and "$ python distillation.py" not in out and "one seed each" not in out
    assert ("$ python semantic_analysis.py" in out) == (number == 10)
    for words, run in zip(sweeps, runs):
        flags = package_parser().parse_args(["sweep", *words[4:]])
        points = variants(DistilSettings, flags, paired=flags.zip_)
        varied = examples_module.EXPERIMENTS[number].varied or {"": [""]}
        assert len(points) == 2 * sum(map(len, varied.values()))
        assert {point.settings.run.seed for point in points} == {1, 2}
        assert {point.settings.files.target_divergence for point in points} == {run.files.target_divergence}


def test_all_dry_runs(here, capsys):
    assert examples("all", "--dry-run") == 0
    out = capsys.readouterr().out
    assert out.count("$ python distillation.py") == 5 + 3
    assert out.count("$ python -m semcom sweep") == 1 + 1 + 4


def test_jobs_are_of_the_experiments_that_are_sweeps(here, capsys):
    assert examples("7", "--dry-run", "--jobs", 3) == 0 and "--jobs 3" in capsys.readouterr().out
    refused(capsys, examples("10", "--dry-run", "--jobs", 3), "--jobs 3: experiment 10", "add --seeds 3")


@pytest.mark.scores
def test_example_six_runs_and_reports(teacher, here, capsys, monkeypatch):
    runs_in_this_process(monkeypatch)
    monkeypatch.setattr(examples_module, "ANALYSED_SENTENCES", 12)
    monkeypatch.setattr(analyse_settings, "WHOLE_CORPUS", CorpusConfig(corpus_size=1000))
    assert examples("6", "--steps", 2, "--teacher-checkpoint", teacher, *TINY_TRAINING) == 0
    out = capsys.readouterr().out
    assert (here / "checkpoints/temp_exp/temperature-2/best_student_model.pt").is_file()
    records = json.loads((here / "checkpoints/temp_exp/semantic_analysis_results.json").read_text())[
        "records"
    ]
    assert [r["temperature"] for r in records] == [2, 4, 8] and len(
        {r["distill_weight"] for r in records}
    ) == 1
    assert "validation CE" in out and "cannot decide" in out and "to speak of a trend" in out
    assert (here / "checkpoints/temp_exp/report/report.html").is_file()


def test_example_ten_dials_ladders_of_each_part_mode(here, capsys, monkeypatch):
    asked, analysed = [], []
    monkeypatch.setattr(examples_module, "_distil", lambda settings: asked.append(settings))
    monkeypatch.setattr(examples_module, "_analyse", analysed.append)
    monkeypatch.setattr(examples_module, "_table", lambda runs, outcomes: "a table")
    assert examples("10", "--epochs", 1, "--seed", 3) == 0
    assert [run.distillation.distill_part for run in asked] == ["decoder", "encoder", "full"]
    assert all(len(run.dialled_hybrids) == 4 and run.run.seed == 3 for run in asked)
    assert all(run.training.epochs == 1 and run.keep_earlier for run in asked)
    files = [file for run in asked for file in (run.output_path, *run.dialled_hybrids.values())]
    assert len(set(files)) == 15
    assert [settings.files.runs for settings in analysed] == ["checkpoints/ladder_exp"]
    assert all(file.is_relative_to("checkpoints/ladder_exp") for file in files)
    for flag in ("--target-divergence", "--target-measure", "--reference-snr"):
        refused(capsys, examples("10", flag, 1), f"{flag}: experiment 10 sets it")


def test_a_failed_step_stops_the_example_with_its_error(teacher, here, capsys):
    refused(capsys, examples("7", "--teacher-checkpoint", "absent.pt"), "absent.pt")
    refused(capsys, examples("12"), "12", "allowed are 1, 2")
    refused(capsys, examples("6", "--temperature", "3"), "--temperature", "experiment 6 sets it")
    refused(capsys, examples("1", "--dry-run", "--epochs", "abc"), "--epochs", "abc")
    refused(capsys, examples("1", "--epochs", "0", "--teacher-checkpoint", teacher), "--epochs 0")


def test_scripts_as_a_person_starts_them(here):
    assert "CHECKPOINT" in script("semantic_analysis.py", "--help").stdout
    done = script("distillation_examples.py", "list")
    assert done.returncode == 0 and "6  temperatures" in done.stdout


def test_runs_on_own_text_are_measured_on_it(teacher, here, capsys):
    (here / "own.en").write_text(
        "\n".join(f"the committee has adopted report number {n} on the budget." for n in range(300))
    )
    assert distil("--teacher-checkpoint", teacher, *TINY_TRAINING, "--steps", 2, "--corpus", "own.en") == 0
    capsys.readouterr()
    assert analyse("--sentences", 5, "--snr", 12, "--quiet") == 0
    assert "300 sentences of own.en" in capsys.readouterr().out


def test_the_analysis_of_an_example_has_the_settings_of_its_runs(here, capsys):
    assert (
        examples(
            "10",
            "--dry-run",
            "--seed=7",
            "--channel",
            "rayleigh",
            "--corpus",
            "a.en",
            "b.en",
            "--max-length",
            "20",
        )
        == 0
    )
    analysis = capsys.readouterr().out.split("$ python semantic_analysis.py")[1].splitlines()[0]
    for words in ("--seed 7", "--channel rayleigh", "--corpus a.en b.en", "--max-length 20"):
        assert words in analysis


def test_a_later_runs_hybrid_is_not_taken_for_an_earlier_ones(teacher, here, capsys):
    tiny = ["--teacher-checkpoint", teacher, *TINY_TRAINING, "--steps", 2, "--create-hybrid"]
    assert distil(*tiny) == 0 and distil(*tiny, "--distill-part", "decoder") == 0
    assert analyse(*QUICK, "--snr", 12) == 0
    records = {
        r["model"]: r for r in json.loads((here / "semantic_analysis_results.json").read_text())["records"]
    }
    assert records["distillation hybrid"]["checkpoint"].endswith("hybrid_model.before-1.pt")
    assert "distillation_decoder hybrid" not in records


def test_a_hybrid_is_compared_with_its_own_teacher_and_a_changed_one_is_refused(teacher, here, capsys):
    mine = here / "mine.pt"
    mine.write_bytes(teacher.read_bytes())
    assert distil("--teacher-checkpoint", "mine.pt", *TINY_TRAINING, "--steps", 2, "--create-hybrid") == 0
    assert analyse("checkpoints/hybrid_model.pt", *QUICK, "--snr", 12) == 0
    record = json.loads((here / "semantic_analysis_results.json").read_text())["records"][0]
    assert record["teacher"] == "mine.pt" and record["temperature"] == 4 and record["distill_part"] == "full"
    mine.write_bytes((here / "checkpoints/distillation/best_student_model.pt").read_bytes())
    capsys.readouterr()
    refused(
        capsys,
        analyse("checkpoints/hybrid_model.pt", *QUICK),
        "its teacher had the weights",
        "--teacher-checkpoint",
    )


def test_outputs_of_the_analysis_harm_no_input(teacher, here, capsys):
    victim = here / "victim.pt"
    victim.write_bytes(teacher.read_bytes())
    refused(
        capsys,
        analyse(teacher, "--teacher-checkpoint", victim, "--output", victim, "--overwrite"),
        "--output",
        "is an input",
    )
    assert victim.read_bytes() == teacher.read_bytes()
