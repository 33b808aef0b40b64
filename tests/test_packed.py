"""The forward pass over real tokens alone against the padded one, torch's attention and autograd."""

import copy
import itertools
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from toy import CPU, C, encoded, size, through, transceiver

from semcom.base import precision
from semcom.channel.channels import AWGN, Rayleigh, Rician
from semcom.data.batching import collate
from semcom.distillation import fused_linear_loss, trainer
from semcom.distillation.objectives import DistillationObjective, TransceiverObjective
from semcom.distillation.projected_logits import Projected
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.training_settings import TrainingConfig
from semcom.distillation.transfer_settings import TransferConfig
from semcom.models.kernels import native
from semcom.models.kernels.attention import attend
from semcom.models.layers import Residual, seed_dropout
from semcom.models.spans import Spans

LENGTHS, ASKED = [1, 16, 17, 33, 0, 5, 50], [2, 1, 40, 16, 5, 5, 31]
pytestmark = pytest.mark.native


def spans(lengths):
    return Spans.of(torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None])


def relative(found, expected):
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).norm() / expected.norm())


@pytest.fixture
def calls(monkeypatch):
    """What runs in C++, by name."""
    made = []
    work = native.call
    monkeypatch.setattr(
        native,
        "call",
        lambda function, *given, **members: made.append(function) or work(function, *given, **members),
    )
    return made


def test_packing_and_unpacking():
    mask = torch.tensor([[True, True, False], [True, False, False], [True, True, True]])
    x = torch.arange(18.0).view(3, 3, 2)
    found = Spans.of(mask)
    assert torch.equal(found.pack(x), x[mask])
    assert torch.equal(found.unpack(x[mask]), x * mask[..., None])
    assert found.positions.tolist() == [0, 1, 0, 0, 1, 2] and found.starts.tolist() == [0, 2, 3, 6]
    with pytest.raises(ValueError, match="before a real token"):
        Spans.of(mask.flip(1))


def one_by_one(queries, keys, values, heads, asking, asked, causal):
    """torch's attention, each sentence alone."""
    mixed = []
    for (a, b), (c, d) in zip(*(itertools.pairwise(s.starts.tolist()) for s in (asking, asked))):
        q, k, v = (
            x.unflatten(-1, (heads, -1)).transpose(0, 1) for x in (queries[a:b], keys[c:d], values[c:d])
        )
        seen = torch.ones(b - a, d - c, dtype=torch.bool).tril() if causal else None
        mixed.append(F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(0, 1).flatten(1))
    return torch.cat(mixed)


def test_attention_is_torchs(machine, monkeypatch):
    """In float64, and in its gradients; head widths around the 16 of a vector, queries and keys of unlike
    number, several threads."""
    for (width, heads), causal, threads in itertools.product(
        ((6, 2), (16, 1), (72, 3), (128, 8)), (False, True), (1, 3)
    ):
        monkeypatch.setattr(torch, "get_num_threads", partial(int, threads))
        attends_as_torch(width, heads, causal)


def attends_as_torch(width, heads, causal):
    asking, asked = spans(LENGTHS), spans(ASKED)
    generator = torch.Generator().manual_seed(width)
    # As the layers make them: keys and values are columns of one product.
    queries = torch.randn(len(asking.places), width, generator=generator)
    both = torch.randn(len(asked.places), 2 * width + 3, generator=generator)
    upstream = torch.randn(len(asking.places), width, generator=generator)

    def run(dtype, attend):
        q, kv = queries.to(dtype).requires_grad_(), both.to(dtype).requires_grad_()
        mixed = attend(q, kv[:, :width], kv[:, width : 2 * width], heads, asking, asked, causal)
        return mixed, *torch.autograd.grad(mixed, (q, kv), upstream.to(dtype))

    for found, right in zip(run(torch.float32, attend), run(torch.float64, one_by_one)):
        assert relative(found, right) < 1e-6
    for found, right in zip(run(torch.bfloat16, attend), run(torch.float64, one_by_one)):
        assert (
            found.dtype == torch.bfloat16 and relative(found, right) < 8e-3
        )  # factors and results rounded to 8 bits


def test_attention_to_scores_far_apart_is_torchs():
    """Where all but one weight vanish, and where all scores are far below zero; in the gradients too."""
    one, generator = spans([20]), torch.Generator().manual_seed(0)
    queries, keys, values, upstream = (torch.randn(20, 8, generator=generator) for _ in range(4))
    queries *= 60

    def run(dtype, attend):
        given = [x.to(dtype, copy=True).requires_grad_() for x in (queries, keys, values)]
        mixed = attend(*given, 1, one, one, False)
        return mixed, *torch.autograd.grad(mixed, given, upstream.to(dtype))

    for shift in (0.0, -1e4):
        keys[:, 0], queries[:, 0] = shift, 60.0
        for found, right in zip(run(torch.float32, attend), run(torch.float64, one_by_one)):
            assert relative(found, right) < (
                1e-5 if shift == 0 else 5e-2
            )  # at -2e5 a float32 score has two decimals


def test_attention_of_no_queries():
    keys = torch.randn(5, 8, requires_grad=True)
    mixed = attend(
        torch.randn(0, 8, requires_grad=True),
        keys,
        keys,
        2,
        spans_of_none := Spans.of(torch.zeros(2, 3, dtype=torch.bool)),
        spans([2, 3]),
        False,
    )
    assert mixed.shape == (0, 8) and len(spans_of_none.places) == 0
    assert (torch.autograd.grad(mixed.sum(), keys)[0] == 0).all()


def test_numbers_below_float32s_normal_ones_stay_what_they_are():
    """Compiled code takes them for zeros; nothing else does after it, in any of torch's threads."""
    two = spans([300, 400])
    given = [torch.randn(700, 64, requires_grad=True) for _ in "qkv"]
    attend(*given, 1, two, two, False).sum().backward()
    projection = torch.nn.Linear(64, 5000)
    fused_linear_loss.cross_entropy(
        Projected(given[0], projection), torch.zeros(700, dtype=torch.long), compiled=True
    ).backward()
    assert (torch.full((1_000_000,), 1e-30) * 1e-10 > 0).all()


@pytest.mark.parametrize("whose", range(3))
def test_attention_does_not_hide_what_is_no_number(whose):
    two = spans([3, 4])
    given = [torch.randn(7, 8) for _ in "qkv"]
    given[whose][0, 1] = torch.nan
    mixed = attend(*given, 1, two, two, False)
    assert mixed[0].isnan().any() and not mixed[3:].isnan().any()


@pytest.mark.parametrize(
    "given, message",
    [
        (lambda x, s: (x.double(), x, x, 2, s, s), "queries: torch.float64"),
        (lambda x, s: (x, x.bfloat16(), x, 2, s, s), "keys: torch.bfloat16"),
        (lambda x, s: (x, x, x[:6], 2, s, s), r"values: torch.float32 \[6, 8\]"),
        (lambda x, s: (x, x, x.t().contiguous().t(), 2, s, s), "contiguous rows"),
        (lambda x, s: (x, x, x, 3, s, s), "3 heads for width 8"),
        (lambda x, s: (x, x, x, 2, s, spans([7])), "2 sentences ask 1"),
    ],
)
def test_attention_refuses_tensors_that_do_not_fit(given, message):
    with pytest.raises(ValueError, match=message):
        attend(*given(torch.randn(7, 8), spans([3, 4])), False)


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_the_residual_is_that_of_the_layers(rate, machine, monkeypatch):
    """With the same dropout, and in all four gradients; rows that are no multiple of a block, widths none of
    a vector."""
    for (width, rows), threads in itertools.product(((5, 3), (40, 200), (128, 131)), (1, 3)):
        monkeypatch.setattr(torch, "get_num_threads", partial(int, threads))
        is_residual(width, rows, rate)


def is_residual(width, rows, rate):
    module = Residual(width, rate)
    generator = torch.Generator().manual_seed(rows)
    x, change, upstream = (torch.randn(rows, width, generator=generator) for _ in range(3))
    with torch.no_grad():
        module.norm.weight.normal_(generator=generator)
        module.norm.bias.normal_(generator=generator)

    def run(dtype, work):
        seed_dropout(module, 3)
        moved = copy.deepcopy(module).to(dtype)
        given = [t.to(dtype).requires_grad_() for t in (x, change)]
        out = work(moved, *given)
        return out, *torch.autograd.grad(out, (*given, *moved.norm.parameters()), upstream.to(dtype))

    for found, right in zip(
        run(torch.float32, lambda module, *given: module.rows(*given)),
        run(torch.float64, lambda module, *given: module(*given)),
    ):
        assert relative(found, right) < 1e-6
    rounded = change.bfloat16().requires_grad_()
    out = module.eval().rows(x, rounded)
    (found,) = torch.autograd.grad(out, rounded, upstream)
    exact = rounded.detach().float().requires_grad_()
    (right,) = torch.autograd.grad(module(x, exact), exact, upstream)
    assert found.dtype == torch.bfloat16 and relative(found, right) < 4e-3
    assert relative(out, module(x, exact)) < 1e-6


def batch(number=9, seed=0):
    return collate(encoded(number, 1, 20, seed=seed))


def both_passes(model, given, snr=6.0):
    """Signal, encoder and decoder state of real tokens, padded and packed."""
    received = through(model, given, Rayleigh(), snr).detach()
    sent, said = Spans.of(given.source_mask), Spans.of(given.target_mask)
    signal, state = model.transmitter(given.source, given.source_mask)
    right = (
        signal,
        state[given.source_mask],
        model.receiver(received, given.source_mask, given.target_in)[given.target_mask],
    )
    found = (
        *model.transmitter.packed(given.source, given.source_mask, sent),
        model.receiver.packed(received, sent, given.target_in, said),
    )
    return found, right


@pytest.mark.parametrize("width, heads", [(16, 2), (48, 1)])
def test_the_ends_are_those_of_the_transceiver(width, heads, calls):
    model = transceiver(size(2, width, heads), size(3, width, heads))
    with torch.no_grad():
        found, right = both_passes(model, batch())
    for ours, plain in zip(found, right):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
    assert (
        found[0].shape == right[0].shape
        and calls.count("attention") == 2 + 3 * 2
        and calls.count("residual") == 2 * 2 + 3 * 3
    )


def test_gradients_of_all_weights_are_those_of_the_transceiver():
    model = transceiver(size(2), size(2)).train()
    found, right = both_passes(model, batch())
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(x.shape, generator=generator) for x in right]
    ours, plain = (
        torch.autograd.grad(
            sum((x * weight).sum() for x, weight in zip(side, weights)),
            list(model.parameters()),
            allow_unused=True,
        )
        for side in (found, right)
    )
    for (name, _), one, other in zip(model.named_parameters(), ours, plain):
        assert (one is None) == (other is None), name
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5, msg=name)


def test_padding_is_never_read():
    model, given = transceiver(), batch()
    found, _ = both_passes(model, given)
    given.source[~given.source_mask], given.target_in[~given.target_mask] = 7, 9
    sent, said = Spans.of(given.source_mask), Spans.of(given.target_mask)
    signal, _ = model.transmitter.packed(given.source, given.source_mask, sent)
    assert torch.equal(signal, found[0]) and (signal[~given.source_mask] == 0).all()
    poisoned = signal.masked_fill(~given.source_mask[..., None], torch.nan)
    state, plain = (model.receiver.packed(x, sent, given.target_in, said) for x in (poisoned, signal))
    assert torch.equal(state, plain)


CASES = {
    "teacher": None,
    "full": {},
    "encoder": {"distill_part": "encoder"},
    "decoder": {"distill_part": "decoder"},
}


def objective(case, compiled, transfer=None, dropout=0.0):
    teacher, student = (
        transceiver(seed=1, dropout=dropout),
        transceiver(size(1), size(1), seed=2, dropout=dropout),
    )
    if CASES[case] is None:
        return TransceiverObjective(student, Rician(), (0.0, 12.0), compiled=compiled)
    return DistillationObjective(
        [teacher],
        student,
        Rician(),
        (0.0, 12.0),
        DistillationConfig(**CASES[case]),
        transfer,
        compiled=compiled,
    )


@pytest.mark.parametrize(
    "case, transfer",
    [
        *((case, None) for case in CASES),
        ("full", TransferConfig(cross_weight=0.5, feature_weight=0.3)),
        ("full", TransferConfig(encoder_weight=1.0, signal_weight=1.0, decoder_weight=1.0)),
    ],
    ids=lambda x: x if isinstance(x, str) else "" if x is None else "cross" if x.cross_weight else "features",
)
def test_the_compiled_objective_has_the_terms_and_gradients_of_the_plain_one(case, transfer, calls):
    given = batch()
    draw = given.draw(AWGN(), C, seed=0, number=1)
    values = []
    for compiled in (True, False):
        trained = objective(case, compiled, transfer).train()
        seed_dropout(trained, 0)
        terms = trained(given, draw)
        loss = sum(weight * terms[name][0] / terms[name][1] for name, weight in trained.weights.items())
        weights = [p for p in trained.parameters() if p.requires_grad]
        logged = {name: (float(total.detach()), rows) for name, (total, rows) in terms.items()}
        values.append((logged, torch.autograd.grad(loss, weights, allow_unused=True)))
        assert ("attention" in calls) == compiled
        calls.clear()
    (ours, gradients), (plain, right) = values
    assert ours.keys() == plain.keys() and all(
        ours[name] == pytest.approx(plain[name], rel=2e-5) for name in plain
    )
    assert all((a is None) == (b is None) for a, b in zip(gradients, right))
    whole = [torch.cat([g.flatten() for g in side if g is not None]) for side in (gradients, right)]
    assert relative(*whole) < 1e-5


def test_products_in_float16_are_not_packed(calls):
    given = batch()
    with torch.autocast("cpu", torch.float16), torch.no_grad():
        objective("full", True).eval()(given, given.draw(AWGN(), C, seed=0, number=1))
    assert "attention" not in calls


@pytest.mark.parametrize(
    "compiled, dtype, packs",
    [(True, torch.float32, True), (False, torch.float32, False), (True, torch.float64, False)],
)
def test_what_is_packed(compiled, dtype, packs, calls):
    trained = objective("full", compiled).to(dtype).eval()
    given = batch()
    draw = given.draw(AWGN(), C, seed=0, number=1)
    trained(given, type(draw)(*(x.to(dtype) for x in (draw.level, draw.scatter, draw.noise))))
    assert ("attention" in calls) == packs


def curve(compiled, dropout=0.0, precision="fp32"):
    trained = objective("full", compiled, dropout=dropout)
    result = trainer.fit(
        trained,
        encoded(300, 1, 12),
        encoded(20, seed=1),
        TrainingConfig(batch_size=8, steps=100, lr=5e-4, precision=precision),
        width=C,
        device=CPU,
        seed=0,
        quiet=True,
        on_epoch=lambda *_: None,
    )
    return [epoch.loss for epoch in result.history] + [result.best_loss]


def test_the_curve_of_100_steps_is_the_plain_one():
    assert curve(True) == pytest.approx(curve(False), rel=5e-4)


def test_dropout_repeats_and_drops():
    once = curve(True, 0.2)
    assert once == curve(True, 0.2) and once != pytest.approx(curve(True), rel=1e-3)
    assert once == pytest.approx(curve(False, 0.2), rel=0.05), "other units are dropped, as many"


def test_bfloat16_rounds_and_no_more():
    model = transceiver(size(2, 64, 4), size(2, 64, 4))
    with torch.no_grad():
        _, exact = both_passes(model, batch())
        with precision.products("bf16", CPU):
            found, plain = both_passes(model, batch())
    for ours, padded, right in zip(found, plain, exact):
        assert (
            ours.dtype == right.dtype and 1e-5 < relative(ours, right) < 1.5 * relative(padded, right) + 2e-3
        )


def test_a_sentence_alone_and_one_of_many():
    """A batch is nothing but its sentences."""
    model, given = transceiver(), encoded(5, 1, 20)
    with torch.no_grad():
        (_, together, _), _ = both_passes(model, collate(given))
        alone = torch.cat([both_passes(model, collate([one]))[0][1] for one in given])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
