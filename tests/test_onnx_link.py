"""Ends on onnxruntime decode what torch decodes: by greedy decoding and by beams, in ``evaluate``, and in the
program of docs/export.md, which has neither torch nor sentencepiece."""

import csv
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import cli_support
import numpy as np
import pytest
import torch

from benchmarks import onnx_tokens
from semcom.base.errors import SemcomError
from semcom.channel.channels import AWGN
from semcom.data import batching
from semcom.data.piece_vocabulary import PieceVocabulary, message_of, train_vocabulary
from semcom.data.plain_pieces import plain_pieces
from semcom.models import checkpoint, onnx_link
from semcom.models.decoding import beam, greedy
from semcom.models.link import send

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
ROOT = Path(__file__).parent.parent
WITHOUT = "import sys, runpy; sys.modules.update(dict.fromkeys({names}))\nsys.argv = sys.argv[1:]\n"
CHINESE = [
    "今天天气很好，我们去公园散步。",
    "语义通信只传送意义，不传送每一个比特。",
    "他说：“你好！”",
    "两只狗在雪地里玩红球",
]


@pytest.fixture(scope="module")
def folder(made_once, teacher):
    """The exported teacher; tests must not write to it."""

    def make(folder):
        asked = ["--format", "onnx", "--output", folder / "link"]
        assert cli_support.package("export", teacher, *asked) == 0

    return made_once("teacher as onnx", make) / "link"


@pytest.fixture(scope="module")
def ends(teacher, folder):
    """The teacher by torch, and by onnxruntime."""
    return checkpoint.load(teacher), onnx_link.load(folder)


@pytest.fixture(scope="module")
def batch(ends, sentences):
    encoded = batching.encode(sentences[:12], ends[0].vocabulary)
    return batching.collate(encoded)


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


def test_evaluate_tells_folders_beside_checkpoints_and_times_both(teacher, folder, here, capsys):
    asked = ["--sentences", 6, "--snr", 0, 12, "--quiet", "--runtime", "onnx", "--output", "table.csv"]
    size = ["--corpus-size", 300]
    assert cli_support.package("evaluate", teacher, folder, *size, *asked) == 0
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
    assert len(example.splitlines()) <= 40


@torch.inference_mode()
def test_the_program_without_torch_decodes_the_tokens_of_torch(example, ends, folder, tmp_path, sentences):
    (tmp_path / "send.py").write_text(example)
    ours, seed, snr = ends[0], 3, 6.0
    text = sentences[3].text
    names = "['torch', 'sentencepiece', 'semcom']"
    start = WITHOUT.format(names=names) + f"runpy.run_path({str(tmp_path / 'send.py')!r})"
    words = ["send.py", str(folder), text, str(snr), str(seed)]
    made = subprocess.run(
        [sys.executable, "-c", start, *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert made.returncode == 0, made.stderr
    pieces, shown = made.stdout.splitlines()

    batch = batching.collate(batching.encode([sentences[3]], ours.vocabulary))
    signal = ours.model.transmitter(batch.source, batch.source_mask)[0]
    noise = np.random.default_rng(seed).normal(0, (10 ** (-snr / 10) / 2) ** 0.5, tuple(signal.shape))
    received = (signal + torch.from_numpy(noise)).float()
    wanted = greedy(ours.model.receiver, received, batch.source_mask)[0]
    assert [piece for piece in json.loads(pieces) if piece not in (1, 2)] == wanted
    assert shown == ours.vocabulary.decode([wanted])[0]


def test_the_program_without_torch_finds_none(tmp_path):
    names = "['torch', 'sentencepiece', 'semcom']"
    made = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(names=names) + "import torch"], capture_output=True, check=False
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
