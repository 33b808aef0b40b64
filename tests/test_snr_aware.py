"""Receivers that are told the SNR: the bias, what is told, and every verb with such a model."""

import json
import math
from dataclasses import replace

import pytest
import torch
from cli_support import TINY_TRAINING, analyse, distil, package, refused, train_tiny_teacher
from toy import CPU, C, Numbers, architecture, bits, collated, encoded, same_bits, sharp, size, through

from benchmarks import harness
from semcom.base.errors import SemcomError
from semcom.channel.channels import AWGN, Rayleigh
from semcom.channel.settings import ChannelConfig
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.settings import TrainSettings
from semcom.data.batching import collate
from semcom.distillation import sequence_level
from semcom.distillation.objectives import DistillationObjective, TransceiverObjective
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.training_settings import StudentConfig
from semcom.evaluation import cost, scores
from semcom.evaluation.batch_sums import received_by, sent_by
from semcom.evaluation.pairs import End, Pair
from semcom.evaluation.scores import Entrant, Meeting, decode, least_sure, through_channel
from semcom.models import checkpoint
from semcom.models.aligner import Aligner
from semcom.models.architecture import AlignerSize
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search, greedy
from semcom.models.link import NOISELESS, heard_by, send, send_again
from semcom.models.receiver_fronts import SNRAwareReceiver
from semcom.models.settings import ModelConfig
from semcom.models.spans import Spans
from semcom.models.transceiver import build, splice, start_from_teacher, with_aligner

LEVELS = (0.0, 12.0)


def told_sizes():
    return replace(architecture(size(1), size(1)), snr_aware=True)


@pytest.fixture
def plain():
    return sharp()


@pytest.fixture
def aware(plain):
    """Of the same weights, with a bias that is drawn and not zero."""
    made = build(told_sizes(), 0).eval()
    inner = {f"receiver.inner.{name}": each for name, each in plain.receiver.state_dict().items()}
    inner |= {f"transmitter.{name}": each for name, each in plain.transmitter.state_dict().items()}
    made.load_state_dict(inner, strict=False)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weights in made.receiver.snr_bias.parameters():
            weights.copy_(torch.randn(weights.shape, generator=generator))
    return made


def by_hand(bias, snr):
    w = {name: each.double() for name, each in bias.state_dict().items()}
    hidden = torch.tanh(w["inner.weight"][:, 0] * (snr - 6) / 12 + w["inner.bias"])
    return (w["outer.weight"] @ hidden + w["outer.bias"]).float()


# --- the front


@torch.no_grad()
def test_a_bias_made_of_the_snr_is_added_to_what_arrives(plain, aware):
    batch = collated(6, 2, 9)
    snrs = torch.linspace(-6, 18, 6)
    received = through(plain, batch, AWGN(), snrs)
    heard = heard_by(aware.receiver, received, snrs)
    assert heard.shape == (*received.shape[:2], C + 1) and torch.equal(heard[..., :-1], received)
    added = torch.stack([by_hand(aware.receiver.snr_bias, snr) for snr in snrs.tolist()])
    biased = received + added[:, None] * batch.source_mask[..., None]
    ours = aware.receiver(heard, batch.source_mask, batch.target_in)
    theirs = plain.receiver(biased, batch.source_mask, batch.target_in)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    for search in (Search(), Search(3)):
        expected = search(plain.receiver, biased, batch.source_mask)
        assert search(aware.receiver, heard, batch.source_mask) == expected
    assert torch.equal(heard_by(plain.receiver, received, snrs), received)
    same_for_all = heard_by(aware.receiver, received, 7.0)[..., -1]
    assert (same_for_all == 7).all()


@torch.no_grad()
def test_it_begins_as_a_receiver_that_is_told_nothing():
    fresh, unaware = build(told_sizes(), 3), build(replace(told_sizes(), snr_aware=False), 3)
    behind = {n.replace(".inner", "", 1): w for n, w in bits(fresh).items() if "snr_bias" not in n}
    assert same_bits(behind, bits(unaware))
    batch = collated(5)
    received = through(unaware, batch, AWGN(), 3.0)
    ours = fresh.eval().receiver(heard_by(fresh.receiver, received, 3.0), batch.source_mask, batch.target_in)
    assert torch.equal(ours, unaware.eval().receiver(received, batch.source_mask, batch.target_in))
    counted = sum(p.numel() for p in fresh.receiver.snr_bias.parameters())
    assert fresh.parameter_count() == unaware.parameter_count() + counted
    assert fresh.receiver.snr_bias.inner.weight.abs().sum() > 0


@pytest.mark.native
def test_compiled_kernels_run_behind_it(aware):
    batch = collated(7, 2, 9)
    received = through(aware, batch, AWGN(), 6.0).detach()
    heard = heard_by(aware.receiver, received, 6.0)
    sent, said = Spans.of(batch.source_mask), Spans.of(batch.target_mask)
    packed = aware.receiver.packed(heard, sent, batch.target_in, said)
    plain = said.pack(aware.receiver(heard, batch.source_mask, batch.target_in))
    torch.testing.assert_close(packed, plain, atol=2e-5, rtol=2e-5)
    weight = aware.receiver.snr_bias.outer.weight
    ours, theirs = (torch.autograd.grad(made.square().sum(), weight)[0] for made in (packed, plain))
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
    decoded = [Search(2, compiled=on)(aware.receiver, heard, batch.source_mask) for on in (True, False)]
    assert decoded[0] == decoded[1]


def test_files_splices_and_starts(plain, aware, vocabulary, tmp_path, monkeypatch):
    assert aware.parts() == plain.parts()
    taken = splice(plain, aware, ["channel_decoder", "decoder"])
    assert taken.architecture.snr_aware and same_bits(bits(taken), bits(aware))
    assert not splice(aware, plain, ["channel_decoder", "decoder"]).architecture.snr_aware
    assert splice(aware, plain, ["decoder"]).architecture.snr_aware
    monkeypatch.chdir(tmp_path)
    made = build(replace(told_sizes(), vocab_size=len(vocabulary)), 2)
    checkpoint.save(Checkpoint(made, vocabulary, {}), "aware.pt")
    loaded = checkpoint.load("aware.pt").model
    assert isinstance(loaded.receiver, SNRAwareReceiver) and same_bits(bits(loaded), bits(made))
    started = build(told_sizes(), 9)
    start_from_teacher(aware, started, ["receiver"])
    assert same_bits(bits(started.receiver), bits(aware.receiver))
    start_from_teacher(plain, started, ["receiver"])
    assert same_bits(bits(started.receiver.inner), bits(plain.receiver))
    start_from_teacher(aware, plain, ["receiver"])
    assert same_bits(bits(plain.receiver), bits(aware.receiver.inner))


# --- what is told


def told_to(monkeypatch, receiver):
    """The SNRs that this receiver is told from now on, one a sentence."""
    told, front = [], SNRAwareReceiver.front

    def noting(self, received, mask):
        if self is receiver:
            told.extend(received[:, 0, -1].tolist())
        return front(self, received, mask)

    monkeypatch.setattr(SNRAwareReceiver, "front", noting)
    return told


def test_training_tells_each_sentence_its_own_snr(aware, plain, monkeypatch):
    batch = collated(6)
    draw = batch.draw(AWGN(), C, seed=0, number=1)
    told = told_to(monkeypatch, aware.receiver)
    TransceiverObjective(aware, AWGN(), (-6.0, 18.0))(batch, draw)
    assert told == draw.snr_between(-6.0, 18.0).tolist()
    told.clear()
    settings = DistillationConfig(distill_part="decoder")
    for teacher, student in ((plain, aware), (aware, plain)):
        DistillationObjective([teacher], student, AWGN(), (0.0, 9.0), settings).train()(batch, draw)
    assert told == 2 * draw.snr_between(0.0, 9.0).tolist()


@torch.no_grad()
def test_transmissions_tell_their_snrs(aware, plain):
    batch = collated(4)
    sent = send(plain.transmitter, batch, AWGN(), [3.0, (0.0, 12.0)], seed=0, numbers=(0, 2))
    for number in (0, 2):
        level = batch.draw(AWGN(), C, seed=0, number=number).snr_between(0.0, 12.0)
        one, other = sent.heard_by(aware.receiver, number)
        assert (one[..., -1] == 3).all() and torch.equal(other[:, 0, -1], level)
        for ours, theirs in zip(sent.heard_by(plain.receiver, number), sent.received[number]):
            assert ours is theirs
    again = send_again(plain.transmitter, batch, Rayleigh(), [3.0], seed=0, numbers=(0, 1))
    (heard,) = again.heard_by(aware.receiver)
    assert heard[0, 0, -1].item() == pytest.approx(3 + 10 * math.log10(2))


@torch.no_grad()
def test_measurements_tell_the_snr(aware, plain, monkeypatch):
    told, sentences = told_to(monkeypatch, aware.receiver), encoded(5)
    meeting = Meeting(AWGN(), LEVELS, 0, CPU, 8, quiet=True)
    through_channel(aware, collated(5), meeting)
    decode(Entrant("a", aware), sentences, Numbers(), meeting)
    assert set(told) == set(LEVELS)
    told.clear()
    pair = Pair(
        End("t", plain.transmitter, "1", None, ""),
        End("r", aware.receiver, "2", None, ""),
    )
    received = received_by([pair], sent_by([pair], collated(3), meeting))[pair.key]
    assert [float(at[0, 0, -1]) for at in received] == list(LEVELS)
    least_sure(aware, sentences[0])
    cost.Link(aware)(collated(3))
    assert told == [NOISELESS] * 4


def test_teachers_decode_for_their_students_with_it(aware, vocabulary, monkeypatch):
    sentences, told = encoded(4), told_to(monkeypatch, aware.receiver)
    by = sequence_level.Decoding(Checkpoint(aware, vocabulary, {}), AWGN(), (0.0, 12.0), Search(), seed=0)
    sequence_level._decode(by, sentences, CPU, scores.ALONE, True)
    level = {
        e.sentence.id: float(collate([e]).draw(AWGN(), C, seed=0, number=0).snr_between(0.0, 12.0))
        for e in sentences
    }
    assert sorted(told) == pytest.approx(sorted(level.values()))


def test_benchmarks_tell_the_snr(aware):
    model, batch = aware, collated(5)
    received = harness.received_of(model, batch)
    assert received.shape[-1] == C + 1 and (received[..., -1] == harness.DECODING_SNR).all()
    assert len(greedy(model.receiver, received, batch.source_mask)) == 5


# --- commands


@pytest.fixture(scope="module")
def told_teacher(made_once):
    """tests must not write to it."""
    return made_once("told_teacher", lambda f: train_tiny_teacher(f, "--snr-aware")) / "tiny_teacher.pt"


def test_training_moves_the_bias(told_teacher):
    model = checkpoint.load(str(told_teacher)).model
    assert model.architecture.snr_aware and model.receiver.snr_bias.outer.weight.abs().sum() > 0
    record = json.loads(told_teacher.with_suffix(".json").read_text())
    assert record["snr_aware"] is True
    batch = collated(6, vocab_size=model.architecture.vocab_size)
    received = through(model, batch, AWGN(), 0.0)
    right, wrong = (
        model.receiver(heard_by(model.receiver, received, snr), batch.source_mask, batch.target_in)
        for snr in (0.0, 18.0)
    )
    assert not torch.allclose(right, wrong, atol=1e-6)


SHORT = ["--corpus-size", 1000, "--sentences", 6, "--quiet", "--device", "cpu"]


@pytest.mark.usefixtures("no_scores")
def test_every_verb_takes_such_a_model(told_teacher, teacher, here, capsys):
    assert package("evaluate", told_teacher, teacher, *SHORT, "--snr", 0, 12, "--resend", 0.4) == 0
    assert package("evaluate", told_teacher, *SHORT, "--channel", "ideal", "--snr", 12) == 0
    assert package("transmit", "We support it.", "--checkpoints", told_teacher, "--device", "cpu") == 0
    assert package("audit", told_teacher, *SHORT, "--snr", 6) == 0
    flags = ["--transmitter", teacher, "--receiver", told_teacher]
    assert package("splice", *flags, "--output", "pair.pt") == 0
    assert checkpoint.load("pair.pt").model.architecture.snr_aware
    assert package("evaluate", "pair.pt", *SHORT, "--snr", 6) == 0
    capsys.readouterr()
    refused(capsys, package("export", told_teacher, "--output", "out.pth"), "a bias made of the SNR")


RUN = ["--steps", 3, "--student-layers", 1, *TINY_TRAINING]


@pytest.mark.usefixtures("no_scores")
@pytest.mark.parametrize("part", ["decoder", "full"])
def test_students_are_told_or_not_whatever_their_teacher(told_teacher, teacher, here, part):
    for given, flags in ((teacher, ["--snr-aware"]), (told_teacher, [])):
        name = f"run-{len(flags)}"
        shared = ["--teacher-checkpoint", given, "--distill-part", part, "--output-path", name]
        assert distil(*shared, *flags, *RUN, "--create-hybrid", "--hybrid-output", f"{name}.pt") == 0
        student = checkpoint.load(f"{name}/best_student_model.pt").model
        assert student.architecture.snr_aware == bool(flags)
        assert checkpoint.load(f"{name}.pt").model.architecture.snr_aware == bool(flags)
        record = json.loads((here / name / "distillation_config.json").read_text())
        assert record["snr_aware"] == bool(flags)


@pytest.mark.usefixtures("no_scores")
def test_weights_that_learned_beside_a_bias_warn(told_teacher, here, capsys):
    shared = ["--teacher-checkpoint", told_teacher, "--distill-part", "decoder", "--student-init", "teacher"]
    told = "warning: --student-init teacher: its receiver has learned beside a bias"
    assert distil(*shared, *RUN, "--output-path", "without") == 0
    assert told in capsys.readouterr().out
    assert distil(*shared, *RUN, "--output-path", "with", "--snr-aware") == 0
    said = capsys.readouterr().out
    dropped = "note: the teacher's receiver is told the SNR, the student's is not; --snr-aware tells it"
    assert told not in said and dropped not in said
    assert distil(*shared[:-1], "random", *RUN, "--output-path", "other") == 0
    said = capsys.readouterr().out
    assert told not in said and said.count(dropped) == 1


@pytest.mark.usefixtures("no_scores")
def test_in_encoder_mode_the_teacher_hears_as_it_does(told_teacher, here):
    shared = ["--teacher-checkpoint", told_teacher, "--distill-part", "encoder", "--output-path", "run"]
    assert distil(*shared, *RUN) == 0
    ours, theirs = (checkpoint.load(str(p)).model for p in (here / "run/best_student_model.pt", told_teacher))
    assert ours.architecture.snr_aware and same_bits(bits(ours.receiver), bits(theirs.receiver))


@pytest.mark.usefixtures("no_scores")
def test_sequence_level_students_resume_and_dial(told_teacher, here, capsys):
    shared = ["--teacher-checkpoint", told_teacher, "--distill-part", "decoder", "--output-path", "run"]
    assert distil(*shared, *RUN, "--snr-aware", "--sequence-level", 1) == 0
    capsys.readouterr()
    refused(
        capsys,
        distil(*shared[:-1], "other", *RUN, "--student-checkpoint", "run/best_student_model.pt"),
        "its receiver is told the SNR; give --snr-aware",
    )
    code = package("dial", "run", *SHORT, "--target", 0.15, "--reference-snr", 6)
    assert code == 0 or "this learning path goes from" in capsys.readouterr().err
    at = ["--snr", 6, "--reference-snr", 6]
    best = "run/best_student_model.pt"
    assert analyse(best, "--teacher-checkpoint", told_teacher, *SHORT, *at, "--no-report") == 0


def test_what_is_refused():
    with pytest.raises(SemcomError, match="--distill-part encoder the receiver is the teacher's"):
        DistilSettings(
            distillation=DistillationConfig(distill_part="encoder"), student=StudentConfig(snr_aware=True)
        )
    for settings in (
        lambda: DistilSettings(student=StudentConfig(snr_aware=True), channel=ChannelConfig(channel="ideal")),
        lambda: TrainSettings(
            output="x", model=ModelConfig(snr_aware=True), channel=ChannelConfig(channel="ideal")
        ),
    ):
        with pytest.raises(SemcomError, match="--snr-aware: --channel ideal has no noise"):
            settings()
    with pytest.raises(SemcomError, match="--snr-aware: sizes and vocabulary are those of --start-from"):
        TrainSettings(output="x", start_from="y", model=ModelConfig(snr_aware=True))


@torch.no_grad()
def test_it_hears_behind_an_aligner(plain, aware):
    aligner = Aligner(C, AlignerSize(C, True, 5))
    aligner.draw(torch.Generator().manual_seed(1))
    aligner.straight.weight.mul_(0.5)
    joined, batch = with_aligner(plain, aware, aligner), collated(5)
    received = through(joined, batch, AWGN(), 9.0)
    mapped = heard_by(aware.receiver, aligner(received) * batch.source_mask[..., None], 9.0)
    ours = joined.receiver(heard_by(joined.receiver, received, 9.0), batch.source_mask, batch.target_in)
    assert torch.equal(ours, aware.receiver(mapped, batch.source_mask, batch.target_in))
