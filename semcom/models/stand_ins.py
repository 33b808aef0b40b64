"""What stands in for the classes that a trainer's file names beside its tensors: an argparse.Namespace, a
path, a numpy number, a configuration. Nothing of theirs is imported, and nothing of the file runs."""

import _compat_pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from semcom.models.torch_files import PARAMETERS, TENSORS

READ = {
    *TENSORS,
    *PARAMETERS,
    "torch._utils _rebuild_parameter_with_state",
    "torch.nn.parameter Parameter",
    "torch device",
    "torch Size",
    "collections Counter",
    "_codecs encode",
    "__builtin__ set",
    "builtins set",
    "__builtin__ complex",
    "builtins complex",
}
"""What torch itself makes of a file, and no more memory with it than the file has bytes."""
_MARKS = re.compile(r"torch (?:\w+Storage|b?float\w*|u?int\d+|bool|complex\d+)")
"""Kinds of storages and of numbers, which say something and do nothing."""
_SPECIAL = re.compile(r"torch(?:\.(?:_utils|_tensor|storage|serialization|sparse|cuda)(?:\.\w+)*)? ")
"""Where torch keeps what makes other tensors: sparse, quantised, of any size."""
_RUNS = set(
    """asyncio bdb builtins __builtin__ cProfile code codeop commands ctypes importlib inspect io _io marshal
    multiprocessing nt operator _operator os pdb pickle _pickle posix profile pty runpy shutil signal socket
    subprocess sys tempfile threading timeit types urllib urllib2 webbrowser""".split()
)
"""Modules that no trainer's file names, and an attack does."""
_HARMLESS = {
    *(
        f"{module} {name}"
        for module in ("builtins", "__builtin__")
        for name in ("object", "frozenset", "slice", "list", "dict", "tuple", "range")
    ),
    "types SimpleNamespace",
    "types MappingProxyType",
}
_LIKE_DICTIONARIES = ("dict", "munch", "bunch", "box")
"""Ends of the names of classes into which a pickle puts entries one by one: torch does so with dictionaries
alone."""


class StandIn:
    """An object of a class that is not loaded; ``named`` says which: ``argparse.Namespace``."""

    named = ""

    def __new__(cls, *_args: object, **_options: object) -> "StandIn":
        return object.__new__(cls)

    def __init__(self, *_args: object, **_options: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass


def not_read(named: Iterable[str]) -> str:
    """Of what a pickle imports ("module name"), the first that is no matter of a trainer's; or nothing."""
    foreign = [name for name in named if name not in READ and not _MARKS.fullmatch(name)]
    refused = [name for name in foreign if _runs(name) or _SPECIAL.match(name)]
    return min(refused, key=lambda name: (name.startswith(("__builtin__", "builtins")), name), default="")


def _runs(name: str) -> bool:
    module, _, inner = name.partition(" ")
    unknown = not module or not inner or module.isupper()  # a way of importing without a name
    return unknown or (module.split(".")[0] in _RUNS and name not in _HARMLESS)


def stand_ins(named: Iterable[str]) -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """What ``torch.serialization.safe_globals`` is to be given, so that torch reads a file that imports
    these."""
    made: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = []
    for name in named:
        if name not in READ and not _MARKS.fullmatch(name):
            module, _, inner = name.partition(" ")
            made += [(_stand_in(f"{module}.{inner}"), path) for path in _paths(module, inner)]
    return made


def _paths(module: str, inner: str) -> set[str]:
    """Under which torch may look for it: Python 2 had other names."""
    today = _compat_pickle.NAME_MAPPING.get((module, inner))
    renamed = today or (_compat_pickle.IMPORT_MAPPING.get(module, module), inner)
    return {f"{module}.{inner}", ".".join(renamed)}


def _stand_in(named: str) -> type:
    if named.lower().endswith(_LIKE_DICTIONARIES):
        return type("Entries", (), {"__new__": lambda *_args, **_options: OrderedDict()})
    if named.lower().endswith("deque"):
        return type("Items", (), {"__new__": lambda *_args, **_options: []})
    return type("StandIn", (StandIn,), {"named": named})
