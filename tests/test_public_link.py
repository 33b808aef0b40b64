"""The public link restated: against 2 x 2 matrices, against numbers by hand, and against our channel at
another SNR."""

import math

import pytest
import torch
from toy import channel_of

from semcom.channel import deepsc_link
from semcom.channel.channels import CHANNELS, Ideal, Rayleigh, Rician
from semcom.channel.deepsc_link import PublicAWGN, PublicRayleigh, PublicRician
from semcom.channel.draws import Draw

THREE_DB = 10 * math.log10(2)
DRAWS = 40_000


def normal(*shape, seed=0, std=1.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * std


def test_power_is_scaled_over_the_batch_with_its_padding_and_only_downwards():
    # Mean square (16 + 16)/8 = 4 with the padding, so halved; the real tokens alone would have 8.
    loud = torch.tensor([[[4.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert torch.equal(deepsc_link.scale_power(loud), loud / 2)
    assert torch.equal(deepsc_link.scale_power(loud / 4), loud / 4), "mean square 1/4 is left alone"
    x = normal(3, 5, 8, std=1.7)
    scaled = deepsc_link.scale_power(x)
    assert scaled.square().mean().item() == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(scaled / x, torch.full_like(x, 1 / math.sqrt(float((x**2).sum()) / x.numel())))


@pytest.mark.parametrize(
    "snr, expected", [(0.0, 0.7071067811865476), (20.0, 0.07071067811865475), (-10 * math.log10(2), 1.0)]
)
def test_noise_of_one_real_dimension(snr, expected):
    assert deepsc_link.noise_std(snr) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("k", [0.0, 1.0, 5.0])
def test_rician_gain_has_mean_power_two_and_rayleigh_one(k):
    scatter = normal(DRAWS, 2, std=0.5**0.5)
    assert PublicRayleigh().fades(scatter) is scatter
    link = PublicRician(k)
    h = link.fades(scatter)
    spread = 2 * (1 + 2 * k) ** 0.5 / (1 + k)  # of |h|^2, twice that of a gain of mean 1
    assert h.square().sum(1).mean().item() == pytest.approx(2, abs=5 * spread / DRAWS**0.5)
    assert (link.power, PublicRayleigh().power) == (2, 1)
    assert link.relative_variance == pytest.approx((spread / 2) ** 2)
    for part in h.T:
        assert part.mean().item() == pytest.approx(math.sqrt(k / (k + 1)), abs=5 / (DRAWS * (k + 1)) ** 0.5)
        assert part.var().item() == pytest.approx(1 / (k + 1), rel=5 * (2 / DRAWS) ** 0.5)


def test_k_is_one_unless_told_and_other_links_do_not_fade():
    scatter = normal(7, 2)
    assert torch.equal(PublicRician().fades(scatter), PublicRician(1.0).fades(scatter))
    assert PublicAWGN().fades(scatter).tolist() == [[1.0, 0.0]] * 7
    assert PublicAWGN().relative_variance == 0


def test_a_channel_without_noise_has_no_counterpart():
    assert Ideal().public_link is None
    links = {name: channel().public_link for name, channel in CHANNELS.items()}
    assert links == {
        "ideal": None,
        "awgn": PublicAWGN(),
        "rayleigh": PublicRayleigh(),
        "rician": PublicRician(),
        **dict.fromkeys(["tdl-a", "tdl-c", "tdl-d"]),
    }
    assert Rayleigh(fading="symbol").public_link is None and Rician(csi="none").public_link is None
    assert Rician(rician_k=4.0).public_link == PublicRician(4.0)


@pytest.mark.parametrize("link", [PublicRayleigh(), PublicRician()], ids=["rayleigh", "rician"])
def test_receive_inverts_the_matrix_of_the_gain(link):
    x, noise, snr = normal(4, 3, 6), normal(4, 3, 6, seed=1), 5.0
    h = link.fades(normal(1, 2, seed=2)).expand(4, 2)  # one fade a batch
    real, imaginary = h[0].tolist()
    matrix = torch.tensor(
        [[real, imaginary], [-imaginary, real]], dtype=torch.float64
    )  # rows times this are complex products with h
    received = x.reshape(4, -1, 2) @ matrix + noise.reshape(4, -1, 2) / math.sqrt(2 * 10 ** (snr / 10))
    expected = (received @ torch.linalg.inv(matrix)).reshape(x.shape)
    torch.testing.assert_close(link.receive(x, h, noise, snr), expected, rtol=1e-10, atol=1e-12)


def test_each_row_has_the_gain_of_its_own():
    x, noise, h = normal(3, 2, 4), normal(3, 2, 4, seed=1), normal(3, 2, seed=2)
    link = PublicRayleigh()
    together = link.receive(x, h, noise, 3.0)
    for row in range(3):
        alone = link.receive(x[row : row + 1], h[row : row + 1], noise[row : row + 1], 3.0)
        torch.testing.assert_close(together[row : row + 1], alone)


def test_awgn_adds_noise_whatever_the_gain():
    x, noise, h = normal(2, 3, 4), normal(2, 3, 4, seed=1), normal(2, 2, seed=2)
    torch.testing.assert_close(PublicAWGN().receive(x, h, noise, 10.0), x + noise * 0.05**0.5)


@pytest.mark.parametrize("kind", ["awgn", "rayleigh"])
def test_its_link_is_ours_three_db_higher_where_its_power_rule_acts(kind):
    """Not by statistics: the same noise and the same gain leave the same sentence, sqrt(2) times as
    strong."""
    ours, draw = (
        normal(5, 4, 6, std=0.5**0.5),
        Draw(torch.zeros(5), normal(5, 2, seed=1), normal(5, 4, 6, seed=2)),
    )
    channel = channel_of(kind)
    link = channel.public_link
    theirs = link.receive(2**0.5 * ours, link.fades(draw.scatter), draw.noise, 7.0)
    expected = channel.apply(ours, draw, 7.0 + THREE_DB)
    torch.testing.assert_close(theirs, 2**0.5 * expected, rtol=1e-10, atol=1e-12)


def test_its_rician_link_is_ours_six_db_higher():
    """Its gain is sqrt(2) e^(i pi/4) times ours of a scatter turned back by that angle; the noise is turned
    with it."""

    def turned(pairs):
        back = complex(math.cos(math.pi / 4), -math.sin(math.pi / 4))
        return torch.view_as_real(
            torch.view_as_complex(pairs.unflatten(-1, (-1, 2)).contiguous()) * back
        ).flatten(-2)

    ours, scatter, noise = normal(5, 4, 6, std=0.5**0.5), normal(5, 2, seed=1), normal(5, 4, 6, seed=2)
    link = PublicRician(3.0)
    theirs = link.receive(2**0.5 * ours, link.fades(scatter), noise, 7.0)
    draw = Draw(torch.zeros(5), turned(scatter), turned(noise))
    expected = Rician(rician_k=3.0).apply(ours, draw, 7.0 + 2 * THREE_DB)
    torch.testing.assert_close(theirs, 2**0.5 * expected, rtol=1e-10, atol=1e-12)
