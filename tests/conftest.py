"""Fixtures shared by the tests: a small real vocabulary, the sentences it was trained on, a tiny teacher, an
empty folder."""

import platform

import cli_support
import pytest

from semcom.data import corpus
from semcom.data.vocabulary import train_vocabulary
from semcom.models.kernels import native


@pytest.fixture(scope="session")
def sentences():
    return corpus.built_in(600).sentences


@pytest.fixture(scope="session")
def vocabulary(sentences):
    return train_vocabulary((s.text for s in sentences), 400)


@pytest.fixture(scope="session")
def teacher(tmp_path_factory):
    """The file of ``cli_support.train_tiny_teacher``; tests must not write to it."""
    return cli_support.train_tiny_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_library():
    """A process that has compiled nothing yet."""
    native.library.cache_clear()
    yield
    native.library.cache_clear()


@pytest.fixture(scope="session")
def libraries():
    """Code by the machine that it is compiled for; it takes many seconds to compile."""
    return {}


@pytest.fixture(params=["-march=native", "-march=x86-64"], ids=["this machine", "any x86-64"])
def machine(request, libraries, monkeypatch):
    """Code compiled for this machine, and for one without the instructions that have forms of their own in
    vectors.h."""
    if request.param != "-march=native" and platform.machine() != "x86_64":
        pytest.skip("no x86-64")
    if request.param not in libraries:
        with monkeypatch.context() as patched:
            patched.setattr(
                native,
                "FLAGS",
                [request.param if flag.startswith("-march") else flag for flag in native.FLAGS],
            )
            libraries[request.param] = native.library.__wrapped__()
    monkeypatch.setattr(native, "library", lambda: libraries[request.param])
