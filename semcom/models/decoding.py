"""Greedy decoding and beam search on cached keys and values; finished sentences leave the batch early.

Letters: B sentences, K hypotheses a sentence, N = B·K rows, S source tokens, D model width, H heads, V
pieces.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semcom.data.settings import MAX_POSITIONS
from semcom.data.vocabulary import BOS, EOS
from semcom.models.layers import joined
from semcom.models.transceiver import Receiver

ROWS_TOGETHER = 512  # rows decoded at a time, of similar length: more would need memory and gain no speed
LEAVING_SHARE = 4  # a batch is packed again once one in four of its sentences has finished
PAGE = 8  # caches grow by this many tokens
NARROW = 16  # tokens at least; torch's softmax over fewer columns than this is several times slower than over this many
LIKELIEST_ROWS = 128  # rows whose logits exist at a time in beam search
BLOCK = 32  # pieces whose largest logit alone is kept of a screening
TILE = 32  # bfloat16 factors that a matrix unit takes at a time; products of other widths are slower than of the next multiple
STRIPE = 4096  # pieces screened at a time, so that their logits stay in cache
EXACT_BLOCKS = 4096  # blocks computed exactly at a time: a bound on memory where all logits are nearly alike


def length_limit(source_length: int) -> int:
    """Most target tokens decoded for S source tokens, as far as there are positions; decoding is never forced
    to S."""
    return min(int(1.5 * source_length) + 10, MAX_POSITIONS - 1)  # what was said is read again behind a bos


@dataclass(frozen=True)
class Search:
    """How the next pieces are searched for: greedily where ``width`` is 1, else by ``beam``."""

    width: int = 1
    length_penalty: float = 1.0

    def __call__(self, receiver: Receiver, received: Tensor, source_mask: Tensor) -> list[list[int]]:
        if self.width == 1:
            return greedy(receiver, received, source_mask)
        return beam(receiver, received, source_mask, self.width, self.length_penalty)

    def __str__(self) -> str:
        return (
            "greedy decoding"
            if self.width == 1
            else f"beam search of width {self.width}, length penalty {self.length_penalty:g}"
        )


@torch.inference_mode()
def greedy(
    receiver: Receiver, received: Tensor, source_mask: Tensor, limits: Sequence[int] | None = None
) -> list[list[int]]:
    """The most probable next piece, again and again, until eos or as many as ``limits`` allow, B numbers;
    without: ``length_limit``.

    received: [B, S, C]; source_mask: [B, S], the symbols that were sent. Returns B lists of pieces without
    bos and eos.
    """
    limits = [length_limit(n) for n in source_mask.sum(1).tolist()] if limits is None else limits
    projection = receiver.decoder.projection
    most_probable = (
        MostProbable(projection)
        if received.device.type == "cpu"
        else lambda states: projection(states).argmax(-1)
    )
    sentences: list[list[int]] = [[] for _ in range(len(received))]
    for group in _by_length(source_mask, ROWS_TOGETHER):
        rows = group.tolist()
        decoded = _greedy(
            receiver, received[group], source_mask[group], [limits[row] for row in rows], most_probable
        )
        for row, pieces in zip(rows, decoded):
            sentences[row] = pieces
    return sentences


def _greedy(
    receiver: Receiver,
    received: Tensor,
    source_mask: Tensor,
    limits: list[int],
    most_probable: Callable[[Tensor], Tensor],
) -> list[list[int]]:
    state = DecoderState(receiver, received, source_mask)
    said = torch.full((len(limits), max(limits)), EOS, device=received.device)
    places, left = (
        torch.arange(len(limits), device=received.device),
        torch.tensor(limits, device=received.device),
    )
    tokens = torch.full_like(places, BOS)
    active = torch.ones_like(places, dtype=torch.bool)
    for position in range(max(limits)):
        tokens = most_probable(state.step(tokens))
        said[places, position] = tokens
        active &= (tokens != EOS) & (position + 1 < left)
        remaining = int(active.sum())
        if remaining == 0:
            break
        if len(active) - remaining >= max(1, len(active) // LEAVING_SHARE):
            keep = active.nonzero().squeeze(1)
            state.reorder(keep, keep)
            tokens, left, places, active = tokens[keep], left[keep], places[keep], active[keep]
    return [until_eos(pieces[:limit]) for pieces, limit in zip(said.tolist(), limits)]


@torch.inference_mode()
def beam(
    receiver: Receiver, received: Tensor, source_mask: Tensor, width: int, length_penalty: float
) -> list[list[int]]:
    """The best of what beam search finds: the highest log-probability / ((5 + length) / 6)^length_penalty,
    length counting eos (Wu et al. 2016, arXiv 1609.08144, equation 14).

    received: [B, S, C]; source_mask: [B, S]. Returns B lists of pieces without bos and eos. ``width``
    hypotheses of a sentence live at a time; one ends with an eos that is among the ``width`` best
    continuations, or at ``length_limit``. A sentence is done when ``width`` have ended, or when no living one
    can beat the best of them. So width 1 is greedy decoding.
    """
    sentences: list[list[int]] = [[] for _ in range(len(received))]
    for group in _by_length(source_mask, max(1, ROWS_TOGETHER // width)):
        for row, pieces in zip(
            group.tolist(), _beam(receiver, received[group], source_mask[group], width, length_penalty)
        ):
            sentences[row] = pieces
    return sentences


def _beam(
    receiver: Receiver, received: Tensor, source_mask: Tensor, width: int, length_penalty: float
) -> list[list[int]]:
    state = DecoderState(receiver, received, source_mask, width)
    limits = torch.tensor([length_limit(n) for n in source_mask.sum(1).tolist()], device=received.device)
    longest = int(limits.max())
    best = torch.full(
        (len(limits), longest), EOS, device=limits.device
    )  # pieces of each sentence's best hypothesis that has ended
    best_score = torch.full(limits.shape, -torch.inf, device=limits.device)
    places, endings = torch.arange(len(limits), device=limits.device), torch.zeros_like(limits)
    said = torch.full((len(limits), width, longest), EOS, device=limits.device)
    tokens = torch.full((len(limits), width), BOS, device=limits.device)
    # One hypothesis at first, the others are impossible: they would only repeat it.
    totals = torch.full((len(limits), width), -torch.inf, device=limits.device)
    totals[:, 0] = 0
    for length in range(1, longest + 1):
        gains, pieces = _likeliest(receiver, state.step(tokens.flatten()), 2 * width)
        # Twice the width, so that the beam stays full whichever of these end.
        candidates, index = (
            (totals.flatten()[:, None] + gains)
            .view(len(totals), -1)
            .topk(min(2 * width, gains.shape[1] * width))
        )
        parents, pieces = index // gains.shape[1], pieces.view(len(totals), -1).gather(1, index)
        eos = pieces == EOS
        ending = (eos | (limits == length)[:, None]) & (candidates > -torch.inf)
        ending[:, width:] = False
        score, which = (
            (candidates / _length_divisor(length, length_penalty)).masked_fill(~ending, -torch.inf).max(1)
        )
        better = (score > best_score[places]).nonzero().squeeze(1)
        which = which[better]
        best_score[places[better]] = score[better]
        best[places[better], : length - 1] = said[better, parents[better, which], : length - 1]
        best[places[better], length - 1] = pieces[better, which]
        endings += ending.sum(1)

        totals, chosen = candidates.masked_fill(eos, -torch.inf).topk(width)
        parents, tokens = parents.gather(1, chosen), pieces.gather(1, chosen)
        # Log-probabilities only fall, so this is the best that a living hypothesis can still come to.
        attainable = totals[:, 0] / _length_divisor(limits, length_penalty)
        alive = (
            ((endings < width) & (attainable > best_score[places]) & (length < limits)).nonzero().squeeze(1)
        )
        if len(alive) == 0:
            break
        totals, parents, tokens, said = totals[alive], parents[alive], tokens[alive], said[alive]
        places, limits, endings = places[alive], limits[alive], endings[alive]
        state.reorder(alive, (alive[:, None] * width + parents).flatten())
        said = said.gather(1, parents[:, :, None].expand_as(said))
        said[:, :, length - 1] = tokens
    return [until_eos(pieces) for pieces in best.tolist()]


def _length_divisor(length: int | Tensor, penalty: float) -> float | Tensor:
    return ((5 + length) / 6) ** penalty


def _likeliest(receiver: Receiver, states: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """[N, D] states -> log-probabilities and ids of the ``count`` likeliest pieces (fewer if V is less), each
    [N, count]."""
    found = []
    for some in states.split(LIKELIEST_ROWS):
        logits = receiver.project(some)
        top, pieces = logits.topk(min(count, logits.shape[1]))
        found.append((top - logits.logsumexp(1, keepdim=True), pieces))
    gains, pieces = zip(*found)
    return torch.cat(gains), torch.cat(pieces)


def until_eos(pieces: list[int]) -> list[int]:
    """The pieces before the first eos."""
    return pieces[: pieces.index(EOS)] if EOS in pieces else pieces


def _by_length(source_mask: Tensor, size: int) -> tuple[Tensor, ...]:
    """Indices of sentences of similar length, ``size`` a group."""
    return source_mask.sum(1).argsort(descending=True, stable=True).split(size)


class DecoderState:
    """What the semantic decoder remembers of N = B·width rows: keys and values of the received signal, made
    once for all rows of a sentence, and of the tokens so far. All layers' lie in one tensor: keys as [layers,
    .., D, tokens], values as [layers, .., tokens, D].
    """

    def __init__(self, receiver: Receiver, received: Tensor, source_mask: Tensor, width: int = 1):
        self.embedding, self.layers = receiver.decoder.embedding, receiver.decoder.layers
        self.length = 0
        longest = int(source_mask.any(0).nonzero().max()) + 1
        memory, mask = receiver.channel_decoder(received[:, :longest]), source_mask[:, :longest]
        missing = max(0, NARROW - longest)
        memory, mask = F.pad(memory, (0, 0, 0, missing)), F.pad(mask, (0, missing))
        self.unsent = memory.new_zeros(mask.shape).masked_fill_(~mask, -torch.inf)[:, None]
        across = [layer.cross_attention for layer in self.layers]
        self.memory_keys = torch.stack([attention.key(memory).transpose(1, 2) for attention in across])
        self.memory_values = torch.stack([attention.value(memory) for attention in across])
        d, heads = memory.shape[2], across[0].heads
        self.keys = memory.new_zeros(len(across), len(memory) * width, d, NARROW)
        self.values = memory.new_zeros(len(across), len(memory) * width, NARROW, d)
        self.parts = (
            torch.eye(heads, device=memory.device).repeat_interleave(d // heads, 1) * (heads / d) ** 0.5
        )
        self.own = [
            joined(layer.attention.query, layer.attention.key, layer.attention.value) for layer in self.layers
        ]

    def step(self, tokens: Tensor) -> Tensor:
        """[N] tokens that follow -> [N, D] decoder states, from which the next tokens are told."""
        if self.length == self.keys.shape[3]:
            self.keys, self.values = F.pad(self.keys, (0, PAGE)), F.pad(self.values, (0, 0, 0, PAGE))
        x = self.embedding(tokens[:, None], start=self.length)[:, 0]
        unwritten = x.new_zeros(self.keys.shape[3])
        unwritten[self.length + 1 :] = -torch.inf
        caches = zip(self.keys, self.values, self.memory_keys, self.memory_values)
        for layer, own, (keys, values, memory_keys, memory_values) in zip(self.layers, self.own, caches):
            query, keys[:, :, self.length], values[:, self.length] = F.linear(x, *own).chunk(3, dim=1)
            x = layer.after_attention(x, layer.attention.output(self._attend(query, keys, values, unwritten)))
            mixed = self._attend(layer.cross_attention.query(x), memory_keys, memory_values, self.unsent)
            x = layer.after_cross_attention(x, layer.cross_attention.output(mixed))
            x = layer.after_feed_forward(x, layer.feed_forward(x))
        self.length += 1
        return x

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """[N, D] queries; [G, D, S] keys and [G, S, D] values of N rows or of their sentences; bias:
        broadcasts to [G, N/G·H, S]. Returns [N, D].

        One query a head makes products too small to be worth starting. So all heads and rows of a sentence
        are taken in one: each head's query stands in a row of its own [D], zero outside the head's part, and
        of what it mixes only that part is read.
        """
        heads, d = self.parts.shape
        apart = (queries[:, None] * self.parts).view(len(keys), -1, d)
        weights = torch.bmm(apart, keys).add_(bias).softmax(-1)
        mixed = torch.bmm(weights, values).view(-1, heads, heads, d // heads)
        return mixed.diagonal(dim1=1, dim2=2).transpose(1, 2).reshape(-1, d)

    def reorder(self, sentences: Tensor, rows: Tensor) -> None:
        """Go on with these sentences alone, from what these rows have said, ``width`` rows a sentence."""
        if len(sentences) < len(self.unsent):
            self.unsent = self.unsent[sentences]
            self.memory_keys, self.memory_values = (
                self.memory_keys[:, sentences],
                self.memory_values[:, sentences],
            )
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]


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
        self.dtype = (
            torch.bfloat16
            if getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16")
            else torch.float32
        )
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
        rows, width = states.shape
        coarse = torch.zeros(rows, self.table.shape[1], dtype=self.dtype)
        coarse[:, :width], coarse[:, width : width + 3] = states, 1
        screened = torch.empty(len(self.blocks), rows, dtype=self.dtype)
        # |wx - w'x'| <= |w - w'||x| + |w'||x - x'| for the rounded w' and x'; and the logits themselves were
        # rounded.
        error = self.largest_error * states.norm(dim=1) + self.largest * (states - coarse[:, :width]).norm(
            dim=1
        )
        while True:
            self._screen(coarse, screened)
            top = screened.amax(0)
            gap = (
                2 * error
                + 2 * torch.finfo(self.dtype).eps * top.float().abs()
                + 1e-5 * self.largest * states.norm(dim=1)
            )
            if self.compared_as == self.dtype or (top > gap).all():
                break
            self.compared_as = self.dtype
        block, row = (screened >= (top - gap).to(self.dtype)).nonzero().unbind(1)
        pieces = self.blocks[block]
        exact = torch.cat(
            [
                torch.bmm(F.embedding(some, self.weight), states[its, :, None]).squeeze(2) + self.bias[some]
                for some, its in zip(pieces.split(EXACT_BLOCKS), row.split(EXACT_BLOCKS))
            ]
        )
        best = torch.full((rows,), -torch.inf).scatter_reduce_(0, row, exact.amax(1), "amax")
        first = pieces.masked_fill(exact < best[row, None], len(self.weight)).amin(1)
        # A row that is not a number has no block above its threshold, and ends.
        return torch.full((rows,), EOS).scatter_reduce_(0, row, first, "amin", include_self=False)

    def _screen(self, coarse: Tensor, largest: Tensor) -> None:
        """Largest logit of each block and row, [blocks, N]; compared as integers, which is several times
        faster, those of which one is positive."""
        logits = torch.empty(min(STRIPE, len(self.table)), len(coarse), dtype=self.dtype)
        for stripe, found in zip(self.table.split(STRIPE), largest.split(STRIPE // BLOCK)):
            torch.mm(stripe, coarse.t(), out=logits[: len(stripe)])
            torch.amax(
                logits[: len(stripe)].view(self.compared_as).view(-1, BLOCK, len(coarse)),
                1,
                out=found.view(self.compared_as),
            )
