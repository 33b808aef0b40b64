"""Ends on onnxruntime decode what torch decodes: by greedy decoding and by beams, in ``evaluate``, and in the
program of docs/export.md, which has neither torch nor sentencepiece."""

import csv
import json
import random
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cli_support
import numpy as np
import pytest
import torch
from test_export_onnx import WORDS, exported  # noqa: F401  # a fixture
from toy import collated

from benchmarks import onnx_tokens
from semcom.base.errors import SemcomError
from semcom.channel.channels import AWGN
from semcom.commands import evaluate_onnx
from semcom.data.piece_vocabulary import PieceVocabulary, message_of, train_vocabulary
from semcom.data.plain_pieces import plain_pieces
from semcom.data.vocabulary import BOS, EOS
from semcom.evaluation import frames, latency
from semcom.models import checkpoint, onnx_link, onnx_reading
from semcom.models.decoding import beam, greedy
from semcom.models.link import heard_by, send
from semcom.models.onnx_folder import TRANSMITTER
from semcom.models.onnx_link import Graph, OnnxTransmitter

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.onnx
ROOT = Path(__file__).parent.parent
WITHOUT = """import sys
sys.modules.update(dict.fromkeys(["torch", "sentencepiece", "semcom"]))
sys.argv = sys.argv[1:]
"""
LETTERS = "▁abcdefghijklmnopqrs"
"""A piece each, as many as the vocabulary of toys has places."""
CHINESE = [
    "今天天气很好，我们去公园散步。",
    "语义通信只传送意义，不传送每一个比特。",
    "他说：“你好！”",
    "两只狗在雪地里玩红球",
]


@pytest.fixture(scope="module")
def ends(exported):  # noqa: F811
    """A transceiver with all that may stand before a receiver, by torch, and by onnxruntime."""
    return checkpoint.load(exported / "model.pt"), onnx_link.load(exported / "link")


@pytest.fixture(scope="module")
def batch():
    return collated(40, 2, 9)


@pytest.mark.parametrize("snr", [-6.0, 6.0])
def test_the_tokens_are_those_of_torch(snr, ends, batch):
    torch_ends, onnx_ends = (each.model for each in ends)
    found = onnx_tokens.compared(torch_ends, onnx_ends, [batch], AWGN(), snr, 1)
    assert (found.sentences, found.wrong) == (len(batch), 0) and found.tokens > 0
    assert 0 < found.signal < 1e-5


def test_tokens_that_are_others_are_counted(ends, batch, monkeypatch):
    def another(receiver, received, mask):
        made = greedy(receiver, received, mask)
        return [[7, *pieces] for pieces in made] if receiver.says_logits else made

    monkeypatch.setattr(onnx_tokens, "greedy", another)
    monkeypatch.setattr(onnx_tokens, "gap", lambda *given: 0.5)
    torch_ends, onnx_ends = (each.model for each in ends)
    assert onnx_tokens.compared(torch_ends, onnx_ends, [batch], AWGN(), 6.0, 1).wrong == len(batch)


@torch.inference_mode()
def test_beams_and_what_is_told_after_gold_prefixes_are_those_of_torch(ends, batch):
    ours, theirs = (each.model for each in ends)
    heard = send(ours.transmitter, batch, AWGN(), [3.0], seed=1).heard_by(ours.receiver)[0]
    given = heard, batch.source_mask
    assert beam(theirs.receiver, *given, 3, 1.0) == beam(ours.receiver, *given, 3, 1.0)
    wanted = ours.receiver.project(ours.receiver(*given, batch.target_in))
    told = theirs.receiver.project(theirs.receiver(*given, batch.target_in))
    real = batch.target_mask
    torch.testing.assert_close(told[real], wanted[real], atol=1e-4, rtol=0)


def test_the_fingerprint_is_not_the_checkpoints(ends):
    ours, theirs = ends
    assert theirs.fingerprint not in (ours.fingerprint, checkpoint.fingerprint_of(torch.nn.Module()))
    assert theirs.vocabulary.fingerprint == ours.vocabulary.fingerprint


def test_threads_are_as_many_as_torch_has(ends):
    graph = onnx_link.Graph("here", "transmitter.onnx", ends[1].model.transmitter.graph.serialized)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert graph.session().get_session_options().intra_op_num_threads == threads
    finally:
        torch.set_num_threads(before)


def test_a_graph_of_another_kind_is_refused(ends):
    ours = ends[1].model
    swapped = onnx_link.Graph("here", "receiver_start.onnx", ours.transmitter.graph.serialized)
    with pytest.raises(SemcomError, match=r"takes source source_mask, expected are received source_mask"):
        swapped.session()


@pytest.fixture
def sending(exported):  # noqa: F811
    """A folder, and the graph of its transmitter, to be changed."""
    onnx = pytest.importorskip("onnx")
    folder = onnx_reading.read(exported / "link")
    return folder, onnx.load_from_string(folder.graphs[TRANSMITTER])


def test_weights_outside_of_a_graph_are_not_read(sending, tmp_path, monkeypatch):
    folder, graph = sending
    monkeypatch.chdir(tmp_path)
    largest = max(graph.graph.initializer, key=lambda each: len(each.raw_data))
    Path("outside.bin").write_bytes(largest.raw_data)
    largest.ClearField("raw_data")
    largest.data_location = largest.EXTERNAL
    largest.external_data.add(key="location", value="outside.bin")
    with pytest.raises(SemcomError, match="transmitter.onnx is no graph that onnxruntime takes"):
        Graph(folder.where, TRANSMITTER, graph.SerializeToString()).session()


@pytest.mark.parametrize("gain", [1.01, float("nan")])
def test_a_signal_of_another_power_is_refused(gain, sending, batch):
    from onnx import helper, numpy_helper

    folder, graph = sending
    (output,) = graph.graph.output
    for node in graph.graph.node:
        for place, name in enumerate(node.output):
            node.output[place] = "weaker" if name == output.name else name
    graph.graph.initializer.append(numpy_helper.from_array(np.float32(gain).reshape(()), "gain"))
    graph.graph.node.append(helper.make_node("Mul", ["weaker", "gain"], [output.name]))
    louder = replace(folder, graphs={**folder.graphs, TRANSMITTER: graph.SerializeToString()})
    with pytest.raises(SemcomError, match="sends at another power than 1 per complex symbol"):
        OnnxTransmitter(louder)(batch.source, batch.source_mask)


def test_evaluate_tells_folders_beside_checkpoints_and_times_both(
    exported,  # noqa: F811
    here,
    capsys,
    monkeypatch,
):
    monkeypatch.setattr(latency, "ROUNDS", {1: 3, 64: 2})
    words = random.Random(2)
    lines = [" ".join(words.choices(WORDS, k=words.randint(4, 9))) for _ in range(300)]
    Path("words.txt").write_text("\n".join(lines))
    asked = ["--corpus", "words.txt", "--sentences", 6, "--snr", 0, 12, "--quiet", "--output", "table.csv"]
    models = exported / "model.pt", exported / "link"
    assert cli_support.package("evaluate", *models, "--runtime", "onnx", *asked) == 0
    told = capsys.readouterr()
    shown = told.out + told.err
    assert "latency: ms of wall time a sentence" in shown and "onnxruntime 1." in shown
    rows = list(csv.DictReader(open("table.csv")))
    by_model = {}
    for row in rows:
        if row["model"] != "(floor)" and not row["topic"]:
            by_model.setdefault(row["model"], []).append((row["snr"], row["bleu"], row["exact"]))
    ours, theirs = by_model.values()
    assert ours == theirs and len(ours) == 2
    timed = list(csv.DictReader(open("table.latency.csv")))
    assert len(timed) == 8 and {row["batch"] for row in timed} == {"1", "64"}
    for row in timed:
        assert 0 < float(row["median_ms"]) <= float(row["upper_ms"]) and int(row["bytes"]) > 1000
        assert row["threads"] == "1" and row["cpu"]


@pytest.mark.parametrize("wall, busy", [(1.2, False), (9.0, True)])
def test_a_machine_that_was_not_idle_is_told(wall, busy, caplog):
    of_all = {"model": "a", "snr": 12.0, "threads": 1, "cpu": "a CPU", "runtime": "torch 2", "bytes": 10**6}
    rows = [
        {**of_all, "end": end, "batch": batch, "median_ms": wall, "upper_ms": 2 * wall, "median_cpu_ms": 1.0}
        for end in ("transmitter", "receiver")
        for batch in (1, 64)
    ]
    with caplog.at_level("INFO"):
        evaluate_onnx._show(frames.frame_of(rows))
    assert ("wall time is 9.0 times the processor time" in caplog.text) is busy
    assert f"{wall:.3f}" in caplog.text and "1 thread of a CPU" in caplog.text


# --- without torch


@pytest.fixture(scope="module")
def example():
    """The program in docs/export.md."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/export.md").read_text(), re.S)
    return code


@pytest.fixture(scope="module")
def cut(example):
    """Its function."""
    names: dict = {}
    exec(example.partition("\nfolder, text")[0], names)
    return names["cut"]


def test_the_program_has_at_most_40_lines(example):
    assert sum(bool(line) for line in example.splitlines()) <= 40


def sent_by(example, folder, text, snr, seed):
    """What the program prints where neither torch nor sentencepiece nor this package can be imported."""
    run = f"import runpy\nrunpy.run_path({str(example)!r})"
    words = [sys.executable, "-c", WITHOUT + run, "send.py", folder, text, snr, seed]
    made = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    pieces, _, shown = made.stdout.partition("\n")
    return json.loads(pieces), shown.rstrip("\n")


@torch.inference_mode()
def by_torch(model, source, snr, seed):
    """The pieces that torch decodes through the noise of the program."""
    ids = torch.tensor([source])
    mask = torch.ones_like(ids, dtype=torch.bool)
    signal, _ = model.transmitter(ids, mask)
    noise = np.random.default_rng(seed).normal(0, (10 ** (-snr / 10) / 2) ** 0.5, tuple(signal.shape))
    received = heard_by(model.receiver, (signal + torch.from_numpy(noise)).float(), snr)
    return greedy(model.receiver, received, mask)[0]


def spoken(pieces):
    """Without bos and eos."""
    return [piece for piece in pieces if piece not in (BOS, EOS)]


def test_the_program_without_torch_decodes_the_tokens_of_torch(example, ends, exported, tmp_path):  # noqa: F811
    folder, program = tmp_path / "link", tmp_path / "send.py"
    shutil.copytree(exported / "link", folder)
    program.write_text(example)
    names = ["<pad>", "<s>", "</s>", "<unk>", *LETTERS]
    scores = [None] * 4 + [-1.0 - k / 10 for k in range(len(LETTERS))]
    plain = {"form": "", "instead": {}, "pieces": names, "scores": scores, "longest": 1, "unknown": -30.0}
    (folder / "pieces.json").write_text(json.dumps(plain))
    for seed in (1, 2):
        pieces, shown = sent_by(program, folder, "cab bed", 6.0, seed)
        source = [BOS, *(names.index(letter) for letter in "▁cab▁bed"), EOS]
        assert spoken(pieces) == by_torch(ends[0].model, source, 6.0, seed)
        assert shown == "".join(names[piece] for piece in spoken(pieces)).replace("▁", " ").strip()


@pytest.mark.slow
def test_the_program_sends_bytes_and_chinese(example, made_once, teacher, tmp_path):
    def make(folder):
        asked = ["--format", "onnx", "--output", folder / "link"]
        assert cli_support.package("export", teacher, *asked) == 0

    folder, program = made_once("teacher as onnx", make) / "link", tmp_path / "send.py"
    program.write_text(example)
    source = checkpoint.load(teacher)
    for text in ("The Council adopted the regulation on fisheries.", "你好，🙂 ½", *CHINESE):
        pieces, shown = sent_by(program, folder, text, 12.0, 3)
        ids = [BOS, *source.vocabulary.encode([text])[0], EOS]
        wanted = by_torch(source.model, ids, 12.0, 3)
        assert spoken(pieces) == wanted and shown == source.vocabulary.decode([wanted])[0]


@pytest.mark.parametrize("name", ["torch", "sentencepiece", "semcom"])
def test_the_program_is_run_where_these_are_not(name):
    made = subprocess.run(
        [sys.executable, "-c", WITHOUT + f"import {name}"], capture_output=True, check=False
    )
    assert b"ModuleNotFoundError" in made.stderr


@pytest.mark.parametrize("normalization", ["nfkc", "nmt_nfkc", "nfc", "identity"])
def test_it_cuts_text_as_sentencepiece_does(normalization, cut, sentences):
    texts = [s.text for s in sentences[:300]] + 20 * CHINESE
    vocabulary = train_vocabulary(texts, 500, normalization)
    plain = json.loads(plain_pieces(vocabulary))
    characters = random.Random(1)
    known = [
        chr(code)
        for code in [*range(32, 700), *range(0x3040, 0x30FF), *range(0x4E00, 0x4F00), 0xFF5E, 0x1F600]
    ]
    drawn = ["x" + "".join(characters.choices(known, k=20)) for _ in range(100)]
    odd = [
        "e\u0301 ﬁne Ｆｕｌｌ　ｗｉｄｔｈ ～",
        " two  blanks ",
        "half ½ ² ™",
        "👩\u200d👩\u200d👧",
        "tab\there",
    ]
    tried = [*texts[:310], *drawn, *odd, *CHINESE]
    wanted = vocabulary.encode(tried)
    assert [cut(text, **plain) for text in tried] == wanted
    assert any("<0x" in plain["pieces"][piece] for pieces in wanted for piece in pieces)


def test_vocabularies_that_are_not_of_the_usual_form_have_no_plain_pieces(sentences):
    model = message_of(train_vocabulary((s.text for s in sentences), 400).serialized)
    assert plain_pieces(PieceVocabulary(model.SerializeToString())) is not None
    model.normalizer_spec.add_dummy_prefix = False
    assert plain_pieces(PieceVocabulary(model.SerializeToString())) is None
