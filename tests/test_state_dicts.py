"""What people hand over: weights under names of compilers and trainers, among all that a trainer keeps."""

import argparse
import collections
import datetime
import enum
import io
import pathlib
import pickle
import types
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from public_deepsc import random_state

from semcom.base.errors import SemcomError
from semcom.models import state_dicts, torch_files
from semcom.models.deepsc_weights import USUAL
from semcom.models.torch_files import LEGACY

STATE = random_state(8, d=4, dff=4, c=2, hidden=4, wide=4, encoder_layers=1, decoder_layers=1, length=4)
OTHER = {name: tensor + 1 for name, tensor in STATE.items()}


@dataclass
class Options:
    heads: int = 8


class Mode(enum.Enum):
    FULL = 1


class AttributeDict(dict):
    """As Lightning keeps hyper-parameters."""


class Net(torch.nn.Module):
    """Modules whose state dict has the names of STATE."""

    def __init__(self):
        super().__init__()
        for name, tensor in STATE.items():
            at = self
            *path, last = name.split(".")
            for part in path:
                if part not in at._modules:
                    at.add_module(part, torch.nn.Module())
                at = at._modules[part]
            at.register_parameter(last, torch.nn.Parameter(tensor.clone()))


def prefixed(prefix, state=STATE):
    return {prefix + name: tensor for name, tensor in state.items()}


def within(name):
    """A wrapper around every module, not around the whole alone."""
    return {f".{name}.".join(key.split(".", 1)): tensor for key, tensor in STATE.items()}


def adam():
    net = Net()
    optimizer = torch.optim.Adam(net.parameters())
    for weights in net.parameters():
        weights.grad = torch.ones_like(weights)
    optimizer.step()
    return optimizer


def lightning(prefix="model.", **more):
    return {
        "epoch": 3,
        "global_step": 1200,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": prefixed(prefix) | {"criterion.weight": torch.ones(8), "metric.total": torch.tensor(3)},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 3}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.tensor(0.5)}},
        "optimizer_states": [adam().state_dict()],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": AttributeDict(lr=1e-3, path=pathlib.PurePosixPath("/data"), mode=Mode.FULL),
        **more,
    }


TAKEN = {
    "bare": (STATE, ""),
    "OrderedDict": (collections.OrderedDict(STATE), ""),
    "DataParallel": (torch.nn.DataParallel(Net()).state_dict(), ""),
    "compiled": (torch.compile(Net()).state_dict(), ""),
    "compiled and parallel": (prefixed("module._orig_mod."), ""),
    "parallel and compiled": (prefixed("_orig_mod.module."), ""),
    "compiled parts": (within("_orig_mod"), ""),
    "checkpointed parts": (within("_checkpoint_wrapped_module"), ""),
    "averaged": (torch.optim.swa_utils.AveragedModel(Net()).state_dict(), ""),
    "Fabric": (prefixed("_forward_module._orig_mod.module."), ""),
    "a student": (prefixed("student.net."), "student.net"),
    "model in model": (prefixed("model.module.model._orig_mod."), "model.model"),
    "deep": ({"a": {"b": [{"c": prefixed("net.")}]}}, "a.b.0.c.net"),
    "DeepSpeed": ({"module": STATE, "ds_version": "0.16"}, ""),
    **{
        name: ({name: STATE, "epoch": 3}, name)
        for name in ("state_dict", "model", "net", "weights", "params")
    },
    "with an optimiser": (
        {"net": STATE, "opt": adam().state_dict(), "args": argparse.Namespace(lr=1)},
        "net",
    ),
    "Lightning": (lightning(), "state_dict.model"),
    "Lightning itself": (lightning(""), "state_dict"),
    "and a mean": ({"ema_state_dict": OTHER, "state_dict": STATE}, "state_dict"),
    "a mean alone": ({"ema": {"shadow": STATE}, "decay": 0.999}, "ema.shadow"),
    "and a teacher": (
        {"state_dict": prefixed("teacher.", OTHER) | prefixed("student.")},
        "state_dict.student",
    ),
    "parts apart": ({"model": STATE, "best": {"encoder.embedding.weight": torch.ones(8, 4)}}, "model"),
    "the same twice": ({**STATE, **prefixed("module.")}, ""),
    "parameters": ({name: torch.nn.Parameter(tensor) for name, tensor in STATE.items()}, ""),
    "half": ({name: tensor.half() for name, tensor in STATE.items()}, ""),
    "double": ({name: tensor.double() for name, tensor in STATE.items()}, ""),
    "objects": (
        {
            "model": STATE,
            "options": Options(),
            "mode": Mode.FULL,
            "space": types.SimpleNamespace(a=1),
            "path": pathlib.PurePosixPath("/x"),
            "loss": np.float64(0.5),
            "losses": np.ones(3),
            "when": datetime.datetime(2026, 1, 1),
            "default": collections.defaultdict(dict, {"a": {1: 2}}),
            "queue": collections.deque([1, 2], maxlen=3),
            "count": collections.Counter("abc"),
            "attributes": AttributeDict(a=1),
            "device": torch.device("cpu"),
            "dtype": torch.bfloat16,
            "shape": torch.Size([1, 2]),
            "random": torch.get_rng_state(),
            "numpy": np.random.default_rng(0).bit_generator.state,
            "set": {1, 2},
            "bytes": b"abc",
            "complex": 1j,
            "huge": 10**300,
            "scheduler": torch.optim.lr_scheduler.StepLR(adam(), 1).state_dict(),
        },
        "model",
    ),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["", "legacy"])
@pytest.mark.parametrize("kind", TAKEN)
def test_the_weights_are_found(tmp_path, kind, legacy):
    content, place = TAKEN[kind]
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    found = state_dicts.find(tmp_path / "x.pth", "import", USUAL)
    wanted = {name: tensor.to(next(iter(found.weights.values())).dtype) for name, tensor in STATE.items()}
    assert found.place == place and found.weights.keys() == wanted.keys()
    assert all(torch.equal(found.weights[name], tensor) for name, tensor in wanted.items())
    plain = content.keys() <= found.weights.keys()
    assert not plain or not found.left_out


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("and a mean", ["ema_state_dict (64 tensors)"]),
        ("and a teacher", ["state_dict.teacher (64 tensors)"]),
        ("with an optimiser", ["opt (", "args (argparse.Namespace)"]),
        ("averaged", ["n_averaged among the weights"]),
        ("Lightning", ["epoch", "optimizer_states (", "hyper_parameters (pathlib.PurePosixPath)"]),
        ("Lightning", ["state_dict.criterion (1 tensor)", "callbacks"]),
        ("Lightning itself", ["criterion.weight among the weights", "metric.total among the weights"]),
        ("objects", ["options (test_state_dicts.Options)", "loss (numpy", "mode (test_state_dicts.Mode)"]),
    ],
)
def test_what_is_left_out_is_named(tmp_path, kind, words):
    torch.save(TAKEN[kind][0], tmp_path / "x.pth")
    left_out = state_dicts.find(tmp_path / "x.pth", "import", USUAL).left_out
    number = len(STATE)
    for word in words:
        wanted = word.replace("64", str(number))
        assert any(each.startswith(wanted) for each in left_out), (wanted, left_out)


def zipped():
    buffer = io.BytesIO()
    torch.save(STATE, buffer)
    return buffer.getvalue()


ZIP = zipped()


class Evil:
    def __init__(self, *of):
        self.of = of

    def __reduce__(self):
        return self.of


def saved(content, **options):
    return lambda path: torch.save(content, path, **options)


REFUSED = {
    "eval": (saved({"model": STATE, "x": Evil(eval, ("1",))}), "names code .*eval.*never run.*torch.save"),
    "open": (saved({"model": STATE, "x": Evil(open, ("ran", "w"))}), "names code .*open"),
    "a way to memory": (saved({"model": STATE, "x": Evil(bytearray, (10**10,))}), "names code .*bytearray"),
    "tensors of any size": (saved({"model": STATE, "x": Evil(torch.FloatTensor, (10**10,))}), "FloatTensor"),
    "sparse": (saved({"model": STATE, "x": torch.eye(3).to_sparse()}), "names code .*sparse"),
    "a whole model": (saved(Net()), "names code .test_state_dicts.Net.*never run.*state_dict"),
    "a model within": (
        saved({"net": Net(), "epoch": 1}),
        "its entry net is an object of test_state_dicts.Net",
    ),
    "numpy arrays": (
        saved({n: t.numpy() for n, t in STATE.items()}),
        "its entry .*weight is an object of numpy",
    ),
    "numbers": (saved({"epoch": 3}), "not a state dict .tensors by name"),
    "nothing": (saved({}), "not a state dict"),
    "protocol 4": (
        saved({"model": STATE, "o": collections.OrderedDict(a=1)}, pickle_protocol=4),
        "pickle_protocol",
    ),
    "evil protocol 4": (saved({"x": Evil(eval, ("1",))}, pickle_protocol=4), "names code .*eval"),
    "two that differ": (saved({**STATE, **prefixed("module.", OTHER)}), "twice.* differ"),
    "NaN": (saved({"model": STATE | {"dense.bias": torch.full((8,), torch.nan)}}), "dense.bias.*finite"),
    "stretched": (
        saved({"model": STATE | {"dense.weight": torch.zeros(1).expand(10**12)}}),
        "claim more memory",
    ),
    "many steps": (
        lambda path: path.write_bytes(LEGACY + b"\x80\x02" + b"]" * 70_000 + b"."),
        "a pickle of more than 60,000 steps",
    ),
    "one under many names": (
        saved({"x": torch.zeros(100_000)} | dict.fromkeys(map(str, range(99)), torch.zeros(100_000))),
        "claim more memory",
    ),
    "many classes": (
        lambda path: path.write_bytes(LEGACY + b"\x80\x02(" + b"cm\nC\n" * 101 + b"l."),
        "imports more than 100 names",
    ),
    "many objects": (
        lambda path: path.write_bytes(LEGACY + b"\x80\x02cm\nC\n" + b")\x81" * 2_001 + b"."),
        "makes more than 2,000 objects",
    ),
    "a plain pickle": (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "state_dict"),
    "a long pickle": (
        lambda path: path.write_bytes(
            LEGACY + b"\x80\x02" + (b"X\x00\x01\x00\x00" + b"x" * 256) * 2_000 + b"."
        ),
        "not a state dict .a pickle of more than 400,000 bytes.; save it with",
    ),
    "HDF5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "HDF5"),
    "LFS": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid x"),
        "git lfs pull",
    ),
    "a page": (lambda path: path.write_text("<!DOCTYPE html><html>"), "web page"),
    "gzip": (lambda path: path.write_bytes(b"\x1f\x8b" + bytes(99)), "gunzip"),
    "TorchScript": (
        lambda path: torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path),
        "TorchScript.*torch.jit.load",
    ),
    "a zip of the future": (
        lambda path: path.write_bytes(
            ZIP[: ZIP.rindex(b"PK\1\2") + 6] + b"\xff" + ZIP[ZIP.rindex(b"PK\1\2") + 7 :]
        ),
        "broken or not a state dict",
    ),
    "a folder": (lambda path: path.mkdir(), "is a folder, give the file inside"),
}


@pytest.mark.filterwarnings("ignore:.*(torch.jit|deprecated).*")
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_says_why_and_what_to_do(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    write, pattern = REFUSED[kind]
    monkeypatch.setattr(torch_files, "MOST_PICKLED", 400_000)
    monkeypatch.setattr(torch_files, "MOST_STEPS", 60_000)
    monkeypatch.setattr(torch_files, "MOST_CALLS", 2_000)
    write(tmp_path / "x.pth")
    with pytest.raises(SemcomError, match=pattern) as refused:
        state_dicts.find("x.pth", "import", USUAL)
    line = str(refused.value)
    assert line.startswith("import x.pth: ") and "\n" not in line and len(line) <= 500
    assert not (tmp_path / "ran").exists()


def test_a_folder_of_shards_says_how_to_save_it_whole(tmp_path):
    (tmp_path / "pytorch_model.bin.index.json").write_text("{}")
    with pytest.raises(SemcomError, match="a model in parts.*torch.save"):
        state_dicts.find(tmp_path, "import", USUAL)


def test_safetensors(tmp_path, monkeypatch):
    library = pytest.importorskip("safetensors.torch")
    library.save_file(prefixed("model."), tmp_path / "x.safetensors")
    found = state_dicts.find(tmp_path / "x.safetensors", "import", USUAL)
    assert found.place == "model" and torch.equal(found.weights["dense.bias"], STATE["dense.bias"])
    monkeypatch.setitem(__import__("sys").modules, "safetensors.torch", None)
    with pytest.raises(SemcomError, match="pip install safetensors"):
        state_dicts.find(tmp_path / "x.safetensors", "import", USUAL)


def test_a_bare_file_is_taken_as_it_is_and_nothing_else(tmp_path):
    state_dicts.save(STATE, tmp_path / "x.pth")
    loaded = state_dicts.load(tmp_path / "x.pth", "snapshots")
    assert all(torch.equal(loaded[name], STATE[name]) for name in STATE)
    torch.save({"state_dict": STATE}, tmp_path / "x.pth")
    with pytest.raises(SemcomError, match="not a state dict"):
        state_dicts.load(tmp_path / "x.pth", "snapshots")
