"""What is random of a channel, drawn sentence by sentence. Nothing else is random.

Letters: B sentences, S source tokens, C real channel dimensions a token.
"""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from semcom.base.device import copied


class Drawing(Protocol):
    """What draws something of its own for each sentence: a ``channels.Channel``."""

    def draw(self, generator: torch.Generator, length: int, width: int) -> Mapping[str, Tensor]: ...


@dataclass(frozen=True)
class Draw:
    """What B sentences meet, in units that no SNR changes. The first three no channel changes either.

    level: [B], uniform in [0, 1), the place of a sentence's SNR in the training range.
    scatter: [B, 2], real and imaginary part of CN(0, 1).
    noise: [B, S, C], unit variance per real dimension, zero at padded positions.
    own: name -> [B, S, ...], what the channel drew for itself, zero at padded positions.
    """

    level: Tensor
    scatter: Tensor
    noise: Tensor
    own: Mapping[str, Tensor] = field(default_factory=dict)

    def snr_between(self, low: float, high: float) -> Tensor:
        """[B] SNRs in dB, uniform in dB between ``low`` and ``high``."""
        return low + (high - low) * self.level

    def to(self, device: torch.device | str) -> "Draw":
        own = {name: copied(tensor, device) for name, tensor in self.own.items()}
        level, scatter, noise = (copied(x, device) for x in (self.level, self.scatter, self.noise))
        return Draw(level, scatter, noise, own)


def _seed_of(seed: int, sentence_id: int, number: int) -> int:
    digest = hashlib.blake2b(struct.pack("<qQq", seed, sentence_id, number), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


# Seven arguments: whose draw (ids, lengths, C), which one (seed, number), by what and how far padded.
def sample(
    sentence_ids: Sequence[int],
    lengths: Sequence[int],
    width: int,
    *,
    seed: int,
    number: int,
    channel: Drawing | None = None,
    size: int = 0,
) -> Draw:
    """The draw of each sentence, from a CPU generator seeded by (seed, sentence id, draw number).

    sentence_ids: B ids below 2^64. lengths: B token counts. width: C. channel: what draws for itself after
    what all channels share. size: S, where it is above the longest sentence. The batch a sentence is in, its
    place there and the padding beside it change nothing.
    """
    generator = torch.Generator()
    size = max(size, *lengths)
    level = torch.empty(len(lengths))
    scatter = torch.empty(len(lengths), 2)
    noise = torch.zeros(len(lengths), size, width)
    own: dict[str, Tensor] = {}
    for row, (sentence_id, length) in enumerate(zip(sentence_ids, lengths)):
        generator.manual_seed(_seed_of(seed, sentence_id, number))
        level[row].uniform_(generator=generator)
        scatter[row].normal_(std=0.5**0.5, generator=generator)
        noise[row, :length].normal_(generator=generator)
        for name, drawn in (channel.draw(generator, length, width) if channel else {}).items():
            if name not in own:
                own[name] = drawn.new_zeros(len(lengths), size, *drawn.shape[1:])
            own[name][row, :length] = drawn
    return Draw(level, scatter, noise, own)
