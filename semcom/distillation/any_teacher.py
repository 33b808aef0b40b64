"""A teacher of any kind, which cannot learn while a student learns from it, and afterwards is as it was."""

import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from semcom.base.device import copied
from semcom.distillation.any_model import Evaluating, Model, outputs, owner_of
from semcom.distillation.teachers import Teachers

MOST_VALUES = 1000
"""Of what a function refers to, that are looked at for modules."""


class Teacher:
    """module: the one that is called, or whose method is; it goes to ``device``, gets no gradient and is in
    eval mode while a student is trained. used: modules that a function was seen to use, in eval mode while it
    is asked; where they are stays its owner's choice.
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
        self.used = [module for each in functions for module in modules_of(each)]
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


def modules_of(model: Callable[..., Any]) -> list[nn.Module]:
    """Modules that a function uses, as far as it can be seen: in its closure, its defaults, the globals that
    it names, the arguments of a ``partial``, the object whose method it is, and in lists and dictionaries
    there."""
    found: list[nn.Module] = []
    seen: set[int] = set()
    waiting: list[Any] = [model]
    if not isinstance(model, (types.FunctionType, types.MethodType, partial)):
        waiting += _attributes(model)
    while waiting and len(seen) < MOST_VALUES:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, nn.Module):
            found.append(value)
        else:
            waiting += _referred_to(value)
    return found


def _referred_to(value: Any) -> list[Any]:
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__, *_attributes(value.__self__)]
    if isinstance(value, types.FunctionType):
        return _of_function(value)
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else []


def _of_function(function: types.FunctionType) -> list[Any]:
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    own = function.__globals__
    globals_named = [own[name] for name in _names(function.__code__) if name in own]
    held = [attribute for cell in cells for attribute in _attributes(cell)]
    return [*cells, *held, *defaults, *globals_named]


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


def _attributes(value: Any) -> list[Any]:
    """Of an object that is no module and no class."""
    if isinstance(value, (nn.Module, type, types.ModuleType, types.FunctionType)):
        return []
    return list(getattr(value, "__dict__", {}).values())
