"""What the plain command chooses: on machines of every kind, with and without a compiler, for runs of every
length; and what it says of it."""

import json
import math
import platform
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cli_support import ROOT, TINY_TRAINING, analyse, distil, package
from toy import CPU, encoded, size, transceiver

from semcom.base import fastest
from semcom.base.errors import SemcomError
from semcom.base.fastest import KINDS, Machine, Way, Work, choose
from semcom.base.flags import settings_of
from semcom.base.settings import ResumeConfig
from semcom.commands import chosen_way, parsers, resuming
from semcom.commands.chosen_way import of_training, work_of_training
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.recorded_flags import other_flag
from semcom.distillation import fused_linear_loss
from semcom.distillation.training_settings import TrainingConfig
from semcom.evaluation.settings import EvaluationConfig
from semcom.models.decoding import Search
from semcom.models.kernels import native

CUDA = torch.device("cuda")
LONG, SHORT = Work(128), Work(128, 1.0)
EPYC = Machine("AMD EPYC", "avx512_bf16", "g++")
# What is right, by hand: by kind of machine, width of the model, and whether something compiles.
RIGHT = {
    ("amx", 64, True): ("fp32", True),
    ("amx", 64, False): ("fp32", False),
    ("amx", 128, True): ("bf16", True),
    ("amx", 128, False): ("bf16", False),
    ("avx512_bf16", 32, True): ("bf16", True),
    ("avx512_bf16", 128, True): ("bf16", True),
    ("avx512_bf16", 128, False): ("bf16", False),
    ("avx512", 128, True): ("fp32", True),
    ("avx512", 128, False): ("fp32", False),
    ("avx2", 32, True): ("fp32", False),
    ("avx2", 512, True): ("fp32", False),
    ("avx2", 512, False): ("fp32", False),
    ("neon", 128, True): ("fp32", False),
    ("other", 128, True): ("fp32", False),
    ("other", 128, False): ("fp32", False),
    ("cuda", 64, True): ("fp32", False),
    ("cuda", 128, True): ("bf16", False),
    ("older_cuda", 128, True): ("fp32", False),
}


@pytest.mark.parametrize("given, way", RIGHT.items(), ids=str)
def test_the_way_of_a_long_run(given, way):
    kind, width, compiles = given
    machine = Machine("a machine", kind, "g++" if compiles else "", "" if compiles else "no compiler")
    assert choose("auto", "auto", machine, Work(width)).way == way


@pytest.mark.parametrize("compiles", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_of_what_is_left_that_is_taken_by_which_a_run_takes_least(kind, compiles):
    """Found again from the seconds that each way would take, with what it costs."""
    machine, given = Machine("a machine", kind, "g++" if compiles else ""), KINDS[kind]
    for products in ("auto", "fp32", "bf16"):
        for kernels in ("auto", "on", "off"):
            for width in (16, 64, 65, 128, 300):
                for seconds in (1.0, 20.0, 70.0, 300.0, 1e6):
                    at = next(s for s in reversed(given.speeds) if s.width <= width)
                    table = {"fp32": (1.0, at.compiled), "bf16": (at.bf16, at.both)}
                    asked = kernels if compiles else "off"
                    takes = {
                        (p, on == 1): seconds / table[p][on]
                        for on in (0, 1)
                        for p in ("fp32", "bf16")
                        if products in ("auto", p) and asked in ("auto", ("off", "on")[on])
                    }
                    with_costs = {
                        way: run + given.bf16 * (way[0] == "bf16") + given.compiling * way[1]
                        for way, run in takes.items()
                    }
                    wanted = min(with_costs, key=with_costs.get)
                    for work in (Work(width, seconds=seconds), Work(width, seconds * given.gflops)):
                        assert choose(products, kernels, machine, work).way == wanted


def test_a_short_run_is_plain():
    assert choose("auto", "auto", EPYC, SHORT).told == (
        "float32 products, plain kernels: too short a run for bfloat16 products, compiled kernels"
    )
    assert choose("auto", "on", EPYC, SHORT).way == ("fp32", True)
    assert choose("bf16", "auto", EPYC, SHORT).way == ("bf16", False)
    for way in fastest.PLAINEST_FIRST:
        kernels = chosen_way.ON_OR_OFF[way.compiled]
        assert choose(way.precision, kernels, EPYC, SHORT).told == f"{way}: as asked for"


def test_a_way_is_taken_once_its_own_cost_pays():
    """At D=128, where bfloat16 alone is 1.5 times as fast, and compiled 2.2 times."""
    ways = {seconds: choose("auto", "auto", EPYC, Work(128, seconds=seconds)) for seconds in (5, 6.8, 60)}
    assert [choice.way for choice in ways.values()] == [("fp32", False), ("bf16", False), ("bf16", True)]
    assert ways[6.8].told.endswith("; too short a run for bfloat16 products, compiled kernels")


def test_the_first_command_of_the_readme_takes_the_fastest_way():
    """Its 17,900 Gflop, which the shipped teacher's D of 128 makes of 21,600 sentences in three epochs."""
    assert choose("auto", "auto", EPYC, Work(128, 17_900)).way == ("bf16", True)
    forty_steps = Work(128, 17_900 * 40 / 1521)
    assert choose("auto", "auto", EPYC, forty_steps).way == ("bf16", True)


def test_the_line_names_the_machine_and_the_compiler_and_what_is_gained():
    assert choose("auto", "auto", EPYC, LONG).told == (
        "bfloat16 products, compiled kernels: AMD EPYC with AVX-512 BF16; g++; measured 2.2 times as fast on "
        "such machines as float32 products, plain kernels (--precision fp32 --compile off)"
    )
    without = replace(EPYC, compiler="", missing="no C++ compiler was found")
    assert (
        "AVX-512 BF16; no C++ compiler was found; measured 1.5 times"
        in choose("auto", "auto", without, LONG).told
    )
    told = choose("auto", "auto", Machine("Neoverse", "neon", "clang++"), LONG).told
    assert told.endswith("Neoverse with NEON; of such a machine there are no figures yet")


# --- machines


@pytest.mark.parametrize(
    "taken, capabilities, kind",
    [
        ("AVX512", {"amx_tile": True, "amx_bf16": True, "avx512_bf16": True}, "amx"),
        ("AVX512", {"amx_tile": False, "amx_bf16": True, "avx512_bf16": True}, "avx512_bf16"),
        ("AVX512", {"avx512_bf16": True}, "avx512_bf16"),
        ("AVX512", {"avx512_bf16": False}, "avx512"),
        ("AVX512", {}, "avx512"),
        ("AVX2", {"amx_tile": True, "amx_bf16": True, "avx512_bf16": True}, "avx2"),
        ("DEFAULT", {}, "other"),
    ],
)
def test_the_kind_of_a_cpu(monkeypatch, taken, capabilities, kind):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: taken)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert fastest.kind_of(CPU) == kind
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert fastest.kind_of(CPU) == "neon"


@pytest.mark.parametrize("capability, kind", [((9, 0), "cuda"), ((8, 0), "cuda"), ((7, 5), "older_cuda")])
def test_the_kind_of_a_gpu(monkeypatch, capability, kind):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert fastest.kind_of(CUDA) == kind


@pytest.mark.parametrize("named, compiles", [("", False), ("nowhere/c++", False), ("sh -c", True)])
def test_the_compiler_of_a_machine(monkeypatch, named, compiles):
    path = "" if not compiles else "/bin:/usr/bin"
    monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("CXX", named)
    machine = chosen_way.machine_of(CPU)
    nor = " (nor the one in CXX, nowhere/c++)" if named else ""
    missing = "" if compiles else f"no C++ compiler was found{nor}"
    assert (machine.compiler, machine.missing) == ("sh" if compiles else "", missing)


def test_a_compiler_that_does_not_compile_is_found_out_before_the_run(monkeypatch, caplog):
    monkeypatch.setattr(chosen_way, "machine_of", lambda device: EPYC)
    asked = chosen_way.Asked("auto", "auto", lambda device: "g++ failed")
    choice = chosen_way.way_for(asked, LONG, CPU)
    assert choice.way == Way("bf16", False) and "g++ failed" in choice.told
    assert not caplog.records
    chosen_way.way_for(replace(asked, compiling="on"), LONG, CPU)
    assert [r.getMessage() for r in caplog.records] == ["--compile: g++ failed; going on without"]


def test_a_short_run_compiles_nothing(monkeypatch):
    monkeypatch.setattr(chosen_way, "machine_of", lambda device: EPYC)

    def compiles(device):
        raise AssertionError("compiled")

    assert not chosen_way.way_for(chosen_way.Asked("auto", "auto", compiles), SHORT, CPU).way.compiled


# --- work


def test_the_work_of_a_run():
    model = transceiver(*(size(2, 16, 2, 32),) * 2)
    multiplied = fastest.weights_multiplied(model)
    linear = [m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert multiplied == sum(linear)
    sentences = encoded(40)
    tokens = sum(len(each.source) - 1 for each in sentences)

    def gflop(**config):
        return work_of_training(TrainingConfig(**config), sentences, 16, trained=5, frozen=7).gflop * 1e9

    a_token = 6 * 5 + 2 * 7
    assert gflop(epochs=3) == pytest.approx(3 * tokens * a_token)
    assert gflop(steps=6, batch_size=10) == pytest.approx(6 * tokens / 4 * a_token)
    assert gflop(steps=6, batch_size=128) == pytest.approx(6 * tokens * a_token)
    assert gflop(steps=6, batch_tokens=100) == pytest.approx(600 * a_token)
    by_time = work_of_training(TrainingConfig(minutes=2.0), sentences, 16, trained=5)
    assert by_time.seconds_on(KINDS["amx"]) == 120.0 and math.isinf(by_time.gflop)


def test_gpus_compile_the_losses_by_hand_alone(monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(chosen_way, "machine_of", lambda device: Machine("a GPU", "cuda", "Triton"))
    monkeypatch.setattr(fused_linear_loss, "cannot_compile", lambda device: None)
    kept = resuming.keeper(tmp_path / "none.pt", tmp_path / "best.pt", ResumeConfig(), {}, {})
    asked = TrainingConfig(compile="on")
    assert of_training(asked, LONG, CUDA, kept, compiles=True)[0].compile == "on"
    assert not caplog.records
    assert of_training(asked, LONG, CUDA, kept, compiles=False)[0].compile == "off"
    assert "on GPUs it compiles --kd-loss kd of raw logits alone" in caplog.text


# --- decoding


@pytest.mark.parametrize(
    "compiling, snrs, compiled",
    [("auto", 1, False), ("auto", 7, True), ("on", 1, True), ("off", 7, False)],
    ids=str,
)
def test_decoding_is_compiled_where_there_is_enough_of_it(monkeypatch, caplog, compiling, snrs, compiled):
    model = transceiver()
    a_token = 2 * fastest.weights_multiplied(model.receiver)
    kind = fastest.DECODING["avx512_bf16"]
    # Of two models at three SNRs it saves just enough.
    enough = kind.compiling / (1 - 1 / kind.speeds[0].compiled) * kind.gflops * 1e9
    tokens = math.ceil(enough / a_token / 2 / 3)
    monkeypatch.setattr(chosen_way, "machine_of", lambda device: EPYC)
    monkeypatch.setattr(native, "cannot_compile", lambda sources: None)
    settings = EvaluationConfig(snr=tuple(map(float, range(snrs))), beam_width=1, compile=compiling)
    caplog.set_level("INFO")
    search, told = chosen_way.search_for(settings, [model, model], tokens, CPU)
    assert search == Search(compiled=compiled)
    assert told.startswith(f"float32 products, {('plain', 'compiled')[compiled]} kernels: ")
    assert caplog.messages == [f"decoding: {told}"] * compiled, "the plain way is not worth a line"
    decided, same = chosen_way.decided(settings, [model] * 2, tokens, CPU)
    assert decided.compile == ("off", "on")[compiled] and same == told


@pytest.mark.native
@pytest.mark.parametrize(
    "verb, flags",
    [
        ("evaluate", ["--snr", 12]),
        ("audit", ["--snr", 12, "--channel", "awgn"]),
        ("transmit", []),
    ],
)
def test_the_verbs_decode_by_the_kernels_if_asked_to(here, capsys, monkeypatch, verb, flags):
    """The shipped teacher: the same text, and the kernels at work."""
    calls, work = [], native.call

    def watched(name, *given, **members):
        calls.append(name)
        work(name, *given, **members)

    monkeypatch.setattr(native, "call", watched)
    teacher = ROOT / "checkpoints/teacher.pt"
    given = ["a sentence of the committee.", "--checkpoints", teacher, "--device", "cpu"]
    if verb != "transmit":
        given = [teacher, "--corpus-size", 240, "--sentences", 12, "--device", "cpu", "--quiet"]
    said = []
    for compiling in ("off", "on"):
        calls.clear()
        assert package(verb, *given, *flags, "--compile", compiling) == 0
        said.append(capsys.readouterr().out)
        assert any("decoding" in name for name in calls) == (compiling == "on")
    assert said[1].count("decoding: float32 products, compiled kernels: ") == 1
    of_kernels = ("decoding: ", "compiling kernels ")
    assert said[0].splitlines() == [line for line in said[1].splitlines() if not line.startswith(of_kernels)]


# --- flags


@pytest.mark.parametrize(
    "words, compiling",
    [
        ([], "auto"),
        (["--compile"], "on"),
        (["--compile", "--steps", "3"], "on"),
        (["--compile", "off"], "off"),
        (["--compile=auto"], "auto"),
        (["--compile", "true"], "on"),
        (["--no-compile"], "off"),
        (["--steps", "3", "--compile"], "on"),
    ],
    ids=" ".join,
)
def test_compile_alone_means_on(words, compiling):
    flags = parsers.distillation_parser().parse_args(words)
    assert settings_of(DistilSettings, flags).training.compile == compiling


@pytest.mark.parametrize(
    "text, compiling",
    [("compile: true", "on"), ("compile: false", "off"), ("compile: on", "on"), ('{"compile": true}', "on")],
)
def test_run_files_of_earlier_versions_have_a_switch(here, text, compiling):
    file = Path("run.json" if text.startswith("{") else "run.yaml")
    file.write_text(text)
    flags = parsers.distillation_parser().parse_args(["--config", str(file)])
    assert flags.compile == compiling
    flags = parsers.distillation_parser().parse_args(["--config", str(file), "--no-compile"])
    assert flags.compile == "off"


def test_what_auto_came_to_is_the_same_flag_and_a_switch_what_it_was():
    def settings(**training):
        return DistilSettings(training=TrainingConfig(**training))

    assert other_flag(settings(), {"compile": "on", "precision": "bf16"}) is None
    assert other_flag(settings(compile="off"), {"compile": False}) is None
    assert other_flag(settings(compile="off"), {"compile": True}) == ("compile", "on", "off")


def test_another_value_is_refused_by_name():
    with pytest.raises(SemcomError, match="--compile 'fast': allowed are auto, on, off"):
        parsers.distillation_parser().parse_args(["--compile", "fast"])


# --- runs


def record(folder):
    return json.loads((Path(folder) / "distillation_config.json").read_text())


def test_the_choice_is_said_and_recorded_and_kept_by_the_record(
    teacher, here, no_drawing, capsys, monkeypatch
):
    """A machine by whose table this little work is enough."""
    bfloat16 = replace(KINDS["avx512_bf16"], bf16=0.0)
    monkeypatch.setattr(fastest, "KINDS", {**KINDS, "avx512_bf16": bfloat16})
    monkeypatch.setattr(chosen_way, "machine_of", lambda device: Machine("AMD EPYC", "avx512_bf16"))
    first = ["--teacher-checkpoint", teacher, *TINY_TRAINING, "--steps", 2]
    assert distil(*(word for word in first if word != "--quiet"), "--output-path", "one") == 0
    told = "bfloat16 products, plain kernels: AMD EPYC with AVX-512 BF16; measured 1.1 times"
    assert capsys.readouterr().out.count(told) == 1
    made = record("one")
    assert made["way"].startswith(told) and made["precision"] == "bf16" and made["compile"] == "off"
    # On another machine, the run file asks for what was taken here.
    monkeypatch.setattr(chosen_way, "machine_of", lambda device: Machine("a Xeon", "avx2", "g++"))
    again = ["--config", "one/distillation_config.json", "--output-path", "again", "--quiet"]
    assert distil(*again) == 0
    assert record("again")["way"] == "bfloat16 products, plain kernels: as asked for"
    assert record("again")["best_loss"] == made["best_loss"]


def test_whatever_auto_chose_what_is_measured_is_float32(teacher, here, no_drawing, monkeypatch):
    """Validation and closing scores of a run in bfloat16, and its divergence."""
    products, plain = {True: set(), False: set()}, torch.nn.functional.linear

    def watched(*given):
        made = plain(*given)
        products[torch.is_inference_mode_enabled()].add(made.dtype)
        return made

    monkeypatch.setattr(torch.nn.functional, "linear", watched)
    flags = ["--precision", "bf16", "--teacher-precision", "fp32", "--steps", 2, "--output-path", "run"]
    assert distil("--teacher-checkpoint", teacher, *TINY_TRAINING, *flags) == 0
    assert torch.bfloat16 in products[False] and products[True] == {torch.float32}
    told = "; the teachers' products in float32, as --teacher-precision asks for"
    assert record("run")["way"].endswith(told)
    products[True].clear()
    small = ["--no-report", "--corpus-size", 240, "--sentences", 6, "--snr", 6, "--quiet", "--device", "cpu"]
    assert analyse("run/best_student_model.pt", *small, "--output", "report") == 0
    assert products[True] == {torch.float32}
    assert json.loads(Path("report").read_text())["way"].startswith("float32 products, plain kernels: ")
