"""Labels of any script in pictures: in a font that has them, else by their numbers, never as boxes."""

import logging
import warnings

import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text

from semcom.report import fonts


def labelled(text: str) -> Figure:
    """The text in each place that a label can have."""
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], label=text)
    axes.set_xticks([0, 1], [text, "plain"])
    axes.set_ylim(0, 1)
    axes.set_title(text)
    axes.annotate(text, (0, 0))
    axes.legend()
    return figure


def shown(figure: Figure) -> list[Text]:
    figure.draw_without_rendering()
    return [text for text in figure.findobj(Text) if len(text.get_text()) > 4]


@pytest.fixture
def no_other_font(monkeypatch):
    monkeypatch.setattr(fonts, "_candidates", lambda: [])
    monkeypatch.setattr(fonts, "_said", set())


def test_a_character_without_a_font_is_shown_by_its_number_and_told_once(no_other_font, caplog):
    caplog.set_level(logging.WARNING)
    with rc_context({"font.family": ["DejaVu Sans"]}), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = labelled("模型 ä T2")
        fonts.saved(figure, format="png")
        fonts.saved(labelled("模"), format="svg")
    texts = [text.get_text() for text in shown(figure)]
    assert texts.count(r"\u6a21\u578b ä T2") >= 4 and "plain" in texts
    assert "模" not in "".join(texts)
    (line,) = caplog.messages
    assert line.startswith("no font here has 型模: ") and "fonts-noto-cjk" in line


def test_a_label_gets_a_font_that_has_its_characters_and_others_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(fonts, "_candidates", lambda: ["cmtt10", "DejaVu Sans"])
    with rc_context({"font.family": ["cmr10"], "axes.formatter.use_mathtext": True}):
        russian, english = labelled("Щука"), labelled("pike")
        fonts.fit(russian)
        fonts.fit(english)
        assert {tuple(text.get_fontfamily()) for text in shown(russian)} == {("cmr10", "DejaVu Sans")}
        assert {tuple(text.get_fontfamily()) for text in shown(english)} == {("cmr10",)}


def test_fonts_without_glyphs_for_text_are_no_candidates():
    assert "Last Resort High-Efficiency" in {entry.name for entry in fonts._entries()}
    assert not any(fonts.NOT_FOR_TEXT.search(name) for name in fonts._candidates())
    assert fonts._candidates()[0] == fonts.PREFERRED[0] == "DejaVu Sans"
    assert {"PingFang SC", "Noto Sans CJK SC", "Noto Emoji"} < set(fonts.PREFERRED)
