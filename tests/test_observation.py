"""What a receiver has before its equaliser, and that what it has after it is what it always was."""

import pytest
import torch
from toy import channel_of

from semcom.channel.channels import AWGN, CHANNELS, Ideal
from semcom.channel.draws import sample
from semcom.channel.observation import equalised

FADING = [(kind, e) for kind in ("rayleigh", "rician") for e in ("zf", "mmse")]


@pytest.fixture
def few():
    return sample(range(5), [5, 3, 9, 1, 9], 6, seed=1, number=2)


def signal_of(draw):
    signal = torch.randn(draw.noise.shape, generator=torch.Generator().manual_seed(0)) * 0.5**0.5
    return signal.masked_fill(draw.noise == 0, 0)


def complex_of(x):
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())


def earlier(kind, equalizer, signal, draw, snr_db):
    """The arithmetic of ``apply`` before there were observations, step by step."""
    snr_db = torch.as_tensor(snr_db, dtype=signal.dtype).expand(len(signal))
    n0 = (10 ** (-snr_db / 10))[:, None, None]
    noise = (draw.noise.to(signal.dtype) * (n0 / 2).sqrt()).unflatten(-1, (-1, 2))
    h = draw.scatter.to(signal.dtype)
    if kind == "rician":
        h = (torch.cat((h.new_full((1,), 2.0**0.5), h.new_zeros(1))) + h) / 3.0**0.5
    h = h[:, None, None, :]

    def product(a, b):
        real = a[..., 0] * b[..., 0] - a[..., 1] * b[..., 1]
        return torch.stack((real, a[..., 0] * b[..., 1] + a[..., 1] * b[..., 0]), -1)

    received = product(signal.unflatten(-1, (-1, 2)), h) + noise
    divisor = h.square().sum(-1, keepdim=True)
    if equalizer == "mmse":
        divisor = divisor + n0[..., None]
    return (product(received, torch.stack((h[..., 0], -h[..., 1]), -1)) / divisor).flatten(-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind, equalizer", FADING)
def test_what_is_equalised_is_what_it_was_to_the_bit(few, kind, equalizer, dtype):
    signal, snr = signal_of(few).to(dtype).requires_grad_(), torch.linspace(-6, 18, 5)
    now, then = (
        channel_of(kind, 2.0, equalizer).apply(signal, few, snr),
        earlier(kind, equalizer, signal, few, snr),
    )
    assert now.dtype == dtype and torch.equal(now, then)
    pulled = [torch.autograd.grad(x.square().sum(), signal)[0] for x in (now, then)]
    assert torch.equal(*pulled)


@pytest.mark.parametrize("kind, equalizer", FADING)
def test_an_observation_is_the_signal_through_gain_and_noise(few, kind, equalizer):
    channel, signal, snr = channel_of(kind, 2.0, equalizer), signal_of(few), torch.linspace(-6, 18, 5)
    seen = channel.observe(signal, few, snr)
    h = complex_of(channel.gain(few, torch.float32))[:, None]
    assert torch.equal(seen.gain, h.expand_as(seen.y)) and not seen.error.any()
    torch.testing.assert_close(seen.n0, 10 ** (-snr / 10)[:, None, None])
    noise = complex_of(few.noise) * (seen.n0 / 2).sqrt()
    torch.testing.assert_close(seen.y, h * complex_of(signal) + noise)
    assert not seen.y[complex_of(few.noise) == 0].any(), "padding stays silent"
    assert torch.equal(equalised(seen, equalizer), channel.apply(signal, few, snr))
    narrow = channel.observe(signal.bfloat16(), few, snr)
    assert narrow.y.dtype == torch.complex64 and narrow.y.shape == seen.y.shape


def test_without_fading_the_observation_is_what_arrives(few):
    signal = signal_of(few)
    seen = AWGN().observe(signal, few, 3.0)
    assert torch.equal(seen.y, complex_of(AWGN().apply(signal, few, 3.0)))
    assert (seen.gain == 1).all() and not seen.error.any() and seen.n0.shape == (5, 1, 1)
    ideal = Ideal().observe(signal, few, 3.0)
    assert torch.equal(ideal.y, complex_of(signal)) and not ideal.n0.any()


def test_every_channel_observes():
    draw = sample([1, 2], [3, 5], 4, seed=0, number=0)
    for name in CHANNELS:
        channel = channel_of(name, 1.0)
        own = sample([1, 2], [3, 5], 4, seed=0, number=0, channel=channel)
        seen = channel.observe(signal_of(draw), own, 0.0)
        assert seen.y.shape == seen.gain.shape == (2, 5, 2) and seen.n0.shape == (2, 1, 1), name
        torch.broadcast_to(seen.error, seen.y.shape)
