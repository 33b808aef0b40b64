"""What stands before a receiver: it changes what the receiver reads, and nothing else."""

from dataclasses import asdict, replace

import pytest
import torch
from test_contract_architecture import GRUSize, gru  # noqa: F401  # a fixture
from toy import C, architecture, bits, collated, same_bits, sharp, size, through, transceiver, word_vocabulary

from semcom.base.errors import SemcomError
from semcom.channel.channels import AWGN
from semcom.models import checkpoint, deepsc_weights
from semcom.models.aligner import Aligner
from semcom.models.architecture import AlignerSize
from semcom.models.checkpoint import Checkpoint, fingerprint_of
from semcom.models.decoding import Search
from semcom.models.kernels import native
from semcom.models.receiver_fronts import AlignedReceiver
from semcom.models.settings import PARTS, RECEIVER_PARTS
from semcom.models.spans import Spans
from semcom.models.transceiver import build, splice, start_from_teacher, with_aligner

NARROW = 6


def drawn_aligner(inputs=C, outputs=C, *, bias=True, hidden=5, seed=3):
    """Far from a map that does nothing."""
    aligner = Aligner(inputs, AlignerSize(outputs, bias, hidden))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in aligner.parameters():
            weights.copy_(torch.randn(weights.shape, generator=generator) / 2)
    return aligner


def by_hand(aligner, received, mask):
    """The formula of the map at real tokens, zeros elsewhere."""
    weights = {name: tensor.double() for name, tensor in aligner.state_dict().items()}
    x = received.double()
    made = x @ weights["straight.weight"].T + weights["straight.bias"]
    inner = (x @ weights["bent.0.weight"].T + weights["bent.0.bias"]).clamp_min(0)
    made += inner @ weights["bent.2.weight"].T
    return (made * mask[..., None]).float()


@pytest.fixture
def foreign():
    return transceiver(seed=1)


@pytest.fixture
def listener():
    return transceiver(size(), size(1, 32, 4, 40), seed=2, channel_dim=NARROW)


@pytest.fixture
def aligned(foreign, listener):
    return with_aligner(foreign, listener, drawn_aligner(C, NARROW))


@torch.no_grad()
def test_the_receiver_reads_what_the_map_makes(foreign, listener, aligned):
    batch = collated(7, 2, 9)
    received = through(aligned, batch, AWGN(), 6.0)
    mapped = by_hand(aligned.part("aligner"), received, batch.source_mask)
    ours = aligned.receiver(received, batch.source_mask, batch.target_in)
    theirs = listener.receiver(mapped, batch.source_mask, batch.target_in)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    read = aligned.receiver.attention(received, batch.source_mask, batch.target_in)
    wanted = listener.receiver.attention(mapped, batch.source_mask, batch.target_in)
    torch.testing.assert_close(read, wanted, atol=1e-5, rtol=1e-5)
    assert (aligned.receiver.front(received, batch.source_mask)[~batch.source_mask] == 0).all()
    signal, _ = aligned.transmitter(batch.source, batch.source_mask)
    assert torch.equal(signal, foreign.transmitter(batch.source, batch.source_mask)[0])


@pytest.mark.parametrize("search", [Search(), Search(width=3)], ids=["greedy", "beam"])
@torch.inference_mode()
def test_decoding_is_that_of_the_receiver_behind(search):
    model, aligner = sharp(), drawn_aligner()
    batch = collated(9, 2, 9)
    received = through(model, batch, AWGN(), 6.0)
    aligned = with_aligner(model, model, aligner)
    mapped = aligner(received) * batch.source_mask[..., None]
    expected = search(model.receiver, mapped, batch.source_mask)
    assert search(aligned.receiver, received, batch.source_mask) == expected
    assert expected != search(model.receiver, received, batch.source_mask)


@pytest.mark.native
def test_compiled_kernels_run_behind_it(aligned, monkeypatch):
    ran, work = [], native.call
    monkeypatch.setattr(native, "call", lambda name, *rest, **m: ran.append(name) or work(name, *rest, **m))
    batch = collated(7, 2, 9)
    received = through(aligned, batch, AWGN(), 6.0).detach().requires_grad_()
    sent, said = Spans.of(batch.source_mask), Spans.of(batch.target_mask)
    assert torch.equal(sent.mask, batch.source_mask)
    packed = aligned.receiver.packed(received, sent, batch.target_in, said)
    plain = said.pack(aligned.receiver(received, batch.source_mask, batch.target_in))
    torch.testing.assert_close(packed, plain, atol=2e-5, rtol=2e-5)
    weight = aligned.part("aligner").straight.weight
    gradients = [torch.autograd.grad(made.square().sum(), [received, weight]) for made in (packed, plain)]
    for ours, theirs in zip(*gradients):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
    with torch.no_grad():
        states = [
            start(received.detach(), batch.source_mask, 2)
            for start in (aligned.receiver.packed_start, aligned.receiver.start)
        ]
        tokens = torch.randint(4, 20, (14,), generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(*(state.step(tokens) for state in states), atol=2e-5, rtol=2e-5)
    assert ran


def test_what_is_told_beside_the_symbols_goes_on(aligned):
    received, told = torch.randn(2, 3, C), torch.full((2, 3, 1), 7.0)
    mask = torch.ones(2, 3, dtype=torch.bool)
    front = aligned.receiver.front(torch.cat((received, told), -1), mask)
    torch.testing.assert_close(front, torch.cat((aligned.receiver.front(received, mask), told), -1))


@torch.no_grad()
def test_it_stands_before_a_receiver_of_any_kind(gru):  # noqa: F811
    model = build(architecture(receiver=GRUSize(2)), 0).eval()
    aligned, batch = with_aligner(model, model, drawn_aligner()), collated(5)
    received = through(model, batch, AWGN(), 6.0)
    mapped = aligned.part("aligner")(received) * batch.source_mask[..., None]
    states = aligned.receiver(received, batch.source_mask, batch.target_in)
    assert torch.equal(states, model.receiver(mapped, batch.source_mask, batch.target_in))
    begun, target = aligned.receiver.start(received, batch.source_mask), batch.target_in
    steps = torch.stack([begun.step(target[:, t]) for t in range(target.shape[1])], 1)
    torch.testing.assert_close(steps, states, atol=1e-5, rtol=1e-5)


# Parts


def test_parts(foreign, listener, aligned):
    assert foreign.parts() == PARTS and aligned.parts() == (*PARTS, "aligner")
    counted = sum(p.numel() for p in aligned.part("aligner").parameters())
    ends = foreign.transmitter, listener.receiver, aligned.part("aligner")
    assert counted == NARROW * C + NARROW + C * 5 + 5 + 5 * NARROW
    assert aligned.parameter_count() == sum(p.numel() for end in ends for p in end.parameters())
    for part in RECEIVER_PARTS:
        assert same_bits(bits(aligned.part(part)), bits(listener.part(part)))
        assert aligned.part(part) is not listener.part(part)
    made = aligned.architecture
    assert (made.channel_dim, made.aligner) == (C, AlignerSize(NARROW, True, 5))
    assert made.behind_aligner.channel_dim == NARROW and made.behind_aligner.aligner is None


def test_it_goes_with_the_channel_decoder(foreign, aligned):
    taken = splice(foreign, aligned, RECEIVER_PARTS)
    assert same_bits(bits(taken), bits(aligned)) and taken.architecture == aligned.architecture
    left = splice(aligned, foreign, RECEIVER_PARTS)
    assert same_bits(bits(left), bits(foreign)) and left.architecture == foreign.architecture
    kept = splice(aligned, foreign, ["encoder"])
    assert same_bits(bits(kept.part("aligner")), bits(aligned.part("aligner")))
    assert kept.part("aligner") is not aligned.part("aligner")


def test_an_aligner_is_no_part_to_ask_for(foreign, aligned):
    with pytest.raises(SemcomError, match="'aligner' is unknown; allowed are encoder channel_encoder"):
        splice(foreign, aligned, ["aligner"])


def test_ends_that_no_map_of_this_size_joins(foreign, listener, aligned):
    for given, message in (
        ((foreign, listener, drawn_aligner()), f"receiver's C and the aligner's {NARROW} beside {C}"),
        ((listener, foreign, drawn_aligner()), f"signal width C and the aligner's {NARROW} beside {C}"),
        ((foreign, aligned, drawn_aligner()), "behind an aligner already"),
        ((foreign, transceiver(vocab_size=30), drawn_aligner()), "vocabulary size 24 beside 30"),
    ):
        with pytest.raises(SemcomError, match=message):
            with_aligner(*given)


def test_fresh_ones_pass_on_what_arrives():
    plain = build(architecture(), 5)
    fronted = build(replace(architecture(), aligner=AlignerSize(C, True, 4 * C)), 5)
    behind = {
        name.replace(".inner", ""): each for name, each in bits(fronted).items() if "aligner" not in name
    }
    assert same_bits(behind, bits(plain))
    received = torch.randn(4, C)
    assert torch.equal(fronted.part("aligner")(received), received)
    assert fronted.part("aligner").bent[0].weight.abs().sum() > 0


def test_a_student_starts_from_the_teachers_aligner(aligned):
    student = build(replace(aligned.architecture, receiver=size(1, 32, 4, 40)), 9)
    start_from_teacher(aligned, student, ["receiver"])
    assert same_bits(bits(student.receiver), bits(aligned.receiver))
    bare = build(replace(aligned.architecture.behind_aligner, channel_dim=NARROW), 9)
    start_from_teacher(aligned, bare, ["receiver"])
    assert same_bits(bits(bare.part("channel_decoder")), bits(aligned.part("channel_decoder")))


# Files


def test_to_a_file_and_back(aligned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vocabulary = word_vocabulary([f"w{i}" for i in range(20)])
    origin = {part: f"made as {part}" for part in aligned.parts()}
    checkpoint.save(Checkpoint(aligned, vocabulary, origin), "aligned.pt")
    loaded = checkpoint.load("aligned.pt")
    assert same_bits(bits(loaded.model), bits(aligned)) and loaded.origin == origin
    assert loaded.model.architecture == aligned.architecture
    assert isinstance(loaded.model.receiver, AlignedReceiver)
    assert loaded.fingerprint == fingerprint_of(aligned)


def test_without_a_front_all_is_as_it_was(foreign):
    said = foreign.architecture.to_dict()
    assert said == {
        "vocab_size": 24,
        "transmitter": asdict(size()),
        "receiver": asdict(size()),
        "channel_dim": C,
        "dropout": 0.0,
        "channel_encoder_hidden": 256,
        "channel_decoder_hidden": 512,
        "amplitude": 1.0,
    }
    assert "receiver.decoder.projection.weight" in foreign.state_dict()


def test_the_fingerprint_knows_the_map(foreign):
    made = [with_aligner(foreign, foreign, drawn_aligner(seed=seed)) for seed in (0, 0, 1)]
    first, again, other = (fingerprint_of(model.receiver) for model in made)
    assert first == again != other
    assert first != fingerprint_of(foreign.receiver)
    assert fingerprint_of(made[0].transmitter) == fingerprint_of(foreign.transmitter)


@pytest.mark.parametrize(
    "claimed, message",
    [
        (
            {"channel_dim": 10**9},
            "channel_dim 1000000000, allowed are even numbers from 2 to 4096",
        ),
        ({"channel_dim": 7}, "aligner claims channel_dim 7"),
        ({}, "aligner claims channel_dim 0"),
        ({"channel_dim": 8, "hidden": 10**8}, "aligner claims hidden 100000000, allowed are 0 to 65536"),
        ({"channel_dim": 8, "hidden": True}, "aligner claims hidden True"),
        ({"channel_dim": 8, "bias": 3}, "aligner's bias is neither true nor false"),
        ({"channel_dim": 8, "depth": 3}, "not a semcom checkpoint"),
        ("wide", "not a semcom checkpoint"),
    ],
)
def test_sizes_that_no_aligner_has(aligned, tmp_path, monkeypatch, claimed, message):
    monkeypatch.chdir(tmp_path)
    vocabulary = word_vocabulary([f"w{i}" for i in range(20)])
    checkpoint.save(Checkpoint(aligned, vocabulary, {}), "aligned.pt")
    payload = torch.load("aligned.pt", weights_only=True)
    payload["architecture"]["aligner"] = claimed
    del payload["digest"]
    torch.save(payload, "aligned.pt")
    with pytest.raises(SemcomError, match=message) as refused:
        checkpoint.load("aligned.pt")
    assert "\n" not in str(refused.value) and str(refused.value).startswith("checkpoint aligned.pt")


def test_public_code_has_no_place_for_it(foreign):
    aligned = with_aligner(foreign, foreign, drawn_aligner())
    with pytest.raises(SemcomError, match="behind an aligner, for which public DeepSC code has no place"):
        deepsc_weights.to_state(aligned, (24, 24), keep_level=True)


def test_no_padding_in_a_batch_of_one(foreign, aligned):
    batch = collated(4, 2, 9)
    received = through(aligned, batch, AWGN(), 6.0)
    with torch.no_grad():
        together = aligned.receiver(received, batch.source_mask, batch.target_in)
        n, t = batch.lengths[0], batch.target_lengths[0]
        alone = aligned.receiver(received[:1, :n], batch.source_mask[:1, :n], batch.target_in[:1, :t])
    torch.testing.assert_close(together[:1, :t], alone, atol=1e-5, rtol=1e-5)
