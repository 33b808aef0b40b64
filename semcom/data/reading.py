"""Texts of files and of standard input, line by line: decoded, cleaned, and within bounds.

A line ends with LF, CR LF or CR alone. Whatever else Unicode calls a line's end (U+2028, U+0085, form feed)
is white space within one.
"""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from semcom.base.errors import SemcomError
from semcom.base.progress import Progress
from semcom.data import corpus_files, pickled_texts, tables
from semcom.data.cleaning import clean, is_cut_into_subwords, is_markup
from semcom.data.corpus_files import Source
from semcom.data.file_kinds import Named
from semcom.data.source_lines import LONGEST_LINE, Budget, EnoughRead, Head, Lines
from semcom.data.vocabulary import Vocabulary

LONGEST_RAW = 4 * LONGEST_LINE
LONGEST_ROW = 1 << 20
"""In bytes: of a text's line and of a table's."""
MEGABYTE = 1_000_000
LINES_UNSHOWN, SECONDS_UNSHOWN = 1024, 1.0
MOST_TYPED = 10_000
"""Lines of standard input."""


@dataclass
class Reader:
    """Of a corpus. column: of tables, the one that has the text. account: what was read and left out, by
    reason. cleaned: what cleaning did. subwords: whether the file at hand is cut into them. quiet: whether
    nothing is shown of how far it is."""

    vocabulary: Vocabulary | None
    column: str | None
    budget: Budget
    account: Counter[str]
    cleaned: Counter[str] = field(default_factory=Counter)
    subwords: bool = False
    quiet: bool = True

    def texts(self, paths: Sequence[str]) -> Iterator[str | None]:
        """Of each file in turn, cleaned and as the vocabulary's models are given them; None for one that is
        too long."""
        with _Megabytes(paths, self.quiet) as self._done:
            yield from self._texts_of_all(paths)

    def _texts_of_all(self, paths: Sequence[str]) -> Iterator[str | None]:
        for path in corpus_files.files(paths):
            if corpus_files.is_pickle(path):
                yield from pickled_texts.texts(path, self.vocabulary, self.account)
            else:
                yield from self._texts(path)

    def _texts(self, path: Path) -> Iterator[str | None]:
        self.account["lines"] += 0
        for line in self._lines(path):
            text = line
            if line is not None:
                text = clean(line, self.cleaned, self.subwords)
                if is_markup(text):
                    self.account["of markup alone"] += 1
                    continue
                text = text if self.vocabulary is None else self.vocabulary.normalize(text)
            yield text

    def _lines(self, path: Path) -> Iterator[str | None]:
        """Of a file of text or of a table's column; None for one that is too long."""
        source = corpus_files.open_source(path)
        with source.file:
            head = Head.of(source)
            self.subwords = is_cut_into_subwords(head.lines)
            table = tables.table_of(path, head.lines, self.column)
            if self.column is None:
                if table:
                    raise tables.refusal(head.named, table)
                yield from self._counted(Lines(source, head.mark, self.budget, LONGEST_RAW))
                return
            lines = Lines(source, head.mark, self.budget, LONGEST_ROW)
            column = tables.Column(source.named, self.column, lambda: lines.number)
            yield from map(_short, column.of(table, self._whole(lines)))

    def _counted(self, lines: Lines) -> Iterator[str | None]:
        for line in self._done.followed(lines):
            self.account["lines"] += 1
            yield _short(line)

    def _whole(self, lines: Lines) -> Iterator[str]:
        for line in self._done.followed(lines):
            self.account["lines"] += 1
            if line is None:
                self.account[f"longer than {LONGEST_ROW:,} bytes"] += 1
            else:
                yield line


class _Megabytes:
    """How many of those of the files are read, on the console."""

    def __init__(self, paths: Sequence[str], quiet: bool):
        total = 0 if quiet else corpus_files.size(paths) // MEGABYTE
        self._bar = Progress(total, "reading, MB", quiet=not total, delay=SECONDS_UNSHOWN)
        self._bytes = 0

    def followed(self, lines: Lines) -> Iterator[str | None]:
        """The lines of one more file."""
        before = self._bytes
        for line in lines:
            if not lines.number % LINES_UNSHOWN:
                self._reach(before + lines.source.place())
            yield line
        self._reach(before + lines.source.place())

    def _reach(self, there: int) -> None:
        self._bar.advance(there // MEGABYTE - self._bytes // MEGABYTE)
        self._bytes = there

    def __enter__(self) -> "_Megabytes":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _short(line: str | None) -> str | None:
    return line if line is not None and len(line) <= LONGEST_LINE else None


def typed_lines(stream: BinaryIO) -> list[str]:
    """The lines of standard input as they were typed, without those of which cleaning leaves nothing and
    those of markup alone. Raises SemcomError for what is no text, not UTF-8, or too much."""
    named = Named(Path("FILE"), label="standard input")
    buffered = (
        stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, stream))
    )
    source = Source(named, buffered)
    budget = Budget(lines=MOST_TYPED, bytes=MOST_TYPED * LONGEST_LINE)
    lines = Lines(source, Head.of(source).mark, budget, LONGEST_RAW)
    try:
        typed = list(map(_short, lines))
    except EnoughRead:
        raise SemcomError(
            f"standard input: more than {MOST_TYPED:,} lines; send some of them: head -n 100 FILE | …"
        ) from None
    if None in typed:
        raise SemcomError(
            f"standard input line {typed.index(None) + 1}: longer than {LONGEST_LINE:,} characters; "
            "send it in sentences, one a line"
        )
    return [line for line in typed if line and (text := clean(line)) and not is_markup(text)]
