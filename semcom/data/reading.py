"""Texts of files: lines of plain and gzipped ones, and pickled ids of public DeepSC code."""

import gzip
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from semcom.base.errors import SemcomError, escape
from semcom.data import pickled_ids
from semcom.data.cleaning import clean
from semcom.data.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from semcom.data.word_vocabulary import WordVocabulary

LONGEST_LINE = 10_000
# A character is up to four bytes; the line end up to two, one more tells a longer line.
LONGEST_RAW = 4 * LONGEST_LINE + 3


def texts_of(paths: Sequence[str], vocabulary: Vocabulary | None, account: Counter) -> Iterator[str | None]:
    """Of each file in turn; None for a text that is too long."""
    for path in files(paths):
        read = _pickled if is_pickle(path) else _texts
        yield from read(path, vocabulary, account)


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
