"""The modules stand in one order, and the command line starts without the heavy libraries."""
import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import semcom

PACKAGE = Path(semcom.__file__).parent
ORDER = ["", "errors", "processes", "files", "options", "config", "intervals", "document", "resampling", "price", "trends", "words",
         "parliament.english", "parliament.wordlists", "parliament.phrases", "parliament.grammar", "parliament.speech", "parliament",
         "vocab", "pickled", "corpus", "channel", "public_link", "losses", "criterion", "precision", "layers", "transceiver", "deepsc", "native",
         "rows", "fused", "packed", "batching", "sounding", "sionna_link", "decoding", "metrics", "similarity", "checkpoint", "objective",
         "optimizer", "trainer",
         "analysis", "sequences", "heard", "kept", "matrix", "roster", "divergence", "figures", "report", "pages", "wording", "chapter",
         "dossier", "runtime", "api", "digits", "recipes", "interchange", "measurements", "doctor", "audit", "finding", "survey", "distil", "cli",
         "evidence", "experiments", "__main__"]


def name_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(path):
    """Modules of the package that ``path`` imports anywhere, in functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            head, _, rest = name.partition(".")
            while head == "semcom" and rest not in MODULES:
                rest = rest.rpartition(".")[0]
            if head == "semcom":
                yield rest


def test_every_module_has_its_place():
    assert sorted(ORDER) == sorted(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module):
    above = ORDER[: ORDER.index(module)]
    assert set(imported(MODULES[module])) <= set(above)


def test_what_is_no_module_is_installed_too():
    """Templates, word lists, C++ and the header that it includes."""
    patterns = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    given = {path for package, globs in patterns.items() for glob in globs for path in PACKAGE.parent.joinpath(*package.split(".")).glob(glob)}
    there = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert there == given and PACKAGE / "vectors.h" in there


def test_the_imports_are_found_at_all():
    assert {"errors", "files", "transceiver", "vocab"} <= set(imported(MODULES["checkpoint"]))
    assert "recipes" in set(imported(MODULES["cli"])), "imports inside functions count"


def test_only_checkpoint_saves_and_loads_tensors():
    calls = {"torch.save", "torch.load"}
    users = {name for name, path in MODULES.items() for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Attribute) and ast.unparse(node) in calls}
    assert users == {"checkpoint"}


@pytest.mark.parametrize("module", ["semcom.cli", "semcom.config"])
def test_the_command_line_starts_light(module):
    heavy = ("torch", "numpy", "pandas", "sentencepiece", "matplotlib", "sacrebleu", "tqdm")
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, check=True)
    assert done.stdout.strip() == "[]"


def test_settings_need_the_standard_library_alone():
    for node in [node for name in ("options", "config") for node in ast.walk(ast.parse(MODULES[name].read_text()))]:
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module] if isinstance(node, ast.ImportFrom) else []
        assert all(name.split(".")[0] in sys.stdlib_module_names | {"semcom"} for name in names)
