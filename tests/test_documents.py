"""The documents say what the program does."""

import argparse
import re
from pathlib import Path

import pytest

from semcom.commands import examples, parsers

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "DISTILLATION_GUIDE.md").read_text()


def flags(parser: argparse.ArgumentParser) -> set[str]:
    return {
        s
        for a in parser._actions
        if a.help != argparse.SUPPRESS
        for s in a.option_strings
        if s.startswith("--")
    } - {"--help"}


def test_the_guide_names_every_flag_of_distillation():
    missing = {flag for flag in flags(parsers.distillation_parser()) if not re.search(rf"`{flag}[ `]", GUIDE)}
    assert not missing


def test_the_guide_names_every_flag_that_other_commands_have_of_their_own():
    verbs = next(
        a for a in parsers.package_parser()._actions if isinstance(a, argparse._SubParsersAction)
    ).choices.values()
    others = set.union(*map(flags, [*verbs, parsers.analysis_parser(), examples.parser()]))
    assert not {flag for flag in others if f"{flag}" not in GUIDE}


def test_the_guide_shows_the_defaults_that_the_parser_has():
    for action in parsers.distillation_parser()._actions:
        if isinstance(action.default, (int, float)) and not isinstance(action.default, bool):
            row = next(
                line for line in GUIDE.splitlines() if line.startswith(f"| `{action.option_strings[0]} ")
            )
            assert f"(default {action.default})" in row, row


@pytest.mark.parametrize("document", ["README.md", "DISTILLATION_GUIDE.md"])
def test_every_command_in_the_documents_parses(document):
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / document).read_text(), re.S)
    commands = [
        re.sub(r"\s+#.*", "", part).strip()
        for block in blocks
        for line in block.splitlines()
        for part in line.split(" && ")
    ]
    known = {
        "python distillation.py": parsers.distillation_parser(),
        "python semantic_analysis.py": parsers.analysis_parser(),
        "python -m semcom": parsers.package_parser(),
        "python distillation_examples.py": examples.parser(),
    }
    parsed = 0
    for command in commands:
        for start, parser in known.items():
            if command.startswith(start):
                import shlex

                parser.parse_args(shlex.split(command.removeprefix(start)))
                parsed += 1
    assert parsed >= 5


def test_ci_runs_the_test_command_of_the_readme():
    commands = re.findall(r"```bash\n(.*?)\n```", (ROOT / "README.md").read_text(), re.S)
    assert commands[1] in (ROOT / ".ci/run").read_text()
