"""Translations: every text that the code marks has its Chinese, and no other has."""

import string
from pathlib import Path

import pytest
from babel.messages import pofile
from babel.messages.frontend import CommandLineInterface

import semcom
from semcom.evaluation import pairs
from semcom.report.catalogue import LOCALE, translation
from semcom.report.document import Document, check
from semcom.report.sections import first_beside, pair_matrix, setting_trends
from semcom.report.settings import LANGUAGES

PACKAGE = Path(semcom.__file__).parent
CHINESE = LOCALE / "zh/LC_MESSAGES/semcom.po"


def read(path):
    with path.open("rb") as file:
        return {message.id: message for message in pofile.read_po(file) if message.id}


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """Texts that ``pybabel extract`` finds in code and templates, as the catalogue's first lines call it."""
    path = tmp_path_factory.mktemp("marked") / "semcom.pot"
    settings = PACKAGE.parent / "pyproject.toml"
    CommandLineInterface().run(
        ["pybabel", "-q", "extract", "-F", str(settings), "-o", str(path), str(PACKAGE)]
    )
    return set(read(path))


def fields(text):
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


def test_texts_of_code_and_templates_are_found(marked):
    assert "How this report was made" in marked, "in a template"
    assert "seed of the draws" in marked, "in another room"
    assert set(pair_matrix.KINDS.values()) | set(setting_trends.UNDECIDED.values()) <= marked
    assert len(marked) > 150


def test_every_marked_text_has_its_chinese_and_no_other_is_kept(marked):
    assert set(read(CHINESE)) == marked


@pytest.mark.parametrize("message", read(CHINESE).values(), ids=lambda message: message.id[:40])
def test_a_translation_is_whole(message):
    assert message.string and not message.fuzzy
    assert fields(message.string) == fields(message.id)


def test_what_is_translated_is_what_the_catalogue_says():
    chinese = translation("zh")
    for message in read(CHINESE).values():
        assert chinese.gettext(message.id) == message.string
        assert translation("en").gettext(message.id) == message.id


def test_a_text_without_translation_stays_english():
    assert translation("zh").gettext("a measure of one's own") == "a measure of one's own"


def test_languages_are_those_with_a_catalogue():
    assert set(LANGUAGES) == {"en", *(path.name for path in LOCALE.iterdir())}
    for language in LANGUAGES:
        check(Document("t", language, [], [], []))


def test_whatever_a_study_names_has_a_text():
    kinds = {pairs.KNOWLEDGE, pairs.INTEROPERABLE, pairs.CODE, pairs.UNKNOWN}
    assert set(first_beside.KINDS) == kinds
    assert set(pair_matrix.KINDS) == kinds | {
        pairs.REFERENCE,
        pairs.ANOTHER,
        pairs.NOISE,
        pairs.OWN,
        pairs.UNRELATED,
    }
