"""A teacher of any kind, which cannot learn while a student learns from it, and afterwards is as it was."""

import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from semcom.base.device import copied
from semcom.distillation.any_model import Evaluating, Model, outputs, owner_of
from semcom.distillation.teachers import Teachers

MOST_VALUES = 1000
"""Of what a function refers to, that are looked at for modules."""
MOST_OF_ONE = 100
"""The same of one value, such as a list of data."""
PLAIN = (str, bytes, int, float, complex, type(None), types.ModuleType, types.BuiltinFunctionType)
"""Kinds of values that hold no module; of Python's modules there would be too much to look at."""


class Teacher:
    """module: the one that is called, or whose method is; it goes to ``device``, gets no gradient and is in
    eval mode while a student is trained. used: modules that a function was seen to use, in eval mode while it
    is asked; where they are stays its owner's choice. is_unseen: whether a function was seen to use none, and
    no table of logits either.
    """

    def __init__(self, model: Model, device: torch.device):
        self.model, self.device = model, device
        self.module = owner_of(model)
        # Of several teachers as one module, some may be functions.
        functions = [
            each
            for each in (model.members if isinstance(model, Teachers) else [model])
            if owner_of(each) is None
        ]
        seen = [used_by(each) for each in functions]
        self.used = [value for values in seen for value in values if isinstance(value, nn.Module)]
        self.is_unseen = not all(seen)
        if self.module is not None and any(p.device != device for p in _held(self.module)):
            self.module.to(device)

    @property
    def numbers(self) -> int:
        """In its parameters, as far as they are known."""
        modules = [*([] if self.module is None else [self.module]), *self.used]
        return numbers_in(p for module in modules for p in module.parameters())

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Meanwhile it is; then it is as before."""
        if self.module is None:
            yield
            return
        learns = {p: p.requires_grad for p in self.module.parameters()}
        with Evaluating(self.module):
            self.module.requires_grad_(False)
            try:
                yield
            finally:
                for p, did in learns.items():
                    p.requires_grad_(did)

    def __call__(self, inputs: Any) -> tuple[Tensor, Tensor | None]:
        """Its logits and grid, as a loss takes them: on the device, and where a gradient may be."""
        logits, grid = self._asked(inputs)
        return self._usable(logits), grid if grid is None else self._usable(grid)

    def _usable(self, tensor: Tensor) -> Tensor:
        there = tensor.detach() if tensor.device == self.device else copied(tensor.detach(), self.device)
        return there.clone() if there.is_inference() else there

    @torch.no_grad()
    def _asked(self, inputs: Any) -> tuple[Tensor, Tensor | None]:
        if self.module is not None:
            # Its owner may have put it into training mode, or a student that shares a part of it.
            self.module.eval()
        with ExitStack() as stack:
            for module in self.used:
                stack.enter_context(Evaluating(module))
            return outputs(self.model, inputs)


def _held(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def numbers_in(parameters: Iterable[nn.Parameter]) -> int:
    """How many, each parameter once."""
    return sum(p.numel() for p in {id(p): p for p in parameters}.values())


def used_by(model: Callable[..., Any]) -> list[nn.Module | Tensor | np.ndarray]:
    """Modules, tensors and arrays that a function uses, as far as it can be seen, the nearest first: in its
    closure, its defaults, the globals that it names, what it wraps, the arguments of a ``partial``, the
    object whose method it is; and in the attributes of objects and classes, in lists and dictionaries
    there."""
    found: list[nn.Module | Tensor | np.ndarray] = []
    # Kept, so that no other value gets the id of one.
    seen: dict[int, Any] = {}
    waiting: deque[Any] = deque([model])
    while waiting and len(seen) < MOST_VALUES:
        value = waiting.popleft()
        if id(value) in seen or isinstance(value, PLAIN):
            continue
        seen[id(value)] = value
        if isinstance(value, (nn.Module, Tensor, np.ndarray)):
            found.append(value)
        else:
            waiting.extend(islice(_referred_to(value), MOST_OF_ONE))
    return found


def _referred_to(value: Any) -> Iterator[Any]:
    if isinstance(value, partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, types.MethodType):
        yield from (value.__self__, value.__func__)
    elif isinstance(value, types.FunctionType):
        yield from _of_function(value)
    elif isinstance(value, dict):
        yield from dict.values(value)
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from value
    if isinstance(value, type):
        yield from _of_class(value)
    else:
        yield from _attributes(value)


def _of_function(function: types.FunctionType) -> Iterator[Any]:
    yield from (cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell))
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    own = function.__globals__
    yield from (own[name] for name in _names(function.__code__) if name in own)


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _names(code: types.CodeType) -> Iterator[str]:
    """Global names of a function, and of those defined in it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _attributes(value: Any) -> Iterator[Any]:
    """Of an object: its own, without asking it, which could run any code; then those of its class."""
    kind = type(value)
    if "__dict__" in dir(kind):
        yield from list(vars(value).values())
    for each in filter(_is_written, kind.__mro__):
        held = (member for member in vars(each).values() if isinstance(member, types.MemberDescriptorType))
        yield from (member.__get__(value) for member in held if _has(member, value))
    if _is_written(kind):
        yield kind


def _has(slot: types.MemberDescriptorType, value: Any) -> bool:
    try:
        slot.__get__(value)
    except AttributeError:
        return False
    return True


def _of_class(kind: type) -> Iterator[Any]:
    if not _is_written(kind):
        return
    for value in vars(kind).values():
        yield value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
    yield from kind.__bases__


def _is_written(kind: type) -> bool:
    """In Python, and by others than torch."""
    # Of kinds written in C it is missing, or describes that of their objects.
    module = vars(kind).get("__module__")
    return isinstance(module, str) and module.partition(".")[0] != "torch"
