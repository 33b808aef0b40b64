"""Greedy decoding and beam search against the plain way: the whole decoder again for every token, one
sentence at a time."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from toy import C, V, channel_of, encoded, size, through, transceiver

from semcom.channel.channels import AWGN, Rayleigh
from semcom.data.batching import collate
from semcom.data.settings import MAX_POSITIONS
from semcom.data.vocabulary import BOS, EOS
from semcom.evaluation.scores import Meeting
from semcom.evaluation.scores import through_channel as at_snrs
from semcom.models import decoding, screening
from semcom.models.decoding import Search, beam, greedy, length_limit
from semcom.models.kernels import native
from semcom.models.screening import MostProbable
from semcom.models.transformer import DecoderState


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
def test_equals_plain_decoding(eos_bias, monkeypatch):
    model, batch = listener(eos_bias), collate(encoded(24, 1, 14))
    received = through(model, batch, Rayleigh(), 0.0)
    expected = [plain(model.receiver, y, n) for y, n in zip(received, batch.lengths)]
    assert greedy(model.receiver, received, batch.source_mask) == expected
    monkeypatch.setattr(decoding, "LOOK_EVERY", {"cpu": 4})  # as on a GPU
    steps = []
    plain_step = DecoderState.step
    monkeypatch.setattr(
        DecoderState, "step", lambda state, tokens: steps.append(1) or plain_step(state, tokens)
    )
    assert greedy(model.receiver, received, batch.source_mask) == expected
    lengths = set(map(len, expected))
    longest = min(max(lengths) + 1, int(1.5 * max(batch.lengths)) + 10)
    assert longest <= len(steps) <= longest + 3
    if eos_bias in (4.0, 6.0):
        assert len(lengths) > 3, "the sentences should finish at different times"


def test_never_ending_sentences_stop_at_their_own_limit():
    model, batch = listener(-1e9), collate(encoded(12, 1, 14))
    decoded = greedy(model.receiver, through(model, batch, AWGN(), 0.0), batch.source_mask)
    assert [len(d) for d in decoded] == [int(1.5 * n) + 10 for n in batch.lengths]


def test_limit():
    assert [length_limit(n) for n in (2, 3, 10, 31)] == [13, 14, 25, 56]


def test_eos_at_once_is_an_empty_sentence():
    model, batch = listener(1e9), collate(encoded(3))
    assert greedy(model.receiver, through(model, batch, AWGN(), 0.0), batch.source_mask) == [
        [],
        [],
        [],
    ]


def test_the_longest_sentence_decodes_within_the_positions():
    model = transceiver(size(1, 8, 1, 8), size(1, 8, 1, 8))
    with torch.no_grad():
        model.receiver.decoder.projection.bias[EOS] = -1e9
    mask = torch.ones(1, MAX_POSITIONS, dtype=torch.bool)
    decoded = greedy(model.receiver, torch.randn(1, MAX_POSITIONS, C), mask)
    assert len(decoded[0]) == length_limit(MAX_POSITIONS) <= int(1.5 * MAX_POSITIONS) + 10
    assert all(0 <= piece < V for piece in decoded[0])


def meet(model, batch, snr=0.0, channel="rayleigh"):
    return through(model, batch, channel_of(channel), snr), batch.source_mask


@torch.no_grad()
def next_log_probabilities(receiver, received, pieces):
    """[V] after bos and ``pieces``; received: [S, C]. Nothing is cached, nothing padded."""
    mask = torch.ones(1, len(received), dtype=torch.bool)
    state = receiver(received[None], mask, torch.tensor([[BOS, *pieces]]))
    return receiver.project(state[0, -1]).double().log_softmax(0)


def score(total, length, penalty):
    return total / ((5 + length) / 6) ** penalty


def plain_beam(receiver, received, width, penalty):
    """Pieces and score. One sentence; lists and loops."""
    limit, live, ended = length_limit(len(received)), [(0.0, [])], []
    for length in range(1, limit + 1):
        grown = []
        for total, pieces in live:
            gains = next_log_probabilities(receiver, received, pieces)
            grown += [(total + float(gain), [*pieces, piece]) for piece, gain in enumerate(gains)]
        grown.sort(key=lambda h: -h[0])
        ended += [
            (score(total, length, penalty), pieces)
            for total, pieces in grown[:width]
            if pieces[-1] == EOS or length == limit
        ]
        live = [h for h in grown if h[1][-1] != EOS][:width]
        if len(ended) >= width or ended and max(ended)[0] >= score(live[0][0], limit, penalty):
            break
    best, pieces = max(ended, key=lambda e: e[0])
    return (pieces[:-1] if pieces[-1] == EOS else pieces), best


def score_of(receiver, received, pieces, penalty):
    """The score of a sentence that was decoded, eos counted unless the limit cut it short."""
    tokens = pieces if len(pieces) == length_limit(len(received)) else [*pieces, EOS]
    total = sum(
        float(next_log_probabilities(receiver, received, tokens[:i])[token]) for i, token in enumerate(tokens)
    )
    return score(total, len(tokens), penalty)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_most_probable_piece_is_that_of_all_logits(monkeypatch, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": precision == "bf16"})
    generator = torch.Generator().manual_seed(0)
    for pieces, width, scale in (
        (5, 8, 1.0),
        (32, 8, 1.0),
        (9001, 64, 1.0),
        (9001, 64, 1e-3),
        (9001, 64, 30.0),
    ):
        projection = torch.nn.Linear(width, pieces)
        with torch.no_grad():
            projection.weight.normal_(std=scale, generator=generator)
            projection.bias.normal_(std=3 * scale, generator=generator)
            projection.bias[0], projection.bias[1] = -1e9, 0.1
            states = torch.randn(70, width, generator=generator)
            logits = projection(states)
            chosen = MostProbable(projection)(states)
            assert torch.equal(chosen, logits.argmax(-1)), (pieces, scale)


@pytest.mark.parametrize(
    "row, shift, compared",
    [
        ("all", 0.0, [torch.int16] * 3),
        ("all", 20.0, [torch.int16] * 3),
        ("all", -20.0, [torch.int16] + [torch.bfloat16] * 3),
        ("one", -0.01, [torch.int16] + [torch.bfloat16] * 3),
        ("one", 0.01, [torch.int16] + [torch.bfloat16] * 3),
    ],
)
def test_screening_by_integers_gives_way_where_a_row_may_have_no_positive_logit(
    monkeypatch, row, shift, compared
):
    """The bias puts all rows' largest logits, or the least of them, at ``shift``: 0.01 is within rounding of
    0. For three batches."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    screened, screen = [], MostProbable._screen
    monkeypatch.setattr(
        MostProbable,
        "_screen",
        lambda self, *given: screened.append(self.compared_as) or screen(self, *given),
    )
    generator = torch.Generator().manual_seed(0)
    projection = torch.nn.Linear(16, 500)
    with torch.no_grad():
        projection.weight.normal_(std=0.25, generator=generator)
        projection.bias.zero_()
        states = torch.randn(70, 16, generator=generator)
        projection.bias.fill_(shift - float(projection(states).amax(1).min()) if row == "one" else shift)
        logits = projection(states)
        most_probable = MostProbable(projection)
        for _ in "123":
            assert torch.equal(most_probable(states), logits.argmax(-1))
    assert screened == compared


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_bias_that_is_no_number_ends_every_row(monkeypatch, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": precision == "bf16"})
    for sign in (1.0, -1.0):
        projection = torch.nn.Linear(16, 500)
        with torch.no_grad():
            projection.bias[7] = torch.tensor(torch.nan).copysign(torch.tensor(sign))
            assert MostProbable(projection)(torch.randn(70, 16)).tolist() == [EOS] * 70


def test_pieces_that_tie_and_states_that_are_no_numbers(monkeypatch):
    monkeypatch.setattr(screening, "EXACT_BLOCKS", 3)
    projection = torch.nn.Linear(8, 1000)
    with torch.no_grad():
        projection.weight.zero_()
        projection.bias.zero_()
        assert MostProbable(projection)(torch.randn(2, 8)).tolist() == [0, 0]
        assert MostProbable(projection)(torch.full((2, 8), torch.nan)).tolist() == [EOS, EOS]


@pytest.mark.parametrize("decode", [greedy, lambda *a: beam(*a, 3, 1.0)], ids=["greedy", "beam"])
def test_batch_mates_order_and_groups_change_nothing(monkeypatch, decode):
    model, batch = listener(5.0), collate(encoded(24, 1, 22))
    received, mask = meet(model, batch)
    together = decode(model.receiver, received, mask)
    assert len(set(map(len, together))) > 3
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(1))
    assert decode(model.receiver, received[order], mask[order]) == [together[i] for i in order]
    alone = [
        decode(model.receiver, y[None, :n], m[None, :n])[0] for y, m, n in zip(received, mask, batch.lengths)
    ]
    assert alone == together
    monkeypatch.setattr(decoding, "ROWS_TOGETHER", 7)
    assert decode(model.receiver, received, mask) == together


@pytest.mark.parametrize("decode", [greedy, lambda *a: beam(*a, 3, 1.0)], ids=["greedy", "beam"])
def test_several_snrs_in_one_batch_are_those_one_at_a_time(decode):
    model, batch = listener(5.0), collate(encoded(10, 1, 14))
    meeting = Meeting(AWGN(), (-6.0, 3.0, 12.0), 0, torch.device("cpu"), 64)
    with torch.no_grad():
        arrived = at_snrs(model, batch, meeting)
        apart = [y for snr in meeting.snrs for y in at_snrs(model, batch, replace(meeting, snrs=(snr,)))]
    together = decode(model.receiver, torch.cat(arrived), batch.source_mask.repeat(3, 1))
    assert together == [pieces for y in apart for pieces in decode(model.receiver, y, batch.source_mask)]
    assert together[:10] != together[20:]


@pytest.mark.parametrize("eos_bias", [-1e9, 4.0, 6.0, 1e9])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_beam_of_width_1_is_greedy(eos_bias, penalty):
    model, batch = listener(eos_bias), collate(encoded(24, 1, 14))
    assert beam(model.receiver, *meet(model, batch), 1, penalty) == greedy(
        model.receiver, *meet(model, batch)
    )


BEAMS = list(product([(2, 1.0), (4, 0.0), (4, 0.6), (5, 2.0)], [-1e9, 3.0, 5.0]))


@pytest.mark.parametrize(
    ("beam_of", "eos_bias"),
    # Every second one is fast: each search, and each bias with one of the widths.
    [pytest.param(*case, marks=[pytest.mark.slow] * (number % 2)) for number, case in enumerate(BEAMS)],
)
def test_beam_equals_the_plain_beam(beam_of, eos_bias, monkeypatch):
    width, penalty = beam_of
    model, batch = listener(eos_bias), collate(encoded(6, 1, 5))
    received, mask = meet(model, batch)
    found = beam(model.receiver, received, mask, width, penalty)
    monkeypatch.setattr(decoding, "LOOK_EVERY", {"cpu": 3})  # as on a GPU
    assert beam(model.receiver, received, mask, width, penalty) == found
    for pieces, y, n in zip(found, received, batch.lengths):
        expected, best = plain_beam(model.receiver, y[:n], width, penalty)
        assert pieces == expected or abs(score_of(model.receiver, y[:n], pieces, penalty) - best) < 1e-4
    if eos_bias > 0:
        assert len(set(map(len, found))) > 2, "the sentences should finish at different times"
        assert found != greedy(model.receiver, received, mask), "the beam should find other sentences"


def every_sentence(receiver, received, pieces, total):
    """Log-probability and length, eos counted, of every sentence that begins with ``pieces``."""
    for piece, gain in enumerate(next_log_probabilities(receiver, received, pieces).tolist()):
        if piece == EOS or len(pieces) + 1 == length_limit(len(received)):
            yield total + gain, len(pieces) + 1
        else:
            yield from every_sentence(receiver, received, [*pieces, piece], total + gain)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 3.0])
def test_a_wide_beam_finds_the_best_of_all_sentences(monkeypatch, penalty):
    monkeypatch.setattr(decoding, "length_limit", lambda length: 4)
    monkeypatch.setitem(globals(), "length_limit", lambda length: 4)
    model, batch = (
        transceiver(size(1, 16, 2, 16), size(1, 16, 2, 16), vocab_size=6),
        collate(encoded(4, vocab_size=6)),
    )
    received, mask = meet(model, batch)
    found = beam(model.receiver, received, mask, 1000, penalty)
    for pieces, y, n in zip(found, received, batch.lengths):
        best = max(
            score(total, length, penalty) for total, length in every_sentence(model.receiver, y[:n], [], 0.0)
        )
        assert score_of(model.receiver, y[:n], pieces, penalty) == pytest.approx(best, abs=1e-4)


def test_a_higher_length_penalty_prefers_longer_sentences():
    model, batch = listener(6.0), collate(encoded(24, 1, 14))
    lengths = [
        sum(map(len, beam(model.receiver, *meet(model, batch), 4, penalty))) for penalty in (0.0, 1.0, 3.0)
    ]
    assert lengths[0] < lengths[1] < lengths[2]


def test_a_beam_ends_at_the_limit_or_at_once():
    model, batch = listener(-1e9), collate(encoded(12, 1, 14))
    assert [len(d) for d in beam(model.receiver, *meet(model, batch), 3, 1.0)] == [
        length_limit(n) for n in batch.lengths
    ]
    model = listener(1e9)
    assert beam(model.receiver, *meet(model, batch), 3, 1.0) == [[]] * 12


@pytest.mark.parametrize("there", [True, False], ids=["kernels", "none"])
def test_kernels_decode_where_they_are_asked_for_and_there(monkeypatch, there):
    model, batch = listener(5.0), collate(encoded(6, 1, 9))
    heard, asked, receiver = meet(model, batch), [], model.receiver
    started = receiver.start

    def packed_start(received, mask, width=1):
        asked.append(width)
        return started(received, mask, width) if there else None

    monkeypatch.setattr(receiver, "packed_start", packed_start)
    monkeypatch.setattr(native, "can_decode", lambda: False)
    for width in (1, 3):
        plainly = Search(width)(receiver, *heard)
        assert asked == [], "asked for only by ``compiled``"
        if there:
            monkeypatch.setattr(receiver, "start", None)
        assert Search(width, compiled=True)(receiver, *heard) == plainly
        monkeypatch.setattr(receiver, "start", started)
        assert asked.pop() == width


def test_what_was_kept_before_there_were_kernels_still_holds():
    assert Search(4, 0.6).key == {"width": 4, "length_penalty": 0.6}
    assert Search(4, 0.6, compiled=True).key != Search(4, 0.6).key
