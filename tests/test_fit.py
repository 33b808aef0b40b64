"""A vocabulary and the text that it meets."""

import pytest

from semcom.commands.inputs import shipped
from semcom.data import fit
from semcom.data.corpus import built_in
from semcom.data.piece_vocabulary import PieceVocabulary
from tests import toy

ENGLISH = [sentence.text for sentence in built_in(300).sentences]
FOREIGN = {
    "zh": "中国人民在这一年中继续发展经济。",
    "ru": "Мы поддерживаем этот доклад комиссии.",
    "th": "เราสนับสนุนรายงานฉบับนี้",
    "ar": "نحن نؤيد هذا التقرير",
}


@pytest.fixture(scope="module")
def vocabulary():
    with open(shipped("vocab/parliament.model"), "rb") as file:
        return PieceVocabulary(file.read())


def test_text_of_the_vocabulary_is_not_spoken_of(vocabulary):
    assert fit.lines_about(vocabulary, ENGLISH) == fit.lines_about(vocabulary, []) == []
    assert fit.lines_about(vocabulary, [*ENGLISH, FOREIGN["zh"]]) == [], "a line among many"
    assert fit.lines_about(vocabulary, ["Now it is 5 € each."]) == [], "a sign in a short sentence"
    assert fit.lines_about(vocabulary, ["Now it is 5 € each."] * 5), "in all of them"


@pytest.mark.parametrize("language", FOREIGN)
def test_text_spelled_in_bytes_warns_with_the_command_that_mends_it(vocabulary, language):
    (line,) = fit.lines_about(vocabulary, [FOREIGN[language]] * 30, ["my text.txt"])
    pieces = vocabulary.encode([FOREIGN[language]])[0]
    told = 100 * sum(vocabulary._model.is_byte(piece) for piece in pieces) / len(pieces)
    size = 8000 if language in ("zh", "th") else 4000
    assert line.startswith(f"warning: {told:.0f} % of the text's pieces are bytes") and told > 50
    assert f"semcom train --corpus 'my text.txt' --vocab-size {size} --output" in line and len(line) <= 500
    assert fit.warnings_about(vocabulary, [FOREIGN[language]]), "from standard input, without a file"


def test_of_words_the_share_is_always_told():
    words = toy.word_vocabulary("we support this report".split())
    assert fit.lines_about(words, ["we support this report"]) == ["the vocabulary knows every word"]
    assert fit.warnings_about(words, ["we support this report"]) == []
    (line,) = fit.lines_about(words, ["we oppose this report"])
    assert "25.0 % of the words" in line and line.startswith("warning") and "--vocab-size 4000" in line


def test_many_sentences_are_sampled(vocabulary, monkeypatch):
    monkeypatch.setattr(fit, "SENTENCES_TRIED", 10)
    seen = []
    monkeypatch.setattr(type(vocabulary), "unknown_share", lambda self, texts: seen.append(len(texts)) or 0.0)
    fit.lines_about(vocabulary, ENGLISH)
    assert seen and seen[0] <= 20
