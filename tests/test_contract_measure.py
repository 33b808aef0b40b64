"""A measure is a row of one table: toys of one entry, in all roles, are measured, tested, recorded and shown
like the others."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import torch
from cli_support import TINY_TRAINING, analyse, distil, package

from semcom.channel.channels import AWGN
from semcom.commands.inputs import load_corpus
from semcom.commands.measuring import test_split as held_out
from semcom.data.batching import collate, encode
from semcom.data.settings import CorpusConfig
from semcom.evaluation import measures, sums
from semcom.evaluation.measures import Measure
from semcom.models import checkpoint
from semcom.models.link import send
from semcom.report import look, render

SNRS, SENTENCES = (0.0, 12.0), 8


def total_variation(rows):
    """[rows] half the sum of |p - q|."""
    return (rows.theirs.logs.exp() - rows.ours.logs.exp()).abs().sum(-1) / 2


TOY = Measure(
    "total_variation",
    (sums.TOKENS, sums.TokenSum("variation", total_variation)),
    lambda tokens, variation: variation / tokens,
    "total variation from the teacher",
    decimals=3,
    better="lower",
    unit="a share",
    short="TV",
    to_teacher=True,
    in_matrix=True,
    tested=True,
    beside_noise=True,
    curve=True,
    gap=True,
    teachers_own=True,
    effect=4,
    followed=4,
    by_snr=6,
    headline=4,
    console=8,
)


def largest(weights, kl):
    """[..., R] the largest KL of a sentence that is in the sample."""
    return np.where(weights > 0, kl[..., None, :], -np.inf).max(-1)


BY_SENTENCE = Measure(
    "largest_kl",
    (sums.KL,),
    largest,
    "largest KL of a sentence",
    decimals=3,
    better="lower",
    unit="nats",
    short="max KL",
    by_sentence=True,
    to_teacher=True,
    in_matrix=True,
    makeup=True,
    effect=5,
    followed=5,
    by_snr=7,
    headline=5,
    console=9,
)


def certainty(rows):
    """[rows] the probability of the most probable piece."""
    return rows.ours.logs.exp().amax(-1)


ALONE = Measure(
    "certainty",
    (sums.TARGETS, sums.TokenSum("certain", certainty, compares=False)),
    lambda targets, certain: certain / targets,
    "certainty of a piece",
    decimals=3,
    better="higher",
    unit="a share",
)


@pytest.fixture(scope="module")
def run(teacher, made_once):
    """A receiver distilled from the tiny teacher."""

    def make(folder):
        flags = ["--epochs", 1, "--distill-part", "decoder", "--output-path", folder / "decoder"]
        assert distil("--teacher-checkpoint", teacher, *TINY_TRAINING, *flags) == 0

    return made_once("a_receiver", make)


def report_with_the_toy(monkeypatch, *runs):
    """In the working directory, of few sentences; pictures take most of a small report's time."""
    monkeypatch.setattr(measures, "MEASURES", (*measures.MEASURES, TOY, BY_SENTENCE))
    blank = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>'
    monkeypatch.setattr(
        render,
        "pictures",
        lambda document: {name: blank for f in document.figures() for name in look.file_names(f.name)},
    )
    small = ["--corpus-size", 1000, "--sentences", SENTENCES, "--replicates", 100, "--quiet"]
    assert analyse("--runs", *runs, *small, "--device", "cpu", "--verbose", "--snr", *SNRS) == 0


def table_of(markdown, *columns):
    """Rows of the one table of report.md with these columns, as dictionaries."""
    tables = [group.splitlines() for group in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)]
    cells = [[[cell.strip() for cell in line.strip("| ").split("|")] for line in table] for table in tables]
    [found] = [table for table in cells if set(columns) <= set(table[0])]
    return [dict(zip(found[0], row)) for row in found[2:]]


def rows_of(path, column):
    """Rows of a CSV file by what stands in a column."""
    found = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            found.setdefault(row[column], []).append(row)
    return found


def by_hand(teacher, run, snr):
    """The toys of the teacher's transmitter and the run's receiver: sentence by sentence, in float64."""
    one = checkpoint.load(teacher)
    student = checkpoint.load(run / "decoder/best_student_model.pt")
    corpus = load_corpus(CorpusConfig(corpus_size=1000), one.vocabulary)
    total = tokens = most = 0
    for e in encode(held_out(corpus, SENTENCES), one.vocabulary):
        batch = collate([e])
        with torch.inference_mode():
            [received] = send(one.model.eval().transmitter, batch, AWGN(), [snr], seed=42).received[0]
            p, q = (
                end.eval().project(end(received, batch.source_mask, batch.target_in)[0]).double().softmax(-1)
                for end in (one.model.receiver, student.model.receiver)
            )
        total += float((p - q).clamp_min(0).sum())
        tokens += len(p)
        most = max(most, float((p * (p / q).log()).sum()))
    return total / tokens, most


def certainty_by_hand(teacher, snr):
    """The other toy of the teacher, in float64."""
    one = checkpoint.load(teacher)
    corpus = load_corpus(CorpusConfig(corpus_size=1000), one.vocabulary)
    found = []
    for e in encode(held_out(corpus, SENTENCES), one.vocabulary):
        batch = collate([e])
        with torch.inference_mode():
            [received] = send(one.model.eval().transmitter, batch, AWGN(), [snr], seed=42).received[0]
            receiver = one.model.receiver
            logits = receiver.project(receiver(received, batch.source_mask, batch.target_in)[0])
        found += logits.double().softmax(-1).amax(-1).tolist()
    return sum(found) / len(found)


def test_a_measure_of_one_entry_is_measured_recorded_and_shown(teacher, run, here, monkeypatch, capsys):
    report_with_the_toy(monkeypatch, run)
    results = json.loads((here / "semantic_analysis_results.json").read_text())
    [record] = results["records"]
    for snr in SNRS:
        value, most = (record["by_snr"][f"{snr:g}"][name] for name in ("total_variation", "largest_kl"))
        assert 0 < value < 1 and (value, most) == pytest.approx(by_hand(teacher, run, snr), rel=1e-3)
    assert record["total_variation"] == record["by_snr"]["12"]["total_variation"]
    report = here / "checkpoints/report"
    with (report / "matrix.csv").open(newline="", encoding="utf-8") as file:
        rows = {(row["pair"], float(row["snr"])): row for row in csv.DictReader(file)}
    ours, noise = rows["teacher → decoder", 12.0], rows["teacher → teacher (other draw)", 12.0]
    value = float(ours["total_variation"])
    assert value == pytest.approx(record["total_variation"])
    assert float(ours["total_variation low"]) < value < float(ours["total_variation high"])
    over_noise = float(ours["total_variation_over_noise"])
    assert over_noise == pytest.approx(value / float(noise["total_variation"]))
    assert float(ours["total_variation_p"]) < 0.05, "of every sentence, the teacher is nearer to itself"
    assert float(rows["teacher → teacher", 12.0]["total_variation"]) == 0
    at_reference = record["by_snr"]["12"]
    assert at_reference["reference_total_variation"] == 0, "the teacher's own"
    assert at_reference["total_variation_gap"] == at_reference["total_variation"]
    page = (report / "report.md").read_text(encoding="utf-8").replace("\\", "")
    low, most, high = (float(ours[f"largest_kl{end}"]) for end in (" low", "", " high"))
    assert low < most == high == record["largest_kl"], "no sample has a larger one than all sentences"
    by_pair = {row["pair"]: row for row in table_of(page, "pair", "max KL")}
    made_of = by_pair["teacher → decoder student, T=4"]
    assert made_of["max KL"] == f"{most:.3f} [{low:.3f}, {high:.3f}]"
    assert "Largest KL of a sentence (nats), by SNR in dB" in page
    shown = table_of(page, "transmitter", "TV")[-1]
    assert shown["TV"].startswith(f"{value:.3f} [") and shown["TV / noise"].startswith(f"{over_noise:.2f} [")
    assert "p (TV)" in shown
    assert "Total variation from the teacher (a share), by SNR in dB." in page
    assert "KL / noise and TV / noise: over the KL and TV of the teacher from itself" in page
    curves = "BLEU, KL to the teacher (nats a token), cross-entropy (nats a token) and total variation from"
    assert curves in page
    out = capsys.readouterr().out
    assert "TV gap" in out and "max KL" in out
    points = rows_of(report / "figures/matrix_by_snr.csv", "measure")
    drawn = points["total variation from the teacher, a share"]
    [at_12] = [row for row in drawn if "decoder student" in row["name"] and float(row["x"]) == 12]
    assert float(at_12["value"]) == pytest.approx(value)


def test_a_measure_is_followed_over_settings_and_seeds(run, here, monkeypatch):
    """By its gap, in trends, their curves and over seeds, of copies of one run said to be four temperatures
    and three seeds."""
    made = json.loads((run / "decoder/distillation_config.json").read_text())
    for temperature in (1.0, 2.0, 4.0, 8.0):
        for seed in (1, 2, 3):
            copy = shutil.copytree(run / "decoder", here / f"runs/T{temperature:g}_{seed}")
            said = made | {"temperature": temperature, "seed": seed}
            (copy / "distillation_config.json").write_text(json.dumps(said))
    report_with_the_toy(monkeypatch, "runs")
    results = json.loads((here / "semantic_analysis_results.json").read_text())
    value = results["records"][0]["total_variation"]
    [study] = results["studies"]
    assert [row["total_variation_gap"]["value"] for row in study["over_seeds"]] == pytest.approx([value] * 4)
    [sweep] = study["trends"]
    assert "total_variation_gap" in sweep["trends"]
    report = here / "checkpoints/report"
    assert {"TV gap"} <= rows_of(report / "tables/trends.csv", "measure").keys()
    over_seeds = rows_of(report / "tables/values_1.csv", "seeds")["3"]
    assert len(over_seeds) == 4 and all("TV gap" in row for row in over_seeds)
    points = rows_of(report / "figures/trend_1.csv", "setting")["temperature"]
    assert [float(row["total_variation_gap"]) for row in points] == pytest.approx([value] * 12)


def test_a_measure_that_needs_no_reference_is_evaluated(teacher, here, monkeypatch, capsys):
    monkeypatch.setattr(measures, "MEASURES", (*measures.MEASURES, TOY, ALONE))
    small = ["--corpus-size", 1000, "--sentences", SENTENCES, "--quiet", "--device", "cpu"]
    assert package("evaluate", teacher, *small, "--snr", *SNRS, "--output", "own.csv") == 0
    out = capsys.readouterr().out
    rows = rows_of(here / "own.csv", "topic")[""]
    assert [row["model"] for row in rows][-1] == "(floor)" and rows[-1]["certainty"] == ""
    assert "total_variation" not in rows[0], "it needs a reference"
    values = [float(row["certainty"]) for row in rows[:-1]]
    assert values == pytest.approx([certainty_by_hand(teacher, snr) for snr in SNRS], rel=1e-3)
    [table] = re.findall(r"\ncertainty of a piece, a share\n((?:.+\n)+)", out)
    assert table.splitlines()[-1].split()[-2:] == [f"{value:.4f}" for value in values]
