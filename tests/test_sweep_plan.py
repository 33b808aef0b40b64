"""Which runs a sweep has: from flags and run files, their names, and what is refused before any of them."""

import shlex
from dataclasses import replace

import pytest
from cli_support import package, refused

from semcom.base.errors import SemcomError
from semcom.base.flags import settings_of
from semcom.base.varied_flags import Variant, variants
from semcom.commands import sweep_plan
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.parsers import distillation_parser, package_parser
from semcom.commands.sweep_plan import names_of, sweep_of_flags


def asked(line):
    """The variants that a command asks for."""
    flags = package_parser().parse_args(["sweep", *shlex.split(line)])
    return variants(DistilSettings, flags, paired=flags.zip_)


def alone(line):
    return settings_of(DistilSettings, distillation_parser().parse_args(shlex.split(line)))


def dry(capsys, *words):
    """The commands that a sweep would run."""
    assert package("sweep", *words, "--dry-run") == 0
    return [line[2:] for line in capsys.readouterr().out.splitlines() if line.startswith("$ ")]


# --- flags -> variants


def test_every_combination_is_what_its_own_command_asks_for():
    found = asked("--temperature 2 8 --kd-loss kd skl --seed 1 2 --steps 60")
    wanted = [(t, loss, seed) for t in (2, 8) for loss in ("kd", "skl") for seed in (1, 2)]
    lines = [f"--temperature {t} --kd-loss {loss} --seed {seed} --steps 60" for t, loss, seed in wanted]
    assert sorted(map(repr, (v.settings for v in found))) == sorted(repr(alone(line)) for line in lines)
    assert {name for v in found for name in v.varied} == {"temperature", "kd_loss", "seed"}


def test_what_follows_from_a_value_follows_in_its_variant():
    """The default temperature of a loss, where the user gave none."""
    kd, dkd = asked("--kd-loss kd dkd")
    assert kd.settings == alone("--kd-loss kd") and dkd.settings == alone("--kd-loss dkd")


def test_zip_pairs_the_values():
    found = asked("--zip --temperature 2 8 --seed 1 2 --student-layers 1")
    assert [(v.settings.distillation.temperature, v.settings.run.seed) for v in found] == [(2, 1), (8, 2)]
    assert all(v.settings.student.student_layers == 1 for v in found)
    with pytest.raises(SemcomError, match="--zip: .*2 of --temperature, 3 of --seed"):
        asked("--zip --temperature 2 8 --seed 1 2 3")


def test_a_flag_that_takes_a_list_varies_by_being_repeated():
    found = asked("--snr-range 0 12 --snr-range 3 6 --scales 1 2")
    assert [v.settings.snr.snr_range for v in found] == [(0, 12), (3, 6)]
    assert all(v.settings.distillation.scales == (1, 2) for v in found)
    assert [v.varied for v in found] == [{"snr_range": (0, 12)}, {"snr_range": (3, 6)}]
    texts = asked("--corpus a.en b.en --corpus c.en")
    assert [v.settings.corpus.corpus for v in texts] == [("a.en", "b.en"), ("c.en",)]


def test_a_single_value_may_be_repeated_as_well():
    assert [v.settings.run.seed for v in asked("--seed 1 --seed 2 3")] == [1, 2, 3]


def test_switches_are_common_to_all():
    assert all(v.settings.outputs.overwrite for v in asked("--seed 1 2 --overwrite"))


def test_a_run_file_varies_what_it_has_a_list_of(tmp_path):
    file = tmp_path / "grid.yaml"
    file.write_text(
        "temperature: [2, 8]\nsnr-range: [[0, 12], [3, 6]]\nscales: [1, 2]\nseed: 7\ndistill_part: decoder\n"
    )
    typed = asked(
        "--temperature 2 8 --snr-range 0 12 --snr-range 3 6 --scales 1 2 --seed 7 --distill-part decoder"
    )
    assert {v.settings for v in asked(f"--config {file}")} == {v.settings for v in typed}
    seeds = asked(f"--config {file} --seed 1 2 --temperature 4")
    assert {(v.settings.run.seed, v.settings.distillation.temperature) for v in seeds} == {(1, 4), (2, 4)}
    file.write_text("temperature: [2, warm]\n")
    with pytest.raises(SemcomError, match="temperature: 'warm': is not a number"):
        asked(f"--config {file}")


def test_the_file_that_print_config_writes_asks_for_the_same(tmp_path, capsys):
    words = shlex.split("--temperature 2 8 --snr-range 0 12 --snr-range 3 6 --scales 1 2 --zip --sentences 9")
    assert package("sweep", *words, "--print-config") == 0
    file = tmp_path / "grid.yaml"
    file.write_text(capsys.readouterr().out)
    flags = package_parser().parse_args(["sweep", "--config", str(file)])
    assert flags.sentences == 9 and flags.zip_
    assert asked(f"--config {file}") == asked(shlex.join(words))


# --- variants -> runs


def test_a_run_writes_into_its_own_folder_alone(capsys):
    words = ["--seed", 1, 2, "--create-hybrid", "--output-path", "grid"]
    commands = dry(capsys, *words)
    assert commands == [
        f"python distillation.py --output-path grid/seed-{seed} --create-hybrid "
        f"--hybrid-output grid/seed-{seed}/hybrid_model.pt --seed {seed}"
        for seed in (1, 2)
    ]
    assert all(
        command.startswith("python distillation.py --output-path checkpoints/sweep/temperature-")
        for command in dry(capsys, "--temperature", 2, 8)
    )


def test_names_are_short_safe_and_each_once():
    assert names_of([{"temperature": 2.0, "seed": 1}]) == ["temperature-2_seed-1"]
    assert names_of([{"snr_range": (-6.0, 12.0)}, {"kd_loss": "skl"}]) == ["snr-range--6+12", "kd-loss-skl"]
    assert names_of([{"corpus": ("text/a.en", "b c.en")}]) == ["corpus-a.en+b_c.en"]
    alike = names_of([{"corpus": ("x/a.en",)}, {"corpus": ("y/A.en",)}])
    assert len(set(alike)) == 2 and all(name.lower().startswith("corpus-a.en_") for name in alike)
    assert alike[::-1] == names_of([{"corpus": ("y/A.en",)}, {"corpus": ("x/a.en",)}]), "whatever the order"
    (long,) = names_of([{"corpus": tuple(f"{n}.en" for n in range(99))}])
    assert len(long) <= sweep_plan.LONGEST_NAME
    (stranger,) = names_of([{"corpus": ("\u202e../..\n",)}])
    assert "/" not in stranger and stranger.isascii() and stranger.isprintable()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--seed 1", ["nothing varies", "--temperature 2 4 8 16"]),
        ("--zip --seed 1", ["nothing varies", "--temperature 2 4 8 16"]),
        ("--zip", ["nothing varies"]),
        ("--seed 1 2 1", ["the run of --seed 1 is that of --seed 1", "give each value once"]),
        ("--temperature 4 --kd-loss kd kd", ["the run of --kd-loss kd"]),
        ("--seed 1 2 --output-path a b", ["--output-path: a sweep has one folder"]),
        ("--seed 1 2 --hybrid-output h.pt --create-hybrid", ["--hybrid-output", "in its own folder"]),
        ("--seed 1 -2", ["the run of --seed -2", "--seed -2: must be"]),
        (
            "--distill-part decoder full --cross-weight 0 1",
            ["the run of --distill-part decoder --cross-weight 1: --cross-weight 1", "full"],
        ),
        ("--seed 1 x", ["--seed", "'x'"]),
        ("--seed 1 2 --jobs 0", ["--jobs 0"]),
    ],
)
def test_what_contradicts_itself_is_refused_before_anything_runs(here, capsys, line, words):
    refused(capsys, package("sweep", *shlex.split(line)), *words)
    assert not list(here.iterdir())


def test_several_processes_are_started_by_the_sweep_itself(monkeypatch, here, capsys):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused(capsys, package("sweep", "--seed", 1, 2), "start it alone", "--jobs")


def test_resume_and_a_common_switch_change_no_run():
    plain = sweep_of_flags(asked("--seed 1 2"))
    assert sweep_of_flags(asked("--seed 1 2 --resume")) == plain
    quiet = sweep_of_flags(asked("--seed 1 2 --quiet"))
    assert [replace(p.settings, run=replace(p.settings.run, quiet=False)) for p in quiet.points] == [
        p.settings for p in plain.points
    ]
    assert Variant({}, alone("")) == Variant({}, DistilSettings())
