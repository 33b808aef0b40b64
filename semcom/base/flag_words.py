"""Settings as a person types them: words of a command, the values of a run file, changes by name."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from semcom.base import paths
from semcom.base.errors import shown
from semcom.base.flags import Group, flag_of, follows, name_of, settings_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Settings = TypeVar("Settings", bound=DataclassInstance)


def parse_over(
    parser: argparse.ArgumentParser, words: Sequence[str], settings: Settings, fixed: Sequence[str] = ()
) -> Settings:
    """The settings with what the flags in ``words`` say otherwise; fields without a flag are the default.

    fixed: names of settings that keep their value even where it would follow from others.
    """
    known = {f.name: value for f, value, needed in each_setting(settings) if needed or f.name in fixed}
    return settings_of(type(settings), parser.parse_args(words, argparse.Namespace(**known)))


def words_of(settings: DataclassInstance, first: Sequence[str] = ()) -> list[str]:
    """Positional arguments, then the flags without which the settings would be others.

    first: names of settings whose flags stand ahead, also where they say what is the default.
    """
    arguments, ahead, flags = [], {}, []
    for f, value, needed in each_setting(settings):
        words = _words(f, value)
        if f.metadata["positional"]:
            arguments += words if needed else []
        elif f.name in first:
            ahead[f.name] = words
        elif needed:
            flags += words
    return arguments + [word for name in first for word in ahead[name]] + flags


def _words(f: Field[Any], value: Any) -> list[str]:
    if value is None and not f.metadata["absent"]:
        return []
    if value is None:
        value = f.metadata["absent"]
    values = value if isinstance(value, tuple) else (value,)
    typed = [typed_number(v) if isinstance(v, float) else str(v) for v in values]
    if f.metadata["argument"].get("metavar") in paths.METAVARS:
        # One that begins with a dash would be read as a flag.
        typed = [f"./{word}" if word.startswith("-") else word for word in typed]
    if f.metadata["positional"]:
        return typed
    if isinstance(value, bool):
        return [flag_of(f.name)] if value else []
    return [flag_of(f.name), *typed]


def typed_number(number: float) -> str:
    return str(number).removesuffix(".0")


def shown_flag(value: Any) -> str:
    """A flag's value in a message, as a person types it."""
    if isinstance(value, (list, tuple)):
        return shown(" ".join(map(shown_flag, value)) or "none")
    text = typed_number(value) if isinstance(value, float) else str(value)
    return {"None": "not given", "True": "given", "False": "not given"}.get(text) or shown(text)


def typed_values(settings: DataclassInstance, *, recorded: bool = False) -> dict[str, Any]:
    """Every flag by its name, - as _, with its value as a run file has it: plain, a list of several; None
    where it need not be given.

    recorded: without the flags that say nothing of the result.
    """
    return {
        name_of(flag_of(f.name)): _typed(f, value, needed)
        for f, value, needed in each_setting(settings)
        if f.metadata["recorded"] or not recorded
    }


def typed_defaults(settings: DataclassInstance) -> dict[str, Any]:
    """Of every flag what ``typed_values`` has where it is not given, which is what a record means that does
    not know it; None of one that then follows from others, unless it does so here."""
    return {
        name_of(flag_of(f.name)): _typed(f, value if not needed else _default(settings, f), False)
        for f, value, needed in each_setting(settings)
    }


def _default(settings: DataclassInstance, of: Field[Any]) -> Any:
    for f in fields(settings):
        if f is of:
            return None if f.default is MISSING else f.default
        if "group" not in f.metadata:
            continue
        shown: Group = f.metadata["group"]
        for inner, default in shown.flags():
            if inner is of:
                return (default,) if inner.name == shown.several else default
    raise LookupError(of.name)


def typed_by_group(settings: DataclassInstance) -> dict[str, dict[str, Any]]:
    """``typed_values`` under the titles of their groups; flags of a verb's own have the title ""."""
    groups: dict[str, dict[str, Any]] = {}
    for title, (f, value, needed) in _titled(settings):
        groups.setdefault(title, {})[name_of(flag_of(f.name))] = _typed(f, value, needed)
    return groups


def _typed(f: Field[Any], value: Any, needed: bool) -> Any:
    if value is None:
        return f.metadata["absent"] if needed else None
    if isinstance(value, tuple):
        return list(value) or None
    return value


Setting = tuple[Field[Any], Any, bool]
"""A field with a flag, its value, and whether the settings need the flag to be what they are."""


def each_setting(settings: DataclassInstance) -> Iterator[Setting]:
    return (setting for _, setting in _titled(settings))


def _titled(settings: DataclassInstance) -> Iterator[tuple[str, Setting]]:
    """With the title of its group."""
    for f in fields(settings):
        if "group" in f.metadata:
            group: Group = f.metadata["group"]
            for setting in _of_group(group, getattr(settings, f.name)):
                yield group.title, setting
        elif "help" in f.metadata:
            value = getattr(settings, f.name)
            yield "", (f, value, value != f.default)


def _of_group(shown: Group, given: Any) -> Iterator[Setting]:
    alternatives = (given,) if shown.several is None else given
    for f, default in shown.flags():
        value = getattr(alternatives[0], f.name)
        if f.name == shown.several:
            value, default = tuple(getattr(each, f.name) for each in alternatives), (default,)
        needed = value != default if default is not None else not follows(alternatives[0], f)
        yield f, value, needed


def changed(settings: Settings, changes: Mapping[str, Any], fixed: Sequence[str] = ()) -> Settings:
    """The settings of groups with other values under the names of ``changes``; a value that follows from
    others follows from the changed ones.

    fixed: names of settings that keep their value even where it would follow from others.
    Raises ValueError for a name that no setting has, SemcomError for a value that is not allowed.
    """
    left, parts = dict(changes), {}
    for f in fields(settings):
        part = getattr(settings, f.name)
        if "group" not in f.metadata or isinstance(part, tuple):
            continue
        follow = [inner.name for inner in fields(part) if inner.default is None and follows(part, inner)]
        anew = {name: None for name in follow if name not in fixed}
        ours = {inner.name: left.pop(inner.name) for inner in fields(part) if inner.name in left}
        parts[f.name] = replace(part, **{**anew, **ours})
    if left:
        raise ValueError(f"no settings: {', '.join(left)}")
    return replace(settings, **parts)
