"""AdamW by torch's fused kernel, without what torch's class of that name brings along: it imports torch's
compiler at its first step, which takes about as long as importing torch itself does."""

from collections.abc import Iterable

import torch
from torch import Tensor


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
        self.state: dict[Tensor, tuple[Tensor, Tensor, Tensor]] = {}

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One step at this learning rate."""
        moved = [p for p in self.parameters if p.grad is not None]
        for p in moved:
            if p not in self.state:
                self.state[p] = (
                    torch.zeros_like(p, memory_format=torch.preserve_format),
                    torch.zeros_like(p, memory_format=torch.preserve_format),
                    torch.zeros((), dtype=torch.float32, device=p.device),
                )
        if moved:
            means, squares, steps = map(list, zip(*(self.state[p] for p in moved)))
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                moved,
                [p.grad for p in moved],
                means,
                squares,
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
                found_inf=None,
            )

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None
