"""The bent part of an aligner that is a network: a hidden layer that learns what an affine map leaves.

All rows at once, float64. Letters: N rows, C_a and C_b real channel dimensions a token.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from semcom.distillation.optimizer import AdamW
from semcom.models.aligner import Aligner
from semcom.models.architecture import AlignerSize

RATE, WEIGHT_DECAY = 3e-3, 0.01
MOST_STEPS, LOOK_EVERY = 500, 10
LOOKS_IN_VAIN = 5
"""The error of held-out rows may fail to fall so often."""

Rows = tuple[Tensor, Tensor]
"""What arrived, [N, C_a], and what an affine map lacks there, [N, C_b]."""


def bent_part(rows: Rows, hidden: int, *, seed: int, steps: int) -> nn.Sequential:
    """After so many steps; after none it is zero everywhere."""
    for number, bent in enumerate(_learning(rows, hidden, seed)):
        if number == steps:
            return bent
    raise AssertionError("learning goes on for ever")


def best_steps(rows: Rows, held_out: Rows, hidden: int, *, seed: int) -> int:
    """After how many steps the error of the rows held out is least; 0 where there are none."""
    if not len(held_out[0]):
        return 0
    best, least = 0, float(held_out[1].square().sum())
    for number, bent in enumerate(_learning(rows, hidden, seed)):
        if number % LOOK_EVERY:
            continue
        with torch.no_grad():
            error = float((bent(held_out[0]) - held_out[1]).square().sum())
        if error < least:
            best, least = number, error
        if number == MOST_STEPS or number - best >= LOOKS_IN_VAIN * LOOK_EVERY:
            break
    return best


def _learning(rows: Rows, hidden: int, seed: int) -> Iterator[nn.Sequential]:
    """The same module after 0, 1, 2 … steps."""
    arrived, left = rows
    aligner = Aligner(arrived.shape[1], AlignerSize(left.shape[1], hidden=hidden))
    aligner.draw(torch.Generator().manual_seed(seed))
    assert aligner.bent is not None
    bent = aligner.bent.double()
    optimizer = AdamW(bent.parameters(), WEIGHT_DECAY)
    while True:
        yield bent
        optimizer.zero_grad()
        (bent(arrived) - left).square().mean().backward()
        optimizer.step(RATE)
