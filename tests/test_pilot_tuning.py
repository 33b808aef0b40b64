"""One end tuned on pilots, so that it and a foreign end understand one another."""

import os
import signal

import pytest
import torch
from test_aligners import orthogonal, turned
from toy import C, bits, encoded, same_bits, sharp, size, transceiver

from semcom.base import signals
from semcom.base.errors import SemcomError
from semcom.channel.channels import AWGN, Ideal
from semcom.data.batching import Batch, collate
from semcom.distillation import pilot_task, pilot_tuning, surrogates
from semcom.distillation.aligner_settings import TUNED, TuningConfig
from semcom.distillation.aligners import fit_aligner
from semcom.distillation.objectives import Frozen, TransceiverObjective
from semcom.distillation.pilot_task import PilotTask, Received, linked
from semcom.distillation.pilot_tuning import tuned
from semcom.distillation.pilots import received_pilots
from semcom.models.kernels import native
from semcom.models.settings import RECEIVER_PARTS, TRANSMITTER_PARTS
from semcom.models.transceiver import splice, with_aligner

PILOTS, TEXTS = encoded(24, 3, 8, seed=1), encoded(60, 3, 8, seed=2)
QUICK = TuningConfig(tuning_steps=25, tuning_lr=3e-3, tuning_batch=8, imitation_steps=25, surrogate_steps=25)
GIVEN = dict(texts=TEXTS, channel=AWGN(), snr=9.0, seed=4, config=QUICK)


@pytest.fixture
def ends():
    """A sender and a listener that differ by more than a map."""
    return sharp(seed=1), sharp(seed=2)


def kept(channel):
    """Pilots that are not held out."""
    return Received(PILOTS, channel, (9.0, 9.0), 4, 0, QUICK).split()[0]


@torch.no_grad()
def cross_entropy(model, sentences, channel=AWGN(), snr=9.0):  # noqa: B008  # a channel has no state
    batch = collate(sentences)
    objective = TransceiverObjective(model.eval(), channel, (snr, snr))
    value, rows = objective(batch, batch.draw(channel, C, seed=77, number=0))["ce"]
    return float(value) / rows


@pytest.mark.parametrize("way", TUNED)
def test_one_end_is_tuned_and_the_other_stays(ends, way):
    sender, listener = ends
    before = bits(sender), bits(listener)
    made = tuned(way, *ends, PILOTS, **GIVEN)
    assert (same_bits(before[0], bits(sender)), same_bits(before[1], bits(listener))) == (True, True)
    assert all(p.requires_grad for model in (sender, made) for p in model.parameters()) and not made.training
    stays, source = (RECEIVER_PARTS, listener) if way == "encoder" else (TRANSMITTER_PARTS, sender)
    moves = TRANSMITTER_PARTS if way == "encoder" else RECEIVER_PARTS
    assert all(same_bits(bits(made.part(part)), bits(source.part(part))) for part in stays)
    origin = sender if way == "encoder" else listener
    assert not any(same_bits(bits(made.part(part)), bits(origin.part(part))) for part in moves)
    bare = splice(sender, listener, RECEIVER_PARTS)
    if way == "decoder":
        rows = received_pilots(sender, listener, kept(AWGN()), AWGN(), 9.0, seed=4)
        bare = with_aligner(sender, listener, fit_aligner(pilot_tuning.START, rows, seed=4))
    assert cross_entropy(made, encoded(40, 3, 8, seed=3)) < cross_entropy(bare, encoded(40, 3, 8, seed=3))


@pytest.mark.parametrize("way", TUNED)
def test_the_same_again_and_another_by_another_seed(ends, way):
    first, again = (bits(tuned(way, *ends, PILOTS, **GIVEN)) for _ in range(2))
    assert same_bits(first, again)
    assert not same_bits(first, bits(tuned(way, *ends, PILOTS, **{**GIVEN, "seed": 5})))


@pytest.mark.parametrize("way", ["decoder", "encoder"])
def test_pilots_are_received_once_but_by_a_genie(ends, way, monkeypatch):
    numbers, work = [], Batch.draw
    monkeypatch.setattr(
        Batch,
        "draw",
        lambda batch, *given, **told: numbers.append(told["number"]) or work(batch, *given, **told),
    )
    tuned(way, *ends, PILOTS, **{**GIVEN, "number": 3})
    assert (set(numbers) == {3}) == (way == "decoder")
    assert min(numbers) == 3 and len(numbers) > 25


def test_ends_that_understand_one_another_already_are_left(ends):
    """Nothing on pilots held out gets better by a step that is far too large: the start is what remains."""
    model = sharp(seed=1)
    rows = received_pilots(model, model, kept(Ideal()), Ideal(), 9.0, seed=4)
    start = with_aligner(model, model, fit_aligner(pilot_tuning.START, rows, seed=4))
    wild = TuningConfig(tuning_steps=25, tuning_lr=30.0, tuning_batch=8)
    made = tuned("decoder", model, model, PILOTS, **{**GIVEN, "channel": Ideal(), "config": wild})
    assert same_bits(bits(made), bits(start))


def trained(seed):
    """A pair that understands itself at 18 dB."""
    model = transceiver(size(1, 32), size(1, 32), seed=seed).train()
    objective, sentences = TransceiverObjective(model, AWGN(), (18.0, 18.0)), encoded(1280, seed=seed)
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    for step in range(240):
        optimizer.param_groups[0]["lr"] = 4e-3 * min((step + 1) / 20, 1 - step / 240)
        batch = collate(sentences[step * 64 % 1280 :][:64])
        value, rows = objective(batch, batch.draw(AWGN(), C, seed=seed, number=step))["ce"]
        optimizer.zero_grad()
        (value / rows).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
        optimizer.step()
    return model.eval()


@torch.no_grad()
def share_right(model):
    """Of the tokens of other sentences."""
    batch = collate(encoded(200, seed=99))
    signal, _ = model.transmitter(batch.source, batch.source_mask)
    received = AWGN().apply(signal, batch.draw(AWGN(), C, seed=7, number=0), 18.0)
    logits = model.receiver.project(model.receiver(received, batch.source_mask, batch.target_in))
    right = batch.of_targets(logits.argmax(-1) == batch.target_out)
    return float(right.double().mean())


def test_a_decoder_that_has_all_sentences_recovers_nearly_all():
    ends = trained(1), trained(2)
    config = TuningConfig(tuning_steps=150, tuning_lr=3e-3, tuning_batch=64)
    given = {**GIVEN, "snr": 18.0, "config": config}
    apart = share_right(splice(*ends, RECEIVER_PARTS))
    own = share_right(ends[1])
    made = share_right(tuned("decoder", *ends, encoded(1500, seed=50), **given))
    assert apart < 0.4 and own > 0.9
    assert (made - apart) / (own - apart) >= 0.95


def test_a_surrogate_learns_to_send_what_arrives(ends):
    sender, listener = turned(ends[1], orthogonal()), ends[1]
    received = Received(PILOTS, AWGN(), (12.0, 12.0), 4, 0, QUICK)
    made = surrogates.fitted(sender, listener, received)
    noise = 10**-1.2
    assert 0.5 * noise < made.error < 3 * noise
    batch = collate(TEXTS)
    with torch.no_grad():
        theirs, ours, own = (
            end(batch.source, batch.source_mask)[0]
            for end in (sender.transmitter, made, listener.transmitter)
        )
    lacking = [batch.of_sources(theirs - signal).square().mean() for signal in (ours, own)]
    assert lacking[0] < lacking[1] / 10


def test_what_a_surrogate_sends_is_blurred_by_its_error(ends):
    sentences = encoded(200, 8, 8, seed=9)
    batch, blurred = collate(sentences), surrogates._Blurred(AWGN(), 0.4)
    draw = batch.draw(blurred, C, seed=0, number=0)
    assert torch.equal(draw.noise, batch.draw(AWGN(), C, seed=0, number=0).noise)
    signal = torch.zeros(*batch.source.shape, C)
    power = blurred.apply(signal, draw, 10.0).square().mean() * 2
    assert abs(float(power) - (0.4 + 0.1)) < 0.02


def test_pilots_held_out(ends):
    def split(number):
        return Received(PILOTS[:number], AWGN(), (9.0, 9.0), 4, 0, QUICK).split()

    for number, held_out in ((1, 1), (2, 1), (6, 1), (24, 4)):
        kept, out = split(number)
        assert len(out) == held_out and len(kept) == max(1, number - held_out)
    kept, out = split(24)
    assert not {e.sentence.id for e in kept} & {e.sentence.id for e in out}


def test_steps_are_as_many_as_asked_for(ends):
    sender, listener = ends
    joined = splice(sender, listener, RECEIVER_PARTS)
    link = linked(joined.architecture, Frozen(joined.transmitter), joined.receiver)
    received = Received(PILOTS, AWGN(), (9.0, 9.0), 4, 0, QUICK)
    task = PilotTask(TransceiverObjective(link, AWGN(), (9.0, 9.0)), received)
    looks = [len(list(look)) for look in pilot_task._looks(task.steps())]
    assert looks == [pilot_task.LOOK_EVERY, 25 - pilot_task.LOOK_EVERY]
    assert {id(p) for p in task.trained} == {id(p) for p in joined.receiver.parameters()}


@pytest.mark.native
@pytest.mark.parametrize("way", TUNED)
def test_compiled_kernels_tune_alike(ends, way, monkeypatch):
    ran, work = [], native.call
    monkeypatch.setattr(native, "call", lambda name, *rest, **m: ran.append(name) or work(name, *rest, **m))
    few = {**GIVEN, "config": TuningConfig(3, 1e-3, 8, imitation_steps=3, surrogate_steps=3)}
    plain = tuned(way, *ends, PILOTS, **few)
    assert not ran
    compiled = tuned(way, *ends, PILOTS, **few, compiled=True)
    assert ran
    for ours, theirs in zip(compiled.parameters(), plain.parameters()):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_a_signal_ends_a_tuning_as_itself(ends, monkeypatch):
    def measure(task, epoch, asked=None):
        if epoch:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"ce": 1.0}

    monkeypatch.setattr(PilotTask, "measure", measure)
    with signals.raised(), pytest.raises(signals.Interrupt) as end:
        tuned("decoder", *ends, PILOTS, **GIVEN)
    assert signals.number_of(end.value) == signal.SIGTERM


def test_what_is_refused(ends):
    for given, message in (
        (("linear", *ends, PILOTS), "'linear' tunes no end; allowed are decoder surrogate encoder"),
        (("decoder", *ends, []), "way decoder: needs pilots"),
    ):
        with pytest.raises(SemcomError, match=message):
            tuned(*given, **GIVEN)
    with pytest.raises(SemcomError, match="surrogate: needs sentences of the listener's own"):
        tuned("surrogate", *ends, PILOTS, **{**GIVEN, "texts": ()})
