"""AdamW by torch's fused kernel, without what torch's class of that name brings along: it imports torch's
compiler at its first step, which takes about as long as importing torch itself does."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypedDict

import torch
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Of one parameter: running means of its gradient and of the gradient's square, and the number of steps,
    a scalar in float32."""

    mean: Tensor
    square: Tensor
    steps: Tensor


class State(TypedDict):
    """state: "exp_avg", "exp_avg_sq" and "step" by the number of a parameter, as torch's own class names
    them; a parameter that never had a gradient has no entry. parameters: how many there are."""

    state: dict[int, dict[str, Tensor]]
    parameters: int


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101), to the bit what
    ``torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=weight_decay, fused=True)`` does.

    A parameter without a gradient is left alone.
    """

    BETAS = (0.9, 0.98)
    EPS = 1e-8

    def __init__(self, parameters: Iterable[Tensor], weight_decay: float):
        self.parameters = list(parameters)
        self.weight_decay = weight_decay
        self.moments: dict[Tensor, Moments] = {}

    @torch.no_grad()
    def step(self, lr: float, skip: Tensor | None = None) -> None:
        """One step at this learning rate. skip: a float32 scalar beside the parameters; where it is 1, all
        stays as it is, and nobody has to wait for it."""
        moved, gradients, moments = [], [], []
        for p in self.parameters:
            if p.grad is not None:
                moved.append(p)
                gradients.append(p.grad)
                moments.append(self._moments_of(p))
        if not moved:
            return
        steps = [m.steps for m in moments]
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            moved,
            gradients,
            [m.mean for m in moments],
            [m.square for m in moments],
            [],
            steps,
            amsgrad=False,
            lr=lr,
            beta1=self.BETAS[0],
            beta2=self.BETAS[1],
            weight_decay=self.weight_decay,
            eps=self.EPS,
            maximize=False,
            grad_scale=None,
            found_inf=skip,
        )
        torch.autograd.graph.increment_version(moved)  # which the fused kernel leaves as it was
        if skip is not None:
            torch._foreach_sub_(steps, [skip] * len(steps))

    def _moments_of(self, p: Tensor) -> Moments:
        if p not in self.moments:
            self.moments[p] = Moments(
                torch.zeros_like(p, memory_format=torch.preserve_format),
                torch.zeros_like(p, memory_format=torch.preserve_format),
                torch.zeros((), dtype=torch.float32, device=p.device),
            )
        return self.moments[p]

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None

    def state_dict(self) -> State:
        """All that the next step depends on beside parameters and gradients, in plain types and tensors; a
        further step changes these tensors."""
        state = {}
        for number, p in enumerate(self.parameters):
            if p in self.moments:
                m = self.moments[p]
                state[number] = {"step": m.steps, "exp_avg": m.mean, "exp_avg_sq": m.square}
        return {"state": state, "parameters": len(self.parameters)}

    @torch.no_grad()
    def load_state_dict(self, given: State) -> None:
        """Go on from a ``state_dict`` of an optimiser of the same parameters in the same order; its tensors
        are copied.

        Raises ValueError for one of other parameters, and is then as it was.
        """
        if given["parameters"] != len(self.parameters):
            raise ValueError(
                f"a state of {given['parameters']} parameters: this optimiser has {len(self.parameters)}"
            )
        moments = {}
        for number, state in given["state"].items():
            p = self.parameters[number]
            found = {name: tuple(state[name].shape) for name in ("exp_avg", "exp_avg_sq")}
            if set(found.values()) != {tuple(p.shape)}:
                raise ValueError(f"parameter {number}: its state is {found}, it is {tuple(p.shape)} itself")
            moments[p] = Moments(
                torch.empty_like(p).copy_(state["exp_avg"]),
                torch.empty_like(p).copy_(state["exp_avg_sq"]),
                torch.empty((), dtype=torch.float32, device=p.device).copy_(state["step"]),
            )
        self.moments = moments
