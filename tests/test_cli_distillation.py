"""``python distillation.py`` by running it: files, modes, hybrids, repeatability, bad input."""

import csv
import json

import pytest
import torch
from cli_support import TINY_TRAINING, distil, hidden, refused, script, train_tiny_teacher

from semcom.base import locks
from semcom.base.errors import SemcomError
from semcom.base.flags import settings_of
from semcom.commands import parsers
from semcom.commands.distil_settings import DistilSettings
from semcom.models import checkpoint
from semcom.models.kernels import native
from semcom.models.settings import PARTS, RECEIVER_PARTS, TRANSMITTER_PARTS
from semcom.report import look

pytestmark = pytest.mark.usefixtures("no_scores")

KEYS = [
    "temperature",
    "distill_weight",
    "distill_part",
    "d_model",
    "dff",
    "num_heads",
    "student_layers",
    "teacher_layers",
    "channel",
    "best_loss",
    "best_epoch",
    "teacher_params",
    "student_params",
    "compression_ratio",
    "create_hybrid",
    "hybrid_output",
    "seed",
    "lr",
    "batch_size",
    "snr_range",
    "torch",
    "threads",
    "corpus_fingerprint",
    "vocabulary_fingerprint",
    "split_sizes",
    "precision",
    "wall_seconds",
    "steps_done",
]


def tiny(teacher, *flags):
    return [
        *(() if "--teacher-checkpoint" in flags else ("--teacher-checkpoint", teacher)),
        *TINY_TRAINING,
        *(() if {"--epochs", "--steps", "--minutes"} & set(flags) else ("--steps", 2)),
        *flags,
    ]


def weights(path, *parts):
    model = checkpoint.load(path).model
    return {f"{p}.{name}": tensor for p in parts for name, tensor in model.part(p).state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.scores
@pytest.mark.draws("png")
def test_a_run_leaves_its_files(teacher, here, capsys):
    assert distil(*tiny(teacher, "--create-hybrid", "--corpus-size", 60, "--epochs", 10)) == 0
    out = capsys.readouterr().out
    folder = here / "checkpoints/distillation"
    assert {p.name for p in folder.iterdir()} == {
        "final_student_model.pt",
        "best_student_model.pt",
        "student_model_epoch10.pt",
        "snapshots.pt",
        "distillation_config.json",
        "history.csv",
        *look.with_print("training_curves.png", "temperature_effect.png"),
    }
    record = json.loads((folder / "distillation_config.json").read_text())
    assert [key for key in KEYS if key not in record] == []
    assert record["temperature"] == 4.0 and record["student_layers"] == 2 and record["teacher_layers"] == 3
    assert record["compression_ratio"] == pytest.approx(record["teacher_params"] / record["student_params"])
    history = list(csv.DictReader((folder / "history.csv").open()))
    assert len(history) == 10
    assert record["best_loss"] == min(float(row["validation"]) for row in history)
    assert float(history[record["best_epoch"] - 1]["validation"]) == record["best_loss"]
    for picture in ("training_curves.png", "temperature_effect.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    assert "ends of a full-mode hybrid never met" in out
    for word in ("teacher", "student", "hybrid", "BLEU", "made", "next:"):
        assert word in out
    assert not hidden(here)


@pytest.mark.parametrize(
    ("part", "trained", "frozen"),
    [("encoder", TRANSMITTER_PARTS, RECEIVER_PARTS), ("decoder", RECEIVER_PARTS, TRANSMITTER_PARTS)],
)
def test_part_modes_freeze_the_other_end_and_the_hybrid_is_the_student(
    teacher, here, capsys, part, trained, frozen
):
    assert distil(*tiny(teacher, "--distill-part", part, "--create-hybrid")) == 0
    best = here / f"checkpoints/distillation_{part}/best_student_model.pt"
    hybrid = here / "checkpoints/hybrid_model.pt"
    assert same(weights(best, *frozen), weights(teacher, *frozen))
    assert not same(weights(best, *trained), weights(teacher, *trained))
    assert same(weights(best, *PARTS), weights(hybrid, *PARTS))
    assert "student and hybrid are the same pair" in capsys.readouterr().out
    origin = checkpoint.load(hybrid).origin
    assert all("student" in origin[p] for p in trained) and all("student" not in origin[p] for p in frozen)


def test_same_seed_same_numbers_and_another_seed_others(teacher, here, capsys):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        assert (
            distil(
                *tiny(
                    teacher, "--output-path", name, "--seed", seed, "--student-init", "random", "--epochs", 1
                )
            )
            == 0
        )
    a, b, c = (weights(here / name / "final_student_model.pt", *PARTS) for name in "abc")
    assert same(a, b) and not same(a, c)
    losses = [
        json.loads((here / name / "distillation_config.json").read_text())["best_loss"] for name in "abc"
    ]
    assert losses[0] == losses[1] != losses[2]


def test_full_hybrid_takes_the_students_receiver_and_parts_can_be_named(teacher, here, capsys):
    assert (
        distil(
            *tiny(
                teacher,
                "--create-hybrid",
                "--steps",
                2,
                "--output-path",
                "full",
                "--hybrid-output",
                "full.pt",
            )
        )
        == 0
    )
    assert same(weights("full.pt", *TRANSMITTER_PARTS), weights(teacher, *TRANSMITTER_PARTS))
    assert same(weights("full.pt", *RECEIVER_PARTS), weights("full/best_student_model.pt", *RECEIVER_PARTS))
    assert (
        distil(
            *tiny(
                teacher,
                "--create-hybrid",
                "--steps",
                2,
                "--output-path",
                "one",
                "--hybrid-output",
                "one.pt",
                "--hybrid-parts",
                "channel_decoder",
            )
        )
        == 0
    )
    assert same(weights("one.pt", "channel_decoder"), weights("one/best_student_model.pt", "channel_decoder"))
    assert same(
        weights("one.pt", "encoder", "channel_encoder", "decoder"),
        weights(teacher, "encoder", "channel_encoder", "decoder"),
    )


def test_narrow_random_student_splices(teacher, here, capsys):
    assert (
        distil(
            *tiny(
                teacher,
                "--distill-part",
                "decoder",
                "--student-d-model",
                8,
                "--student-heads",
                1,
                "--student-layers",
                1,
                "--student-init",
                "random",
                "--create-hybrid",
                "--steps",
                2,
            )
        )
        == 0
    )
    size = checkpoint.load("checkpoints/hybrid_model.pt").model.architecture
    assert (
        size.receiver.d_model,
        size.receiver.layers,
        size.transmitter.d_model,
        size.transmitter.layers,
    ) == (8, 1, 16, 3)


def test_student_checkpoint_is_the_start(teacher, here, capsys):
    assert distil(*tiny(teacher, "--output-path", "first", "--steps", 2)) == 0
    assert (
        distil(
            *tiny(
                teacher,
                "--output-path",
                "second",
                "--steps",
                2,
                "--student-checkpoint",
                "first/best_student_model.pt",
                "--lr",
                1e-12,
            )
        )
        == 0
    )
    first, second = (weights(f"{name}/best_student_model.pt", *PARTS) for name in ("first", "second"))
    assert all(torch.allclose(first[name], second[name], atol=1e-7) for name in first)
    capsys.readouterr()
    refused(
        capsys,
        distil(*tiny(teacher, "--student-checkpoint", "first/best_student_model.pt", "--student-layers", 1)),
        "--student-checkpoint",
        "2 layers",
        "--student-layers 2",
    )


def test_temperature_and_weight_reach_the_loss(teacher, here, capsys):
    for name, flags in (
        ("t1", ["--temperature", 1]),
        ("t8", ["--temperature", 8]),
        ("w0", ["--distill-weight", 0]),
    ):
        assert (
            distil(*tiny(teacher, "--output-path", name, "--steps", 2, "--student-init", "random", *flags))
            == 0
        )
    rows = {name: next(csv.DictReader(open(f"{name}/history.csv"))) for name in ("t1", "t8", "w0")}
    assert rows["t1"]["train_kd"] != rows["t8"]["train_kd"]
    assert "train_kd" not in rows["w0"] and rows["w0"]["loss"] == rows["w0"]["train_ce"]
    t1 = {name: float(value) for name, value in rows["t1"].items()}
    assert t1["loss"] == pytest.approx(0.3 * t1["train_ce"] + 0.7 * t1["train_kd"])


def test_features_are_a_term_of_the_loss(teacher, here, capsys):
    for part, names in (
        ("encoder", {"train_signal"}),
        ("decoder", {"train_decoder"}),
        ("full", {"train_signal", "train_decoder"}),
    ):
        assert (
            distil(
                *tiny(
                    teacher,
                    "--output-path",
                    part,
                    "--steps",
                    2,
                    "--distill-part",
                    part,
                    "--feature-weight",
                    0.5,
                )
            )
            == 0
        )
        row = next(csv.DictReader(open(f"{part}/history.csv")))
        assert {name for name in row if name in ("train_signal", "train_decoder")} == names


@pytest.mark.slow
@pytest.mark.draws("png")
def test_all_terms_at_once_are_logged_and_recorded(teacher, here, capsys):
    assert (
        distil(
            *tiny(
                teacher,
                "--output-path",
                "all",
                "--epochs",
                2,
                "--standardize-logits",
                "--kd-loss",
                "skl",
                "--skew",
                0.2,
                "--scales",
                1,
                2,
                "--cross-weight",
                0.25,
                "--encoder-weight",
                0.5,
                "--feature-weight",
                0.125,
                "--temperature-schedule",
                "linear",
                "--final-temperature",
                0.5,
                "--weight-schedule",
                "snr",
                "--final-weight",
                0.1,
            )
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "skl of standardised logits, T=1 to 0.5 (linear), weight 0.7 to 0.1 (snr), scales 1 2" in out
    first, last = csv.DictReader(open("all/history.csv"))
    assert (
        float(first["temperature"]) == pytest.approx(0.75)
        and float(last["temperature"]) == pytest.approx(0.5)
        and first["weight"] == ""
    )
    row = {name: float(value) for name, value in first.items() if value}
    parts = {
        "distillation": 1,
        "scales": 1,
        "encoder": 0.5,
        "signal": 0.125,
        "decoder": 0.125,
        "cross_transmitter": 0.25,
        "cross_receiver": 0.25,
    }
    assert row["loss"] == pytest.approx(sum(weight * row[f"train_{name}"] for name, weight in parts.items()))
    assert 0 <= row["train_complementary"] < 1 and {"train_ce", "train_kd"} <= row.keys()
    record = json.loads(open("all/distillation_config.json").read())
    assert [
        record[name]
        for name in (
            "kd_loss",
            "standardize_logits",
            "skew",
            "scales",
            "cross_weight",
            "temperature",
            "final_temperature",
        )
    ] == ["skl", True, 0.2, [1, 2], 0.25, 1.0, 0.5]


@pytest.mark.scores
@pytest.mark.slow
def test_several_teachers_and_their_sentences(teacher, here, capsys):
    other = train_tiny_teacher(here, "--seed", 7)
    flags = [
        "--teacher-checkpoint",
        teacher,
        other,
        "--teacher-weights",
        2,
        1,
        "--teacher-mean",
        "probabilities",
        "--sequence-level",
        1,
    ]
    for name in ("first", "again"):
        assert (
            distil(
                *tiny(teacher)[2:], "--steps", 2, "--distill-part", "decoder", "--output-path", name, *flags
            )
            == 0
        )
    out = capsys.readouterr().out
    assert (
        out.count("greedy decoding") == 1
        and out.count("; read from checkpoints/cache/teacher_sentences_") == 1
    )
    record = json.loads(open("first/distillation_config.json").read())
    assert record["teachers"] == [[str(path), checkpoint.load(path).fingerprint] for path in (teacher, other)]
    assert (
        json.loads(open("again/distillation_config.json").read())["teacher_sentences"]
        == (record["teacher_sentences"])
    )
    assert record["teacher_checkpoint"] == str(teacher)
    assert same(
        weights("first/best_student_model.pt", *PARTS), weights("again/best_student_model.pt", *PARTS)
    )
    assert same(
        weights("first/best_student_model.pt", *TRANSMITTER_PARTS), weights(teacher, *TRANSMITTER_PARTS)
    )


def test_teachers_that_do_not_fit_together_are_refused(teacher, here, capsys):
    wide = train_tiny_teacher(here, "--channel-dim", 20)
    capsys.readouterr()
    refused(
        capsys,
        distil(*tiny(teacher)[2:], "--teacher-checkpoint", teacher, wide),
        "--teacher-checkpoint",
        "signal width C=20",
        "has 16",
    )
    assert not (here / "checkpoints").exists()


def test_default_path_sets_the_earlier_run_aside_and_a_named_one_is_refused(teacher, here, capsys):
    for _ in range(2):
        assert distil(*tiny(teacher, "--steps", 2, "--create-hybrid")) == 0
    assert (
        "kept the earlier checkpoints/distillation as checkpoints/distillation.before-1"
        in capsys.readouterr().out
    )
    assert (here / "checkpoints/distillation.before-1/best_student_model.pt").is_file()
    assert (here / "checkpoints/hybrid_model.before-1.pt").is_file()
    before = (here / "checkpoints/distillation/best_student_model.pt").read_bytes()
    code = distil(*tiny(teacher, "--steps", 2, "--output-path", "checkpoints/distillation"))
    refused(capsys, code, "--output-path checkpoints/distillation", "--overwrite")
    assert (here / "checkpoints/distillation/best_student_model.pt").read_bytes() == before
    assert (
        distil(*tiny(teacher, "--steps", 2, "--output-path", "checkpoints/distillation", "--overwrite")) == 0
    )


@pytest.mark.scores
def test_topics_are_a_knob_and_the_teacher_need_not_share_them(teacher, here, capsys):
    assert distil(*tiny(teacher, "--steps", 2, "--exclude-topics", "fisheries", "health")) == 0
    record = json.loads((here / "checkpoints/distillation/distillation_config.json").read_text())
    assert "fisheries" not in record["topics_seen"] and "energy" in record["topics_seen"]
    assert record["topics_by_end"] == {
        "transmitter": record["topics_seen"],
        "receiver": record["topics_seen"],
    }
    out = capsys.readouterr().out
    assert "not seen apart" in out and "may have seen them" in out
    assert (
        distil(
            *tiny(
                teacher,
                "--steps",
                2,
                "--distill-part",
                "decoder",
                "--exclude-topics",
                "health",
                "--create-hybrid",
            )
        )
        == 0
    )
    pair = checkpoint.load("checkpoints/hybrid_model.pt")
    seen = pair.topics_by_end()
    assert (
        "health" in seen["transmitter"]
        and "health" not in seen["receiver"]
        and pair.seen_topics() == seen["receiver"]
    )


@pytest.mark.scores
def test_real_text_with_one_more_flag(teacher, here, capsys):
    text = here / "own.en"
    text.write_text(
        "\n".join(f"the committee has adopted report number {n} on the budget." for n in range(300)) + "\n"
    )
    assert distil(*tiny(teacher, "--steps", 2, "--corpus", text, "--corpus-size", "all")) == 0
    assert "300 sentences of" in capsys.readouterr().out


WRONG = [
    (["--temperature", "0"], ["--temperature 0", "above 0"]),
    (["--student-layers", "9"], ["--student-layers 9", "3 layers", "--student-init random"]),
    (["--student-d-model", "15", "--student-init", "random"], ["--student-heads 2", "does not divide"]),
    (["--student-d-model", "8"], ["--student-init teacher", "--student-init random"]),
    (["--channel", "fog"], ["--channel", "fog", "rayleigh"]),
    (["--device", "tpu"], ["--device tpu", "--device cpu"]),
    (["--topics", "astrology"], ["--topics astrology", "fisheries"]),
    (["--corpus", "absent.en"], ["--corpus absent.en", "no such file"]),
    (["--teacher-checkpoint", "absent.pt"], ["absent.pt", "python -m semcom train"]),
    (["--num-layers", "3"], ["--num-layers", "--student-layers"]),
    (["--no-such-flag"], ["--no-such-flag", "--help"]),
    (["--output-path", "x" * 300], ["--output-path xxx", "a name of 300 bytes"]),
    (["--output-path", "/"], ["--output-path /"]),
]
# What the settings refuse; ``WRONG`` takes one of each kind through the command.
WRONG_SETTINGS = [
    (["--temperature", "0"], ["--temperature 0", "above 0"]),
    (["--temperature", "nan"], ["--temperature nan"]),
    (["--distill-weight", "1.5"], ["--distill-weight 1.5", "0 to 1"]),
    (["--batch-size", "0"], ["--batch-size 0"]),
    (["--epochs", "0"], ["--epochs 0"]),
    (["--student-layers", "0"], ["--student-layers 0"]),
    (["--snr-range", "18", "-6"], ["--snr-range 18 -6", "LOW not above HIGH"]),
    (["--snr-range", "nan", "3"], ["--snr-range nan 3"]),
    (["--lr", "inf"], ["--lr inf"]),
    (["--rician-k", "-1"], ["--rician-k -1"]),
    (["--channel", "fog"], ["--channel", "fog", "rayleigh"]),
    (["--distill-part", "middle"], ["--distill-part", "middle", "decoder"]),
    (["--hybrid-output", "h.pt"], ["--hybrid-output h.pt", "--create-hybrid"]),
    (["--num-layers", "3"], ["--num-layers", "--student-layers"]),
    (["--vocab-file", "v.json"], ["--vocab-file", "teacher's checkpoint"]),
    (["--MAX-LENGTH", "30"], ["--MAX-LENGTH", "--max-length"]),
    (["--steps", "3", "--minutes", "1"], ["--steps 3", "--minutes 1"]),
    (["--min-length", "9", "--max-length", "5"], ["--min-length 9", "--max-length 5"]),
    (["--no-such-flag"], ["--no-such-flag", "--help"]),
    (["--corpus-size", "many"], ["--corpus-size", "many", "'all'"]),
    (["--max-length", "20"], ["--max-length 20", "--corpus"]),
    (
        ["--kd-loss", "dkd", "--scales", "1", "2"],
        ["--scales with --kd-loss dkd", "no one right piece", "jsd or skl"],
    ),
    (["--cross-weight", "1", "--distill-part", "encoder"], ["--cross-weight 1", "--distill-part full"]),
    (["--teacher-weights", "2", "1"], ["--teacher-weights 2 1: 2 for 1 --teacher-checkpoint"]),
    (["--teacher-mean", "probabilities"], ["--teacher-mean probabilities", "one teacher"]),
    (
        ["--teacher-checkpoint", "a", "b", "--teacher-mean", "probabilities", "--standardize-logits"],
        ["no logits to standardise", "--teacher-mean logits"],
    ),
    (
        ["--teacher-checkpoint", "a", "b", "--distill-weight", "0"],
        ["--distill-weight 0", "second teacher", "give one"],
    ),
    (
        ["--decoder-weight", "1", "--distill-part", "encoder"],
        ["--decoder-weight 1", "--distill-part encoder trains the other end"],
    ),
]


@pytest.mark.parametrize(
    ("flags", "words"), WRONG_SETTINGS, ids=[" ".join(flags)[:60] for flags, _ in WRONG_SETTINGS]
)
def test_wrong_settings_are_refused_in_one_line(flags, words):
    with pytest.raises(SemcomError) as error:
        settings_of(DistilSettings, parsers.distillation_parser().parse_args(flags))
    message = str(error.value)
    assert "\n" not in message and [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(("flags", "words"), WRONG, ids=[" ".join(flags) for flags, _ in WRONG])
def test_wrong_input_is_one_line_and_leaves_nothing(teacher, here, capsys, flags, words):
    refused(capsys, distil(*tiny(teacher, *flags)), *words)
    assert not [path for path in here.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_absent_cuda_is_said(teacher, here, capsys):
    refused(capsys, distil(*tiny(teacher), "--device", "cuda"), "--device cuda", "--device cpu")


def test_corpora_that_leave_nothing(teacher, here, capsys):
    (here / "empty.en").write_text("")
    refused(capsys, distil(*tiny(teacher, "--corpus", "empty.en")), "no sentence survives")
    (here / "short.en").write_text("too short\n" * 50)
    refused(capsys, distil(*tiny(teacher, "--corpus", "short.en")), "no sentence survives", "--min-length")
    (here / "few.en").write_text("this one is long enough\n")
    refused(capsys, distil(*tiny(teacher, "--corpus", "few.en")), "leave none for")


def test_nothing_is_set_aside_by_a_run_that_is_refused(teacher, here, capsys):
    assert distil(*tiny(teacher, "--steps", 2)) == 0
    (here / "taken.pt").write_text("mine")
    refused(
        capsys,
        distil(*tiny(teacher, "--create-hybrid", "--hybrid-output", "taken.pt")),
        "--hybrid-output taken.pt",
        "--overwrite",
    )
    left = {path.name for path in (here / "checkpoints").iterdir()}
    assert left == {"distillation", ".distillation.lock"} and (here / "taken.pt").read_text() == "mine"


def test_outputs_that_are_inputs_are_refused(teacher, here, capsys):
    mine = here / "mine.pt"
    mine.write_bytes(teacher.read_bytes())
    refused(
        capsys,
        distil(*tiny(mine, "--create-hybrid", "--hybrid-output", mine, "--overwrite")),
        "--hybrid-output",
        "is an input",
    )
    assert mine.read_bytes() == teacher.read_bytes()
    (here / "text").mkdir()
    (here / "text/own.en").write_text("the report was adopted today.\n")
    refused(
        capsys,
        distil(*tiny(teacher, "--corpus", "text", "--output-path", "text/run")),
        "--output-path text/run",
        "lies inside",
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--temperature", 0.5], ["under 1"]),
        (["--temperature", 16, "--distill-weight", 0.96], ["over 15", "over 0.95"]),
    ],
)
def test_unwise_settings_get_a_line_and_go_on(teacher, here, capsys, flags, words):
    assert distil(*tiny(teacher, "--steps", 1, *flags)) == 0
    lines = capsys.readouterr().out.splitlines()
    for word in words:
        assert sum(word in line for line in lines) == 1


@pytest.mark.scores
def test_compile_without_a_compiler_warns_and_goes_on(teacher, here, capsys, monkeypatch):
    monkeypatch.setenv("CXX", "")
    monkeypatch.setenv("PATH", "")
    assert distil(*tiny(teacher, "--steps", 2, "--compile")) == 0
    assert "warning: --compile: no C++ compiler was found; going on without" in capsys.readouterr().out
    record = json.loads((here / "checkpoints/distillation/distillation_config.json").read_text())
    assert record["compile"] == "off"


@pytest.mark.scores
@pytest.mark.native
@pytest.mark.parametrize(
    "flags",
    [[], ["--kd-loss", "dkd"], ["--precision", "bf16", "--distill-part", "decoder"]],
    ids=["kd", "dkd", "bf16"],
)
def test_a_compiled_run_is_the_plain_one_but_for_rounding(teacher, here, capsys, flags, monkeypatch):
    """But for the units dropped too: with padding or without, they are others."""
    calls, work, validation = [], native.call, {}
    monkeypatch.setattr(
        native,
        "call",
        lambda function, *given, **members: calls.append(function) or work(function, *given, **members),
    )
    for compiled in ([], ["--compile"]):
        assert distil(*tiny(teacher, "--steps", 6, *flags, *compiled, "--output-path", f"run{compiled}")) == 0
        validation[bool(compiled)] = json.loads(
            (here / f"run{compiled}/distillation_config.json").read_text()
        )["best_loss"]
        assert ("attention" in calls) == bool(compiled)
    assert "going on without" not in capsys.readouterr().out
    assert validation[True] == pytest.approx(validation[False], rel=0.03)


def test_a_loss_that_is_not_finite_keeps_the_last_good_student(teacher, here, capsys, monkeypatch):
    from semcom.distillation import fused_linear_loss

    plain, calls = fused_linear_loss.distillation, []

    def breaks(*args, **choice):
        calls.append(1)
        sums = plain(*args, **choice)
        return sums._replace(loss=sums.loss * (float("nan") if len(calls) > 12 else 1))

    monkeypatch.setattr(fused_linear_loss, "distillation", breaks)
    refused(capsys, distil(*tiny(teacher, "--epochs", 20)), "the loss is nan in epoch", "step", "--lr")
    assert checkpoint.load(here / "checkpoints/distillation/best_student_model.pt")


def test_interrupt_keeps_the_best_student(teacher, here, capsys, monkeypatch):
    from semcom.distillation import training_loop

    plain, calls = training_loop.Loop.step, []

    def interrupted(*args, **choice):
        calls.append(1)
        if len(calls) > 6:
            raise KeyboardInterrupt
        return plain(*args, **choice)

    monkeypatch.setattr(training_loop.Loop, "step", interrupted)
    assert distil(*tiny(teacher, "--epochs", 20)) == 130
    assert "interrupted in epoch 2" in capsys.readouterr().err
    assert checkpoint.load(here / "checkpoints/distillation/best_student_model.pt")
    assert json.loads((here / "checkpoints/distillation/distillation_config.json").read_text())["stopped"]


def test_out_of_memory_names_the_batch_size(teacher, here, capsys, monkeypatch):
    from semcom.distillation import training_loop

    def full(*args, **choice):
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to "
            "allocate 9 bytes"
        )

    monkeypatch.setattr(training_loop.Loop, "step", full)
    refused(capsys, distil(*tiny(teacher)), "--batch-size")


def test_a_second_run_is_kept_out_of_the_folder(teacher, here, capsys):
    with locks.hold("--output-path", here / "checkpoints/distillation"):
        refused(capsys, distil(*tiny(teacher)), "--output-path", "another run", "is writing there")


def test_script_help_is_quick_grouped_and_shows_defaults(here):
    done = script("distillation.py", "--help")
    assert done.returncode == 0 and not done.stderr
    for word in (
        "--temperature T",
        "(default 4 for kd and dkd",
        "Distillation:",
        "The physical channel",
        "(default 0.7)",
    ):
        assert word in done.stdout


def test_debug_shows_the_traceback(teacher, here, capsys):
    assert distil(*tiny(teacher, "--temperature", 0, "--debug")) == 2
    assert "Traceback" in capsys.readouterr().err
