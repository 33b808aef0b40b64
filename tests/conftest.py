"""Fixtures shared by the tests: a small real vocabulary, the sentences it was trained on, a tiny teacher, an empty folder."""

import cli_support
import pytest

from semcom import corpus, vocab


@pytest.fixture(scope="session")
def sentences():
    return corpus.built_in(600).sentences


@pytest.fixture(scope="session")
def vocabulary(sentences):
    return vocab.train((s.text for s in sentences), 400)


@pytest.fixture(scope="session")
def teacher(tmp_path_factory):
    """The file of ``cli_support.train_tiny_teacher``; tests must not write to it."""
    return cli_support.train_tiny_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
