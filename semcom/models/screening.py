"""The most probable of many pieces, without all their logits. Letters: N rows, V pieces, D width of their
states."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semcom.data.vocabulary import EOS

BLOCK = 32  # pieces whose largest logit alone is kept of a screening
# Factors in bfloat16 that a matrix unit takes at a time; products of other widths are slower than of the next
# multiple.
TILE = 32
STRIPE = 4096  # pieces screened at a time, so that their logits stay in cache
EXACT_BLOCKS = 4096  # blocks computed exactly at a time: a bound on memory where all logits are nearly alike


class MostProbable:
    """[N, D] states -> [N], argmax of their logits, of which the largest of each block of pieces alone is
    ever kept.

    Logits are screened first, in bfloat16 where the CPU has a matrix unit for that: a block whose largest
    logit falls short of the row's largest by more than rounding can account for cannot hold the argmax. The
    other blocks, one or two a row, are computed in float32, so the outcome is the argmax of float32 logits in
    either case.
    """

    def __init__(self, projection: nn.Linear):
        self.weight, self.bias = projection.weight, projection.bias
        # Older torch cannot tell.
        capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        self.dtype = torch.bfloat16 if capabilities.get("amx_bf16") else torch.float32
        size, width = self.weight.shape
        # The last piece stands in for those that are missing in the last block.
        pieces = torch.arange(-(-size // BLOCK) * BLOCK).clamp_max_(size - 1)
        self.blocks = pieces.view(-1, BLOCK)
        self.table = torch.zeros(len(pieces), -(-(width + 3) // TILE) * TILE, dtype=self.dtype)
        self.table[:, :width] = self.weight[pieces]
        rest = self.bias[pieces]
        for column in range(width, width + 3):
            # Three bfloat16 hold a float32: the bias is exact and costs no pass of its own over the logits.
            self.table[:, column] = rest
            rest = rest - self.table[:, column]
        rounded = self.table[:, :width].float()
        self.largest = rounded.norm(dim=1).max()
        self.largest_error = (rounded - self.weight[pieces]).norm(dim=1).max()
        # The bits of positive bfloat16, read as integers, have their order; a negative NaN would be below
        # them. Where a row's largest logit turns out not to be positive, numbers are compared from there on.
        ordered = self.dtype == torch.bfloat16 and bool(
            torch.isfinite(self.largest) and torch.isfinite(self.bias).all()
        )
        self.compared_as = torch.int16 if ordered else self.dtype

    def __call__(self, states: Tensor) -> Tensor:
        rows = len(states)
        block, row = self._candidates(states)
        pieces = self.blocks[block]
        exact = self._exact(states, pieces, row)
        best = torch.full((rows,), -torch.inf).scatter_reduce_(0, row, exact.amax(1), "amax")
        first = pieces.masked_fill(exact < best[row, None], len(self.weight)).amin(1)
        # A row that is not a number has no block above its threshold, and ends.
        return torch.full((rows,), EOS).scatter_reduce_(0, row, first, "amin", include_self=False)

    def _candidates(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Every block that may hold the argmax of a row: its number, and the row's."""
        rows, width = states.shape
        coarse = torch.zeros(rows, self.table.shape[1], dtype=self.dtype)
        coarse[:, :width], coarse[:, width : width + 3] = states, 1
        screened = torch.empty(len(self.blocks), rows, dtype=self.dtype)
        # |wx - w'x'| <= |w - w'||x| + |w'||x - x'| for the rounded w' and x'; and the logits themselves were
        # rounded.
        size, rounded_off = states.norm(dim=1), (states - coarse[:, :width]).norm(dim=1)
        error = self.largest_error * size + self.largest * rounded_off
        while True:
            self._screen(coarse, screened)
            top = screened.amax(0)
            of_logits = 2 * torch.finfo(self.dtype).eps * top.float().abs()
            gap = 2 * error + of_logits + 1e-5 * self.largest * size
            if self.compared_as == self.dtype or (top > gap).all():
                break
            self.compared_as = self.dtype
        block, row = (screened >= (top - gap).to(self.dtype)).nonzero().unbind(1)
        return block, row

    def _exact(self, states: Tensor, pieces: Tensor, row: Tensor) -> Tensor:
        """Logits of blocks of pieces, [n, BLOCK], each for its row."""
        found = []
        for some, its in zip(pieces.split(EXACT_BLOCKS), row.split(EXACT_BLOCKS)):
            products = torch.bmm(F.embedding(some, self.weight), states[its, :, None]).squeeze(2)
            found.append(products + self.bias[some])
        return torch.cat(found)

    def _screen(self, coarse: Tensor, largest: Tensor) -> None:
        """Largest logit of each block and row, [blocks, N]; compared as integers, which is several times
        faster, those of which one is positive."""
        logits = torch.empty(min(STRIPE, len(self.table)), len(coarse), dtype=self.dtype)
        for stripe, found in zip(self.table.split(STRIPE), largest.split(STRIPE // BLOCK)):
            made = logits[: len(stripe)]
            torch.mm(stripe, coarse.t(), out=made)
            blocks = made.view(self.compared_as).view(-1, BLOCK, len(coarse))
            torch.amax(blocks, 1, out=found.view(self.compared_as))
