"""Flags of which several values may be given, for runs that differ in them: of a flag with one value by
giving several, of a flag that takes a list by repeating it. Switches are common to all runs."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from semcom.base import run_files
from semcom.base.errors import SemcomError
from semcom.base.flag_words import typed_number
from semcom.base.flags import add_flags, flag_of, settings_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")


class _Given(list[Any]):
    """The values that were given to a flag, a list's among them as one."""


class _Varied(argparse.Action):
    """Stores every value."""

    def __init__(
        self, option_strings: Sequence[str], dest: str, nargs: int | str | None = None, **argument: Any
    ):
        self.takes_a_list = nargs not in (None, "?")
        super().__init__(option_strings, dest, nargs if self.takes_a_list else "+", **argument)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        earlier = getattr(namespace, self.dest, None)
        # What a run file gave is the default: the command line takes its place.
        given: list[Any] = [] if earlier is None or earlier is self.default else earlier
        setattr(namespace, self.dest, _Given([*given, *([values] if self.takes_a_list else values)]))

    def of_run_file(self, value: Any) -> _Given:
        """The values that a run file has: a list's as the flag's; of a flag that takes a list, a list of
        lists."""
        if not self.takes_a_list:
            return _Given(run_files.parsed(self, run_files.words_of_value(value)))
        nested = isinstance(value, list) and any(isinstance(each, list) for each in value)
        lists = value if nested else [value]
        return _Given(run_files.parsed(self, run_files.words_of_value(each)) for each in lists)


def add_varied_flags(parser: argparse.ArgumentParser, settings: type[DataclassInstance]) -> None:
    """The flags of a dataclass of settings, each of which may be given several values. To be called last:
    flags that the parser gets after these are so too."""
    parser.register("action", None, _Varied)
    add_flags(parser, settings)


@dataclass(frozen=True)
class Variant(Generic[Settings]):
    """varied: name of a setting -> its value here, of those that were given several."""

    varied: Mapping[str, Any]
    settings: Settings


def variants(
    settings: type[Settings], flags: argparse.Namespace, *, paired: bool = False
) -> list[Variant[Settings]]:
    """Every combination of the values given to ``add_varied_flags``'s flags, the last varying fastest; with
    ``paired`` the first of each, the second of each and so on.

    Raises SemcomError for what contradicts itself, naming the values that do.
    """
    given, several = _given(flags), values_of(flags)
    common = {**vars(flags), **{name: values[0] for name, values in given.items()}}
    return [_variant(settings, common, chosen) for chosen in _choices(several, paired)]


def values_of(flags: argparse.Namespace) -> dict[str, list[Any]]:
    """Of the settings that were given several values, those."""
    return {name: list(values) for name, values in _given(flags).items() if len(values) > 1}


def _given(flags: argparse.Namespace) -> dict[str, _Given]:
    return {name: values for name, values in vars(flags).items() if isinstance(values, _Given)}


def _choices(several: Mapping[str, Sequence[Any]], paired: bool) -> Iterator[dict[str, Any]]:
    if not (paired and several):
        for values in itertools.product(*several.values()):
            yield dict(zip(several, values))
        return
    lengths = {flag_of(name): len(values) for name, values in several.items()}
    if len(set(lengths.values())) > 1:
        counted = ", ".join(f"{number} of {flag}" for flag, number in lengths.items())
        raise SemcomError(
            f"--zip: takes as many values of each flag, here are {counted}; leave --zip out for all"
        )
    for values in zip(*several.values()):
        yield dict(zip(several, values))


def _variant(
    settings: type[Settings], common: Mapping[str, Any], chosen: dict[str, Any]
) -> Variant[Settings]:
    varied = {name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items()}
    try:
        return Variant(varied, settings_of(settings, argparse.Namespace(**{**common, **chosen})))
    except SemcomError as error:
        if not varied:
            raise
        raise SemcomError(f"the run of {typed(varied)}: {error}") from None


def typed(varied: Mapping[str, Any]) -> str:
    """What a person would type of the values."""
    return " ".join(f"{flag_of(name)} {' '.join(words_of_value(value))}" for name, value in varied.items())


def words_of_value(value: Any) -> list[str]:
    values = value if isinstance(value, tuple) else (value,)
    return [typed_number(each) if isinstance(each, float) else str(each) for each in values]
