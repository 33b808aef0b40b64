"""The rooms of the house: each imports those above it alone, and the command line starts without the heavy
libraries."""

import ast
import subprocess
import sys
import tomllib
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest

import semcom

PACKAGE = Path(semcom.__file__).parent
ROOMS = ("base", "channel", "data", "models", "distillation", "evaluation", "report", "commands")
MODULES = sorted(PACKAGE.rglob("*.py"))
DOOR = PACKAGE / "__init__.py"
SETTINGS = sorted(PACKAGE.glob("*/*settings.py"))
IMPORTERS = ("import_module", "__import__", "resolve_name")
LINES_OF_A_MODULE, LINES_OF_A_FUNCTION, ARGUMENTS = 350, 40, 6


def room_of(path):
    """Its number; the package's own files, which hold nothing, stand below all rooms."""
    inside = path.relative_to(PACKAGE).parts
    return ROOMS.index(inside[0]) if len(inside) > 1 else len(ROOMS)


def home(name):
    """``semcom.Distiller`` with the module that it comes from."""
    package, _, rest = name.partition(".")
    return f"{package}.{semcom._HOMES[rest]}.{rest}" if rest in semcom._HOMES else name


@cache
def nodes_of(path):
    return list(ast.walk(ast.parse(path.read_text())))


def dotted(node):
    """``a.b.c``; nothing of an expression that is no such name."""
    if isinstance(node, ast.Name):
        return node.id
    before = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return before and f"{before}.{node.attr}"


def last_name(function):
    """Of what is called: ``c`` of ``a.b.c``, of ``f().c`` and of ``c``."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def imported(path):
    """Modules and names of the package that ``path`` imports anywhere: in functions too, by the package's own
    names, by attribute, and as strings that something else imports."""
    for node in nodes_of(path):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [dotted(node)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value]
        yield from (home(name) for name in names if name.startswith("semcom."))


def imported_by_string(path):
    """The first argument of each call that imports what a string names."""
    for node in nodes_of(path):
        if isinstance(node, ast.Call) and last_name(node.func) in IMPORTERS:
            yield node.args[0]


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


@pytest.mark.parametrize(
    "code, room",
    [
        ("from semcom import Distiller", "distillation"),
        ("import semcom\nsemcom.plot_training_curves()", "report"),
        ("def late():\n    import semcom.commands.cli", "commands"),
        ("import_module('semcom.commands.cli')", "commands"),
        ("resolve_name(f'semcom.evaluation.{name}')", "evaluation"),
    ],
)
def test_no_way_of_importing_is_missed(tmp_path, code, room):
    path = tmp_path / "module.py"
    path.write_text(code)
    assert rooms_imported(path) == {room}


def test_a_string_that_is_imported_says_where_it_begins():
    given = [text for path in MODULES if path != DOOR for text in imported_by_string(path)]
    begins = [text.values[0] if isinstance(text, ast.JoinedStr) else text for text in given]
    assert given and all(isinstance(text, ast.Constant) and text.value for text in begins)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_sizes_are_kept_or_have_a_reason_above_them(path):
    code = path.read_text()
    assert len(code.splitlines()) <= LINES_OF_A_MODULE
    assert too_large(code) == []


def too_large(code):
    """Names of the functions over a limit without a comment right above them such as
    ``# Seven arguments: what the C++ reads.``"""
    functions = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)]
    lines = code.splitlines()
    return [node.name for node in functions if not excess(node) <= reasons(comment_above(node, lines))]


def excess(node):
    """What there is too much of: lines, but for the docstring; arguments, but for self, cls and ctx."""
    length = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node) is not None:
        length -= node.body[0].end_lineno - node.body[0].lineno + 1
    given = {arg.arg for arg in ast.walk(node.args) if isinstance(arg, ast.arg)} - {"self", "cls", "ctx"}
    over = {"lines": length > LINES_OF_A_FUNCTION, "arguments": len(given) > ARGUMENTS}
    return {what for what, too_many in over.items() if too_many}


def comment_above(node, lines):
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
    above = takewhile(lambda line: line.strip().startswith("#"), reversed(lines[:first]))
    return " ".join(line.strip(" #") for line in reversed(list(above)))


def reasons(comment):
    what, colon, why = comment.partition(": ")
    return set(what.split()) if colon and why else set()


MANY = 'def f(self, a, b, c, d, e, f{}):\n    """{}"""\n    {}'


@pytest.mark.parametrize(
    "code, names",
    [
        (MANY.format("", "\n" * 50, "a"), []),
        (MANY.format(", *, g", "", "a"), ["f"]),
        (MANY.format("", "", "a\n    " * 40), ["f"]),
        ("# Seven arguments: those of the C++.\n" + MANY.format(", **g", "", "a"), []),
        ("# Seven arguments: those of the C++.\n" + MANY.format(", g", "", "a\n    " * 40), ["f"]),
        ("# Seven arguments.\n" + MANY.format(", *g", "", "a"), ["f"]),
    ],
)
def test_sizes_are_counted(code, names):
    assert too_large(code) == names


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


def test_three_modules_save_and_load_tensors():
    calls = {"torch.save", "torch.load"}
    users = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        for node in nodes_of(path)
        if isinstance(node, ast.Attribute) and dotted(node) in calls
    }
    assert users == {"models/checkpoint.py", "models/state_file.py", "models/state_dicts.py"}


def test_there_is_one_training_loop():
    """One place where gradients flow back, and one that makes an optimiser."""
    users = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        for node in nodes_of(path)
        if isinstance(node, ast.Call) and last_name(node.func) in ("backward", "AdamW")
    }
    assert users == {"distillation/training_loop.py", "distillation/updates.py"}


def test_the_command_line_starts_light():
    light = [f"semcom.commands.{name}" for name in ("cli", "parsers", "examples", "flags_page")]
    light += [f"semcom.{path.parent.name}.{path.stem}" for path in SETTINGS]
    heavy = ("torch", "numpy", "pandas", "sentencepiece", "matplotlib", "sacrebleu", "tqdm", "scipy", "yaml")
    assert imported_with(", ".join(light), heavy) == "[]"


def test_the_first_step_waits_for_nothing_that_only_the_end_needs():
    assert imported_with("semcom.commands.distil", ("pandas", "matplotlib", "sacrebleu", "scipy")) == "[]"


def imported_with(modules, heavy):
    code = f"import sys, {modules}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("path", SETTINGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_settings_need_the_standard_library_and_settings_alone(path):
    nodes = nodes_of(path)
    foreign = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    foreign |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    light = {f"semcom.{path.parent.name}.{path.stem}" for path in SETTINGS}
    light |= {"semcom.base.errors", "semcom.base.flags", "semcom.base.flag_words", "semcom.models.kinds"}
    light |= {"semcom.data.languages", "semcom.base.typed_words", "semcom.base.messages"}
    light |= {"semcom.distillation.other_conventions", "semcom.base.paths"}
    assert {path.parent.name for path in SETTINGS} == set(ROOMS)
    assert all(name.split(".")[0] in sys.stdlib_module_names or name in light for name in foreign)
