"""An exported folder of ONNX is data from a stranger: bounded, checked, and refused in one line. Its graphs
are stand-ins here; ``test_onnx_link`` has real ones."""

import hashlib
import json
import sys

import cli_support
import pytest

from semcom.base.errors import LONGEST_LINE, SemcomError
from semcom.models import checkpoint, onnx_link, onnx_reading

CONTENTS = {"transmitter.onnx": b"sends", "receiver_start.onnx": b"starts", "receiver_step.onnx": b"goes on"}


@pytest.fixture
def folder(tmp_path, teacher):
    """A folder whose graphs are none."""
    source = checkpoint.load(teacher)
    files = {**CONTENTS, "vocabulary.model": source.vocabulary.serialized}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    link = {
        "format": 1,
        "opset": 18,
        "precision": "fp32",
        "architecture": source.model.architecture.to_dict(),
        "pieces": {"pad": 0, "bos": 1, "eos": 2},
        "length_limit": {"factor": 1.5, "more": 10, "most": 1023},
        "vocabulary": {"file": "vocabulary.model"},
        "origin": source.origin,
        "metrics": source.metrics,
        "config": source.config,
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        },
    }
    (tmp_path / "link.json").write_text(json.dumps(link))
    return tmp_path


def changed(folder, *keys, to):
    """link.json with another value at a place, None for none."""
    link = json.loads((folder / "link.json").read_text())
    place = link
    for key in keys[:-1]:
        place = place[key]
    if to is None:
        del place[keys[-1]]
    else:
        place[keys[-1]] = to
    (folder / "link.json").write_text(json.dumps(link))


def refused(folder, reader=onnx_reading.read):
    with pytest.raises(SemcomError) as raised:
        reader(folder)
    line = str(raised.value)
    assert "\n" not in line and len(line) <= LONGEST_LINE
    return line


def test_a_folder_is_read_as_it_was_written(folder, teacher):
    source = checkpoint.load(teacher)
    read = onnx_reading.read(folder)
    assert read.architecture == source.model.architecture
    assert read.vocabulary.fingerprint == source.vocabulary.fingerprint
    assert (read.origin, read.config) == (source.origin, source.config)
    assert read.graphs == CONTENTS


def test_what_is_no_folder_is_told_with_the_command_that_makes_one(tmp_path, teacher):
    assert "no such folder" in (line := refused(tmp_path / "none"))
    assert f"python -m semcom export CHECKPOINT --format onnx --output {tmp_path / 'none'}" in line
    assert "is a file" in refused(teacher)
    assert "has no link.json" in refused(tmp_path)


@pytest.mark.parametrize(
    ("keys", "to", "told"),
    [
        (["format"], 2, "newer than this program reads"),
        (["format"], "1", "not of a semcom export"),
        (["pieces", "bos"], 7, "this program decodes by"),
        (["length_limit", "most"], 10**9, "this program decodes by"),
        (["precision"], "fp4", "known are fp32, int8"),
        (["architecture", "vocab_size"], 10**9, "allowed are 1 to 1000000"),
        (["architecture", "vocab_size"], 401, "is not that of its graphs"),
        (["architecture", "transmitter", "d_model"], 2**40, "allowed are 1 to"),
        (["architecture"], 5, "not as this program writes it"),
        (["architecture", "colour"], "red", "not as this program writes it"),
        (["vocabulary", "file"], "../../secret", "allowed are vocabulary.model or vocabulary.json"),
        (["files", "transmitter.onnx"], None, "not as this program writes it"),
        (["files", "transmitter.onnx", "bytes"], 2**40, "at most 2,147,483,647 are read"),
        (["files", "transmitter.onnx", "bytes"], 3, "larger than 3 bytes"),
        (["files", "transmitter.onnx", "sha256"], "0" * 64, "transmitter.onnx is damaged"),
        (["config"], [1], "not as this program writes it"),
    ],
)
def test_each_value_is_checked(folder, keys, to, told):
    changed(folder, *keys, to=to)
    assert told in refused(folder)


def test_damage_is_noticed(folder):
    (folder / "receiver_step.onnx").write_bytes(b"goes no")
    assert "receiver_step.onnx is damaged" in refused(folder)
    (folder / "receiver_step.onnx").unlink()
    assert "receiver_step.onnx: cannot be read (No such file or directory)" in refused(folder)
    (folder / "link.json").write_text('{"format": 1, "format": 1}')
    assert "link.json: it has 'format' twice" in refused(folder)


def test_a_strangers_strings_are_escaped(folder):
    changed(folder, "precision", to="\x1b[31mred" + "d" * 1000)
    assert "\x1b" not in refused(folder)


def test_without_onnxruntime_a_line_names_the_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert refused(folder, onnx_link.load).endswith("install it with: pip install .[onnx]")


def test_what_is_no_graph_is_refused(folder):
    pytest.importorskip("onnxruntime")
    assert "transmitter.onnx is no graph that onnxruntime takes" in refused(folder, onnx_link.load)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["{teacher}", "--runtime", "onnx"], "is a checkpoint; export it, and give the folder"),
        (["{folder}/receiver_step.onnx", "--runtime", "onnx"], "is one file of a folder; give {folder}"),
        (["{folder}"], "is a folder of ONNX graphs; add --runtime onnx"),
        (["{folder}", "--runtime", "onnx", "--device", "cuda"], "runs and times all ends on the CPU"),
        (["{folder}-gone", "--runtime", "onnx"], "no such folder; make one with"),
    ],
)
def test_evaluate_says_which_runtime_takes_what(flags, told, folder, teacher, capsys):
    given = [flag.format(folder=folder, teacher=teacher) for flag in flags]
    assert cli_support.package("evaluate", *given) == 2
    cli_support.refused(capsys, 2, *told.format(folder=folder).split())


def test_where_a_checkpoint_is_wanted_it_is_told_what_the_folder_is_for(folder):
    assert "is a folder, of ONNX graphs, which only evaluate --runtime" in refused(folder, checkpoint.load)
