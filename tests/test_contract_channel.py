"""The contract of channels: one class and one settings row make a channel that trains, is evaluated, analysed
and sent through, and that doctor, audit and examples know of."""

import csv
import json
from dataclasses import dataclass

import pytest
import torch
from cli_support import TINY_TRAINING, analyse, distil, examples, package, refused
from toy import C, collated, encoded, transceiver

from semcom.channel import channels, settings
from semcom.channel.channels import AWGN, CHANNELS, Channel, make_channel, noise_power
from semcom.channel.draws import sample
from semcom.channel.settings import KINDS, ChannelConfig, Kind
from semcom.commands import examples as experiments
from semcom.data.batching import collate
from semcom.distillation.objectives import TransceiverObjective
from semcom.evaluation import sionna_check
from semcom.models.link import send

FEW = ["--corpus-size", 1000, "--sentences", 12, "--quiet", "--device", "cpu"]


@dataclass(frozen=True)
class Flips(Channel):
    """Each complex symbol arrives with a sign of its own, and noise; zf knows the signs, mmse does not."""

    name = "toy"
    equalizer: str = "zf"

    def draw(self, generator, length, width):
        return {"flipped": torch.rand(length, width // 2, generator=generator) < 0.5}

    def apply(self, signal, draw, snr_db):
        sign = 1 - 2 * draw.own["flipped"].to(signal.dtype).repeat_interleave(2, -1)
        noise = draw.noise.to(signal.dtype) * (noise_power(signal, snr_db) / 2).sqrt()
        received = sign * signal + noise
        return sign * received if self.equalizer == "zf" else received


@dataclass(frozen=True)
class Twin(AWGN):
    """awgn under another name, with its theory and its public counterpart."""

    name = "toy"


def add(monkeypatch, channel):
    monkeypatch.setitem(CHANNELS, "toy", channel)
    monkeypatch.setitem(KINDS, "toy", Kind("Toy"))


@pytest.fixture
def toy(monkeypatch):
    add(monkeypatch, Flips)
    monkeypatch.setattr(sionna_check, "available", lambda: "no Sionna in this test")


def rows_of(path):
    return list(csv.DictReader(open(path)))


# ---- the table


def test_both_tables_name_the_same_channels_in_the_same_order():
    assert list(channels.CHANNELS) == list(settings.KINDS)
    assert all(channel.name == name for name, channel in CHANNELS.items())
    assert all(str(channel()).split()[0] == name for name, channel in CHANNELS.items()), "a label begins so"


def test_settings_reach_the_class_that_has_them(toy):
    assert make_channel(ChannelConfig(channel="toy", equalizer="mmse")) == Flips("mmse")
    assert make_channel(ChannelConfig(channel="awgn", equalizer="mmse", rician_k=3.0)) == AWGN()
    assert Flips().key != Flips("mmse").key != AWGN().key


# ---- the draw


def test_its_draw_comes_after_what_all_channels_share_and_moves_none_of_it():
    ids, lengths = [11, 2**64 - 1, 5], [3, 17, 8]
    common, own = (
        sample(ids, lengths, C, seed=5, number=9, channel=channel) for channel in (AWGN(), Flips())
    )
    for name in ("level", "scatter", "noise"):
        assert torch.equal(getattr(common, name), getattr(own, name)), name
    assert common.own == {} and own.own["flipped"].shape == (3, 17, C // 2)
    assert not own.own["flipped"][0, 3:].any() and 0.3 < own.own["flipped"][1].float().mean() < 0.7


def test_its_draw_belongs_to_the_sentence_whatever_the_batch_and_its_padding():
    few = encoded(6, 2, 9)
    together = collate(few, 25).draw(Flips(), C, seed=3, number=4)
    assert together.own["flipped"].shape == (6, 25, C // 2) and together.noise.shape == (6, 25, C)
    for row, e in enumerate(few):
        alone = collate([e]).draw(Flips(), C, seed=3, number=4).own["flipped"][0]
        assert torch.equal(together.own["flipped"][row, : len(e.source)], alone)
    other = collate(few, 25).draw(Flips(), C, seed=3, number=5)
    assert not torch.equal(together.own["flipped"], other.own["flipped"])
    assert together.to("meta").own["flipped"].device.type == "meta"


@pytest.mark.parametrize("equalizer", ["zf", "mmse"])
def test_a_batch_is_sent_through_it(equalizer):
    model, batch = transceiver(), collated(5, 3, 9)
    sent = send(model.transmitter, batch, Flips(equalizer), [0.0, (-6.0, 18.0)], seed=7, numbers=(0, 1))
    assert list(sent.received) == [0, 1] and not torch.equal(sent.received[0][0], sent.received[1][0])
    draw = batch.draw(AWGN(), C, seed=7, number=1)
    for row, (sentence, length) in enumerate(zip(batch.sentences, batch.lengths)):
        flipped = sample([sentence.id], [length], C, seed=7, number=1, channel=Flips()).own["flipped"][0]
        assert flipped.any() and not flipped.all()
        sign = 1 - 2 * flipped.float().repeat_interleave(2, -1)
        for received, snr in zip(sent.received[1], (0.0, float(draw.snr_between(-6.0, 18.0)[row]))):
            noise = draw.noise[row, :length] * (10 ** (-snr / 10) / 2) ** 0.5
            expected = sign * sent.signal[row, :length] + noise
            expected = expected * sign if equalizer == "zf" else expected
            torch.testing.assert_close(received[row, :length], expected)


def test_an_objective_sends_through_it():
    batch, model = collated(5), transceiver()
    losses = set()
    for channel in (AWGN(), Flips(), Flips("mmse")):
        objective = TransceiverObjective(model, channel, (0.0, 0.0)).eval()
        losses.add(float(objective(batch, batch.draw(channel, C, seed=0, number=0))["ce"][0].detach()))
    assert len(losses) == 3


# ---- the main job


def test_it_trains_is_evaluated_analysed_and_sent_through(toy, teacher, here, capsys):
    given = ["--teacher-checkpoint", teacher, "--student-layers", 1, "--steps", 4, "--sequence-level", 1]
    made = {}
    for name in ("Toy", "awgn"):
        assert distil(*TINY_TRAINING, *given, "--channel", name, "--output-path", name) == 0
        made[name] = json.loads((here / name / "distillation_config.json").read_text())
    assert (made["Toy"]["channel"], made["awgn"]["channel"]) == ("toy", "awgn")
    assert made["Toy"]["best_loss"] != made["awgn"]["best_loss"]
    kept = list((here / "checkpoints/cache").glob("teacher_sentences_*"))
    assert len(kept) == 2, "of each channel its own"

    student, scores = "Toy/best_student_model.pt", {}
    for name, batch_size in (("toy", 64), ("toy", 5), ("awgn", 64)):
        flags = [*FEW, "--snr", 0, "--channel", name, "--eval-batch-size", batch_size]
        assert package("evaluate", student, *flags, "--output", "e.csv", "--overwrite") == 0
        first = rows_of("e.csv")[0]
        assert first["channel"] == {"toy": "toy zf", "awgn": "awgn"}[name]
        scores[name, batch_size] = float(first["cross_entropy"])
    assert scores["toy", 64] == pytest.approx(scores["toy", 5], rel=1e-5), "a draw belongs to a sentence"
    assert scores["toy", 64] != scores["awgn", 64]

    assert package("transmit", "We support it.", "--checkpoints", student, "--channel", "toy") == 0
    assert "toy" in capsys.readouterr().out
    flags = [
        "--runs",
        "Toy",
        "--teacher-checkpoint",
        teacher,
        *FEW,
        "--no-report",
        "--snr",
        6,
        "--output",
        "a",
    ]
    assert analyse(*flags, "--channel", "awgn", "toy") == 0
    assert {record["channel"] for record in json.loads((here / "a").read_text())["records"]} == {
        "awgn",
        "toy zf",
    }


def test_a_name_that_is_in_no_table_is_refused(toy, teacher, here, capsys):
    refused(capsys, package("evaluate", teacher, "--channel", "fog"), "--channel", "fog", *CHANNELS)
    assert "toy" in CHANNELS


def test_the_experiment_of_channels_follows_the_table(here, capsys):
    assert examples("list") == 0 and examples(7, "--dry-run") == 0
    told = capsys.readouterr().out
    noisy = {name: kind for name, kind in KINDS.items() if kind.noisy and kind.in_experiment}
    assert experiments.NOISY == list(noisy) and "ideal" not in noisy
    assert f"sweep --channel {' '.join(noisy)} " in told
    assert all(kind.title in told for kind in noisy.values())


# ---- doctor and audit, which need more than a map

DOCTOR = ["--sentences", 20, "--draws", 1000, "--corpus-size", 1000, "--snr", 0, 12, "--device", "cpu"]


def checks_of(teacher, name):
    assert package("doctor", teacher, *DOCTOR, "--output", name) == 0
    return {check["name"]: check for check in json.load(open(name))["checks"]}


def test_without_theory_or_counterpart_the_doctor_leaves_it_out_and_the_audit_refuses_it(
    monkeypatch, toy, teacher, here, capsys
):
    with_toy = checks_of(teacher, "with.json")
    refused(
        capsys,
        package("audit", teacher, *FEW, "--channel", "toy"),
        "--channel toy: the public script has no such channel; allowed are awgn, rayleigh, rician",
    )
    monkeypatch.delitem(CHANNELS, "toy")
    assert checks_of(teacher, "without.json") == with_toy and len(with_toy) == 2 + 12 + 10 + 3 + 36


def test_with_theory_and_counterpart_both_take_it_up(monkeypatch, toy, teacher, here, capsys):
    without = checks_of(teacher, "without.json")
    add(monkeypatch, Twin)
    with_twin = checks_of(teacher, "with.json")
    added = {name: check for name, check in with_twin.items() if name not in without}
    assert list(added) == ["toy, 0 dB", "toy, 12 dB", "public toy offset"]
    assert {name: check["measured"] for name, check in with_twin.items() if name in without} == {
        name: check["measured"] for name, check in without.items()
    }
    assert added["public toy offset"]["measured"] == with_twin["public awgn offset"]["measured"]
    assert (
        abs(added["toy, 0 dB"]["measured"]) < 1
        and "here for awgn, rayleigh and toy" in capsys.readouterr().out
    )
    scores = {}
    for name in ("awgn", "toy"):
        assert package("audit", teacher, *FEW, "--snr", 6, "--channel", name, "--output", f"{name}.csv") == 0
        scores[name] = [row["score"] for row in rows_of(f"{name}.csv")]
        assert {row["channel"] for row in rows_of(f"{name}.csv")} == {name}
    assert scores["awgn"] == scores["toy"]
