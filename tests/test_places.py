"""Places: nothing finished destroyed, replaced at the end, repaired after a death at any moment."""

import itertools
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from semcom.base import locks, places, replacing
from semcom.base.errors import SemcomError
from semcom.base.places import Place, make_room, publish, reserve, reserve_files

OWN = ("best.pt", "record.json", "resume.pt", "figures/*.png")


def folder_place(path, **given):
    given = {"named": True, "overwrite": False, **given}
    return Place("--output-path", path, folder=True, own=OWN, **given)


def file_place(path, **given):
    given = {"named": True, "overwrite": False, "at_end": True, **given}
    return Place("--hybrid-output", path, folder=False, **given)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def tree(folder):
    """Of all files but locks: path -> text."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def a_run(wanted, text, *, until=None):
    """Reserve, make room, write, publish, as each verb does. until: an exception raised before publishing."""
    with ExitStack() as held:
        reserved = reserve(wanted, held)
        make_room(reserved)
        for place in reserved:
            write(place.working / "best.pt" if place.folder else place.working, text)
        if until:
            raise until
        publish(reserved)
        return reserved


class Death(BaseException):
    """Of a process: nothing after it happens."""


# --- what is there already


@pytest.mark.parametrize("folder", [True, False])
def test_a_default_path_is_set_aside_and_a_named_one_refused(tmp_path, folder, caplog):
    path = tmp_path / ("T2.0" if folder else "run.pt")
    place = (folder_place if folder else file_place)(path)
    default = (folder_place if folder else file_place)(path, named=False)
    a_run([default], "first")
    with pytest.raises(places.Taken, match="exists already.*--overwrite"):
        a_run([place], "other")
    with caplog.at_level("INFO"):
        a_run([default], "second")
        a_run([default], "third")
    first, second = ("T2.0.before-1", "T2.0.before-2") if folder else ("run.before-1.pt", "run.before-2.pt")
    assert f"kept the earlier {path} as {tmp_path / first}" in caplog.text and second in caplog.text
    inner = "/best.pt" if folder else ""
    names = {path.name: "third", first: "first", second: "second"}
    assert tree(tmp_path) == {name + inner: text for name, text in names.items()}


def test_a_file_is_no_folder_and_a_folder_no_file(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SemcomError, match="--output-path .*file: is a file, a folder is wanted"):
        folder_place(tmp_path / "file", overwrite=True).check()
    with pytest.raises(SemcomError, match="--hybrid-output .*folder: is a folder, a file is wanted"):
        file_place(tmp_path / "folder", overwrite=True).check()


def test_a_folder_that_cannot_be_moved_is_told_at_the_start(tmp_path, monkeypatch):
    write(tmp_path / "run" / "best.pt", "old")
    (tmp_path / "run" / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "run" / "deep")
    with pytest.raises(SemcomError, match=r"--output-path \.\.: holds the working directory"):
        a_run([folder_place("..", overwrite=True)], "new")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os.path, "ismount", lambda path: True)
    with pytest.raises(SemcomError, match="run: is a mount point"):
        a_run([folder_place("run", overwrite=True)], "new")
    assert tree(tmp_path) == {"run/best.pt": "old"}


def test_what_is_refused_at_a_glance_leaves_nothing(tmp_path):
    write(tmp_path / "run" / "best.pt", "old")
    with pytest.raises(places.Taken):
        a_run([folder_place(tmp_path / "run"), file_place(tmp_path / "h.pt")], "new")
    with ExitStack() as held, pytest.raises(places.Taken):
        outputs = {"--output": tmp_path / "new.csv", "--picture": tmp_path / "run/best.pt"}
        reserve_files(outputs, [], overwrite=False, held=held)
    assert sorted(os.listdir(tmp_path)) == ["run"]


def test_a_run_at_work_is_told_before_what_it_has_written(tmp_path):
    with ExitStack() as held:
        make_room(reserve([folder_place(tmp_path / "run")], held))
        write(tmp_path / "run" / "best.pt", "half")
        for place in (folder_place(tmp_path / "run"), folder_place(tmp_path / "run", named=False)):
            with pytest.raises(SemcomError, match="is writing there"):
                a_run([place], "other")
    assert tree(tmp_path) == {"run/best.pt": "half"}


def test_a_live_runs_folder_is_never_moved_with_one_around_it(tmp_path):
    write(tmp_path / "runs" / "notes.txt", "mine")
    with locks.hold("--output-path", tmp_path / "runs" / "live"):
        write(tmp_path / "runs" / "live" / "best.pt", "half")
        for choice in ({"overwrite": True}, {"named": False}):
            with pytest.raises(SemcomError, match="is writing there"):
                a_run([folder_place(tmp_path / "runs", **choice)], "new")
    assert tree(tmp_path) == {"runs/notes.txt": "mine", "runs/live/best.pt": "half"}


# --- replaced at the end


def both(folder, **given):
    given = {"overwrite": True, **given}
    return [folder_place(folder / "run", **given), file_place(folder / "hybrid.pt", **given)]


WHOLE = {"run/best.pt": "new", "run/notes.txt": "mine", "hybrid.pt": "new"}
BEFORE = {"run/best.pt": "old", "run/resume.pt": "old", "run/notes.txt": "mine", "hybrid.pt": "old"}


@pytest.fixture
def before(tmp_path):
    for name, text in BEFORE.items():
        write(tmp_path / name, text)
    return tmp_path


def test_what_is_replaced_stands_until_its_successor_is_whole(before):
    with ExitStack() as held:
        reserved = reserve(both(before), held)
        make_room(reserved)
        assert [place.working.name for place in reserved] == ["run.new", "hybrid.pt.new"]
        write(reserved[0].working / "best.pt", "new")
        write(reserved[1].working, "new")
        assert BEFORE.items() <= tree(before).items()
        publish(reserved)
    assert tree(before) == WHOLE


def test_where_nothing_is_there_it_is_written_in_place(tmp_path):
    reserved = a_run(both(tmp_path), "new")
    assert [place.working for place in reserved] == [tmp_path / "run", tmp_path / "hybrid.pt"]
    assert tree(tmp_path) == {"run/best.pt": "new", "hybrid.pt": "new"}


def test_the_files_of_a_run_in_its_folder_come_with_it(before):
    inside = file_place(before / "run" / "hybrid.pt", overwrite=True)
    reserved = a_run([both(before)[0], inside], "new")
    assert reserved[1].working == before / "run.new" / "hybrid.pt"
    assert tree(before) == {**WHOLE, "run/hybrid.pt": "new", "hybrid.pt": "old"}


def test_what_is_not_the_runs_stays_in_its_folder(before):
    foreign = ("figures/mine.svg", "deep/er/mine.pt", "tables/b", "tables/c", ".hidden")
    for name in ("figures/own.png", ".best.pt.abcdefgh.tmp", *foreign):
        write(before / "run" / name, "x")
    (before / "run" / "link").symlink_to(before / "hybrid.pt")
    wanted = [both(before)[0], file_place(before / "run" / "tables" / "c"), both(before)[1]]
    a_run(wanted, "new")
    assert (before / "run" / "link").is_symlink()
    kept = {f"run/{name}": "x" for name in foreign} | {"run/tables/c": "new", "run/link": "new"}
    assert tree(before) == WHOLE | kept


def test_a_run_that_failed_has_replaced_nothing_and_the_next_begins_anew(before):
    with pytest.raises(ValueError):
        a_run(both(before), "dead", until=ValueError())
    (before / "run.new" / "more").write_text("dead")
    assert BEFORE.items() <= tree(before).items()
    a_run(both(before), "new")
    assert tree(before) == WHOLE


def test_what_is_in_the_way_of_the_new_one_is_not_touched(before):
    write(before / "run.new" / "best.pt", "a user's own")
    with pytest.raises(SemcomError, match=r"is written to run\.new first, which is there.*; move it"):
        a_run(both(before), "new")
    assert tree(before) == {**BEFORE, "run.new/best.pt": "a user's own"}


@pytest.mark.parametrize("name, kind", [("run", folder_place), ("hybrid.pt", file_place)])
@pytest.mark.parametrize("how", [{"overwrite": True}, {"resume": True}])
def test_where_a_run_writes_what_replaces_another_is_no_other_runs(before, name, kind, how):
    new = f"{name}.new"
    with ExitStack() as held:
        begun = reserve([kind(before / name, overwrite=True)], held)
        with ExitStack() as other, pytest.raises(SemcomError, match="another run .*is writing there"):
            reserve([kind(before / new, **how)], other)
        make_room(begun)
        write(before / new / "best.pt" if name == "run" else before / new, "begun")
    # The run has died. What another would finish there, the next to replace it would remove.
    for path in (new, f"{new}/within"):
        with pytest.raises(SemcomError, match=f"{path}: is where a run writes that replaces .*{name} in"):
            a_run([kind(before / path, **how)], "another's")
    with ExitStack() as held, pytest.raises(SemcomError, match="is where a run writes"):
        output = before / (f"{new}/x.csv" if name == "run" else new)
        reserve_files({"--output": output}, [], overwrite=True, held=held)
    a_run([kind(before / name, overwrite=True)], "new")
    a_run([kind(before / new)], "another's")
    assert "new" in tree(before).values() and "another's" in tree(before).values()


def test_a_run_at_work_at_such_a_path_is_not_written_over(before):
    with ExitStack() as held:
        reserve([folder_place(before / "run.new")], held)
        with pytest.raises(SemcomError, match="another run .*is writing there"):
            a_run(both(before), "new")
    assert tree(before) == BEFORE


def test_links_stay_links(before):
    (before / "link").symlink_to(before / "run")
    (before / "link.pt").symlink_to(before / "hybrid.pt")
    wanted = [folder_place(before / "link", overwrite=True), file_place(before / "link.pt", overwrite=True)]
    a_run(wanted, "new")
    assert (before / "link").is_symlink() and (before / "link.pt").is_symlink()
    assert {name: text for name, text in tree(before).items() if "link" not in name} == WHOLE


def dies_at(monkeypatch, moment):
    """Let the process die before the ``moment``-th change of a name."""
    count = itertools.count()

    def dying(function):
        def call(*given, **choice):
            if next(count) == moment:
                raise Death
            return function(*given, **choice)

        return call

    for owner, name in (
        (Path, "rename"),
        (Path, "unlink"),
        (os, "replace"),
        (replacing.shutil, "rmtree"),
    ):
        monkeypatch.setattr(owner, name, dying(getattr(owner, name)))


def die_publishing(wanted, monkeypatch, moment):
    """Whether the process died. Locks go with it."""
    with ExitStack() as held:
        reserved = reserve(wanted, held)
        make_room(reserved)
        for place in reserved:
            write(place.working / "best.pt" if place.folder else place.working, "new")
        with monkeypatch.context() as patched:
            dies_at(patched, moment)
            try:
                publish(reserved)
            except Death:
                return True
    return False


@pytest.mark.parametrize("moment", range(11))
def test_death_at_any_moment_of_publishing_is_repaired(before, monkeypatch, moment):
    died = die_publishing(both(before), monkeypatch, moment)
    texts = set(tree(before).values())
    assert {"new", "mine"} <= texts, "nothing whole is lost"
    # The first moment is that of the commit, the first change of a name.
    committed = moment > 0
    assert committed or BEFORE.items() <= tree(before).items()
    with ExitStack() as held:
        reserve([folder_place(before / "run", resume=True)], held)
    if committed:
        assert tree(before) == WHOLE
    assert died == (moment < 10), "all moments are covered"


@pytest.mark.parametrize("moment", range(9))
def test_death_while_repairing_is_repaired(before, monkeypatch, moment):
    assert die_publishing(both(before), monkeypatch, 1)
    with ExitStack() as held, monkeypatch.context() as patched:
        dies_at(patched, moment)
        with pytest.raises(Death):
            reserve([folder_place(before / "run", resume=True)], held)
    with ExitStack() as held:
        reserve([folder_place(before / "run", resume=True)], held)
    assert tree(before) == WHOLE


def test_whichever_output_is_named_next_all_are_repaired(before, monkeypatch):
    assert die_publishing(both(before), monkeypatch, 1)
    with ExitStack() as held:
        reserve([file_place(before / "hybrid.pt", resume=True)], held)
    assert tree(before) == WHOLE


def test_an_output_that_another_run_has_is_not_repaired_over_its_head(before, monkeypatch):
    assert die_publishing(both(before), monkeypatch, 1)
    with locks.hold("--output", before / "hybrid.pt"), ExitStack() as held:
        with pytest.raises(SemcomError, match=r"hybrid\.pt: another run"):
            reserve([both(before)[0]], held)
    with ExitStack() as held:
        reserve([both(before)[0]], held)
    assert tree(before) == WHOLE


def test_what_cannot_be_removed_is_told_and_removed_by_the_next(before, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(replacing.shutil, "rmtree", refuse)
        a_run(both(before), "new")
    assert "cannot be removed (Permission denied)" in caplog.text
    assert WHOLE.items() <= tree(before).items() and (before / ".run.replaced").is_dir()
    with ExitStack() as held:
        reserve([folder_place(before / "run", resume=True)], held)
    assert tree(before) == WHOLE


@pytest.mark.parametrize("name", ["rename", "fsync"])
def test_what_cannot_be_moved_in_is_told_and_moved_by_the_next(before, monkeypatch, name):
    def refuse(*_):
        raise OSError(5, "Input/output error")

    with ExitStack() as held:
        reserved = reserve(both(before), held)
        make_room(reserved)
        write(reserved[0].working / "best.pt", "new")
        write(reserved[1].working, "new")
        with monkeypatch.context() as patched:
            patched.setattr(*((Path, "rename") if name == "rename" else (replacing, "sync_folder")), refuse)
            with pytest.raises(SemcomError, match=r"cannot be replaced by .*\.new \(Input/output error\)"):
                publish(reserved)
    with ExitStack() as held:
        reserve([folder_place(before / "run", resume=True)], held)
    assert tree(before) == WHOLE


# --- gone on with


def test_an_overwriting_run_is_gone_on_with_without_its_flag(before):
    with pytest.raises(ValueError):
        a_run(both(before), "half", until=ValueError())
    with ExitStack() as held:
        reserved = reserve(both(before, overwrite=False, resume=True), held)
        make_room(reserved)
        assert (reserved[0].working / "best.pt").read_text() == "half"
        write(reserved[0].working / "best.pt", "new")
        write(reserved[1].working, "new")
        publish(reserved)
    assert tree(before) == WHOLE


def test_a_file_that_came_meanwhile_is_kept_when_a_run_goes_on(tmp_path):
    write(tmp_path / "run" / "best.pt", "half")
    write(tmp_path / "hybrid.pt", "another's")
    a_run(both(tmp_path, overwrite=False, resume=True), "new")
    wanted = {"run/best.pt": "new", "hybrid.pt": "new", "hybrid.before-1.pt": "another's"}
    assert tree(tmp_path) == wanted
    a_run(both(tmp_path, overwrite=False, resume=True), "new")
    assert tree(tmp_path) == wanted, "what is the same is not kept twice"


def test_a_run_is_not_whole_while_another_output_of_it_is_not_in_its_place(before):
    (before / "run" / "best.pt").unlink()
    with pytest.raises(ValueError):
        a_run(both(before, resume=True), "half", until=ValueError())
    assert replacing.is_under_way(before / "run") and not replacing.is_under_way(before / "hybrid.pt")
    a_run(both(before, resume=True), "new")
    assert not replacing.is_under_way(before / "run")


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"run": 1}', '{"other": 1}', "[" * 10_000])
def test_a_damaged_note_is_none(before, text):
    (before / ".run.replacing").write_text(text)
    a_run(both(before), "new")
    assert tree(before) == WHOLE


# --- temporary files


def test_temporary_files_of_dead_runs_are_cleared_and_no_others(before):
    dead = [
        "run/.best.pt.abcdefgh.tmp",
        "run/figures/.a.png.abcdefg_.tmp",
        ".hybrid.pt.01234567.tmp",
        ".hybrid.pt.new.01234567.tmp",
        "..run.replacing.01234567.tmp",
        "run.new/.best.pt.abcdefgh.tmp",
    ]
    others = [
        "run/.mine.pt.abcdefgh.tmp",
        "run/.best.pt.original",
        "run/deep/.best.pt.abcdefgh.tmp",
        ".other.pt.01234567.tmp",
        "best.pt.abcdefgh.tmp",
    ]
    for name in [*dead, *others]:
        write(before / name, "x")
    with ExitStack() as held:
        reserve(both(before, resume=True), held)
    assert tree(before) == BEFORE | dict.fromkeys(others, "x")
