"""``python -m semcom sweep`` by running it: what it leaves, and what a second call does."""

import json

import pytest
from cli_support import TINY_TRAINING, package, refused

RUNS = ["--student-layers", 1, 9, "--distill-part", "decoder", "--create-hybrid"]
COMMON = ["--steps", 3, "--save-every", 0, *TINY_TRAINING]


@pytest.fixture
def grid(here, teacher):
    return ["sweep", *RUNS, "--teacher-checkpoint", teacher, *COMMON, "--output-path", "grid", "--jobs", 2]


def test_a_sweep_makes_what_it_can_and_a_second_call_what_is_left(grid, here, capsys):
    assert package(*grid) == 1
    said = capsys.readouterr()
    assert "student-layers-9 failed: " in said.out and "1 of 2 runs failed: student-layers-9" in said.err
    run = here / "grid/student-layers-1"
    record = json.loads((run / "distillation_config.json").read_text())
    assert record["student_layers"] == 1 and record["steps_done"] == 3 and record["threads"] == 1
    assert record["hybrid_output"] == "grid/student-layers-1/hybrid_model.pt"
    assert (run / "hybrid_model.pt").is_file()
    before = (run / "distillation_config.json").stat().st_mtime_ns
    again = [3 if word == 9 else word for word in grid]
    assert package(*again) == 0
    assert "2 runs in grid, 1 of them finished" in capsys.readouterr().out
    assert (run / "distillation_config.json").stat().st_mtime_ns == before
    assert {path.name for path in (here / "grid/logs").iterdir()} == {
        f"student-layers-{n}.log" for n in (1, 3, 9)
    }
    refused(capsys, package(*again, "--temperature", 3), "grid/student-layers-1", "--temperature 4", "has 3")
    refused(capsys, package(*again, "--threads", 2), "--threads 2", "have 1")
