"""Settings as dataclass fields that know their flags: default, help, choices and validation stand once, and
argparse flags are made from them. Standard library only, so that ``--help`` needs no torch.
"""

import argparse
import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from semcom.base.errors import SemcomError, escape

Config = TypeVar("Config")


@dataclass(frozen=True)
class Rule:
    """allowed: in words, for the message. holds: the test. example: a value that passes."""

    allowed: str
    holds: Callable[[Any], bool]
    example: str


def number(low: float, high: float = math.inf, *, above: bool = False, example: str) -> Rule:
    if above:
        allowed = f"a finite number above {low:g}" + (f" and at most {high:g}" if high < math.inf else "")
    elif high < math.inf:
        allowed = f"a number from {low:g} to {high:g}"
    else:
        allowed = f"a finite number of {low:g} or more"
    return Rule(
        allowed, lambda x: math.isfinite(x) and (x > low if above else x >= low) and x <= high, example
    )


def whole(low: int, high: int = 2**31, *, example: str) -> Rule:
    return Rule(
        f"a whole number of {low} or more" + (f", at most {high}" if high < 2**31 else ""),
        lambda x: low <= x <= high,
        example,
    )


def setting(default: Any, help: str, rule: Rule | None = None, *, absent: str = "", **argument: Any) -> Any:
    """A dataclass field that knows its flag. absent: what None means. ``argument`` goes to ``add_argument``
    (type, choices, nargs, metavar)."""
    return field(
        default=default, metadata={"help": help, "rule": rule, "absent": absent, "argument": argument}
    )


class Validated:
    """Checks each setting against its rule when an instance is made, from flags or from Python alike."""

    def __post_init__(self) -> None:
        for f in fields(self):
            rule: Rule | None = f.metadata.get("rule")
            value = getattr(self, f.name)
            choices = f.metadata.get("argument", {}).get("choices")
            if choices and not set(value if isinstance(value, tuple) else (value,)) <= set(choices):
                raise SemcomError(f"{flag_of(f.name)} {_shown(value)}: allowed are {', '.join(choices)}")
            if rule is not None and value is not None and not rule.holds(value):
                raise SemcomError(
                    f"{flag_of(f.name)} {_shown(value)}: must be {rule.allowed}; "
                    f"for example {flag_of(f.name)} {rule.example}"
                )


def _shown(value: Any) -> str:
    return (
        " ".join(map(_shown, value))
        if isinstance(value, (tuple, list))
        else escape(f"{value:g}" if isinstance(value, float) else value)
    )


def flag_of(name: str) -> str:
    return "--" + name.replace("_", "-")


def differs(settings: Any, name: str) -> bool:
    """Whether the setting is not the default."""
    return getattr(settings, name) != type(settings).__dataclass_fields__[name].default


def add_flags(
    parser: argparse.ArgumentParser,
    config: type,
    *,
    title: str | None = None,
    only: Iterable[str] | None = None,
    several: Iterable[str] = (),
    **defaults: Any,
) -> None:
    """A group of flags made from the settings of ``config``; ``defaults`` replace the dataclass's own.
    several: settings of which more than one value may be given."""
    summary = (config.__doc__ or "").strip().splitlines()[0]
    group = parser.add_argument_group(title or summary.rstrip(".").replace("%", "%%"))
    for f in fields(config):
        if "help" not in f.metadata or (only is not None and f.name not in only):
            continue
        default = defaults.get(f.name, f.default)
        argument = dict(f.metadata["argument"])
        help = f.metadata["help"].replace("%", "%%")
        if argument.get("action") != "store_true":
            if "type" not in argument and isinstance(f.default, (int, float)):
                argument["type"] = type(f.default)
            if default not in (None, ()):
                shown = " ".join(f"{v:g}" for v in default) if isinstance(default, tuple) else default
                help += f" (default {shown})"
            elif default is None and f.metadata["absent"]:
                help += f" (default {f.metadata['absent']})"
        if f.name in several:
            argument["nargs"] = "+"
        group.add_argument(flag_of(f.name), default=default, help=help, **argument)


def from_flags(config: type[Config], flags: argparse.Namespace) -> Config:
    """The settings of ``config`` out of parsed flags; those without a flag keep their default."""
    given = {f.name: getattr(flags, f.name) for f in fields(config) if hasattr(flags, f.name)}
    return config(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    )


def as_record(*configs: Any) -> dict[str, Any]:
    """All settings as plain JSON values, for the record of a run."""
    record: dict[str, Any] = {}
    for config in configs:
        for name, value in dataclasses.asdict(config).items():
            record[name] = list(value) if isinstance(value, tuple) else value
    return record
