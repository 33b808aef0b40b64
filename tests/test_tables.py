"""Console tables and CSV, word for word."""

import math

import numpy as np
import pandas as pd
import pytest

from semcom.evaluation import frames
from semcom.report import tables


def test_text_to_the_left_numbers_to_the_right():
    rows = [["a", 1, 0.5, None], ["longer", 12, 2.25, "x"]]
    assert tables.text(frames.frame_of(rows, ["name", "n", "value", "why"])).splitlines() == [
        "name      n    value  why",
        "------  ---  -------  -----",
        "a         1   0.5000  -",
        "longer   12   2.2500  x",
    ]


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ([0.12345, 9.5], ["0.1235", "9.5000"]),
        ([0.12345, 10.0], ["0.12", "10.00"]),
        ([4.0, 12.0], ["4", "12"]),
        ([0.0, 1.0], ["0.0000", "1.0000"]),
        ([None, 12.5], ["-", "12.50"]),
        ([math.nan, 12.5], ["-", "12.50"]),
        ([3, 12.5], ["3", "12.50"]),
    ],
)
def test_decimals_follow_from_the_columns_numbers(numbers, shown):
    text = tables.text(frames.frame_of([[number] for number in numbers], ["x"]))
    assert [line.strip() for line in text.splitlines()[2:]] == shown


def test_decimals_and_signs_as_asked_for():
    text = tables.text(frames.frame_of([[1, 2.0], [2, -0.5]], ["n", "change"]), 2, signed=True)
    assert [line.split() for line in text.splitlines()[2:]] == [["1", "+2.00"], ["2", "-0.50"]]


def test_chinese_takes_two_columns_a_character():
    text = tables.text(frames.frame_of([["发送端", "x"], ["ab", "y"]], ["端", "z"]))
    assert text.splitlines()[2:] == ["发送端  x", "ab      y"]


def test_strangers_strings_are_spelled_out():
    text = tables.text(frames.frame_of([["\x1b[31m\n", "\u202eabc"]], ["a\tb", "c"]))
    assert {character for character in text if not character.isprintable()} == {"\n"}
    assert r"\x1b[31m\n" in text and r"\u202eabc" in text and r"a\tb" in text


def test_no_row_and_no_column_is_left_out():
    rows = [[f"{i}, {j}" for j in range(60)] for i in range(200)]
    text = tables.text(frames.frame_of(rows, [f"column {j}" for j in range(60)]))
    assert all(cell in text for row in rows for cell in row) and "..." not in text


def test_a_pivot_keeps_the_order_of_appearance_and_one_number_of_decimals():
    rows = [
        {"model": "b", "snr": 12.0, "bleu": 20.5},
        {"model": "b", "snr": 0.0, "bleu": 1.25},
        {"model": "a", "snr": 12.0, "bleu": 3.0},
    ]
    assert [line.split() for line in tables.pivot(rows, "model", "snr", "bleu").splitlines()] == [
        ["model", "12", "0"],
        ["-------", "-----", "----"],
        ["b", "20.50", "1.25"],
        ["a", "3.00", "-"],
    ]


def test_csv_holds_what_was_measured(tmp_path):
    rows = [
        {"a": 1, "b": 0.1 + 0.2, "c": None, "d": "x,y"},
        {"a": 2, "b": np.float64(1e-17), "d": "=1+1", "e": True},
    ]
    expected = 'a,b,c,d,e\n1,0.30000000000000004,,"x,y",\n2,1e-17,,\'=1+1,True\n'
    tables.write_csv(tmp_path / "rows.csv", rows)
    assert (tmp_path / "rows.csv").read_text(encoding="utf-8") == expected
    tables.write_csv(tmp_path / "frame.csv", frames.frame_of(rows))
    assert (tmp_path / "frame.csv").read_text(encoding="utf-8") == expected


@pytest.mark.parametrize("start", tables.FORMULA_STARTS)
def test_what_a_spreadsheet_would_run_is_quoted(start):
    assert tables.spreadsheet_safe(f"{start}1") == f"'{start}1"
    assert tables.spreadsheet_safe(f"a{start}1") == f"a{start}1"


def test_rows_of_a_frame_are_the_rows_that_it_was_made_of():
    rows = [{"epoch": 1, "loss": 2.5, "temperature": None}, {"epoch": 2, "loss": None, "temperature": 4.0}]
    assert frames.records(frames.none_where_missing(frames.frame_of(rows))) == rows
    assert frames.records(frames.none_where_missing(pd.DataFrame(rows))) == rows


def test_a_column_has_a_type_where_all_its_cells_have_it():
    rows = [[1, 1, 0.5, "a"], [2, 2.5, 1.5, None]]
    frame = frames.frame_of(rows, ["whole", "mixed", "twice", "twice"])
    assert list(frame.columns) == ["whole", "mixed", "twice", "twice"]
    assert frame.dtypes.tolist() == ["int64", "object", "float64", "object"]
    assert [type(cell) for cell in frame["mixed"]] == [int, float] and frame.iloc[1, 3] is None
    assert frames.frame_of([], ["a"]).columns.tolist() == ["a"] and frames.frame_of([{}, {}]).shape == (2, 0)
