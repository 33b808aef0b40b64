"""State dicts: files of named tensors. Bare ones, as the program itself keeps them, and those of trainers and
compilers, in which the weights lie among other things, under names with prefixes."""

import io
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from semcom.base.errors import SemcomError, escape, shown
from semcom.base.output_files import write_atomically
from semcom.models import other_formats, torch_files
from semcom.models.archive import is_zip
from semcom.models.stand_ins import StandIn, not_read, stand_ins
from semcom.models.tensors import check_finite, claimed, held, own_memory

WHAT = "a state dict"
CURE = "save it with: torch.save(model.state_dict(), FILE)"
WRAPPERS = {"_orig_mod", "module", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""What torch.compile, DataParallel, Lightning's Fabric, FSDP and activation checkpointing put into names, at
any place of them."""
BESIDE_A_MODEL = ("criterion", "loss", "metric", "n_averaged")
"""How names begin that a trainer keeps among the weights of a model."""
SECOND_CHOICE = ("ema", "swa", "avg", "average", "shadow", "teacher", "optim")
"""In the names of weights that are taken only where there are no others."""
MOST_ENTRIES = 200_000
DEEPEST = 64
MOST_TOLD = 12
"""Things that were left out of a file."""
MOST_SHARED = 8
"""Times the bytes of a file that its tensors may claim: weights may be tied, and kept under several names."""

Names = tuple[str, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """Weights of a model in a file. place: under which entries and prefix they lie, empty where there are
    none. left_out: what else is there, a few words each."""

    weights: dict[str, Tensor]
    place: str
    left_out: list[str]

    def told(self) -> list[str]:
        """Lines about where the weights were among other things, and what was not taken."""
        where = [f"its weights lie in {shown(self.place)}"] if self.place else []
        more = len(self.left_out) - MOST_TOLD
        rest = f" and {more} more" if more > 0 else ""
        named = ", ".join(self.left_out[:MOST_TOLD])
        return where + ([f"left out: {named}{rest}"] if self.left_out else [])


def save(state: dict[str, Tensor], path: str | Path) -> None:
    """Write named tensors as ``torch.save(model.state_dict(), path)`` does, atomically."""
    buffer = io.BytesIO()
    torch.save(own_memory(state), buffer)
    write_atomically(path, buffer.getvalue())


def load(path: str | Path, flag: str = "checkpoint") -> dict[str, Tensor]:
    """The tensors of a file that ``save`` wrote, or ``torch.save`` in either of its forms, onto the CPU.

    Raises SemcomError that names ``flag`` and the file for anything else, and for weights that are no finite
    numbers; no code in it runs.
    """
    return _read(Path(path), flag, _bare)


def find(path: str | Path, flag: str, usual: Collection[str]) -> Found:
    """The weights of a model wherever they are in the file of a trainer. usual: names of tensors by which the
    model is known. Raises SemcomError as ``load`` does."""
    return _read(Path(path), flag, lambda content, where, stored: _found(content, where, stored, usual))


def unwrapped(name: str) -> str:
    """The name of a weight without what compilers and trainers put into it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def plain(weights: Mapping[str, Tensor], usual: Collection[str], where: str) -> Found:
    """Weights by their names without a prefix, of those that are known by their ``usual`` names."""
    tensors = _unwrapped({tuple(name.split(".")): tensor for name, tensor in weights.items()}, where)
    place = _place(tensors, usual)
    return Found(_at(tensors, place), ".".join(place), _left_out(tensors, place))


# --- a file -> what torch makes of it


def _read(path: Path, flag: str, choose: Callable[[Any, str, int], T]) -> T:
    where = f"{flag} {escape(path)}"
    other_formats.check(path, where)
    with torch_files.told(where, WHAT, CURE):
        if other_formats.is_safetensors(path):
            return choose(other_formats.read_safetensors(path, where), where, path.stat().st_size)
        if is_zip(path):
            pickled, stored = torch_files.archived(path, where, WHAT, CURE)
            named = torch_files.imports(pickled)
        else:
            named, stored = torch_files.imports_of_legacy_file(path), path.stat().st_size
        if any(name.startswith("STACK_GLOBAL") for name in named) and not not_read(_of_protocol_4(named)):
            raise SemcomError(
                f"{where}: saved with a pickle_protocol that torch reads only with code; {CURE}"
            )
        if foreign := not_read(named):
            raise SemcomError(
                f"{where}: holds more than tensors: it names code ({escape(foreign)[:100]}), "
                f"which is never run; {CURE}"
            )
        if not torch_files.is_by_torch(path):
            raise SemcomError(f"{where}: not {WHAT} that torch wrote; {CURE}")
        with torch.serialization.safe_globals(stand_ins(named)):
            content = torch.load(path, map_location="cpu", weights_only=True)
        return choose(content, where, stored)


def _of_protocol_4(named: set[str]) -> set[str]:
    """As protocol 2 names it."""
    return {name.removeprefix("STACK_GLOBAL ") for name in named}


def _check_memory(tensors: Collection[Tensor], where: str, stored: int) -> None:
    """Before any of them is looked at. Weights may be tied or kept twice, but a stride of 0, or a tensor
    under thousands of names, could claim any size."""
    if sum(map(claimed, tensors)) > MOST_SHARED * stored or any(held(t) > stored for t in tensors):
        raise SemcomError(f"{where}: its tensors claim more memory than the file holds; not {WHAT}; {CURE}")


def _check_numbers(weights: Mapping[str, Tensor], where: str) -> None:
    check_finite(weights, where, "train it again, with a smaller learning rate")


def _bare(content: object, where: str, stored: int) -> dict[str, Tensor]:
    is_bare = isinstance(content, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    )
    if not is_bare:
        raise SemcomError(f"{where}: not {WHAT} (tensors by name); {CURE}")
    tensors: dict[str, Tensor] = dict(content)  # type: ignore[call-overload]  # as was just found out
    _check_memory(tensors.values(), where, stored)
    _check_numbers(tensors, where)
    return tensors


# --- where the weights are


def _found(content: object, where: str, stored: int, usual: Collection[str]) -> Found:
    entries = dict(_entries(content, where))
    tensors = {names: value for names, value in entries.items() if isinstance(value, Tensor)}
    if not tensors:
        raise SemcomError(f"{where}: {_no_tensors(content, entries)}; {CURE}")
    _check_memory(tensors.values(), where, stored)
    named = _unwrapped(tensors, where)
    place = _place(named, usual)
    weights = _at(named, place)
    aside = [name for name in weights if name.lower().startswith(BESIDE_A_MODEL)]
    kept = {name: tensor for name, tensor in weights.items() if name not in aside}
    left_out = _left_out(entries, place) + [f"{shown(name)} among the weights" for name in aside]
    _check_numbers(kept, where)
    return Found(kept, ".".join(place), left_out)


def _at(tensors: Mapping[Names, Tensor], place: Names) -> dict[str, Tensor]:
    start = len(place)
    return {".".join(names[start:]): tensor for names, tensor in tensors.items() if names[:start] == place}


def _entries(content: object, where: str) -> Iterator[tuple[Names, object]]:
    """All that is no dictionary and no list, with the way there; each dictionary and list once."""
    waiting: list[tuple[Names, object]] = [((), content)]
    seen: set[int] = set()
    number = 0
    while waiting:
        names, value = waiting.pop()
        number += len(value) if isinstance(value, (dict, list, tuple)) else 0
        if number > MOST_ENTRIES or len(names) > DEEPEST:
            raise SemcomError(
                f"{where}: has more entries or deeper ones than a model has; not {WHAT}; {CURE}"
            )
        if not isinstance(value, (dict, list, tuple)):
            yield names, value
        elif id(value) not in seen:
            seen.add(id(value))
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [((*names, *_parts(name)), each) for name, each in inner][::-1]


def _parts(name: object) -> Names:
    return tuple(name.split(".")) if isinstance(name, str) else (str(name)[:40],)


def _no_tensors(content: object, entries: Mapping[Names, object]) -> str:
    """What is there instead."""
    objects = [(names, value) for names, value in entries.items() if isinstance(value, StandIn)]
    if isinstance(content, StandIn):
        return f"holds more than tensors: it names code ({escape(content.named)[:100]}), which is never run"
    if objects:
        names, first = objects[0]
        return (
            f"not {WHAT}: its entry {shown('.'.join(names))} is an object of {escape(first.named)[:100]}, "
            "whose code is never run"
        )
    return f"not {WHAT} (tensors by name)"


def _unwrapped(tensors: Mapping[Names, Tensor], where: str) -> dict[Names, Tensor]:
    """Under their names without wrappers. Raises SemcomError for two that would then be one."""
    found: dict[Names, Tensor] = {}
    for names, tensor in tensors.items():
        plain = tuple(part for part in names if part not in WRAPPERS)
        if plain in found and not _same(found[plain], tensor):
            raise SemcomError(
                f"{where}: holds the weights {shown('.'.join(plain))} twice, once as "
                f"{shown('.'.join(names))}, and they differ; {CURE}"
            )
        found[plain] = tensor
    return found


def _same(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and first.dtype == second.dtype and torch.equal(first, second)


def _place(tensors: Collection[Names], usual: Collection[str]) -> Names:
    """Under which most of the ``usual`` names are; of several the first that is no average of others. Where
    there are none, that of most tensors."""
    endings = {tuple(name.split(".")) for name in usual}
    lengths = {len(ending) for ending in endings}
    known = Counter(
        names[: len(names) - length] for names in tensors for length in lengths if names[-length:] in endings
    )
    if known:
        return max(known, key=lambda place: (known[place], not _is_second_choice(place)))
    return Counter(names[:1] if len(names) > 2 else () for names in tensors).most_common(1)[0][0]


def _is_second_choice(place: Names) -> bool:
    return any(word in part.lower() for part in place for word in SECOND_CHOICE)


def _left_out(entries: Mapping[Names, object], place: Names) -> list[str]:
    """What does not lie at ``place``, by the first entry that leads elsewhere."""
    apart: dict[str, list[object]] = {}
    for names, value in entries.items():
        plain = tuple(part for part in names if part not in WRAPPERS)
        if plain[: len(place)] == place and isinstance(value, Tensor):
            continue
        shared = next(
            (k for k, (a, b) in enumerate(zip(plain, place)) if a != b), min(len(plain), len(place))
        )
        apart.setdefault(".".join(plain[: shared + 1]), []).append(value)
    return [f"{shown(name)}{_kind(values)}" for name, values in apart.items()]


def _kind(values: list[object]) -> str:
    """Of what an entry holds, in brackets, where it is not plain values."""
    number = sum(isinstance(value, Tensor) for value in values)
    objects = [value.named for value in values if isinstance(value, StandIn)]
    if number:
        return f" ({number} tensor{'s' * (number > 1)})"
    return f" ({escape(objects[0])[:60]})" if objects else ""
