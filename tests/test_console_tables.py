"""Tables fit the console, whatever is in them, and say what they leave out."""

import random
import sys
from dataclasses import replace

import pytest
from tables_of_rows import of_rows
from test_pages import with_block
from wcwidth import wcswidth

from semcom.base import widths
from semcom.evaluation.frames import frame_of
from semcom.evaluation.intervals import Interval
from semcom.report import formats, latex, tables
from semcom.report.console_tables import Column, fitted
from semcom.report.document import Column as TableColumn
from semcom.report.document import Styled


@pytest.fixture
def console(monkeypatch):
    """``console(80)``: a terminal of so many columns."""

    def console(width):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)

    return console


def width_of(text):
    return max(map(wcswidth, text.splitlines()))


def test_a_terminal_has_its_width_and_a_log_a_hundred_columns_at_least(console, monkeypatch):
    console(70)
    assert widths.of_console() == 70
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert widths.of_console() == 100
    monkeypatch.setenv("COLUMNS", "140")
    assert widths.of_console() == 140


def test_columns_of_the_highest_rank_go_first_and_are_named(console):
    console(64)
    ranks = [0, 0, 2, 1, 3, 0]
    columns = [
        TableColumn("pair"),
        *(TableColumn(f"measure {n}", 2, rank=rank) for n, rank in enumerate(ranks)),
    ]
    table = of_rows("t", "c", columns, [["teacher", *([Interval(31.47, 30.4, 32.66)] * len(ranks))]])
    text = formats.aligned(table)
    assert width_of(text) <= 64
    assert "Too wide for here: measure 2, measure 3, measure 4. tables/t.csv has all." in text.replace(
        "\n", " "
    )
    assert text.count("31.47 [30.40, 32.66]") == 3
    console(300)
    assert formats.aligned(table).count("31.47 [30.40, 32.66]") == 6 and "Too wide" not in formats.aligned(
        table
    )


def test_what_may_not_be_left_out_goes_below(console):
    console(50)
    frame = frame_of(
        [[f"model {row}", *range(row, row + 20)] for row in (10, 20)], ["model", *map(str, range(20))]
    )
    text = tables.text(frame)
    assert width_of(text) <= 50 and text.count("model 20") == text.count("\n\n") + 1 > 1
    assert all(f" {number}" in text for number in range(10, 40))


def test_long_texts_and_heads_are_wrapped(console):
    console(60)
    sentence = "the committee has adopted the resolution on the reform of the fund by a wide margin"
    text = tables.text(
        frame_of([["sent", sentence, 1.5]], ["what", "understood of it", "cross-entropy of it"])
    )
    assert width_of(text) <= 60
    assert all(word in text for word in sentence.split()) and "1.5000" in text


def test_styles_are_text_here():
    table = of_rows(
        "t", "c", [TableColumn("x", 1)], [[Styled(Interval(1.5, 1, 2), True, "*†")], [Styled(2.25)]]
    )
    assert [line.strip() for line in formats.aligned(table).splitlines()[2:]] == [
        "_1.5_*† [1.0, 2.0]",
        "2.2",
        "What is bold is written _so_ here.",
    ]


def test_the_note_is_that_of_the_columns_that_are_shown(console):
    console(40)
    names = ("pair", "BLEU", "KL", "dB")
    notes = ("", "* p < 0.05.", "KL: nats.", "dB: of SNR.")
    columns = [
        replace(TableColumn(name, 2), note=note, rank=rank)
        for rank, (name, note) in enumerate(zip(names, notes))
    ]
    cells = ["teacher", *[Interval(31.47, 30.4, 32.66)] * 3]
    table = of_rows("t", "c", columns, [cells], note="All. * p < 0.05. KL: nats. dB: of SNR.")
    text = formats.aligned(table, file="results.json")
    assert text.endswith("\nAll. * p < 0.05.")
    assert "KL, dB. results.json has all." in text.replace("\n", " ")
    console(200)
    assert formats.aligned(table).endswith("\n" + table.note)
    asked = latex.Printed(columns=("2",))
    written = latex.files(with_block(table), asked)["tables/t.tex"]
    assert r"\raggedright All. KL: nats.\end" in written


def test_every_table_fits(console):
    """But where a single number is wider than the console."""
    random.seed(5)
    words = ("teacher", "decoder", "student,", "T=4", "教师模型", "distillation_decoder/best_student_model")
    for width in (40, 60, 80, 100):
        for _ in range(25):
            shown = [
                Column(
                    " ".join(random.choices(words, k=2)),
                    [" ".join(random.choices(words, k=random.randint(1, 5))) for _ in range(2)]
                    if random.random() < 0.4
                    else ["31.47", "−0.25"],
                    "left",
                    random.randint(0, 2),
                )
                for _ in range(random.randint(1, 12))
            ]
            found = fitted(shown, width)
            console(width)
            text, left_out = tables.aligned(shown)
            assert width_of(text) <= max(width, 2 * 24 + 2) and list(found.left_out) == list(left_out)
            assert len(left_out) <= sum(column.rank > 0 for column in shown)
