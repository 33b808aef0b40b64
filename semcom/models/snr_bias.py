"""What a receiver that is told the SNR adds to its input.

Letters: B sentences, C real channel dimensions a token.
"""

import torch
from torch import Tensor, nn

from semcom.models.protocols import draw_weights

WIDTH = 16
MIDDLE, HALF = 6.0, 12.0
"""In dB: the usual range of training, -6 to 18, becomes -1 to 1."""


class SNRBias(nn.Module):
    """b(SNR) = W2 tanh(W1 s + b1) + b2 with s = (SNR - 6 dB) / 12 dB.

    It begins as none: W2 and b2 start as zeros. Outside the range of training, tanh bounds it.
    """

    def __init__(self, channel_dim: int):
        super().__init__()
        self.inner = nn.Linear(1, WIDTH)
        self.outer = nn.Linear(WIDTH, channel_dim)

    def forward(self, snr_db: Tensor) -> Tensor:
        """[..., 1] SNRs in dB -> [..., C]."""
        scaled = (snr_db - MIDDLE) / HALF
        return self.outer(torch.tanh(self.inner(scaled)))

    def draw(self, generator: torch.Generator) -> None:
        draw_weights(self.inner, generator)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)
