"""Sets of small images: their pixels, their classes, who sees which of them, and how they are varied.

Letters: N or B images, C channels (1 of grey images, 3 of coloured ones).
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 32
MARGIN = 4
"""Pixels by which a random crop may be off."""


@dataclass(frozen=True)
class ImageSet:
    """pixels: uint8 [N, C, 32, 32]. classes: int64 [N]."""

    pixels: Tensor
    classes: Tensor

    def __len__(self) -> int:
        return len(self.classes)

    def of(self, rows: Tensor) -> "ImageSet":
        """Those images alone."""
        return ImageSet(self.pixels[rows], self.classes[rows])


@dataclass(frozen=True)
class Images:
    """names: of the classes, safe to print. source: where the images are from, in words."""

    train: ImageSet
    test: ImageSet
    names: tuple[str, ...]
    source: str

    @property
    def may_be_mirrored(self) -> bool:
        """Whether a mirrored image is one of the same class: not where classes are letters or digits."""
        return any(len(name) > 1 for name in self.names)

    @cached_property
    def _scale(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the training pixels, [C, 1, 1] both."""
        by_channel = self.train.pixels.movedim(1, 0).flatten(1)
        counts = torch.stack([torch.bincount(channel, minlength=256) for channel in by_channel]).double()
        levels = torch.arange(256, dtype=torch.float64)
        shares = counts / counts.sum(1, keepdim=True)
        mean = shares @ levels
        variance = (shares * (levels - mean[:, None]) ** 2).sum(1)
        deviation = variance.sqrt().clamp_min(1)
        return mean.float()[:, None, None], deviation.float()[:, None, None]

    def inputs(self, pixels: Tensor) -> Tensor:
        """uint8 [B, C, 32, 32] -> float32, of which the training images have mean 0 and deviation 1 in each
        channel."""
        mean, deviation = (of.to(pixels.device) for of in self._scale)
        return (pixels.float() - mean) / deviation


def split(classes: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Numbers of a ``share`` of the images, drawn by ``seed``, and those of the rest, both ascending.

    Of each class the same share is drawn, to the nearest image; of one that has two images or more, at least
    one is drawn and one left. classes: [N].
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(classes), generator=generator)
    drawn = torch.zeros(len(classes), dtype=torch.bool)
    for number in classes.unique():
        members = order[classes[order] == number]
        wanted = round(share * len(members))
        most, least = len(members) - 1, min(1, len(members) - 1)
        drawn[members[: max(least, min(wanted, most))]] = True
    return drawn.nonzero()[:, 0], (~drawn).nonzero()[:, 0]


def varied(images: Tensor, generator: torch.Generator, *, mirrored: bool) -> Tensor:
    """[B, C, 32, 32] -> the same shape: each image moved by up to 4 pixels each way, 0 where nothing comes
    in, and, where ``mirrored`` allows, by chance every second one mirrored left to right.

    images: of the CPU, as is the generator; pixels or inputs.
    """
    number, _, height, width = images.shape
    down, right = torch.randint(2 * MARGIN + 1, (2, number, 1), generator=generator)
    rows = down + torch.arange(height)
    columns = right + torch.arange(width)
    if mirrored:
        turns = torch.rand(number, 1, generator=generator) < 0.5
        columns = torch.where(turns, columns.flip(1), columns)
    padded = F.pad(images, (MARGIN,) * 4)
    every = torch.arange(number)[:, None, None]
    # Indices on both sides of a slice: their [B, H, W] comes first, channels last.
    return padded[every, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1).contiguous()
