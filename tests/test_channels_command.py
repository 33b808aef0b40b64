"""Channels at the command line: trained through, evaluated through several, refused in a line."""

import csv
import json

import pytest
from cli_support import TINY_TRAINING, distil, leave_out_scores, package, refused

from semcom.commands import evaluate_channels
from semcom.commands.channels_met import channels_met
from semcom.commands.settings import DoctorSettings

FEW = ["--corpus-size", 1000, "--sentences", 12, "--quiet", "--device", "cpu"]


def rows_of(path):
    return list(csv.DictReader(open(path)))


TRAINED = [
    ["rayleigh"],
    ["rayleigh", "--fading", "symbol", "--csi", "pilots"],
    ["Rician", "--fading", "Jakes", "--speed", 60, "--csi", "pilots", "--csi-estimator", "LMMSE"],
    ["TDL-A"],
    ["TDL-A", "--csi", "none"],
    ["tdl-d", "--csi", "pilots", "--csi-pilots", 2, "--pilot-spacing", 4, "--equalizer", "mmse"],
]


def test_a_student_trains_through_each(teacher, here, monkeypatch):
    leave_out_scores(monkeypatch)
    given = ["--teacher-checkpoint", teacher, "--student-layers", 1, "--steps", 2]
    losses = []
    for place, flags in enumerate(TRAINED):
        run = f"run{place}"
        assert distil(*TINY_TRAINING, *given, "--channel", *flags, "--output-path", run) == 0
        record = json.loads((here / run / "distillation_config.json").read_text())
        assert record["channel"] == flags[0].lower()
        losses.append(record["best_loss"])
    assert len(set(losses)) == len(TRAINED), "fading and what is known of it act on training"


def test_models_meet_several_channels_in_a_grid(teacher, here, capsys):
    flags = [*FEW, "--snr", 0, 12, "--channel", "rayleigh", "--csi", "pilots", "--csi-pilots", 20]
    flags += ["--channels", "awgn", "TDL-C", "rayleigh"]
    assert package("evaluate", teacher, *flags, "--output", "e.csv") == 0
    told = capsys.readouterr().out
    rows = [row for row in rows_of("e.csv") if row["topic"] == "" and row["model"] != "(floor)"]
    piloted = ["rayleigh zf ls of 20 pilots", "tdl-c 300 ns zf ls of 20 pilots every 8"]
    assert list(dict.fromkeys(row["channel"] for row in rows)) == [piloted[0], "awgn", piloted[1]]
    assert f"({evaluate_channels.trained_through({'channel': 'awgn'})})" in told
    assert "at 12 dB through each channel" in told and "with their energy charged" in told
    assert (here / "e.channels.png").exists()
    for row in rows:
        charged = float(row["snr_charged"] or "nan")
        assert (charged > float(row["snr"])) == (row["channel"] in piloted)
    uses = {row["channel"]: float(row["channel_uses_per_character"]) for row in rows}
    assert uses["awgn"] < uses[piloted[0]] < uses[piloted[1]]

    assert package("evaluate", teacher, *FEW, "--snr", 0, 12, "--channel", "awgn", "--output", "a.csv") == 0
    alone = [row for row in rows_of("a.csv") if row["topic"] == "" and row["model"] != "(floor)"]
    scores = ("bleu", "cross_entropy", "exact")
    assert [[row[name] for name in scores] for row in rows if row["channel"] == "awgn"] == [
        [row[name] for name in scores] for row in alone
    ], "a channel of the grid gives what it gives alone"
    assert "snr_charged" not in alone[0]


@pytest.mark.parametrize(
    "config, told",
    [
        ({}, "?"),
        ({"channel": "awgn", "csi": "perfect"}, "awgn"),
        (
            {"channel": "rayleigh", "fading": "jakes", "csi": "pilots"},
            "rayleigh jakes 30 km/h zf ls of 1 pilot every 8",
        ),
        ({"channel": "tdl-c", "delay_spread": 100.0, "csi": "none"}, "tdl-c 100 ns zf without CSI"),
        ({"channel": "fog\n"}, "fog\\n"),
        ({"channel": "rician", "rician_k": "a"}, "rician"),
    ],
)
def test_what_a_model_was_trained_through_is_told_in_full(config, told):
    assert evaluate_channels.trained_through(config) == told


def test_a_setting_that_does_nothing_is_told(teacher, here, capsys):
    flags = [*FEW, "--snr", 12, "--channel", "awgn", "--csi", "pilots"]
    assert package("evaluate", teacher, *flags) == 0
    assert "--csi pilots: nothing of --channel awgn depends on it" in capsys.readouterr().out
    assert package("evaluate", teacher, *flags, "--channels", "rayleigh") == 0
    assert "--csi" not in capsys.readouterr().out


def test_doctor_measures_them_all(here, capsys):
    refused(capsys, package("doctor", "--fading", "jakes"), "--fading", "measures every kind", "leave it out")
    assert channels_met(DoctorSettings()) == ()


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--channels", "fog"], ("--channels", "fog", "tdl-a")),
        (["--csi-pilots", 4], ("--csi-pilots 4", "--csi perfect has no pilots")),
        (["--channel", "rayleigh", "--speed", 3], ("--speed 3", "--fading jakes")),
        (["--channel", "tdl-b"], ("--channel", "tdl-b", "tdl-a")),
        (["--channel", "awgn", "TDL-a"], ("TDL-a: --channel takes one", "--channels TDL-a")),
        (["--channel", "awgn", "b.pt"], ("b.pt", "side by side")),
        (["--channel", "tdl-a", "--speed", 3], ("--speed 3", "--channel rayleigh --fading jakes")),
        (
            ["--channels", "rayleigh", "--fading", "symbol", "--csi", "pilots", "--pilot-spacing", 4],
            ("--pilot-spacing 4",),
        ),
    ],
)
def test_what_is_wrong_is_one_line(teacher, here, capsys, flags, words):
    refused(capsys, package("evaluate", teacher, *FEW, *flags), *words)


def test_audit_has_no_counterpart_of_gains_that_change(teacher, here, capsys):
    code = package("audit", teacher, *FEW, "--channel", "rayleigh", "--fading", "symbol")
    refused(capsys, code, "--fading symbol")
