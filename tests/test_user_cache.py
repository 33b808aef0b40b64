"""The user's cache, and the compiled code that is kept in it: by a compiler that notes when it is run, and
whose library is that of mathematics."""

import ctypes
import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from semcom.base import console, user_cache
from semcom.base.user_cache import LOST
from semcom.models.kernels import compiler, native

COMPILER = """#!/bin/sh
case "$*" in *--version) echo {version}; exit;; esac
echo "$@" >> {noted}
while [ "$1" != -o ]; do shift; done
cp {library} "$2"
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(console, "_SAID", set())
    monkeypatch.setenv("SEMCOM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def warnings_alone(caplog):
    """Of the log; a command that ran before in this process may have left it at more."""
    caplog.set_level("WARNING", "semcom")


@pytest.fixture
def fake(cache, tmp_path, monkeypatch):
    """A job for a compiler of which each run is noted."""
    return Fake(tmp_path, monkeypatch)


class Fake:
    def __init__(self, folder, monkeypatch):
        self.folder, self.noted = folder, folder / "noted"
        self.program = folder / "c++"
        self.installed("1.0")
        monkeypatch.setenv("CXX", str(self.program))
        (folder / "source.cpp").write_text("// one")
        (folder / "source.h").write_text("// its header")
        self.job = compiler.Job(folder / "source.cpp", ("-O2",), ("cos",))

    def installed(self, version):
        libraries = (*Path("/lib").glob("*/libm.so.6"), *Path("/lib64").glob("libm.so.6"))
        text = COMPILER.format(version=version, noted=self.noted, library=libraries[0])
        self.program.write_text(text)
        self.program.chmod(0o755)

    def library(self, job=None):
        """Whether it had to be compiled."""
        before = self.runs()
        made = compiler.library(job or self.job)
        made.cos.restype, made.cos.argtypes = ctypes.c_double, [ctypes.c_double]
        assert made.cos(0.0) == 1.0
        return self.runs() - before

    def runs(self):
        return len(self.noted.read_text().splitlines()) if self.noted.exists() else 0

    def kept(self):
        (kept,) = (self.folder / "cache/kernels").glob("*.so")
        return kept


pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not (*Path("/lib").glob("*/libm.so.6"), *Path("/lib64").glob("libm.so.6")),
    reason="needs Linux and its libm",
)


def test_code_is_compiled_once(fake):
    assert [fake.library() for _ in range(3)] == [1, 0, 0]
    assert fake.kept().stat().st_mode & 0o777 == 0o600
    assert fake.kept().parent.stat().st_mode & 0o777 == 0o700
    assert not [path for path in fake.folder.rglob("*") if path.suffix == ".tmp"]


def test_another_source_header_flag_compiler_or_cpu_is_another_code(fake, monkeypatch):
    fake.library()
    other = compiler.Job(fake.job.source, ("-O3",), ("cos",))
    assert fake.library(other) == 1
    (fake.folder / "source.h").write_text("// another header")
    assert fake.library() == 1
    fake.job.source.write_text("// another source")
    assert fake.library() == 1
    fake.installed("2.0")
    assert fake.library() == 1
    monkeypatch.setattr(compiler, "cpu_identity", lambda: "another CPU")
    assert fake.library() == 1
    monkeypatch.setenv("CXX", f"{fake.program} -g")
    assert fake.library() == 1
    assert fake.library() == 0


@pytest.mark.parametrize("place", [0, 40, 5000, -1])
def test_a_byte_that_changed_is_found(fake, place):
    fake.library()
    whole = fake.kept().read_bytes()
    broken = bytearray(whole)
    broken[place] ^= 1
    fake.kept().write_bytes(broken)
    assert fake.library() == 1
    assert fake.kept().read_bytes() == whole
    assert fake.library() == 0


@pytest.mark.parametrize("length", [0, 31, 32, 1000])
def test_a_file_that_was_cut_off_is_made_anew(fake, length):
    fake.library()
    os.truncate(fake.kept(), length)
    assert [fake.library(), fake.library()] == [1, 0]


def test_the_code_of_one_key_does_not_stand_for_another(fake):
    fake.library()
    of_one = fake.kept().read_bytes()
    fake.kept().unlink()
    fake.job.source.write_text("// two")
    fake.library()
    fake.kept().write_bytes(of_one)
    assert fake.library() == 1


def test_a_whole_file_that_is_no_library_is_made_anew(fake):
    fake.library()
    key = compiler._key(compiler.command(), fake.job)
    for code in (b"no library", Path(json.__file__).read_bytes()):
        fake.kept().write_bytes(hashlib.sha256(key + code).digest() + code)
        assert [fake.library(), fake.library()] == [1, 0]


@pytest.mark.parametrize("part", ["", "kernels"])
def test_a_folder_that_others_may_write_is_not_used(fake, cache, part, caplog):
    fake.library()
    (cache / part).chmod(0o777)
    assert [fake.library(), fake.library()] == [1, 1]
    assert caplog.messages == [
        f"the cache {cache / part} belongs to another user or may be written by others, so it is not used: "
        f"{LOST}; take that right away (chmod go-w), or name another folder in SEMCOM_CACHE"
    ]


def test_a_file_that_others_may_write_is_not_used(fake):
    fake.library()
    fake.kept().chmod(0o620)
    assert [fake.library(), fake.library()] == [1, 0]


def test_a_folder_of_another_user_is_not_used(fake, monkeypatch):
    fake.library()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert [fake.library(), fake.library()] == [1, 1]


def test_where_nothing_can_be_kept_code_is_compiled_each_time_and_the_log_says_why(fake, cache, caplog):
    cache.write_text("a file in place of a folder")
    assert [fake.library(), fake.library()] == [1, 1]
    assert caplog.messages == [
        f"the cache {cache} cannot be made (File exists), so it is not used: {LOST}; name another folder in "
        "SEMCOM_CACHE"
    ]


def test_a_folder_that_cannot_be_written_is_said(fake, cache, caplog, monkeypatch):
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, rights: path != cache / "kernels" and may(path, rights))
    assert [fake.library(), fake.library()] == [1, 1]
    assert [line[: line.index(",")] for line in caplog.messages] == [
        f"the cache {cache}/kernels cannot be written"
    ]


def test_a_user_without_a_home_is_told_what_a_cache_needs(fake, caplog, monkeypatch):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    for name in ("SEMCOM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    assert [fake.library(), fake.library()] == [1, 1]
    assert caplog.messages == [
        f"there is no home folder for a cache, so it is not used: {LOST}; name a folder for it in "
        "SEMCOM_CACHE"
    ]


def test_a_cache_of_each_folder_is_used_and_said(fake, caplog, monkeypatch):
    monkeypatch.chdir(fake.folder)
    monkeypatch.setenv("SEMCOM_CACHE", "cache")
    assert [fake.library(), fake.library()] == [1, 0]
    assert fake.kept().is_file()
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("SEMCOM_CACHE cache: a relative path")


def test_a_compiler_that_is_not_there_is_said_before_another_one_compiles(fake, caplog, monkeypatch):
    fake.program.rename(fake.folder / "g++")
    monkeypatch.setenv("CXX", "nowhere/c++")
    monkeypatch.setenv("PATH", f"{fake.folder}:{os.environ['PATH']}")
    assert [fake.library(), fake.library()] == [1, 0]
    assert caplog.messages == [
        f"CXX nowhere/c++: there is no such program; {fake.folder}/g++ compiles instead"
    ]


def test_what_takes_seconds_is_said_once(fake, caplog):
    caplog.set_level("INFO", "semcom")
    assert fake.library() == 1
    fake.job.source.write_text("// another source")
    assert [fake.library(), fake.library()] == [1, 0]
    assert caplog.messages == ["compiling kernels for this machine by c++; this takes some seconds"]


def test_a_cache_that_cannot_be_written_is_done_without(fake, monkeypatch):
    def full(*given, **choice):
        raise compiler.SemcomError("no space left")

    monkeypatch.setattr(compiler.output_files, "write_atomically", full)
    assert [fake.library(), fake.library()] == [1, 1]


def test_two_at_once_make_one(fake):
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda _: compiler.library(fake.job), range(4)))
    assert fake.runs() == 1


def test_libraries_that_were_not_used_for_long_make_room(fake, monkeypatch):
    monkeypatch.setattr(compiler, "MOST_KEPT", 2)
    jobs = [compiler.Job(fake.job.source, (f"-O{level}",), ("cos",)) for level in range(3)]
    other = fake.folder / "other.cpp"
    other.write_text("// of another source")
    fake.library(compiler.Job(other, (), ("cos",)))
    for job in (jobs[0], jobs[1], jobs[0]):
        fake.library(job)
        for path in (fake.folder / "cache/kernels").glob("*.so"):
            an_hour_earlier = path.stat().st_mtime - 3600
            os.utime(path, (an_hour_earlier, an_hour_earlier))
    assert fake.library(jobs[2]) == 1
    kept = {path.name for path in (fake.folder / "cache/kernels").iterdir()}
    assert len(kept) == 2 * 3, "with its lock each"
    assert [fake.library(job) for job in (jobs[0], jobs[2])] == [0, 0], "used between, it was kept"
    assert fake.library(jobs[1]) == 1


def test_a_compiler_says_its_version_once(fake, monkeypatch):
    asked, ended = [], compiler._ended
    monkeypatch.setattr(compiler, "_ended", lambda words: asked.append(words[1:]) or ended(words))
    for level in range(3):
        fake.library(compiler.Job(fake.job.source, (f"-O{level}",), ("cos",)))
    assert asked.count(["--version"]) == 1


@pytest.mark.parametrize(
    "system, variables, place",
    [
        ("linux", {"HOME": "/home/a"}, "/home/a/.cache/semcom"),
        ("linux", {"HOME": "/home/a", "XDG_CACHE_HOME": "/fast"}, "/fast/semcom"),
        ("linux", {"HOME": "/home/a", "XDG_CACHE_HOME": "relative"}, "/home/a/.cache/semcom"),
        ("darwin", {"HOME": "/Users/a"}, "/Users/a/Library/Caches/semcom"),
        ("win32", {"HOME": "/c/a", "LOCALAPPDATA": "/c/data"}, "/c/data/semcom/Cache"),
        ("linux", {"HOME": "/home/a", "SEMCOM_CACHE": "/mine"}, "/mine"),
    ],
)
def test_the_place_of_the_cache(system, variables, place, monkeypatch):
    monkeypatch.setattr(sys, "platform", system)
    for name in ("SEMCOM_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert user_cache._root() == Path(place)


def test_threads_that_need_a_library_at_once_make_it_once(no_library, monkeypatch):
    made = []

    def library(job):
        time.sleep(0.05)
        made.append(job.source.name)
        return object()

    monkeypatch.setattr(compiler, "library", library)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: native._library("rows.cpp", ("-O9",)), range(4)))
    assert made == ["rows.cpp"] and len(found) == 1


def test_an_unknown_function_is_of_no_library():
    with pytest.raises(KeyError):
        native.compiled("nowhere")


@pytest.mark.native
def test_the_second_process_compiles_nothing(cache, tmp_path):
    program = (
        "from semcom.models.kernels import compiler, native\n"
        "runs, ended = [], compiler._ended\n"
        "compiler._ended = lambda words: runs.append(words) or ended(words)\n"
        "assert native.cannot_compile() is None\n"
        "print([words[1:] == ['--version'] for words in runs])\n"
    )
    said = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert said[0].count("False") == len(native.of_training()) == len(list(cache.rglob("*.so")))
    assert "False" not in said[1]
