"""Files: whole or not at all; strangers' strings on a console."""

import errno
import json
import os
import stat

import pytest

from semcom.base.errors import SemcomError, escape
from semcom.base.output_files import check_outputs, write_atomically, write_json


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


def test_the_folder_of_a_new_name_is_synced(tmp_path, monkeypatch):
    synced, sync = [], os.fsync

    def fsync(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(tmp_path / "file", "new")
    assert synced[1:] == [str(tmp_path)] and synced[0].endswith(".tmp")


def test_a_folder_that_cannot_be_synced_is_told_unless_there_is_no_such_thing(tmp_path, monkeypatch):
    code = errno.EIO

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(SemcomError, match="file: cannot be written") as refused:
        write_atomically(tmp_path / "file", "new")
    assert "unharmed" not in str(refused.value) and (tmp_path / "file").read_text() == "new"
    code = errno.EINVAL
    write_atomically(tmp_path / "file", "newer")


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
        ("你好\u3000世界，\u3000“再见”", "你好\u3000世界，\u3000“再见”"),
        ("日本\u3000\u3000カナ\u3000한글", "日本\u3000\u3000カナ\u3000한글"),
        ("你好\u3000", r"你好\u3000"),
        ("a\u3000b 中\xa0文\u2003字", r"a\u3000b 中\xa0文\u2003字"),
        (5, "5"),
    ],
)
def test_escape(text, shown):
    assert escape(text) == shown
