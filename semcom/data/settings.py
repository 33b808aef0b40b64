"""Settings: Which sentences, and how many pieces."""

import re
from dataclasses import dataclass, field

from semcom.base.errors import SemcomError
from semcom.base.flags import LARGEST, Rule, Validated, differs, flag_of, setting, whole
from semcom.base.typed_words import WholeNumberOr, plain_name
from semcom.data.languages import LANGUAGES, LENGTH_UNITS

DEFAULT_VOCABULARY = "vocab/parliament.model"
NFC = "nfc"
NORMALIZATIONS = ("nfkc", "nmt_nfkc", NFC, "identity")
"""What a vocabulary of pieces may make of a text before it is cut."""
MOST_BUILT_IN = 1_000_000
"""Sentences that the generator may be asked for: it never ends by itself."""
OF_TEXT_FILES = ("min_length", "max_length", "length_unit", "language", "column", "max_sentences")
"""Settings of a corpus that say how text files are read."""
MAX_POSITIONS = 1024
"""The longest sentence that has a place in a transceiver, in tokens."""


def _language(text: str) -> str:
    """Of a tag of BCP 47 (``zh-Hans``, ``en_GB``) its language."""
    return re.split("[-_]", text.strip().lower())[0]


@dataclass(frozen=True)
class CorpusConfig(Validated):
    """Which sentences an end learns from: a knob of its knowledge."""

    corpus: tuple[str, ...] = setting(
        (),
        "text files (one sentence a line; plain, .gz, .xz, .bz2 or .zst), pickled ids of public "
        "DeepSC code (.pkl), folders of them; without it the built-in parliamentary corpus",
        nargs="+",
        metavar="PATH",
    )
    corpus_size: int | None = setting(
        24_000,
        "how many sentences, or 'all'; of text files a sample by hash",
        Rule("a whole number of 1 or more, or 'all'", lambda x: 1 <= x <= LARGEST, "24000"),
        absent="all",
        type=WholeNumberOr("all"),
        metavar="N",
    )
    topics: tuple[str, ...] = setting(
        (), "built-in corpus: these topics only", type=plain_name, nargs="+", metavar="TOPIC"
    )
    exclude_topics: tuple[str, ...] = setting(
        (), "built-in corpus: all but these topics", type=plain_name, nargs="+", metavar="TOPIC"
    )
    min_length: int = setting(
        4, "text files: shortest sentence, in words", whole(1, example="4"), metavar="WORDS"
    )
    max_length: int = setting(
        30, "text files: longest sentence, in words", whole(1, 500, example="30"), metavar="WORDS"
    )
    length_unit: str = setting(
        "auto",
        "text files: what --min-length and --max-length count; auto: words, and in scripts without blanks "
        "between words (Chinese, Japanese, Thai, …) as many characters for one as tell as much",
        choices=LENGTH_UNITS,
    )
    language: str = setting(
        "auto",
        "text files: their language, as en, zh or ja; auto: what their letters tell (und where they do not); "
        "it is recorded and chooses how sentences are scored",
        type=_language,
        choices=("auto", *LANGUAGES),
        metavar="CODE",
    )
    column: str | None = setting(
        None,
        "of tables (TSV, CSV, values divided by |||, JSON lines) the column that has the text: its name in "
        "the first line or in the objects, or its number from 1",
        metavar="NAME",
    )
    max_sentences: int = setting(
        2_000_000, "text files: stop reading after this many", whole(1, example="2000000"), metavar="N"
    )

    no_corpus_cache: bool = setting(
        False,
        "text files: read and encode them again and keep nothing; without it, what is made of 4 MiB of text "
        "and more is kept in the user's cache",
        action="store_true",
        recorded=False,
        compare=False,
    )

    given: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    """Names of the settings whose flags were typed, be it with the default."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # One of the two alone may stand beside the other of a record.
        known = self.corpus or (self.asks("min_length") and self.asks("max_length"))
        if known and self.min_length > self.max_length:
            raise SemcomError(
                f"--min-length {self.min_length}: is above --max-length {self.max_length}; exchange them"
            )
        if self.corpus and (self.topics or self.exclude_topics):
            raise SemcomError(
                "--topics and --exclude-topics choose within the built-in corpus; "
                "leave them out or leave --corpus out"
            )

    def asks(self, name: str) -> bool:
        """Whether the setting was given, rather than left to its default."""
        return name in self.given or differs(self, name)

    def check_without_files(self) -> None:
        """Raise SemcomError for what only text files have, where there are none. Verbs that measure a model
        know that only once they have read which files it is of."""
        if self.corpus:
            return
        for name in OF_TEXT_FILES:
            if name != "language" and differs(self, name):
                raise SemcomError(
                    f"{flag_of(name)} {getattr(self, name)}: chooses among text files; "
                    "leave it out or give --corpus"
                )
        if self.language not in ("auto", "en"):
            raise SemcomError(
                f"--language {self.language}: the built-in corpus is English; leave it out or give --corpus"
            )
        if self.corpus_size is not None and self.corpus_size > MOST_BUILT_IN:
            raise SemcomError(
                f"--corpus-size {self.corpus_size}: the built-in corpus has {MOST_BUILT_IN} sentences at "
                "most; give fewer, or text files by --corpus"
            )


@dataclass(frozen=True)
class VocabularyConfig(Validated):
    size: int = setting(4000, "pieces of the vocabulary", whole(1, 1_000_000, example="4000"), metavar="N")
    normalization: str = setting(
        "nfkc",
        "what text becomes before it is cut into pieces: nfkc, one form for ligatures, fractions, full-width "
        "and composed characters; nmt_nfkc, that and zero-width non-joiners turned into blanks (not for "
        "Persian); nfc, composed characters alone; identity, nothing",
        type=str.lower,
        choices=NORMALIZATIONS,
    )
