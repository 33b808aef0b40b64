"""Fixtures shared by the tests: a small real vocabulary and the sentences it was trained on."""
import pytest

from semcom import corpus, vocab


@pytest.fixture(scope="session")
def sentences():
    return corpus.built_in(600).sentences


@pytest.fixture(scope="session")
def vocabulary(sentences):
    return vocab.train((s.text for s in sentences), 400)
