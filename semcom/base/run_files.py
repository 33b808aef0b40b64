"""Run files: YAML or JSON that sets flags, keys as the flags are called.

A value is text until the flag's own parser reads it, so that it means what it means on a command line. The
record of a run is such a file too: of it the part ``settings`` alone is read.
"""

from __future__ import annotations

import argparse
import codecs
import errno
import json
import math
import os
import select
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semcom.base import json_files, typed_words
from semcom.base.advice import meant_path, nearest
from semcom.base.errors import SemcomError, shown
from semcom.base.flag_words import typed_by_group, typed_number

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from yaml.nodes import Node

MAX_BYTES = 1_000_000
MAX_BYTES_OF_YAML = 200_000
"""Which its library needs some seconds for."""
PIPE_SECONDS = 5
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""How a file begins -> its encoding; without such a mark it is UTF-8."""
SWITCH = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}


# --- a file -> keys and texts


def read(path: str | Path) -> dict[str, Any]:
    """Keys of a YAML or JSON file (.json), - in them as _, and what they hold: texts, None, lists and
    mappings of such.

    Raises SemcomError for a file that cannot be read or is no mapping, for a key that is there twice, and for
    YAML's anchors, aliases and tags.
    """
    is_json = Path(path).suffix == ".json"
    text = _text(Path(path), MAX_BYTES if is_json else MAX_BYTES_OF_YAML)
    try:
        found = _json(text) if is_json else _yaml(text)
    except SemcomError as error:
        raise SemcomError(f"{_named(path)}: {error}") from None
    except RecursionError:
        raise SemcomError(
            f"{_named(path)}: is nested too deeply; keys as flags are called are wanted"
        ) from None
    if not isinstance(found, dict):
        raise SemcomError(f"{_named(path)}: is no mapping of flags to values; for example a line: seed: 7")
    return found


def _text(path: Path, most: int) -> str:
    name = _named(path)
    if path.is_dir():
        raise SemcomError(f"{name}: is a folder; give a file, of a run its distillation_config.json")
    try:
        content = _content(path, most)
    except OSError as error:
        near = meant_path(path)
        raise SemcomError(
            f"{name}: cannot be read ({error.strerror}){near}; give a YAML or JSON file"
        ) from None
    if len(content) > most:
        raise SemcomError(f"{name}: is larger than {most:,} bytes; no run file is")
    encoding = next((encoding for mark, encoding in MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise SemcomError(
            f"{name}: is not {encoding.upper()} from byte {error.start} on; save it as UTF-8"
        ) from None


def _content(path: Path, most: int) -> bytes:
    """At most one byte more than ``most``. Of a named pipe too, as shells make one of <(…), if something
    comes soon."""
    with open(path, "rb", opener=json_files.opened_at_once) as file:
        if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            if not select.select([file], [], [], PIPE_SECONDS)[0]:
                raise OSError(errno.EIO, f"a pipe into which nothing was written for {PIPE_SECONDS} s")
            os.set_blocking(file.fileno(), True)
        return file.read(most + 1)


def _named(path: str | Path) -> str:
    return f"--config {shown(path)}"


def _json(text: str) -> Any:
    try:
        # Numbers stay the text that they are; so does NaN.
        return json.loads(
            text, object_pairs_hook=_mapping, parse_float=str, parse_int=str, parse_constant=str
        )
    except json.JSONDecodeError as error:
        raise SemcomError(f"is no JSON: {error.msg} in line {error.lineno}") from None


def _mapping(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        name = key.removeprefix("--").replace("-", "_")
        if name in found:
            raise SemcomError(f"{shown(key)} is there twice; leave one of them out")
        found[name] = value
    return found


def _yaml(text: str) -> Any:
    import yaml

    class Plain(yaml.SafeLoader):
        """Builds nodes alone, so that no scalar becomes anything else than its text."""

        def compose_node(self, parent: Node | None, index: Any) -> Node | None:
            event = self.peek_event()
            line = event.start_mark.line + 1
            if getattr(event, "anchor", None):
                raise SemcomError(f"has an anchor or alias in line {line}; write the value out")
            if getattr(event, "tag", None):
                raise SemcomError(f"has a tag in line {line}; leave it out")
            return super().compose_node(parent, index)

    try:
        loader = Plain(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SemcomError(f"is no YAML: {shown(error.problem or error.context)} in line {line}") from None
    except yaml.YAMLError as error:
        raise SemcomError(f"is no YAML: {shown(str(error).splitlines()[0])}") from None
    return {} if node is None else _plain(node)


def _plain(node: Node) -> Any:
    import yaml

    if isinstance(node, yaml.MappingNode):
        return _mapping((_key(key), _plain(value)) for key, value in node.value)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(each) for each in node.value]
    return None if node.tag == "tag:yaml.org,2002:null" else node.value


def _key(node: Node) -> str:
    if not isinstance(node.value, str):
        raise SemcomError(f"has no plain key in line {node.start_mark.line + 1}")
    return node.value


# --- keys and texts -> values of a parser's flags


def actions_of(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """What a run file can set: flags, and arguments without one, by name with - as _."""
    actions = {}
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or action.dest in ("help", "version", "config", "print_config"):
            continue
        name = action.option_strings[-1] if action.option_strings else action.dest
        actions[name.removeprefix("--").replace("-", "_")] = action
    return actions


def flags_of(parser: argparse.ArgumentParser) -> list[str]:
    """The flags that its help shows."""
    shown_ones = (action for action in parser._actions if action.help != argparse.SUPPRESS)
    return [flag for action in shown_ones for flag in action.option_strings if flag.startswith("--")]


def words_of_value(value: Any) -> list[str]:
    """What a person would type for it; nothing where it is not given. Raises SemcomError, without the key,
    for what is nested."""
    if value is None:
        return []
    if isinstance(value, list) and all(isinstance(each, (str, bool)) for each in value):
        return [word for each in value for word in words_of_value(each)]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, str):
        return [_typeable(value)]
    raise SemcomError("is nested; a value or a list of values is wanted")


def _typeable(text: str) -> str:
    """Raises SemcomError for what no command line can hold."""
    try:
        held = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        held = False
    if not held:
        raise SemcomError(f"{shown(text)}: holds a character that no command line can; leave it out")
    return text


def set_defaults(parser: argparse.ArgumentParser, values: Mapping[str, Any]) -> set[str]:
    """Make the values of a run file those that the parser's flags have where the command line says nothing;
    return the names of the flags that were given.

    Raises SemcomError that names the key.
    """
    actions, given = actions_of(parser), set()
    for name, value in values.items():
        action = actions[name]
        try:
            if value is not None and value != []:
                parser.set_defaults(**{action.dest: _of_flag(action, value)})
                action.required = False
                given.add(name)
        except SemcomError as error:
            raise SemcomError(f"{name}: {error}; see: {parser.prog} --help") from None
    return given


def _of_flag(action: argparse.Action, value: Any) -> Any:
    """What the flag makes of a value, in its own way where it has one."""
    own = getattr(action, "of_run_file", None)
    return own(value) if own else parsed(action, words_of_value(value))


def unknown(name: str, flags: Iterable[str], program: str, others: Sequence[str] = ()) -> str:
    """The message about a key that is no flag of the program. others: programs that have it."""
    return no_such_flag(name, program, others, nearest(name, flags))


def no_such_flag(name: str, program: str, others: Sequence[str], near: str | None) -> str:
    """near: the flag that may be meant."""
    theirs = f" ({others[0]} has it)" if others else ""
    meant = f"; did you mean {near}?" if near else ""
    return f"{shown(name)}: {program} has no such flag{theirs}{meant}; see: {program} --help"


def parsed(action: argparse.Action, words: list[str]) -> Any:
    """What the flag makes of words, as on a command line. Raises SemcomError, without the flag."""
    if action.nargs == 0:
        return _switch(words)
    words = [value for word in words for value in typed_words.values_in(action, word)]
    wanted = action.nargs if isinstance(action.nargs, int) else 1
    several = action.nargs in ("+", "*")
    if len(words) != wanted and not several:
        raise SemcomError(f"{shown(' '.join(words))}: {len(words)} values, {wanted} wanted")
    values = [_typed(action, word) for word in words]
    return values if action.nargs in ("+", "*") or isinstance(action.nargs, int) else values[0]


def _switch(words: list[str]) -> bool:
    given = words[0].lower() if len(words) == 1 else ""
    if given not in SWITCH:
        raise SemcomError(f"{shown(' '.join(words))}: is a switch; give on or off")
    return SWITCH[given]


def _typed(action: argparse.Action, word: str) -> Any:
    try:
        return typed_words.value_of(action, word)
    except SemcomError as error:
        hint = "; of several make a list: [1, 2]" if action.nargs and " " in word.strip() else ""
        raise SemcomError(f"{error}{hint}") from None


# --- settings -> a file


def page(
    settings: DataclassInstance,
    program: str,
    *more: DataclassInstance,
    varied: Mapping[str, Any] | None = None,
) -> str:
    """The YAML of all flags of a verb, in its groups; as ``--config`` it asks for the same. varied: values of
    the flags that were given several, by name."""
    lines = [f"# What `{program}` runs; `{program} --config FILE` runs it again. null: not given."]
    groups = [group for each in (settings, *more) for group in typed_by_group(each).items()]
    for title, values in groups:
        lines += ["", f"# {title or 'Its own flags'}"]
        written = {name: (varied or {}).get(name, value) for name, value in values.items()}
        lines += [f"{name}: {_yaml_of(value)}" for name, value in written.items()]
    return "\n".join(lines) + "\n"


def _yaml_of(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_yaml_of, value))}]"
    if isinstance(value, float):
        return typed_number(value)
    import yaml

    # Flow style of a list of one quotes what a list of several needs quoted too.
    return yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=math.inf).strip()[1:-1]
