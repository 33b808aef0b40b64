"""Chinese as it is printed: with a blank where it meets Latin letters or digits."""

import re
from collections.abc import Sequence
from dataclasses import replace

from semcom.report.document import Answer, Block, Document, Figure, Folded, Section, Table, Text

_MEETS = re.compile("(?<=[\u4e00-\u9fff])(?=[A-Za-z0-9])|(?<=[A-Za-z0-9%])(?=[\u4e00-\u9fff])")


def of_chinese(document: Document) -> Document:
    """Its sentences so printed; cells and how it was made, with names of files, stay as they are."""
    sections = [Section(each.name, each.title, _blocks(each.blocks)) for each in document.sections]
    return replace(document, sections=sections, answers=[_answer(answer) for answer in document.answers])


def spaced(text: str) -> str:
    return _MEETS.sub(" ", text)


def _blocks(blocks: Sequence[Block]) -> list[Block]:
    return [_block(block) for block in blocks]


def _block(block: Block) -> Block:
    if isinstance(block, Text):
        return Text(spaced(block.words))
    if isinstance(block, Folded):
        return Folded(spaced(block.title), _blocks(block.blocks))
    return _table(block) if isinstance(block, Table) else _figure(block)


def _table(table: Table) -> Table:
    caption, note, conditions = map(spaced, (table.caption, table.note, table.conditions))
    columns = {name: replace(column, note=spaced(column.note)) for name, column in table.columns.items()}
    return replace(table, columns=columns, caption=caption, note=note, conditions=conditions)


def _figure(figure: Figure) -> Figure:
    return replace(figure, caption=spaced(figure.caption), alternative=spaced(figure.alternative))


def _answer(answer: Answer) -> Answer:
    return replace(
        answer,
        sentence=spaced(answer.sentence),
        figure=answer.figure and _figure(answer.figure),
        table=answer.table and _table(answer.table),
        before=[spaced(line) for line in answer.before],
        beside=[spaced(line) for line in answer.beside],
    )
