"""The notebooks, and what the page on Python shows first, run from start to end, without Jupyter: ``!`` lines
are commands of this process, and a picture is looked for where it would be shown."""

import json
import re
import shlex
import shutil
import sys
import types
from pathlib import Path

import pytest
import torch
from test_documents import KNOWN

import distillation
import semantic_analysis
import semcom
from semcom import Distiller
from semcom.commands import cli
from semcom.data import images
from semcom.data.image_sets import Images, ImageSet
from semcom.data.images import DIGITS

ROOT = Path(semcom.__file__).parent.parent
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
COMMAND = re.compile(r"^!(.*)", re.M)
PROGRAMS = {
    "python -m semcom": lambda argv: cli.run(cli.package, argv),
    "python distillation.py": distillation.main,
    "python semantic_analysis.py": semantic_analysis.main,
}


def cells(name: str) -> list[dict]:
    return json.loads((ROOT / "notebooks" / name).read_text(encoding="utf-8"))["cells"]


def code(name: str) -> list[str]:
    return ["".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "code"]


def in_one_line(cell: str) -> str:
    """Its commands, that is, where they go on after a backslash."""
    return re.sub(r" *\\\n *", " ", cell)


def divided(command: str) -> tuple[str, list[str]]:
    """The program and its arguments."""
    program = next(start for start in PROGRAMS if command.startswith(start))
    return program, shlex.split(command.removeprefix(program))


def shell(command: str) -> None:
    program, arguments = divided(command)
    assert PROGRAMS[program](arguments) == 0, command


def as_python(cell: str) -> str:
    """``!command {name}`` as the call that the notebook makes of it."""
    return COMMAND.sub(lambda found: f"shell(f{found[1]!r})", in_one_line(cell))


class Shown:
    """A picture of ``IPython.display``: the file is there, and is a PNG."""

    def __init__(self, filename: str, width: int | None = None):
        assert Path(filename).read_bytes().startswith(b"\x89PNG"), filename


@pytest.fixture
def run(here, monkeypatch):
    """``run(name, **constants)``: a notebook's cells in one namespace, which it returns; constants replace
    those that the notebook sets."""
    display = types.ModuleType("IPython.display")
    display.Image = Shown
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    (here / "notebooks").mkdir()
    (here / "checkpoints").mkdir()
    shutil.copy(ROOT / "checkpoints/teacher.pt", here / "checkpoints")
    monkeypatch.chdir(here / "notebooks")

    def run(name: str, **constants: object) -> dict:
        space: dict = {"shell": shell}
        for cell in code(name):
            for constant, value in constants.items():
                cell = re.sub(rf"^{constant} = .*", f"{constant} = {value!r}", cell, flags=re.M)
            exec(compile(as_python(cell), f"<{name}>", "exec"), space)
        return space

    return run


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_committed_as_a_reader_first_meets_it(name):
    assert [cell["id"] for cell in cells(name)] == [f"cell{number}" for number in range(len(cells(name)))]
    assert all(
        not cell["outputs"] and cell["execution_count"] is None
        for cell in cells(name)
        if cell["cell_type"] == "code"
    )
    opening = "".join(cells(name)[0]["source"])
    assert cells(name)[0]["cell_type"] == "markdown" and "**中文：**" in opening and "|" in opening
    assert all(len(cell.splitlines()) <= 25 for cell in code(name))
    assert all(len(line) <= 110 for cell in code(name) for line in cell.splitlines())


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_command_of_a_notebook_parses(name):
    commands = [command for cell in code(name) for command in COMMAND.findall(in_one_line(cell))]
    for command in commands:
        program, arguments = divided(command)
        KNOWN[program].parse_args(arguments)
    assert len(commands) >= {"text.ipynb": 5}.get(name, 0)


@pytest.mark.slow
@pytest.mark.draws
def test_a_sentence_a_student_a_dial_and_a_report(run, capsys):
    space = run("text.ipynb")
    ladder = space["ladder"]
    assert (abs(ladder.validation / ladder.target - 1) < 0.011).all(), "what is asked for is reached"
    assert ladder.bleu_12dB.is_monotonic_decreasing and ladder.bleu_12dB[0] > 70
    understood = [line.split() for line in capsys.readouterr().out.splitlines() if space["sentence"] in line]
    assert ["teacher", "12", "dB"] in [line[:3] for line in understood]
    cost = space["rows"][1]
    assert cost["model"] == "hybrid" and cost["parameters_ratio"] < 0.9
    assert Path("checkpoints/notebook/report/report.html").stat().st_size > 100_000


def few_images() -> Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (560, 1, 32, 32), generator=generator).to(torch.uint8)
    everything = ImageSet(pixels, torch.arange(560) % 10)
    return Images(everything.of(torch.arange(480)), everything.of(torch.arange(480, 560)), DIGITS, "noise")


def test_the_notebook_on_classifiers_runs_on_few_images(run, monkeypatch):
    monkeypatch.setattr(images, "read", few_images)
    space = run("classifiers.ipynb", EPOCHS=1)
    assert list(space["accuracies"]) == ["labels alone", "KD", "KD, three teachers", "SDD + LSKD"]
    assert set(space["means"]) == {"loss", "ce", "kd", "scales", "complementary"}


@pytest.mark.slow
@pytest.mark.draws
def test_students_of_few_labels_learn_from_teachers(run):
    space = run("classifiers.ipynb")
    alone, *taught = space["accuracies"].values()
    assert len(taught) == 3 and min(taught) > alone + 0.1 and taught[2] > 0.8
    teacher = Distiller(space["teacher"], settings=space["labels_alone"])
    assert teacher.evaluate(space["test"])["accuracy"] > 0.9
    by_own_optimizer = space["distiller"].evaluate(space["test"])["accuracy"]
    assert by_own_optimizer > alone + 0.1
    assert [row["model"] for row in space["rows"]] == ["teacher", "student"]
    assert space["rows"][1]["parameters_ratio"] < 1 / 20
