"""The word vocabulary of public DeepSC code: its preprocessing beside a second statement of it, ids to text
and back, its file."""

import json
import pickle
import random
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from toy import transceiver, word_json, word_vocabulary

from semcom.base.errors import SemcomError
from semcom.data import corpus, parliament
from semcom.data import word_vocabulary as vocabulary_module
from semcom.data.piece_vocabulary import PieceVocabulary
from semcom.data.vocabulary import BOS, EOS, PAD, UNK
from semcom.data.vocabulary_files import read_vocabulary
from semcom.data.word_vocabulary import WordVocabulary
from semcom.models import checkpoint

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
WORDS = ["", "the", "session", "is", "over", "!", "!well", "a", "i"]


def public_words(line: str) -> list[str]:
    """The public preprocessing stated again, over the whole line at once."""
    line = "".join(c for c in unicodedata.normalize("NFD", line) if unicodedata.category(c) != "Mn")
    line = re.sub(r"<[a-zA-Z/!][^>]*>", "", line)
    line = re.sub(r"([!.?])", r" \1", line)
    line = re.sub(r"[^a-zA-Z.!?]+", " ", line)
    line = " ".join(line.lower().split())
    return line.replace("?", "").replace(".", "").split(" ") if line else []


def soup(rng: random.Random) -> str:
    """A line of whatever makes preprocessing err: marks, tags, accents, brackets under accents, white space,
    other scripts."""
    bits = [
        "the",
        "Session",
        "is",
        "over",
        ".",
        "!",
        "?",
        "...",
        "!well",
        "a.b",
        "<",
        ">",
        "<b>",
        "</p>",
        "<!-- x -->",
        '<a href="the">',
        "≮b the ≯",
        "<\u0301b>",
        "é",
        "E\u0301",
        "naïve",
        "ß",
        "İ",
        "K",
        "ſ",
        "漢字",
        "привет",
        "🙂",
        "5",
        "1,000.50",
        "%",
        "'s",
        "-",
        "\t",
        "\u00a0",
        "\u2028",
        "\x1f",
        "\x00",
        "\u200b",
        "\ud7a3",
        "\u037e",
        "unk",
        "<UNK>",
        "&amp;",
        "Dž",
        "ﬁ",
    ]
    return "".join(rng.choice(bits) + rng.choice(("", " ", " ")) for _ in range(rng.randrange(12)))


def of_lines(lines, most=5000) -> WordVocabulary:
    """The public vocabulary of some lines: the most frequent words."""
    return word_vocabulary(
        word for word, _ in Counter(word for line in lines for word in public_words(line)).most_common(most)
    )


def as_public(vocabulary, lines) -> list[list[int]]:
    ids = json.loads(vocabulary.serialized)["token_to_idx"]
    return [[ids.get(word, UNK) for word in public_words(line)] for line in lines]


def check_text(vocabulary, lines):
    """What holds of any text: the public ids, and a normal form that is one."""
    encoded = vocabulary.encode(lines)
    assert encoded == as_public(vocabulary, lines)
    normal = [vocabulary.normalize(line) for line in lines]
    assert [vocabulary.normalize(line) for line in normal] == normal
    assert vocabulary.encode(normal) == encoded == vocabulary.encode(vocabulary.decode(encoded))


# Preprocessing


@pytest.mark.parametrize(
    "line, words",
    [
        ("The session is over.", ["the", "session", "is", "over", ""]),
        ("Is the <i>Session</i> OVER?", ["is", "the", "session", "over", ""]),
        ("The session! Is it over...", ["the", "session", "!", "is", "it", "over", "", "", ""]),
        ("Session<br/>over", ["sessionover"]),
        ("Café, naïve: 5 % of Mr. Müller's", ["cafe", "naive", "of", "mr", "", "muller", "s"]),
        ("a < b > c", ["a", "b", "c"]),
        ("!well a!b.c", ["!well", "a", "!b", "c"]),
        ("漢字 5", []),
        ("?!", ["", "!"]),
    ],
)
def test_words_of_a_line(line, words):
    assert public_words(line) == words, "the second statement itself"
    ids = {word: i for i, word in enumerate(dict.fromkeys(words), 4)}
    assert word_vocabulary(ids).encode([line]) == [[ids[word] for word in words]]


@pytest.mark.parametrize("seed", range(4))
def test_preprocessing_is_the_public_one_whatever_the_line(seed):
    rng = random.Random(seed)
    lines = [soup(rng) for _ in range(2000)]
    check_text(of_lines(lines, 20), lines)
    check_text(of_lines(lines), lines)


def test_preprocessing_of_the_built_in_corpus():
    lines = [s.text for s in corpus.built_in(2000).sentences]
    check_text(of_lines(lines), lines)


@pytest.mark.skipif(not DATA.is_dir(), reason="no shared data")
@pytest.mark.parametrize("name", ["europarl-sample.en", "wmt-tokenized.en", "captions.en"])
def test_preprocessing_of_real_text(name):
    lines = (DATA / name).read_text(encoding="utf-8").split("\n")[:4000]
    check_text(of_lines(lines, 3000), lines)


def test_a_vocabulary_without_the_empty_word_drops_it():
    vocabulary = word_vocabulary(WORDS[1:])
    assert vocabulary.decode(vocabulary.encode(["The session... is? Over."])) == ["the session is over"]
    assert vocabulary.normalize("The session is. over ?") == "the session is over"


def test_a_line_of_brackets_takes_no_quadratic_time():
    vocabulary = word_vocabulary(WORDS)
    assert vocabulary.encode(["> " + "<a" * 500_000])[0] == vocabulary.encode(["a " * 500_000])[0]


# Text and back


def test_how_text_is_shown():
    vocabulary = word_vocabulary(WORDS)
    empty, the, session, is_, over, mark, well = range(4, 11)
    for ids, text in (
        ([BOS, the, session, is_, over, empty, EOS, PAD], "the session is over."),
        ([the, UNK, empty], "the UNK."),
        ([UNK], "UNK"),
        ([empty, the, empty, empty, mark], ". the.. !"),
        ([well, empty, over], "!well. over"),
        ([empty, empty], ".."),
        ([], ""),
    ):
        assert vocabulary.decode([ids]) == [text]
        assert vocabulary.encode([text]) == [[i for i in ids if i not in (PAD, BOS, EOS)]]
    assert (
        vocabulary.encode(["unk Unk"]) == [[UNK, UNK]]
        and vocabulary.normalize("Unk 5 UNK, (UNK).") == "unk UNK UNK."
    )


@pytest.mark.parametrize("seed", range(5))
def test_ids_come_back_from_their_text(seed):
    rng = random.Random(seed)
    made = {"".join(rng.choices("!abcde", k=rng.randrange(4))) for _ in range(300)}
    vocabulary = word_vocabulary({"", *(word for line in made for word in public_words(line))})
    rows = [
        [rng.choice((UNK, 4, rng.randrange(UNK, len(vocabulary)))) for _ in range(rng.randrange(20))]
        for _ in range(2000)
    ]
    assert vocabulary.encode(vocabulary.decode(rows)) == rows


def test_words_of_other_scripts_stand_as_they_are():
    vocabulary = word_vocabulary(
        ["", "привет", "мир", "café", "cafe", "Zürich", "5", "<NUM>", "u.s", "—", "mot-clé", "é"]
    )
    rng = random.Random(0)
    rows = [[rng.randrange(UNK, len(vocabulary)) for _ in range(rng.randrange(9))] for _ in range(500)]
    assert vocabulary.encode(vocabulary.decode(rows)) == rows
    for text in ("Привет, мир: привет.", "CAFÉ café <b>café</b> 5 <NUM>. u.s.", "<i>мир</i> Zürich zürich"):
        normal = vocabulary.normalize(text)
        assert vocabulary.normalize(normal) == normal and vocabulary.encode([normal]) == vocabulary.encode(
            [text]
        )
    assert vocabulary.normalize("мир — café CAFÉ, zürich 6 5.") == "мир — café cafe zurich 5."
    assert (
        vocabulary.normalize("<i>café</i> <b>") == "café" and vocabulary.normalize("<NUM> <OTHER>") == "<NUM>"
    )


def test_a_full_stop_is_the_empty_word_where_there_is_one():
    both = word_vocabulary(["", "mr", "mr.", "."])
    assert both.decode([[5, 4]]) == ["mr."] and both.encode(["mr.", "."]) == [[5, 4], [4]]
    without = word_vocabulary(["mr", "mr.", "."])
    assert without.decode([[4, 5, 6]]) == ["mr mr. ."] and without.encode(["mr mr. ."]) == [[4, 5, 6]]


def test_words_it_does_not_know_are_counted():
    vocabulary = word_vocabulary(WORDS)
    assert vocabulary.unknown(["The Council is over.", "the council, UNK"]) == (7, {"council": 2, "UNK": 1})
    assert vocabulary.normalize("The Council, is over.") == "the council is over."
    assert vocabulary.unknown([]) == (0, {})


# Its file


def test_one_vocabulary_has_one_fingerprint_whatever_its_file_looks_like():
    content = word_json([*WORDS, "é", "漢字", 'a "quote"'])
    shuffled = {"more": [1, 2], "token_to_idx": dict(reversed(content["token_to_idx"].items()))}
    plain = json.dumps(content).encode()
    files = [
        plain,
        json.dumps(shuffled, indent=4, ensure_ascii=False).encode(),
        b"\xef\xbb\xbf" + plain,
        b" \n" + plain,
    ]
    found = [read_vocabulary(file) for file in files]
    assert {v.fingerprint for v in found} == {found[0].fingerprint} and len(found[0]) == len(
        content["token_to_idx"]
    )
    assert json.loads(found[1].serialized) == content, "public code reads what is kept"
    assert read_vocabulary(found[0].serialized).serialized == found[0].serialized
    assert read_vocabulary(json.dumps(word_json([*WORDS, "e"])).encode()).fingerprint != found[0].fingerprint
    assert str(found[0]) == f"{len(found[0])} words, {found[0].fingerprint}"


def test_the_bytes_tell_the_form(vocabulary):
    assert isinstance(read_vocabulary(vocabulary.serialized), PieceVocabulary)
    assert isinstance(read_vocabulary(json.dumps(word_json(WORDS)).encode()), WordVocabulary)
    assert vocabulary.normalize("The  Session.") == "The  Session."


def changed(**change) -> bytes:
    ids = word_json(WORDS)["token_to_idx"]
    for word, value in change.items():
        ids[word] = value
    return json.dumps({"token_to_idx": ids}).encode()


@pytest.mark.parametrize(
    "file, message",
    [
        (b"", "is no JSON"),
        (b"{", "is no JSON"),
        (b"\xff\xfe\xfa", "is not UTF"),
        (b'{"token_to_idx": {"a": ' + b"1" * 5000 + b"}}", "holds a number of 5,000 digits"),
        (b"[1, 2]", 'no object "token_to_idx"'),
        (b"{}", 'no object "token_to_idx"'),
        (b'{"token_to_idx": ["a"]}', 'no object "token_to_idx"'),
        (b'{"a": ' * 100_000, "nested too deeply"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"token_to_idx": {}}', 'the id 0 is no word, not "<PAD>"'),
        (b'{"token_to_idx": {"a": 0, "a": 1}}', "has 'a' twice"),
        (changed(the=True), 'the id of "the" is true, not a whole number'),
        (changed(the=5.0), 'the id of "the" is 5.0, not'),
        (changed(the="5"), 'the id of "the" is "5", not'),
        (changed(the=None), 'the id of "the" is null'),
        (changed(the=[[1]]), "is a list or an object"),
        (changed(the=-1), 'the id of "the" is -1, allowed are 0 to 12 for 13 words'),
        (changed(more=99), 'the id of "more" is 99, allowed are 0 to 13'),
        (changed(more=6), '"session" and "more" both have the id 6'),
        (changed(the=int("9" * 400)), 'the id of "the" is 99999999999999999999, allowed'),
        (changed(**{"\x1b[31mred\u202e": 1.5}), r'the id of "\\x1b[31mred\\u202e" is 1.5'),
        (changed(**{"w" * 500: 1.5}), f'"{"w" * 40}…" is 1.5'),
        (
            json.dumps({"token_to_idx": {"<START>": 0, "<PAD>": 1, "<END>": 2, "<UNK>": 3}}).encode(),
            'the id 0 is "<START>", not "<PAD>"',
        ),
        (
            json.dumps({"token_to_idx": {"<PAD>": 0, "<START>": 1, "<END>": 2}}).encode(),
            'the id 3 is no word, not "<UNK>"',
        ),
        (b'{"token_to_idx": {"\\ud800": 0}}', "half a character"),
    ],
)
def test_a_file_of_another_form_is_refused(file, message):
    with pytest.raises(SemcomError) as refused:
        WordVocabulary(file, "--vocab-file v.json")
    text = str(refused.value)
    assert (
        text.startswith("--vocab-file v.json: ")
        and message.replace(r"\\", "\\") in text
        and '{"token_to_idx": {"<PAD>": 0' in text
    )
    assert "\n" not in text and "\x1b" not in text and len(text) < 500


def test_too_many_words_are_refused(monkeypatch):
    monkeypatch.setattr(vocabulary_module, "MOST_WORDS", 13)
    assert len(word_vocabulary(WORDS)) == 13
    with pytest.raises(SemcomError, match="has 14 words, allowed are 13 at most"):
        word_vocabulary([*WORDS, "more"])


def test_a_checkpoint_carries_it(tmp_path):
    vocabulary = word_vocabulary([*WORDS, *(word for word in parliament.TOPICS if word not in WORDS)])
    model = transceiver(vocab_size=len(vocabulary))
    checkpoint.save(checkpoint.Checkpoint(model, vocabulary, {}), tmp_path / "words.pt")
    loaded = checkpoint.load(tmp_path / "words.pt").vocabulary
    assert isinstance(loaded, WordVocabulary) and loaded.serialized == vocabulary.serialized
    assert loaded.encode(["The session is over."]) == vocabulary.encode(["The session is over."])
    between_processes = pickle.loads(pickle.dumps(vocabulary))
    assert between_processes.fingerprint == vocabulary.fingerprint and between_processes.decode(
        [[5, 6, 4]]
    ) == ["the session."]


def test_a_word_without_end_is_refused():
    """A pickle that repeats it would unfold to any size."""
    with pytest.raises(SemcomError, match="the word .* has 2,000 characters, allowed are 200"):
        WordVocabulary(json.dumps(word_json(["", "a" * 2000])).encode(), "theirs")
    assert len(WordVocabulary(json.dumps(word_json(["", "a" * 200])).encode(), "theirs")) == 6
