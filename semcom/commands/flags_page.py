"""The page of all flags, made from the parsers.

python -m semcom.commands.flags_page > docs/flags.md
"""

import argparse
import sys
import textwrap

from semcom.commands import parsers

WIDTH = 120
HEAD = """\
# Flags

Part of [the guide](../DISTILLATION_GUIDE.md#where-to-read-on). Made from the settings by
`python -m semcom.commands.flags_page > docs/flags.md`; a default stands in brackets.
Formulas: [losses](losses.md). What flags do together: [commands](commands.md).
"""


def page() -> str:
    """Markdown. A group of flags that an earlier command has too, with the same defaults, is named alone."""
    lines = [HEAD]
    first_with: dict[tuple[str, str], str] = {}
    for name, parser in parsers.commands():
        summary = (parser.description or "").splitlines()[0]
        lines += [f"## {name}", "", textwrap.fill(summary[:1].upper() + summary[1:], WIDTH), ""]
        known = []
        for group in parser._action_groups:
            title, table = title_of(group), table_of(group)
            if not table:
                continue
            earlier = first_with.setdefault((title, table), name)
            if earlier == name:
                lines += [f"**{title}**", "", table, ""]
            else:
                line = f"- {title.split('. ')[0]}: as of `{earlier}`"
                known.append(textwrap.fill(line, WIDTH, subsequent_indent="  "))
        lines += [*known, ""] if known else []
    return "\n".join(lines).rstrip() + "\n"


def is_shown(action: argparse.Action) -> bool:
    of_all = isinstance(action, (argparse._HelpAction, argparse._VersionAction))
    return action.help != argparse.SUPPRESS and not of_all


def title_of(group: argparse._ArgumentGroup) -> str:
    own = {"positional arguments": "What it is given", "options": "Its own flags"}
    title = group.title or ""
    return own.get(title, title)


def table_of(group: argparse._ArgumentGroup) -> str:
    """Empty for a group without flags."""
    rows = [row(action) for action in group._group_actions if is_shown(action)]
    return "\n".join(["| flag | meaning |", "| --- | --- |", *rows]) if rows else ""


def row(action: argparse.Action) -> str:
    meaning = (action.help or "").replace("%%", "%")
    if action.option_strings and action.required:
        meaning += " (required)"
    usage = " ".join([*action.option_strings[-1:], *values(action)])
    return f"| `{escaped(usage)}` | {escaped(meaning)} |"


def values(action: argparse.Action) -> list[str]:
    """What is typed after the flag: nothing, one value, several; one too where each of several is a run of
    its own."""
    varies = not getattr(action, "takes_a_list", True)
    if action.nargs == 0:
        return []
    if isinstance(action.metavar, tuple):
        return list(action.metavar)
    value = action.metavar or "|".join(action.choices or ()) or action.dest.upper()
    if varies or action.nargs == "?":
        return [value if action.const is None and action.nargs != "?" else f"[{value}]"]
    several = {"+": [value, "…"], "*": [f"[{value} …]"]}
    return several.get(str(action.nargs), [value])


def escaped(text: str) -> str:
    """For a cell of a table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
