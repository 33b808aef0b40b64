"""Words as people type and paste them, made into those that flags are read from: commas between the values of
a list, typographic dashes and quotes, the digits and commas of a Chinese keyboard."""

from __future__ import annotations

import argparse
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semcom.base.advice import QUOTES, meant, nearest
from semcom.base.errors import SemcomError, shown

DASHES = str.maketrans(dict.fromkeys("‐‑‒–—―−﹘﹣－➖", "-"))
DIGITS = r"\d+(?:_\d+)*"
NUMBER = re.compile(
    rf"[+-]?(?:{DIGITS}(?:\.(?:{DIGITS})?)?|\.{DIGITS})(?:e[+-]?\d+)?|[+-]?(?:inf|infinity|nan)",
    re.IGNORECASE,
)
NEGATIVE = re.compile(r"-(?:\.?\d|inf|nan)", re.IGNORECASE)
"""How a value that begins with a dash begins."""
BETWEEN = re.compile(r"\s*[,;、]\s*|\s+")
"""What may stand between the values of a list."""
LEADING_ZERO = re.compile(r"\d,0\d")
"""As in 1,000 and 0,05, which need not be two values."""
FLAGS_OF_HELP = {"-h", "--help", "--version"}


def plain_name(text: str) -> str:
    """The type of a flag whose values are plain names, so that commas may stand between several."""
    return text


def on_or_off(text: str) -> str:
    """The type of a flag that is on, off or something else; what was a switch says true and false in older
    run files."""
    return {"true": "on", "yes": "on", "false": "off", "no": "off"}.get(text.lower(), text)


@dataclass(frozen=True)
class WholeNumberOr:
    """The type of a flag whose value is a whole number, or the ``word`` that stands for None."""

    word: str

    def __call__(self, text: str) -> int | None:
        if text.lower() == self.word:
            return None
        try:
            return int(text)
        except ValueError:
            likely = _without_groups(plain(text))
            meant = f"; did you mean {likely}?" if likely else ""
            wanted = f"must be a whole number of 1 or more, or {self.word!r}{meant}"
            raise argparse.ArgumentTypeError(f"{shown(text)!r}: {wanted}") from None


# --- a value


def values_in(action: argparse.Action, word: str) -> list[str]:
    """The values that stand in a word that is given to a flag; the word itself where it is of another kind
    than the flag's, or a text or path, which stay as they are."""
    kind = action.type
    if kind in (int, float) or isinstance(kind, WholeNumberOr):
        parts = _parts(action, plain(word).replace("。", "."))
        numbers = all(map(NUMBER.fullmatch, parts)) and not LEADING_ZERO.search(plain(word))
        return [part if kind is float else _whole(part) for part in parts] if numbers else [word]
    if action.choices is not None:
        parts = _parts(action, plain(word))
        return parts if all(_made(kind, part) in action.choices for part in parts) else [word]
    return _parts(action, plain(word)) if kind is plain_name else [word]


def plain(word: str) -> str:
    """Without what a keyboard or a text program has made of it: full width, dashes and quotes."""
    return unicodedata.normalize("NFKC", word.translate(DASHES)).strip(QUOTES + " ")


def _parts(action: argparse.Action, text: str) -> list[str]:
    return [part for part in BETWEEN.split(text) if part] or [text] if takes_several(action) else [text]


def takes_several(action: argparse.Action) -> bool:
    return action.nargs in ("+", "*") or (isinstance(action.nargs, int) and action.nargs > 1)


def _whole(text: str) -> str:
    """1e3 as the whole number that it is."""
    if "e" not in text.lower() or not math.isfinite(number := float(text)) or number != int(number):
        return text
    return str(int(number))


def _made(kind: Any, text: str) -> Any:
    return kind(text) if kind else text


def value_of(action: argparse.Action, word: str) -> Any:
    """What the flag makes of a word. Raises SemcomError, without the flag."""
    kind: Callable[[str], Any] = action.type if callable(action.type) else str
    try:
        value = kind(word)
    except argparse.ArgumentTypeError as error:
        raise SemcomError(str(error) if len(str(error)) < 200 else f"{shown(word)}: is not allowed") from None
    except (TypeError, ValueError):
        raise SemcomError(f"{shown(word)!r}: {_wrong(action, word)}") from None
    if action.choices is not None and value not in action.choices:
        allowed = [str(choice) for choice in action.choices]
        near = meant(word, allowed)
        raise SemcomError(f"{shown(word)!r}: allowed are {', '.join(allowed)}{near}")
    return value


def _wrong(action: argparse.Action, word: str) -> str:
    if action.type is int and word.strip().lstrip("+-").isdecimal():
        return "is too large a number"
    wanted = (
        "a whole number" if action.type is int else "a number" if action.type is float else "such a value"
    )
    text = plain(word)
    if takes_several(action) and LEADING_ZERO.search(text):
        return f"is not {wanted}{_one_or_several(action, text)}"
    likely = _likely_number(action, text)
    return f"is not {wanted}" + (f"; did you mean {likely}?" if likely else "")


def _one_or_several(action: argparse.Action, text: str) -> str:
    """Of 1,000 it is 1000, 1.000 or, in a list, 1 0."""
    several = " ".join(str(int(part)) if part.isdecimal() else part for part in BETWEEN.split(text) if part)
    point = text.replace(",", ".") if action.type is float and text.count(",") == 1 else None
    likely = " or ".join(filter(None, [_without_groups(text), point]))
    return f"; several values are written {several}" + (f"; did you mean {likely}?" if likely else "")


def _likely_number(action: argparse.Action, text: str) -> str | None:
    """Of 24,000 and 24.0, for whole numbers, 24000 and 24; of 0,7 it is 0.7; of 6dB it is 6; of 10%
    it is 0.1."""
    if action.type is int and (likely := _without_groups(text)):
        return likely
    text = text.replace(",", ".")
    found = re.match(rf"({NUMBER.pattern})\s*[^\W\d_]{{0,4}}%?$", text, re.IGNORECASE)
    if not found or action.type not in (int, float):
        return None
    number = float(found[1])
    if action.type is float:
        return f"{number / 100:g}" if text.endswith("%") else found[1]
    return str(int(number)) if math.isfinite(number) and number == int(number) else None


def _without_groups(text: str) -> str | None:
    """1,000 without its comma; None of 0,007 and of 1,00."""
    return re.sub("[, ]", "", text) if re.fullmatch(r"[+-]?[1-9]\d{0,2}([, ]\d{3})+", text) else None


# --- the words of a command


@dataclass(frozen=True)
class Word:
    """action: of the flag that it is, or a value of; None for one that belongs to no flag."""

    text: str
    action: argparse.Action | None = None
    is_flag: bool = False

    @property
    def flag(self) -> str:
        return self.text.partition("=")[0]

    @property
    def value(self) -> str | None:
        """That it is, or that is joined to it."""
        if not self.is_flag:
            return self.text
        return self.text.partition("=")[2] if "=" in self.text else None


def read(words: Sequence[str], flags: Mapping[str, argparse.Action], *, others: bool = False) -> list[Word]:
    """The words of a command, each with the flag that it is or belongs to, made plain. others: whether there
    are words that belong to no flag."""
    found: list[Word] = []
    action, left = None, 0.0
    for place, word in enumerate(words):
        flag, joined = _flag_in(word, flags)
        if word == "--":
            return [*found, *map(Word, words[place:])]
        is_one = word.startswith("-") or (
            not _wants_one(action, left)
            and flag is not None
            and _has_value(flags[flag], joined, words[place + 1 :])
        )
        if flag is not None and is_one:
            action = flags[flag]
            values = [] if joined is None else values_in(action, joined)
            if joined is None and _is_bare(action, words[place + 1 :], others):
                values = [action.const]
            left = 0 if values else _most_values(action)
            found += _with_values(flag, action, values)
        elif action is not None and left > 0 and not _looks_like_a_flag(word):
            values = values_in(action, word)
            left -= len(values)
            found += [Word(value, action) for value in values]
        else:
            action = None
            found.append(Word(word))
    return found


def _flag_in(word: str, flags: Mapping[str, argparse.Action]) -> tuple[str | None, str | None]:
    """The flag that a word is, whatever dashes it has, and the value that ``=`` joins to it."""
    typed, equals, value = (
        word.replace("＝", "=", 1).partition("=") if word[:1].translate(DASHES) == "-" else ("",) * 3
    )
    if typed not in flags and not typed.isascii():
        typed = "--" + unicodedata.normalize("NFKC", typed.translate(DASHES)).lstrip("-")
    return (typed, value if equals else None) if typed in flags else (None, None)


def _wants_one(action: argparse.Action | None, left: float) -> bool:
    """Whether the flag before has not yet its one value."""
    return action is not None and left > 0 and not takes_several(action)


def _has_value(action: argparse.Action, joined: str | None, rest: Sequence[str]) -> bool:
    """Whether a flag is followed by the value that it needs; without, it may be a text that begins with a
    dash."""
    needs = action.nargs not in (0, "?", "*") and joined is None
    return not needs or (bool(rest) and not _looks_like_a_flag(rest[0]))


def _is_bare(action: argparse.Action, rest: Sequence[str], others: bool) -> bool:
    """Whether a flag that means something without a value has none; a word that may be another's is one only
    if the flag knows it."""
    if action.const is None or action.choices is None:
        return False
    if not rest or _looks_like_a_flag(rest[0]):
        return True
    values = values_in(action, rest[0])
    return others and any(_made(action.type, value) not in action.choices for value in values)


def _with_values(flag: str, action: argparse.Action, values: Sequence[str]) -> list[Word]:
    """One value stays joined to its flag: it may begin with a dash."""
    if len(values) == 1 and (not takes_several(action) or _looks_like_a_flag(values[0])):
        return [Word(f"{flag}={values[0]}", action, is_flag=True)]
    return [Word(flag, action, is_flag=True), *(Word(value, action) for value in values)]


def _most_values(action: argparse.Action) -> float:
    if action.nargs in ("+", "*"):
        return math.inf
    return action.nargs if isinstance(action.nargs, int) else 1


def _looks_like_a_flag(word: str) -> bool:
    """As argparse has it: a text with a blank in it is none."""
    return word.startswith("-") and len(word) > 1 and " " not in word and not NEGATIVE.match(word)


# --- what is wrong with them


def values_of_flags(words: Iterable[Word]) -> list[tuple[argparse.Action, list[str]]]:
    """Each flag that is given, as often as it is, and its values there."""
    found: list[tuple[argparse.Action, list[str]]] = []
    for word in words:
        if word.is_flag and word.action is not None:
            found.append((word.action, []))
        if word.action is not None and word.value is not None:
            found[-1][1].append(word.value)
    return found


def unknown_flag(words: Iterable[Word]) -> str | None:
    """The first word that looks like a flag and is none."""
    for word in words:
        if word.text == "--":
            return None
        if word.action is None and _looks_like_a_flag(word.text):
            return word.flag
    return None


def asks_for_help(words: Iterable[Word]) -> bool:
    return any(word.is_flag and word.text in FLAGS_OF_HELP for word in words)


def nearest_flag(flag: str, flags: Iterable[str]) -> str | None:
    near = nearest(flag.lstrip("-").replace("_", "-"), [known.removeprefix("--") for known in flags])
    return f"--{near}" if near else None
