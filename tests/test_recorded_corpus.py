"""The corpus of a record is read as it was when the model learned from it."""

import json
from dataclasses import replace

import pytest
from toy import spoken

from semcom.base.errors import SemcomError
from semcom.base.flags import as_record, settings_of
from semcom.commands import parsers
from semcom.commands.inputs import tell
from semcom.commands.recorded_corpus import (
    corpus_of_runs,
    learned_elsewhere,
    recorded_corpus,
    words_of_corpus,
)
from semcom.commands.recorded_flags import recorded
from semcom.commands.settings import (
    WHOLE_CORPUS,
    AuditSettings,
    DoctorSettings,
    EvaluateSettings,
    TrainSettings,
)
from semcom.data.settings import OF_TEXT_FILES, CorpusConfig

WAYS = {
    "min_length": 1,
    "max_length": 60,
    "length_unit": "characters",
    "language": "ja",
    "column": "text",
    "max_sentences": 500,
}
LEARNED = CorpusConfig(corpus=("pairs.tsv", "more.tsv"), **WAYS)


def record_of(corpus):
    """As a training writes it: what became of the settings, and what they were."""
    found = {**as_record(corpus), "language": "ko"}
    return json.loads(
        json.dumps({**found, "settings": recorded(TrainSettings(output="a.pt", corpus=corpus))})
    )


def evaluated(*words):
    flags = parsers.package_parser().parse_args(["evaluate", "a.pt", *words])
    return settings_of(EvaluateSettings, flags).corpus


def test_every_setting_of_text_files_is_in_the_records():
    assert set(WAYS) == set(OF_TEXT_FILES)
    assert all(getattr(CorpusConfig(), name) != value for name, value in WAYS.items())
    assert recorded_corpus(record_of(LEARNED)) == replace(LEARNED, corpus_size=CorpusConfig.corpus_size)


def test_the_corpus_of_runs_is_read_as_they_read_it():
    used = corpus_of_runs(evaluated(), [record_of(LEARNED)] * 2)
    assert used == replace(LEARNED, corpus_size=WHOLE_CORPUS.corpus_size)


@pytest.mark.parametrize(
    "flag, name, value",
    [
        ("--min-length 2", "min_length", 2),
        ("--min-length=4", "min_length", 4),  # the default, but asked for
        ("--max-length 30", "max_length", 30),
        ("--max-length 3", "max_length", 3),  # below the default of the other, not below the record's
        ("--language auto", "language", "auto"),
        ("--column 2", "column", "2"),
    ],
)
def test_a_flag_changes_that_setting_alone(flag, name, value):
    used = corpus_of_runs(evaluated(*flag.split()), [record_of(LEARNED)])
    assert used == replace(LEARNED, corpus_size=WHOLE_CORPUS.corpus_size, **{name: value})


@pytest.mark.parametrize("words", ["--corpus other.txt", "--topics health", "--exclude-topics health"])
def test_a_corpus_that_is_given_is_read_as_the_flags_say(words):
    given = evaluated(*words.split())
    assert corpus_of_runs(given, [record_of(LEARNED)]) == given


def test_records_that_disagree():
    other = replace(LEARNED, min_length=3)
    with spoken() as lines:
        used = corpus_of_runs(CorpusConfig(), [record_of(LEARNED), record_of(other)])
    assert (used.min_length, used.column) == (CorpusConfig.min_length, "text")
    assert lines == [
        "warning: these read their corpus with different --min-length; it is read with the default, give "
        "another"
    ]
    with spoken() as lines:
        assert corpus_of_runs(CorpusConfig(), [record_of(LEARNED), {"corpus": []}]) == CorpusConfig()
    assert "different corpora" in lines[0]


@pytest.mark.parametrize(
    "record", [{}, {"corpus": None}, {"corpus": "a.txt"}, {"corpus": []}, {"corpus": [], "column": "text"}]
)
def test_records_without_text_files_choose_nothing(record):
    assert corpus_of_runs(CorpusConfig(), [record]) == CorpusConfig()


def test_values_of_another_kind_are_left_out_and_wrong_ones_refused():
    strange = {"corpus": ["a.txt"], "min_length": True, "max_length": "9", "column": 3, "settings": [1]}
    assert recorded_corpus(strange) == CorpusConfig(corpus=("a.txt",))
    with pytest.raises(SemcomError, match="record of a corpus: --min-length -3: .*--corpus"):
        recorded_corpus({"corpus": ["a.txt"], "min_length": -3})


@pytest.mark.parametrize("kind", [EvaluateSettings, AuditSettings, DoctorSettings])
def test_verbs_that_remember_a_corpus_take_its_flags_alone(kind):
    settings = kind(**{"checkpoints" if kind is EvaluateSettings else "checkpoint": "a.pt"})
    asked = replace(settings, corpus=replace(settings.corpus, min_length=1))
    with pytest.raises(SemcomError, match="--min-length 1: chooses among text files"):
        asked.corpus.check_without_files()
    with pytest.raises(SemcomError, match="--min-length 1: chooses among text files"):
        TrainSettings(output="a.pt", corpus=asked.corpus)


def test_the_flags_that_read_it_again():
    blank = CorpusConfig(corpus=("-a b.txt",), min_length=1, column="the text")
    assert words_of_corpus(blank) == "--corpus './-a b.txt' --min-length 1 --column 'the text'"
    words = words_of_corpus(LEARNED).split()
    assert evaluated(*words) == replace(LEARNED, corpus_size=WHOLE_CORPUS.corpus_size)
    assert words_of_corpus(CorpusConfig()) == ""


def test_a_teacher_of_other_text_is_told():
    line = learned_elsewhere("the teacher", {"corpus": ["t/crlf.txt"], "min_length": 1}, CorpusConfig())
    assert line == (
        "the teacher learned from t/crlf.txt, this run will from the built-in corpus; give "
        "--corpus t/crlf.txt --min-length 1"
    )
    for settings in (CorpusConfig(corpus=("b.txt",)), CorpusConfig(topics=("health",))):
        assert not learned_elsewhere("the teacher", {"corpus": ["a.txt"]}, settings)
    assert not learned_elsewhere("the teacher", {"corpus": []}, CorpusConfig())


def test_the_advice_to_train_a_teacher_gives_way_to_the_reason():
    about = ["corpus: 9 sentences", "warning: 60 % are bytes; train a teacher of such text"]
    with spoken() as lines:
        tell(about, "the teacher learned from a.txt")
        tell(about, "")
    assert lines == [about[0], "warning: the teacher learned from a.txt", *about]


def test_what_was_typed_is_no_setting():
    typed = replace(CorpusConfig(), given=frozenset({"min_length"}))
    assert typed == CorpusConfig() and "given" not in as_record(typed)
