"""What the tests share: one thread a process, what is made once for all processes, a small real vocabulary,
the sentences it was trained on, a tiny teacher, an empty folder."""

import base64
import fcntl
import gc
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

# Before torch is imported: the tests run in as many processes as there are cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cli_support  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from semcom.data import corpus  # noqa: E402
from semcom.data.piece_vocabulary import train_vocabulary  # noqa: E402
from semcom.models.kernels import native  # noqa: E402
from semcom.report import look

ONE_PIXEL = base64.b64decode(  # a PNG
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mP4DwABAQEAHLCMmQAAAABJRU5ErkJggg=="
)


def pytest_collection_finish() -> None:
    """Modules and thousands of tests stay to the end: the collector need not look at them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_disks() -> Iterator[None]:
    """No power fails while the tests run: a file need not be on the disk before the next is begun."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: None)
        yield


def blank(draw: look.Draw, place: look.Place, *kinds: str) -> list[bytes]:
    """In the place of ``look.pictures``."""
    return [ONE_PIXEL for _ in kinds]


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory) -> Path:
    """Of this run of the tests: the same one in each of its processes."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def made_once(shared_folder) -> Callable[[str, Callable[[Path], object]], Path]:
    """``made_once(name, make)``: the folder of this name, which the first process to ask for it has filled by
    ``make(folder)``, without pictures unless it ``draws``; tests must not write to it."""

    def made_once(name: str, make: Callable[[Path], object], draws: bool = False) -> Path:
        folder, whole = shared_folder / name, shared_folder / f"{name}.whole"
        with open(shared_folder / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not whole.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                with pytest.MonkeyPatch.context() as patched:
                    if not draws:
                        patched.setattr(look, "pictures", blank)
                    make(folder)
                whole.touch()
        return folder

    return made_once


@pytest.fixture(scope="session", autouse=True)
def compiled_once(shared_folder) -> None:
    """The user's cache is of this run of the tests: the C++ is compiled by the first process that asks for
    it."""
    os.environ["SEMCOM_CACHE"] = str(shared_folder / "cache")


@pytest.fixture(autouse=True)
def compiler_where_marked(request, compiled_once) -> None:
    """Tests marked ``native`` are skipped where nothing compiles."""
    if request.node.get_closest_marker("native") and (reason := native.cannot_compile()):
        pytest.skip(reason)


@pytest.fixture(scope="session")
def sentences():
    return corpus.built_in(600).sentences


@pytest.fixture(scope="session")
def vocabulary(sentences):
    return train_vocabulary((s.text for s in sentences), 400)


@pytest.fixture(scope="session")
def teacher(made_once):
    """The file of ``cli_support.train_tiny_teacher``; tests must not write to it."""
    return made_once("teacher", cli_support.train_tiny_teacher) / cli_support.TINY_TEACHER


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def no_drawing(request, monkeypatch) -> None:
    """Pictures hold one pixel: they are most of what a short run does. Tests marked ``draws`` have real ones,
    or, marked ``draws("png")``, those that are PNGs."""
    mark = request.node.get_closest_marker("draws")
    if mark is not None and not mark.args:
        return
    drawn = set() if mark is None else set(mark.args)
    real = look.pictures

    def pictures(draw: look.Draw, place: look.Place, *kinds: str) -> list[bytes]:
        return (real if drawn.issuperset(kinds) else blank)(draw, place, *kinds)

    monkeypatch.setattr(look, "pictures", pictures)


@pytest.fixture
def no_scores(request, monkeypatch) -> None:
    """Distillations end without their closing scores, but for those of tests marked ``scores``."""
    if request.node.get_closest_marker("scores") is None:
        cli_support.leave_out_scores(monkeypatch)


@pytest.fixture
def no_library():
    """A process that has compiled nothing yet."""
    native._made.cache_clear()
    yield
    native._made.cache_clear()


@pytest.fixture(
    params=["-march=native", pytest.param("-march=x86-64-v3", marks=pytest.mark.slow), "-march=x86-64"],
    ids=["this machine", "AVX2", "any x86-64"],
)
def machine(request, monkeypatch):
    """Code compiled for this machine, for one that fuses products and sums but has no AVX-512, and for one
    without the instructions that have forms of their own in vectors.h."""
    if request.param != "-march=native" and platform.machine() != "x86_64":
        pytest.skip("no x86-64")
    if request.param.endswith("v3") and not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        pytest.skip("no AVX2")
    flags = [request.param if flag.startswith("-march") else flag for flag in native.FLAGS]
    monkeypatch.setattr(native, "FLAGS", flags)
