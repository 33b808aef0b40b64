"""Sentences with stable ids: the built-in generator, text files, pickled ids of public DeepSC code, splits by
a hash of the sentence itself."""

import gzip
import hashlib
import heapq
import html
import os
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

from semcom.base.errors import SemcomError, escape
from semcom.data import parliament, pickled_ids
from semcom.data.vocabulary import BOS, EOS, PAD, UNK, Vocabulary, WordVocabulary

BUILT_IN_SIZE = 60_000
LONGEST_LINE = 10_000
# A character is up to four bytes; the line end up to two, one more tells a longer line.
LONGEST_RAW = 4 * LONGEST_LINE + 3
READ = {"lines": "lines read", "pickled": "pickled sentences read", "generated": "sentences generated"}
SPLITS = ("train", "validation", "test")
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Cn")
_SHARES = (90, 95, 100)  # upper bounds in percent


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence. id: 64-bit hash of the text, so it is the same in every corpus and order. topic: of
    built-in ones."""

    id: int
    text: str
    topic: str | None = None

    @property
    def split(self) -> str:
        """train, validation or test (90/5/5), by the id alone."""
        percent = self.id % 100
        return next(name for name, bound in zip(SPLITS, _SHARES) if percent < bound)


def make_sentence(text: str, topic: str | None = None) -> Sentence:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return Sentence(int.from_bytes(digest, "little"), text, topic)


@dataclass
class Corpus:
    """name: where the sentences are from. sentences: in reading order. account: what was read (``READ``) and
    dropped, by reason.

    note: why reading stopped early.
    """

    name: str
    sentences: list[Sentence]
    account: Counter = field(default_factory=Counter)
    note: str = ""

    def __len__(self) -> int:
        return len(self.sentences)

    def split(self, name: str) -> list[Sentence]:
        return [sentence for sentence in self.sentences if sentence.split == name]

    def split_sizes(self) -> dict[str, int]:
        sizes = Counter(sentence.split for sentence in self.sentences)
        return {name: sizes[name] for name in SPLITS}

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over the ids, whatever their order."""
        digest = hashlib.sha256()
        for sentence_id in sorted(sentence.id for sentence in self.sentences):
            digest.update(sentence_id.to_bytes(8, "little"))
        return digest.hexdigest()[:16]

    def describe(self) -> str:
        """One line: what was kept, what was dropped and why."""
        dropped = ", ".join(
            f"{count:,} {reason}" for reason, count in self.account.items() if reason not in READ and count
        )
        kept = f"corpus: {len(self):,} sentences of {escape(self.name)}"
        read = ", ".join(
            f"{self.account[name]:,} {done}" for name, done in READ.items() if name in self.account
        )
        return f"{kept} ({read}; left out: {dropped or 'none'}{self.note})" if self.account else kept


def _chosen_topics(topics: list[str], exclude_topics: list[str]) -> list[str]:
    """In the order of ``TOPICS``. Raises SemcomError for one that does not exist, and where none is left."""
    for flag, named in (("--topics", topics), ("--exclude-topics", exclude_topics)):
        for topic in named:
            if topic not in parliament.TOPICS:
                raise SemcomError(
                    f"{flag} {escape(topic)}: no such topic; allowed are {' '.join(parliament.TOPICS)}"
                )
    chosen = [t for t in parliament.TOPICS if (not topics or t in topics) and t not in exclude_topics]
    if not chosen:
        raise SemcomError(
            f"--topics and --exclude-topics leave no topic; choose some of {' '.join(parliament.TOPICS)}"
        )
    return chosen


def built_in(
    size: int | None,
    topics: Iterable[str] = (),
    exclude_topics: Iterable[str] = (),
    vocabulary: Vocabulary | None = None,
) -> Corpus:
    """``size`` sentences (default 60,000) of the built-in generator, of the chosen topics.

    A word vocabulary normalises them; fewer are left where it makes two alike.
    """
    chosen = _chosen_topics(list(topics), list(exclude_topics))
    size = BUILT_IN_SIZE if size is None else size
    name = "the built-in corpus"
    if len(chosen) < len(parliament.TOPICS):
        name += f" ({', '.join(chosen)})"
    generated = islice(parliament.sentences(chosen), size)
    if not isinstance(vocabulary, WordVocabulary):
        return Corpus(name, [make_sentence(text, topic) for text, topic in generated])
    account: Counter[str] = Counter(generated=0)
    distinct: dict[int, Sentence] = {}
    for text, topic in generated:
        account["generated"] += 1
        sentence = make_sentence(vocabulary.normalize(text), topic)
        if sentence.id in distinct or not sentence.text:
            account["duplicates" if sentence.text else "empty"] += 1
        else:
            distinct[sentence.id] = sentence
    return Corpus(name, list(distinct.values()), account)


def read(
    paths: Sequence[str],
    size: int | None,
    *,
    min_length: int,
    max_length: int,
    max_sentences: int,
    vocabulary: Vocabulary | None = None,
) -> Corpus:
    """Distinct sentences of text files and folders, one a line, of ``min_length`` to ``max_length`` words;
    and of pickled ids.

    size: how many to keep, chosen by a hash of the sentence, so that the sample does not depend on the order
    of files; None keeps all. vocabulary: normalises each line, and its words are what the ids of a pickle
    mean. Raises SemcomError for a missing or broken file, a pickle without a word vocabulary, nothing left.
    """
    corpus = Corpus(" ".join(paths), [], Counter())
    seen: set[int] = set()
    for text in _all_texts(paths, vocabulary, corpus.account):
        if text is None:
            corpus.account[f"longer than {LONGEST_LINE:,} characters"] += 1
        elif reason := _unfit(text, min_length, max_length):
            corpus.account[reason] += 1
        elif (sentence := make_sentence(text)).id in seen:
            corpus.account["duplicates"] += 1
        else:
            seen.add(sentence.id)
            corpus.sentences.append(sentence)
            if len(corpus) == max_sentences:
                corpus.note = f"; stopped at --max-sentences {max_sentences:,}, what follows was not read"
                break
    if not corpus.sentences:
        remedy = "give longer text, or wider --min-length and --max-length"
        raise SemcomError(
            f"--corpus {escape(corpus.name)}: no sentence survives ({corpus.describe()}); {remedy}"
        )
    if size is not None and size < len(corpus):
        corpus.account["beyond --corpus-size"] = len(corpus) - size
        corpus.sentences = _sample(corpus.sentences, size)
    return corpus


def _sample(sentences: list[Sentence], size: int) -> list[Sentence]:
    kept = {s.id for s in heapq.nsmallest(size, sentences, key=_sampling_key)}
    return [s for s in sentences if s.id in kept]


def _all_texts(paths: Sequence[str], vocabulary: Vocabulary | None, account: Counter) -> Iterator[str | None]:
    """Of each file in turn; None for a text that is too long."""
    for path in files(paths):
        texts = _pickled if is_pickle(path) else _texts
        yield from texts(path, vocabulary, account)


def _unfit(text: str, min_length: int, max_length: int) -> str:
    """Why a text is left out, if it is."""
    if not text:
        return "empty"
    words = text.count(" ") + 1
    if words < min_length:
        return f"under {min_length} words"
    return f"over {max_length} words" if words > max_length else ""


def is_pickle(path: str | Path) -> bool:
    """Whether a file is read as pickled ids: by its suffix, or by the first byte that pickles have and text
    cannot."""
    path = Path(path)
    if path.suffix.lower() in (".pkl", ".pickle"):
        return not path.is_dir()
    try:
        # A pipe would lose the byte.
        return path.is_file() and path.open("rb").read(1) == b"\x80"
    except OSError:
        return False


def _texts(path: Path, vocabulary: Vocabulary | None, account: Counter) -> Iterator[str | None]:
    """Lines of a text file, cleaned, as the vocabulary's models are given them; None for one that is too
    long."""
    account["lines"] += 0
    for line in _lines(path):
        account["lines"] += 1
        if line is not None:
            line = clean(line)
            line = line if vocabulary is None else vocabulary.normalize(line)
        yield line


def _pickled(path: Path, vocabulary: Vocabulary | None, account: Counter) -> Iterator[str | None]:
    """Sentences of pickled ids as text; None for one that is too long."""
    if not isinstance(vocabulary, WordVocabulary):
        raise SemcomError(
            f"--corpus: {escape(path)}: a pickle holds ids of a word vocabulary, and there is none here; "
            "give a checkpoint imported with it: "
            "python -m semcom import CHECKPOINT.pth --vocab-file vocab.json --output teacher.pt"
        )
    account["pickled"] += 0
    known: set[int] = set()
    for number, ids in enumerate(pickled_ids.read_id_lists(path), 1):
        account["pickled"] += 1
        if id(ids) in known:
            # One list at many places: a small file may name a long one so often that reading it each time
            # never ends.
            account["duplicates"] += 1
            continue
        known.add(id(ids))
        if ids and max(ids) >= len(vocabulary):
            raise SemcomError(
                f"--corpus: {escape(path)}: sentence {number} has the id {max(ids)}, "
                f"the vocabulary in use has V={len(vocabulary)}; "
                "import the checkpoint with the vocab.json that these ids were made with (--vocab-file)"
            )
        words = _between_marks(ids)
        if len(words) > LONGEST_LINE:
            yield None
        elif words and min(words) < UNK:
            account["with <PAD>, <START> or <END> inside"] += 1
        else:
            (text,) = vocabulary.decode([words])
            if vocabulary.encode([text]) != [words]:
                account["with words that mean others once written out"] += 1
            else:
                yield text if len(text) <= LONGEST_LINE else None


def _between_marks(ids: list[int]) -> list[int]:
    """Without what stands for the start, the end and padding."""
    start, end = 0, len(ids)
    while start < end and ids[start] == BOS:
        start += 1
    while start < end and ids[end - 1] in (EOS, PAD):
        end -= 1
    return ids[start:end]


def _sampling_key(sentence: Sentence) -> int:
    # Other bits of the id than those that choose the split, so that a sample keeps the 90/5/5.
    return sentence.id // 100 * 0x9E3779B97F4A7C15 % 2**64


def clean(line: str) -> str:
    """HTML entities undone (also doubly escaped ones), control and bidi characters dropped, white space
    folded."""
    if "&" in line:
        line = html.unescape(html.unescape(line))
    if not line.isprintable():
        spaced = (" " if c.isspace() else c for c in line)
        line = "".join(c for c in spaced if c == " " or unicodedata.category(c) not in _UNPRINTABLE)
    return " ".join(line.split())


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def files(paths: Sequence[str]) -> Iterator[Path]:
    for given in paths:
        path = Path(given)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path)))
            if not inside:
                raise SemcomError(
                    f"--corpus {escape(given)}: the folder holds no file; "
                    "give text files, one sentence a line"
                )
            yield from inside
        elif path.exists():
            yield path
        else:
            raise SemcomError(
                f"--corpus {escape(given)}: no such file or folder; "
                "give text files (plain or .gz), one sentence a line"
            )


def _lines(path: Path) -> Iterator[str | None]:
    """Lines of a plain or gzipped file; None for one that is too long."""
    number = 0
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            while raw := file.readline(LONGEST_RAW):
                number += 1
                if len(raw) == LONGEST_RAW and not raw.endswith(b"\n"):
                    while (rest := file.readline(1 << 20)) and not rest.endswith(b"\n"):
                        pass
                    yield None
                    continue
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                yield line if len(line) <= LONGEST_LINE else None
    except UnicodeDecodeError as error:
        raise SemcomError(
            f"--corpus: {escape(path)} line {number}: not UTF-8 ({error.reason}); "
            f"convert it: iconv -f LATIN1 -t UTF-8 {escape(path.name)}"
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SemcomError(
            f"--corpus: {escape(path)} after line {number}: broken gzip ({error}); fetch the file again"
        ) from None
    except OSError as error:
        raise SemcomError(
            f"--corpus: {escape(path)}: cannot be read ({os.strerror(error.errno or 0)})"
        ) from None
