"""A parser of flags that takes them as people type them, from the command line and from run files, and says
in one line what is wrong with them. Nothing here imports torch."""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import semcom
from semcom.base import paths, run_files, typed_words
from semcom.base.advice import command
from semcom.base.errors import SemcomError, escape, shown
from semcom.base.flags import flag_of, name_of
from semcom.base.typed_words import FLAGS_OF_HELP, Word
from semcom.channel.settings import ChannelConfig
from semcom.commands import recorded_flags

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

ALTERNATIVES = (("epochs", "steps", "minutes"), ("batch_size", "batch_tokens"))
"""Flags of which one is given: that of the command line takes the place of another in a run file."""


class Parser(argparse.ArgumentParser):
    """One line for an error, no abbreviations of flags; flags from run files.

    passes_on: flags that it does not know are for another parser.
    """

    def __init__(self, *, passes_on: bool = False, **arguments: Any):
        super().__init__(
            allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **arguments
        )
        self.passes_on = passes_on
        # argparse's own takes -1e1 for a flag.
        self._negative_number_matcher = typed_words.NEGATIVE
        self.from_files: set[str] = set()
        """Names of the flags that run files have set."""
        self._typed: list[Word] = []

    def error(self, message: str) -> NoReturn:
        hint = self._swallowed() if message.startswith("the following arguments are required") else ""
        raise SemcomError(f"{escape(message)}{hint}; see: {self.prog} --help")

    def print_help(self, file: "SupportsWrite[str] | None" = None) -> None:
        # argparse's own says nothing of a full disk.
        print(self.format_help(), end="", file=file)

    def add_version(self) -> None:
        version = f"semcom {semcom.__version__}"
        self.add_argument(
            "--version", action="version", version=version, help="show the version of the program and exit"
        )

    def add_run_files(self) -> None:
        """``--config`` and ``--print-config``, for all flags added before and after."""
        files = self.add_argument_group("Run files")
        _add_config(files)
        files.add_argument(
            "--print-config", action="store_true", help="print the YAML of what would be run, run nothing"
        )

    # argparse's own signature is a pair of overloads.
    def parse_known_args(self, args=None, namespace=None):
        """The namespace has besides ``record``: (file, what it holds) where a run file is the record of a
        run; ``typed``: names of the flags that stand in the command."""
        given = sys.argv[1:] if args is None else list(args)
        others = self.passes_on or any(not action.option_strings for action in self._actions)
        self._typed = typed_words.read(given, self._option_string_actions, others=others)
        if not typed_words.asks_for_help(self._typed):
            self._check_typed()
        words = [word.text for word in self._typed]
        records = [self._take(path, words) for path in self._run_files(words)]
        flags, rest = super().parse_known_args(words, namespace)
        if rest and not self.passes_on:
            raise SemcomError(self._one_too_many(rest))
        # A verb's parser has set that of its own.
        typed = {word.action.dest for word in self._typed if word.is_flag and word.action}
        flags.typed = getattr(flags, "typed", frozenset()) | typed
        flags.record = next(filter(None, reversed(records)), getattr(flags, "record", None))
        return flags, rest

    # --- what is typed

    def _check_typed(self) -> None:
        """Raise SemcomError for flags that there are not, that contradict each other, or whose values are of
        another kind."""
        unknown = typed_words.unknown_flag(self._typed)
        if unknown is not None and not self.passes_on:
            raise SemcomError(_no_such_flag(unknown, self) + self._after_dashes(unknown))
        for word in self._typed[: self._end_of_flags()]:
            # argparse would take it for -h with something behind.
            if word.action is None and word.text.startswith("-h") and word.text not in FLAGS_OF_HELP:
                raise SemcomError(f"{shown(word.text)!r}: begins as -h{self._after_dashes(word.text)}")
        self._check_together([word for word in self._typed if word.is_flag])
        self._check_lists()
        for word in self._typed:
            if word.action is not None and word.value is not None:
                self._check_kind(word.action, word.value)

    def _check_together(self, flags: Sequence[Word]) -> None:
        shown_as = {name_of(word.flag): self._as_typed(word) for word in flags}
        for names in ALTERNATIVES:
            given = [shown_as[name] for name in names if name in shown_as]
            if len(given) > 1:
                raise SemcomError(f"{' and '.join(given)}: give one of them")
        for name, given_as in shown_as.items():
            if f"no_{name}" in shown_as:
                raise SemcomError(f"{given_as} and {flag_of(f'no_{name}')}: give one of them")

    def _check_lists(self) -> None:
        """Raise SemcomError for a list that is given in two parts, of which the last alone would count."""
        lists: dict[str, list[str]] = {}
        for action, values in typed_words.values_of_flags(self._typed):
            # Of a sweep, what is given again is another run's.
            of_runs = hasattr(action, "takes_a_list")
            if not typed_words.takes_several(action) or of_runs:
                continue
            flag = action.option_strings[-1]
            if lists.setdefault(flag, values) != values:
                together = shown(command(flag, *lists[flag], *values))
                raise SemcomError(f"{flag}: is given twice; give all its values at once: {together}")

    def _as_typed(self, flag: Word) -> str:
        first = self._typed.index(flag) + 1
        value = self._typed[first : first + 1]
        of_flag = value and value[0].action is flag.action and not value[0].is_flag
        return shown(f"{flag.flag} {value[0].text}" if of_flag else flag.text.replace("=", " ", 1))

    def _check_kind(self, action: argparse.Action, word: str) -> None:
        try:
            if word == "--" or action.nargs == 0:
                # argparse would drop the one, and have its own words for the other.
                raise SemcomError(f"{shown(word)}: {'is a switch' if action.nargs == 0 else 'is no value'}")
            typed_words.value_of(action, word)
        except SemcomError as error:
            hint = self._given_first(action, word)
            raise SemcomError(f"{action.option_strings[-1]} {error}{hint}; see: {self.prog} --help") from None

    def _given_first(self, action: argparse.Action, word: str) -> str:
        """What to do with a word that a flag of several values took and that was meant to stand alone."""
        alone = [each for each in self._actions if not each.option_strings]
        if not alone or not typed_words.takes_several(action) or typed_words.NUMBER.match(word):
            return ""
        first = command(*self.prog.split(), shown(word), action.option_strings[-1])
        return f"; if that is the {_called(alone[0])}, give it first: {first} …"

    def _after_dashes(self, word: str) -> str:
        """How a word that begins with a dash is given that is no flag."""
        place = next((i for i, each in enumerate(self._typed) if each.flag == word and not each.action), 0)
        before = self._typed[place - 1].action if place else None
        if before is not None and before.metavar in paths.METAVARS and not word.startswith("--"):
            flag = before.option_strings[-1]
            return f"; a path that begins with - is given as {shown(command(flag, f'./{word}'))}"
        alone = [each for each in self._actions if not each.option_strings]
        if not alone or word.startswith("--"):
            return ""
        return f"; a {_called(alone[0])} that begins with - stands last, after --"

    def _end_of_flags(self) -> int:
        """Where -- stands, behind which nothing is a flag."""
        return next((i for i, word in enumerate(self._typed) if word.text == "--"), len(self._typed))

    def _swallowed(self) -> str:
        """The same where what must stand alone is missing, since a flag took it."""
        alone = [each for each in self._actions if not each.option_strings and each.required]
        lists = [word for word in self._typed if word.action and typed_words.takes_several(word.action)]
        if not alone or not lists:
            return ""
        flag = lists[0].action.option_strings[-1] if lists[0].action else ""
        return f"; {flag} takes all words that follow it: give the {_called(alone[0])} first"

    def _one_too_many(self, rest: Sequence[str]) -> str:
        alone = [each for each in self._actions if not each.option_strings]
        left = shown(" ".join(rest))
        if not alone:
            return f"{left}: {self.prog} takes flags alone; see: {self.prog} --help"
        others = self._option_string_actions.get("--channels")
        if others and others.choices and rest[0].lower() in others.choices:
            return f"{left}: --channel takes one; give the others to --channels {left}"
        if alone[0].nargs == "+":
            return f"{left}: a {_called(alone[0])} stands apart; give them side by side, then the flags"
        quotes = "; of a text of several words make one by quotes" if alone[0].metavar is None else ""
        return f"{left}: {self.prog} takes one {_called(alone[0])}{quotes}; see: {self.prog} --help"

    # --- run files

    def _run_files(self, words: Sequence[str]) -> list[str]:
        if "--config" not in self._option_string_actions:
            return []
        alone = Parser(prog=self.prog, add_help=False)
        _add_config(alone)
        # Not this method, which would ask itself.
        return argparse.ArgumentParser.parse_known_args(alone, words)[0].config or []

    def _take(self, path: str, words: Sequence[str]) -> tuple[str, dict[str, Any]] | None:
        """Flags have the values of a run file where the command's words say nothing else."""
        found, actions = run_files.read(path), run_files.actions_of(self)
        of_a_run = recorded_flags.is_record(found)
        values = recorded_flags.settings_part(found, actions) if of_a_run else found
        # A value, such as the path `steps`, is no flag.
        given = [word.partition("=")[0] for word in words if word.startswith("--")]
        typed = {flag.removeprefix("--").replace("-", "_") for flag in given}
        instead = {name for names in ALTERNATIVES if typed & set(names) for name in names}
        try:
            for name in sorted(values.keys() - actions.keys()):
                raise SemcomError(_no_such_key(name, actions, self.prog))
            left = {name: value for name, value in values.items() if name not in instead}
            if not of_a_run:
                _check_alternatives(left, actions)
            self.from_files |= run_files.set_defaults(self, left)
        except SemcomError as error:
            raise SemcomError(f"--config {escape(path)[:100]}: {error}") from None
        return (path, found) if of_a_run else None


def _add_config(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--config",
        action="append",
        metavar="FILE",
        help="YAML or JSON that sets flags, keys as they are called here, also a run's own record; flags "
        "given beside it win",
    )


def _check_alternatives(values: Mapping[str, Any], actions: Mapping[str, argparse.Action]) -> None:
    """Raise SemcomError for values of a run file that contradict each other; ``--print-config`` writes the
    default of each."""
    for names in ALTERNATIVES:
        there = [name for name in names if values.get(name) and name in actions]
        given = [name for name in there if str(values[name]) != str(actions[name].default)]
        if len(given) > 1:
            both = " and ".join(shown(f"{name}: {values[name]}") for name in given)
            raise SemcomError(f"{both}: give one of them")


def _called(argument: argparse.Action) -> str:
    """What help calls an argument without a flag."""
    return str(argument.metavar or argument.dest)


def _no_such_flag(flag: str, parser: Parser) -> str:
    """The message about a flag that the parser does not have, but perhaps that of another program."""
    if parser.prog.endswith(" doctor") and name_of(flag) in ChannelConfig.__dataclass_fields__:
        return (
            f"{shown(flag)}: {parser.prog} measures every kind of channel, fading and estimate at settings "
            f"of its own; leave it out; see: {parser.prog} --help"
        )
    near = typed_words.nearest_flag(flag, run_files.flags_of(parser))
    spelt = flag.replace("_", "-")
    others = [other for other, theirs in _commands() if spelt in run_files.flags_of(theirs)]
    return run_files.no_such_flag(flag, parser.prog, others, near)


def _no_such_key(name: str, flags: Iterable[str], program: str) -> str:
    """The same about a key of a run file."""
    others = [other for other, parser in _commands() if name in run_files.actions_of(parser)]
    return run_files.unknown(name, flags, program, others)


def _commands() -> Iterable[tuple[str, argparse.ArgumentParser]]:
    # All parsers are made of this one.
    from semcom.commands import parsers

    return parsers.commands()
