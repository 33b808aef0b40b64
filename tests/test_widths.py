"""Text of any script on a console: widths, what is spelled out, and silence where it was asked for."""

import io
import logging
import sys
import warnings

import pytest
from wcwidth import wcswidth

from semcom.base import console, widths
from semcom.base.errors import escape
from semcom.base.progress import WIDEST_NAME, Progress
from semcom.evaluation.frames import frame_of
from semcom.report import tables

NAMES = [
    "teacher",
    "教师模型",
    "ภาษาไทย",
    "العربية",
    "e\u0301te\u0301",
    "ｆｕｌｌ",
    "한국어",
    "日本語カナ",
    "",
]


@pytest.mark.parametrize("text", NAMES)
def test_columns_are_those_of_a_terminal(text):
    assert widths.columns(text) == wcswidth(text)
    assert wcswidth(widths.padded(text, 12)) == 12
    assert all(wcswidth(widths.cut(text, width)) <= width for width in range(1, 9))
    assert widths.cut(text, 20) == text


def test_tables_are_aligned_whatever_the_script():
    table = tables.text(frame_of([{"模型": name, "BLEU": 12.5} for name in NAMES if name]))
    assert len({wcswidth(line) for line in table.splitlines()}) == 1


def test_a_long_name_leaves_room_for_the_numbers(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(10, "decoding 教师模型\x1b[31m" * 9, quiet=False) as progress:
        progress.advance()
        progress._bar.refresh()
    *_, line, _, _ = terminal.getvalue().split("\r")
    assert wcswidth(line) < 80 and "1/10 |" in line and "\x1b[31m" not in line
    assert wcswidth(line.split(":")[0]) <= WIDEST_NAME


@pytest.mark.parametrize(
    "text, shown",
    [
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👨\u200d👩", "👨\u200d👩"),
        ("क्\u200dष", "क्\u200dष"),
        ("a\u200db \u200c中", "a\\u200db \\u200c中"),
        ("\u202eab\x1b[1m", "\\u202eab\\x1b[1m"),
    ],
)
def test_joiners_stay_where_words_are_written_with_them(text, shown):
    assert escape(text) == shown


def test_silenced_libraries_show_errors_alone(capsys):
    def complain():
        warnings.warn("an old name", DeprecationWarning, stacklevel=2)
        logging.getLogger("a.library").warning("a hint")
        logging.getLogger("a.library").error("an error")

    handlers = logging.getLogger().handlers[:]
    logging.getLogger().handlers.clear()
    try:
        with console.libraries_heard():
            console.silence_libraries()
            complain()
            assert capsys.readouterr().err == "an error\n"
        logging.getLogger("a.library").warning("a hint")
        assert capsys.readouterr().err == "a hint\n"
    finally:
        logging.getLogger().handlers[:] = handlers
