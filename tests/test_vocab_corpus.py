"""Vocabulary and corpus: round trips, cleaning, stable ids and splits, files that are not as they should
be."""

import gzip
import hashlib
import io
import pickle
from collections import Counter
from pathlib import Path

import pytest
import sentencepiece
from toy import word_vocabulary

from semcom.base.errors import SemcomError
from semcom.data import corpus, parliament
from semcom.data.corpus import make_sentence
from semcom.data.piece_vocabulary import PieceVocabulary, train_vocabulary
from semcom.data.sentences import SPLITS
from semcom.data.settings import CorpusConfig
from semcom.data.vocabulary import BOS, EOS, PAD, UNK

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SIX = "one two three four five six"


def read(*paths, size=None, vocabulary=None, **settings):
    config = CorpusConfig(corpus=tuple(map(str, paths)), corpus_size=size, **settings)
    return corpus.read(config, vocabulary)


def texts(*paths, **limits):
    return [s.text for s in read(*paths, **limits).sentences]


def numbered(number, first=0):
    return [f"this is the sentence of number {n}" for n in range(first, first + number)]


@pytest.fixture
def write(tmp_path):
    def write(name, *lines):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes("".join(f"{line}\n" for line in lines).encode())
        return path

    return write


# Vocabulary


def test_special_ids_and_size(vocabulary):
    assert (PAD, BOS, EOS, UNK) == (0, 1, 2, 3)
    assert len(vocabulary) == 400
    pieces = vocabulary.encode(["We support the report of the committee."])[0]
    assert pieces and min(pieces) > UNK and max(pieces) < 400
    assert vocabulary.decode([[PAD, BOS, *pieces, EOS, PAD]]) == vocabulary.decode([pieces])


def test_round_trip(vocabulary, sentences):
    plain = [s.text for s in sentences]
    assert vocabulary.decode(vocabulary.encode(plain)) == plain
    assert vocabulary.encode([]) == [] and vocabulary.decode([[]]) == [""]


@pytest.mark.parametrize("text", ["Żółć and 漢字 and 🙂", "naïve façade", "привет мир"])
def test_unseen_characters_survive_as_bytes(vocabulary, text):
    pieces = vocabulary.encode([text])[0]
    assert UNK not in pieces and vocabulary.decode([pieces]) == [text]


def test_too_small_a_corpus_names_the_largest_size(sentences):
    some = [s.text for s in sentences[:100]]
    with pytest.raises(SemcomError, match=r"--size 100000: .*largest size it allows is (\d+)") as refused:
        train_vocabulary(some, 100_000)
    largest = int(str(refused.value).split()[-1])
    assert len(train_vocabulary(some, largest)) == largest
    with pytest.raises(SemcomError):
        train_vocabulary(some, largest + 1)


def test_too_small_a_size_names_a_sufficient_one(sentences):
    some = [s.text for s in sentences[:100]]
    with pytest.raises(SemcomError, match="use at least --size") as refused:
        train_vocabulary(some, 20)
    smallest = int(str(refused.value).split()[-1])
    assert len(train_vocabulary(some, smallest)) == smallest


def test_nothing_to_train_on_is_refused():
    with pytest.raises(SemcomError, match="--size 400"):
        train_vocabulary([], 400)


def test_fingerprint_is_of_the_model(vocabulary, sentences):
    assert vocabulary.fingerprint == hashlib.sha256(vocabulary.serialized).hexdigest()[:16]
    assert PieceVocabulary(vocabulary.serialized).fingerprint == vocabulary.fingerprint
    assert train_vocabulary((s.text for s in sentences), 400).fingerprint == vocabulary.fingerprint
    assert train_vocabulary((s.text for s in sentences), 401).fingerprint != vocabulary.fingerprint
    assert vocabulary.fingerprint in str(vocabulary) and "400" in str(vocabulary)


@pytest.mark.parametrize("broken", [b"", b"not a model", b"\x00" * 100])
def test_not_a_model_is_refused(broken):
    with pytest.raises(SemcomError, match="theirs.*semcom vocab"):
        PieceVocabulary(broken, "theirs")


def test_other_special_ids_are_refused():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(numbered(50)),
        model_writer=model,
        vocab_size=30,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    with pytest.raises(SemcomError, match=r"\(0, 1, 2, 3\)"):
        PieceVocabulary(model.getvalue())


# Ids


def test_id_is_of_the_text_alone():
    digest = hashlib.blake2b(b"We agree.", digest_size=8).digest()
    assert (
        make_sentence("We agree.", "trade").id
        == make_sentence("We agree.").id
        == int.from_bytes(digest, "little")
    )


def test_split_is_ninety_five_five_and_stable():
    found = Counter(make_sentence(text).split for text in numbered(20_000))
    for name, share in (("train", 0.9), ("validation", 0.05), ("test", 0.05)):
        assert abs(found[name] / 20_000 - share) < 5 * (share * (1 - share) / 20_000) ** 0.5
    # Fixed for good: a checkpoint's test sentences must stay unseen in later versions.
    assert [make_sentence(t).split for t in ("We agree.", "Thank you, Mr President.", "this is 3")] == [
        "train",
        "validation",
        "train",
    ]
    assert (
        make_sentence(next(t for t in numbered(1000) if make_sentence(t).id % 100 == 94)).split
        == "validation"
    )
    assert make_sentence(next(t for t in numbered(1000) if make_sentence(t).id % 100 == 95)).split == "test"


def test_split_does_not_depend_on_the_rest(write):
    few, many = read(write("few", *numbered(300))), read(write("many", *numbered(900, 150), *numbered(300)))
    split_of = {s.text: s.split for s in many.sentences}
    assert all(split_of[s.text] == s.split for s in few.sentences)
    assert (
        sum(few.split_sizes().values()) == 300 and {n: len(few.split(n)) for n in SPLITS} == few.split_sizes()
    )


def test_fingerprint_ignores_order_only(write):
    lines = numbered(50)
    first, backwards, fewer = (
        read(write("a", *lines)),
        read(write("b", *lines[::-1])),
        read(write("c", *lines[1:])),
    )
    assert first.fingerprint == backwards.fingerprint != fewer.fingerprint


# Reading


def test_account_of_what_is_left_out(write):
    found = read(write("text", SIX, SIX, "", "too short", "word " * 31, f"  {SIX} &amp; seven ", " \x00 "))
    assert [s.text for s in found.sentences] == [SIX, SIX + " & seven"]
    assert found.account == {"lines": 7, "duplicates": 1, "empty": 2, "under 4 words": 1, "over 30 words": 1}
    assert "2 sentences" in found.describe() and "1 duplicates" in found.describe()


def test_length_limits_are_inclusive(write):
    path = write("text", *(" ".join("abcdefg"[:n]) for n in range(1, 8)))
    assert texts(path, min_length=3, max_length=5) == ["a b c", "a b c d", "a b c d e"]


@pytest.mark.parametrize(
    "unit, kept",
    [
        ("auto", ["他们明天去北京开会", "a b c d"]),
        ("words", ["a b c d"]),
        ("characters", ["去北京", "a b c d"]),
    ],
)
def test_length_is_counted_in_the_unit_asked_for(write, unit, kept):
    path = write("text", "去北京", "他们明天去北京开会", "a b c d", "a")
    limits = {"characters": {"min_length": 3, "max_length": 8}}.get(unit, {})
    assert texts(path, length_unit=unit, **limits) == kept


def test_length_in_pieces_is_of_the_vocabulary_in_use(write, vocabulary):
    lines = [f"{line} {'and more ' * (n % 3)}" for n, line in enumerate(numbered(30))]
    pieces = [len(ids) for ids in vocabulary.encode(lines)]
    longest = sorted(pieces)[10]
    found = read(write("text", *lines), vocabulary=vocabulary, length_unit="pieces", max_length=longest)
    assert len(found) == sum(count <= longest for count in pieces) < 30
    assert found.account[f"over {longest} pieces"] == 30 - len(found)
    with pytest.raises(SemcomError, match="--length-unit pieces: there is no vocabulary yet"):
        read(write("text", *lines), length_unit="pieces")


@pytest.mark.parametrize(
    "line, code, described",
    [
        ("他们明天去北京开会", "zh", ", Chinese of 1.7 characters a word"),
        ("the sentence of this report is long", "en", ""),
        ("предложение этого доклада очень длинное", "und", ""),
    ],
)
def test_a_corpus_knows_its_language(write, line, code, described):
    path = write("text", line)
    assert read(path).language == code
    assert read(path).describe().startswith(f"corpus: 1 sentences of {path}{described} (1 lines read")
    assert read(path, language="ru").language == "ru"
    assert corpus.built_in(5).language == "en"


def test_chinese_characters_of_japanese_count_as_japanese(write):
    path = write("text", "東京都知事選挙")
    assert texts(path) == ["東京都知事選挙"]
    with pytest.raises(SemcomError, match="under 4 words"):
        texts(path, language="ja")


@pytest.mark.parametrize(
    "given, message",
    [
        ({"language": "zh"}, "--language zh: the built-in corpus is English"),
        ({"length_unit": "pieces"}, "--length-unit pieces: chooses among text files"),
        ({"language": "xx", "corpus": ("a",)}, "--language xx: allowed are auto, "),
        ({"length_unit": "bytes", "corpus": ("a",)}, "--length-unit bytes: allowed are auto, words"),
    ],
)
def test_language_and_unit_that_mean_nothing_are_refused(given, message):
    with pytest.raises(SemcomError, match=message):
        CorpusConfig(**given).check_without_files()


def test_gzip_is_read_as_the_plain_file(write, tmp_path):
    plain, packed = write("text", *numbered(20)), tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert texts(packed) == texts(plain) == numbered(20)


def test_byte_order_mark_and_windows_line_ends_vanish(tmp_path):
    path = tmp_path / "windows"
    path.write_bytes(b"\xef\xbb\xbf" + SIX.encode() + b"\r\n" + b"and a line without an end")
    assert texts(path) == [SIX, "and a line without an end"]


def test_folder_is_read_in_order_without_hidden_files(write, tmp_path):
    for name, number in (
        ("b.txt", 1),
        ("a.txt", 0),
        ("c/d.txt", 2),
        (".hidden", 3),
        (".git/e.txt", 4),
        ("c/.swap", 5),
    ):
        write(f"folder/{name}", numbered(1, number)[0])
    assert texts(tmp_path / "folder") == numbered(3)


def test_broken_utf8_names_file_and_line(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes(SIX.encode() + b"\nthe caf\xe9 of four words\n")
    with pytest.raises(SemcomError, match=r"latin\.txt line 2: not UTF-8.*iconv"):
        read(path)


@pytest.mark.parametrize(
    "spoil",
    [lambda b: b[:-20], lambda b: b[:40] + bytes(20) + b[60:]],
    ids=["truncated", "damaged"],
)
def test_broken_gzip_names_the_file(tmp_path, spoil):
    path = tmp_path / "broken.gz"
    path.write_bytes(spoil(gzip.compress("\n".join(numbered(200)).encode())))
    with pytest.raises(SemcomError, match=r"broken\.gz.*broken gzip"):
        read(path)


@pytest.mark.parametrize("letter", ["x", "🙂"])
def test_only_lines_of_more_than_ten_thousand_characters_are_dropped(write, letter):
    longest = f"a b c {letter * (10_000 - 6)}"
    found = read(write("text", SIX, longest, longest + letter, letter * 500_000, "the last line is read"))
    assert [len(s.text) for s in found.sentences] == [len(SIX), 10_000, len("the last line is read")]
    assert found.account["longer than 10,000 characters"] == 2 and found.account["lines"] == 5


@pytest.mark.parametrize(
    "name, lines, message",
    [
        ("missing", None, "no such file"),
        ("empty", [], "no sentence survives"),
        ("short", ["a b", "c"], "under 4 words"),
    ],
)
def test_nothing_to_read_is_refused(write, tmp_path, name, lines, message):
    path = tmp_path / name if lines is None else write(name, *lines)
    with pytest.raises(SemcomError, match=f"--corpus .*{name}.*{message}"):
        read(path)


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(SemcomError, match="holds no file"):
        read(tmp_path)


def test_sample_does_not_depend_on_the_order_of_files(write):
    a, b = write("a", *numbered(400)), write("b", *numbered(400, 300))
    chosen = {s.text for s in read(a, b, size=200).sentences}
    assert len(chosen) == 200 and chosen == {s.text for s in read(b, a, size=200).sentences}
    assert {s.text for s in read(a, b, size=100).sentences} < chosen
    assert read(a, b, size=200).account["beyond --corpus-size"] == 500


def test_sample_keeps_the_shares_of_the_splits(write):
    sizes = read(write("a", *numbered(20_000)), size=4000).split_sizes()
    assert abs(sizes["train"] / 4000 - 0.9) < 5 * (0.09 / 4000) ** 0.5
    assert abs(sizes["test"] / 4000 - 0.05) < 5 * (0.0475 / 4000) ** 0.5


def test_max_sentences_stops_the_reading(write):
    found = read(write("a", *numbered(100)), write("b", *numbered(100, 100)), max_sentences=10)
    assert [s.text for s in found.sentences] == numbered(10)
    assert found.account["lines"] == 10


# Words and pickles

WORDS = word_vocabulary(["", *SIX.split(), "seven", "!"])
EMPTY, ONE, TWO, THREE, FOUR, FIVE, SIX_ID, SEVEN, MARK = range(4, 13)
START, END, PAD, UNK = BOS, EOS, PAD, UNK


@pytest.fixture
def write_ids(tmp_path):
    def write_ids(name, *sentences, protocol=4):
        path = tmp_path / name
        path.write_bytes(pickle.dumps(list(sentences), protocol))
        return path

    return write_ids


def test_a_word_vocabulary_normalises_lines_before_anything_is_counted(write):
    path = write(
        "text",
        "One, two: THREE four!",
        "one two three four !",
        "one two (three) x five .",
        "one & two &amp; three. 4",
        "漢 字 5 6 7",
        "five six. seven one.",
    )
    found = read(path, vocabulary=WORDS)
    assert [s.text for s in found.sentences] == [
        "one two three four !",
        "one two three x five.",
        "five six. seven one.",
    ]
    assert found.account == {"lines": 6, "duplicates": 1, "under 4 words": 1, "empty": 1}
    assert [s.id for s in found.sentences] == [make_sentence(s.text).id for s in found.sentences]
    assert len(read(path).sentences) == 6, "without one, lines stay as they are"


def test_a_piece_vocabulary_leaves_text_alone(write, vocabulary):
    lines = ["One, two: THREE four!", "one two <b>three</b> four"]
    assert [s.text for s in read(write("text", *lines), vocabulary=vocabulary).sentences] == lines
    assert corpus.built_in(50, vocabulary=vocabulary).sentences == corpus.built_in(50).sentences


@pytest.mark.parametrize(
    "name, protocol", [("test_data.pkl", 0), ("test_data.pkl", 1), ("TEST.PICKLE", 4), ("ids", 2), ("ids", 5)]
)
def test_pickled_ids_come_back_as_words(write_ids, name, protocol):
    path = write_ids(
        name,
        [START, ONE, TWO, UNK, FOUR, EMPTY, END, PAD, PAD],
        [ONE, TWO, THREE, FOUR],
        [START, ONE, TWO, THREE, FOUR, END],
        protocol=protocol,
    )
    found = read(path, vocabulary=WORDS)
    assert [s.text for s in found.sentences] == ["one two UNK four.", "one two three four"]
    assert found.account == {"pickled": 3, "duplicates": 1}
    assert (
        "2 sentences" in found.describe()
        and "3 pickled sentences read; left out: 1 duplicates" in found.describe()
    )
    assert WORDS.encode([s.text for s in found.sentences]) == [
        [ONE, TWO, UNK, FOUR, EMPTY],
        [ONE, TWO, THREE, FOUR],
    ]


def test_account_of_a_pickle(write_ids):
    shared = [FIVE, FOUR, THREE, TWO]
    many = [ONE, EMPTY] * 4000
    found = read(
        write_ids(
            "ids.pkl",
            [ONE] * 31,
            [ONE] * 30 + [EMPTY],
            [ONE, TWO, THREE, EMPTY],
            [START, END, PAD],
            [],
            [ONE, START, TWO, THREE, FOUR],
            [ONE, PAD, TWO, THREE, FOUR],
            [PAD, ONE, TWO, THREE, FOUR],
            shared,
            shared,
            many,
            [ONE] * 20_000,
        ),
        vocabulary=WORDS,
    )
    assert [s.text for s in found.sentences] == [" ".join(["one"] * 30) + ".", "five four three two"]
    assert found.account == {
        "pickled": 12,
        "over 30 words": 1,
        "under 4 words": 1,
        "empty": 2,
        "with <PAD>, <START> or <END> inside": 3,
        "duplicates": 1,
        "longer than 10,000 characters": 2,
    }


def test_a_list_shared_a_million_times_is_looked_at_once(tmp_path):
    path = tmp_path / "bomb.pkl"
    path.write_bytes(
        b"](]q\x00(" + b"K\x05" * 9000 + b"e" + b"h\x00" * 1_000_000 + b"](K\x05K\x06K\x07K\x08ee."
    )
    found = read(path, vocabulary=WORDS)
    assert [s.text for s in found.sentences] == ["one two three four"] and found.account[
        "duplicates"
    ] == 1_000_000


def test_ids_that_their_text_does_not_give_back_are_left_out(write_ids):
    odd = word_vocabulary(["", *SIX.split(), "two words", "UNK", "mr.", "<b"])
    assert len(odd) == 15
    found = read(
        write_ids(
            "ids.pkl",
            *([ONE, TWO, THREE, FOUR, word] for word in range(11, 15)),
            [ONE, TWO, THREE, FOUR, FIVE],
        ),
        vocabulary=odd,
    )
    assert [s.text for s in found.sentences] == ["one two three four five"]
    assert found.account["with words that mean others once written out"] == 4


def test_pickles_and_text_are_read_together(write, write_ids, tmp_path):
    write("data/a.txt", "one two three four", "six five four three")
    write_ids("data/b.pkl", [ONE, TWO, THREE, FOUR], [SEVEN, SIX_ID, FIVE, FOUR])
    found = read(tmp_path / "data", vocabulary=WORDS)
    assert [s.text for s in found.sentences] == [
        "one two three four",
        "six five four three",
        "seven six five four",
    ]
    assert "2 lines read, 2 pickled sentences read; left out: 1 duplicates" in found.describe()
    assert (
        len(read(tmp_path / "data", size=2, vocabulary=WORDS)) == 2
        and len(read(tmp_path / "data", max_sentences=1, vocabulary=WORDS)) == 1
    )


def test_a_pickle_needs_a_word_vocabulary(write_ids, vocabulary):
    path = write_ids("ids.pkl", [ONE, TWO, THREE, FOUR])
    for given in (None, vocabulary):
        with pytest.raises(
            SemcomError,
            match=r"--corpus: .*ids\.pkl: a pickle holds ids of a word vocabulary.*python -m semcom import "
            r"CHECKPOINT\.pth --vocab-file vocab\.json --output teacher\.pt",
        ):
            read(path, vocabulary=given)


def test_ids_of_another_vocabulary_are_refused(write_ids):
    with pytest.raises(
        SemcomError,
        match=r"ids\.pkl: sentence 2 has the id 13, the vocabulary in use has V=13; .*--vocab-file",
    ):
        read(write_ids("ids.pkl", [ONE, TWO, THREE, MARK], [ONE, 13]), vocabulary=WORDS)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"one two three four\n", "is no whole number|found|no pickle opcode"),
        (b"", "truncated"),
        (pickle.dumps([["one"]]), "found SHORT_BINUNICODE, a value of type str"),
        (pickle.dumps([]), "no sentence survives.*0 pickled sentences read"),
    ],
)
def test_a_broken_pickle_is_refused(tmp_path, content, message):
    path = tmp_path / "ids.pkl"
    path.write_bytes(content)
    with pytest.raises(SemcomError, match=f"--corpus.*ids.pkl.*({message})"):
        read(path, vocabulary=WORDS)


def test_built_in_sentences_are_normalised_and_stay_distinct(monkeypatch):
    words = word_vocabulary(["", "the"])
    found, plain = corpus.built_in(500, vocabulary=words), corpus.built_in(500)
    assert [(s.text, s.topic) for s in found.sentences] == [
        (words.normalize(s.text), s.topic) for s in plain.sentences
    ]
    assert (
        [s.id for s in found.sentences]
        == [make_sentence(s.text).id for s in found.sentences]
        != [s.id for s in plain.sentences]
    )
    alike = [
        ("We adopted 5 reports.", "trade"),
        ("We agree.", "trade"),
        ("We adopted 6 reports.", "energy"),
        ("7", "energy"),
    ]
    monkeypatch.setattr(parliament, "sentences", lambda topics: iter(alike))
    found = corpus.built_in(4, vocabulary=words)
    assert [(s.text, s.topic) for s in found.sentences] == [
        ("we adopted reports.", "trade"),
        ("we agree.", "trade"),
    ]
    assert found.account == {"generated": 4, "duplicates": 1, "empty": 1}
    assert "4 sentences generated; left out: 1 duplicates, 1 empty" in found.describe()


# The built-in corpus


def test_built_in_topics():
    chosen = parliament.TOPICS[:2]
    assert {s.topic for s in corpus.built_in(200, chosen).sentences} == set(chosen)
    assert {s.topic for s in corpus.built_in(800, (), chosen).sentences} == set(parliament.TOPICS[2:])
    with pytest.raises(SemcomError, match="--topics gardening.*allowed are"):
        corpus.built_in(10, ["gardening"])
    with pytest.raises(SemcomError, match="leave no topic"):
        corpus.built_in(10, chosen, chosen)


# Real files


@pytest.mark.skipif(not DATA.is_dir(), reason="no shared data")
def test_real_files_are_cleaned():
    found = read(DATA / "europarl-sample.en", DATA / "wmt-tokenized.en")
    assert found.account["lines"] == 13_000 and len(found) > 5000
    assert sum(found.account.values()) - found.account["lines"] + len(found) == 13_000
    for sentence in found.sentences:
        assert "&apos;" not in sentence.text and "&quot;" not in sentence.text and sentence.text.isprintable()
        assert 4 <= len(sentence.text.split()) <= 30


@pytest.mark.skipif(not DATA.is_dir(), reason="no shared data")
def test_vocabulary_of_real_text_round_trips():
    plain = texts(DATA / "europarl-sample.en", size=800)
    trained = train_vocabulary(plain, 1000)
    back = trained.decode(trained.encode(plain))
    assert (
        sum(a == b for a, b in zip(plain, back)) / len(plain) > 0.98
    )  # NFKC folds a few typographic characters
