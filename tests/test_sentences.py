"""Sentences as arrays are the sentences as objects."""

import heapq
import pickle
import random
from dataclasses import replace

import numpy as np
import pytest

from semcom.data import corpus, reading
from semcom.data.batching import Encoded, encode, lengths_of, shuffled
from semcom.data.corpus import make_sentence
from semcom.data.encoded_corpus import encode_corpus
from semcom.data.sentences import SPLITS, Sentences
from semcom.data.settings import CorpusConfig

PLAIN = [
    make_sentence(text, topic)
    for text, topic in [("", "a"), ("é’s 新华社", "b"), *((f"s {n} 𝄞", "cab"[n % 3]) for n in range(400))]
]


@pytest.fixture(scope="module")
def many():
    return Sentences.of(PLAIN)


def test_they_are_a_sequence_of_the_same_objects(many):
    assert many == PLAIN and list(many) == PLAIN and len(many) == 402
    assert [many[i] for i in (0, 1, 401, -1, -402)] == [PLAIN[i] for i in (0, 1, 401, -1, -402)]
    for part in (slice(3, 9), slice(None, None, 7), slice(None, None, -1), slice(9, 3)):
        assert list(many[part]) == PLAIN[part] and list(many[part].texts) == [s.text for s in PLAIN[part]]
        assert list(many[::3][part]) == PLAIN[::3][part]
    assert many[5:][-1] == PLAIN[-1] and list(many.texts[3:5]) == [PLAIN[3].text, PLAIN[4].text]
    assert pickle.loads(pickle.dumps(many[3:])) == PLAIN[3:] and many != PLAIN[1:] and many != 1
    with pytest.raises(IndexError):
        many[402]
    assert not Sentences.of([]) and list(Sentences.of([]).texts) == []


def test_splits_and_choices_are_those_of_each(many):
    for name in SPLITS:
        assert list(many.split(name)) == [s for s in PLAIN if s.split == name] != []
        assert many.split_sizes()[name] == sum(s.split == name for s in PLAIN)
    assert list(many[2:].lowest(9)) == sorted(PLAIN[2:], key=lambda s: s.id)[:9]
    chosen = {s.id for s in PLAIN[::5]} | {7}
    assert list(many.of_ids(chosen)) == [s for s in PLAIN if s.id in chosen]
    assert many.topics == ["a", "b", "c"] and many[1:2].topics == ["b"]
    assert Sentences.of([make_sentence("no topic")]).topics == []


def test_a_sample_is_of_the_lowest_hashes(many):
    def key(sentence):
        return sentence.id // 100 * 0x9E3779B97F4A7C15 % 2**64

    kept = {s.id for s in heapq.nsmallest(50, PLAIN, key=key)}
    assert list(corpus._sample(many, 50)) == [s for s in PLAIN if s.id in kept]


def test_encoded_sentences_are_what_encode_makes(vocabulary):
    long = make_sentence("the report of the committee " * 300, "a")
    sentences = [*corpus.built_in(200).sentences, long, *PLAIN]
    plain = encode(sentences, vocabulary, leave_out_long=True)
    done = []
    many = encode_corpus(Sentences.of(sentences), vocabulary, done.append)
    assert many == plain and len(many) == len(sentences) - 1 and sum(done) == len(sentences)
    assert list(many[5:9]) == plain[5:9] and many[-1] == plain[-1]
    ours, theirs = lengths_of(many), lengths_of(plain)
    for name in ("longest", "targets"):
        assert (getattr(ours, name) == getattr(theirs, name)).all()
    for budget in (None, 300):
        batches = shuffled(many, 16, 1, 2, budget)
        assert list(batches) == list(shuffled(plain, 16, 1, 2, budget)) and batches[1:3][0] == batches[1]
    assert pickle.loads(pickle.dumps(many)) == plain


def epoch_of_objects(encoded, batch_size, seed, epoch, batch_tokens):
    """The order of an epoch, formed from the sentences themselves."""
    rng = random.Random(f"{seed} {epoch}")
    order = list(encoded)
    rng.shuffle(order)
    if batch_tokens:
        batch_size = max(1, round(batch_tokens / np.mean([e.target_tokens for e in order])))
    batches = []
    for start in range(0, len(order), 50 * batch_size):
        batch = []
        for e in sorted(order[start : start + 50 * batch_size], key=lambda e: e.length):
            tokens = max([each.target_tokens for each in [*batch, e]]) * (len(batch) + 1)
            if batch and (tokens > batch_tokens if batch_tokens else len(batch) == batch_size):
                batches.append(batch)
                batch = []
            batch.append(e)
        batches.append(batch)
    rng.shuffle(batches)
    return batches


@pytest.mark.parametrize("budget", [None, 1, 200])
def test_an_epochs_order_is_that_of_its_sentences(budget):
    rng = random.Random(5)
    encoded = [Encoded(s, [1, *[5] * rng.randrange(1, 30), 2]) for s in PLAIN]
    encoded = [replace(e, target=[4] * rng.randrange(40)) if rng.random() < 0.3 else e for e in encoded]
    found = shuffled(encoded, 3, 7, 2, budget)
    assert list(found) == epoch_of_objects(encoded, 3, 7, 2, budget)


@pytest.mark.parametrize("suffix", ["txt", "gz"])
def test_progress_tells_the_megabytes_on_the_disk(tmp_path, monkeypatch, suffix):
    import gzip

    steps, totals = [], []

    class Bar:
        def __init__(self, total, doing, *, quiet, delay):
            totals.append((total, quiet))

        def advance(self, number):
            steps.append(number)

        def close(self):
            steps.append("closed")

    lines = "".join(f"{random.Random(n).random()} {n} is one of the lines\n" for n in range(5000)).encode()
    path = tmp_path / f"text.{suffix}"
    path.write_bytes(gzip.compress(lines) if suffix == "gz" else lines)
    monkeypatch.setattr(reading, "Progress", Bar)
    monkeypatch.setattr(reading, "MEGABYTE", 1000)
    settings = CorpusConfig(corpus=(str(path), str(path)), corpus_size=None)
    assert len(corpus.read(settings, quiet=False)) == 5000
    assert totals == [(2 * path.stat().st_size // 1000, False)] and steps.pop() == "closed"
    assert sum(steps) == totals[0][0] and min(steps) >= 0 and len([n for n in steps if n]) > 1
    corpus.read(settings)
    assert totals[1] == (0, True)
