"""Greedy decoding with cached keys and values; finished sentences leave the batch early."""

import torch
from torch import Tensor

from semcom.layers import MAX_POSITIONS
from semcom.transceiver import Receiver
from semcom.vocab import BOS, EOS

LEAVING_SHARE = 8  # a batch is packed again once one in eight of its sentences has finished


def length_limit(source_length: int) -> int:
    """Most target tokens decoded for S source tokens, as far as there are positions; decoding is never forced to S."""
    return min(int(1.5 * source_length) + 10, MAX_POSITIONS)


@torch.inference_mode()
def greedy(receiver: Receiver, received: Tensor, source_mask: Tensor) -> list[list[int]]:
    """The most probable next piece, again and again, until eos or ``length_limit``.

    received: [B, S, C]; source_mask: [B, S], the symbols that were sent. Returns B lists of pieces without bos and eos.
    """
    decoder = receiver.decoder
    memory = receiver.channel_decoder(received)
    crossed = [layer.cross_attention.keys_values(memory) for layer in decoder.layers]
    limits = torch.tensor([length_limit(n) for n in source_mask.sum(1).tolist()], device=received.device)
    longest = int(limits.max())
    caches = [tuple(torch.zeros(*k.shape[:2], longest, k.shape[3], dtype=k.dtype, device=k.device) for _ in "kv")
              for k, _ in crossed]
    memory_mask = source_mask[:, None, None, :]
    place = torch.arange(len(received), device=received.device)
    tokens = torch.full((len(received), 1), BOS, device=received.device)
    active = torch.ones(len(received), dtype=torch.bool, device=received.device)
    written: list[tuple[Tensor, Tensor]] = []
    for position in range(longest):
        x = decoder.embedding(tokens, start=position)
        for layer, (keys, values), memory_kv in zip(decoder.layers, caches, crossed):
            key, value = layer.attention.keys_values(x)
            keys[:, :, position : position + 1], values[:, :, position : position + 1] = key, value
            past = keys[:, :, : position + 1], values[:, :, : position + 1]
            x = layer(x, past, None, memory_kv, memory_mask)
        tokens = decoder.project(x).argmax(-1)
        active &= (tokens[:, 0] != EOS) & (position < limits)
        written.append((place[active], tokens[active, 0]))
        remaining = int(active.sum())
        if remaining == 0:
            break
        if len(active) - remaining >= max(1, len(active) // LEAVING_SHARE):
            keep = active.nonzero().squeeze(1)
            tokens, limits, place, active = tokens[keep], limits[keep], place[keep], active[keep]
            memory_mask = memory_mask[keep]
            crossed = [(k[keep], v[keep]) for k, v in crossed]
            caches = [(k[keep], v[keep]) for k, v in caches]
    sentences: list[list[int]] = [[] for _ in range(len(received))]
    for places, pieces in written:
        for row, piece in zip(places.tolist(), pieces.tolist()):
            sentences[row].append(piece)
    return sentences
