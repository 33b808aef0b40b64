"""Corpora of text files that are kept in the user's cache."""

import os
from dataclasses import replace

import pytest
import toy

from semcom.base import array_files, array_store, user_cache
from semcom.base.array_files import Kept
from semcom.commands.inputs import encode_splits, read_corpus
from semcom.commands.run_data import data_of_run
from semcom.data import corpus, encoded_corpus, kept_corpora
from semcom.data.settings import CorpusConfig
from semcom.data.word_vocabulary import WordVocabulary

LINES = [f"the report number {n} of the committee is adopted" for n in range(300)]
DROPPED = ["", "too short", LINES[0], f"{LINES[1]} &amp; more", "<speaker id=1>"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The user's, empty, which keeps a corpus of any size."""
    monkeypatch.setenv("SEMCOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept_corpora, "SMALLEST", 1)
    return tmp_path / "cache" / kept_corpora.FOLDER


@pytest.fixture
def settings(tmp_path):
    text = tmp_path / "text.en"
    text.write_text("\n".join([*LINES, *DROPPED]))
    return CorpusConfig(corpus=(str(text),), corpus_size=None)


@pytest.fixture
def reads(monkeypatch):
    """Counts how often a corpus is read, and how often one is encoded."""
    counted = {"read": 0, "encoded": 0}

    def counting(name, function):
        def counted_function(*given, **named):
            counted[name] += 1
            return function(*given, **named)

        return counted_function

    monkeypatch.setattr(corpus, "read", counting("read", corpus.read))
    made = counting("encoded", encoded_corpus.encode_corpus)
    monkeypatch.setattr("semcom.commands.inputs.encode_corpus", made)
    return counted


def kept_in(cache):
    return sorted(path for path in cache.glob("*") if path.suffix != ".lock")


def test_what_is_kept_is_what_was_read(cache, settings, vocabulary, reads):
    plain = read_corpus(replace(settings, no_corpus_cache=True), vocabulary)
    first, again = (read_corpus(settings, vocabulary) for _ in range(2))
    assert not cache.joinpath("none").exists() and reads["read"] == 2
    for found in (first, again):
        assert found.sentences == plain.sentences and found.describe() == plain.describe()
        assert (found.name, found.language, found.fingerprint) == (plain.name, "en", plain.fingerprint)
        assert found.account == plain.account and list(found.account) == list(plain.account)
        assert found.split_sizes() == plain.split_sizes()
    made = encode_splits(plain, vocabulary)
    assert made == encode_splits(first, vocabulary) == encode_splits(again, vocabulary)
    assert reads["encoded"] == 2 and made.train[3].source == encode_splits(again, vocabulary).train[3].source
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in kept_in(cache)) and len(kept_in(cache)) == 2


def test_a_line_says_that_a_text_was_found(cache, settings, vocabulary, tmp_path, caplog):
    caplog.set_level("INFO")
    said = []
    for chosen in (settings, settings, replace(settings, no_corpus_cache=True)):
        caplog.clear()
        data_of_run(chosen, vocabulary)
        said.append([line for line in caplog.messages if "found in" in line])
    line = f"corpus: found in {cache}, as it was read before; --no-corpus-cache reads it anew"
    assert said == [[], [line], []]
    for _ in range(2):
        caplog.clear()
        data_of_run(settings, vocabulary, str(tmp_path / "sweep"))
        assert "found in" not in caplog.text, "nobody may refuse what runs of a sweep share"


@pytest.mark.parametrize("changed", ["text", "limits", "size", "rules", "unit"])
def test_what_it_depends_on_is_read_anew(cache, settings, vocabulary, reads, monkeypatch, tmp_path, changed):
    before = data_of_run(settings, vocabulary)
    if changed == "text":
        text = tmp_path / "text.en"
        status = text.stat()
        text.write_text(text.read_text().replace("number 7 ", "number 0x"))
        os.utime(text, ns=(status.st_atime_ns, status.st_mtime_ns))  # content decides, not dates
    elif changed == "limits":
        settings = replace(settings, max_length=9)
    elif changed == "size":
        settings = replace(settings, corpus_size=100)
    elif changed == "unit":
        settings = replace(settings, length_unit="pieces")
    else:
        monkeypatch.setattr(kept_corpora, "_rules", lambda: {"source": "another"})
    for _ in range(2):
        assert data_of_run(settings, vocabulary).record == before.record or changed != "rules"
    assert reads == {"read": 2, "encoded": 2}


def test_another_vocabulary_encodes_the_same_text(cache, settings, vocabulary, reads):
    words = toy.word_vocabulary("the report number of is".split() + [f"{n}" for n in range(300)])
    for _ in range(2):
        pieces = data_of_run(settings, vocabulary)
    assert reads == {"read": 1, "encoded": 1}
    assert data_of_run(settings, words).train[0].source != pieces.train[0].source
    assert reads == {"read": 2, "encoded": 2}


def test_words_that_are_unknown_are_counted_once(cache, settings, monkeypatch):
    words = toy.word_vocabulary("the report number of is".split() + [f"{n}" for n in range(300)])
    with toy.spoken() as said:
        made = data_of_run(settings, words)
        monkeypatch.setattr(WordVocabulary, "unknown", None)
        assert data_of_run(settings, words) == made
    first, (described, _, warned) = said[:2], said[2:]
    assert first == [described, warned] and "most often: adopted, committee" in warned


def replaced(change):
    """What spoils a file, by another in its place: this process has mapped it."""

    def spoil(path):
        content = change(bytearray(path.read_bytes()))
        path.unlink()
        path.touch(0o600)
        path.write_bytes(content)

    return spoil


def flipped(content):
    content[-100] ^= 1
    return content


@pytest.mark.parametrize(
    "spoil",
    [
        replaced(flipped),
        replaced(lambda content: content[:-1]),
        replaced(lambda content: b""),
        replaced(lambda content: b'{"key": {}}\n' * 9),
        lambda path: array_files.write(path, {"of": "another"}, Kept({}, {})),
        lambda path: path.chmod(0o666),
    ],
    ids=["a bit", "cut off", "empty", "text", "foreign", "open to others"],
)
def test_what_is_not_to_be_trusted_is_made_anew(cache, settings, vocabulary, reads, spoil):
    made = data_of_run(settings, vocabulary)
    for path in kept_in(cache):
        spoil(path)
    with toy.spoken() as said:
        again = data_of_run(settings, vocabulary)
    assert again == made and reads == {"read": 2, "encoded": 2}
    assert [line.split(": ")[0] for line in said].count("warning") == 2
    data_of_run(settings, vocabulary)
    assert reads["read"] == 2, "what was made anew is sound"


def test_small_texts_and_those_that_are_not_to_be_kept_are_not(cache, settings, vocabulary, monkeypatch):
    data_of_run(replace(settings, no_corpus_cache=True), vocabulary)
    data_of_run(CorpusConfig(corpus_size=300), vocabulary)
    monkeypatch.setattr(kept_corpora, "SMALLEST", 1 << 22)
    data_of_run(settings, vocabulary)
    assert not cache.exists()


def test_a_text_that_changes_while_it_is_read_is_not_kept(cache, settings, monkeypatch, tmp_path):
    read = corpus.read

    def meanwhile(*given, **named):
        found = read(*given, **named)
        with (tmp_path / "text.en").open("a") as file:
            file.write("\none more line of the text")
        return found

    monkeypatch.setattr(corpus, "read", meanwhile)
    assert len(read_corpus(settings)) == 301 and not kept_in(cache)
    monkeypatch.setattr(corpus, "read", read)
    assert len(read_corpus(settings)) == 302 and len(kept_in(cache)) == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_half_written_stays(cache, settings, monkeypatch, error):
    def fail(descriptor):
        raise error

    with monkeypatch.context() as patched, toy.spoken() as said:
        patched.setattr(array_files.os, "fsync", fail)
        if isinstance(error, OSError):
            assert len(read_corpus(settings)) == 301 and "No space left on device" in said[-1]
        else:
            with pytest.raises(KeyboardInterrupt):
                read_corpus(settings)
    assert not kept_in(cache) and len(read_corpus(settings)) == 301 and kept_in(cache)


def test_what_was_not_used_for_longest_goes_first(cache, settings, monkeypatch):
    sizes = []
    for number, longest in enumerate((30, 29, 28, 30, 27)):
        read_corpus(replace(settings, max_length=longest))
        for place, path in enumerate(sorted(kept_in(cache), key=lambda path: path.stat().st_mtime_ns)):
            os.utime(path, (place + 100 * number, place + 100 * number))
        sizes = [path.stat().st_size for path in kept_in(cache)]
        monkeypatch.setattr(array_store, "LARGEST", int(2.5 * max(sizes)))
    assert len(sizes) == 2
    monkeypatch.setattr(corpus, "read", None)
    assert len(read_corpus(replace(settings, max_length=30))) == 301, "used between, it was kept"


def test_a_file_that_another_run_removes_at_once_is_no_loss(tmp_path, monkeypatch):
    monkeypatch.setattr(array_files, "write", lambda *given: None)
    store = array_store.ArrayStore(tmp_path)
    assert store.get("number", {}, lambda: 5, lambda made: Kept({}, {}), lambda kept: None) == 5


def test_arrays_come_back_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr(user_cache, "is_private", lambda status: True)
    numbers = array_files.np.arange(1000)
    arrays = {
        "text": numbers.astype("uint8"),
        "none": numbers[:0].astype("uint16"),
        "ends": numbers[::3],
        "ids": numbers.astype("uint64") << 50,
    }
    array_files.write(tmp_path / "a", {"key": (1, 2)}, Kept({"n": {"b": 1, "a": 2}}, arrays))
    found = array_files.read(tmp_path / "a", {"key": (1, 2)})
    assert list(found.values["n"]) == ["b", "a"] and found.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (found.arrays[name] == array).all() and found.arrays[name].dtype == array.dtype
        assert not len(array) or not found.arrays[name].flags.writeable
