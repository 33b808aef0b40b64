"""A distillation that dials its own path: hybrids, records, what is refused, and a run that is whole whatever
the dial meets."""

import json
import shlex
import shutil
from dataclasses import replace
from importlib import import_module
from inspect import isfunction
from pathlib import Path

import pytest
from cli_support import ROOT, TINY_TRAINING, distil, refused
from test_processes import torchrun, two_processes
from toy import bits, same_bits, spoken

import semcom
from semcom.base.errors import SemcomError
from semcom.base.flag_words import words_of
from semcom.base.flags import settings_of
from semcom.channel.settings import ChannelConfig
from semcom.commands import dial_ladder, dial_settings, distil_run
from semcom.commands.dial_path import path_of_run
from semcom.commands.dial_settings import DialSettings, dial_like
from semcom.commands.distil_settings import DistillationFiles, DistilSettings
from semcom.commands.ladders import found_under
from semcom.commands.parsers import distillation_parser, package_parser
from semcom.commands.settings import WHOLE_CORPUS
from semcom.data.settings import CorpusConfig
from semcom.evaluation.settings import EvaluationConfig, TargetConfig
from semcom.models import checkpoint
from semcom.report import look

pytestmark = pytest.mark.usefixtures("small")
dial = import_module("semcom.commands.dial")

TARGETS = (0.05, 0.1)
TRAINING = [*TINY_TRAINING, "--steps", 24, "--lr", 0.01]
LADDER = {"ladder.json", "ladder.csv", *look.with_print("dial_curve.png")}


def shrink(patched):
    """A dial of few sentences."""
    patched.setattr(dial_settings, "WHOLE_CORPUS", CorpusConfig(corpus_size=700))
    patched.setattr(dial_ladder, "BY_SNR_SENTENCES", 6)
    patched.setattr(dial_ladder, "REPLICATES", 100)


@pytest.fixture(scope="module")
def small():
    with pytest.MonkeyPatch.context() as patched:
        shrink(patched)
        yield


@pytest.fixture(scope="module")
def made(made_once, teacher, small):
    """A folder with the finished run of a decoder, dialled to ``TARGETS``."""

    def make(folder):
        where = ["--output-path", folder / "run", "--hybrid-output", folder / "hybrid.pt"]
        with spoken() as lines:
            code = run_of(teacher, "decoder", *where, "--target-divergence", 0.1, 0.05, "--seed", 5)
        assert code == 0
        (folder / "said.txt").write_text("\n".join(lines))

    return made_once("dialled_in_one_go", make)


def run_of(teacher, part, *flags):
    given = ["--teacher-checkpoint", teacher, *TRAINING, "--distill-part", part, "--create-hybrid"]
    return distil(*given, *flags)


def record_of(run):
    return json.loads((run / "distillation_config.json").read_text())


def settings_for(line):
    return settings_of(DistilSettings, distillation_parser().parse_args(shlex.split(line)))


# --- hybrids


def test_hybrids_have_the_asked_divergences_and_say_so(made):
    for target in TARGETS:
        hybrid = checkpoint.load(made / f"hybrid_{target}.pt")
        said = hybrid.config["dial"]
        assert said["target"] == target and said["path"] == "learning"
        assert said["validation"] == pytest.approx(target, rel=0.011)
        path = path_of_run(str(made / "run")).path
        assert same_bits(bits(hybrid.model), bits(path.at(said["place"])))
        assert 0 < said["place"] < 1 and said["run"] == str(made / "run")


def test_the_ladder_is_in_the_runs_folder(made):
    ladder = json.loads((made / "run/ladder.json").read_text())
    assert ladder["finished"] and ladder["targets"] == list(TARGETS)
    assert [row["file"] for row in ladder["hybrids"]] == [str(made / f"hybrid_{t}.pt") for t in TARGETS]
    assert LADDER < {path.name for path in (made / "run").iterdir()}
    assert not (made / "run/.measured").exists() and not (made / "hybrid.pt").exists()


def test_it_is_what_the_verb_finds_on_the_runs_path(made, tmp_path):
    settings = settings_for(
        f"--create-hybrid --distill-part decoder --output-path {made / 'run'} "
        "--target-divergence 0.05 0.1 --seed 5 --quiet --device cpu"
    )
    outcome = dial.run(replace(dial_like(settings), output_path=str(tmp_path / "ladder")))
    for target, file in outcome.hybrids.items():
        ours = checkpoint.load(made / f"hybrid_{target}.pt")
        theirs = checkpoint.load(file)
        assert ours.fingerprint == theirs.fingerprint and ours.config["dial"] == theirs.config["dial"]


def test_the_record_has_targets_and_hybrids(made):
    record = record_of(made / "run")
    assert record["target_divergence"] == [0.1, 0.05]
    assert record["target_measure"] == "kl_divergence" and record["reference_snr"] == 12
    assert record["hybrid_output"] == str(made / "hybrid.pt") and record["hybrid_parts"] == [
        "channel_decoder",
        "decoder",
    ]
    assert record["dialled_hybrids"] == [str(made / f"hybrid_{target}.pt") for target in TARGETS]
    models = [row["model"] for row in record["test_scores"] if row["snr"] == 12]
    assert models == ["teacher", "student", "hybrid 0.05", "hybrid 0.1"]


def test_the_summary_names_hybrids_and_shows_the_ladder(made):
    said = (made / "said.txt").read_text()
    for words in ("asked", "test [95 %]", "hybrid_0.05.pt: dialled to 0.05", "hybrids are dialled"):
        assert words in said
    assert "same pair" not in said and "never met" not in said


def test_the_analysis_finds_student_and_dialled_hybrids(made):
    found = found_under(str(made))
    assert [one.label for one in found] == ["run", "run/0.05", "run/0.1"]
    assert [Path(one.path).name for one in found[1:]] == ["hybrid_0.05.pt", "hybrid_0.1.pt"]


@pytest.mark.slow
def test_both_ends_of_a_full_run_are_dialled_together(teacher, here):
    with spoken() as lines:
        assert run_of(teacher, "full", "--student-init", "random", "--target-divergence", 0.2) == 0
    hybrid = checkpoint.load("checkpoints/hybrid_model.pt")
    path = path_of_run("checkpoints/distillation").path
    place = hybrid.config["dial"]["place"]
    assert 0 < place < 1 and same_bits(bits(hybrid.model), bits(path.at(place)))
    for end in ("transmitter", "receiver"):
        ours = bits(getattr(hybrid.model, end))
        assert not any(same_bits(ours, bits(getattr(path.at(k), end))) for k in (0, 1))
    assert sum("a code of their own" in line for line in lines) == 1
    assert {row["model"] for row in record_of(Path("checkpoints/distillation"))["test_scores"]} == {
        "teacher",
        "student",
        "hybrid",
    }


# --- refused before training


@pytest.mark.parametrize(
    "flags, words",
    [
        ("--target-divergence 0.2", ["--target-divergence 0.2", "--create-hybrid"]),
        (
            "--create-hybrid --target-divergence 0.2 --hybrid-parts decoder",
            ["--hybrid-parts decoder", "--target-divergence 0.2", "--distill-part"],
        ),
        ("--target-measure js_divergence", ["--target-measure", "--target-divergence"]),
        ("--create-hybrid --reference-snr 6", ["--reference-snr", "--target-divergence"]),
        ("--target-topics health", ["--target-topics", "--target-divergence"]),
        ("--create-hybrid --target-divergence 0", ["--target-divergence 0", "above 0"]),
        ("--create-hybrid --target-divergence -0.1", ["--target-divergence -0.1", "above 0"]),
        ("--create-hybrid --target-divergence nan", ["--target-divergence nan", "finite"]),
        ("--create-hybrid --target-divergence inf", ["--target-divergence inf", "finite"]),
        ("--create-hybrid --target-divergence 0.1 0.2 0.1", ["--target-divergence 0.1", "twice"]),
        (
            "--create-hybrid --target-divergence 0.9 --target-measure js_divergence",
            ["--target-divergence 0.9", "below 0.693"],
        ),
        (
            "--create-hybrid --target-divergence 0.1 --target-topics health --corpus a.en",
            ["--target-topics health", "--corpus"],
        ),
    ],
)
def test_settings_that_contradict_themselves(flags, words):
    with pytest.raises(SemcomError) as error:
        settings_for(flags)
    line = str(error.value)
    assert "\n" not in line and len(line) <= 500
    assert all(word in line for word in words), line


def test_flags_are_refused_in_one_line(here, capsys):
    refused(capsys, distil("--target-divergence", 0.2), "--target-divergence 0.2", "--create-hybrid")
    refused(capsys, distil("--create-hybrid", "--target-divergence", "much"), "--target-divergence", "much")


def test_a_topic_that_is_not_there_is_told_before_training(teacher, here, capsys):
    flags = ["--target-divergence", 0.1, "--target-topics", "astrology"]
    refused(capsys, run_of(teacher, "decoder", *flags), "--target-topics astrology", "health")
    assert not list(here.iterdir())


def test_outputs_are_checked_before_training(teacher, here, capsys):
    shutil.copy(teacher, "mine_0.1.pt")
    targets = ["--target-divergence", 0.1, 0.2]
    refused(capsys, run_of("mine_0.1.pt", "decoder", "--hybrid-output", "mine.pt", *targets), "is an input")
    Path("there_0.2.pt").touch()
    named = ["--hybrid-output", "there.pt", *targets]
    refused(capsys, run_of(teacher, "decoder", *named), "there_0.2.pt", "exists already", "--overwrite")
    refused(capsys, run_of(teacher, "decoder", "--hybrid-output", ".", *targets), "--hybrid-output .")
    inside = ["--output-path", "run", "--hybrid-output", "run/ladder.json", "--target-divergence", 0.1]
    refused(capsys, run_of(teacher, "decoder", *inside), "ladder.json", "same path")
    assert {path.name for path in here.iterdir()} == {"mine_0.1.pt", "there_0.2.pt"}


# --- a run is whole whatever the dial meets


def whole(run):
    """The record of a run that has all that a run has, but no ladder and no hybrid."""
    names = {path.name for path in run.iterdir()}
    assert {"best_student_model.pt", "final_student_model.pt", "snapshots.pt"} < names
    assert not names & (LADDER | {".measured"})
    assert not list(run.parent.glob("hybrid*.pt"))
    return record_of(run)


def command_in(line):
    """Settings of the command that a line ends with."""
    words = shlex.split(line[line.index("python -m semcom dial") :].replace("VALUE", "0.3"))
    return settings_of(DialSettings, package_parser().parse_args(words[3:]))


def test_a_target_out_of_reach_names_the_reach_and_the_way_to_ask_again(teacher, here, capsys):
    flags = ["--target-divergence", 0.1, 50, "--seed", 5, "--reference-snr", 6]
    line = refused(capsys, run_of(teacher, "decoder", *flags), "--target-divergence 50: out of reach")
    assert "goes from" in line and len(line) <= 500
    run = here / "checkpoints/distillation_decoder"
    assert {row["model"] for row in whole(run)["test_scores"]} == {"teacher", "student"}
    again = command_in(line)
    assert again.source == "checkpoints/distillation_decoder" and again.run.seed == 5
    assert again.target == (0.3,) and again.ask.reference_snr == 6


def test_an_interrupt_of_the_dial_leaves_the_finished_run(teacher, here, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(dial_ladder, "climb", interrupted)
    assert run_of(teacher, "decoder", "--target-divergence", 0.1) == 130
    line = capsys.readouterr().err
    assert "interrupted while dialling" in line and command_in(line).target == (0.1,)
    whole(here / "checkpoints/distillation_decoder")


def test_an_interrupt_of_the_training_names_the_dial(teacher, here, capsys, monkeypatch):
    fit = distil_run.trainer.fit
    monkeypatch.setattr(
        distil_run.trainer, "fit", lambda *a, **b: replace(fit(*a, **b), stopped="interrupted")
    )
    assert run_of(teacher, "decoder", "--steps", 2, "--target-divergence", 0.1) == 130
    assert command_in(capsys.readouterr().err).target == (0.1,)
    assert not (here / "checkpoints/hybrid_model.pt").exists()


@pytest.mark.slow
def test_an_earlier_ladder_is_set_aside_or_replaced_as_hybrids_are(made, teacher, here):
    shutil.copytree(made / "run", "run")
    Path("checkpoints").mkdir()
    shutil.copy(made / "hybrid_0.05.pt", "checkpoints/hybrid_model_0.05.pt")
    flags = ["--output-path", "run", "--overwrite", "--target-divergence", 0.05, 0.2]
    assert run_of(teacher, "decoder", *flags) == 0
    assert json.loads(Path("run/ladder.json").read_text())["targets"] == [0.05, 0.2]
    assert {path.name for path in Path("checkpoints").glob("[!.]*")} == {
        "hybrid_model_0.05.pt",
        "hybrid_model_0.2.pt",
    }
    assert run_of(teacher, "decoder", "--output-path", "run", "--overwrite") == 0
    assert not LADDER & {path.name for path in Path("run").iterdir()}, "of the run that was overwritten"


# --- settings


def test_the_dial_of_a_distillation_has_its_text_channel_seed_and_targets():
    run = settings_for(
        "--create-hybrid --target-divergence 2 0.5 --target-measure bleu_drop --reference-snr 6 "
        "--distill-part encoder --corpus a.en b.en --corpus-size 900 --max-length 12 --channel rayleigh "
        "--seed 3 --device cpu"
    )
    settings = dial_like(run)
    assert settings == DialSettings(
        source="checkpoints/distillation_encoder",
        target=(2.0, 0.5),
        ask=TargetConfig(target_measure="bleu_drop", reference_snr=6.0),
        corpus=CorpusConfig(corpus=("a.en", "b.en"), corpus_size=700, max_length=12),
        channel=ChannelConfig(channel="rayleigh"),
        run=run.run,
    ), "700 stands for all 60,000 in these tests"
    typed = package_parser().parse_args(["dial", *words_of(settings)])
    assert settings_of(DialSettings, typed) == settings
    assert "--target 7 --target-measure bleu_drop" in settings.command(targets=["7"])


def test_topics_of_the_training_are_not_those_of_the_dial():
    run = settings_for("--create-hybrid --target-divergence 0.1 --topics health")
    assert dial_like(run).corpus.topics == ()


@pytest.mark.parametrize(
    "targets, output, files",
    [
        ((0.2,), None, ["checkpoints/hybrid_model.pt"]),
        ((0.2, 0.1), None, ["checkpoints/hybrid_model_0.1.pt", "checkpoints/hybrid_model_0.2.pt"]),
        ((1.0, 0.25), "a.b/c.d.pt", ["a.b/c.d_0.25.pt", "a.b/c.d_1.pt"]),
        ((1.0, 0.25), "c", ["c_0.25", "c_1"]),
    ],
)
def test_names_of_the_hybrids(targets, output, files):
    given = DistillationFiles(create_hybrid=True, hybrid_output=output, target_divergence=targets)
    made = DistilSettings(files=given).dialled_hybrids
    assert list(made) == sorted(targets) and [str(path) for path in made.values()] == files


# --- from Python


def test_dial_is_the_function_of_the_package():
    import_module("semcom.commands.dial")
    from semcom import dial as ours

    assert ours is dial.dial and isfunction(semcom.dial) and "dial" in semcom.__all__


def test_dial_from_python(made, tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(dial, "run", lambda settings: asked.update(settings=settings) or "outcome")
    where = str(tmp_path / "ladder")
    choice = {"measure": "js_divergence", "reference_snr": 6, "channel": "rayleigh", "overwrite": True}
    assert semcom.dial("a/run", [0.2, 0.1], output_path=where, **choice) == "outcome"
    words = (
        f"dial a/run --target 0.2 0.1 --output-path {where} --target-measure js_divergence "
        "--reference-snr 6 --channel rayleigh --overwrite"
    )
    typed = settings_of(DialSettings, package_parser().parse_args(words.split()))
    assert asked["settings"] == typed
    assert typed.evaluation == EvaluationConfig(sentences=10_000) and typed.corpus == WHOLE_CORPUS


def test_what_dial_returns(made, tmp_path, monkeypatch):
    few = replace(DialSettings(source="run", target=(0.1,)), corpus=CorpusConfig(corpus_size=700))
    monkeypatch.setattr(
        dial, "DialSettings", lambda **given: replace(few, **given, run=replace(few.run, quiet=True))
    )
    outcome = semcom.dial(str(made / "run"), [0.1], output_path=str(tmp_path / "ladder"))
    assert outcome.hybrids == {0.1: tmp_path / "ladder/hybrid_0.1.pt"} and outcome.record["finished"]
    row = outcome.table.iloc[0]
    assert row["target"] == 0.1 and row["test_low"] <= row["test"] <= row["test_high"]
    assert checkpoint.load(outcome.hybrids[0.1]).config["dial"]["test"] == row["test"]


# --- several processes


@pytest.mark.processes
@pytest.mark.parametrize("target, code", [(0.1, 0), pytest.param(50, 1, marks=pytest.mark.slow)])
def test_of_several_processes_the_main_one_dials(teacher, here, target, code):
    text = (f"the committee has adopted report number {n} on the budget." for n in range(400))
    Path("own.en").write_text("\n".join(text))
    flags = ["--corpus", "own.en", "--create-hybrid", "--target-divergence", target, "--output-path", "run"]
    words = [ROOT / "distillation.py", "--teacher-checkpoint", teacher, *TRAINING, *flags]
    # With an error to tell it takes a launcher to end the others.
    done = torchrun(*words) if code else two_processes(*words)[0]
    assert done.returncode == code, done.stderr
    assert Path("checkpoints/hybrid_model.pt").is_file() == (code == 0)
    models = {row["model"] for row in record_of(Path("run"))["test_scores"]}
    assert models == {"teacher", "student"} | ({"hybrid"} if code == 0 else set())
    assert done.stdout.count("dialling run:") == 1
    assert done.stderr.count("error: --target-divergence 50: out of reach") == (code == 1)
