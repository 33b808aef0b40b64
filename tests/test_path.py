"""Paths of weights: ends and corners to the bit, straight lines between, nothing joined that is unlike."""

import copy

import pytest
import torch
from toy import V, architecture, bits, size, transceiver

from semcom.base.errors import SemcomError
from semcom.models.path import Path
from semcom.models.transceiver import Transceiver


def path(*seeds):
    return Path("learning", tuple(transceiver(seed=s) for s in seeds), tuple(f"seed {s}" for s in seeds))


def raw(tensor):
    """Its bits: 0.0 and -0.0 differ."""
    return tensor.contiguous().view(torch.int32)


def same(first, second):
    ours, theirs = bits(first), bits(second)
    return ours.keys() == theirs.keys() and all(torch.equal(raw(ours[n]), raw(theirs[n])) for n in ours)


@pytest.mark.parametrize("seeds", [(0, 1), (0, 1, 2), (0, 1, 2, 3)])
def test_corners_are_the_snapshots_to_the_bit(seeds):
    made = path(*seeds)
    assert made.segments == len(seeds) - 1 == len(made.places) - 1
    assert made.places == tuple(k / made.segments for k in range(len(seeds)))
    for place, snapshot in zip(made.places, made.snapshots):
        assert same(made.at(place), snapshot)


def test_between_corners_weights_lie_on_a_straight_line():
    made = path(0, 1, 2)
    for place, segment, share in ((0.25, 0, 0.5), (0.1, 0, 0.2), (0.875, 1, 0.75)):
        found = bits(made.at(place))
        before, after = (bits(made.snapshots[k]) for k in (segment, segment + 1))
        for name, weights in found.items():
            wanted = (1 - share) * before[name].double() + share * after[name].double()
            torch.testing.assert_close(weights.double(), wanted, rtol=1e-5, atol=1e-6)
    assert not same(made.at(0.25), made.snapshots[0])


def test_a_place_just_beside_a_corner_belongs_to_either_segment():
    made = path(0, 1, 2, 3)
    for place in (1 / 3 - 1e-16, 1 / 3 + 1e-16, 2 / 3 - 2e-16, 2 / 3 + 2e-16):
        corner = bits(made.snapshots[round(3 * place)])
        assert all((weights - corner[n]).abs().max() < 1e-5 for n, weights in bits(made.at(place)).items())


def test_what_both_neighbours_have_stays_to_the_bit():
    first, second = transceiver(seed=0), transceiver(seed=1)
    second.transmitter.load_state_dict(first.transmitter.state_dict())
    bias = "channel_encoder.0.bias"
    with torch.no_grad():
        for model in (first, second):
            model.transmitter.get_parameter(bias).copy_(
                torch.full_like(model.transmitter.get_parameter(bias), -0.0)
            )
    for share in (0.1, 0.3, 0.5, 0.9):
        made = Path("learning", (first, second), ("a", "b")).at(share)
        assert same(made.transmitter, first.transmitter)
        assert torch.signbit(made.transmitter.get_parameter(bias)).all(), "-0.0 stays"
        assert not same(made.receiver, first.receiver)


def test_minus_zero_at_an_end_stays():
    first, second = transceiver(seed=0), transceiver(seed=1)
    with torch.no_grad():
        next(first.parameters()).fill_(-0.0)
    assert same(Path("learning", (first, second), ("a", "b")).at(0), first)


def test_what_is_made_is_its_own_and_in_eval_mode():
    made = path(0, 1)
    before = [copy.deepcopy(snapshot) for snapshot in made.snapshots]
    for place in (0.0, 0.4, 1.0):
        model = made.at(place)
        assert not model.training
        with torch.no_grad():
            for weights in model.parameters():
                weights.add_(1)
    assert all(same(a, b) for a, b in zip(before, made.snapshots))


def with_heads(heads):
    return transceiver(size(), size(heads=heads))


def with_amplitude(amplitude):
    model = transceiver()
    model.receiver.channel_decoder.amplitude = amplitude
    return model


def with_positions(scale):
    model = transceiver()
    for buffer in model.receiver.buffers():
        buffer.mul_(scale)
    return model


@pytest.mark.parametrize(
    "other, words",
    [
        (lambda: transceiver(size(), size(layers=1)), "receiver layers 2 beside 1"),
        (lambda: transceiver(size(width=8), size()), "transmitter d_model 16 beside 8"),
        (lambda: with_heads(4), "receiver num_heads 2 beside 4"),
        (lambda: transceiver(vocab_size=V + 1), "vocab_size 24 beside 25"),
        (lambda: with_amplitude(2.0), "the usual beside amplitude 2.0"),
        (lambda: with_positions(2), "the buffer receiver"),
    ],
)
def test_unlike_snapshots_are_refused_in_one_line(other, words):
    with pytest.raises(SemcomError, match=words) as refused:
        Path("between", (transceiver(), other()), ("start", "the end"))
    assert "\n" not in str(refused.value) and len(str(refused.value)) <= 500
    assert "start to the end" in str(refused.value)


def test_dropout_is_of_training_alone():
    other = Transceiver(architecture(dropout=0.3))
    assert Path("between", (transceiver(), other), ("a", "b")).segments == 1


@pytest.mark.parametrize("number, labels", [(1, ("a",)), (0, ()), (2, ("a",))])
def test_a_path_has_two_corners_and_a_label_for_each(number, labels):
    with pytest.raises(SemcomError, match="two at least"):
        Path("learning", tuple(transceiver() for _ in range(number)), labels)


@pytest.mark.parametrize("place", [-0.1, 1.1, float("nan")])
def test_a_path_goes_from_0_to_1(place):
    with pytest.raises(SemcomError, match="from 0 to 1"):
        path(0, 1).at(place)
