"""One sentence that several receivers hear: what they make of it, where they part, its fate over SNR."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from cli_support import package
from test_contract_architecture import gru  # noqa: F401  # a fixture
from test_contract_architecture import toy as gru_model
from toy import C, architecture, sharp, size, word_vocabulary

from semcom.base.errors import SemcomError
from semcom.channel.channels import AWGN, Ideal, Rayleigh
from semcom.data.batching import collate, encode
from semcom.data.corpus import make_sentence
from semcom.data.vocabulary import BOS, EOS
from semcom.evaluation import lost_words
from semcom.evaluation.heard_sentence import as_sent, hear
from semcom.evaluation.parting import parting
from semcom.evaluation.sentence_fate import fate
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search
from semcom.models.link import heard_by
from semcom.models.transceiver import build

WORDS = (
    "we support this report and thank all members of the house today but not for that they say it is".split()
)
SENTENCE = "We support this report and thank all members"
CHINESE = ["我们", "支持", "这份", "报告", "但是", "不", "同意", "他们", "的", "意见"]


def words():
    return word_vocabulary(WORDS)  # V = 24, as toys have it


def models(*noises):
    """Relatives of one untrained transceiver: they say much the same, and not always the same."""
    return {f"n{noise}": made(noise) for noise in noises}


def made(noise=0.0, vocabulary=None):
    """Untrained; of these weights what is said has to do with what is sent."""
    return Checkpoint(sharp(size(1), size(1), seed=9, noise=noise), vocabulary or words(), {})


def two(**choice):
    both = models(0.0, 0.3)
    return both, parting(both, SENTENCE, AWGN(), 6.0, 3, **choice)


def test_it_hears_what_transmit_prints(here, capsys):
    both = models(0.0, 0.2)
    for label, c in both.items():
        checkpoint.save(c, f"{label}.pt")
    for channel, flags in ((AWGN(), []), (Rayleigh(), ["--channel", "rayleigh"])):
        for seed in (0, 5):
            command = ["transmit", SENTENCE, "--snr", 3, "--seed", seed, *flags, "--checkpoints"]
            assert package(*command, *(f"{label}.pt" for label in both)) == 0
            printed = " ".join(capsys.readouterr().out.split())
            heard = hear(both, SENTENCE, channel, 3.0, seed)
            for of_one in heard:
                assert f"{of_one.label} 3 dB {of_one.text}" in printed
    other = hear(both, SENTENCE, AWGN(), 3.0, 6)
    assert any((a.received != b.received).any() for a, b in zip(heard, other))


def test_all_receivers_meet_one_draw():
    both = models(0.0, 0.2)
    first, second = hear(both, SENTENCE, AWGN(), 3.0, 1)
    noise = first.received - first.signal
    np.testing.assert_allclose(second.received - second.signal, noise, atol=1e-6)
    assert (first.signal != second.signal).any()
    assert first.signal.shape == (len(first.symbols), C // 2) and np.iscomplexobj(first.received)
    wanted = 10**-0.3
    assert np.mean(np.abs(noise) ** 2) == pytest.approx(wanted, rel=0.4)
    clean = hear(both, SENTENCE, Ideal(), 3.0, 1)[0]
    np.testing.assert_array_equal(clean.signal, clean.received)


def test_words_are_marked_by_the_rules_of_lost_words():
    (heard,) = hear(models(0.0), SENTENCE, AWGN(), 6.0, 3)
    assert heard.sent == SENTENCE.lower() and [word for word, _ in heard.marked] == heard.sent.split()
    lost = lost_words.lost(heard.sent, heard.text)
    assert [not arrived for _, arrived in heard.marked] == lost and heard.lost == sum(lost)
    assert 0 < heard.lost < len(lost), "else it proves nothing"
    assert [word for word, _ in heard.said] == heard.text.split()
    added = lost_words.lost(heard.text, heard.sent)
    assert [not known for _, known in heard.said] == added and 0 < sum(added) < len(added)


def test_chinese_is_marked_by_its_own_words():
    vocabulary = word_vocabulary([*CHINESE, *"abcdefghij"])
    c = made(0.0, vocabulary)
    (heard,) = hear({"a": c}, "我们 支持 这份 报告", AWGN(), 12.0, 0)
    assert {"我们", "支持", "报告"} <= {word for word, _ in heard.marked}
    assert heard.lost == sum(not arrived for _, arrived in heard.marked)
    for word, arrived in heard.marked:
        assert arrived == (word in [said for said, _ in heard.said])


def test_attention_is_that_of_the_pieces_said():
    both = models(0.0)
    (heard,) = hear(both, SENTENCE, AWGN(), 6.0, 3)
    c = both["n0.0"]
    batch = collate(encode([as_sent(SENTENCE, [c.vocabulary])], c.vocabulary))
    received = torch.view_as_real(torch.from_numpy(heard.received)).flatten(-2)[None]
    ids = c.vocabulary.encode([" ".join(heard.pieces)])[0]
    with torch.no_grad():
        whole = c.model.receiver.attention(received, batch.source_mask, torch.tensor([[BOS, *ids]]))[0]
    assert heard.attention.shape == (len(heard.pieces), len(heard.symbols))
    np.testing.assert_allclose(heard.attention, whole[:-1], atol=1e-6)
    np.testing.assert_allclose(heard.attention.sum(-1), 1, atol=1e-5)
    assert heard.symbols == ("<s>", *SENTENCE.lower().split(), "</s>")


def test_a_receiver_that_does_not_attend_has_no_attention(gru):  # noqa: F811
    (heard,) = hear({"gru": Checkpoint(gru_model(), words(), {})}, SENTENCE, AWGN(), 6.0, 3)
    assert heard.attention is None and heard.symbols


def test_what_is_told_beside_the_symbols_is_no_symbol():
    told = replace(architecture(size(1), size(1)), snr_aware=True)
    c = Checkpoint(build(told, 0).eval(), words(), {})
    with torch.no_grad():
        c.model.receiver.snr_bias.outer.weight.normal_(std=3, generator=torch.Generator().manual_seed(0))
    both = {"told": c, "other": made()}
    heard, other = hear(both, SENTENCE, AWGN(), 0.0, 3)
    assert heard.received.shape == other.received.shape == (10, C // 2)
    np.testing.assert_allclose(heard.received - heard.signal, other.received - other.signal, atol=1e-6)
    batch = collate(encode([as_sent(SENTENCE, [c.vocabulary])], c.vocabulary))
    received = torch.view_as_real(torch.from_numpy(heard.received)).flatten(-2)[None]
    given = heard_by(c.model.receiver, received, 0.0)
    (pieces,) = Search()(c.model.receiver, given, batch.source_mask)
    assert heard.text == c.vocabulary.decode([pieces])[0]
    assert list(parting(both, SENTENCE, AWGN(), 0.0, 3).chosen) == ["told", "other"]


@pytest.mark.parametrize("typed, why", [("  \u200b ", "empty"), ("we " * 1100, "1100 pieces")])
def test_no_sentence_to_send(typed, why):
    with pytest.raises(SemcomError, match=why):
        hear(models(0.0), typed, AWGN(), 6.0, 0)


def test_the_place_where_two_part():
    both, found = two()
    texts = [heard.text.split() for heard in hear(both, SENTENCE, AWGN(), 6.0, 3)]
    common = [a for a, b in zip(*texts) if a == b]
    assert found.parted and found.place < len(texts[0])
    assert found.said.split() == texts[0][: found.place] == texts[1][: found.place]
    assert list(found.chosen.values()) == [text[found.place] for text in texts]
    assert len(common) >= found.place


def test_probabilities_are_those_of_the_decoder_after_what_all_have_said():
    both, found = two()
    vocabulary = words()
    for (label, c), heard in zip(both.items(), hear(both, SENTENCE, AWGN(), 6.0, 3)):
        received = torch.view_as_real(torch.from_numpy(heard.received)).flatten(-2)[None]
        mask = torch.ones(1, len(heard.symbols), dtype=torch.bool)
        with torch.no_grad():
            state = c.model.receiver.start(received, mask)
            for piece in [BOS, *vocabulary.encode([found.said])[0]]:
                logits = c.model.receiver.project(state.step(torch.tensor([piece])))
        names = vocabulary.spelled(range(len(vocabulary)))
        wanted = dict(zip(names, logits.double().softmax(-1)[0].tolist()))
        assert found.probabilities[label] == pytest.approx([wanted[name] for name in found.pieces], abs=1e-6)
        assert found.chosen[label] == max(wanted, key=wanted.get)
        assert set(sorted(wanted, key=wanted.get)[-5:]) <= set(found.pieces)


def test_where_all_say_the_same_it_is_the_place_of_the_widest_doubt():
    c = made()
    found = parting({"a": c, "b": c}, SENTENCE, AWGN(), 6.0, 3)
    assert not found.parted and found.chosen["a"] == found.chosen["b"]
    near = {"a": c, "b": made(0.001)}
    found = parting(near, SENTENCE, AWGN(), 6.0, 3)
    heard = hear(near, SENTENCE, AWGN(), 6.0, 3)
    assert heard[0].text == heard[1].text and not found.parted
    assert heard[0].text.startswith(found.said)


def test_one_that_stops_earlier_parts_at_its_end():
    from semcom.evaluation.parting import _first_difference

    assert _first_difference([[5, 6, EOS], [5, EOS]]) == (1, True)
    assert _first_difference([[5, 6, EOS], [5, 6, EOS]]) == (2, False)
    assert _first_difference([[EOS], [EOS], [EOS]]) == (0, False)


def test_unlike_vocabularies_have_no_pieces_in_common():
    one, other = made(), made(0.0, word_vocabulary(WORDS[::-1]))
    assert parting({"a": one, "b": other}, SENTENCE, AWGN(), 6.0, 0) is None
    assert parting({"a": one}, SENTENCE, AWGN(), 6.0, 0) is None


def test_fate_is_what_each_draw_would_have_told():
    both, snrs, draws = models(0.0, 0.2), (-3.0, 6.0), 3
    frame = fate(both, SENTENCE, AWGN(), snrs, 4, draws=draws)
    assert list(frame["model"]) == [label for label in both for _ in snrs]
    assert list(frame["snr"]) == [*snrs, *snrs]
    for row in frame.to_dict("records"):
        c = both[row["model"]]
        (heard,) = hear({"it": c}, SENTENCE, AWGN(), row["snr"], 4)
        assert row["score_here"] == pytest.approx(heard.score)
        assert row["arrived_here"] == pytest.approx(1 - heard.lost / len(heard.marked))
        batch = collate(encode([make_sentence(SENTENCE.lower())], c.vocabulary))
        arrived = []
        for number in range(draws):
            signal, _ = c.model.transmitter(batch.source, batch.source_mask)
            received = AWGN().apply(signal, batch.draw(AWGN(), C, seed=4, number=number), row["snr"])
            text = c.vocabulary.decode(Search()(c.model.receiver, received, batch.source_mask))[0]
            arrived.append(1 - np.mean(lost_words.lost(SENTENCE.lower(), text)))
        assert row["arrived"] == pytest.approx(np.mean(arrived))
    assert frame["score"].between(0, 100).all()


def test_a_beam_is_taken_where_it_is_asked_for():
    both = models(0.0)
    asked = []

    class Asked(Search):
        def __call__(self, *given):
            asked.append(len(given[1]))
            return super().__call__(*given)

    hear(both, SENTENCE, AWGN(), 6.0, 0, Asked())
    fate(both, SENTENCE, AWGN(), (0.0, 6.0), 0, Asked(), draws=2)
    assert asked == [1, 4]
