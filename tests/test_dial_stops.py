"""The path of a run as a slider: hybrids whose KL and BLEU are known beforehand."""

import pytest
import sacrebleu
import torch
from dials import distil_runs
from test_heard_sentence import SENTENCE, made
from toy import CPU

from semcom.base.errors import SemcomError
from semcom.channel.channels import AWGN
from semcom.commands.dial_path import path_of_run
from semcom.commands.dial_stops import stops_of_run
from semcom.data.batching import collate, encode
from semcom.data.corpus import make_sentence
from semcom.evaluation.heard_sentence import hear
from semcom.evaluation.path_stops import stops
from semcom.evaluation.scores import Meeting
from semcom.models.checkpoint import fingerprint_of
from semcom.models.path import Path


@pytest.fixture(scope="module")
def runs(made_once, teacher):
    return made_once("dialled_runs", lambda folder: distil_runs(folder, teacher))


def three():
    """A path of three corners that ends at the reference."""
    corners = [made(noise) for noise in (0.4, 0.2, 0.0)]
    path = Path("learning", tuple(c.model for c in corners), ("start", "step 9", "best"))
    texts = [SENTENCE, "they say it is not today", "all members thank the house"]
    encoded = encode([make_sentence(text.lower()) for text in texts], corners[-1].vocabulary)
    meeting = Meeting(AWGN(), (6.0,), 2, CPU, 2, quiet=True)
    return path, corners[-1], encoded, meeting


def test_stops_stand_on_the_path_and_end_at_its_corners():
    path, best, encoded, meeting = three()
    found = stops(path, best.model, best, encoded, meeting, 5)
    assert [stop.place for stop in found] == [0, 0.25, 0.5, 0.75, 1]
    assert [stop.between for stop in found] == [
        ("start", "start"),
        ("start", "step 9"),
        ("step 9", "step 9"),
        ("step 9", "best"),
        ("best", "best"),
    ]
    for stop in found:
        assert fingerprint_of(stop.hybrid.model) == fingerprint_of(path.at(stop.place))
        assert stop.hybrid.vocabulary is best.vocabulary
    assert found[-1].kl == pytest.approx(0, abs=1e-6) and found[0].kl > found[2].kl > 0.01


@torch.no_grad()
def test_kl_and_bleu_of_a_stop_by_hand():
    path, best, encoded, meeting = three()
    stop = stops(path, best.model, best, encoded, meeting, 5)[1]
    total, tokens, texts = 0.0, 0, []
    for e in encoded:
        batch = collate([e])
        expected = []
        for model in (best.model, stop.hybrid.model):
            signal, _ = model.transmitter(batch.source, batch.source_mask)
            draw = batch.draw(AWGN(), signal.shape[-1], seed=2, number=0)
            states = model.receiver(AWGN().apply(signal, draw, 6.0), batch.source_mask, batch.target_in)
            expected.append(model.receiver.project(states).double().log_softmax(-1)[0])
        teacher, hybrid = expected
        total += float((teacher.exp() * (teacher - hybrid)).sum())
        tokens += len(teacher)
        texts.append(hear({"it": stop.hybrid}, e.sentence.text, AWGN(), 6.0, 2)[0].text)
    assert stop.kl == pytest.approx(total / tokens, rel=1e-4)
    sent = [e.sentence.text for e in encoded]
    assert stop.bleu == pytest.approx(sacrebleu.corpus_bleu(texts, [sent]).score)


def test_a_run_is_a_slider_from_its_start_to_its_best(runs, teacher, capsys):
    found = stops_of_run(str(runs / "decoder"), AWGN(), 12.0, sentences=8, count=3)
    path = path_of_run(str(runs / "decoder")).path
    assert found.path == "learning" and len(found.stops) == 3 and found.sentences <= 8
    ends = [fingerprint_of(found.stops[k].hybrid.model) for k in (0, -1)]
    assert ends == [fingerprint_of(path.at(place)) for place in (0, 1)]
    assert found.snr == 12 and found.channel == "awgn" and "tok:13a" in found.bleu
    assert found.stops[0].kl != found.stops[-1].kl
    assert str(teacher) == found.teacher.path


def test_a_folder_that_is_no_run_has_none(tmp_path):
    with pytest.raises(SemcomError, match="no run there; make one with"):
        stops_of_run(str(tmp_path), AWGN(), 12.0)
