"""The small pure functions that losses are made of, and cross-entropy.

Logits are [..., V] with the classes last; what is returned is [...], one value a row, so that the caller
gathers real rows, sums and divides. KL terms are computed in float32 at least, in nats. A temperature is a
number, or a tensor [...] with one for each row.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

Temperature = float | Tensor
SMALLEST_DEVIATION = 1e-7


def _wide(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def log_softmax(logits: Tensor, temperature: Temperature = 1.0) -> Tensor:
    """[..., V] log-probabilities at the temperature, in float32 at least."""
    if isinstance(temperature, Tensor):
        return F.log_softmax(_wide(logits) / temperature[..., None], dim=-1)
    return F.log_softmax(_wide(logits) if temperature == 1 else _wide(logits) / temperature, dim=-1)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """[...] nats: -log softmax(logits)[target]. logits: [..., V]; targets: [...] piece ids."""
    return -log_softmax(logits).gather(-1, targets[..., None]).squeeze(-1)


def cross_entropy_of(logits: Tensor, probabilities: Tensor) -> Tensor:
    """[...] nats: cross-entropy of targets that are probabilities, as mixup makes them. Both: [..., V]."""
    return -(probabilities * log_softmax(logits)).sum(-1)


def kl_of_logs(log_p: Tensor, log_q: Tensor, p: Tensor | None = None) -> Tensor:
    """[...] nats: KL(p || q) of log-probabilities. p: its probabilities, where they are there already."""
    return ((log_p.exp() if p is None else p) * (log_p - log_q)).sum(-1)


def mix(log_p: Tensor, log_q: Tensor, share: float) -> Tensor:
    """log(share * p + (1 - share) * q), of p or q alone where that is all."""
    if share in (0, 1):
        return log_p if share else log_q
    return torch.logaddexp(log_p + math.log(share), log_q + math.log1p(-share))


def standardize(logits: Tensor, ddof: int = 0) -> Tensor:
    """[..., V] z-scores of each row: (x - mean) / standard deviation over V classes, zero for a constant row.

    Logit Standardization, Sun et al., CVPR 2024, arXiv 2403.01427, equation 10, whose T then is a base
    temperature. ddof: 0 as the paper has it; 1 as its public code does, by V - 1 classes and with the
    smallest deviation added to each.
    """
    logits = _wide(logits)
    centred = logits - logits.mean(-1, keepdim=True)
    if ddof:
        return centred / (logits.std(-1, correction=ddof, keepdim=True) + SMALLEST_DEVIATION)
    return centred / centred.square().mean(-1, keepdim=True).clamp_min(SMALLEST_DEVIATION**2).sqrt()


def top_and_rest(
    student: Tensor, teacher: Tensor, number: int, temperature: Temperature
) -> tuple[Tensor, Tensor]:
    """Logits [..., number + 1] of the teacher's most probable classes, the first the likeliest, and of all
    others as one class: their softmax at the temperature is that of the logits [..., V], the others summed.

    Raises ValueError unless ``number`` is below V.
    """
    if number >= teacher.shape[-1]:
        raise ValueError(f"the top {number} of {teacher.shape[-1]} classes: must leave at least one")
    top = teacher.topk(number, -1).indices
    t = temperature[..., None] if isinstance(temperature, Tensor) else temperature
    both = []
    for logits in (_wide(student), _wide(teacher)):
        others = logits.scatter(-1, top, -torch.inf)
        rest = t * (others / t).logsumexp(-1, keepdim=True)
        both.append(torch.cat([logits.gather(-1, top), rest], -1))
    return both[0], both[1]


def feature_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """[...] mean squared difference over the last dimension of two feature tensors of the same shape."""
    return (student - teacher).square().mean(-1)


def feature_cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """[...] 1 - cosine of the angle between two feature vectors, 0 to 2: indifferent to their lengths."""
    return 1 - F.cosine_similarity(student, teacher, dim=-1)


def segments(lengths: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """Cut each sentence's rows into ``scale`` contiguous segments at floor(k * L / scale); sentences shorter
    than that have none.

    lengths: [B] real rows a sentence, which lie one sentence after the other, N in all. Returns the segment
    of each row [N], -1 for none, counted through the batch, and the sentence of each segment [R]. Scale
    Decoupled Distillation on the time axis.
    """
    cut = lengths >= scale
    sentence = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
    place = torch.arange(len(sentence), device=lengths.device) - (lengths.cumsum(0) - lengths)[sentence]
    # Row i lies in segment k with floor(k L / m) <= i < floor((k + 1) L / m): k = floor(((i + 1) m - 1) / L).
    inside = ((place + 1) * scale - 1) // lengths[sentence]
    first = (cut.cumsum(0) - 1) * scale
    segment_of_row = torch.where(cut[sentence], first[sentence] + inside, -1)
    sentence_of_segment = cut.nonzero().squeeze(1).repeat_interleave(scale)
    return segment_of_row, sentence_of_segment


def pool(rows: Tensor, segment: Tensor, count: int) -> Tensor:
    """Means of [N, D] rows over each of ``count`` segments; segment: [N], -1 for a row of none. Returns
    [count, D]."""
    # Rows of none make one more, at the end: to choose the others would be to wait for a GPU.
    segment = segment.masked_fill(segment < 0, count)
    total = rows.new_zeros(count + 1, rows.shape[1])
    if rows.device.type == "cpu":
        total = total.index_add(0, segment, rows)
    else:
        # A GPU adds these up in the same order each time, those of index_add in any.
        total = total.index_put((segment,), rows, accumulate=True)
    size = rows.new_zeros(count + 1).index_add(0, segment, torch.ones_like(rows[:, 0]))
    return total[:count] / size[:count, None]


def pool_grid(grid: Tensor, scale: int) -> Tensor:
    """[B, H, W, D] -> [B, scale^2, D]: means over the cells of a ``scale`` x ``scale`` grid, row by row.

    Cell k of H places runs from floor(k H / scale) to ceil((k + 1) H / scale): neighbours share a place where
    H does not divide, and where H is below ``scale`` cells are the same place again.
    """
    return F.adaptive_avg_pool2d(grid.movedim(-1, 1), scale).flatten(2).transpose(1, 2)


def complementary(segment_class: Tensor, whole_class: Tensor, weight: float) -> Tensor:
    """[R] weights of segments in Scale Decoupled Distillation (Wei, Luo and Luo, CVPR 2024, arXiv
    2403.13512): ``weight`` where the teacher sees another class in the segment than in the whole, else 1.
    Both classes: [R]."""
    return torch.ones(segment_class.shape, device=segment_class.device).masked_fill(
        segment_class != whole_class, weight
    )
