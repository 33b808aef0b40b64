"""Room for columns: how texts share it and are wrapped to it, by whatever measure of their width."""

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

Measure = Callable[[str], float]
"""How wide a text is."""

Key = TypeVar("Key", bound=Hashable)

SMALLEST = 0.01
"""Of a width: what is narrower is nothing."""


def shared(room: float, wanted: Mapping[Key, tuple[float, float]]) -> dict[Key, float] | None:
    """The width of each, from the least to the most that it wants: what is left over the least of all goes to
    them in equal parts. None where there is not even room for that."""
    given = {key: least for key, (least, _most) in wanted.items()}
    left = room - sum(given.values())
    if left < 0:
        return None
    hungry = [key for key, (least, most) in wanted.items() if most - least > SMALLEST]
    while hungry and left > SMALLEST:
        share = left / len(hungry)
        for key in hungry:
            more = min(share, wanted[key][1] - given[key])
            given[key] += more
            left -= more
        hungry = [key for key in hungry if wanted[key][1] - given[key] > SMALLEST]
    return given


def lines(text: str, room: float, measure: Measure, indent: float = 0.0) -> list[str]:
    """``text`` in lines no wider than ``room``, all but the first narrower by ``indent``."""
    done: list[str] = []
    line = ""
    for word in pieces(words(text), room - indent, measure):
        longer = f"{line} {word}" if line else word
        if line and measure(longer) > room - (indent if done else 0.0):
            done.append(line)
            line = word
        else:
            line = longer
    return [*done, line]


def words(text: str) -> list[str]:
    """Between which a line may end: at any blank but those that are not to be broken."""
    return re.findall(r"(?:\S|\u00a0)+", text)


def pieces(parts: Sequence[str], room: float, measure: Measure) -> list[str]:
    """The parts of a text, those wider than ``room`` in pieces that are not, of one character at least."""
    return [piece for part in parts for piece in _pieces(part, room, measure)]


def _pieces(word: str, room: float, measure: Measure) -> list[str]:
    found, piece = [], ""
    for character in word:
        if piece and measure(piece + character) > room:
            found.append(piece)
            piece = ""
        piece += character
    return [*found, piece]
