"""Few labels and many images without: the batches that students meet, and a teacher's outputs, computed once.

Letters: B images, V classes, H x W places.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from semcom.distillation.kd_loss import UNLABELLED

Outputs = tuple[Tensor, Tensor]
"""Logits [B, V] and those at each place [B, H, W, V], whose mean they are."""
Network = Callable[[Tensor], Outputs]
AT_ONCE = 1024


class Batches:
    """``steps`` batches (rows of views, targets): random views of images with their classes, and of others
    without. View v of image i is row ``views`` * i + v.

    Every image comes up once before any comes up again. Each iteration gives the same batches, which follow
    from ``seed`` alone.
    """

    # Many arguments: what is drawn from, how much of it, and by which seed.
    def __init__(
        self,
        classes: Tensor,
        pools: tuple[Tensor, Tensor],
        sizes: tuple[int, int],
        steps: int,
        seed: int,
        views: int = 1,
    ):
        """pools: numbers of the images with and without a label. sizes: how many of each are in a batch."""
        self.classes, self.pools, self.sizes = classes, pools, sizes
        self.steps, self.seed, self.views = steps, seed, views

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.seed)
        drawn = [_endless(pool, size, generator) for pool, size in zip(self.pools, self.sizes)]
        for _ in range(self.steps):
            known, unknown = next(drawn[0]), next(drawn[1])
            images = torch.cat((known, unknown))
            targets = torch.cat((self.classes[known], torch.full_like(unknown, UNLABELLED)))
            view = torch.randint(self.views, images.shape, generator=generator)
            yield images * self.views + view, targets


def _endless(pool: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    queue = pool[:0]
    while True:
        while len(queue) < size:
            queue = torch.cat((queue, pool[torch.randperm(len(pool), generator=generator)]))
        yield queue[:size]
        queue = queue[size:]


def outputs_of(network: Network, inputs: Tensor, at_once: int = AT_ONCE) -> Outputs:
    """Of all inputs, without gradients; each is kept once, also while they are computed."""
    with torch.no_grad():
        first = network(inputs[:at_once])
        logits, grid = (part.new_empty(len(inputs), *part.shape[1:]) for part in first)
        logits[:at_once], grid[:at_once] = first
        for start in range(at_once, len(inputs), at_once):
            here = slice(start, start + at_once)
            logits[here], grid[here] = network(inputs[here])
    return logits, grid


def looked_up(logits: Tensor, grid: Tensor) -> Network:
    """A teacher whose outputs are there already: rows [B] of them -> logits and grid."""
    return lambda rows: (logits[rows], grid[rows])
