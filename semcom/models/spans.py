"""Real tokens of padded sentences, laid end to end.

Letters: B sentences, T tokens of the longest, N real tokens of all.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Spans:
    """Where the N real tokens of B padded sentences are.

    places: [N] in the padded ones, flattened; positions: [N] in their sentences; starts: [B + 1] where each
    sentence begins among the N, and N; shape: (B, T).
    """

    places: Tensor
    positions: Tensor
    starts: Tensor
    shape: torch.Size

    @classmethod
    def of(cls, mask: Tensor) -> "Spans":
        """mask: [B, T], True at real tokens. Raises ValueError unless they stand before the padding."""
        if (mask[:, 1:] > mask[:, :-1]).any():
            raise ValueError("padding stands before a real token")
        places = mask.flatten().nonzero()[:, 0]
        return cls(places, places % mask.shape[1], F.pad(mask.sum(1).cumsum(0), (1, 0)), mask.shape)

    @property
    def mask(self) -> Tensor:
        """[B, T], True at real tokens."""
        padded = torch.zeros(self.shape.numel(), dtype=torch.bool, device=self.places.device)
        return padded.index_fill(0, self.places, True).unflatten(0, self.shape)

    def pack(self, x: Tensor) -> Tensor:
        """[B, T, ...] -> [N, ...]."""
        return x.flatten(0, 1).index_select(0, self.places)

    def unpack(self, rows: Tensor) -> Tensor:
        """[N, ...] -> [B, T, ...], zeros at padding."""
        padded = rows.new_zeros(self.shape.numel(), *rows.shape[1:])
        return padded.index_copy(0, self.places, rows).unflatten(0, self.shape)
