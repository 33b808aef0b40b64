"""Files: whole or not at all, nothing finished destroyed, one run to a folder; strangers' strings on a
console."""

import errno
import json
import os
import stat
import subprocess
import sys

import pytest

from semcom.base.errors import SemcomError, escape
from semcom.base.output_files import Place, check_outputs, lock, write_atomically, write_json


@pytest.fixture
def mask():
    before = os.umask(0o027)
    yield 0o640
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_writes_text_and_bytes_into_new_folders(tmp_path):
    write_atomically(tmp_path / "a/b/text", "naïve\n")
    write_atomically(str(tmp_path / "raw"), b"\x00\xff")
    assert (tmp_path / "a/b/text").read_bytes() == "naïve\n".encode() and (
        tmp_path / "raw"
    ).read_bytes() == b"\x00\xff"


def test_a_new_file_has_the_umasks_permissions_and_a_replaced_one_its_own(tmp_path, mask):
    path = tmp_path / "file"
    write_atomically(path, "one")
    assert mode(path) == mask
    path.chmod(0o604)
    write_atomically(path, "two")
    assert mode(path) == 0o604 and path.read_text() == "two"


def test_a_link_is_followed_and_stays(tmp_path):
    target, link = tmp_path / "folder/target", tmp_path / "link"
    write_atomically(target, "one")
    link.symlink_to(target)
    write_atomically(link, "two")
    assert link.is_symlink() and target.read_text() == "two" and os.listdir(target.parent) == ["target"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize(
    "code, cure", [(errno.ENOSPC, "free some space"), (errno.EIO, "choose another place")]
)
def test_a_failed_write_leaves_the_previous_file_and_nothing_else(
    tmp_path, monkeypatch, function, code, cure
):
    path = tmp_path / "file"
    path.write_text("previous")

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(SemcomError, match=f"file: cannot be written.*previous file is unharmed; {cure}"):
        write_atomically(path, "new")
    with pytest.raises(SemcomError, match="other: cannot be written") as refused:
        write_atomically(tmp_path / "other", "new")
    assert "unharmed" not in str(refused.value)
    assert path.read_text() == "previous" and os.listdir(tmp_path) == ["file"]


def test_an_interrupted_write_leaves_the_previous_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("previous")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "previous" and os.listdir(tmp_path) == ["file"]


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SemcomError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "inside", "new")


def test_json_is_readable_and_strict(tmp_path):
    write_json(tmp_path / "record.json", {"a": [1, 2.5, None], "b": "naïve"})
    text = (tmp_path / "record.json").read_text()
    assert json.loads(text) == {"a": [1, 2.5, None], "b": "naïve"} and "naïve" in text and text.endswith("\n")
    with pytest.raises(ValueError):
        write_json(tmp_path / "other.json", float("nan"))
    assert not (tmp_path / "other.json").exists()


def test_an_output_that_is_an_input_is_refused(tmp_path):
    source, link = tmp_path / "teacher.pt", tmp_path / "link.pt"
    source.write_text("teacher")
    link.symlink_to(source)
    for output in (source, link, tmp_path / "." / "teacher.pt", tmp_path / "x/../teacher.pt"):
        with pytest.raises(SemcomError, match="--output .*is an input of this run"):
            check_outputs({"--output": output}, [source])
    with pytest.raises(SemcomError, match="--hybrid .*is the same path as --output"):
        check_outputs({"--output": tmp_path / "new", "--hybrid": tmp_path / "." / "new"}, [source])
    check_outputs({"--output": tmp_path / "deep/new", "--hybrid": tmp_path / "hybrid"}, [source])
    assert sorted(os.listdir(tmp_path)) == ["link.pt", "teacher.pt"]


def test_an_output_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SemcomError, match="--output .*is a file, not a folder"):
        check_outputs({"--output": tmp_path / "file" / "deep" / "new"}, [])


@pytest.mark.parametrize("folder", [True, False])
def test_a_default_path_is_set_aside_and_a_named_one_refused(tmp_path, folder):
    path = tmp_path / ("run" if folder else "run.pt")

    def occupy(content):
        if folder:
            path.mkdir()
        (path / "best.pt" if folder else path).write_text(content)

    def read(name):
        return (tmp_path / name / "best.pt" if folder else tmp_path / name).read_text()

    room = dict(folder=folder, overwrite=False)
    assert (
        Place("--output", path, named=False, **room).make_room() is None
        and Place("--output", path, named=True, **room).make_room() is None
    )
    occupy("first")
    with pytest.raises(SemcomError, match="--output .*exists already.*--overwrite"):
        Place("--output", path, named=True, **room).make_room()
    assert (
        Place("--output", path, named=True, folder=folder, overwrite=True).make_room() is None
        and read(path.name) == "first"
    )
    first, second = ("run.1", "run.2") if folder else ("run.1.pt", "run.2.pt")
    assert first in Place("--output", path, named=False, **room).make_room()
    occupy("second")
    assert second in Place("--output", path, named=False, **room).make_room()
    assert not path.exists() and read(first) == "first" and read(second) == "second"


def test_a_file_is_no_folder_and_a_folder_no_file(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for name, folder, message in (
        ("file", True, "a folder is wanted"),
        ("folder", False, "a file is wanted"),
    ):
        with pytest.raises(SemcomError, match=message):
            Place("--output", tmp_path / name, named=False, overwrite=True, folder=folder).make_room()


def test_a_second_run_is_kept_out_until_the_first_ends(tmp_path):
    folder = tmp_path / "runs" / "one"
    with lock(folder):
        with pytest.raises(SemcomError, match="another run is writing there"), lock(folder):
            pass
        with lock(tmp_path / "runs" / "two"):
            pass
    with pytest.raises(RuntimeError), lock(folder):
        raise RuntimeError
    with lock(folder):
        pass
    assert os.listdir(tmp_path) == [], "not even the folders that the lock needed"


def test_the_lock_of_a_dead_run_is_taken_over(tmp_path):
    gone = subprocess.Popen([sys.executable, "-S", "-c", ""])
    gone.wait()
    with lock(tmp_path / "run"):
        (path,) = tmp_path.iterdir()
    path.write_text(str(gone.pid))
    with lock(tmp_path / "run"):
        assert path.read_text() == str(os.getpid())


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain text", "plain text"),
        ("naïve 漢字", "naïve 漢字"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb\t", r"a\nb\t"),
        ("\u202eabc\u2066", r"\u202eabc\u2066"),
        ("\x7f\x9b\u200b", r"\x7f\x9b\u200b"),
        ("\udc80", r"\udc80"),
        ("\u2028", r"\u2028"),
        (5, "5"),
    ],
)
def test_escape(text, shown):
    assert escape(text) == shown
