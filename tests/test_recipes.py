"""The recipes of CONTRIBUTING.md, typed into a copy of the package as they stand there, make a loss, a
channel, a measure and an architecture of which the commands know."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import TINY_TRAINING

import semcom

ROOT = Path(__file__).resolve().parent.parent
PLACE = re.compile(r"^# (semcom/\S+\.py)(?:, (?:last )?in (\w+))?$", re.M)


def pieces_of_code() -> list[tuple[str, str, str]]:
    """File, the name within which it belongs (empty: above the file's last table), and the code."""
    found = []
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        start, *parts = PLACE.split(block)
        assert not start
        for file, inside, code in zip(parts[::3], parts[1::3], parts[2::3]):
            found.append((file, inside or "", code.strip("\n")))
    return found


def with_code(source: str, inside: str, code: str) -> str:
    """Last in the table or class ``inside``; else above the last table, or at the end where there is none."""
    if not inside:
        tables = [table.start() for table in re.finditer(r"^[A-Z_]+\b.* = {$", source, re.M)]
        end = tables[-1] if tables else len(source)
        return f"{source[:end]}\n\n{code}\n\n\n{source[end:]}"
    opened = re.search(rf"^(?:class )?{inside}\b.*[({{:]$", source, re.M)
    assert opened, inside
    closed = re.compile(r"\n[)}]\n|\n\n\n").search(source, opened.end())
    assert closed
    return f"{source[: closed.start()]}\n{code}{source[closed.start() :]}"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree")
    shutil.copytree(Path(semcom.__file__).parent, folder / "semcom")
    for name in ("distillation.py", "semantic_analysis.py"):
        shutil.copy(ROOT / name, folder)
    for file, inside, code in pieces_of_code():
        path = folder / file
        path.write_text(with_code(path.read_text() if path.exists() else "", inside, code))
    return folder


def run(tree, *words):
    done = subprocess.run([sys.executable, *map(str, words)], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_the_recipes_make_what_they_say(tree, teacher):
    loss = ["--kd-loss", "hellinger", "--channel", "erasures", "--erasure-rate", 0.2, "--steps", 2]
    end = ["--distill-part", "decoder", "--student-receiver-type", "gru", "--student-init", "random"]
    run(tree, "distillation.py", *TINY_TRAINING, "--teacher-checkpoint", teacher, *loss, *end)
    record = json.loads((tree / "checkpoints/distillation_decoder/distillation_config.json").read_text())
    assert (record["kd_loss"], record["channel"], record["erasure_rate"]) == ("hellinger", "erasures", 0.2)

    flags = ["--channel", "erasures", "--snr", 6, 12, "--sentences", 6, "--no-report"]
    student = "checkpoints/distillation_decoder/best_student_model.pt"
    said = run(tree, "semantic_analysis.py", student, "--teacher-checkpoint", teacher, *flags)
    assert "6 test sentences, erasures 0.1" in said and "variation" in said
    (measured,) = json.loads((tree / "semantic_analysis_results.json").read_text())["records"]
    by_snr = [values["total_variation"] for values in measured["by_snr"].values()]
    assert len(by_snr) == 2 and all(0 < value <= 1 for value in by_snr)
