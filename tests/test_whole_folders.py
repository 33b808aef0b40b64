"""A folder comes to its place whole or not at all."""

import pytest

from semcom.base.errors import SemcomError
from semcom.base.whole_folders import whole_folder


def make(path, *names, overwrite=False, inputs=()):
    with whole_folder("--output", path, inputs, overwrite=overwrite, own=("*.txt",)) as folder:
        for name in names:
            assert not (path / name).exists() or overwrite
            (folder / name).write_text(name)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_it_comes_whole(tmp_path):
    make(tmp_path / "new" / "folder", "a.txt", "b.txt")
    assert names(tmp_path / "new" / "folder") == ["a.txt", "b.txt"]
    assert names(tmp_path / "new") == ["folder"]


def test_after_an_error_there_is_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with whole_folder("--output", tmp_path / "out", (), overwrite=False, own=()) as folder:
            (folder / "a.txt").write_text("half")
            raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_a_folder_that_is_there_is_replaced_when_asked(tmp_path):
    out = tmp_path / "out"
    make(out, "old.txt")
    (out / "notes.md").write_text("mine")
    with pytest.raises(SemcomError, match="exists already.*--overwrite"):
        make(out, "new.txt")
    assert names(out) == ["notes.md", "old.txt"]
    make(out, "new.txt", overwrite=True)
    assert names(out) == ["new.txt", "notes.md"]
    assert names(tmp_path) == ["out"]


def test_an_error_leaves_the_earlier_folder(tmp_path):
    out = tmp_path / "out"
    make(out, "old.txt")
    with pytest.raises(ValueError, match="broken"):
        with whole_folder("--output", out, (), overwrite=True, own=("*.txt",)):
            raise ValueError("broken")
    assert names(out) == ["old.txt"] and names(tmp_path) == ["out"]


def test_what_a_dead_run_left_goes(tmp_path):
    (tmp_path / ".out.making").mkdir()
    (tmp_path / ".out.making" / "stale.txt").write_text("stale")
    make(tmp_path / "out", "a.txt")
    assert names(tmp_path / "out") == ["a.txt"] and names(tmp_path) == ["out"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".keep").write_text("")
    make(tmp_path / "out", "a.txt")
    assert names(tmp_path / "out") == [".keep", "a.txt"]


def test_no_input_and_no_file_is_overwritten(tmp_path):
    file = tmp_path / "file.txt"
    file.write_text("mine")
    with pytest.raises(SemcomError, match="is a file, a folder is wanted"):
        make(file, "a.txt", overwrite=True)
    out = tmp_path / "out"
    make(out, "a.txt")
    with pytest.raises(SemcomError, match="input of this run"):
        make(out, "a.txt", overwrite=True, inputs=[out / "a.txt"])
