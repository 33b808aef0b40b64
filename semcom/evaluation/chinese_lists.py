"""The lists of ``chinese_words``, from the files in ``chinese/``: words between blanks, in [sections]."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "chinese"
WITHOUT_SECTION = ""


@cache
def sections(name: str) -> dict[str, tuple[str, ...]]:
    """Words of a file by section; those before the first under ``WITHOUT_SECTION``."""
    found: dict[str, list[str]] = {WITHOUT_SECTION: []}
    section = WITHOUT_SECTION
    for line in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if title := re.fullmatch(r"\[(.+)\]", line):
            section = title[1]
            found[section] = []
        elif not line.startswith("#"):
            found[section] += line.split()
    return {title: tuple(words) for title, words in found.items()}


@cache
def listed(name: str, *titles: str) -> frozenset[str]:
    """Words of a file's sections, of all sections where none is named."""
    of_file = sections(name)
    return frozenset(word for title in titles or of_file for word in of_file[title])


@cache
def name_parts() -> tuple[frozenset[str], ...]:
    """Names of places and the like, and of people."""
    people = listed("names", "leaders")
    titles = ("countries", "regions", "provinces", "cities", "organisations", "peoples")
    return listed("names", *titles), people


@cache
def all_words() -> frozenset[str]:
    """Of every file, what can stand in a text as a word."""
    files = ("function_words", "common_words")
    parts: list[Iterable[str]] = [listed(name) for name in files]
    parts.append(listed("negations", "words", "not negations", "prefixes", "before"))
    parts.append(listed("numbers", "words", "units", "not numbers"))
    parts += [*name_parts(), listed("names", "endings", "not names")]
    parts.append(listed("persons", "behind", "before", "not persons"))
    return frozenset(word for part in parts for word in part)


_TO_SIMPLIFIED = str.maketrans({pair[0]: pair[1] for pair in sections("traditional")[WITHOUT_SECTION]})


def simplified(text: str) -> str:
    """The same text, as long, with the traditional characters of the lists in their simplified form."""
    return text.translate(_TO_SIMPLIFIED)
