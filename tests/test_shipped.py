"""The files in git: the teacher and its vocabulary are what the documents say."""

from pathlib import Path

import pytest
import torch
from toy import spoken

from semcom.channel.channels import AWGN
from semcom.data import batching, corpus
from semcom.data.vocabulary_files import read_vocabulary
from semcom.evaluation.scores import Entrant, Meeting, decode, score
from semcom.models import checkpoint

ROOT = Path(__file__).resolve().parent.parent
TEACHER = ROOT / "checkpoints/teacher.pt"


@pytest.fixture(scope="module")
def shipped():
    return checkpoint.load(TEACHER)


def test_sizes_and_vocabulary(shipped):
    assert TEACHER.stat().st_size < 15_000_000
    architecture = shipped.model.architecture
    assert architecture.transmitter == architecture.receiver and architecture.channel_dim == 16
    assert (architecture.transmitter.layers, architecture.transmitter.d_model) == (4, 128)
    assert (
        shipped.vocabulary.fingerprint
        == read_vocabulary((ROOT / "vocab/parliament.model").read_bytes()).fingerprint
    )
    assert shipped.seen_topics() == frozenset(corpus.parliament.TOPICS)


def test_nothing_is_said_when_it_is_read():
    with spoken() as lines:
        checkpoint.load(TEACHER)
    assert lines == [] and "digest" in torch.load(TEACHER, weights_only=True)


def test_it_was_trained_on_the_corpus_that_is_generated_today(shipped):
    assert shipped.config["corpus_fingerprint"] == corpus.built_in(60_000).fingerprint


def test_it_understands_at_12_db_and_not_at_minus_10(shipped):
    """60 sentences; checkpoints/README.md has 500 of them: BLEU 95.5 and 0.6 there."""
    test = sorted(corpus.built_in(6000).split("test"), key=lambda s: s.id)[:60]
    meeting = Meeting(AWGN(), (-10.0, 12.0), 42, torch.device("cpu"), 60, True)
    encoded = batching.encode(test, shipped.vocabulary)
    low, high = (
        score(d, encoded, meeting.scoring)
        for d in decode(Entrant("t", shipped.model), encoded, shipped.vocabulary, meeting)
    )
    assert high["bleu"] > 85 and high["exact"] > 0.5
    assert low["bleu"] < 15
