r"""Columns of a table as LaTeX typesets them: numbers for siunitx, intervals beside or below them, wrapped
texts; each with its width."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from semcom.report import room as room_of
from semcom.report.cells import halves, marks_of, shade_of, stands_out
from semcom.report.document import Cell, Column, Styled
from semcom.report.latex_text import EAST_ASIA, SCRIPT, SMALL, UNBROKEN, source, width

GAP = 8.0
r"""Points between columns: twice the \tabcolsep of these tables."""

MARK, BOLD = 4.5, 1.16
"""Points of a mark; how much wider bold digits are."""

SHADED = r"\cellcolor"
DARKEST = 0.35
"""Of the ground of a cell, 0 being white and 1 black."""

LEAST, SHORT = 80.0, 40.0
"""Points that a wrapped column has at least, where its text is as wide; up to which nothing is wrapped."""

# What a line of a head may end with: a letter of East Asia with its brackets and stops, some signs, a word
# with the arrow behind it, a blank.
_LATIN = rf"(?!{EAST_ASIA.pattern})[^\s/_-]"
_HEAD_PARTS = re.compile(
    rf"[（「『]*{EAST_ASIA.pattern}[）」』，。、；：]*|(?:{_LATIN})*[/_-]|(?:{_LATIN})+(?: [→↓])? ?|\s"
)
_NUMBER = re.compile(r"(-?)(\d+)(?:\.(\d+))?")


@dataclass(frozen=True)
class Way:
    """How a table is set. room: points from edge to edge. below: intervals stand below their values, in small
    digits. heads_wrapped: titles are as narrow as their words."""

    room: float
    below: bool = False
    heads_wrapped: bool = True


@dataclass(frozen=True)
class Typeset:
    """A column: its letters for ``tabular``, its head, and of each row its lines. blank: a line without
    text. width: in points, at most."""

    letters: str
    head: str
    rows: Sequence[Sequence[str]]
    width: float
    blank: str = ""


# --- heads


def head_lines(title: str, room: float) -> list[str]:
    """A title in lines of at most ``room`` points, or a word where it is wider and not too wide itself."""
    lines = [""]
    for part in room_of.pieces(_HEAD_PARTS.findall(title.strip()), LEAST, width):
        longer = lines[-1] + part
        if lines[-1] and width(longer.strip()) > room:
            lines.append(part)
        else:
            lines[-1] = longer
    return [line.strip() for line in lines]


def _head(title: str, body: float, way: Way) -> tuple[str, float]:
    """The source of a title above a body of so many points, and how wide it is."""
    lines = head_lines(title, body if way.heads_wrapped else way.room)
    return _stacked(lines), max(map(width, lines))


def _stacked(lines: Sequence[str], side: str = "c") -> str:
    shown = r"\\".join(map(source, lines))
    return rf"\shortstack[{side}]{{{shown}}}" if len(lines) > 1 else shown


# --- numbers


@dataclass(frozen=True)
class _Format:
    """What siunitx must make room for."""

    negative: bool
    whole: int
    decimals: int
    bold: bool
    marks: int

    @property
    def letters(self) -> str:
        sign = "-" if self.negative else ""
        after = rf",table-space-text-post={{\textsuperscript{{{'*' * self.marks}}}}}" if self.marks else ""
        return f"S[table-format={sign}{self.whole}.{self.decimals}{after}]"

    @property
    def width(self) -> float:
        digits = width("0" * (self.whole + self.decimals)) + width(".") * (self.decimals > 0)
        bold = BOLD if self.bold else 1
        return digits * bold + width("−") * self.negative + MARK * self.marks


def _format(values: Sequence[str], cells: Sequence[Cell]) -> _Format | None:
    numbers = [found for value in values if (found := _NUMBER.fullmatch(value))]
    if not numbers:
        return None
    return _Format(
        negative=any(found[1] for found in numbers),
        whole=max(len(found[2]) for found in numbers),
        decimals=max(len(found[3] or "") for found in numbers),
        bold=any(map(stands_out, cells)),
        marks=max(len(marks_of(cell)) for cell in cells),
    )


def numbers(column: Column, cells: Sequence[Cell], way: Way) -> Typeset:
    """Of a column of numbers, some with an interval."""
    told = [halves(cell, column.at(row)) for row, cell in enumerate(cells)]
    values = [value.replace("−", "-") for value, _ends in told]
    ends = [ends for _value, ends in told]
    form = _format(values, cells)
    own = max([form.width if form else 0.0, *_widths(values, cells)])
    lines = [_value(value, cell) for value, cell in zip(values, cells)]
    bounds = [_bounds(text, cell, way) for text, cell in zip(ends, cells)]
    letters = form.letters if form else "c"
    if any(ends) and not way.below:
        # A shaded cell is painted from the middle of the gap before it: over marks where there is none.
        between, gap = ("", GAP) if any(map(shade_of, cells)) else (r"@{\,}", 1.7)
        body = own + gap + max(map(width, ends))
        head, title = _head(column.title, body, way)
        return Typeset(
            f"{letters}{between}l",
            rf"\multicolumn{{2}}{{c}}{{{head}}}",
            [[f"{line} & {text}".rstrip()] for line, text in zip(lines, bounds)],
            max(body, title),
            blank=" &",
        )
    if any(ends):
        own = max([own, *(width(text, SCRIPT) for text in ends)])
    head, title = _head(column.title, own, way)
    rows = [[line, below] if below else [line] for line, below in zip(lines, bounds)]
    return Typeset(letters, f"{{{head}}}", rows, max(own, title))


def _bounds(ends: str, cell: Cell, way: Way) -> str:
    """The ends of an interval, in brackets."""
    if not ends:
        return ""
    told = ends.replace("−∞", r"$-\infty$").replace("∞]", r"$\infty$]").replace("−", "$-$")
    return _ground(cell) + (rf"{{\scriptsize {told}}}" if way.below else told)


def _value(value: str, cell: Cell) -> str:
    bold = r"\bfseries " if stands_out(cell) else ""
    marks = "".join(source(mark) if mark != "*" else mark for mark in marks_of(cell))
    after = rf"{{\textsuperscript{{{marks}}}}}" if marks else ""
    if _NUMBER.fullmatch(value):
        return f"{_ground(cell)}{bold}{value}{after}"
    return f"{_ground(cell)}{{{bold}{source(value)}{after}}}"


def _ground(cell: Cell) -> str:
    """The colour behind a cell that is shaded."""
    shade = shade_of(cell)
    return rf"{SHADED}[gray]{{{1 - DARKEST * shade:.2f}}}" if shade else ""


# --- texts


def texts_of(column: Column, cells: Sequence[Cell]) -> list[str]:
    """The texts of a column, without marks. No line ends within the brackets of an interval."""
    told = [halves(cell, column.at(row)) for row, cell in enumerate(cells)]
    return [f"{value} {ends.replace(' ', UNBROKEN)}".strip() for value, ends in told]


def _widths(texts: Sequence[str], cells: Sequence[Cell]) -> list[float]:
    """Of the texts as they are styled."""
    return [width(text) * _broadened(cell) + MARK * len(marks_of(cell)) for text, cell in zip(texts, cells)]


def _broadened(cell: Cell) -> float:
    return BOLD if stands_out(cell) else 1.0


def least_width(column: Column, texts: Sequence[str], cells: Sequence[Cell]) -> float:
    """To which a column of texts may be wrapped: ``SHORT`` ones are not; else half of it, at most ``LEAST``,
    and not less than its longest word where that is shorter."""
    natural = max(_widths(texts, cells), default=0.0)
    word = max((width(word) * BOLD for text in texts for word in room_of.words(text)), default=0.0)
    title = max(map(width, head_lines(column.title, 0)))
    least = max(min(LEAST, natural / 2), min(word, LEAST))
    return max(title, natural if natural <= SHORT else min(natural, least))


def natural_width(column: Column, texts: Sequence[str], cells: Sequence[Cell], way: Way) -> float:
    body = max(_widths(texts, cells), default=0.0)
    return max(body, _head(column.title, body, way)[1])


def text(column: Column, cells: Sequence[Cell], texts: Sequence[str], room: float, way: Way) -> Typeset:
    """Of a column of texts, in ``room`` points. Where the intervals of numbers stand below, a row has several
    lines, so that what is wrapped is laid out here instead of in a paragraph."""
    head = _stacked(head_lines(column.title, room), "l")
    if max(_widths(texts, cells), default=0.0) <= room + 0.01:
        rows = [[_styled(source(text), cell)] for text, cell in zip(texts, cells)]
        return Typeset("l", head, rows, room)
    if way.below:
        return Typeset("l", head, [wrapped(text, cell, room) for text, cell in zip(texts, cells)], room)
    # Indented from its second line on, so that it is seen where a row begins.
    paragraph = rf">{{\raggedright\hangindent=1em\arraybackslash}}p{{{math.floor(room)}pt}}"
    told = [
        [_styled(source(text, (room - SMALL) / _broadened(cell)), cell)] for text, cell in zip(texts, cells)
    ]
    return Typeset(paragraph, head, told, room)


def wrapped(text: str, cell: Cell, room: float) -> list[str]:
    """The source of a text in lines of at most ``room`` points; all but the first are indented."""
    room = (room - MARK * len(marks_of(cell))) / _broadened(cell)
    *lines, line = room_of.lines(text, room, width, indent=SMALL)
    bare = Styled(None, bold=stands_out(cell))
    styled = [_styled(source(each), bare) for each in lines] + [_styled(source(line), cell)]
    return [styled[0], *(rf"\quad {other}" for other in styled[1:])]


def _styled(written: str, cell: Cell) -> str:
    marks = "".join(source(mark) if mark != "*" else mark for mark in marks_of(cell))
    after = rf"\textsuperscript{{{marks}}}" if marks else ""
    return rf"\textbf{{{written}}}{after}" if stands_out(cell) else f"{written}{after}"
