"""The channel: the draws by their statistics, the map by its formula."""

import math

import pytest
import torch
from toy import channel_of

from semcom.channel.channels import AWGN, Ideal, Rayleigh, Rician
from semcom.channel.draws import Draw, sample

SENTENCES = 20_000
KINDS = [AWGN()] + [
    channel_of(kind, k, equalizer)
    for kind, k in (("rayleigh", 1), ("rician", 3))
    for equalizer in ("zf", "mmse")
]


@pytest.mark.parametrize(
    "kind, told",
    [
        ("ideal", "ideal"),
        ("awgn", "awgn"),
        ("rayleigh", "rayleigh mmse"),
        ("rician", "rician K=0.5 mmse"),
    ],
)
def test_a_channel_tells_all_its_settings(kind, told):
    assert str(channel_of(kind, 0.5, "mmse")) == told


@pytest.fixture(scope="module")
def many():
    """One token of four real dimensions for each of many sentences."""
    return sample(range(SENTENCES), [1] * SENTENCES, 4, seed=0, number=0)


def signal_of(draw, seed=0):
    return torch.randn(draw.noise.shape, generator=torch.Generator().manual_seed(seed)) * 0.5**0.5


def complex_of(x):
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())


def near(measured, expected, deviation, count):
    """Within five standard errors."""
    assert abs(measured - expected) < 5 * deviation / count**0.5, (measured, expected)


def kolmogorov(values, distribution):
    """sqrt(n) times the Kolmogorov-Smirnov distance; above 2.0 in 1 of 1,500 samples of the right
    distribution."""
    values = values.double().sort().values
    n = len(values)
    expected = distribution(values)
    above = (torch.arange(1, n + 1) / n - expected).max()
    below = (expected - torch.arange(n) / n).max()
    return float(max(above, below)) * n**0.5


@pytest.mark.parametrize("snr", [-6.0, 0.0, 12.0])
def test_awgn_noise_power_is_n0_per_complex_symbol(many, snr):
    signal = signal_of(many)
    noise = complex_of(AWGN().apply(signal, many, snr) - signal).flatten()
    n0 = 10 ** (-snr / 10)
    near(noise.abs().square().mean().item() / n0, 1, 1, len(noise))  # |n|^2 is exponential: deviation = mean
    for dimension in (noise.real, noise.imag):
        near(dimension.square().mean().item() / (n0 / 2), 1, 2**0.5, len(noise))
        near(dimension.mean().item() / (n0 / 2) ** 0.5, 0, 1, len(noise))


@pytest.mark.parametrize("kind", ["rayleigh", "rician"])
def test_fading_keeps_the_noise_power_before_equalisation(many, kind):
    channel, signal, n0 = channel_of(kind, 2.0), signal_of(many), 10**-0.3
    h = complex_of(channel.gain(many, torch.float32))[:, :, None]
    noise = h * complex_of(channel.apply(signal, many, 3.0) - signal)
    near(noise.abs().square().mean().item() / n0, 1, 1, noise.numel())


def test_rayleigh_gain_is_exponential_of_mean_one(many):
    power = Rayleigh().gain(many, torch.float32).square().sum(-1)
    near(power.mean().item(), 1, 1, SENTENCES)
    assert kolmogorov(power, lambda x: 1 - torch.exp(-x)) < 2
    phase = torch.atan2(many.scatter[:, 1], many.scatter[:, 0])
    assert kolmogorov(phase, lambda x: (x + math.pi) / (2 * math.pi)) < 2


@pytest.mark.parametrize("k", [0.0, 1.0, 10.0])
def test_rician_splits_a_power_of_one_by_k(many, k):
    h = Rician(rician_k=k).gain(many, torch.float32)
    near(h.square().sum(-1).mean().item(), 1, (1 + 2 * k) ** 0.5 / (1 + k), SENTENCES)
    scattered = 1 / (k + 1)
    near(h[:, 0].mean().item(), (k / (k + 1)) ** 0.5, (scattered / 2) ** 0.5, SENTENCES)
    near(h[:, 1].mean().item(), 0, (scattered / 2) ** 0.5, SENTENCES)
    near(h.var(0).sum().item(), scattered, scattered, SENTENCES)


def test_rician_without_line_of_sight_is_rayleigh(many):
    assert torch.equal(Rician(rician_k=0.0).gain(many, torch.float32), Rayleigh().gain(many, torch.float32))


def test_level_is_uniform_and_independent_of_noise_and_fade(many):
    assert kolmogorov(many.level, lambda x: x) < 2
    assert 0 <= many.level.min() and many.level.max() < 1
    for other in (many.noise[:, 0, 0], many.scatter[:, 0], many.noise[:, 0, 3]):
        near(torch.corrcoef(torch.stack((many.level, other)))[0, 1].item(), 0, 1, SENTENCES)
    near(torch.corrcoef(torch.stack((many.scatter[:, 0], many.noise[:, 0, 0])))[0, 1].item(), 0, 1, SENTENCES)


def test_noise_is_white_within_and_between_sentences():
    noise = sample(range(200), [40] * 200, 8, seed=3, number=1).noise.flatten(1)
    near(noise.mean().item(), 0, 1, noise.numel())
    near(noise.square().mean().item(), 1, 2**0.5, noise.numel())
    correlations = torch.corrcoef(noise)[~torch.eye(200, dtype=torch.bool)]
    assert correlations.abs().max() < 6 / 320**0.5


def test_snr_is_uniform_in_db_between_the_bounds(many):
    snr = many.snr_between(-6.0, 18.0)
    assert -6 <= snr.min() and snr.max() <= 18
    assert kolmogorov(snr, lambda x: (x + 6) / 24) < 2


@pytest.fixture
def few():
    return sample(range(7), [5, 3, 9, 1, 9, 2, 4], 6, seed=1, number=2)


@pytest.mark.parametrize("kind", ["rayleigh", "rician"])
def test_zero_forcing_is_awgn_at_the_faded_snr(few, kind):
    """Known block fading under zf turns the noise's phase and scales it by 1/|h|: AWGN at SNR + 10 log10
    |h|^2."""
    channel, snr = channel_of(kind, 1.5), 4.0
    signal = signal_of(few).double()
    gain = channel.gain(few, torch.float64).square().sum(-1)
    faded = complex_of(channel.apply(signal, few, snr) - signal).abs()
    plain = complex_of(AWGN().apply(signal, few, snr + 10 * torch.log10(gain)) - signal).abs()
    torch.testing.assert_close(faded, plain, rtol=1e-9, atol=1e-12)
    assert plain[plain > 0].std() > 0


@pytest.mark.parametrize("kind", ["rayleigh", "rician"])
def test_equalisers_against_complex_arithmetic(few, kind):
    channel, snr = channel_of(kind, 2.0), torch.linspace(-6, 18, 7).double()
    signal = signal_of(few).double()
    n0 = 10 ** (-snr / 10)[:, None, None]
    s = complex_of(few.scatter.double()).reshape(-1, 1, 1)
    h = s if kind == "rayleigh" else math.sqrt(2 / 3) + math.sqrt(1 / 3) * s
    y = h * complex_of(signal) + (n0 / 2).sqrt() * complex_of(few.noise.double())
    for equalizer, expected in (
        ("zf", y * h.conj() / h.abs() ** 2),
        ("mmse", y * h.conj() / (h.abs() ** 2 + n0)),
    ):
        found = complex_of(channel_of(kind, 2.0, equalizer).apply(signal, few, snr))
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert channel.equalizer == "zf"


def test_mmse_rescales_zero_forcing_by_one_number_a_sentence(few):
    signal, snr = signal_of(few).double(), 0.0
    zf, mmse = (Rayleigh(e).apply(signal, few, snr) for e in ("zf", "mmse"))
    gain = few.scatter.double().square().sum(-1)
    torch.testing.assert_close(mmse, zf * (gain / (gain + 1))[:, None, None])
    assert mmse.abs().max() < zf.abs().max()


def test_one_gain_a_sentence(few):
    """The equalised noise over the drawn noise is 1/h: constant in a sentence, another in the next."""
    ratio = complex_of(Rayleigh().apply(torch.zeros(few.noise.shape).double(), few, 0.0)) / complex_of(
        few.noise.double()
    )
    of_sentence = [ratio[row, : int(few.noise[row].any(-1).sum())] for row in range(7)]
    for values in of_sentence:
        torch.testing.assert_close(values, values[:1, :1].expand_as(values))
    assert len({complex(values[0, 0]) for values in of_sentence}) == 7


def test_ideal_is_the_identity(few):
    signal = signal_of(few)
    assert torch.equal(Ideal().apply(signal, few, -20.0), signal)


def test_snr_may_differ_by_sentence(few):
    signal, snr = signal_of(few), torch.linspace(-6, 18, 7)
    together = Rayleigh().apply(signal, few, snr)
    for row in range(7):
        alone = Draw(few.level[row : row + 1], few.scatter[row : row + 1], few.noise[row : row + 1])
        torch.testing.assert_close(
            together[row : row + 1], Rayleigh().apply(signal[row : row + 1], alone, float(snr[row]))
        )


def test_a_sentence_meets_the_same_draw_in_any_batch():
    ids, lengths = [11, 2**64 - 1, 0, 77], [3, 17, 40, 1]
    together = sample(ids, lengths, 6, seed=5, number=9)
    backwards = sample(ids[::-1], lengths[::-1], 6, seed=5, number=9)
    for row, (sentence_id, length) in enumerate(zip(ids, lengths)):
        alone = sample([sentence_id], [length], 6, seed=5, number=9)
        for other, place in ((alone, 0), (backwards, 3 - row)):
            assert torch.equal(together.level[row], other.level[place])
            assert torch.equal(together.scatter[row], other.scatter[place])
            assert torch.equal(together.noise[row, :length], other.noise[place, :length])


def test_global_generator_is_neither_read_nor_moved():
    torch.manual_seed(0)
    first, state = sample([1], [4], 4, seed=0, number=0), torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(first.noise, sample([1], [4], 4, seed=0, number=0).noise)
    torch.manual_seed(0)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("change", [{"seed": 6}, {"number": 10}, {"ids": [12]}])
def test_draws_differ_by_seed_id_and_number(change):
    usual = {"ids": [11], "seed": 5, "number": 9}
    first, second = (
        sample(c["ids"], [8], 6, seed=c["seed"], number=c["number"]) for c in (usual, {**usual, **change})
    )
    assert first.level != second.level
    assert not (first.scatter == second.scatter).any() and not (first.noise == second.noise).any()


@pytest.mark.parametrize("channel", KINDS, ids=str)
def test_padding_stays_silent(channel):
    lengths = [5, 2, 9]
    draw = sample([1, 2, 3], lengths, 4, seed=0, number=0)
    padded = torch.arange(9)[None] >= torch.tensor(lengths)[:, None]
    signal = signal_of(draw).masked_fill(padded[..., None], 0)
    received = channel.apply(signal, draw, 0.0)
    assert not received[padded].any() and received[~padded].all()
