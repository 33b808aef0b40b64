"""What a training says of itself: an entry for each epoch, and how it ended."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """What is logged of an epoch, over all processes. Losses are means over rows; held_out: what the task
    measured; lr is the last step's; seconds are training time alone; padding is its share of the target
    positions."""

    epoch: int
    steps: int
    loss: float
    parts: dict[str, float]
    held_out: dict[str, float]
    lr: float
    target_tokens: int
    seconds: float
    padding: float

    @property
    def validation(self) -> float:
        """Cross-entropy of the held-out data."""
        return self.held_out["ce"]

    @property
    def tokens_per_second(self) -> float:
        return self.target_tokens / max(self.seconds, 1e-9)

    def row(self) -> dict[str, float]:
        return {
            "epoch": self.epoch,
            "steps": self.steps,
            "loss": self.loss,
            "validation": self.validation,
            "lr": self.lr,
            "target_tokens": self.target_tokens,
            "seconds": self.seconds,
            "padding": self.padding,
            **{f"train_{name}": value for name, value in self.parts.items()},
            "tokens_per_second": self.tokens_per_second,
        }

    def lines(self, is_best: bool) -> str:
        """For a console of 80 columns, with the parts of the loss; the best epoch until now has a star."""
        words = [f"epoch {self.epoch:2d}", f"loss {self.loss:.4f}"]
        # Of one part, the loss is that part.
        words += [f"{name} {value:.4f}" for name, value in self.parts.items() if value != self.loss]
        held_out = {"validation" if name == "ce" else name: value for name, value in self.held_out.items()}
        words += [f"{name} {value:.4f}" for name, value in held_out.items()]
        words[-1] += " *" * is_best
        if self.target_tokens:
            words.append(f"{self.tokens_per_second:,.0f} tok/s")
        return _wrapped(words)


def _wrapped(words: list[str]) -> str:
    """In lines of 79 columns, those after the first indented as far as its second word."""
    lines, indent = [words[0]], " " * len(words[0])
    for word in words[1:]:
        if len(lines[-1]) + len(word) + 2 > 79:
            lines.append(indent)
        lines[-1] += "  " + word
    return "\n".join(lines)


@dataclass
class Result:
    """history: an ``Epoch`` each. best_loss: lowest validation cross-entropy, at ``best_epoch``. steps: those
    begun, of ``total``.

    stopped: where the user interrupted it, by ``signal``. failed: where a loss was not finite. All empty for
    a whole run.
    """

    history: list[Epoch]
    best_loss: float = math.inf
    best_epoch: int = 0
    steps: int = 0
    total: int = 0
    stopped: str = ""
    signal: int = 0
    failed: str = ""

    def log(self, epoch: Epoch) -> bool:
        """Whether it is the best until now."""
        is_best = epoch.held_out.get("ce", math.inf) < self.best_loss
        if is_best:
            self.best_loss, self.best_epoch = epoch.validation, epoch.epoch
        self.history.append(epoch)
        return is_best

    @property
    def padding(self) -> float:
        """Its share of the target positions of all epochs."""
        tokens = sum(e.target_tokens for e in self.history)
        return 1 - tokens / sum(e.target_tokens / (1 - e.padding) for e in self.history) if tokens else 0.0
