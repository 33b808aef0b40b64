"""The contract of an end: one row in one table makes a receiver, or a transmitter, that trains, distils,
splices, decodes, is checkpointed, measured and reported."""

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from cli_support import TINY_TRAINING, analyse, distil, package, refused
from test_decoding import plain, plain_beam
from torch import nn
from toy import C, architecture, bits, collated, same_bits, size, through

from semcom.base.errors import SemcomError
from semcom.channel.channels import AWGN
from semcom.distillation.objectives import TransceiverObjective
from semcom.models import checkpoint, kinds
from semcom.models.channel_parts import ChannelDecoder, ChannelEncoder
from semcom.models.decoding import beam, greedy
from semcom.models.kernels import native
from semcom.models.protocols import Kind, Receiver, Transmitter
from semcom.models.settings import PARTS, RECEIVER_PARTS, TRANSMITTER_PARTS
from semcom.models.transceiver import build, splice


@dataclass(frozen=True)
class GRUSize:
    kind: ClassVar[str] = "gru"
    layers: int = 1
    d_model: int = 12
    bidirectional: bool = False


class GRUDecoder(nn.Module):
    def __init__(self, vocab_size, size):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, size.d_model)
        self.gru = nn.GRU(2 * size.d_model, size.d_model, size.layers, batch_first=True)
        self.projection = nn.Linear(size.d_model, vocab_size)

    def forward(self, tokens, pooled, past=None):
        pooled = pooled[:, None].expand(-1, tokens.shape[1], -1)
        return self.gru(torch.cat([self.embedding(tokens), pooled], -1), past)


class GRUState:
    def __init__(self, decoder, pooled):
        self.decoder, self.pooled, self.past = decoder, pooled, None

    def step(self, tokens):
        states, self.past = self.decoder(tokens[:, None], self.pooled, self.past)
        return states[:, 0]

    def reorder(self, sentences, rows):
        self.pooled, self.past = self.pooled[rows], self.past[:, rows]


class GRUReceiver(Receiver):
    def __init__(self, a):
        super().__init__(a.receiver)
        width = a.receiver.d_model
        self.channel_decoder = ChannelDecoder(a.channel_dim, width, a.channel_decoder_hidden, a.amplitude)
        self.decoder = GRUDecoder(a.vocab_size, a.receiver)

    def pooled(self, received, source_mask):
        memory = self.channel_decoder(received) * source_mask[..., None]
        return memory.sum(1) / source_mask.sum(1, keepdim=True)

    def forward(self, received, source_mask, target_in):
        return self.decoder(target_in, self.pooled(received, source_mask))[0]

    def start(self, received, source_mask, width=1):
        return GRUState(self.decoder, self.pooled(received, source_mask).repeat_interleave(width, 0))

    @property
    def projection(self):
        return self.decoder.projection


@dataclass(frozen=True)
class BagSize:
    kind: ClassVar[str] = "bag"
    d_model: int = 12


class Bag(nn.Module):
    def __init__(self, vocab_size, width):
        super().__init__()
        self.table = nn.Embedding(vocab_size, width)

    def forward(self, source, source_mask):
        return self.table(source) * source_mask[..., None]


class BagTransmitter(Transmitter):
    def __init__(self, a):
        super().__init__(a.transmitter)
        self.encoder = Bag(a.vocab_size, a.transmitter.d_model)
        self.channel_encoder = ChannelEncoder(a.transmitter.d_model, a.channel_encoder_hidden, a.channel_dim)


@pytest.fixture
def gru(monkeypatch):
    row = Kind(GRUReceiver, GRUSize, {"layers": 8, "d_model": 64})
    monkeypatch.setitem(kinds.RECEIVERS, "gru", lambda: row)


@pytest.fixture
def bag(monkeypatch):
    row = Kind(BagTransmitter, BagSize, {"d_model": 64})
    monkeypatch.setitem(kinds.TRANSMITTERS, "bag", lambda: row)


def toy(seed=0, layers=2):
    model = build(architecture(receiver=GRUSize(layers)), seed).eval()
    with torch.no_grad():
        model.receiver.decoder.gru.weight_ih_l0 *= 4
        model.receiver.projection.weight *= 4
    return model


AS_STUDENT = ["--distill-part", "decoder", "--student-receiver-type", "gru", "--student-init", "random"]
QUICK = ["--corpus-size", 1000, "--sentences", 8, "--quiet", "--snr", 0, 12]


def student_of(teacher, *flags):
    given = ["--teacher-checkpoint", teacher, "--output-path", "run", "--steps", 4, "--create-hybrid"]
    return distil(*TINY_TRAINING, *given, "--hybrid-output", "hybrid.pt", *AS_STUDENT, *flags)


def test_a_student_of_a_transformer_is_distilled_spliced_measured_and_reported(gru, teacher, here, capsys):
    assert student_of(teacher, "--student-d-model", 20, "--feature-weight", 1) == 0
    record = json.loads((here / "run/distillation_config.json").read_text())
    assert record["student_receiver_type"] == "gru" and record["best_loss"] > 0
    assert (record["d_model"], record["student_layers"], record["num_heads"]) == (20, 2, None)
    student, whole = checkpoint.load("run/best_student_model.pt"), checkpoint.load(teacher)
    assert isinstance(student.model.receiver, GRUReceiver)
    assert student.model.architecture.receiver == GRUSize(2, 20)
    assert same_bits(bits(student.model.transmitter), bits(whole.model.transmitter))
    hybrid = checkpoint.load("hybrid.pt").model
    assert same_bits(bits(hybrid), bits(student.model))

    assert package("evaluate", teacher, "run/best_student_model.pt", "hybrid.pt", *QUICK) == 0
    assert package("evaluate", "run/best_student_model.pt", "--beam-width", 3, *QUICK) == 0
    student = "run/best_student_model.pt"
    assert analyse(student, "--teacher-checkpoint", teacher, *QUICK, "--no-report") == 0
    (found,) = json.loads((here / "semantic_analysis_results.json").read_text())["records"]
    assert found["by_snr"]["12"]["kl_divergence"] > 0
    assert package("transmit", "The council agrees.", "--checkpoints", student, "--snr", 6) == 0


def test_a_teacher_is_trained_of_toys_and_distils_one(gru, bag, here, capsys):
    kind = ["--transmitter-type", "bag", "--receiver-type", "gru", "--layers", 1, "--model-width", 16]
    assert package("train", "--output", "toy.pt", *kind, "--steps", 4, *TINY_TRAINING) == 0
    made = checkpoint.load("toy.pt").model.architecture
    assert (made.transmitter, made.receiver) == (BagSize(16), GRUSize(1, 16))
    assert package("train", "--start-from", "toy.pt", "--output", "on.pt", "--steps", 2, *TINY_TRAINING) == 0
    assert checkpoint.load("on.pt").model.architecture == made

    run = ["--teacher-checkpoint", "toy.pt", "--steps", 2, "--student-init", "random", *TINY_TRAINING]
    assert distil(*run, "--output-path", "smaller", "--student-d-model", 8) == 0
    smaller = checkpoint.load("smaller/best_student_model.pt").model.architecture
    assert (smaller.transmitter, smaller.receiver) == (BagSize(8), GRUSize(2, 8))
    start = ["--output-path", "again", "--student-checkpoint", "smaller/best_student_model.pt"]
    assert distil(*run, *start, "--student-d-model", 8) == 0
    refused(capsys, distil(*run, *start, "--overwrite"), "its transmitter has D=8; this run asks for 16")
    assert package("doctor", "toy.pt", "--sentences", 40, "--draws", 1000, *TINY_TRAINING[:2]) in (0, 1)


def test_weights_learn(gru, bag):
    model = build(architecture(BagSize(), GRUSize()), 0).train()
    objective = TransceiverObjective(model, AWGN(), (6.0, 6.0))
    optimizer, batch = torch.optim.Adam(model.parameters(), 3e-2), collated(16)
    losses = []
    for number in range(40):
        total, rows = objective(batch, batch.draw(AWGN(), C, seed=0, number=number))["ce"]
        optimizer.zero_grad()
        (total / rows).backward()
        optimizer.step()
        losses.append(float(total) / rows)
    assert losses[-1] < 0.8 * losses[0]


def test_fresh_weights_are_those_of_the_seed(gru):
    first, second, third = (build(architecture(receiver=GRUSize()), seed) for seed in (1, 1, 2))
    assert same_bits(bits(first), bits(second))
    ours, other = bits(first), bits(third)
    assert all(not torch.equal(ours[name], other[name]) for name in ours if "norm" not in name)


@torch.no_grad()
def test_steps_are_the_parallel_pass_and_follow_who_is_left(gru):
    model, batch = toy(), collated(6, 2, 9)
    received = through(model, batch, AWGN(), 6.0)
    whole = model.receiver.project(model.receiver(received, batch.source_mask, batch.target_in))
    state = model.receiver.start(received, batch.source_mask)
    rows = torch.arange(len(batch))
    for position in range(batch.target_in.shape[1]):
        logits = model.receiver.project(state.step(batch.target_in[rows, position]))
        torch.testing.assert_close(logits, whole[rows, position], rtol=1e-5, atol=1e-5)
        if position == 1:
            state.reorder(rows[1:], rows[1:])
            rows = rows[1:]


@torch.no_grad()
def test_it_decodes_greedily_and_by_beam_as_the_plain_way_does(gru):
    model, batch = toy(), collated(12, 1, 9)
    received, mask = through(model, batch, AWGN(), 0.0), batch.source_mask
    found = greedy(model.receiver, received, mask)
    assert found == [plain(model.receiver, y, n) for y, n in zip(received, batch.lengths)]
    assert len(set(map(tuple, found))) > 3, "what was received should matter"
    assert beam(model.receiver, received, mask, 1, 1.0) == found
    by_beam = beam(model.receiver, received, mask, 3, 1.0)
    for pieces, y, n in zip(by_beam, received, batch.lengths):
        assert pieces == plain_beam(model.receiver, y[:n], 3, 1.0)[0]


def test_ends_of_two_kinds_splice_whole_and_no_part_of_them(gru):
    teacher, student = build(architecture(), 0), toy()
    for parts in (RECEIVER_PARTS, TRANSMITTER_PARTS, PARTS):
        hybrid = splice(teacher, student, parts)
        rebuilt = build(hybrid.architecture, 0)
        rebuilt.load_state_dict(hybrid.state_dict())
        assert type(hybrid.receiver) is type((student if parts != TRANSMITTER_PARTS else teacher).receiver)
    for part in RECEIVER_PARTS:
        with pytest.raises(
            SemcomError, match=r"two kinds \(transformer in the teacher, gru in the student\)"
        ):
            splice(teacher, student, [part])


def test_fingerprints_tell_what_weights_do_not(gru):
    one, other = (build(architecture(receiver=GRUSize(bidirectional=way)), 0) for way in (False, True))
    assert same_bits(bits(one), bits(other))
    assert checkpoint.fingerprint_of(one) != checkpoint.fingerprint_of(other)
    assert checkpoint.fingerprint_of(one.receiver) != checkpoint.fingerprint_of(other.receiver)
    assert checkpoint.fingerprint_of(one.transmitter) == checkpoint.fingerprint_of(other.transmitter)


@pytest.mark.native
def test_compiled_kernels_take_the_end_that_has_them(gru, monkeypatch):
    calls, work = [], native.call
    monkeypatch.setattr(
        native, "call", lambda name, *given, **m: calls.append(name) or work(name, *given, **m)
    )
    batch, model = collated(6, 1, 9), toy()
    values = []
    for compiled in (True, False):
        objective = TransceiverObjective(model, AWGN(), (6.0, 6.0), compiled=compiled).eval()
        total, _ = objective(batch, batch.draw(AWGN(), C, seed=0, number=1))["ce"]
        values.append(float(total))
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    assert calls.count("attention") == size().layers, "of the transmitter alone"


# What is refused


def test_kinds_that_are_in_no_table(teacher, here, capsys):
    teaching, learning = ["train", "--output", "x.pt", "--receiver-type"], ["--student-receiver-type"]
    for run, flags in ((package, teaching), (distil, learning)):
        assert run(*flags, "gru") == 2
        assert "'gru': allowed are transformer" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags, message",
    [
        (
            ["--student-init", "teacher"],
            "of kind gru cannot start from the teacher's, which is of kind transformer",
        ),
        (["--hybrid-parts", "decoder"], "which are of two kinds"),
        (["--student-checkpoint", "TEACHER"], "its receiver is of kind transformer, this run asks for gru"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(gru, teacher, here, capsys, flags, message):
    given = [teacher if word == "TEACHER" else word for word in flags]
    refused(capsys, student_of(teacher, *given), message)


def test_a_kind_without_a_start_says_so(gru, bag, here, capsys):
    kind = ["--transmitter-type", "bag", "--receiver-type", "gru", "--model-width", 16]
    refused(
        capsys,
        package("train", "--output", "toy.pt", *kind[:-1], 72, *TINY_TRAINING),
        "d_model 72: a transmitter of kind bag",
    )
    assert package("train", "--output", "toy.pt", *kind, "--steps", 1, *TINY_TRAINING) == 0
    for part, end in (("encoder", "transmitter of kind bag"), ("decoder", "receiver of kind gru")):
        code = distil("--teacher-checkpoint", "toy.pt", "--distill-part", part, *TINY_TRAINING)
        refused(capsys, code, f"a {end} cannot start from a teacher's layers; give --student-init random")
    refused(capsys, package("export", "toy.pt", "--output", "x.pth"), "public DeepSC code knows transformers")
    assert not (here / "x.pth").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kind": "lstm"}, "its receiver is of kind lstm, this program knows transformer, gru"),
        ({"kind": ["gru"]}, "this program knows"),
        ({"d_model": 65}, "claims d_model 65, allowed are 1 to 64"),
        ({"layers": 9}, "claims layers 9, allowed are 1 to 8"),
        ({"bidirectional": 3}, "its bidirectional is neither true nor false"),
        ({"num_heads": 3}, "not a semcom checkpoint"),
    ],
)
def test_a_file_that_claims_another_kind_or_size(gru, vocabulary, here, change, message):
    model = build(architecture(receiver=GRUSize(), vocab_size=len(vocabulary)), 0)
    checkpoint.save(checkpoint.Checkpoint(model, vocabulary, dict.fromkeys(PARTS, "here")), "toy.pt")
    payload = torch.load("toy.pt", weights_only=True)
    assert payload["architecture"]["receiver"] == {
        "kind": "gru",
        "layers": 1,
        "d_model": 12,
        "bidirectional": False,
    }
    assert "kind" not in payload["architecture"]["transmitter"], "older files name none: it is the usual one"
    assert isinstance(checkpoint.load("toy.pt").model.receiver, GRUReceiver)
    payload["architecture"]["receiver"].update(change)
    payload.pop("digest")
    torch.save(payload, "toy.pt")
    with pytest.raises(SemcomError, match=message):
        checkpoint.load("toy.pt")


def test_rows_bound_every_size_and_are_named_as_their_sizes_are():
    for table in (kinds.TRANSMITTERS, kinds.RECEIVERS):
        for name, fetch in table.items():
            row = fetch()
            assert row.size.kind == name
            sizes = {f.name: f.type for f in row.size.__dataclass_fields__.values() if f.name != "kind"}
            assert {field for field, kind in sizes.items() if kind is int} == row.limits.keys()
            assert set(sizes.values()) <= {int, bool}
