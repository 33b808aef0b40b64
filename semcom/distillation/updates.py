"""How a training loop moves weights: by a learning rate and an optimiser."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from semcom.distillation.optimizer import AdamW
from semcom.distillation.training_settings import TrainingConfig

Rate = float | Tensor
"""A learning rate; a tensor where an optimiser keeps it on a device."""


class Updates(Protocol):
    def rate(self, step: int, total: int) -> Rate:
        """The learning rate of a step, which is the next one. Steps count from 1."""

    def step(self, rate: Rate, skip: Tensor | None = None) -> None:
        """Move the weights by their gradients. skip: a float32 scalar on their device, which nobody waits
        for; where it is 1 they are to stay, once ``undo`` has been called."""

    def undo(self) -> None:
        """The last step had to be skipped."""

    def zero_grad(self) -> None: ...

    def end_epoch(self, held_out: Mapping[str, float]) -> None:
        """held_out: what was measured."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, given: Any) -> None: ...


def learning_rate(step: int, total: int, peak: float, warmup: int) -> float:
    """Linear warm-up over ``warmup`` steps, then linear decay to zero at ``total``. Steps count from 1."""
    warmup = max(1, min(warmup, total // 5))
    return peak * min(step / warmup, (total - step + 1) / max(1, total - warmup + 1))


class OwnUpdates:
    """AdamW at ``learning_rate``, of gradients clipped together."""

    def __init__(self, trained: list[nn.Parameter], config: TrainingConfig):
        self.trained, self.config = trained, config
        self.optimizer = AdamW(trained, config.weight_decay)

    def rate(self, step: int, total: int) -> float:
        # Passes may be longer than the one that was counted.
        return learning_rate(min(step, total), total, self.config.lr, self.config.warmup_steps)

    def step(self, rate: Rate, skip: Tensor | None = None) -> None:
        """A step that is skipped is none: nothing is to be undone."""
        assert not isinstance(rate, Tensor)
        nn.utils.clip_grad_norm_(self.trained, self.config.clip)
        self.optimizer.step(rate, skip)
        self.zero_grad()

    def undo(self) -> None:
        pass

    def zero_grad(self) -> None:
        self.optimizer.zero_grad()

    def end_epoch(self, held_out: Mapping[str, float]) -> None:
        pass

    def state_dict(self) -> Any:
        return self.optimizer.state_dict()

    def load_state_dict(self, given: Any) -> None:
        self.optimizer.load_state_dict(given)
