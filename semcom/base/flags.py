"""Settings as dataclass fields that know their flags: default, help, choices and validation stand once, and
argparse flags are made from them. Standard library only, so that ``--help`` needs no torch.

The settings of a verb are one dataclass: flags of its own, and groups of flags, each a dataclass of a room.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, TypeVar

from semcom.base import paths
from semcom.base.advice import meant
from semcom.base.errors import SemcomError, escape
from semcom.base.typed_words import on_or_off

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Settings = TypeVar("Settings", bound=DataclassInstance)


LARGEST = 2**31
"""Whole number that any flag takes."""


@dataclass(frozen=True)
class Rule:
    """allowed: in words, for the message. holds: the test. example: a value that passes."""

    allowed: str
    holds: Callable[[Any], bool]
    example: str


def number(low: float, high: float = math.inf, *, above: bool = False, example: str) -> Rule:
    """A finite number from ``low`` to ``high``; with ``above`` not ``low`` itself."""
    if above:
        allowed = f"a finite number above {low:g}" + (f" and at most {high:g}" if high < math.inf else "")
    elif high < math.inf:
        allowed = f"a number from {low:g} to {high:g}"
    else:
        allowed = f"a finite number of {low:g} or more"

    def holds(x: float) -> bool:
        high_enough = x > low if above else x >= low
        return math.isfinite(x) and high_enough and x <= high

    return Rule(allowed, holds, example)


def whole(low: int, high: int = LARGEST, *, example: str) -> Rule:
    limit = f", at most {high}" if high < LARGEST else ""
    return Rule(f"a whole number of {low} or more{limit}", lambda x: low <= x <= high, example)


# --- fields


# Many arguments: what a flag is, each with a default.
def setting(
    default: Any,
    help: str,
    rule: Rule | None = None,
    *,
    absent: str = "",
    positional: bool = False,
    recorded: bool = True,
    compare: bool = True,
    **argument: Any,
) -> Any:
    """A dataclass field that knows its flag. absent: what None means. positional: an argument without a flag.
    recorded: False for one that says nothing of the result, so that a run's record leaves it out.
    compare: False for one that besides is no part of what the settings stand for.
    ``argument`` goes to ``add_argument`` (type, choices, nargs, metavar)."""
    metadata = _metadata(help, rule, absent, positional, recorded, argument)
    return field(default=default, compare=compare, metadata=metadata)


def required(help: str, *, positional: bool = False, **argument: Any) -> Any:
    """The same for a setting without a default."""
    return field(metadata=_metadata(help, None, "", positional, True, argument))


def compile_setting(help: str) -> Any:
    """The field of ``--compile``; help: what is compiled, and when auto takes it."""
    return setting(
        "auto",
        f"{help}; --compile alone means on",
        choices=("auto", "on", "off"),
        nargs="?",
        const="on",
        type=on_or_off,
    )


def without_flag(default: Any, rule: Rule | None = None, *, choices: Sequence[str] = ()) -> Any:
    """A dataclass field of the Python API alone, checked as those with flags are: a command neither takes nor
    writes it, and it is in a record only where it is not the default."""
    return field(default=default, metadata={"rule": rule, "argument": {"choices": choices}})


def _metadata(
    help: str, rule: Rule | None, absent: str, positional: bool, recorded: bool, argument: dict[str, Any]
) -> dict[str, Any]:
    of_flag = {"help": help, "absent": absent, "positional": positional, "argument": argument}
    return {**of_flag, "rule": rule, "recorded": recorded}


@dataclass(frozen=True)
class Group:
    """default: the settings of the group without flags. only: those that have flags, () for all. several: the
    one of which more than one value may be given; the group is then a tuple, one for each value."""

    default: DataclassInstance
    title: str
    only: tuple[str, ...]
    several: str | None = None

    def flags(self) -> Iterator[tuple[Field[Any], Any]]:
        """The fields that have flags, with their defaults; one that the settings fill in themselves keeps the
        default of its dataclass."""
        plain = type(self.default)()
        for f in fields(self.default):
            if "help" in f.metadata and (not self.only or f.name in self.only):
                ours = getattr(self.default, f.name)
                yield f, f.default if ours == getattr(plain, f.name) else ours


def group(default: Settings, *, title: str | None = None, only: Sequence[str] = ()) -> Settings:
    """A dataclass field that holds the settings of another dataclass, a group of flags in ``--help``.

    default: what they are without flags. only: names of the settings that have flags.
    """
    shown = Group(default, title or _summary(type(default)), tuple(only))
    return field(default=default, metadata={"group": shown})


def groups(default: Settings, *, several: str) -> tuple[Settings, ...]:
    """The same where several values of one setting may be given: a tuple, one for each of its values."""
    shown = Group(default, _summary(type(default)), (), several)
    return field(default=(default,), metadata={"group": shown})


def _summary(settings: type) -> str:
    paragraph = (settings.__doc__ or "").strip().split("\n\n")[0]
    return " ".join(paragraph.split()).rstrip(".")


# --- values


class Validated:
    """Checks each setting against its rule when an instance is made, from flags or from Python alike."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __new__(cls, *_: object, **given: object) -> Self:
        if given.keys() - cls.__dataclass_fields__.keys():
            cls.refuse(given)
        return super().__new__(cls)

    @classmethod
    def refuse(cls, given: Mapping[str, object]) -> NoReturn:
        """Raise SemcomError for a name that no setting has, among those ``given``."""
        name = next(name for name in given if name not in (own := cls.__dataclass_fields__))
        raise SemcomError(f"{cls.__name__}({escape(name)}=…): there is no such setting{meant(name, own)}")

    def __post_init__(self) -> None:
        for f in fields(self):
            _check_choices(f, getattr(self, f.name))
            _check_rule(f, getattr(self, f.name))
            _check_path(f, getattr(self, f.name))


def _check_choices(f: Field[Any], value: Any) -> None:
    choices = f.metadata.get("argument", {}).get("choices")
    if not choices or value is None:
        return
    given = set(value) if isinstance(value, tuple) else {value}
    if not given <= set(choices):
        raise SemcomError(f"{_called(f)} {_shown(value)}: allowed are {', '.join(choices)}")


def _check_rule(f: Field[Any], value: Any) -> None:
    if rule := f.metadata.get("rule"):
        check_rule(_called(f), value, rule)


def _called(f: Field[Any]) -> str:
    return flag_of(f.name) if "help" in f.metadata else f.name


def check_rule(flag: str, value: Any, rule: Rule) -> None:
    """Raise SemcomError for a value that is given and does not pass."""
    if value is not None and not _holds(rule, value):
        too_large = isinstance(value, int) and value > LARGEST
        allowed = f"{rule.allowed}, {LARGEST} at most" if too_large else rule.allowed
        raise SemcomError(f"{flag} {_shown(value)}: must be {allowed}; for example {flag} {rule.example}")


def _holds(rule: Rule, value: Any) -> bool:
    try:
        return rule.holds(value)
    except TypeError:
        return False  # of another type, such as a text in the place of a number


def _check_path(f: Field[Any], value: Any) -> None:
    metavar = f.metadata.get("argument", {}).get("metavar")
    if metavar not in paths.METAVARS or value is None:
        return
    flag = metavar if f.metadata["positional"] else flag_of(f.name)
    for path in value if isinstance(value, tuple) else (value,):
        paths.check(flag, str(path), metavar)


def _shown(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return " ".join(map(_shown, value))
    return escape(f"{value:g}" if isinstance(value, float) else value)


def flag_of(name: str) -> str:
    """An underscore at the end, of a name that is a word of Python's, is not of the flag."""
    return "--" + name.removesuffix("_").replace("_", "-")


def name_of(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def differs(settings: DataclassInstance, name: str) -> bool:
    """Whether the setting is not the default."""
    return bool(getattr(settings, name) != type(settings).__dataclass_fields__[name].default)


def names_without_flag(settings: DataclassInstance | type[DataclassInstance]) -> set[str]:
    return {f.name for f in fields(settings) if "argument" in f.metadata and "help" not in f.metadata}


def as_record(*settings: DataclassInstance) -> dict[str, Any]:
    """All settings as plain JSON values; those ``without_flag`` only where they are not the default."""
    record = {}
    for each in settings:
        left_out = {f.name for f in fields(each) if not f.compare}
        left_out |= {name for name in names_without_flag(each) if not differs(each, name)}
        for name, value in dataclasses.asdict(each).items():
            if name not in left_out:
                record[name] = list(value) if isinstance(value, tuple) else value
    return record


# --- settings -> flags of a parser -> settings


def add_flags(parser: argparse.ArgumentParser, settings: type[DataclassInstance]) -> None:
    """The flags of a dataclass of settings; each of its groups in an argument group."""
    for f in fields(settings):
        if "group" in f.metadata:
            shown: Group = f.metadata["group"]
            arguments = parser.add_argument_group(shown.title.replace("%", "%%"))
            for inner, default in shown.flags():
                _add_flag(arguments, inner, default, several=inner.name == shown.several)
        elif "help" in f.metadata:
            _add_flag(parser, f, f.default)


def _add_flag(
    parser: argparse._ActionsContainer, f: Field[Any], default: Any, *, several: bool = False
) -> None:
    argument = dict(f.metadata["argument"])
    help = f.metadata["help"].replace("%", "%%")
    if argument.get("action") != "store_true" and default is not MISSING:
        if "type" not in argument and isinstance(f.default, (int, float)):
            argument["type"] = type(f.default)
        help += _shown_default(default, f.metadata["absent"])
    if several:
        argument["nargs"] = "+"
    if f.metadata["positional"]:
        positional_default = {} if default is MISSING else {"default": default}
        parser.add_argument(f.name, help=help, **positional_default, **argument)
    elif default is MISSING:
        parser.add_argument(flag_of(f.name), dest=f.name, required=True, help=help, **argument)
    else:
        parser.add_argument(flag_of(f.name), dest=f.name, default=default, help=help, **argument)
    if argument.get("action") == "store_true":
        _add_opposite(parser, f, action="store_false")
    elif argument.get("const") == "on":
        _add_opposite(parser, f, action="store_const", const="off")


def _add_opposite(parser: argparse._ActionsContainer, f: Field[Any], **switch: Any) -> None:
    """``--no-X``, by which a command takes back the switch X of its run file."""
    no, hidden = flag_of(f"no_{f.name}"), argparse.SUPPRESS
    parser.add_argument(no, dest=f.name, default=hidden, help=hidden, **switch)


def _shown_default(default: Any, absent: str) -> str:
    if default is None:
        return f" (default {absent})" if absent else ""
    if default == ():
        return ""
    shown = _shown(default) if isinstance(default, tuple) else default
    return f" (default {shown})"


def settings_of(settings: type[Settings], flags: argparse.Namespace) -> Settings:
    """The settings out of parsed flags, group by group; those without a flag keep their default.

    Raises SemcomError for a value that is not allowed.
    """
    given = {}
    for f in fields(settings):
        if "group" in f.metadata:
            given[f.name] = _group_of(f.metadata["group"], flags)
        elif hasattr(flags, f.name):
            given[f.name] = _value(getattr(flags, f.name))
    return settings(**given)


def _group_of(shown: Group, flags: argparse.Namespace) -> Any:
    given = {f.name: _value(getattr(flags, f.name)) for f, _ in shown.flags()}
    if "given" in type(shown.default).__dataclass_fields__:
        given["given"] = getattr(flags, "typed", frozenset()) & given.keys()
    if shown.several is None:
        return replace(shown.default, **given)
    values = given.pop(shown.several)
    each = dict.fromkeys(values) if isinstance(values, tuple) else [values]
    return tuple(replace(shown.default, **given, **{shown.several: value}) for value in each)


def _value(parsed: Any) -> Any:
    return tuple(parsed) if isinstance(parsed, list) else parsed


def follows(settings: DataclassInstance, f: Field[Any]) -> bool:
    """Whether the value is None, or what the settings themselves put in the place of None."""
    try:
        return replace(settings, **{f.name: None}) == settings
    except SemcomError:
        return False
