"""The contract of logit losses: one function and one settings row make a loss that trains, from the command
line, from Python and on segments."""

import csv
import json

import pytest
import torch
from cli_support import TINY_TRAINING, distil, refused
from torch import nn

from semcom import DistillationConfig, Distiller
from semcom.base.errors import SemcomError
from semcom.distillation.logit_losses import LOGIT_LOSSES
from semcom.distillation.settings import KD_LOSSES, KDLoss


class Hellinger:
    """The squared Hellinger distance of the two distributions; it remembers what it returned, and at which
    temperatures."""

    def __init__(self):
        self.values, self.temperatures = [], []

    def __call__(self, student, teacher, targets, settings):
        t = torch.as_tensor(settings.temperature, dtype=student.dtype)[..., None]
        p, q = (teacher / t).softmax(-1), (student / t).softmax(-1)
        rows = (p.sqrt() - q.sqrt()).square().sum(-1) / 2
        assert rows.shape == targets.shape
        self.values += rows.flatten().tolist()
        self.temperatures += t.flatten().tolist()
        return rows


@pytest.fixture
def toy(monkeypatch):
    loss = Hellinger()
    monkeypatch.setitem(LOGIT_LOSSES, "toy", loss)
    monkeypatch.setitem(KD_LOSSES, "toy", KDLoss("Hellinger", temperature=2.5))
    return loss


def distilled(teacher, *flags):
    """The record and the one row of the history of a tiny run."""
    given = ["--teacher-checkpoint", teacher, "--student-layers", 1, "--output-path", "out", "--steps", 3]
    assert distil(*TINY_TRAINING, *given, *flags) == 0
    record = json.load(open("out/distillation_config.json"))
    (row,) = csv.DictReader(open("out/history.csv"))
    return record, {name: float(value) for name, value in row.items() if value}


def test_the_command_line_trains_by_it_at_its_own_temperature(toy, teacher, here):
    record, row = distilled(teacher, "--kd-loss", "toy")
    assert (record["kd_loss"], record["temperature"]) == ("toy", 2.5) and set(toy.temperatures) == {2.5}
    assert len(toy.values) == row["target_tokens"]
    assert row["train_kd"] == pytest.approx(sum(toy.values) / len(toy.values), rel=1e-5)
    assert row["train_distillation"] == pytest.approx(0.3 * row["train_ce"] + 0.7 * row["train_kd"], rel=1e-5)


def test_on_segments_at_temperatures_of_their_own(toy, teacher, here):
    flags = ["--scales", 1, 2, "--temperature-schedule", "snr", "--final-temperature", 1]
    _, row = distilled(teacher, "--kd-loss", "toy", *flags)
    assert len(toy.values) > row["target_tokens"], "tokens, and segments behind them"
    assert 0 < row["train_scales"] < 2 and 0 < row["train_kd"] < 1
    assert 1 <= min(toy.temperatures) < 1.5 < 2 < max(toy.temperatures) <= 2.5


def test_segments_are_refused_to_a_loss_that_needs_the_target(toy, monkeypatch, teacher, here, capsys):
    monkeypatch.setitem(KD_LOSSES, "toy", KDLoss("Hellinger", needs_target=True))
    code = distil("--kd-loss", "toy", "--scales", 1, 2, "--teacher-checkpoint", teacher)
    refused(capsys, code, "--scales with --kd-loss toy", "give --kd-loss kd, rkl, jsd")


def test_python_trains_by_it(toy):
    torch.manual_seed(0)
    teacher, student = nn.Linear(4, 5), nn.Linear(4, 5)
    batches = [(torch.randn(16, 4), torch.randint(5, (16,))) for _ in range(8)]
    settings = DistillationConfig(kd_loss="toy", distill_weight=1.0)
    history = Distiller(student, teacher, settings, lr=0.05).fit(batches, 5, quiet=True)
    assert len(toy.values) == 5 * 8 * 16 and set(toy.temperatures) == {2.5}
    epochs = torch.tensor(toy.values).view(5, -1).mean(1)
    assert [row["train_kd"] for row in history] == pytest.approx(epochs.tolist(), rel=1e-5)
    assert history[-1]["train_kd"] < history[0]["train_kd"] / 2, (
        "the student comes to say what the teacher says"
    )


def test_it_owns_its_settings(toy, monkeypatch):
    """A field that a row names is refused to every other loss; its warm-up is followed."""
    monkeypatch.setitem(KD_LOSSES, "toy", KDLoss("Hellinger", own=("dkd_warmup",), warmup="dkd_warmup"))
    monkeypatch.delitem(KD_LOSSES, "dkd")
    with pytest.raises(SemcomError, match="--dkd-warmup 0.5: is a setting of --kd-loss toy, this run has kd"):
        DistillationConfig(dkd_warmup=0.5)
    assert DistillationConfig(kd_loss="toy", dkd_warmup=0.5).warmup == 0.5
