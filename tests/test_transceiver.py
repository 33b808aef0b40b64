"""Transmitter, receiver, their layers, and splices of two transceivers."""

import math

import pytest
import torch
from torch import nn
from toy import C, V, architecture, bits, encoded, same_bits, silent, size, through, transceiver

from semcom.base import device
from semcom.base.errors import SemcomError
from semcom.channel.channels import AWGN, Ideal, Rayleigh
from semcom.data.batching import collate
from semcom.distillation import losses
from semcom.models.architecture import Architecture
from semcom.models.channel_parts import normalize_power
from semcom.models.decoding import greedy
from semcom.models.layers import (
    Attention,
    Dropout,
    Embedding,
    EncoderLayer,
    seed_dropout,
    sinusoidal_positions,
)
from semcom.models.settings import PARTS, RECEIVER_PARTS, TRANSMITTER_PARTS
from semcom.models.transceiver import Transceiver, build, splice, start_from_teacher
from semcom.models.transformer import TransformerSize, evenly_spaced

LENGTHS = dict(shortest=3, longest=12)


LINK = AWGN()


@torch.no_grad()
def logits(model, batch, channel=LINK, snr=6.0):
    return model.receiver.project(
        model.receiver(through(model, batch, channel, snr), batch.source_mask, batch.target_in)
    )


def loss(model, batch):
    rows = logits(model, batch)[batch.target_mask]
    return float(losses.cross_entropy(rows, batch.target_out[batch.target_mask]).double().mean())


# Power


def test_power_is_one_per_complex_symbol_over_real_tokens():
    batch = collate(encoded(20, **LENGTHS), pad_to=20)
    signal, _ = transceiver().transmitter(batch.source, batch.source_mask)
    for row, length in zip(signal, batch.lengths):
        assert row[:length].square().sum().item() / (length * C / 2) == pytest.approx(1, rel=1e-5)
        assert not row[length:].any()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_weak_and_strong_signals_are_scaled_alike(scale):
    x = torch.randn(4, 6, C, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(6)[None] < torch.tensor([6, 1, 3, 5])[:, None]
    x[~mask] = 1e6
    scaled = normalize_power(x * scale, mask)
    torch.testing.assert_close(scaled, normalize_power(x, mask))
    torch.testing.assert_close(scaled.square().sum((1, 2)), mask.sum(1) * C / 2)


# Masks


def test_more_padding_changes_neither_loss_nor_sentences():
    model, sentences = transceiver(), encoded(16, **LENGTHS)
    tight, wide = collate(sentences), collate(sentences, pad_to=60)
    assert loss(model, wide) == pytest.approx(loss(model, tight), rel=1e-6)
    assert logits(model, wide).isfinite().all()
    decoded = [
        greedy(model.receiver, through(model, b, Rayleigh(), 6.0), b.source_mask) for b in (tight, wide)
    ]
    assert decoded[0] == decoded[1] and any(decoded[0])


def test_padded_places_get_exactly_no_gradient():
    model, batch = transceiver(), collate(encoded(6, **LENGTHS), pad_to=15)
    received = through(model, batch, AWGN(), 6.0).detach().requires_grad_()
    state = model.receiver(received, batch.source_mask, batch.target_in)[batch.target_mask]
    state.square().sum().backward()
    assert not received.grad[~batch.source_mask].any() and received.grad[batch.source_mask].any(-1).all()


def test_a_sentence_is_the_same_alone_and_in_a_batch():
    model, sentences = transceiver(), encoded(8, **LENGTHS)
    together = logits(model, collate(sentences))
    for row, sentence in enumerate(sentences):
        alone = logits(model, collate([sentence]))[0]
        torch.testing.assert_close(together[row, : len(alone)], alone, rtol=1e-4, atol=1e-5)


def test_later_target_tokens_change_nothing_before():
    model, batch = transceiver(), collate(encoded(3, 10, 10))
    received = through(model, batch, AWGN(), 6.0)
    before = model.receiver(received, batch.source_mask, batch.target_in)
    for position in range(1, batch.target_in.shape[1]):
        changed = batch.target_in.clone()
        changed[:, position:] = (changed[:, position:] + 7) % V
        after = model.receiver(received, batch.source_mask, changed)
        torch.testing.assert_close(after[:, :position], before[:, :position], rtol=0, atol=1e-6)
        assert (after[:, position] - before[:, position]).abs().max() > 1e-3


def test_encoder_sees_both_ways_and_receiver_every_symbol():
    model, batch = transceiver(), collate(encoded(1, 10, 10))
    source = batch.source.clone()
    source[0, -2] = 4 + (source[0, -2] - 3) % (V - 4)
    states = [model.transmitter.encoder(ids, batch.source_mask) for ids in (batch.source, source)]
    assert (states[0] != states[1]).any(-1).all()
    received = through(model, batch, Ideal(), 0.0).detach().requires_grad_()
    model.receiver(received, batch.source_mask, batch.target_in)[0, 0].square().sum().backward()
    assert received.grad[0].any(-1).all()


# Layers


def attention_by_loop(module, x, memory, mask):
    """Scaled dot-product attention, one sentence, head and query at a time."""
    heads, width = module.heads, x.shape[-1]
    d = width // heads
    q, k, v = module.query(x), module.key(memory), module.value(memory)
    mixed = torch.zeros_like(x)
    for b in range(x.shape[0]):
        for h in range(heads):
            part = slice(h * d, (h + 1) * d)
            for t in range(x.shape[1]):
                seen = [s for s in range(memory.shape[1]) if mask[b, t, s]]
                scores = torch.stack([q[b, t, part] @ k[b, s, part] / math.sqrt(d) for s in seen])
                weights = scores.exp() / scores.exp().sum()
                mixed[b, t, part] = sum(w * v[b, s, part] for w, s in zip(weights, seen))
    return module.output(mixed)


def test_attention_against_loops_in_float64(monkeypatch):
    # On a CPU attention widens to float32 at least; here it must not narrow from float64.
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)
    torch.manual_seed(0)
    module = Attention(12, 3).double()
    x, memory = torch.randn(2, 4, 12).double(), torch.randn(2, 5, 12).double()
    mask = torch.rand(2, 4, 5) < 0.6
    mask[..., 0] = True
    found = module(x, module.keys_values(memory), mask[:, None])
    torch.testing.assert_close(found, attention_by_loop(module, x, memory, mask), rtol=1e-10, atol=1e-10)


def test_shares_are_those_by_which_attention_mixes_values():
    torch.manual_seed(0)
    module = Attention(12, 3).double()
    x, memory = torch.randn(2, 4, 12).double(), torch.randn(2, 5, 12).double()
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()[:, None, None]
    keys, values = module.keys_values(memory)
    shares = module.shares(x, keys, mask)
    mixed = module.output((shares @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(mixed, module(x, (keys, values), mask), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(shares.sum(-1), torch.ones(2, 3, 4).double())
    assert (shares[1, ..., 3:] == 0).all() and (shares[0] > 0).all()


def test_a_receiver_tells_from_where_its_last_layer_reads():
    """Beside what that layer's attention is really given in the forward pass."""
    model, batch = transceiver(size(3), size(3)), collate(encoded(3))
    received, given = through(model, batch, LINK, 6.0), []
    last = model.receiver.decoder.layers[-1].cross_attention
    last.register_forward_hook(lambda module, args, made: given.append((*args, made)))
    with torch.no_grad():
        model.receiver(received, batch.source_mask, batch.target_in)
        ((x, (keys, values), mask, made),) = given
        queries = last.query(x).unflatten(-1, (last.heads, -1)).transpose(1, 2)
        likeness = queries @ keys.mT / keys.shape[-1] ** 0.5
        by_head = likeness.masked_fill(~mask, -1e9).softmax(-1)
        found = model.receiver.attention(received, batch.source_mask, batch.target_in)
    torch.testing.assert_close(last.output((by_head @ values).transpose(1, 2).flatten(2)), made)
    torch.testing.assert_close(found, by_head.mean(1))
    assert found.shape == (3, *batch.target_in.shape[1:], batch.source.shape[1])
    torch.testing.assert_close(found.sum(-1), torch.ones(found.shape[:2]))
    assert (found[~batch.source_mask[:, None].expand_as(found)] == 0).all()


def test_encoder_layer_is_post_norm():
    torch.manual_seed(0)
    layer = EncoderLayer(8, 2, 16, 0.0).eval()
    x, mask = torch.randn(2, 3, 8), torch.ones(2, 1, 1, 3, dtype=torch.bool)

    def norm(y):
        return (y - y.mean(-1, keepdim=True)) / (y.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()

    middle = norm(x + layer.attention(x, layer.attention.keys_values(x), mask))
    torch.testing.assert_close(
        layer(x, mask), norm(middle + layer.feed_forward(middle)), rtol=1e-4, atol=1e-5
    )


def test_channel_decoder_by_its_formula():
    decoder = transceiver().receiver.channel_decoder
    y = torch.randn(2, 3, C)
    u = decoder.linear1(y)
    expected = decoder.norm(u + decoder.linear3(decoder.linear2(u.clamp(min=0)).clamp(min=0)))
    torch.testing.assert_close(decoder(y), expected)


@pytest.mark.parametrize("width", [16, 128])
def test_positions_by_formula(width):
    table = sinusoidal_positions(50, width)
    for position in (0, 1, 7, 49):
        for i in range(0, width, 2):
            angle = position / 10000 ** (i / width)
            assert table[position, i].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[position, i + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_embedding_is_scaled_and_starts_where_told():
    embedding = Embedding(V, 16, 0.0).eval()
    ids = torch.tensor([[5, 6, 7]])
    expected = embedding.table.weight[ids] * 4 + sinusoidal_positions(20, 16)[10:13]
    torch.testing.assert_close(embedding(ids, start=10), expected)


def test_fresh_weights():
    model = build(architecture(size(width=64), size(width=16), vocab_size=2000), seed=3)
    for table, width in (
        (model.transmitter.encoder.embedding.table, 64),
        (model.receiver.decoder.embedding.table, 16),
    ):
        error = width**-0.5 / (2 * table.weight.numel()) ** 0.5
        assert table.weight.std().item() == pytest.approx(width**-0.5, abs=5 * error)
    norms = [m for m in model.modules() if isinstance(m, nn.LayerNorm)]
    assert norms and all(norm.eps == 1e-6 for norm in norms)
    for linear in (m for m in model.modules() if isinstance(m, nn.Linear)):
        bound = linear.in_features**-0.5
        for values in (linear.weight, linear.bias):
            assert values.abs().max() <= bound
        spread, count = bound / 3**0.5, linear.weight.numel()
        assert linear.weight.std().item() == pytest.approx(spread, abs=5 * spread / count**0.5)
    assert same_bits(bits(model), bits(build(model.architecture, seed=3)))
    assert not same_bits(bits(model), bits(build(model.architecture, seed=4)))


def test_default_sizes_are_those_of_deepsc():
    a = Architecture(4000, TransformerSize(), TransformerSize())
    assert a.transmitter == a.receiver == size(4, 128, 8, 512) and (a.channel_dim, a.dropout) == (16, 0.1)
    with torch.device("meta"):
        model = Transceiver(a)
    shapes = [tuple(m.weight.shape) for m in model.transmitter.channel_encoder if isinstance(m, nn.Linear)]
    assert shapes == [(256, 128), (16, 256)]
    channel_decoder = model.receiver.channel_decoder
    assert [
        tuple(m.weight.shape)
        for m in (channel_decoder.linear1, channel_decoder.linear2, channel_decoder.linear3)
    ] == [(128, 16), (512, 128), (128, 512)]


# Dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_at_its_rate_and_keeps_the_mean(rate):
    dropout = Dropout(rate).train()
    seed_dropout(dropout, 0)
    kept = dropout(torch.ones(1000, 301))
    count = kept.numel()
    error = (rate * (1 - rate) / count) ** 0.5
    assert (kept == 0).double().mean().item() == pytest.approx(rate, abs=5 * error + 2**-16)
    torch.testing.assert_close(kept[kept != 0], torch.full((1,), 1 / (1 - rate)).expand((kept != 0).sum()))
    neighbours = torch.corrcoef(torch.stack((kept.flatten()[:-1], kept.flatten()[1:])))[0, 1]
    assert abs(neighbours) < 5 / count**0.5


def test_dropout_repeats_by_seed_and_moves_on_between_calls():
    model, batch = transceiver(dropout=0.2).train(), collate(encoded(4))

    def states(seed):
        seed_dropout(model, seed)
        return [model.transmitter(batch.source, batch.source_mask)[1] for _ in range(2)]

    first, again, other = states(1), states(1), states(2)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[0], other[0])


def test_dropout_is_off_in_eval_and_its_gradient_follows_the_mask():
    dropout = Dropout(0.5)
    seed_dropout(dropout, 0)
    x = torch.ones(1000, requires_grad=True)
    y = dropout.train()(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach()) and torch.equal(dropout.eval()(x), x)


# Splices


@pytest.fixture(scope="module")
def pair():
    """Ends of different depth and width."""
    return (
        transceiver(size(3, 16, 2, 32), size(2, 16, 4, 24), seed=1),
        transceiver(size(1, 24, 3, 20), size(2, 8, 2, 16), seed=2),
    )


def outputs(model):
    with torch.no_grad():
        return logits(model, collate(encoded(5, **LENGTHS)), Rayleigh())


def test_splice_of_nothing_is_the_teacher_and_of_all_the_student(pair):
    for parts, expected in (((), pair[0]), (PARTS, pair[1])):
        hybrid = splice(*pair, parts)
        assert same_bits(bits(hybrid), bits(expected)) and torch.equal(outputs(hybrid), outputs(expected))
        assert hybrid.architecture == expected.architecture


@pytest.mark.parametrize("parts", [TRANSMITTER_PARTS, RECEIVER_PARTS])
def test_ends_of_any_depth_and_width_splice(pair, parts):
    teacher, student = pair
    hybrid = splice(teacher, student, parts)
    for name in PARTS:
        assert same_bits(bits(hybrid.part(name)), bits((student if name in parts else teacher).part(name)))
    batch = collate(encoded(5, **LENGTHS))
    sender, listener = (student, teacher) if parts == TRANSMITTER_PARTS else (teacher, student)
    signal, _ = sender.transmitter(batch.source, batch.source_mask)
    draw = silent(batch.lengths)
    received = Ideal().apply(signal, draw, 0.0)
    expected = listener.receiver.project(
        listener.receiver(received, batch.source_mask, batch.target_in)
    ).detach()
    assert torch.equal(logits(hybrid, batch, Ideal()), expected)
    rebuilt = build(hybrid.architecture, 0)
    rebuilt.load_state_dict(hybrid.state_dict())
    assert torch.equal(outputs(rebuilt.eval()), outputs(hybrid))


@pytest.mark.parametrize("part", PARTS)
def test_one_part_of_equal_width_splices(part):
    teacher, student = transceiver(seed=1), transceiver(size(1, 16, 4, 20), size(3, 16, 4, 20), seed=2)
    hybrid = splice(teacher, student, [part])
    for name in PARTS:
        assert same_bits(bits(hybrid.part(name)), bits((student if name == part else teacher).part(name)))
    rebuilt = build(hybrid.architecture, 0)
    rebuilt.load_state_dict(hybrid.state_dict())
    assert torch.equal(outputs(rebuilt.eval()), outputs(hybrid))


@pytest.mark.parametrize("part", PARTS)
def test_parts_of_unequal_width_are_not_separated(pair, part):
    end = TRANSMITTER_PARTS if part in TRANSMITTER_PARTS else RECEIVER_PARTS
    widths = (16, 24) if part in TRANSMITTER_PARTS else (16, 8)
    with pytest.raises(
        SemcomError, match=rf"--hybrid-parts {part}.*D={widths[0]}.*{widths[1]}.*take both: {' '.join(end)}"
    ):
        splice(*pair, [part])


def test_other_vocabularies_and_signals_do_not_join():
    teacher = transceiver()
    for other, message in (
        (transceiver(vocab_size=V + 1), f"vocabulary size {V} beside {V + 1}"),
        (transceiver(channel_dim=C + 2), f"signal width C {C} beside {C + 2}"),
    ):
        with pytest.raises(SemcomError, match=message):
            splice(teacher, other, RECEIVER_PARTS)
    with pytest.raises(SemcomError, match="'head' is unknown; allowed are encoder channel_encoder"):
        splice(teacher, teacher, ["head"])


def test_a_splice_shares_no_memory_with_its_sources(pair):
    before = bits(pair[0]), bits(pair[1])
    hybrid = splice(*pair, RECEIVER_PARTS)
    with torch.no_grad():
        for parameter in hybrid.parameters():
            parameter.zero_()
    assert same_bits(before[0], bits(pair[0])) and same_bits(before[1], bits(pair[1]))


# Students from teacher layers


@pytest.mark.parametrize(
    "total, wanted, chosen",
    [
        (4, 2, [0, 3]),
        (4, 1, [0]),
        (4, 4, [0, 1, 2, 3]),
        (6, 3, [0, 2, 5]),
        (5, 3, [0, 2, 4]),
        (12, 4, [0, 4, 7, 11]),
    ],
)
def test_layers_are_evenly_spaced(total, wanted, chosen):
    assert evenly_spaced(total, wanted) == chosen


@pytest.mark.parametrize("depth, chosen", [(2, [0, 3]), (1, [0])])
def test_student_starts_start_from_teacher(depth, chosen):
    teacher, student = transceiver(size(4), size(4), seed=1), transceiver(size(depth), size(depth), seed=2)
    start_from_teacher(teacher, student)
    for name in ("encoder", "decoder"):
        theirs, ours = teacher.part(name), student.part(name)
        assert len(ours.layers) == depth
        for index, layer in zip(chosen, ours.layers):
            assert same_bits(bits(layer), bits(theirs.layers[index]))
        assert torch.equal(ours.embedding.table.weight, theirs.embedding.table.weight)
    assert torch.equal(student.receiver.decoder.projection.weight, teacher.receiver.decoder.projection.weight)
    for name in ("channel_encoder", "channel_decoder"):
        assert same_bits(bits(student.part(name)), bits(teacher.part(name)))


def test_student_of_the_teachers_depth_is_the_teacher():
    teacher, student = transceiver(seed=1), transceiver(seed=2)
    start_from_teacher(teacher, student)
    assert torch.equal(outputs(student), outputs(teacher))


def test_a_model_that_the_machine_could_not_train_is_refused(monkeypatch):
    sizes, state = architecture(), torch.get_rng_state()
    needed = 16 * Transceiver(sizes).parameter_count()
    torch.set_rng_state(state)
    monkeypatch.setattr(device, "memory", lambda: needed)
    build(sizes, 0)
    monkeypatch.setattr(device, "memory", lambda: needed - 1)
    with pytest.raises(SemcomError, match="parameters: training it takes .* smaller widths"):
        build(sizes, 0)
    monkeypatch.undo()
    assert device.memory() > 10**8
    with pytest.raises(SemcomError, match="this machine has"):
        build(architecture(size(64, 8192, 8, 65536)), 0)
