"""Source codes: lengths against entropy and against all codes there are, every text back to the letter,
damaged bits, files."""

import json
import math
import random
from collections import Counter
from itertools import product

import numpy as np
import pytest
from toy import word_vocabulary

from semcom.base.errors import SemcomError
from semcom.data import arithmetic_coding, source_codes
from semcom.data.arithmetic_coding import TOTAL, Reader
from semcom.data.huffman import CanonicalCode, is_whole, word_lengths
from semcom.data.source_code_settings import CHARACTERS, PIECES
from semcom.data.source_codes import ESCAPE, learned

STRANGE = [
    "",
    " ",
    "Zürich, naïve Ελλάδα – “quotes” €5",
    "語意通信是什麼？",
    "👩‍🚀🚀 \U0010ffff\x00\x7f",
    "tab\there, newline\nthere, soft\u00adhyphen, ﬁ ½ Ａ",
    "half a character \ud83d",
]


@pytest.fixture(scope="module")
def texts(sentences):
    return [s.text for s in sentences]


@pytest.fixture(scope="module")
def codes(texts, vocabulary):
    return {kind: learned(kind, texts, vocabulary) for kind in (CHARACTERS, PIECES)}


def entropy(counts):
    total = sum(counts.values())
    return -sum(n / total * math.log2(n / total) for n in counts.values())


def shortest_mean(weights):
    """Of all lengths that Kraft's inequality allows."""
    best = math.inf
    for lengths in product(range(1, len(weights) + 1), repeat=len(weights)):
        if sum(2.0**-n for n in lengths) <= 1:
            best = min(best, sum(w * n for w, n in zip(weights, lengths)))
    return best


@pytest.mark.parametrize("seed", range(8))
def test_no_code_is_shorter(seed):
    rng = random.Random(seed)
    weights = [rng.choice((1, 1, 2, 3, 5, 8, 40)) for _ in range(rng.randint(2, 6))]
    lengths = word_lengths(dict(enumerate(weights)))
    assert sum(weights[i] * n for i, n in lengths.items()) == shortest_mean(weights)
    assert sum(2.0**-n for n in lengths.values()) == 1


def test_words_are_canonical():
    code = CanonicalCode(word_lengths({7: 8, 3: 4, 5: 2, 1: 1, 2: 1}))
    assert code.words == {7: (0b0, 1), 3: (0b10, 2), 5: (0b110, 3), 1: (0b1110, 4), 2: (0b1111, 4)}
    words = [f"{number:0{length}b}" for number, length in code.words.values()]
    assert not any(a != b and b.startswith(a) for a in words for b in words)


def test_a_symbol_alone_has_a_bit():
    assert word_lengths({5: 9}) == {5: 1}
    assert is_whole({5: 1}) and not is_whole({5: 2}) and not is_whole({1: 1, 2: 2}) and not is_whole({1: 0})


@pytest.mark.parametrize("kind", [CHARACTERS, PIECES])
def test_mean_length_is_within_a_bit_of_the_entropy(kind, codes, texts):
    code = codes[kind]
    counts = Counter(symbol for row in code.symbols_of(texts) for symbol in row)
    assert entropy(counts) <= code.code.mean_length(counts) < entropy(counts) + 1
    bits = sum(map(len, code.encode_all(texts)))
    assert bits == round(code.code.mean_length(counts) * counts.total())


def test_characters_return_every_text(codes, texts):
    code = codes[CHARACTERS]
    for text in texts + STRANGE:
        bits = code.encode(text)
        assert bits.dtype == np.uint8 and set(bits.tolist()) <= {0, 1}
        assert code.decode(bits) == text


def test_pieces_return_the_vocabularys_form(codes, texts, vocabulary):
    code = codes[PIECES]
    given = texts + STRANGE[:-1]
    expected = vocabulary.decode(vocabulary.encode(given))
    assert code.decode_all(code.encode_all(given)) == expected == code.restored(given)
    assert code.restored(texts) == texts
    assert {"👩‍🚀🚀", "ﬁ"}.isdisjoint(texts[0].split()) and "🚀" in expected[len(texts) + 4]


def test_words_are_pieces_too(texts):
    words = word_vocabulary(sorted({word for text in texts for word in text.lower().split()}))
    code = learned(PIECES, texts[:100], words)
    assert len(code.code.lengths) < len(words)
    some = ["An unheard-of wörd.", *texts]
    assert code.decode_all(code.encode_all(some)) == words.decode(words.encode(some))


def test_what_no_training_text_had_costs_an_escape(codes):
    code = codes[CHARACTERS]
    assert ord("語") not in code.code.lengths
    assert len(code.encode("語")) == code.code.lengths[ESCAPE] + 24
    assert len(code.encode("é")) == code.code.lengths[ESCAPE] + 16


@pytest.mark.parametrize("kind", [CHARACTERS, PIECES])
def test_damaged_bits_give_some_text(kind, codes, texts):
    code, rng = codes[kind], np.random.default_rng(0)
    sent = code.encode_all(texts[:40] + STRANGE[:-1])
    damaged = [bits ^ (rng.random(len(bits)) < 0.1).astype(np.uint8) for bits in sent]
    noise = [rng.integers(0, 2, n, dtype=np.uint8) for n in range(400)]
    escapes = [np.tile(code.encode("語"), 3)[:n] for n in range(60)]
    found = code.decode_all(damaged + noise + escapes)
    assert all(isinstance(text, str) for text in found)
    assert sum(a != b for a, b in zip(found, code.restored(texts[:40]))) >= 35
    word, length = code.code.words[ESCAPE]
    escape = [int(bit) for bit in f"{word:0{length}b}"]
    for first in range(256):
        spelled = [int(bit) for bit in f"{first:08b}" + "1" * 40]
        code.decode(np.array(escape + spelled, dtype=np.uint8))


def parts_of(counts, symbols):
    starts = np.concatenate(([0], np.cumsum(counts)))
    return [(int(starts[s]), int(counts[s])) for s in symbols]


def read_all(bits, counts, end):
    starts, reader, found = np.concatenate(([0], np.cumsum(counts))), Reader(bits), []
    while True:
        symbol = int(np.searchsorted(starts, reader.target(), side="right")) - 1
        if not reader.take((int(starts[symbol]), int(counts[symbol]))):
            return found, False
        if symbol == end:
            return found, True
        found.append(symbol)


@pytest.mark.parametrize("seed", range(20))
def test_arithmetic_coding_is_exact_and_takes_no_more_than_the_information(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, (2, 1000, 10**6)[seed % 3], 12)
    counts = sizes * (TOTAL - 12) // sizes.sum() + 1
    counts[5] += TOTAL - counts.sum()
    shares = counts[1:] / counts[1:].sum()
    message = [int(s) for s in rng.choice(np.arange(1, 12), size=rng.integers(0, 200), p=shares)]
    bits = arithmetic_coding.encoded(parts_of(counts, [*message, 0]))
    information = -sum(math.log2(counts[s] / TOTAL) for s in [*message, 0])
    assert information <= len(bits) + 1e-6 and len(bits) < information + 1
    assert read_all(bits, counts, end=0) == (message, True)


def test_bits_that_say_no_more_end_a_message():
    halves = np.array([TOTAL // 2] * 2)
    assert read_all(np.ones(4, dtype=np.uint8), halves, end=0) == ([1, 1, 1, 1], False)
    assert read_all(np.zeros(0, dtype=np.uint8), halves, end=0) == ([], False)


def test_files_give_the_same_code_back(tmp_path, codes, texts, vocabulary):
    for kind, code in codes.items():
        source_codes.write(code, tmp_path / kind)
        again = source_codes.read(tmp_path / kind, vocabulary)
        assert again.name == kind and again.fingerprint == code.fingerprint
        assert again.decode_all(code.encode_all(texts[:20])) == texts[:20]
    assert codes[CHARACTERS].fingerprint != codes[PIECES].fingerprint
    assert learned(CHARACTERS, texts[:9], vocabulary).fingerprint != codes[CHARACTERS].fingerprint


def changed(code, **values):
    described = {"source_code": code.name, "lengths": sorted(code.code.lengths.items()), **values}
    return json.dumps(source_codes.json_files.digested(described))


@pytest.mark.parametrize(
    "values, words",
    [
        ({"lengths": [[-1, 1], [5, 2]]}, "no whole code"),
        ({"lengths": [[-1, 1], [-1, 1]]}, "one a symbol"),
        ({"lengths": [[-1, 1], [5, True]]}, "one a symbol"),
        ({"lengths": [[5, 1], [6, 1]]}, "symbols are not those"),
        ({"lengths": [[-1, 1], [1_114_112, 1]]}, "symbols are not those"),
        ({"lengths": []}, "symbols are not those"),
        ({"lengths": 5}, "no source code"),
        ({"source_code": "zip\x1b[31m"}, "of kind"),
        ({"source_code": PIECES, "vocabulary": "0" * 16}, "another vocabulary"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, codes, vocabulary, values, words):
    path = tmp_path / "code.json"
    path.write_text(changed(codes[CHARACTERS], **values))
    with pytest.raises(SemcomError, match=words) as refused:
        source_codes.read(path, vocabulary)
    assert "\x1b" not in str(refused.value) and len(str(refused.value)) < 500
    assert "\n" not in str(refused.value)


def test_damaged_and_missing_files_are_refused(tmp_path, codes, vocabulary):
    path = tmp_path / "code.json"
    with pytest.raises(SemcomError, match="No such file"):
        source_codes.read(path, vocabulary)
    path.write_text(changed(codes[CHARACTERS]).replace("[-1, ", "[-1,  1", 1))
    with pytest.raises(SemcomError, match="digest|damaged"):
        source_codes.read(path, vocabulary)
