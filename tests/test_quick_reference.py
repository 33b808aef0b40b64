"""The Chinese quick reference: its commands work in the order in which they stand there; its commands,
defaults and figures are those of the program and of the results."""

import argparse
import re
import shlex
import shutil

import pytest
from cli_support import analyse, distil, examples, package, runs_in_this_process
from test_documents import FENCE, KNOWN, broken, commands_of, text_of

from semcom.commands import dial_ladder, parsers
from semcom.evaluation import path_search

PAGE = "docs/zh/quick-reference.md"
PROGRAMS = {
    "python -m semcom": package,
    "python distillation.py": distil,
    "python semantic_analysis.py": analyse,
    "python distillation_examples.py": examples,
}
SETTING_UP = ("python3 -m venv", "source ", "pip install")
APART = (
    "sweep",
    "align",
    "baseline",
    "doctor",
    "export",
    "onnx",
    "checkpoints/one.pt",
    "checkpoints/other.pt",
)
"""Words of the commands that take longer, none of which needs what another command makes."""

# Sizes that stand in the place of a command's own, by program or verb; a flag that is None is left out.
LENGTH = {"--epochs": None, "--minutes": None, "--steps": "4"}
TRAINING = {**LENGTH, "--corpus-size": "120", "--batch-size": "32", "--quiet": ""}
TEACHER = {"--layers": "3", "--model-width": "16", "--heads": "2", "--feed-forward": "32", "--lr": "0.01"}
MEASURING = {"--sentences": "6", "--corpus-size": "120", "--quiet": ""}
SHORT = {
    "python distillation.py": {**TRAINING, "--lr": "0.01"},
    "python semantic_analysis.py": {**MEASURING, "--snr": "6 12", "--replicates": "100"},
    "train": {**TRAINING, **TEACHER, "--vocab-size": "350"},
    "evaluate": MEASURING,
    "dial": {**MEASURING, "--corpus-size": "400", "--target": "0.01 0.02"},
    "sweep": {**TRAINING, "--sentences": "6", "--temperature": "2 4", "--seed": "1 2"},
    "align": {**MEASURING, "--pilots": "8"},
    "baseline": MEASURING,
    "doctor": {"--sentences": "20", "--corpus-size": "120", "--snr": "12", "--draws": "1000"},
}
NEWS = [
    f"{who}{when}{what}第{n}号{about}报告。"
    for who in ("市政府", "代表团", "委员会")
    for when in ("昨天", "今年", "上周")
    for what in ("研究了", "支持", "讨论了")
    for about in ("环境", "农业")
    for n in "一二三四五六七八九"
]


def commands() -> list[str]:
    return [command for command in commands_of(PAGE) if not command.startswith(SETTING_UP)]


def apart(command: str) -> bool:
    return any(word in APART for word in command.split())


def section(title: str) -> str:
    return text_of(PAGE).split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of its tables, without their heads."""
    lines = re.findall(r"^\| (?!---)(.*) \|$", re.sub(r"^\|.*\n\| ---", "| ---", text, flags=re.M), re.M)
    return [re.split(r" \| ", line) for line in lines]


def program_of(command: str) -> str:
    return next(start for start in PROGRAMS if command.startswith(start))


def shortened(command: str) -> list[str]:
    """What its program is given, with small sizes."""
    program = program_of(command)
    words = shlex.split(command.removeprefix(program))
    sizes = SHORT.get(program) or SHORT.get(words[0], {})
    kept: list[str] = []
    replaced = False
    for word in words:
        replaced = word in sizes or (replaced and not word.startswith("--"))
        kept += [] if replaced else [word]
    return kept + [w for flag, value in sizes.items() if value is not None for w in (flag, *value.split())]


# --- commands


@pytest.fixture
def carried_out(teacher, here, monkeypatch, no_scores, capsys):
    """A function that carries commands out; it returns what they said."""
    monkeypatch.setattr(dial_ladder, "REPLICATES", 50)
    monkeypatch.setattr(path_search, "REPLICATES", 20)
    (here / "checkpoints").mkdir()
    shutil.copy(teacher, here / "checkpoints/teacher.pt")
    (here / "news.zh").write_text("\n".join(NEWS), encoding="utf-8")

    def carried_out(chosen: list[str]) -> str:
        said = ""
        for command in chosen:
            code = PROGRAMS[program_of(command)](*shortened(command))
            output = capsys.readouterr()
            assert code == 0, f"{command}\n{output.err}"
            said += output.out
        return said

    return carried_out


@pytest.mark.processes
def test_its_commands_work_one_after_the_other_and_leave_the_files_that_it_names(carried_out, here):
    chosen = [command for command in commands() if not apart(command)]
    assert len(chosen) >= 20
    said = carried_out(chosen)
    assert re.search(r"\n6 +temperatures 2, 4 and 8", said) and "与教师的 KL" in said, said[-3000:]

    for cells in rows(section("输出文件")):
        folder = "checkpoints/distillation_decoder" if cells[1].startswith("其中") else ""
        for name in re.findall(r"`([^`]+)`", cells[0]):
            path = here / folder / re.sub(r"\[.*\]", "_decoder", name)
            assert path.exists(), name


@pytest.mark.processes
def test_its_longer_commands_work_too(carried_out, here, monkeypatch):
    chosen = [command for command in commands() if apart(command)]
    runs = [command for command in chosen if "sweep" in command.split()]
    with monkeypatch.context() as patched:
        runs_in_this_process(patched)
        carried_out(runs)
    carried_out([command for command in chosen if command not in runs])
    assert (here / "checkpoints/sweep_T/runs.csv").exists() and (here / "coded.csv").exists()
    assert len(runs) == 1 and len(chosen) >= 6


def test_commands_stand_in_blocks_where_they_are_carried_out():
    spans = re.findall(r"`([^`]+)`", FENCE.sub("", text_of(PAGE)))
    assert not [span for span in spans if span.startswith(tuple(PROGRAMS)) and "…" not in span]
    assert not [command for command in commands() if not command.startswith(tuple(PROGRAMS))]


def test_it_names_every_program_and_verb_and_no_other():
    named = re.findall(r"`([^`]+)`", "\n".join(cells[0] for cells in rows(section("命令一览"))))
    there = {name.removeprefix("python ").removeprefix("-m ") for name, _ in parsers.commands()}
    assert set(named) == {name for name in there if not re.search(r" \d+$", name)}


def test_every_flag_that_it_names_is_one():
    known = {flag for _, parser in parsers.commands() for a in parser._actions for flag in a.option_strings}
    named = re.findall(r"(?<![\w-])--[a-z][\w-]*", text_of(PAGE))
    assert set(named) <= known and len(set(named)) > 40


# --- defaults and figures


def as_shown(default: object) -> str:
    if isinstance(default, bool):
        return "是" if default else "否"
    if isinstance(default, str):
        return f"`{default}`"
    return " ".join(f"{value:g}" for value in (default if isinstance(default, tuple) else (default,)))


@pytest.mark.parametrize("place, start", [(0, "python distillation.py"), (1, "python semantic_analysis.py")])
def test_its_defaults_are_those_of_the_program(place, start):
    table = section("常用选项").split("| 选项 | 默认 | 作用 |")[place + 1]
    actions: dict[str, argparse.Action] = KNOWN[start]._option_string_actions
    for flag, shown, _ in rows(f"| | | |{table}"):
        default = actions[flag.strip("`")].default
        if default not in (None, ()) and flag != "`--snr`":
            assert shown == as_shown(default), flag


def test_its_temperatures_are_those_that_were_measured():
    measured = text_of("docs/results.md").split("## Does a higher temperature")[1].split("\n## ")[0]
    by_t = {cells[0]: cells for cells in rows(measured)}
    shown = [cells for cells in rows(section("温度")) if cells[0][0].isdigit()]
    assert [cells[0].removesuffix("（默认）") for cells in shown] == ["1", "2", "4", "8", "16"]
    for temperature, *values in shown:
        found = by_t[temperature.removesuffix("（默认）")]
        assert values == [found[1], found[3], found[4], found[6]]


def test_every_figure_in_it_stands_in_the_results():
    figures = re.findall(r"\d+\.\d+(?: ± \d+\.\d+)?", FENCE.sub("", text_of(PAGE)))
    known = text_of("docs/results.md") + text_of("docs/flags.md")
    assert not [figure for figure in figures if figure not in known]
    assert len(figures) > 40


def test_its_links_lead_to_files_and_headings():
    assert not broken(PAGE, text_of(PAGE))
