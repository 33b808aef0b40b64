"""``--resume`` of the commands and of ``Distiller``: files and records to the bit, endings made up for, what
is refused."""

import copy
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from cli_support import (
    ROOT,
    TINY_TRAINING,
    UNDRAWN,
    distil,
    package,
    refused,
    train_tiny_teacher,
    wait_for,
    wait_until,
)
from test_api import batches, net
from test_processes import started_by_hand, two_processes
from torch.utils.data import DataLoader, TensorDataset
from toy import bits, same_bits

from semcom import DistillationConfig, Distiller, set_seed
from semcom.base.errors import SemcomError
from semcom.base.fastest import Machine, Work
from semcom.base.flag_words import typed_defaults, typed_values
from semcom.base.flags import flag_of
from semcom.base.settings import ResumeConfig
from semcom.channel.settings import ChannelConfig
from semcom.commands import chosen_way, distil_run, distil_summary, resuming
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.recorded_flags import other_flag, recorded
from semcom.distillation import classifier_pair, fused_linear_loss
from semcom.distillation.run_state import Keeper
from semcom.distillation.training_loop import Loop
from semcom.distillation.training_settings import StudentConfig, TrainingConfig
from semcom.models.state_file import read, write

pytestmark = pytest.mark.usefixtures("no_scores")
TIMES = {"training_seconds", "wall_seconds", "state_saves"}
RUN, STATE = "run", "run/resume.pt"
DECODER = ["--distill-part", "decoder", "--create-hybrid", "--hybrid-output", "hybrid.pt"]


@pytest.fixture
def ends(monkeypatch):
    """Steps after which the run is asked to end, each once."""
    asked: list[int] = []
    plain = Loop.heed

    def heed(loop):
        if loop.result.steps in asked:
            asked.remove(loop.result.steps)
            os.kill(os.getpid(), signal.SIGTERM)
        plain(loop)

    monkeypatch.setattr(Loop, "heed", heed)
    return asked


def run(teacher, *flags):
    return distil("--teacher-checkpoint", teacher, *TINY_TRAINING, "--output-path", RUN, *flags)


def in_folder(path, monkeypatch):
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def left(folder, record="run/distillation_config.json"):
    """What a run has left, times aside: bytes of the checkpoints, rows, record."""
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*.pt"))
        if "cache" not in path.parts
    }
    values = json.loads((folder / record).read_text())
    files["record"] = {name: value for name, value in values.items() if name not in TIMES | {"history"}}
    for path in folder.glob("run/history.csv"):
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            assert float(row.pop("seconds")) > 0 and float(row.pop("tokens_per_second")) > 0
        files["rows"] = rows
    return files


def assert_left_the_same(broken, whole, *record):
    ours, theirs = left(broken, *record), left(whole, *record)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name] == theirs[name] if name == "record" else ours[name][:] == theirs[name], name


CASES = {
    "decoder": [*DECODER, "--epochs", 2],
    "full": [
        *("--feature-weight", 0.5, "--student-d-model", 8, "--student-heads", 2, "--student-init", "random"),
        *("--steps", 10, "--sequence-level", 1, "--weight-schedule", "cosine", "--final-weight", 0.1),
    ],
    "encoder": ["--distill-part", "encoder", "--epochs", 2, "--precision", "bf16"],
}


@pytest.mark.scores
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[] if case == "decoder" else pytest.mark.slow) for case in CASES]
)
def test_a_stopped_distillation_leaves_the_same_files(case, teacher, tmp_path, monkeypatch, ends, capsys):
    flags = CASES[case]
    whole = in_folder(tmp_path / "whole", monkeypatch)
    assert run(teacher, *flags) == 0
    broken = in_folder(tmp_path / "broken", monkeypatch)
    capsys.readouterr()
    # The fourth step ends an epoch, of which the validation is still to come.
    for end in (2, 4, 5):
        ends.append(end)
        assert run(teacher, *flags, "--resume") == 128 + signal.SIGTERM
        assert (broken / STATE).is_file()
    out = capsys.readouterr().out
    assert "begins anew" in out and "on from epoch 1, step 2 of" in out
    assert run(teacher, *flags, "--resume") == 0
    assert_left_the_same(broken, whole)
    assert not (broken / STATE).exists()
    record = json.loads((broken / "run/distillation_config.json").read_text())
    assert record["finished"] is True and record["stopped"] is None and record["state_saves"]["saves"]


@pytest.mark.scores
def test_what_is_left_after_training_is_made_up_for(teacher, tmp_path, monkeypatch, capsys):
    """Killed while it is spliced or scored: nothing is trained again."""
    whole = in_folder(tmp_path / "whole", monkeypatch)
    assert run(teacher, *DECODER, "--epochs", 2) == 0
    broken = in_folder(tmp_path / "broken", monkeypatch)
    with monkeypatch.context() as context:
        context.setattr(distil_run, "write_splice", lambda *_: os.kill(os.getpid(), signal.SIGUSR1))
        assert run(teacher, *DECODER, "--epochs", 2) == 128 + signal.SIGUSR1
    said = capsys.readouterr().err
    assert "interrupted after the training" in said and "--resume goes on" in said
    assert json.loads((broken / "run/distillation_config.json").read_text())["finished"] is False
    with monkeypatch.context() as context:
        context.setattr(distil_summary, "score_all", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        context.setattr(Loop, "step", lambda *_: pytest.fail("trained again"))
        assert run(teacher, *DECODER, "--epochs", 2, "--resume") == 128 + signal.SIGTERM
    assert run(teacher, *DECODER, "--epochs", 2, "--resume") == 0
    assert_left_the_same(broken, whole)


@pytest.mark.scores
def test_a_signal_while_the_last_state_is_saved_is_heeded(teacher, tmp_path, monkeypatch, capsys):
    whole = in_folder(tmp_path / "whole", monkeypatch)
    assert run(teacher, *DECODER, "--epochs", 1) == 0
    broken = in_folder(tmp_path / "broken", monkeypatch)
    plain = Keeper.save

    def save(keeper, training):
        plain(keeper, training)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as context:
        context.setattr(Keeper, "save", save)
        context.setattr(distil_summary, "score_all", lambda *_: pytest.fail("scored all the same"))
        assert run(teacher, *DECODER, "--epochs", 1) == 128 + signal.SIGTERM
    assert "step 4 of 4" in capsys.readouterr().err
    assert run(teacher, *DECODER, "--epochs", 1, "--resume") == 0
    assert_left_the_same(broken, whole)


def test_an_interrupt_before_the_first_validation_leaves_a_record(teacher, here, ends, capsys):
    ends.append(3)
    assert run(teacher, "--epochs", 2) == 128 + signal.SIGTERM
    assert "--resume goes on" in capsys.readouterr().err
    record = json.loads((here / "run/distillation_config.json").read_text())
    assert record["finished"] is False and "step 3 of 8" in record["stopped"]
    assert record["steps_done"] == 3 and record["best_loss"] is None


def test_other_flags_and_inputs_are_refused_by_name(teacher, here, ends, capsys, tmp_path):
    ends.append(3)
    assert run(teacher, "--epochs", 2) == 128 + signal.SIGTERM
    capsys.readouterr()
    for flags, words in [
        (["--epochs", 2, "--temperature", 2], ("--temperature 2", "begun with 4", "--overwrite")),
        (["--epochs", 3], ("--epochs 3", "begun with 2")),
        (["--epochs", 2, "--corpus-size", 200], ("--corpus-size 200",)),
    ]:
        refused(capsys, run(teacher, *flags, "--resume"), *words)
    other = train_tiny_teacher(tmp_path, "--seed", 5)
    capsys.readouterr()
    refused(capsys, run(other, "--epochs", 2, "--resume"), "--teacher-checkpoint")
    content = (here / STATE).read_bytes()
    (here / STATE).write_bytes(content[: len(content) // 2])
    refused(capsys, run(teacher, "--epochs", 2, "--resume"), "resume.pt", "--overwrite")
    (here / STATE).write_bytes(content)
    assert run(teacher, "--epochs", 2, "--resume", "--save-every", 1) == 0


def test_a_finished_run_has_nothing_left_to_do(teacher, here, capsys):
    assert run(teacher, "--epochs", 1, "--precision", "auto") == 0
    before = left(here)
    capsys.readouterr()
    assert run(teacher, "--epochs", 1, "--precision", "auto", "--resume") == 0
    said = capsys.readouterr()
    assert "has finished" in said.out + said.err and (said.out + said.err).count("\n") == 1
    refused(capsys, run(teacher, "--epochs", 2, "--resume"), "--epochs 2", "had 1")
    refused(capsys, run(teacher, "--epochs", 1, "--precision", "bf16", "--resume"), "--precision bf16")
    assert left(here) == before


NEW = ("snr_aware", "fading", "csi", "csi_pilots", "speed", "pilot_spacing")
"""Flags that states and records of earlier versions do not know."""


def test_a_state_of_an_earlier_version_goes_on(teacher, here, ends, capsys):
    ends.append(3)
    assert run(teacher, "--epochs", 2) == 128 + signal.SIGTERM
    state = read(here / STATE, "")
    for name in NEW:
        del state["run"][flag_of(name)]
    write(here / STATE, state)
    capsys.readouterr()
    other = [*("--epochs", 2), "--fading", "jakes", "--channel", "rayleigh", "--resume"]
    refused(capsys, run(teacher, *other), "--channel rayleigh")
    refused(capsys, run(teacher, "--epochs", 2, "--snr-aware", "--resume"), "--snr-aware given", "not given")
    assert run(teacher, "--epochs", 2, "--resume") == 0
    assert "on from epoch" in capsys.readouterr().out


def test_flags_that_a_finished_record_does_not_know_were_not_given():
    record = recorded(DistilSettings())
    for name in NEW:
        del record[name]
    assert other_flag(DistilSettings(), record) is None
    aware = DistilSettings(student=StudentConfig(snr_aware=True))
    assert other_flag(aware, record) == ("snr_aware", False, True)
    blind = DistilSettings(channel=ChannelConfig(channel="rayleigh", fading="symbol"))
    assert other_flag(blind, {**record, "channel": "rayleigh"}) == ("fading", "block", "symbol")


def test_what_flags_mean_that_are_not_given():
    plain = DistilSettings()
    assert typed_defaults(plain) == typed_values(plain)
    other = DistilSettings(
        student=StudentConfig(snr_aware=True), channel=ChannelConfig(channel="rayleigh", fading="symbol")
    )
    given = {name for name, value in typed_values(other).items() if value != typed_defaults(other)[name]}
    assert given == {"snr_aware", "channel", "fading"}


@pytest.mark.parametrize("off, on", [("off", "on"), (False, True)], ids=["now", "as a switch"])
def test_what_auto_came_to_is_kept(tmp_path, monkeypatch, off, on):
    kept = resuming.keeper(tmp_path / "none.pt", tmp_path / "best.pt", ResumeConfig(), {}, {})
    cpu, work = torch.device("cpu"), Work(128, 1e9)
    monkeypatch.setattr(fused_linear_loss, "cannot_compile", lambda device: "no C++ compiler was found")

    def training():
        return chosen_way.of_training(TrainingConfig(), work, cpu, kept)

    monkeypatch.setattr(chosen_way, "machine_of", lambda device: Machine("AMD EPYC", "avx512_bf16"))
    kept.found = {"own": {"resolved": {"precision": "bf16", "compile": off}}}
    told = "bfloat16 products, plain kernels: as auto had it when the run was begun"
    assert training() == (TrainingConfig(precision="bf16", compile="off"), told)
    kept.found = {"own": {"resolved": {"precision": "fp32", "compile": on}}}
    with pytest.raises(SemcomError, match="--compile.*cannot make .no C.. compiler.*--overwrite"):
        training()
    monkeypatch.setattr(fused_linear_loss, "cannot_compile", lambda device: None)
    told = (
        "float32 products, compiled kernels: as auto had it when the run was begun; begun on this machine, "
        "it would have bfloat16 products, plain kernels"
    )
    assert training() == (TrainingConfig(precision="fp32", compile="on"), told)
    monkeypatch.setattr(chosen_way, "machine_of", lambda device: Machine("AMD EPYC", "avx512_bf16", "g++"))
    asked = TrainingConfig(precision="fp32", compile="on")
    told = "float32 products, compiled kernels: as the run was begun"
    assert chosen_way.of_training(asked, work, cpu, kept) == (asked, told)


def test_nothing_is_saved_where_that_is_not_wanted(teacher, here, ends):
    ends.append(5)
    assert run(teacher, "--epochs", 2, "--save-every", 0) == 128 + signal.SIGTERM
    assert not (here / STATE).exists()
    assert run(teacher, "--epochs", 2, "--resume", "--overwrite") == 0


def test_a_stopped_teacher_training_goes_on(tmp_path, monkeypatch, ends):
    words = ["--layers", 1, "--model-width", 16, "--heads", 2, "--feed-forward", 32, "--epochs", 2]
    words = ["train", "--output", "teacher.pt", *words, *TINY_TRAINING]
    whole = in_folder(tmp_path / "whole", monkeypatch)
    assert package(*words) == 0
    broken = in_folder(tmp_path / "broken", monkeypatch)
    for end in (2, 5):
        ends.append(end)
        assert package(*words, "--resume") == 128 + signal.SIGTERM
        assert (broken / "teacher.resume.pt").is_file()
        assert json.loads((broken / "teacher.json").read_text())["finished"] is False
    assert package(*words, "--resume") == 0
    assert_left_the_same(broken, whole, "teacher.json")


# --- from Python


class Noisy(TensorDataset):
    """Draws from the global generators, as augmentations do."""

    def __getitem__(self, index):
        inputs, targets = super().__getitem__(index)
        return inputs + 0.1 * torch.randn(4) + 0.01 * random.random() + 0.01 * np.random.rand(), targets


def loaders():
    """The shuffling one draws from the global generator, its fellow from one of its own."""
    images, classes = (torch.cat(parts) for parts in zip(*batches(4)))
    data = Noisy(images, classes)
    own = torch.Generator().manual_seed(3)
    return [DataLoader(data, 16, shuffle=True), DataLoader(data, 16, shuffle=True, generator=own)]


def life(path, which, seed=1, **choice):
    """One training as in a process of its own; with BatchNorm and dropout, validated on shuffled images."""
    set_seed(seed)
    distiller = Distiller(net(7, norm=True), net(0, width=16), DistillationConfig(), lr=0.02)
    set_seed(seed + 1)
    history = distiller.fit(loaders()[which], 3, validation=loaders()[1], quiet=True, save_to=path, **choice)
    return distiller, history


@pytest.mark.parametrize("which", [0, 1], ids=["global generator", "own generator"])
def test_a_stopped_distiller_goes_on_to_the_same_bits(which, tmp_path, ends):
    whole, history = life(tmp_path / "whole.pt", which)
    path = tmp_path / "broken.pt"
    for seed, end in enumerate((2, 4, 7), start=1):
        ends.append(end)
        distiller, _ = life(path, which, seed=seed, resume=True)
        assert f"step {end} of 12" in distiller.stopped and distiller.signal == signal.SIGTERM
        assert not distiller.module.training
    again, resumed = life(path, which, seed=9, resume=True)
    assert same_bits(bits(again.module), bits(whole.module)) and resumed == history
    assert "1.running_mean" in bits(whole.module)
    finished, same = life(path, which, seed=9, resume=True)
    assert same == history and same_bits(bits(finished.module), bits(whole.module))


def test_a_distiller_stopped_while_it_validates_goes_on(tmp_path, monkeypatch):
    whole, history = life(tmp_path / "whole.pt", 0)
    plain, calls = classifier_pair.outputs, []

    def slow(model, inputs):
        calls.append(1)
        if not model.training and len(calls) > 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(model, inputs)

    with monkeypatch.context() as context:
        context.setattr(classifier_pair, "outputs", slow)
        stopped, rows = life(tmp_path / "broken.pt", 0, resume=True)
    assert "epoch 1, step 4" in stopped.stopped and not rows
    again, resumed = life(tmp_path / "broken.pt", 0, seed=9, resume=True)
    assert same_bits(bits(again.module), bits(whole.module)) and resumed == history


def test_a_distiller_refuses_the_state_of_another_training(tmp_path, ends):
    ends.append(2)
    path = tmp_path / "state.pt"
    student = net(1)
    Distiller(copy.deepcopy(student), net(0, width=16)).fit(batches(), 2, quiet=True, save_to=path)

    def refusal(*words, teacher=0, epochs=2, data=None, settings=None, student=student, **choice):
        distiller = Distiller(copy.deepcopy(student), net(teacher, width=16), settings, **choice)
        with pytest.raises(SemcomError) as error:
            distiller.fit(data or batches(), epochs, quiet=True, save_to=path, resume=True)
        assert all(word in str(error.value) for word in words), error.value

    refusal("lr 0.1", "begun with 0.001", "resume=True", lr=0.1)
    refusal("epochs 3", epochs=3)
    refusal("temperature 2", settings=DistillationConfig(temperature=2.0))
    refusal("the teacher", teacher=5)
    refusal("batches: 4 an epoch", "begun with 3", data=batches(4))
    refusal("other weights", student=net(1, width=9))


# --- what compiles, and several processes


@pytest.mark.native
def test_a_stopped_compiled_distillation_leaves_the_same_files(teacher, tmp_path, monkeypatch, ends):
    flags = ["--distill-part", "decoder", "--compile", "--epochs", 2]
    whole = in_folder(tmp_path / "whole", monkeypatch)
    assert run(teacher, *flags) == 0
    broken = in_folder(tmp_path / "broken", monkeypatch)
    ends.append(4)
    assert run(teacher, *flags) == 128 + signal.SIGTERM
    assert run(teacher, *flags, "--resume") == 0
    assert_left_the_same(broken, whole)


SCRIPT = [ROOT / "distillation.py", "--output-path", RUN, *TINY_TRAINING]


def torchrun(folder, *flags):
    """Two processes, as a person starts them."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [*launcher, *SCRIPT, *flags]
    return subprocess.Popen(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": UNDRAWN, "CUDA_VISIBLE_DEVICES": ""},
    )


@pytest.mark.processes
def test_two_processes_go_on_to_the_same_bits(teacher, tmp_path, monkeypatch, capsys):
    """One of the two is asked to end, then the launcher."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    flags = ["--teacher-checkpoint", teacher, "--distill-part", "decoder", "--epochs", 14]
    flags += ["--corpus-size", 240]
    first = started_by_hand(*SCRIPT, *flags, folder=broken)
    wait_for(broken / "run/history.csv", first[0])
    first[1].send_signal(signal.SIGTERM)
    for process in first:
        process.communicate(timeout=120)
    assert all(process.returncode for process in first) and (broken / STATE).is_file()
    at = [read(broken / STATE, "")["training"]["steps"]]
    second = torchrun(broken, *flags, "--resume")
    wait_until(lambda: len((broken / "run/history.csv").read_text().splitlines()) > 2 + at[0] / 7, second)
    second.send_signal(signal.SIGTERM)
    _, said = second.communicate(timeout=120)
    at.append(read(broken / STATE, "")["training"]["steps"])
    assert 0 < at[0] < at[1] < 98 and "interrupted in epoch" in said
    in_folder(tmp_path / "alone", monkeypatch)
    shutil.copytree(broken / RUN, RUN)
    refused(capsys, run(teacher, *flags[2:], "--resume"), "processes", "begun with 2")
    for folder in (broken, whole):
        both = two_processes(*SCRIPT, *flags, "--resume", folder=folder)
        assert [done.returncode for done in both] == [0, 0], both
    assert_left_the_same(broken, whole)
    assert json.loads((whole / "run/distillation_config.json").read_text())["processes"] == 2
