"""Word vocabularies: the JSON of public DeepSC code, with the preprocessing of that code."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from semcom.base import json_files
from semcom.base.errors import SemcomError, escape
from semcom.data.vocabulary import UNK, Vocabulary

SPECIAL_WORDS = ("<PAD>", "<START>", "<END>", "<UNK>")
UNKNOWN = "UNK"  # how UNK is shown: one token to BLEU, and no word that is lower case
LONGEST_WORD = 200
MOST_WORDS = 1_000_000
_EXPECTED = (
    'expected the JSON of a word vocabulary: {"token_to_idx": '
    '{"<PAD>": 0, "<START>": 1, "<END>": 2, "<UNK>": 3, word: id, ...}}, '
    "as public DeepSC code writes vocab.json"
)

# What public DeepSC code does to a line before it is cut into words.
_TAG = re.compile(r"<[A-Za-z/!][^>]*>")
_TAG_BEGINS = re.compile(r"<[A-Za-z/!]")
_MARK = re.compile(r"([!.?])")
_OTHERS = re.compile(r"[^a-zA-Z.!?]+")
_REMOVED = str.maketrans("", "", "?.")
_LONGEST_REMEMBERED, _MOST_REMEMBERED = 40, 300_000


class WordVocabulary(Vocabulary):
    """Whole words: the ``vocab.json`` of public DeepSC code with the preprocessing of that code (H. Xie et
    al., "Deep Learning Enabled Semantic Communication Systems", IEEE Trans. Signal Processing 69, 2021).

    ``serialized`` is a canonical JSON: one vocabulary, one fingerprint, whatever spacing and order its file
    had.

    A line becomes words thus: accents and XML tags go; a space is put before each of ``!.?``; whatever is not
    a letter of ASCII or one of these becomes a space; lower case; ``?`` and ``.`` are then deleted from the
    words. A full stop on its own so becomes the word "", which the public vocabulary has; one without it
    drops it. A token that is a word as it stands is taken so before all this, so that words of other scripts
    are found.

    Text shows "" as a full stop attached to the word before it, and UNK as ``UNK``; ``encode`` undoes both,
    so that ``encode(decode(ids))`` gives back all ids of words that this preprocessing can make, and of UNK.
    """

    normalization = "words"

    def __init__(self, serialized: bytes, name: str = "vocabulary"):
        words = _words_of_json(serialized, name)
        self.serialized = json.dumps(
            {"token_to_idx": {word: i for i, word in enumerate(words)}}, separators=(",", ":")
        ).encode()
        self._shown: list[str | None] = [None, None, None, UNKNOWN, *words[UNK + 1 :]]
        self._ids = {word: i for i, word in enumerate(words) if i > UNK and word != UNKNOWN}
        self._marks_ends = "" in self._ids
        self._standing = {word for word in self._ids if self._stands_in_text(word)} | {UNKNOWN}
        self._remembered: dict[str, tuple[str, ...]] = {}

    def __reduce__(self) -> tuple:
        return type(self), (self.serialized,)

    def _stands_in_text(self, word: str) -> bool:
        """Whether a token that is this word can mean nothing else."""
        plain = _without_accents(word)
        is_tag = bool(_TAG_BEGINS.search(plain)) and not (plain == word and _TAG.fullmatch(word))
        return word.split() == [word] and not is_tag and not (self._marks_ends and word.endswith("."))

    def __len__(self) -> int:
        return len(self._shown)

    def __str__(self) -> str:
        return f"{len(self)} words, {self.fingerprint}"

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        ids = self._ids
        return [[ids.get(word, UNK) for word in self._words(text)] for text in texts]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        shown = self._shown
        return [_rendered([word for i in row if (word := shown[i]) is not None]) for row in ids]

    def normalize(self, text: str) -> str:
        return _rendered(self._words(text))

    def unknown(self, texts: Iterable[str]) -> tuple[int, Counter[str]]:
        """How many words the texts have ("" aside), and how often each one that is not in the vocabulary
        occurs."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(self._words(text))
        del counts[""]
        return counts.total(), Counter(
            {word: count for word, count in counts.items() if word not in self._ids}
        )

    def unknown_share(self, texts: Iterable[str]) -> float:
        words, unknown = self.unknown(texts)
        return unknown.total() / max(1, words)

    def _words(self, text: str) -> list[str]:
        words: list[str] = []
        for token in self._tokens(text):
            found = self._remembered.get(token)
            if found is None:
                found = self._cut(token)
                if len(token) <= _LONGEST_REMEMBERED and len(self._remembered) < _MOST_REMEMBERED:
                    self._remembered[token] = found
            words += found
        return words

    def _tokens(self, text: str) -> list[str]:
        """What stands between white space once the tags are gone."""
        plain = text if text.isascii() else _without_accents(text)
        if "<" in plain:
            plain, own = self._without_tags(plain), self._without_tags(text)
            # Accents go first, as in the public code: it matters where an accent hid a bracket or broke a
            # tag.
            text = own if _without_accents(own) == plain else plain
        return text.split()

    def _without_tags(self, text: str) -> str:
        # Behind the last bracket no tag ends: searching there, again and again, would take quadratic time.
        end = text.rfind(">") + 1
        return _TAG.sub(lambda tag: tag[0] if tag[0] in self._standing else "", text[:end]) + text[end:]

    def _cut(self, token: str) -> tuple[str, ...]:
        """Words of a token without white space."""
        stem = token.rstrip(".")
        if token in self._standing:
            return (token,)
        if stem in self._standing:
            return (stem, *[""] * ((len(token) - len(stem)) * self._marks_ends))
        spaced = _OTHERS.sub(" ", _MARK.sub(r" \1", _without_accents(token)))
        words = [word.translate(_REMOVED) for word in spaced.split()]
        return tuple(word if word == UNKNOWN else word.lower() for word in words if word or self._marks_ends)


def _without_accents(text: str) -> str:
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")


def _rendered(words: Sequence[str]) -> str:
    """Words as text: "" is a full stop attached to the word before it."""
    if "" not in words:
        return " ".join(words)
    tokens: list[str] = []
    for word in words:
        if word or not tokens:
            tokens.append(word or ".")
        else:
            tokens[-1] += "."
    return " ".join(tokens)


def _words_of_json(serialized: bytes, name: str) -> list[str]:
    """Words in the order of their ids. Raises SemcomError that names what is wrong and where."""
    where = escape(name)

    def refuse(reason: str) -> SemcomError:
        return SemcomError(f"{where}: {reason}; {_EXPECTED}")

    try:
        content = json_files.parsed(serialized)
    except json_files.NotJSON as error:
        raise refuse(escape(str(error).removeprefix("it "))[:120]) from None
    ids = content.get("token_to_idx") if isinstance(content, dict) else None
    if not isinstance(ids, dict):
        raise refuse('has no object "token_to_idx"')
    if len(ids) > MOST_WORDS:
        raise refuse(f"has {len(ids):,} words, allowed are {MOST_WORDS:,} at most")
    by_id: dict[int, str] = {}
    for word, i in ids.items():
        if reason := _refusal(word, i, by_id, len(ids)):
            raise refuse(reason)
        by_id[i] = word
    words = [by_id[i] for i in range(len(ids))]
    for i, special in enumerate(SPECIAL_WORDS):
        if words[i : i + 1] != [special]:
            found = _quoted(words[i]) if i < len(words) else "no word"
            raise refuse(f"the id {i} is {found}, not {_quoted(special)}")
    return words


def _refusal(word: str, i: object, by_id: Mapping[int, str], size: int) -> str:
    """Why ``word`` cannot have the id ``i`` beside those of ``by_id`` in a vocabulary of ``size`` words, or
    nothing."""
    if type(i) is not int:
        found = "a list or an object" if isinstance(i, (list, dict)) else escape(json.dumps(i)[:40])
        return f"the id of {_quoted(word)} is {found}, not a whole number"
    if not 0 <= i < size:
        return f"the id of {_quoted(word)} is {str(i)[:20]}, allowed are 0 to {size - 1} for {size} words"
    if i in by_id:
        return f"{_quoted(by_id[i])} and {_quoted(word)} both have the id {i}"
    if len(word) > LONGEST_WORD:
        return f"the word {_quoted(word[:40])}… has {len(word):,} characters, allowed are {LONGEST_WORD}"
    if any("\ud800" <= c <= "\udfff" for c in word):
        return f"the word {_quoted(word)} holds half a character (a lone surrogate)"
    return ""


def _quoted(word: str) -> str:
    return f'"{escape(word[:40])}{"…" * (len(word) > 40)}"'
