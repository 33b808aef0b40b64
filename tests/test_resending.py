"""Sentences sent again: two receptions combined, sureness, thresholds, policies, the command."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from cli_support import package, refused
from toy import CPU, Numbers, channel_of, collated, encoded, sharp, through

from semcom.base.errors import SemcomError
from semcom.channel.channels import AWGN, Rayleigh, make_channel
from semcom.channel.combining import maximum_ratio
from semcom.channel.settings import ChannelConfig
from semcom.data.batching import collate
from semcom.data.vocabulary import BOS, EOS
from semcom.evaluation import bootstrap, measures
from semcom.evaluation.resending import BELOW, ORACLE, RANDOM, STRONGER, Resending, sureness
from semcom.evaluation.scores import Entrant, Meeting, decode, score
from semcom.evaluation.settings import ResendingConfig
from semcom.models.decoding import greedy
from semcom.models.link import send_again

SENTENCES = encoded(40, 3, 9)
VALIDATION = encoded(60, 3, 9, seed=1)
SNRS = (0.0, 9.0)


def meeting(**choice):
    return replace(Meeting(Rayleigh(), SNRS, 3, CPU, 8, quiet=True), **choice)


@pytest.fixture(scope="module")
def entrant():
    return Entrant("a", sharp())


@pytest.fixture(scope="module")
def once(entrant):
    return decode(entrant, SENTENCES, Numbers(), meeting())


def resender(entrant, once, **choice):
    return Resending(entrant, VALIDATION, SENTENCES, once, Numbers(), meeting(**choice))


# --- combining


def signal_and_draws(channel, count=2):
    batch = collated(5)
    model = sharp()
    with torch.no_grad():
        signal, _ = model.transmitter(batch.source, batch.source_mask)
    return model, batch, signal, [batch.draw(channel, 8, seed=0, number=n) for n in range(count)]


def test_two_receptions_over_awgn_are_their_mean_and_so_3_db_better():
    model, batch, signal, draws = signal_and_draws(AWGN())
    with torch.no_grad():
        (both,) = send_again(model.transmitter, batch, AWGN(), [4.0], seed=0, numbers=(0, 1)).received[0]
        one, other = (through(model, batch, AWGN(), 4.0, number=n) for n in (0, 1))
    assert torch.allclose(both, (one + other) / 2, atol=1e-6)
    # The noise of the mean is that of one reception at 10 log10(2) dB more, of noise of unit variance.
    noise = (draws[0].noise + draws[1].noise) / math.sqrt(2)
    alone = AWGN().apply(signal, replace(draws[0], noise=noise), 4.0 + 10 * math.log10(2))
    assert torch.allclose(both, alone, atol=1e-6)


@pytest.mark.parametrize("kind", ["rayleigh", "rician"])
@pytest.mark.parametrize("equalizer", ["zf", "mmse"])
def test_fading_receptions_are_combined_by_their_gains(kind, equalizer):
    channel = channel_of(kind, equalizer=equalizer)
    model, batch, signal, draws = signal_and_draws(channel, 3)
    with torch.no_grad():
        sent = send_again(model.transmitter, batch, channel, [2.0], seed=0, numbers=range(3))
    (both,) = sent.received[0]
    assert sent.snrs[0] == [pytest.approx(2 + 10 * math.log10(3))]
    n0 = 10**-0.2
    x = torch.view_as_complex(signal.unflatten(-1, (-1, 2)).contiguous())
    total, power = 0.0, 0.0
    for draw in draws:
        h = torch.view_as_complex(channel.gain(draw, torch.float32).contiguous())[:, None, None]
        n = torch.view_as_complex(draw.noise.unflatten(-1, (-1, 2)).contiguous()) * math.sqrt(n0 / 2)
        total = total + h.conj() * (h * x + n)
        power = power + h.abs() ** 2
    wanted = total / (power + (n0 if equalizer == "mmse" else 0))
    assert torch.allclose(both, torch.view_as_real(wanted).flatten(-2), atol=1e-5)
    assert (both[~batch.source_mask] == 0).all()


def test_what_is_combined_is_a_link_of_the_gains_together():
    channel = Rayleigh()
    _, batch, signal, draws = signal_and_draws(channel)
    seen = [channel.observe(signal, draw, 3.0) for draw in draws]
    wrong = [replace(one, error=torch.full_like(one.n0, error)) for one, error in zip(seen, (0.2, 0.6))]
    both = maximum_ratio(wrong)
    powers = [one.gain.abs() ** 2 for one in seen]
    assert torch.allclose(both.gain.abs() ** 2, powers[0] + powers[1], rtol=1e-5)
    assert torch.allclose(
        both.error, (0.2 * powers[0] + 0.6 * powers[1]) / (powers[0] + powers[1]), rtol=1e-5
    )
    assert torch.equal(both.n0, seen[0].n0)
    one = maximum_ratio(seen[:1])
    assert torch.allclose(one.y * one.gain, seen[0].y * seen[0].gain.conj(), rtol=1e-4, atol=1e-6)
    lost = [replace(one, gain=torch.zeros_like(one.gain)) for one in seen]
    assert torch.isfinite(torch.view_as_real(maximum_ratio(lost).y)).all()


# --- sureness


def test_sureness_is_that_of_each_sentence_decoded_alone(entrant, once):
    found = sureness(entrant, SENTENCES, once, meeting())
    model = entrant.model
    for at_snr, snr in zip(found, SNRS):
        for place in (0, 7, 31):
            batch = collate([SENTENCES[place]])
            with torch.no_grad():
                received = through(model, batch, Rayleigh(), snr, seed=3)
                said = greedy(model.receiver, received, batch.source_mask)[0]
                state = model.receiver(received, batch.source_mask, torch.tensor([[BOS, *said]]))[0]
                logs = F.log_softmax(model.receiver.project(state), -1)
            own = [float(row[piece]) for row, piece in zip(logs, [*said, EOS])]
            assert at_snr[place] == pytest.approx(sum(own) / len(own), rel=1e-4)
    assert (found < 0).all() and found.shape == (2, 40)


def test_a_share_of_validation_sentences_is_below_its_threshold(entrant, once):
    made = resender(entrant, once)
    limits = made.thresholds([0.1, 0.5])
    of_validation = sureness(
        entrant, VALIDATION, decode(entrant, VALIDATION, Numbers(), meeting()), meeting()
    )
    assert np.allclose((of_validation[:, :, None] < limits[:, None]).mean(1), [[0.1, 0.5]] * 2)


# --- policies


def test_rows_by_hand(entrant, once):
    made = resender(entrant, once)
    rows = pd.DataFrame(made.rows([0.2, 0.5]))
    assert len(rows) == 2 * 2 * 4
    limits = made.thresholds([0.2, 0.5])
    sure = sureness(entrant, SENTENCES, once, meeting())
    twice = decode(entrant, SENTENCES, Numbers(), meeting(receptions=2))
    symbols = np.array([len(e.source) * 4 for e in SENTENCES])
    for at, snr in enumerate(SNRS):
        again = sure[at] < limits[at, 1]
        of = rows[(rows["snr"] == snr) & (rows["share"] == 0.5)].set_index("policy")
        texts = [twice[at].texts[i] if sent else once[at].texts[i] for i, sent in enumerate(again)]
        pieces = [twice[at].pieces[i] if sent else once[at].pieces[i] for i, sent in enumerate(again)]
        mixed = replace(once[at], texts=texts, pieces=pieces)
        assert of["bleu"][BELOW] == pytest.approx(score(mixed, SENTENCES, meeting().scoring)["bleu"])
        assert of["resent"][BELOW] == again.mean()
        assert of["channel_uses"][BELOW] == pytest.approx(1 + symbols[again].sum() / symbols.sum())
        assert of["channel_uses"][RANDOM] == pytest.approx(of["channel_uses"][BELOW])
        assert of["channel_uses"][ORACLE] <= of["channel_uses"][BELOW] + 1e-9
        raised = snr + 10 * math.log10(of["channel_uses"][BELOW])
        (stronger,) = decode(entrant, SENTENCES, Numbers(), meeting(snrs=[raised]))
        assert of["bleu"][STRONGER] == score(stronger, SENTENCES, meeting().scoring)["bleu"]
        gain = of["bleu_over_random"][BELOW]
        assert gain.value == pytest.approx(of["bleu"][BELOW] - of["bleu"][RANDOM])
        assert gain.low <= gain.value <= gain.high


def test_random_resending_is_the_mean_over_choices(entrant, once):
    """BLEU of summed counts is nearly linear in them: the mean over many choices comes near."""
    made = resender(entrant, once)
    receptions = made._receptions()[0]
    again = np.full(40, 0.4)
    wanted = receptions.row(RANDOM, again)
    rng = np.random.default_rng(0)
    exact = [receptions.row(RANDOM, (rng.random(40) < 0.4).astype(float))["exact"] for _ in range(2000)]
    # One choice has a variance of at most 0.4 * 0.6 / 40, so the mean of 2000 is within 0.007 (4 sigma).
    assert wanted["exact"] == pytest.approx(np.mean(exact), abs=0.007)
    assert wanted["channel_uses"] == pytest.approx(1.4)
    assert receptions.row(RANDOM, np.zeros(40))["bleu"] == pytest.approx(
        score(once[0], SENTENCES, meeting().scoring)["bleu"]
    )


def test_an_oracle_is_never_below_the_receivers_choice(entrant, once):
    made = resender(entrant, once)
    rng = np.random.default_rng(0)
    for receptions in made._receptions():
        for share in (0.05, 0.1, 0.2, 0.5, 1.0):
            asked = rng.random(len(SENTENCES)) < share
            rows = {row["policy"]: row for row in receptions.policies(asked, 0)}
            assert rows[ORACLE]["bleu"] >= rows[BELOW]["bleu"]
            assert rows[ORACLE]["channel_uses"] <= rows[BELOW]["channel_uses"] + 1e-9


def test_an_oracle_sends_where_it_gains_most(entrant, once):
    receptions = resender(entrant, once)._receptions()[0]
    gains = np.array(
        [sentence_bleu(receptions.twice, i) - sentence_bleu(receptions.once, i) for i in range(40)]
    )
    assert np.allclose(receptions.gains(), gains)
    everything = receptions.oracle(np.ones(40, bool))
    whole = receptions.row(BELOW, np.ones(40))["bleu"]
    assert receptions.row(ORACLE, everything.astype(float))["bleu"] > whole and (gains < 0).any()
    assert not (everything & (gains <= 0)).any()
    one = np.zeros(40, bool)
    one[int(np.argmax(receptions.costs))] = True
    (best,) = receptions.oracle(one).nonzero()
    assert gains[best].sum() > 0 and receptions.costs[best].sum() <= receptions.costs.max()


def sentence_bleu(sums, place):
    return measures.of_sentences(sums[place : place + 1], [measures.named("bleu")])["bleu"].item()


def test_replicates_have_equal_channel_uses(entrant, once):
    receptions = resender(entrant, once)._receptions()[0]
    below = (np.arange(40) < 8).astype(float)
    gain = receptions._gain(below, 0)
    weights = bootstrap.resamples(40, 1000, 0)
    values = []
    for times in weights:
        again = np.full(40, (times * receptions.costs) @ below / (times @ receptions.costs))
        bleu = [
            measures.of_sentences(receptions._kept(kept), [measures.named("bleu")], times[None])["bleu"][0]
            for kept in (below, again)
        ]
        values.append(bleu[0] - bleu[1])
    wanted = bootstrap.interval(np.array(values))
    assert (gain.value, gain.low, gain.high) == pytest.approx((wanted.value, wanted.low, wanted.high))


def test_batches_change_nothing(entrant, once):
    few = resender(entrant, once, batch_size=3).rows([0.3])
    assert [row["bleu"] for row in few] == [row["bleu"] for row in resender(entrant, once).rows([0.3])]


# --- the command


SHORT = ["--corpus-size", 1000, "--sentences", 40, "--quiet", "--device", "cpu", "--seed", 1]


def test_evaluate_resends(teacher, here, capsys):
    flags = [*SHORT, "--snr", 6, 12, "--channel", "rayleigh"]
    assert package("evaluate", teacher, *flags, "--output", "plain.csv") == 0
    capsys.readouterr()
    assert package("evaluate", teacher, *flags, "--output", "again.csv", "--resend", 0.2, 0.4) == 0
    said = capsys.readouterr().out
    assert "20 % asked, below threshold" in said and "40 % asked, oracle" in said and "sent once" in said
    assert "validation sentences" in said and "again-resending.png" in said
    plain, both = pd.read_csv("plain.csv"), pd.read_csv("again.csv")
    resent = both[both["policy"].notna()]
    pd.testing.assert_frame_equal(both[both["policy"].isna()][plain.columns].reset_index(drop=True), plain)
    (reached,) = [part for part in said.split("\n\n") if part.startswith("% of the sentences")]
    below = resent[resent["policy"] == BELOW]
    for share, of_share in below.groupby("share"):
        (line,) = [line for line in reached.splitlines() if line.startswith(f"{100 * share:g} % asked")]
        assert line.split()[-2:] == [f"{100 * value:.1f}" for value in of_share["resent"]]
    assert len(resent) == 2 * 2 * 4 and set(resent["share"]) == {0.2, 0.4}
    assert {"threshold", "resent", "channel_uses", "bleu", "bleu_over_random low"} <= set(resent.columns)
    for name in ("again.png", "again-resending.png", "again-resending-column.pdf"):
        assert (here / name).exists()
    refused(
        capsys, package("evaluate", teacher, *flags, "--output", "again.csv", "--resend", 0.2), "--overwrite"
    )


def test_several_models_are_told_apart(teacher, here, capsys):
    flags = [*SHORT, "--snr", 6, "--resend", 0.2]
    assert package("evaluate", teacher, teacher, *flags) == 0
    said = capsys.readouterr().out
    assert said.count(": 20 % asked,") == 2 * (4 + 3) and "(2): sent once" in said
    assert "alone: of --channels" not in said


def test_sentences_are_sent_again_over_the_first_channel_alone(teacher, here, capsys):
    flags = [*SHORT, "--snr", 6, "--resend", 0.2, "--channels", "rayleigh"]
    assert package("evaluate", teacher, *flags) == 0
    assert "alone: of --channels rayleigh" in capsys.readouterr().out


def test_what_is_refused(teacher, here, capsys):
    for shares in ((0.0,), (1.0,), (0.1, 0.1), (math.nan,)):
        with pytest.raises(SemcomError, match="different shares above 0 and below 1"):
            ResendingConfig(resend=shares)
    refused(
        capsys,
        package("evaluate", teacher, "--channel", "ideal", "--resend", 0.1),
        "--resend 0.1",
        "--channel awgn",
    )
    blind = ["--channel", "rayleigh", "--csi", "none"]
    refused(capsys, package("evaluate", teacher, *blind, "--resend", 0.1), "--resend 0.1", "--csi none")
    refused(capsys, package("evaluate", teacher, "--resend", "10%"), "did you mean 0.1?")
    ResendingConfig(resend=(0.1,)).check_channel("awgn", "none")  # which has no gains to know


def test_a_rough_threshold_warns(teacher, here, capsys):
    assert package("evaluate", teacher, *SHORT, "--snr", 6, "--resend", 0.05) == 0
    assert "warning: --resend 0.05" in capsys.readouterr().out


def pilots_of(count):
    return make_channel(ChannelConfig(channel="rayleigh", csi="pilots", csi_pilots=count))


def test_channel_uses_have_pilots_and_prefixes(entrant, once):
    """One pilot a sentence weighs more on short ones."""
    made = resender(entrant, once, channel=pilots_of(3))
    costs = made._receptions()[0].costs
    assert costs.tolist() == [len(e.source) * 4 + 3 for e in SENTENCES]


def test_estimated_gains_combine_too(entrant):
    model, batch = entrant.model, collated(6)
    errors = []
    for pilots in (1, 100_000):
        channel = pilots_of(pilots)
        with torch.no_grad():
            sent = send_again(model.transmitter, batch, channel, [6.0], seed=0, numbers=(0, 1))
            known = send_again(model.transmitter, batch, Rayleigh(), [6.0], seed=0, numbers=(0, 1))
        errors.append(float((sent.received[0][0] - known.received[0][0]).abs().max()))
    assert errors[1] < 0.05 < errors[0]
