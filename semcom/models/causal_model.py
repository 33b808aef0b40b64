"""A causal language model over the pieces of a vocabulary: a receiver's decoder that hears nothing.

Letters: B sentences, T tokens, N real ones of all sentences, V pieces, D model width.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from semcom.models.architecture import Architecture, sized, sizes_of
from semcom.models.kinds import USUAL
from semcom.models.layers import Embedding, EncoderLayer, stack
from semcom.models.protocols import draw_weights
from semcom.models.spans import Spans
from semcom.models.transformer import TransformerSize

MOST = {"layers": 64, "d_model": 8192, "num_heads": 256, "dff": 8192}
"""The largest sizes: sums over more would not be exact in ``exact_causal_model``."""


class CausalModel(nn.Module):
    """Layers of self-attention and feed-forward as a transformer receiver's, without attention to a memory:
    fewer parameters than that receiver."""

    def __init__(self, vocab_size: int, size: TransformerSize, dropout: float = 0.1):
        super().__init__()
        self.size = size
        self.embedding = Embedding(vocab_size, size.d_model, dropout)
        self.layers = stack(
            EncoderLayer(size.d_model, size.num_heads, size.dff, dropout) for _ in range(size.layers)
        )
        self.projection = nn.Linear(size.d_model, vocab_size)

    def forward(self, target_in: Tensor) -> Tensor:
        """[B, T] ids, padded at their end -> states [B, T, D]; that at t knows the tokens up to t alone."""
        x = self.embedding(target_in)
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        for layer in self.layers:
            x = layer.after_attention(x, layer.attention(x, layer.attention.keys_values(x), causal))
            x = layer.after_feed_forward(x, layer.feed_forward(x))
        return x

    def rows(self, target_in: Tensor, said: Spans) -> Tensor:
        """``forward`` over real tokens alone, by the compiled kernels: [B, T] ids -> [N, D]."""
        x = self.embedding.at(said.pack(target_in), said.positions)
        for layer in self.layers:
            x = layer.after_attention.rows(x, layer.attention.rows(x, said, causal=True))
            x = layer.after_feed_forward.rows(x, layer.feed_forward.rows(x))
        return x


def size_like(architecture: Architecture) -> TransformerSize:
    """That of the receiver: its layers, D, heads and feed-forward width, as far as its kind has them."""
    size = sized("receiver", USUAL, sizes_of(architecture.receiver))
    assert isinstance(size, TransformerSize)
    return size


def built(vocab_size: int, size: TransformerSize, seed: int) -> CausalModel:
    """One with fresh weights."""
    model = CausalModel(vocab_size, size)
    draw_weights(model, torch.Generator().manual_seed(seed))
    return model


def fits(size: Mapping[str, Any]) -> bool:
    """Whether it is a size that a file may claim."""
    known = size.keys() == MOST.keys()
    bounded = known and all(
        type(size[name]) is int and 1 <= size[name] <= most for name, most in MOST.items()
    )
    return bounded and size["d_model"] % size["num_heads"] == 0
