"""The public link restated: against 2 x 2 matrices, against numbers by hand, and against our channel at
another SNR."""

import math

import pytest
import torch

from semcom.channel import channels, deepsc_link
from semcom.channel.channels import Channel, Draw

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
    assert deepsc_link.fades("rayleigh", scatter, k) is scatter
    h = deepsc_link.fades("rician", scatter, k)
    spread = 2 * (1 + 2 * k) ** 0.5 / (1 + k)  # of |h|^2, twice that of a gain of mean 1
    assert h.square().sum(1).mean().item() == pytest.approx(2, abs=5 * spread / DRAWS**0.5)
    for part in h.T:
        assert part.mean().item() == pytest.approx(math.sqrt(k / (k + 1)), abs=5 / (DRAWS * (k + 1)) ** 0.5)
        assert part.var().item() == pytest.approx(1 / (k + 1), rel=5 * (2 / DRAWS) ** 0.5)


def test_k_is_one_unless_told_and_other_links_do_not_fade():
    scatter = normal(7, 2)
    assert torch.equal(deepsc_link.fades("rician", scatter), deepsc_link.fades("rician", scatter, 1.0))
    for kind in ("awgn", "ideal"):
        assert deepsc_link.fades(kind, scatter).tolist() == [[1.0, 0.0]] * 7
    with pytest.raises(ValueError, match="nakagami"):
        deepsc_link.fades("nakagami", scatter)


@pytest.mark.parametrize("kind", ["rayleigh", "rician"])
def test_receive_inverts_the_matrix_of_the_gain(kind):
    x, noise, snr = normal(4, 3, 6), normal(4, 3, 6, seed=1), 5.0
    h = deepsc_link.fades(kind, normal(1, 2, seed=2)).expand(4, 2)  # one fade a batch
    real, imaginary = h[0].tolist()
    matrix = torch.tensor(
        [[real, imaginary], [-imaginary, real]], dtype=torch.float64
    )  # rows times this are complex products with h
    received = x.reshape(4, -1, 2) @ matrix + noise.reshape(4, -1, 2) / math.sqrt(2 * 10 ** (snr / 10))
    expected = (received @ torch.linalg.inv(matrix)).reshape(x.shape)
    torch.testing.assert_close(deepsc_link.receive(kind, x, h, noise, snr), expected, rtol=1e-10, atol=1e-12)


def test_each_row_has_the_gain_of_its_own():
    x, noise, h = normal(3, 2, 4), normal(3, 2, 4, seed=1), normal(3, 2, seed=2)
    together = deepsc_link.receive("rayleigh", x, h, noise, 3.0)
    for row in range(3):
        alone = deepsc_link.receive("rayleigh", x[row : row + 1], h[row : row + 1], noise[row : row + 1], 3.0)
        torch.testing.assert_close(together[row : row + 1], alone)


def test_awgn_adds_noise_whatever_the_gain_and_ideal_adds_none():
    x, noise, h = normal(2, 3, 4), normal(2, 3, 4, seed=1), normal(2, 2, seed=2)
    torch.testing.assert_close(deepsc_link.receive("awgn", x, h, noise, 10.0), x + noise * 0.05**0.5)
    assert deepsc_link.receive("ideal", x, h, noise, 10.0) is x


@pytest.mark.parametrize("kind", ["awgn", "rayleigh"])
def test_its_link_is_ours_three_db_higher_where_its_power_rule_acts(kind):
    """Not by statistics: the same noise and the same gain leave the same sentence, sqrt(2) times as
    strong."""
    ours, draw = (
        normal(5, 4, 6, std=0.5**0.5),
        Draw(torch.zeros(5), normal(5, 2, seed=1), normal(5, 4, 6, seed=2)),
    )
    theirs = deepsc_link.receive(kind, 2**0.5 * ours, deepsc_link.fades(kind, draw.scatter), draw.noise, 7.0)
    torch.testing.assert_close(
        theirs, 2**0.5 * channels.apply(Channel(kind), ours, draw, 7.0 + THREE_DB), rtol=1e-10, atol=1e-12
    )


def test_its_rician_link_is_ours_six_db_higher():
    """Its gain is sqrt(2) e^(i pi/4) times ours of a scatter turned back by that angle; the noise is turned
    with it."""

    def turned(pairs):
        back = complex(math.cos(math.pi / 4), -math.sin(math.pi / 4))
        return torch.view_as_real(
            torch.view_as_complex(pairs.unflatten(-1, (-1, 2)).contiguous()) * back
        ).flatten(-2)

    ours, scatter, noise = normal(5, 4, 6, std=0.5**0.5), normal(5, 2, seed=1), normal(5, 4, 6, seed=2)
    theirs = deepsc_link.receive(
        "rician", 2**0.5 * ours, deepsc_link.fades("rician", scatter, 3.0), noise, 7.0
    )
    draw = Draw(torch.zeros(5), turned(scatter), turned(noise))
    expected = channels.apply(Channel("rician", 3.0), ours, draw, 7.0 + 2 * THREE_DB)
    torch.testing.assert_close(theirs, 2**0.5 * expected, rtol=1e-10, atol=1e-12)
