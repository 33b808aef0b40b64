"""The corpus that a model's record names, with the settings by which it was read."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from semcom.base.advice import path_word, quoted
from semcom.base.errors import SemcomError, escape
from semcom.base.flags import differs, flag_of
from semcom.data.settings import OF_TEXT_FILES, CorpusConfig

log = logging.getLogger(__name__)

Record = Mapping[str, object]
"""Settings of a run, as its JSON or its checkpoint has them; they come from a stranger."""


def corpus_of_runs(settings: CorpusConfig, made: Sequence[Record]) -> CorpusConfig:
    """Without --corpus, the text files that all runs were made with, if they agree, and how these were read,
    where ``settings`` do not ask otherwise; else the built-in corpus."""
    if settings.corpus or settings.topics or settings.exclude_topics:
        return settings
    known = [found for record in made if (found := recorded_corpus(record)) is not None]
    used = {found.corpus for found in known}
    if used <= {()}:
        return settings
    if len(used) > 1:
        log.warning(
            "these were made with different corpora; measuring on the built-in one, name another with "
            "--corpus"
        )
        return settings
    ways = {name: {getattr(found, name) for found in known} for name in OF_TEXT_FILES}
    left = {name: values for name, values in ways.items() if not settings.asks(name)}
    if unlike := [flag_of(name) for name, values in left.items() if len(values) > 1]:
        log.warning(
            f"these read their corpus with different {', '.join(unlike)}; it is read with the default, give "
            "another"
        )
    agreed: dict[str, Any] = {name: values.pop() for name, values in left.items() if len(values) == 1}
    return replace(settings, corpus=used.pop(), **agreed)


def recorded_corpus(record: Record) -> CorpusConfig | None:
    """None where the record says nothing of one; without text files, the built-in one. Raises SemcomError for
    values that no setting has."""
    paths = record.get("corpus")
    if not isinstance(paths, list):
        return None
    if not paths:
        return CorpusConfig()
    asked = record.get("settings")
    # Beside what a run was asked for stands what became of it, of a language the one that was found.
    values = {**record, **asked} if isinstance(asked, dict) else record
    known = (name for name in OF_TEXT_FILES if _is_of_kind(name, values.get(name)))
    ways: dict[str, Any] = {name: values[name] for name in known}
    try:
        return CorpusConfig(corpus=tuple(map(str, paths)), **ways)
    except SemcomError as error:
        raise SemcomError(f"the record of a corpus: {error}; or name one by --corpus") from None


def _is_of_kind(name: str, value: Any) -> bool:
    of_kind = int if isinstance(getattr(CorpusConfig, name), int) else str
    return type(value) is of_kind


def words_of_corpus(settings: CorpusConfig) -> str:
    """The flags that read it again, as they paste into a shell; empty for the built-in corpus."""
    if not settings.corpus:
        return ""
    ways = [f"{flag_of(n)} {quoted(getattr(settings, n))}" for n in OF_TEXT_FILES if differs(settings, n)]
    return " ".join(["--corpus", *map(path_word, settings.corpus), *ways])


def learned_elsewhere(learner: str, record: Record, settings: CorpusConfig) -> str:
    """A line where a model goes on from one that learned from text files, and no corpus is chosen; else
    empty. learner: what that one is called."""
    found = recorded_corpus(record)
    if settings.corpus or settings.topics or settings.exclude_topics or found is None or not found.corpus:
        return ""
    files = " ".join(map(escape, found.corpus))[:150]
    again = words_of_corpus(found)
    return f"{learner} learned from {files}, this run will from the built-in corpus; give {again}"
