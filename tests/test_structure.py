"""The rooms of the house: each imports those above it alone, and the command line starts without the heavy
libraries."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import semcom

PACKAGE = Path(semcom.__file__).parent
ROOMS = ("base", "channel", "data", "models", "distillation", "evaluation", "report", "commands")
MODULES = sorted(PACKAGE.rglob("*.py"))
SETTINGS = sorted(PACKAGE.glob("*/*settings.py"))


def room_of(path):
    """Its number; the package's own files, which hold nothing, stand below all rooms."""
    inside = path.relative_to(PACKAGE).parts
    return ROOMS.index(inside[0]) if len(inside) > 1 else len(ROOMS)


def imported(path):
    """Modules and names of the package that ``path`` imports anywhere, in functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("semcom."))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module.split(".")[0] == "semcom":
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(path):
    return {name.split(".")[1] for name in imported(path)} & set(ROOMS)


def test_there_are_these_rooms_and_their_doors_are_empty():
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(
        ROOMS
    )
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}
    assert all((PACKAGE / room / "__init__.py").read_text() == "" for room in ROOMS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_those_above_it_alone(path):
    below = set(ROOMS[room_of(path) + 1 :])
    assert not rooms_imported(path) & below


def test_imports_are_found_at_all():
    assert rooms_imported(PACKAGE / "models/checkpoint.py") == {"base", "data", "models"}
    assert "evaluation" in rooms_imported(PACKAGE / "commands/evaluate.py"), "imports inside functions count"


def test_what_is_no_module_is_installed_too():
    """Templates, word lists, catalogues, C++ and the header that it includes."""
    setuptools = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["tool"]["setuptools"]
    given = {
        path
        for package, globs in setuptools["package-data"].items()
        for glob in globs
        for path in PACKAGE.parent.joinpath(*package.split(".")).glob(glob)
    }
    there = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert there == given and PACKAGE / "models/kernels/vectors.h" in there
    packages = {
        "semcom." + str(path.parent.relative_to(PACKAGE)).replace("/", ".")
        for path in PACKAGE.glob("*/**/__init__.py")
    }
    assert {"semcom", *packages} == set(setuptools["packages"])


def test_only_checkpoint_saves_and_loads_tensors():
    calls = {"torch.save", "torch.load"}
    users = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in calls
    }
    assert users == {"models/checkpoint.py"}


def test_there_is_one_training_loop():
    """One place where gradients flow back, and one that makes an optimiser."""
    users = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".backward", "AdamW"))
    }
    assert users == {"distillation/training_loop.py"}


@pytest.mark.parametrize(
    "module",
    [
        *(f"semcom.commands.{name}" for name in ("cli", "parsers", "examples", "flags_page")),
        *(f"semcom.{path.parent.name}.{path.stem}" for path in SETTINGS),
    ],
)
def test_the_command_line_starts_light(module):
    heavy = ("torch", "numpy", "pandas", "sentencepiece", "matplotlib", "sacrebleu", "tqdm", "scipy")
    assert imported_with(module, heavy) == "[]"


def test_the_first_step_waits_for_nothing_that_only_the_end_needs():
    assert imported_with("semcom.commands.distil", ("pandas", "matplotlib", "sacrebleu", "scipy")) == "[]"


def imported_with(module, heavy):
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("path", SETTINGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_settings_need_the_standard_library_and_settings_alone(path):
    nodes = list(ast.walk(ast.parse(path.read_text())))
    foreign = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    foreign |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    light = {f"semcom.{path.parent.name}.{path.stem}" for path in SETTINGS}
    light |= {"semcom.base.errors", "semcom.base.flags", "semcom.models.kinds"}
    assert {path.parent.name for path in SETTINGS} == set(ROOMS)
    assert all(name.split(".")[0] in sys.stdlib_module_names or name in light for name in foreign)
