"""Greedy decoding against the plain way: the whole decoder again for every token."""
import pytest
import torch
from toy import C, V, encoded, size, through, transceiver

from semcom.batching import collate
from semcom.channel import Channel
from semcom.decoding import greedy, length_limit
from semcom.layers import MAX_POSITIONS
from semcom.vocab import BOS, EOS


@torch.no_grad()
def plain(receiver, received, length):
    """One sentence, without cache, without padding."""
    pieces = []
    for _ in range(int(1.5 * length) + 10):
        mask = torch.ones(1, length, dtype=torch.bool)
        state = receiver(received[None, :length], mask, torch.tensor([[BOS, *pieces]]))
        piece = int(receiver.project(state[0, -1]).argmax())
        if piece == EOS:
            break
        pieces.append(piece)
    return pieces


def listener(eos_bias, seed=0):
    """A receiver with random weights; the bias of eos decides how long it talks."""
    model = transceiver(size(2, 32, 4, 32), size(2, 32, 4, 32), seed=seed)
    with torch.no_grad():
        model.receiver.decoder.projection.weight.mul_(3)
        model.receiver.decoder.projection.bias[EOS] = eos_bias
    return model


@pytest.mark.parametrize("eos_bias", [-1e9, 4.0, 6.0, 1e9])
def test_equals_plain_decoding(eos_bias):
    model, batch = listener(eos_bias), collate(encoded(24, 1, 14))
    received = through(model, batch, Channel("rayleigh"), 0.0)
    expected = [plain(model.receiver, y, n) for y, n in zip(received, batch.lengths)]
    assert greedy(model.receiver, received, batch.source_mask) == expected
    lengths = set(map(len, expected))
    if eos_bias in (4.0, 6.0):
        assert len(lengths) > 3, "the sentences should finish at different times"


def test_never_ending_sentences_stop_at_their_own_limit():
    model, batch = listener(-1e9), collate(encoded(12, 1, 14))
    decoded = greedy(model.receiver, through(model, batch, Channel("awgn"), 0.0), batch.source_mask)
    assert [len(d) for d in decoded] == [int(1.5 * n) + 10 for n in batch.lengths]


def test_limit():
    assert [length_limit(n) for n in (2, 3, 10, 31)] == [13, 14, 25, 56]


def test_eos_at_once_is_an_empty_sentence():
    model, batch = listener(1e9), collate(encoded(3))
    assert greedy(model.receiver, through(model, batch, Channel("awgn"), 0.0), batch.source_mask) == [[], [], []]


def test_the_longest_sentence_decodes_within_the_positions():
    model = transceiver(size(1, 8, 1, 8), size(1, 8, 1, 8))
    with torch.no_grad():
        model.receiver.decoder.projection.bias[EOS] = -1e9
    mask = torch.ones(1, MAX_POSITIONS, dtype=torch.bool)
    decoded = greedy(model.receiver, torch.randn(1, MAX_POSITIONS, C), mask)
    assert len(decoded[0]) == length_limit(MAX_POSITIONS) <= int(1.5 * MAX_POSITIONS) + 10
    assert all(0 <= piece < V for piece in decoded[0])
