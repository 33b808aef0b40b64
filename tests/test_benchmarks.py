"""The baseline of the benchmarks computes what semcom computes, and each script runs and writes its
records."""

import json

import pytest
import torch

from benchmarks import (
    decoding,
    default_run,
    distillation_step,
    harness,
    memory,
    precision,
    roofline,
    scaling,
    teacher_top_k,
    textbook,
    training_step,
)
from semcom.channel.channels import AWGN
from semcom.data.vocabulary import PAD
from semcom.distillation.objectives import TransceiverObjective

SHAPE = harness.QUICK


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(harness, "SPINNING", 0.0)


def run(script, *arguments, file):
    script.main(["--quick", "--json", str(file), *arguments])
    return {record["measure"]: record for record in json.loads(file.read_text())}


def check(records, *measures):
    assert records.keys() == set(measures)
    for record in records.values():
        assert record["baseline"] > 0 and record["ours"] > 0
        quotient = record["baseline"] / record["ours"]
        assert record["ratio"] == pytest.approx(quotient if record["unit"] == "s" else 1 / quotient)
        assert record["command"].startswith("python benchmarks/") and "--quick" in record["command"]


@pytest.mark.parametrize(
    "compiled", [False, pytest.param(True, marks=pytest.mark.native)], ids=["eager", "compiled"]
)
@pytest.mark.parametrize("distil", [True, False])
def test_loss_and_gradients_are_ours(distil, compiled):
    teacher, student = harness.pair(SHAPE, dropout=0.0)
    plain = textbook.Distillation(
        textbook.like(student),
        textbook.like(teacher) if distil else None,
        temperature=harness.TEMPERATURE,
        weight=harness.DISTILL_WEIGHT,
    )
    objective = (
        harness.objective_of(teacher, student, compiled=compiled)
        if distil
        else TransceiverObjective(student, AWGN(), harness.SNR_RANGE, compiled=compiled)
    )
    batch = harness.batch_of(SHAPE)
    theirs, ours = (
        harness.textbook_loss(plain, SHAPE, batch),
        harness.loss_of(objective, batch, SHAPE.channel_dim),
    )
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=0)
    theirs.backward()
    ours.backward()
    gradients = dict(student.named_parameters())
    for name, parameter in plain.student.named_parameters():
        difference = (parameter.grad - gradients[name].grad).norm() / parameter.grad.norm()
        assert difference < 1e-4 or gradients[name].grad.norm() < 1e-6, name  # keys have no use for a bias


def test_a_loss_that_is_not_ours_stops_the_benchmark(monkeypatch):
    monkeypatch.setattr(textbook, "cross_entropy", lambda logits, targets: logits.square().mean())
    with pytest.raises(SystemExit, match="do not compute the same loss"):
        harness.check_loss(SHAPE, harness.batch_of(SHAPE))


def test_padding_changes_nothing_of_the_textbooks_loss():
    _, student = harness.pair(SHAPE, dropout=0.0)
    plain = textbook.Distillation(textbook.like(student), None)
    batch = harness.batch_of(SHAPE)
    draw = batch.draw(AWGN(), SHAPE.channel_dim, seed=0, number=1)
    wide = (
        torch.nn.functional.pad(batch.source, (0, 5), value=PAD),
        torch.nn.functional.pad(draw.noise, (0, 0, 0, 5)),
    )
    snr = draw.snr_between(*harness.SNR_RANGE)
    torch.testing.assert_close(plain.loss(*wide, snr), plain.loss(batch.source, draw.noise, snr))


@pytest.mark.parametrize("last_only", [False, True])
def test_uncached_decoding_is_ours(last_only):
    model = harness.never_ending(harness.build(SHAPE.architecture(2, dropout=0.0), 0))
    batch = harness.batch_of(SHAPE)
    with harness.forced(harness.STEPS):
        theirs = decoding.uncached(textbook.like(model), batch, project_last_only=last_only)
        ours = decoding.cached(model, batch)
    decoding.agree("textbook", theirs, ours, model.receiver, harness.received_of(model, batch), batch)
    assert len({tuple(tokens) for tokens in ours}) > 1
    theirs[1][3] += 1
    with pytest.raises(SystemExit, match="sentence 1, token 3: .* no tie"):
        decoding.agree("textbook", theirs, ours, model.receiver, harness.received_of(model, batch), batch)


@pytest.mark.processes
def test_distillation_step(tmp_path):
    check(
        run(distillation_step, "--rounds", "1", file=tmp_path / "records.json"),
        "distillation_step_fp32",
        "distillation_step_best",
        "distillation_step_best_against_bf16",
        "distillation_step_best_default_allocator",
    )


@pytest.mark.native
def test_training_step(tmp_path, capsys):
    check(run(training_step, "--batches", "2", file=tmp_path / "records.json"), "training_step")
    assert ", compiled |" in capsys.readouterr().out


def test_training_step_on_a_corpus_without_a_compiler(tmp_path, sentences, monkeypatch, capsys):
    monkeypatch.setattr(training_step, "cannot_compile", lambda device: "no C++ compiler was found")
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(s.text for s in sentences))
    check(
        run(
            training_step,
            "--batches",
            "1",
            "--corpus",
            str(corpus),
            "--vocab-size",
            "350",
            file=tmp_path / "records.json",
        ),
        "training_step",
    )
    assert "no compiled step: no C++ compiler was found" in capsys.readouterr().out


def test_decoding(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(decoding.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(decoding.native, "cannot_compile", lambda sources: "no C++ compiler was found")
    check(run(decoding, "--rounds", "1", file=tmp_path / "records.json"), "greedy_decoding")
    printed = capsys.readouterr().out
    assert "CTranslate2 is not installed" in printed and "no compiled decoder: no C++ compiler" in printed


@pytest.mark.native
def test_decoding_against_ctranslate2(tmp_path, capsys):
    pytest.importorskip("ctranslate2", reason="the extra 'bench' is not installed")
    check(
        run(decoding, "--rounds", "1", file=tmp_path / "records.json"),
        "greedy_decoding",
        "greedy_vs_ctranslate2",
        "beam_vs_ctranslate2",
    )
    assert "| ours, compiled, all at once |" in capsys.readouterr().out


@pytest.mark.processes
def test_memory(tmp_path):
    records = run(memory, "--sides", "fp32", "--steps", "1", file=tmp_path / "records.json")
    check(records, "peak_memory")
    assert records["peak_memory"]["baseline"] > 1e6


def test_scaling(tmp_path, monkeypatch, capsys):
    def grows(side, shape, steps):
        weights = memory.weights_of(side, shape)
        return {"peak": weights + 1000 * shape.batch_size, "weights": weights, "seconds": shape.vocab_size}

    monkeypatch.setattr(memory, "measure_apart", grows)
    records = run(scaling, file=tmp_path / "records.json")
    check(records, "memory_at_twice_the_vocabulary")
    assert records["memory_at_twice_the_vocabulary"]["ratio"] == 1
    printed = capsys.readouterr().out
    assert all(f"By {way}" in printed for way in ("V,", "T,", "B,", "student's layers", "sentences"))
    assert "2.00 / 1.00" in printed


def test_decoding_can_be_measured_for_memory():
    assert memory.measure("greedy", SHAPE, 1)["seconds"] > 0


def test_teacher_top_k(tmp_path):
    records = run(teacher_top_k, file=tmp_path / "records.json")
    for t in (1, 4):
        parts = [records[f"kd_over_top_{k}_at_T_{t}"] for k in teacher_top_k.NUMBERS]
        assert [part["ours"] for part in parts] == sorted(part["ours"] for part in parts)
        assert all(0 < part["ours"] < part["baseline"] for part in parts)
    assert records["loss_over_top_50"]["ours"] > 0


def test_roofline(tmp_path):
    check(
        run(roofline, "--rounds", "1", file=tmp_path / "records.json"),
        "share_of_machine_fp32",
        "share_of_machine_bf16",
    )


def test_a_linear_layer_is_counted_by_hand():
    assert roofline.linear(10, 4, 6) == roofline.Work(2 * 10 * 4 * 6, 4 * (10 * 4 + 10 * 6 + 4 * 6))


@pytest.mark.parametrize("script", [decoding, distillation_step, memory, roofline, scaling, training_step])
def test_help_names_the_command(script, capsys):
    with pytest.raises(SystemExit, match="^0$"):
        script.main(["--help"])
    assert f"python benchmarks/{script.SCRIPT} " in capsys.readouterr().out


def test_sentences_have_the_lengths_of_the_issue():
    lengths = [len(e.source) for e in harness.sentences(harness.Shape(vocab_size=100), 4000)]
    assert min(lengths) >= 7 and max(lengths) == 32
    assert sum(lengths) / len(lengths) == pytest.approx(21, abs=0.6)


@pytest.mark.native
@pytest.mark.processes
@pytest.mark.slow
def test_precision(tmp_path):
    records = run(precision, file=tmp_path / "p.json")
    ways = ("bf16", "fp32_compiled", "bf16_compiled")
    steps = [f"here_{way}_step_at_width_{width}_v300" for width in (16, 32) for way in ways]
    check(records, *steps, "here_decoding_at_width_16_v300", "here_decoding_at_width_32_v300")


@pytest.mark.native
@pytest.mark.processes
@pytest.mark.slow
def test_default_run(tmp_path, capsys):
    check(run(default_run, "--first", file=tmp_path / "d.json"), "default_run", "default_run_first")
    said = capsys.readouterr().out
    assert "a short run" in said and said.count("as asked for") == 4
