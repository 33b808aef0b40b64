"""The documents say what the program does, and their links lead somewhere."""

import argparse
import functools
import json
import re
import shlex
import unicodedata
from pathlib import Path

import pytest

import semcom
from semcom.commands import example_studies, flags_page, parsers

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (".", "docs", "docs/zh", "checkpoints")
    for path in (ROOT / folder).glob("*.md")
)
NOTEBOOKS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").glob("*.ipynb"))
WIDTH = 120
FENCE = re.compile(r"^ *```.*?^ *```", re.S | re.M)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")


@functools.cache
def text_of(document: str) -> str:
    text = (ROOT / document).read_text(encoding="utf-8")
    if not document.endswith(".ipynb"):
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


PAGES = "\n".join(text_of(document) for document in DOCUMENTS if document != "CHANGELOG.md")
FLAGS = text_of("docs/flags.md")
KNOWN = {
    "python distillation.py": parsers.distillation_parser(),
    "python semantic_analysis.py": parsers.analysis_parser(),
    "python -m semcom": parsers.package_parser(),
    "python distillation_examples.py": parsers.examples_parser(),
}


def flags(parser: argparse.ArgumentParser) -> set[str]:
    return {
        s
        for a in parser._actions
        if a.help != argparse.SUPPRESS
        for s in a.option_strings
        if s.startswith("--")
    } - {"--help", "--version"}


def flags_of_all_commands() -> set[str]:
    return set.union(*(flags(parser) for _, parser in parsers.commands()))


# --- flags and commands


def test_the_page_of_flags_is_the_one_that_the_settings_make():
    assert flags_page.page() == FLAGS, "python -m semcom.commands.flags_page > docs/flags.md"


def test_the_page_of_flags_names_every_flag_of_distillation():
    missing = {flag for flag in flags(parsers.distillation_parser()) if not re.search(rf"`{flag}[ `]", FLAGS)}
    assert not missing


def test_the_page_of_flags_names_every_flag_that_other_commands_have_of_their_own():
    verbs = next(
        a for a in parsers.package_parser()._actions if isinstance(a, argparse._SubParsersAction)
    ).choices.values()
    others = set.union(*map(flags, [*verbs, parsers.analysis_parser(), parsers.examples_parser()]))
    assert not {flag for flag in others if f"`{flag}" not in FLAGS}


def test_the_page_of_flags_shows_the_defaults_that_the_parser_has():
    for action in parsers.distillation_parser()._actions:
        if isinstance(action.default, (int, float)) and not isinstance(action.default, bool):
            row = next(
                line for line in FLAGS.splitlines() if line.startswith(f"| `{action.option_strings[0]} ")
            )
            assert f"(default {action.default})" in row, row


def commands_of(document: str) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", text_of(document), re.S)
    launched = re.compile(
        r"^(torchrun|accelerate launch) .*?(?=distillation\.py|semantic_analysis\.py|-m semcom)"
    )
    return [
        launched.sub("python ", re.sub(r"\s+#.*", "", part).strip())
        for block in blocks
        for line in block.splitlines()
        for part in line.split(" && ")
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_in_the_documents_parses(document):
    parsed = 0
    for command in commands_of(document):
        for start, parser in KNOWN.items():
            if command == start or command.startswith(f"{start} "):
                # Run files are those that the reader has.
                words = shlex.split(re.sub(r"--config \S+", "", command.removeprefix(start)))
                if parser.passes_on and words[0] in example_studies.PARSERS:
                    of_experiment = example_studies.PARSERS[words[0]]()
                    of_experiment.parse_args(parser.parse_known_args(words)[1])
                else:
                    parser.parse_args(words)
                parsed += 1
    least = {"README.md": 5, "DISTILLATION_GUIDE.md": 5, "docs/processes.md": 7, "docs/deepsc.md": 6}
    least |= {"README.zh.md": 5, "docs/zh/guide.md": 5}
    assert parsed >= least.get(document, 0)


ELSEWHERE = {
    # torchrun, accelerate and pip
    *("--nproc-per-node", "--nnodes", "--node-rank", "--rdzv-backend", "--rdzv-id", "--rdzv-endpoint"),
    *("--multi_gpu", "--num_processes", "--num-processes"),
    # the scripts of public DeepSC code
    *(
        "--data-dir",
        "--local-dir",
        "--vocab-file",
        "--checkpoint-path",
        "--MAX-LENGTH",
        "--MIN-LENGTH",
        "--d-model",
        "--dff",
    ),
    *("--num-layers", "--num-heads"),
    # the example of a recipe
    "--erasure-rate",
    # TensorBoard
    "--logdir",
    # of a switch, taken back
    "--no-create-hybrid",
    # the campaigns of the tests
    "--count",
    # ruff, and argparse
    *("--check", "--help"),
}


def test_every_flag_named_in_the_documents_is_one():
    scripts = "".join(path.read_text() for path in (ROOT / "benchmarks").glob("*.py"))
    known = flags_of_all_commands() | ELSEWHERE | set(re.findall(r'"(--[\w-]+)"', scripts))
    named = {
        flag
        for span in re.findall(r"```.*?```|`[^`]+`", PAGES, re.S)
        for flag in re.findall(r"(?<![\w-])--[A-Za-z][\w-]*", span)
    }
    assert not named - known
    assert {"--kd-loss", "--report-dir", "--equal-steps"} <= named


def test_every_file_of_the_tree_that_is_named_exists():
    spans = re.findall(r"```.*?```|`[^`]+`", PAGES, re.S)
    folders = ("semcom/", "tests/", "benchmarks/", "docs/", "notebooks/", "vocab/")
    words = {word.strip("`,;:") for span in spans for word in span.split()}
    named = {word for word in words if word.startswith(folders)} - {"semcom/models/gru.py"}  # of a recipe
    assert not {word for word in named if not list(ROOT.glob(word.rstrip("/")))}
    assert {"benchmarks/textbook.py", "benchmarks/crossed.py", "semcom/base/"} <= named


def test_ci_runs_the_test_command_of_the_readme():
    commands = re.findall(r"```bash\n(.*?)\n```", text_of("README.md"), re.S)
    assert commands[1] in (ROOT / ".ci/run").read_text()


# --- links


def anchor(heading: str) -> str:
    """As GitHub makes it: lower case, blanks to hyphens, nothing else but letters, digits, - and _."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    kept = (c for c in plain if c in "-_ " or unicodedata.category(c)[0] in "LN")
    return "".join(kept).replace(" ", "-")


def anchors(text: str) -> list[str]:
    """Of all headings, in their order."""
    seen: dict[str, int] = {}
    found = []
    for heading in re.findall(r"^#+ +(.*)$", FENCE.sub("", text), re.M):
        name = anchor(heading)
        found.append(f"{name}-{seen[name]}" if name in seen else name)
        seen[name] = seen.get(name, 0) + 1
    return found


def targets(text: str) -> list[str]:
    prose = FENCE.sub("", text)
    found = LINK.findall(prose) + PICTURE.findall(prose)
    return [target for target in dict.fromkeys(found) if not re.match(r"[a-z]+:", target)]


def broken(document: str, text: str) -> list[str]:
    """Targets of which the file or the heading is missing."""
    missing = []
    for target in targets(text):
        name, _, heading = target.partition("#")
        path = (ROOT / document).parent / name
        there = text if not name else path.read_text(encoding="utf-8") if path.is_file() else ""
        if not path.exists() or (heading and heading not in anchors(there)):
            missing.append(target)
    return missing


@pytest.mark.parametrize("document", [*DOCUMENTS, *NOTEBOOKS])
def test_every_link_leads_to_a_file_and_a_heading(document):
    assert not broken(document, text_of(document))


def test_links_are_found_and_broken_ones_noticed():
    assert {"DISTILLATION_GUIDE.md", "checkpoints/README.md"} <= set(targets(text_of("README.md")))
    good = "[a](docs/losses.md#sequence-level) [b\nc](#a--b) ![d](docs/distillation_gain.svg)\n# A & b\n"
    bad = "[a](docs/none.md) [b](docs/losses.md#none) [c](#none) ![d](none.svg)"
    assert not broken("README.md", good)
    assert broken("README.md", good + bad) == ["docs/none.md", "docs/losses.md#none", "#none", "none.svg"]


def test_every_page_is_reached_from_the_guide():
    linked = {target.partition("#")[0] for target in targets(text_of("DISTILLATION_GUIDE.md"))}
    pages = {name for name in DOCUMENTS if name.startswith("docs/") and not name.startswith("docs/zh/")}
    assert pages <= linked  # Of the Chinese pages: test_chinese_documents.py


# --- form


def too_long(text: str) -> list[str]:
    """Lines of prose over the width; tables, code, pictures, and lines that are one long link are exempt."""
    prose = FENCE.sub("", text).splitlines()
    exempt = re.compile(r"\||!\[|    \S|#|<|\S*\[[^\]]*\]\([^)]*\)\S*$")
    return [line for line in prose if len(line) > WIDTH and not exempt.match(line)]


# A line break in Chinese is shown as a blank between two characters, so a paragraph there is one line.
IN_LINES = [name for name in DOCUMENTS if not name.startswith(("README.zh", "docs/zh/"))]


@pytest.mark.parametrize("document", IN_LINES)
def test_lines_wrap(document):
    assert not too_long(text_of(document))


def test_long_lines_are_noticed():
    word = "word " * 30
    assert too_long(f"{word}\n") and too_long(f"- {word}\n") and too_long(f"  {word}\n")
    assert not too_long(f"| {word} |\n\n```bash\n{word}\n```\n\n![{word}](a.svg)\n")


def test_the_guide_is_an_entry():
    assert len((ROOT / "DISTILLATION_GUIDE.md").read_bytes()) <= 15_000


def test_the_map_names_every_module_of_every_room_and_no_other():
    sections = re.split(r"^### `semcom/(\w+)/`$", text_of("CONTRIBUTING.md"), flags=re.M)[1:]
    mapped = {
        f"{room}/{file}"
        for room, rows in zip(sections[::2], sections[1::2])
        for file in re.findall(r"^\| `([\w/]+\.py)` \| \S", rows, re.M)
    }
    package = Path(semcom.__file__).parent
    modules = {path.relative_to(package).as_posix() for path in package.glob("*/**/*.py")}
    modules = {name for name in modules if not name.endswith("__init__.py")}
    assert mapped == modules, "one line a module under 'The files of each room' in CONTRIBUTING.md"


def test_the_citation_names_this_version():
    citation = (ROOT / "CITATION.cff").read_text()
    fields = dict(re.findall(r"^([a-z-]+): (.+)$", citation, re.M))
    assert fields["version"] == semcom.__version__
    assert {"cff-version", "message", "title"} <= set(fields) and "\nauthors:\n  - name: " in citation
    assert fields["license"] == "MIT" and "MIT License" in (ROOT / "LICENSE").read_text()


MEASURED = {"docs/dial.md", "docs/images.md", "docs/results.md", "docs/speed.md", "checkpoints/README.md"}
MEASURED |= {"docs/zh/dial.md", "CHANGELOG.md", "docs/benchmark.md", "docs/channels.md", "docs/export.md"}
COMMIT = re.compile(r"(?<![\w.])(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{7}(?!\w)")


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name not in MEASURED])
def test_measurements_that_name_their_commit_stand_in_their_pages_alone(document):
    assert not COMMIT.findall(text_of(document))


def test_commits_are_found():
    assert len(COMMIT.findall(text_of("docs/results.md"))) > 10 and COMMIT.search("commit 96f4b54,")
    assert not COMMIT.search("2,220,448 of 1234567 sentences, 97cd1d41323bc09a, defaced")
