"""Corpora: the built-in generator, text files, pickled ids of public DeepSC code."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from semcom.base.advice import meant
from semcom.base.errors import SemcomError, escape
from semcom.base.messages import N_, Message
from semcom.data import parliament
from semcom.data.languages import LANGUAGES, UNDETERMINED, language_of, length
from semcom.data.reading import Reader
from semcom.data.sentences import Growing, Sentence, Sentences, id_of, make_sentence
from semcom.data.settings import CorpusConfig
from semcom.data.source_lines import LONGEST_LINE, Budget, EnoughRead
from semcom.data.vocabulary import Vocabulary
from semcom.data.word_vocabulary import WordVocabulary

if TYPE_CHECKING:
    from semcom.data.kept_corpora import Keeping

BUILT_IN_SIZE = 60_000
BUILT_IN_LANGUAGE = "en"
BUILT_IN = N_("the built-in corpus")
READ = {"lines": "lines read", "pickled": "pickled sentences read", "generated": "sentences generated"}
TOO_LONG = f"longer than {LONGEST_LINE:,} characters"

__all__ = ["Corpus", "Sentence", "Sentences", "built_in", "make_sentence", "read"]


@dataclass
class Corpus:
    """name: where the sentences are from. sentences: in reading order. account: what was read (``READ``) and
    dropped, by reason.

    note: why reading stopped early. language: a code of ``LANGUAGES``, given or found. cleaned: what cleaning
    dropped, how often. told: the name for people, where it can be translated. keeping: where it is kept.
    """

    name: str
    sentences: Sentences
    account: Counter = field(default_factory=Counter)
    note: str = ""
    language: str = UNDETERMINED
    cleaned: Counter = field(default_factory=Counter)
    told: Message | None = None
    keeping: "Keeping | None" = None

    def __len__(self) -> int:
        return len(self.sentences)

    def split(self, name: str) -> Sentences:
        return self.sentences.split(name)

    def split_sizes(self) -> dict[str, int]:
        return self.sentences.split_sizes()

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over the ids, whatever their order."""
        ids = np.sort(self.sentences.ids).astype("<u8")
        return hashlib.sha256(ids.tobytes()).hexdigest()[:16]

    def describe(self) -> str:
        """One line: what was kept, what was dropped and why."""
        dropped = ", ".join(
            f"{count:,} {reason}" for reason, count in self.account.items() if reason not in READ and count
        )
        kept = f"corpus: {len(self):,} sentences of {escape(self.name)}{self._language_shown()}"
        read = ", ".join(
            f"{self.account[name]:,} {done}" for name, done in READ.items() if name in self.account
        )
        cleaned = ", ".join(f"{count:,} {what}" for what, count in self.cleaned.items() if count)
        within = f"; within lines: {cleaned}" if cleaned else ""
        return f"{kept} ({read}; left out: {dropped or 'none'}{within}{self.note})" if self.account else kept

    def _language_shown(self) -> str:
        """Of one that is not English: what it was taken for, and what was counted as a word."""
        language = LANGUAGES[self.language]
        if language.code in ("en", UNDETERMINED):
            return ""
        rate = language.characters_a_word
        return f", {language.name}" + (f" of {rate:g} characters a word" if rate else "")


def named(settings: CorpusConfig) -> tuple[str, Message | None]:
    """What the corpus of these settings is called, and so that it can be translated."""
    if settings.corpus:
        return " ".join(settings.corpus), None
    told = _told(_chosen_topics(settings.topics, settings.exclude_topics))
    return str(told), told


def _told(topics: Sequence[str]) -> Message:
    if len(topics) == len(parliament.TOPICS):
        return Message(BUILT_IN)
    return Message(N_("the built-in corpus ({topics})"), topics=", ".join(topics))


def _chosen_topics(topics: Sequence[str], exclude_topics: Sequence[str]) -> list[str]:
    """In the order of ``TOPICS``. Raises SemcomError for one that does not exist, and where none is left."""
    for flag, named in (("--topics", topics), ("--exclude-topics", exclude_topics)):
        for topic in named:
            if topic not in parliament.TOPICS:
                raise SemcomError(
                    f"{flag} {escape(topic)}: no such topic; allowed are {' '.join(parliament.TOPICS)}"
                    f"{meant(topic, parliament.TOPICS)}"
                )
    chosen = [t for t in parliament.TOPICS if (not topics or t in topics) and t not in exclude_topics]
    if not chosen:
        raise SemcomError(
            f"--topics and --exclude-topics leave no topic; choose some of {' '.join(parliament.TOPICS)}"
        )
    return chosen


def built_in(
    size: int | None,
    topics: Sequence[str] = (),
    exclude_topics: Sequence[str] = (),
    vocabulary: Vocabulary | None = None,
) -> Corpus:
    """``size`` sentences (default 60,000) of the built-in generator, of the chosen topics.

    A word vocabulary normalises them; fewer are left where it makes two alike.
    """
    chosen = _chosen_topics(topics, exclude_topics)
    size = BUILT_IN_SIZE if size is None else size
    told = _told(chosen)
    name = str(told)
    generated = islice(parliament.sentences(chosen), size)
    if not isinstance(vocabulary, WordVocabulary):
        made = Sentences.of(make_sentence(text, topic) for text, topic in generated)
        return Corpus(name, made, language=BUILT_IN_LANGUAGE, told=told)
    account: Counter[str] = Counter(generated=0)
    growing = Growing()
    seen: set[int] = set()
    for text, topic in generated:
        account["generated"] += 1
        sentence = make_sentence(vocabulary.normalize(text), topic)
        if sentence.id in seen or not sentence.text:
            account["duplicates" if sentence.text else "empty"] += 1
        else:
            seen.add(sentence.id)
            growing.add(sentence.id, sentence.text.encode(), topic)
    return Corpus(name, growing.whole(), account, language=BUILT_IN_LANGUAGE, told=told)


def read(settings: CorpusConfig, vocabulary: Vocabulary | None = None, *, quiet: bool = True) -> Corpus:
    """Distinct sentences of text files and folders, one a line, of ``min_length`` to ``max_length``; and of
    pickled ids.

    Of ``corpus_size`` they are a sample by a hash of the sentence, so that it does not depend on the order of
    files. vocabulary: normalises each line, and its words are what the ids of a pickle mean. Raises
    SemcomError for a missing or broken file, a pickle without a word vocabulary, nothing left.
    """
    account: Counter[str] = Counter()
    cleaned: Counter[str] = Counter()
    budget = Budget.of(settings.max_sentences)
    reader = Reader(vocabulary, settings.column, budget, account, cleaned, quiet=quiet)
    limits = _Limits.of(settings, vocabulary)
    growing, note = Growing(), ""
    try:
        for sentence_id, text in _distinct(reader.texts(settings.corpus), limits, account):
            growing.add(sentence_id, text)
            budget.kept()
            if len(growing) == settings.max_sentences:
                raise EnoughRead(f"at --max-sentences {settings.max_sentences:,}")
    except EnoughRead as enough:
        note = f"; stopped {enough}, what follows was not read"
    corpus = Corpus(named(settings)[0], growing.whole(), account, note, cleaned=cleaned)
    if not corpus.sentences:
        raise _nothing_left(corpus)
    size = settings.corpus_size
    if size is not None and size < len(corpus):
        corpus.account["beyond --corpus-size"] = len(corpus) - size
        corpus.sentences = _sample(corpus.sentences, size)
    corpus.language = _language(settings.language, corpus.sentences.texts)
    return corpus


def _distinct(
    texts: Iterable[str | None], limits: "_Limits", account: Counter
) -> Iterator[tuple[int, bytes]]:
    """Each sentence of fit length once, as its id and its text in UTF-8; what is left out goes to the
    account."""
    seen: set[int] = set()
    for text in texts:
        if text is None:
            account[TOO_LONG] += 1
        elif reason := limits.unfit(text):
            account[reason] += 1
        else:
            encoded = text.encode()
            sentence_id = id_of(encoded)
            if sentence_id in seen:
                account["duplicates"] += 1
            else:
                seen.add(sentence_id)
                yield sentence_id, encoded


def _nothing_left(corpus: Corpus) -> SemcomError:
    too_long = corpus.account[TOO_LONG]
    remedy = "give longer text, or wider --min-length and --max-length"
    if too_long * 2 > sum(corpus.account[name] for name in READ):
        remedy = "give text of one sentence a line"
    return SemcomError(
        f"--corpus {escape(corpus.name)}: no sentence survives ({corpus.describe()}); {remedy}"
    )


def _language(asked: str, texts: Sequence[str]) -> str:
    return language_of(texts) if asked == "auto" else asked


@dataclass(frozen=True)
class _Limits:
    """How long a sentence may be. unit: what is counted, in words. measure: of a text."""

    shortest: int
    longest: int
    unit: str
    measure: Callable[[str], float]

    @classmethod
    def of(cls, settings: CorpusConfig, vocabulary: Vocabulary | None) -> "_Limits":
        unit, asked = settings.length_unit, settings.language
        measure: Callable[[str], float] = partial(length, unit=unit, language=asked)
        if unit == "pieces":
            measure = partial(_pieces, _needed(vocabulary))
        return cls(settings.min_length, settings.max_length, "words" if unit == "auto" else unit, measure)

    def unfit(self, text: str) -> str:
        """Why a text is left out, if it is."""
        if not text:
            return "empty"
        measured = self.measure(text)
        if measured < self.shortest:
            return f"under {self.shortest} {self.unit}"
        return f"over {self.longest} {self.unit}" if measured > self.longest else ""


def _needed(vocabulary: Vocabulary | None) -> Vocabulary:
    if vocabulary is None:
        raise SemcomError(
            "--length-unit pieces: there is no vocabulary yet to cut text into pieces; "
            "give auto, words or characters"
        )
    return vocabulary


def _pieces(vocabulary: Vocabulary, text: str) -> float:
    return float(len(vocabulary.encode([text])[0]))


def _sample(sentences: Sentences, size: int) -> Sentences:
    """The ``size`` of the lowest keys, in reading order."""
    # Other bits of the id than those that choose the split, so that a sample keeps the 90/5/5.
    keys = sentences.ids // np.uint64(100) * np.uint64(0x9E3779B97F4A7C15)  # modulo 2^64
    lowest = np.argsort(keys, kind="stable")[:size]
    return Sentences.of(sentences.where(np.sort(lowest)))
