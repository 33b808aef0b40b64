"""``export --format onnx``: the graphs say what torch says, whatever stands before the receiver; a folder is
whole or not there."""

import hashlib
import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from cli_support import package, refused
from test_contract_architecture import gru, toy  # noqa: F401  # gru: a fixture
from test_receiver_fronts import drawn_aligner
from toy import C, V, architecture, collated, sharp, size, spoken, word_json, word_vocabulary

from semcom.channel.channels import AWGN
from semcom.commands import export_int8
from semcom.data.settings import CorpusConfig
from semcom.data.vocabulary import BOS
from semcom.models import checkpoint, onnx_check, onnx_graphs
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import greedy, length_limit, until_eos
from semcom.models.link import heard_by, send
from semcom.models.onnx_folder import GRAPHS, LINK, START, STEP, TRANSMITTER
from semcom.models.settings import PARTS
from semcom.models.transceiver import build, with_aligner

FOREIGN, WORDS = 6, [f"w{i}" for i in range(V - 4)]
FILES = {*GRAPHS, LINK, "vocabulary.json"}


def kept(model, path):
    origin = dict.fromkeys((*PARTS, "aligner"), "drawn")
    checkpoint.save(Checkpoint(model, word_vocabulary(WORDS), origin, {"loss": float("nan")}), path)


def fronted():
    """A receiver behind all that there is: told the SNR, made for another amplitude, behind an aligner."""
    ends = replace(architecture(size(1), size(2, 12, 3, 20)), amplitude=2**0.5, snr_aware=True)
    listener = build(ends, 2).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weights in (*listener.receiver.snr_bias.parameters(), listener.receiver.projection.weight):
            weights.copy_(torch.randn(weights.shape, generator=generator))
    foreign = build(architecture(size(1, 8), size(1), channel_dim=FOREIGN), 1).eval()
    return with_aligner(foreign, listener, drawn_aligner(FOREIGN, C))


@pytest.fixture(scope="module")
def exported(made_once):
    """A folder with ``model.pt`` and what ``export`` made of it, ``link``."""

    def make(folder):
        kept(fronted(), folder / "model.pt")
        asked = ["--format", "onnx", "--output", folder / "link"]
        assert package("export", folder / "model.pt", *asked) == 0

    return made_once("onnx", make)


@pytest.fixture
def sessions(exported):
    return {name: onnx_check.session(exported / "link" / name) for name in GRAPHS}


def by_graphs(sessions, received, mask):
    """Greedy decoding with nothing but numpy."""
    memory_keys, memory_values = sessions[START].run(None, {"received": received, "source_mask": mask})
    layers, rows, heads, _, width = memory_keys.shape
    cached = [np.zeros((layers, rows, heads, 0, width), np.float32)] * 2
    memory = {"memory_keys": memory_keys, "memory_values": memory_values, "source_mask": mask}
    tokens, said = np.full(rows, BOS), []
    limits = [length_limit(int(length)) for length in mask.sum(1)]
    for _ in range(max(limits)):
        given = {"tokens": tokens, "keys": cached[0], "values": cached[1], **memory}
        logits, *cached = sessions[STEP].run(None, given)
        tokens = logits.argmax(-1)
        said.append(tokens)
    return [until_eos(row[:limit]) for row, limit in zip(np.stack(said, 1).tolist(), limits)]


# --- the graphs


@pytest.mark.onnx
@pytest.mark.parametrize("rows, shortest, longest", [(1, 1, 1), (2, 30, 30), (40, 2, 9)])
@torch.no_grad()
def test_signal_and_tokens_are_those_of_torch(exported, sessions, rows, shortest, longest):
    model = checkpoint.load(exported / "model.pt").model
    batch = collated(rows, shortest, longest)
    sent = send(model.transmitter, batch, AWGN(), (6.0,), seed=1)
    given = {"source": batch.source.numpy(), "source_mask": batch.source_mask.numpy()}
    (signal,) = sessions[TRANSMITTER].run(None, given)
    torch.testing.assert_close(torch.from_numpy(signal), sent.signal, atol=1e-5, rtol=0)
    power = np.square(signal).sum((1, 2)) / (batch.source_mask.numpy().sum(1) * FOREIGN / 2)
    np.testing.assert_allclose(power, 1, atol=1e-5)
    heard = sent.heard_by(model.receiver)[0]
    assert heard.shape[-1] == FOREIGN + 1
    decoded = greedy(model.receiver, heard, batch.source_mask)
    assert by_graphs(sessions, heard.numpy(), batch.source_mask.numpy()) == decoded
    assert rows < 40 or len(set(map(tuple, decoded))) > 1, "sentences that are all alike would show nothing"


@pytest.mark.onnx
@torch.no_grad()
def test_what_is_told_and_what_is_padded_are_heard_and_not_heard(exported, sessions):
    model = checkpoint.load(exported / "model.pt").model
    batch = collated(4, 3, 9)
    received, mask = torch.randn(4, batch.source.shape[1], FOREIGN), batch.source_mask.numpy()
    made = {}
    for name, snr, padding in (("first", 0.0, 0.0), ("louder", 18.0, 0.0), ("dirty", 0.0, 9.0)):
        symbols = torch.where(batch.source_mask[..., None], received, torch.tensor(padding))
        made[name] = by_graphs(sessions, heard_by(model.receiver, symbols, snr).numpy(), mask)
    assert made["first"] == made["dirty"] != made["louder"]


@torch.no_grad()
def test_the_functions_of_tensors_are_the_receiver():
    model = fronted()
    batch = collated(3, 2, 7)
    start, step = model.receiver.stateless()
    received = torch.randn(*batch.source.shape, FOREIGN + 1)
    memory = start(received, batch.source_mask)
    said = torch.randint(4, V, (3, 5))
    layers, rows, heads, _, width = memory[0].shape
    keys = values = torch.zeros(layers, rows, heads, 0, width)
    for place in range(5):
        logits, keys, values = step(said[:, place], keys, values, *memory, batch.source_mask)
        whole = model.receiver.project(model.receiver(received, batch.source_mask, said[:, : place + 1]))
        torch.testing.assert_close(logits, whole[:, -1], atol=1e-5, rtol=1e-5)
        assert keys.shape == (layers, rows, heads, place + 1, width)


# --- the folder


@pytest.mark.onnx
def test_the_folder_says_what_is_in_it(exported):
    import onnx

    folder = exported / "link"
    assert {path.name for path in folder.iterdir()} == FILES
    link = json.loads((folder / LINK).read_text())
    for name in FILES - {LINK}:
        content = (folder / name).read_bytes()
        assert link["files"][name] == {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    assert json.loads((folder / "vocabulary.json").read_text()) == word_json(WORDS)
    assert (link["format"], link["precision"], link["hears_snr"]) == (1, "fp32", True)
    assert link["architecture"]["amplitude"] == pytest.approx(2**0.5) and link["metrics"] == {"loss": None}
    assert link["source"]["fingerprint"] == checkpoint.load(exported / "model.pt").fingerprint
    for name in GRAPHS:
        graph = onnx.load(folder / name)
        assert [each.version for each in graph.opset_import] == [link["opset"]]
        content = (folder / name).read_bytes()
        assert b"semcom" not in content and b"/" + b"torch" not in content, "where it was made"


@pytest.mark.onnx
def test_a_folder_that_is_there_is_refused_before_the_work(exported, here, capsys, monkeypatch):
    monkeypatch.setattr(onnx_graphs, "write", lambda *_: pytest.fail("too late"))
    (here / "taken").mkdir()
    (here / "taken" / "notes.txt").write_text("mine")
    asked = ["export", exported / "model.pt", "--format", "onnx", "--output"]
    refused(capsys, package(*asked, "taken"), "--output taken", "exists already", "--overwrite")
    refused(capsys, package(*asked, exported), "holds", "an input of this run")


def wrong(exported, monkeypatch):
    """The exporter makes the graphs of another model."""
    monkeypatch.setattr(
        onnx_graphs,
        "write",
        lambda graph, folder: shutil.copy(exported / "link" / graph.file, folder),
    )
    other = fronted()
    with torch.no_grad():
        other.receiver.inner.inner.decoder.layers[1].cross_attention.value.weight *= -1
    kept(other, "other.pt")


@pytest.mark.onnx
def test_a_wrong_graph_is_not_left(exported, here, capsys, monkeypatch):
    wrong(exported, monkeypatch)
    asked = ["export", "other.pt", "--format", "onnx", "--output", "link"]
    refused(capsys, package(*asked), "nothing was made", "do not do what the checkpoint does", "logits")
    assert [path.name for path in here.iterdir() if not path.name.startswith(".")] == ["other.pt"]
    assert not list(here.glob(".*.making"))
    shutil.copytree(exported / "link", "link")
    refused(capsys, package(*asked, "--overwrite"), "nothing was made")
    assert {path.name for path in (here / "link").iterdir()} == FILES


# --- what is refused


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--format", "onnx", "--positions", 9], "--positions: belongs to --format deepsc"),
        (["--format", "onnx", "--vocab-output", "v.json"], "--vocab-output: belongs to --format deepsc"),
        (["--int8"], "--int8: belongs to --format onnx"),
        (["--format", "safetensors", "--int8"], "--int8: belongs to --format onnx"),
        (["--format", "tflite"], "deepsc"),
    ],
)
def test_flags_of_one_format_are_refused_to_others(flags, said, here, capsys):
    refused(capsys, package("export", "a.pt", "--output", "out", *flags), said)


def test_a_receiver_that_keeps_a_state_is_refused(gru, here, capsys):  # noqa: F811
    kept(toy(), "gru.pt")
    code = package("export", "gru.pt", "--format", "onnx", "--output", "link")
    refused(capsys, code, "receiver of kind gru", "keeps a state of its own")


def test_without_the_extra_a_line_says_how_to_install_it(here, capsys, monkeypatch):
    kept(sharp(), "toy.pt")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    code = package("export", "toy.pt", "--format", "onnx", "--output", "link")
    refused(capsys, code, "onnxscript is not installed", "pip install .[onnx]")


# --- weights of 8 bits


@pytest.mark.onnx
def test_eight_bits_say_nearly_the_same_and_what_they_cost_is_told(exported, here, capsys, monkeypatch):
    monkeypatch.setattr(
        onnx_graphs, "write", lambda graph, to: shutil.copy(exported / "link" / graph.file, to)
    )
    monkeypatch.setattr(export_int8, "WHOLE_CORPUS", CorpusConfig(corpus_size=600))
    asked = ["--format", "onnx", "--int8", "--output", "small"]
    assert package("export", exported / "model.pt", *asked) == 0
    said = capsys.readouterr()
    assert "WARNING" not in said.err and said.out.count("\n") < 10, "nothing of the libraries is heard"
    said = said.out
    link = json.loads((here / "small" / LINK).read_text())
    assert {path.name for path in (here / "small").iterdir()} == FILES and link["precision"] == "int8"
    cost = link["int8"]
    assert cost["bleu_lost"] == cost["bleu"]["torch"] - cost["bleu"]["int8"] and cost["snr"] == 12
    assert (
        "signature" in str(cost) and f"{cost['bleu']['int8']:.2f} by int8, {-cost['bleu_lost']:+.2f}" in said
    )
    model = checkpoint.load(exported / "model.pt").model
    whole = onnx_check.differences(model, exported / "link")
    rounded = onnx_check.differences(model, here / "small")
    assert 100 * whole.logits < rounded.logits < rounded.scale / 5
    assert whole.signal < rounded.signal < 0.2
    for name, recorded in link["files"].items():
        assert (here / "small" / name).stat().st_size == recorded["bytes"]


@pytest.mark.onnx
def test_without_its_sentences_the_cost_is_not_told(exported, here, capsys):
    source = checkpoint.load(exported / "model.pt")
    source.config["corpus"] = ["gone.txt"]
    with spoken() as lines:
        assert export_int8.test_of(source) is None
    assert "will not be measured" in lines[-1] and "gone.txt" in lines[-1]
