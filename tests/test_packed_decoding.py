"""Decoding by compiled kernels against the plain decoder: its states, its pieces, its sentences."""

import gc
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from test_decoding import listener, meet
from toy import C, encoded, size, through, transceiver

from semcom.base import precision
from semcom.channel.channels import AWGN
from semcom.data.batching import collate
from semcom.data.vocabulary import EOS
from semcom.distillation.optimizer import AdamW
from semcom.models import checkpoint, next_pieces, packed_decoding, weight_cache
from semcom.models.decoding import Search, greedy
from semcom.models.kernels import linear, native, projected_losses, residual, row_losses

pytestmark = pytest.mark.native
SHIPPED = Path(__file__).resolve().parent.parent / "checkpoints" / "teacher.pt"


@pytest.fixture
def calls(monkeypatch):
    """What runs in C++, by name."""
    made, work = [], native.call
    monkeypatch.setattr(native, "call", lambda name, *rest, **m: made.append(name) or work(name, *rest, **m))
    return made


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("ends", [(2, 32, 4, 40), (1, 48, 3, 130), (1, 16, 16, 16), (2, 80, 5, 64)], ids=str)
@torch.inference_mode()
def test_states_are_the_plain_decoders(machine, monkeypatch, ends, width):
    """Heads of 1 to 16 dimensions, of numbers that are no powers of two; sentences of unlike length that
    leave, hypotheses that others continue; more tokens than lie together."""
    monkeypatch.setattr(torch, "get_num_threads", partial(int, 3))
    model = transceiver(size(1, 16), size(*ends))
    batch = collate(encoded(7, 1, 20))
    received = torch.randn(*batch.source.shape, C, generator=torch.Generator().manual_seed(0))
    packed, plain = (
        start(received, batch.source_mask, width)
        for start in (model.receiver.packed_start, model.receiver.start)
    )
    generator, left = torch.Generator().manual_seed(1), 7
    for step in range(35):
        tokens = torch.randint(0, 24, (left * width,), generator=generator)
        torch.testing.assert_close(packed.step(tokens), plain.step(tokens), rtol=2e-5, atol=2e-5)
        if step % 4 == 1 or width > 1:
            stay = torch.arange(left)[(step % 4 == 1 and left > 1) :]
            parents = torch.randint(0, width, (len(stay), width), generator=generator)
            rows = (stay[:, None] * width + parents).flatten()
            packed.reorder(stay, rows)
            plain.reorder(stay, rows)
            left = len(stay)
    assert left == 1


def projections():
    generator = torch.Generator().manual_seed(0)
    for pieces, width, scale in (
        (5, 8, 1.0),
        (64, 20, 1.0),
        (3001, 50, 1.0),
        (3001, 64, 1e-3),
        (3001, 64, 30.0),
    ):
        projection = torch.nn.Linear(width, pieces)
        with torch.no_grad():
            projection.weight.normal_(std=scale, generator=generator)
            projection.bias.normal_(std=3 * scale, generator=generator)
            projection.bias[0], projection.bias[1] = -1e9, 0.1
        yield projection, torch.randn(70, width, generator=generator)


@torch.inference_mode()
def test_the_most_probable_piece_is_that_of_all_logits(machine):
    for projection, states in projections():
        expected = projection(states).argmax(-1)
        assert torch.equal(next_pieces.MostProbable(projection)(states), expected)
        assert torch.equal(next_pieces.Likeliest(projection).most_probable(states), expected)


@torch.inference_mode()
def test_few_logits_are_computed_exactly(calls):
    """What screening leaves open is little, or it would gain nothing."""
    projection = torch.nn.Linear(128, 20_000)
    states = torch.nn.functional.layer_norm(torch.randn(50, 128), (128,))
    most_probable = next_pieces.MostProbable(projection)
    with torch.no_grad():
        most_probable.weight = torch.zeros_like(most_probable.weight)  # exact logits: the biases alone
    screened = projection(states)
    wrong = screened.gather(1, most_probable(states)[:, None])[:, 0]
    assert (screened.amax(1) - wrong).max() < 0.4, "the bound is many times what rounding can do"


@torch.inference_mode()
def test_the_first_panels_are_screened_too(machine):
    """The one large logit stands first, after which no piece but it need be looked at: others' rows are not
    read, so what they are does not matter."""
    projection = torch.nn.Linear(16, 4000)
    projection.weight.normal_(std=0.01)
    projection.bias.zero_()
    projection.bias[3] = 100.0
    most_probable = next_pieces.MostProbable(projection)
    most_probable.exact_bias = projection.bias.clone()
    most_probable.exact_bias[16:] = 1e6
    assert (most_probable(torch.randn(9, 16)) == 3).all()


@torch.inference_mode()
def test_every_nan_reaches_the_log_probabilities(machine):
    """Those too whose last bits, moved into the exponent, would make a number of it."""
    states = torch.zeros(1, 16)
    states.view(torch.int32)[0, 2] = 0x7FC00001
    logs, _ = next_pieces.Likeliest(torch.nn.Linear(16, 100))(states, 3)
    assert logs.isnan().all()


@pytest.mark.parametrize(
    "function, kind, huge",
    [
        ("linear", linear._LINEAR, {"inputs": 2**50, "outputs": 1}),
        ("residual", residual._RESIDUAL, {"width": 2**50}),
        ("row_losses", row_losses._CHUNK, {"rows": 2**50}),
        ("projected_losses", projected_losses._PROJECTED, {"pieces": 2**50, "width": 1, "chunk": 48}),
        ("decoding_step", packed_decoding._STEP, {"hidden": 2**50}),
        ("most_probable", next_pieces._MOST_PROBABLE, {"rows": 1, "width": 2**50}),
    ],
)
def test_too_little_memory_is_an_exception(function, kind, huge):
    """In threads, too, where it would end the process."""
    with pytest.raises(MemoryError, match=function):
        native.call(function, torch.float32, kind, **huge)


def test_later_pages_have_room_for_the_sentences_that_are_left():
    model, batch = listener(-1e9), collate(encoded(7, 1, 9))
    received, mask = meet(model, batch)
    state = model.receiver.packed_start(received, mask, 2)
    for step in range(packed_decoding.PAGE + 1):
        if step == 3:
            state.reorder(torch.tensor([1, 4]), torch.tensor([2, 2, 9, 8]))
        state.step(torch.ones(14 if step < 3 else 4, dtype=torch.int64))
    assert [page.shape[2] for page in state.pages] == [14, 4]


@torch.inference_mode()
def test_the_likeliest_pieces_are_those_of_all_logits(machine):
    for projection, states in projections():
        for count in (1, 3, 64):
            found, pieces = next_pieces.Likeliest(projection)(states, count)
            logs = projection(states).double().log_softmax(-1)
            expected, its = logs.topk(min(count, logs.shape[1]))
            rounding = 1e-6 * float(projection(states)[:, 1:].abs().max())
            torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=rounding)
            assert torch.equal(logs.gather(1, pieces), expected), "the same pieces, but for ties"
            assert len(pieces[0].unique()) == pieces.shape[1]


@pytest.mark.parametrize("kind", [next_pieces.MostProbable, lambda p: next_pieces.Likeliest(p).most_probable])
@torch.inference_mode()
def test_pieces_that_tie_and_states_that_are_no_numbers(machine, kind):
    projection = torch.nn.Linear(8, 1000)
    projection.weight.zero_()
    projection.bias.zero_()
    states = torch.randn(9, 8)
    states[3], states[5, 2] = torch.nan, torch.inf
    found = kind(projection)(states)
    assert found[5] in (0, EOS), "infinity times 0 is no number"
    assert [*found[:5], *found[6:]] == [0, 0, 0, EOS, 0, 0, 0, 0]


def test_weights_that_are_no_numbers_are_left_to_torch():
    projection = torch.nn.Linear(16, 500)
    assert next_pieces.likeliest_of(projection, 8) and next_pieces.most_probable_of(projection)
    with torch.no_grad():
        projection.bias[7] = torch.nan
    assert next_pieces.likeliest_of(projection, 8) is None
    assert next_pieces.most_probable_of(projection) is None


@pytest.mark.parametrize("capable", ["amx_bf16", "avx512_vnni", "neither"])
def test_matrix_units_screen_better_and_others_need_not(monkeypatch, capable):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capable: True})
    chosen = next_pieces.most_probable_of(torch.nn.Linear(16, 500))
    kinds = {
        "amx_bf16": type(None),
        "avx512_vnni": next_pieces.MostProbable,
        "neither": next_pieces.Likeliest,
    }
    assert isinstance(getattr(chosen, "__self__", chosen), kinds[capable])


@pytest.mark.parametrize("eos_bias", [-1e9, 4.0, 1e9])
def test_sentences_are_the_plain_decoders(machine, calls, eos_bias):
    model, batch = listener(eos_bias), collate(encoded(24, 1, 14))
    heard = meet(model, batch)
    for width in (1, 2, 4):
        search = Search(width)
        calls.clear()
        assert Search(width, compiled=True)(model.receiver, *heard) == search(model.receiver, *heard)
        assert {"decoding_step"} < set(calls)
    limits = [1 + n % 5 for n in batch.lengths]
    assert greedy(model.receiver, *heard, limits, compiled=True) == greedy(model.receiver, *heard, limits)
    one = [part[3:4, : batch.lengths[3]] for part in heard]
    assert greedy(model.receiver, *one, compiled=True) == greedy(model.receiver, *one)


@pytest.mark.parametrize("snr", [-6.0, 3.0, 12.0])
def test_the_shipped_teacher_says_the_same(snr):
    teacher = checkpoint.load(SHIPPED)
    receiver = teacher.model.eval().receiver
    batch = collate(encoded(40, 3, 20, vocab_size=2000))
    received = through(teacher.model, batch, AWGN(), snr)
    for width in (1, 4):
        plainly = Search(width)(receiver, received, batch.source_mask)
        assert Search(width, compiled=True)(receiver, received, batch.source_mask) == plainly
    assert len(set(map(len, plainly))) > 3


def test_threads_and_batch_mates_change_no_bit(monkeypatch):
    model, batch = listener(5.0), collate(encoded(30, 1, 20))
    received, mask = meet(model, batch)
    states = []
    for threads, order in ((1, torch.arange(30)), (3, torch.arange(30)), (2, torch.randperm(30))):
        monkeypatch.setattr(torch, "get_num_threads", partial(int, threads))
        with torch.inference_mode():
            state = model.receiver.packed_start(received[order], mask[order])
            made = torch.stack([state.step(torch.full((30,), token)) for token in range(5)])
            likeliest = next_pieces.Likeliest(model.receiver.projection)(made[-1], 4)
        back = order.argsort()
        states.append((made[:, back], likeliest[0][back], likeliest[1][back]))
    for found in states[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found, states[0]))


@pytest.mark.parametrize("reason", ["trains", "bfloat16", "no compiler", "narrow"])
def test_the_plain_way_where_there_is_no_other(monkeypatch, calls, reason):
    model, batch = listener(5.0), collate(encoded(6, 1, 9))
    if reason == "narrow":
        model = transceiver(size(1, 24, 2, 16), size(1, 24, 2, 16))
    heard = meet(model, batch)
    expected = [Search(width)(model.receiver, *heard) for width in (1, 3)]
    if reason == "trains":
        model.receiver.train()
    if reason == "bfloat16":
        monkeypatch.setattr(precision, "product_dtype", lambda device: torch.bfloat16)
    if reason == "no compiler":
        monkeypatch.setattr(native, "can_decode", lambda: False)
    assert model.receiver.packed_start(*heard) is None
    assert [Search(width, compiled=True)(model.receiver, *heard) for width in (1, 3)] == expected
    assert "decoding_step" not in calls


def moved_by_ours(weights):
    AdamW(weights, 0.0).step(0.5)


def moved_by_torchs(weights):
    torch.optim.AdamW(weights, lr=0.5, fused=True).step()


def moved_behind_autograd(weights):
    for each in weights:
        each.data.add_(0.5 * each.grad)


@pytest.mark.parametrize("move", [moved_by_ours, moved_by_torchs, moved_behind_autograd])
def test_packed_weights_follow_what_moves_no_version(move):
    projection = torch.nn.Linear(16, 200)
    states, weights = torch.randn(50, 16), list(projection.parameters())
    before = next_pieces.most_probable_of(projection)(states)
    versions = [each._version for each in weights]
    for each in weights:
        each.grad = torch.randn_like(each)
    move(weights)
    assert [each._version > version for each, version in zip(weights, versions)] == [
        move is moved_by_ours
    ] * 2
    after = next_pieces.most_probable_of(projection)(states)
    assert torch.equal(after, projection(states).argmax(-1)) and not torch.equal(after, before)


def test_packed_weights_follow_their_module():
    model, batch = listener(5.0), collate(encoded(12, 1, 9))
    heard = meet(model, batch)
    before = greedy(model.receiver, *heard, compiled=True)
    first = weight_cache.kept(next_pieces.Likeliest, model.receiver.projection)
    assert weight_cache.kept(next_pieces.Likeliest, model.receiver.projection) is first
    with torch.no_grad():
        for weights in model.receiver.parameters():
            weights.add_(0.2 * torch.randn_like(weights))
    after = greedy(model.receiver, *heard, compiled=True)
    assert after == greedy(model.receiver, *heard) != before
    for weights in model.receiver.parameters():
        weights.data = torch.randn_like(weights) / math.sqrt(weights.shape[-1])
    assert greedy(model.receiver, *heard, compiled=True) == greedy(model.receiver, *heard) != after
    held = len(weight_cache._KEPT)
    del model
    gc.collect()
    assert len(weight_cache._KEPT) < held


def test_what_does_not_fit_is_refused():
    model, batch = listener(5.0), collate(encoded(3))
    state = model.receiver.packed_start(*meet(model, batch))
    for tokens in (torch.tensor([1, 2]), torch.tensor([1.0, 2.0, 3.0])):
        with pytest.raises(ValueError, match="tokens: "):
            state.step(tokens)
    with pytest.raises(IndexError, match="tokens from 1 to 24, of 24"):
        state.step(torch.tensor([1, 24, 3]))
    with pytest.raises(ValueError, match=r"must be float32 \[N, 32\]"):
        next_pieces.MostProbable(model.receiver.projection)(torch.randn(4, 31))
