"""Golden numbers: a change is noticed, what is new is not one, and another machine may round."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

import golden_values  # noqa: E402

READING = {
    "run/history.csv": {"loss": [2.5, 2.25], "bleu": [10.0, 20.0], "name": ["a", "b"]},
    "run/student.pt": {"weights.bias": "float32 2 0123456789abcdef"},
    "console 1": {"exit": 0, "numbers": {"count": 200, "sum": 7.0, "digest": "0123456789abcdef"}},
}


def changed(source, key, value):
    return READING | {source: READING[source] | {key: value}}


@pytest.mark.parametrize(
    ("source", "key", "value", "elsewhere"),
    [
        ("run/history.csv", "loss", [2.5, 2.2500000001], False),
        ("run/history.csv", "loss", [2.5, 2.3], True),
        ("run/history.csv", "loss", [2.5], True),
        ("run/history.csv", "bleu", [10.0, 30.0], False),
        ("run/history.csv", "name", ["a", "c"], False),
        ("run/student.pt", "weights.bias", "float32 2 0123456789abcdee", False),
        ("console 1", "exit", 2, True),
        ("console 1", "numbers", {"count": 200, "sum": 7.0, "digest": "0123456789abcdee"}, False),
    ],
)
def test_a_change_is_a_difference_to_the_bit_and_elsewhere_where_it_is_no_rounding(
    source, key, value, elsewhere
):
    now = changed(source, key, value)
    (found,), _, _ = golden_values.differences(READING, now, exact=True)
    assert found[0] == source and found[1].startswith(key)
    assert bool(golden_values.differences(READING, now, exact=False)[0]) == elsewhere


def test_what_is_new_is_noted_and_what_is_missing_differs():
    more = changed("run/history.csv", "temperature", [4.0, 4.0]) | {"run/more.json": {"seed": [1]}}
    assert golden_values.differences(READING, more, exact=True) == (
        [],
        ["run/history.csv: temperature", "run/more.json"],
        208,
    )
    assert len(golden_values.differences(more, READING, exact=False)[0]) == 2


def test_numbers_without_times_paths_and_versions():
    text = (
        "made runs/T2.0/a4.pt: 8.0464 nats in 12 s, 1,234 tokens/s; T=4, -6 to 18 dB, 7.3%; "
        "torch 2.13.0+cpu 0123456789abcdef"
    )
    assert golden_values.numbers_of(text) == [8.0464, 4.0, -6.0, 18.0, 7.3]


def test_files_are_read_by_key_without_times(tmp_path):
    (tmp_path / "a.json").write_text('{"rows": [{"loss": 1.5, "seconds": 3}, {"loss": 2.5}], "torch": "2"}')
    (tmp_path / "a.csv").write_text("loss,tokens_per_second,name\n1.5,7,x\n")
    torch.save({"weights": {"a": torch.zeros(2)}, "format": 2}, tmp_path / "a.pt")
    assert golden_values.read(tmp_path / "a.json") == {"rows[].loss": [1.5, 2.5]}
    assert golden_values.read(tmp_path / "a.csv") == {"loss": [1.5], "name": ["x"]}
    ((name, digest),) = golden_values.read(tmp_path / "a.pt").items()
    assert name == "weights.a" and digest.startswith("float32 2 ")


def test_when_a_report_was_made_is_no_result_of_it():
    text = "| date | 2026-11-27 09:13 +0000 | 5 sentences, since 2026-11-27, 7"
    assert golden_values.numbers_of(text) == [5, 7]
