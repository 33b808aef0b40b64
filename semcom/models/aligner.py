"""The map from what arrives of one transmitter to what the receiver of another was trained to read.

Letters: C_a real channel dimensions a token of what arrives, C_b of what the receiver behind the map reads.
"""

import torch
from torch import Tensor, nn

from semcom.models.architecture import AlignerSize
from semcom.models.layers import widened
from semcom.models.protocols import draw_weights


class Aligner(nn.Module):
    """[..., C_a] equalised symbols -> [..., C_b], token by token: W x + b, and where it has a bent part
    + V ReLU(U x + c).

    straight: W [C_b, C_a], and b where the size has a bias; bent: U, c, V, or None.
    """

    def __init__(self, channel_dim: int, size: AlignerSize):
        """channel_dim: C_a."""
        super().__init__()
        self.size = size
        self.straight = nn.Linear(channel_dim, size.channel_dim, bias=size.bias)
        self.bent = _bent(channel_dim, size) if size.hidden else None

    @property
    def inputs(self) -> int:
        """C_a."""
        return self.straight.in_features

    def forward(self, received: Tensor) -> Tensor:
        made = widened(self.straight(received))
        return made if self.bent is None else made + widened(self.bent(received))

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        """Fresh weights, which pass on what arrives, as far as C_a and C_b are one."""
        nn.init.eye_(self.straight.weight)
        if self.straight.bias is not None:
            self.straight.bias.zero_()
        if self.bent is not None:
            draw_weights(self.bent, generator)
            nn.init.zeros_(self.bent.get_parameter("2.weight"))


def _bent(channel_dim: int, size: AlignerSize) -> nn.Sequential:
    inner = nn.Linear(channel_dim, size.hidden)
    outer = nn.Linear(size.hidden, size.channel_dim, bias=False)
    return nn.Sequential(inner, nn.ReLU(), outer)
