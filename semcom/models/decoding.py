"""Greedy decoding and beam search over ``Receiver.start``; finished sentences leave the batch early.

Letters: B sentences, b of them still at work, K hypotheses a sentence, S source tokens, D width of the
receiver's states, V pieces.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from semcom.base.messages import N_, Message
from semcom.data.settings import MAX_POSITIONS
from semcom.data.vocabulary import BOS, EOS
from semcom.models import next_pieces
from semcom.models.protocols import DecodingState, Receiver
from semcom.models.screening import MostProbable

ROWS_TOGETHER = 512  # rows decoded at a time, of similar length: more would need memory and gain no speed
LEAVING_SHARE = 4  # a batch is packed again once one in four of its sentences has finished
LOOK_EVERY = {"cpu": 1, "cuda": 8}
"""Steps after which it is asked which sentences have ended: to ask a GPU is to wait for it."""
LIMIT_FACTOR, LIMIT_MORE = 1.5, 10
LONGEST_TARGET = MAX_POSITIONS - 1  # what was said is read again behind a bos
LIKELIEST_ROWS = 128  # rows whose logits exist at a time in beam search
Likeliest = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""[N, D] states and a count -> log-probabilities and ids of as many likeliest pieces, [N, count] each."""


def length_limit(source_length: int) -> int:
    """Most target tokens decoded for S source tokens, as far as there are positions; decoding is never forced
    to S."""
    return min(int(LIMIT_FACTOR * source_length) + LIMIT_MORE, LONGEST_TARGET)


@dataclass(frozen=True)
class Search:
    """How the next pieces are searched for: greedily where ``width`` is 1, else by ``beam``.

    compiled: by compiled kernels, where the receiver has them; the same pieces, but where two are as likely
    to within rounding.
    """

    width: int = 1
    length_penalty: float = 1.0
    compiled: bool = False

    def __call__(self, receiver: Receiver, received: Tensor, source_mask: Tensor) -> list[list[int]]:
        if self.width == 1:
            return greedy(receiver, received, source_mask, compiled=self.compiled)
        given = (self.width, self.length_penalty)
        return beam(receiver, received, source_mask, *given, compiled=self.compiled)

    @property
    def key(self) -> dict[str, object]:
        """What of it decides what is decoded, for keys of what is kept on disk; ``compiled`` only where it
        is on, so that what was kept before there were kernels still holds."""
        chosen = asdict(self)
        return chosen if self.compiled else {k: v for k, v in chosen.items() if k != "compiled"}

    @property
    def told(self) -> Message:
        if self.width == 1:
            return Message(N_("greedy decoding"))
        beam = N_("beam search of width {width}, length penalty {penalty:g}")
        return Message(beam, width=self.width, penalty=self.length_penalty)

    def __str__(self) -> str:
        return str(self.told)


@torch.inference_mode()
def greedy(
    receiver: Receiver,
    received: Tensor,
    source_mask: Tensor,
    limits: Sequence[int] | None = None,
    *,
    compiled: bool = False,
) -> list[list[int]]:
    """The most probable next piece, again and again, until eos or as many as ``limits`` allow, B numbers;
    without: ``length_limit``.

    received: [B, S, C]; source_mask: [B, S], the symbols that were sent. compiled: by the receiver's
    kernels, where it has them. Returns B lists of pieces without bos and eos.
    """
    limits = _limits(source_mask) if limits is None else limits
    most_probable = _most_probable_of(receiver, received.device, compiled)
    sentences: list[list[int]] = [[] for _ in range(len(received))]
    for group in _by_length(source_mask, ROWS_TOGETHER):
        rows = group.tolist()
        most = torch.tensor([limits[row] for row in rows], device=received.device)
        state = _started(receiver, received[group], source_mask[group], 1, compiled)
        decoded = _greedy(state, most, most_probable)
        for row, pieces in zip(rows, decoded):
            sentences[row] = pieces
    return sentences


def _started(
    receiver: Receiver, received: Tensor, source_mask: Tensor, width: int, compiled: bool
) -> DecodingState:
    by_kernels = receiver.packed_start(received, source_mask, width) if compiled else None
    return by_kernels or receiver.start(received, source_mask, width)


def _most_probable_of(receiver: Receiver, device: torch.device, compiled: bool) -> Callable[[Tensor], Tensor]:
    """[N, D] states -> [N]."""
    if device.type != "cpu" or receiver.says_logits:
        return lambda states: receiver.project(states).argmax(-1)
    by_kernels = next_pieces.most_probable_of(receiver.projection) if compiled else None
    return by_kernels or MostProbable(receiver.projection)


def _greedy(
    state: DecodingState, limits: Tensor, most_probable: Callable[[Tensor], Tensor]
) -> list[list[int]]:
    """limits: [b], most pieces of each sentence."""
    longest = int(limits.max())
    said = torch.full((len(limits), longest), EOS, device=limits.device)
    places, left = torch.arange(len(limits), device=limits.device), limits
    tokens = torch.full_like(places, BOS)
    active = torch.ones_like(places, dtype=torch.bool)
    look_every = LOOK_EVERY.get(limits.device.type, 1)
    for position in range(longest):
        tokens = most_probable(state.step(tokens))
        said[places, position] = tokens
        active &= (tokens != EOS) & (position + 1 < left)
        if (position + 1) % look_every:
            continue
        remaining = int(active.sum())
        if remaining == 0:
            break
        if len(active) - remaining >= max(1, len(active) // LEAVING_SHARE):
            keep = active.nonzero().squeeze(1)
            state.reorder(keep, keep)
            tokens, left, places, active = tokens[keep], left[keep], places[keep], active[keep]
    return [until_eos(pieces[:limit]) for pieces, limit in zip(said.tolist(), limits.tolist())]


@torch.inference_mode()
def beam(
    receiver: Receiver,
    received: Tensor,
    source_mask: Tensor,
    width: int,
    length_penalty: float,
    *,
    compiled: bool = False,
) -> list[list[int]]:
    """The best of what beam search finds: the highest log-probability / ((5 + length) / 6)^length_penalty,
    length counting eos (Wu et al. 2016, arXiv 1609.08144, equation 14).

    received: [B, S, C]; source_mask: [B, S]. Returns B lists of pieces without bos and eos. ``width``
    hypotheses of a sentence live at a time; one ends with an eos that is among the ``width`` best
    continuations, or at ``length_limit``. A sentence is done when ``width`` have ended, or when no living one
    can beat the best of them. So width 1 is greedy decoding.
    """
    sentences: list[list[int]] = [[] for _ in range(len(received))]
    likeliest = _likeliest_of(receiver, received.device, 2 * width, compiled)
    for group in _by_length(source_mask, max(1, ROWS_TOGETHER // width)):
        limits = torch.tensor(_limits(source_mask[group]), device=received.device)
        begun = _Beam(limits, width, length_penalty)
        state = _started(receiver, received[group], source_mask[group], width, compiled)
        decoded = begun.search(likeliest, state)
        for row, pieces in zip(group.tolist(), decoded):
            sentences[row] = pieces
    return sentences


@dataclass(frozen=True)
class _Grown:
    """The likeliest continuations of b sentences, [b, 2K] each, the likeliest first: log-probabilities from
    the first piece on, the hypotheses they continue, and by which piece."""

    totals: Tensor
    parents: Tensor
    pieces: Tensor


class _Beam:
    """Hypotheses of b sentences, K each, and the best that has ended of each of B.

    places: [b] which of the B they are; limits: [b] most pieces; said: [b, K, longest] pieces so far, tokens:
    [b, K] the last of them; totals: [b, K] log-probabilities, descending; endings: [b] how many have ended;
    active: [b] whether the search goes on. Of the others nothing counts any more, until they leave.
    """

    def __init__(self, limits: Tensor, width: int, length_penalty: float):
        self.width, self.penalty, self.limits = width, length_penalty, limits
        sentences, longest, device = len(limits), int(limits.max()), limits.device
        self.best = torch.full((sentences, longest), EOS, device=device)
        self.best_score = torch.full(limits.shape, -torch.inf, device=device)
        self.places, self.endings = torch.arange(sentences, device=device), torch.zeros_like(limits)
        self.active = torch.ones_like(limits, dtype=torch.bool)
        self.said = torch.full((sentences, width, longest), EOS, device=device)
        self.tokens = torch.full((sentences, width), BOS, device=device)
        # One hypothesis at first, the others are impossible: they would only repeat it.
        self.totals = torch.full((sentences, width), -torch.inf, device=device)
        self.totals[:, 0] = 0

    def search(self, likeliest: Likeliest, state: DecodingState) -> list[list[int]]:
        look_every = LOOK_EVERY.get(self.limits.device.type, 1)
        for length in range(1, self.said.shape[2] + 1):
            grown = self._grow(*likeliest(state.step(self.tokens.flatten()), 2 * self.width))
            self._note_endings(grown, length)
            parents = self._keep_likeliest(grown)
            self.active &= self._can_still_win(length)
            everyone = torch.arange(len(self.active), device=self.limits.device)
            alive = everyone if length % look_every else everyone[self.active]
            if len(alive) == 0:
                break
            parents = self._go_on_with(alive, parents, length)
            state.reorder(alive, (alive[:, None] * self.width + parents).flatten())
        return [until_eos(pieces) for pieces in self.best.tolist()]

    def _grow(self, gains: Tensor, pieces: Tensor) -> _Grown:
        """gains, pieces: those likeliest after each hypothesis, [b·K, 2K]."""
        each = gains.shape[1]
        totals = (self.totals.flatten()[:, None] + gains).view(len(self.totals), -1)
        # Twice the width, so that the beam stays full whichever of these end.
        totals, index = totals.topk(min(2 * self.width, each * self.width))
        return _Grown(totals, index // each, pieces.view(len(totals), -1).gather(1, index))

    def _note_endings(self, grown: _Grown, length: int) -> None:
        """Of the K likeliest, those that end at this length; what is better than the best before takes its
        place."""
        ending = (grown.pieces == EOS) | (self.limits == length)[:, None]
        ending &= (grown.totals > -torch.inf) & self.active[:, None]
        ending[:, self.width :] = False
        scores = grown.totals / _length_divisor(length, self.penalty)
        score, which = scores.masked_fill(~ending, -torch.inf).max(1)
        best_score, best = self.best_score[self.places], self.best[self.places]
        better, which = score > best_score, which[:, None]
        parent = grown.parents.gather(1, which)[:, :, None]
        said = self.said.gather(1, parent.expand(-1, 1, self.said.shape[2])).squeeze(1)
        said[:, length - 1 : length] = grown.pieces.gather(1, which)
        self.best_score[self.places] = torch.where(better, score, best_score)
        self.best[self.places] = torch.where(better[:, None], said, best)
        self.endings += ending.sum(1)

    def _keep_likeliest(self, grown: _Grown) -> Tensor:
        """The K likeliest that have not ended live on; returns the hypotheses they continue, [b, K]."""
        self.totals, chosen = grown.totals.masked_fill(grown.pieces == EOS, -torch.inf).topk(self.width)
        self.tokens = grown.pieces.gather(1, chosen)
        return grown.parents.gather(1, chosen)

    def _can_still_win(self, length: int) -> Tensor:
        """[b] whether the search of a sentence goes on."""
        # Log-probabilities only fall, so this is the best that a living hypothesis can still come to.
        attainable = self.totals[:, 0] / _length_divisor(self.limits, self.penalty)
        wins = attainable > self.best_score[self.places]
        return (self.endings < self.width) & wins & (length < self.limits)

    def _go_on_with(self, alive: Tensor, parents: Tensor, length: int) -> Tensor:
        """Leave the other sentences; returns the ``parents`` of those that stay."""
        self.totals, self.tokens, self.said = self.totals[alive], self.tokens[alive], self.said[alive]
        self.places, self.limits, self.endings = self.places[alive], self.limits[alive], self.endings[alive]
        self.active = self.active[alive]
        parents = parents[alive]
        self.said = self.said.gather(1, parents[:, :, None].expand_as(self.said))
        self.said[:, :, length - 1] = self.tokens
        return parents


def _length_divisor(length: int | Tensor, penalty: float) -> float | Tensor:
    return ((5 + length) / 6) ** penalty


def _likeliest_of(receiver: Receiver, device: torch.device, count: int, compiled: bool) -> Likeliest:
    by_kernels = None
    if compiled and device.type == "cpu" and not receiver.says_logits:
        by_kernels = next_pieces.likeliest_of(receiver.projection, count)
    return by_kernels or (lambda states, count: _likeliest(receiver, states, count))


def _likeliest(receiver: Receiver, states: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """[N, D] states -> log-probabilities and ids of the ``count`` likeliest pieces (fewer if V is less), each
    [N, count]."""
    found = []
    for some in states.split(LIKELIEST_ROWS):
        logits = receiver.project(some)
        top, pieces = logits.topk(min(count, logits.shape[1]))
        found.append((top - logits.logsumexp(1, keepdim=True), pieces))
    return torch.cat([gains for gains, _ in found]), torch.cat([pieces for _, pieces in found])


def until_eos(pieces: list[int]) -> list[int]:
    """The pieces before the first eos."""
    return pieces[: pieces.index(EOS)] if EOS in pieces else pieces


def _limits(source_mask: Tensor) -> list[int]:
    """[B, S] -> B."""
    return [length_limit(n) for n in source_mask.sum(1).tolist()]


def _by_length(source_mask: Tensor, size: int) -> tuple[Tensor, ...]:
    """Indices of sentences of similar length, ``size`` a group."""
    return source_mask.sum(1).argsort(descending=True, stable=True).split(size)
