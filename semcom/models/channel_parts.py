"""The parts of the ends that meet the channel, for ends of any kind. Letters: B sentences, S source tokens, D
width of an end's states, C real channel dimensions a token."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semcom.models.layers import LAYER_NORM_EPS, of_rows


def normalize_power(x: Tensor, mask: Tensor) -> Tensor:
    """Scale [B, S, C] to mean power 1 per complex symbol, per sentence, over real tokens only; padded ones
    send zeros."""
    x = x * mask[..., None]
    power = x.square().sum((1, 2), keepdim=True) / (mask.sum(1)[:, None, None] * x.shape[-1] / 2)
    return x * torch.rsqrt(power.clamp_min(1e-12))


class ChannelEncoder(nn.Sequential):
    """[B, S, D] states -> [B, S, C] symbols, not yet of unit power."""

    def __init__(self, width: int, hidden: int, channel_dim: int):
        super().__init__(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, channel_dim))

    def rows(self, x: Tensor) -> Tensor:
        """``forward`` of real tokens alone, by the compiled kernels: [M, D] -> [M, C]."""
        inner, _, outer = self
        return of_rows(outer, of_rows(inner, x, relu=True))


class ChannelDecoder(nn.Module):
    """[B, S, C] received symbols, of transmitted power 1 per complex symbol -> [B, S, D] memory."""

    def __init__(self, channel_dim: int, width: int, hidden: int, amplitude: float):
        super().__init__()
        self.amplitude = amplitude
        self.linear1 = nn.Linear(channel_dim, width)
        self.linear2 = nn.Linear(width, hidden)
        self.linear3 = nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)

    @property
    def beside_weights(self) -> str:
        return "" if self.amplitude == 1 else f"amplitude {self.amplitude!r}"

    def forward(self, received: Tensor) -> Tensor:
        u = self.linear1(received if self.amplitude == 1 else received * self.amplitude)
        u = u + self.linear3(F.relu(self.linear2(F.relu(u))))
        # Two products of rounded factors: their sum is rounded too, LayerNorm is not to be.
        return self.norm(u.to(received.dtype))

    def rows(self, received: Tensor) -> Tensor:
        """``forward`` of real tokens alone, by the compiled kernels: [M, C] -> [M, D]."""
        u = of_rows(self.linear1, received if self.amplitude == 1 else received * self.amplitude)
        hidden = of_rows(self.linear2, F.relu(u), relu=True)
        return self.norm((u + of_rows(self.linear3, hidden)).to(received.dtype))
