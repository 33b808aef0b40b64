"""Maps between ends that never met, fitted to pilots."""

import numpy as np
import pytest
import torch
from toy import C, channel_of, collated, encoded, sharp

from semcom.base.errors import SemcomError
from semcom.channel.channels import AWGN, Ideal
from semcom.distillation import aligners
from semcom.distillation.aligner_network import Bent
from semcom.distillation.aligner_settings import EQUAL_C, MAPS
from semcom.distillation.aligners import STRENGTHS, Pilots, fit_aligner
from semcom.distillation.pilots import received_pilots
from semcom.models.settings import RECEIVER_PARTS
from semcom.models.transceiver import splice, with_aligner


def orthogonal(seed=0, c=C):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((c, c)))[0]


def rows(n, c_a=C, c_b=C, *, noise=0.0, seed=0, matrix=None, shift=0.0, sentences=None):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, c_a))
    matrix = rng.standard_normal((c_a, c_b)) if matrix is None else matrix
    y = x @ matrix + shift
    arrived = x + noise * rng.standard_normal(x.shape)
    sentence = None if sentences is None else torch.from_numpy(rng.integers(0, sentences, n))
    return Pilots(torch.from_numpy(arrived), torch.from_numpy(y), sentence)


def error(aligner, pilots):
    with torch.no_grad():
        return float((aligner(pilots.arrived.float()) - pilots.wanted).square().mean())


def weights(aligner):
    return aligner.straight.weight.detach().double().numpy().T


@torch.no_grad()
def turned(model, rotation):
    """The same link, its signals turned: what the transmitter makes is turned, and the receiver turns it
    back."""
    made = splice(model, model, ())
    turn = torch.from_numpy(rotation).float()
    out, into = made.part("channel_encoder")[2], made.part("channel_decoder").linear1
    out.weight.copy_(turn.T @ out.weight)
    out.bias.copy_(turn.T @ out.bias)
    into.weight.copy_(into.weight @ turn)
    return made


@pytest.mark.parametrize("way", ["orthogonal", "linear", "affine", "anchors"])
@torch.no_grad()
def test_a_turned_teacher_is_turned_back_exactly(way):
    """From C linearly independent tokens, without noise."""
    model, sentences = sharp(), encoded(8, 3, 9)
    foreign = turned(model, orthogonal())
    pilots = received_pilots(foreign, model, encoded(4, 3, 5, seed=9), Ideal(), 12.0, seed=0)
    number = C if way != "affine" else C + 1
    few = Pilots(pilots.arrived[:number], pilots.wanted[:number])
    assert np.linalg.matrix_rank(few.arrived.numpy()) == C
    aligner = fit_aligner(way, few, seed=0)
    assert np.abs(weights(aligner) - orthogonal().T).max() < 1e-5
    every = received_pilots(foreign, model, sentences, Ideal(), 12.0, seed=0)
    assert error(aligner, every) ** 0.5 < 1e-5
    batch = collated(8, 3, 9)
    states = []
    for joined in (with_aligner(foreign, model, aligner), model, splice(foreign, model, RECEIVER_PARTS)):
        signal, _ = joined.transmitter(batch.source, batch.source_mask)
        states.append(joined.receiver(signal, batch.source_mask, batch.target_in)[batch.target_mask])
    torch.testing.assert_close(states[0], states[1], atol=1e-4, rtol=1e-4)
    assert (states[2] - states[1]).abs().max() > 0.1


@pytest.mark.parametrize("way", MAPS)
def test_identical_ends_need_no_map(way):
    model = sharp()
    pilots = received_pilots(model, model, encoded(12, 3, 9), Ideal(), 12.0, seed=0)
    aligner = fit_aligner(way, pilots, seed=0)
    assert torch.equal(pilots.arrived, pilots.wanted)
    assert error(aligner, pilots) < 1e-10


@pytest.mark.parametrize("shifts", [False, True])
@pytest.mark.parametrize("c_b", [C, 6])
def test_the_ridge_is_that_of_scikit_learn(shifts, c_b):
    linear_model = pytest.importorskip("sklearn.linear_model")
    pilots = rows(60, C, c_b, noise=0.5, shift=0.3 * shifts)
    x, y = pilots.arrived.numpy(), pilots.wanted.numpy()
    centred = x - x.mean(0) * shifts
    unit = np.square(np.linalg.svd(centred, compute_uv=False)).mean()
    path = aligners._ridge_path(x, y, shifts=shifts)
    assert len(path) == len(STRENGTHS)
    for strength, found in zip(STRENGTHS, path):
        theirs = linear_model.Ridge(alpha=strength * unit, fit_intercept=shifts).fit(x, y)
        np.testing.assert_allclose(found.matrix, theirs.coef_.T, atol=1e-8)
        np.testing.assert_allclose(0 if found.shift is None else found.shift, theirs.intercept_, atol=1e-8)


@pytest.mark.parametrize("way, shifts", [("linear", False), ("affine", True)])
def test_the_strength_has_the_least_error_of_five_folds(way, shifts):
    pilots = rows(40, noise=1.5, sentences=10)
    x, y, of = pilots.arrived.numpy(), pilots.wanted.numpy(), pilots.sentence.numpy()
    folds = list(aligners._folds(pilots, 3))
    assert len(folds) == 5 and (np.sum(folds, axis=0) == 1).all()
    assert all(not set(of[fold]) & set(of[~fold]) for fold in folds)
    errors = []
    for strength in STRENGTHS:
        total = 0.0
        for fold in folds:
            a, b = x[~fold], y[~fold]
            a_mean, b_mean = a.mean(0) * shifts, b.mean(0) * shifts
            a, b = a - a_mean, b - b_mean
            penalty = strength * np.trace(a.T @ a) / C
            w = np.linalg.solve(a.T @ a + penalty * np.eye(C), a.T @ b)
            total += np.square((x[fold] - a_mean) @ w + b_mean - y[fold]).sum()
        errors.append(total)
    best = STRENGTHS[int(np.argmin(errors))]
    assert best > 0
    a, b = x - x.mean(0) * shifts, y - y.mean(0) * shifts
    w = np.linalg.solve(a.T @ a + best * np.trace(a.T @ a) / C * np.eye(C), a.T @ b)
    np.testing.assert_allclose(weights(fit_aligner(way, pilots, seed=3)), w, atol=1e-6)


def test_a_complex_number_by_brute_force():
    pilots = rows(30, noise=0.4, seed=2)
    x, y = (each.numpy().view(np.complex128) for each in (pilots.arrived, pilots.wanted))
    c = (x.conj() * y).sum() / np.square(np.abs(x)).sum()
    made = fit_aligner("scale", pilots, seed=0)(pilots.arrived.float()).detach().numpy()
    np.testing.assert_allclose(made, (c * x).view(np.float64), atol=1e-5)
    nearby = [c + 1e-3 * step for step in (1, -1, 1j, -1j)]
    assert all(np.square(np.abs(near * x - y)).sum() > np.square(np.abs(c * x - y)).sum() for near in nearby)


def test_a_rotation_is_orthogonal_and_beats_others():
    pilots = rows(30, noise=0.3, matrix=orthogonal(1))
    aligner = fit_aligner("orthogonal", pilots, seed=0)
    w = weights(aligner)
    np.testing.assert_allclose(w @ w.T, np.eye(C), atol=1e-6)
    least = error(aligner, pilots)
    for seed in range(20):
        step = np.linalg.qr(np.eye(C) + 0.05 * np.random.default_rng(seed).standard_normal((C, C)))
        near = w @ step[0] * np.sign(np.diag(step[1]))
        assert np.square(pilots.arrived.numpy() @ near - pilots.wanted.numpy()).mean() > least


def test_anchors_are_an_inverse_relative_projection():
    """Row by row, as the paper has it: cosines to A's anchors, then the pseudo-inverse of B's."""
    pilots = rows(50, C, 6, noise=0.2)
    x, y = pilots.arrived.numpy(), pilots.wanted.numpy()
    aligner = fit_aligner("anchors", pilots, seed=4, anchors=20)
    chosen = np.random.default_rng(4).choice(50, 20, replace=False)
    a, b = x[chosen], y[chosen]
    inverse = np.linalg.pinv(b / np.linalg.norm(b, axis=1, keepdims=True))
    for row in x[:5]:
        cosines = np.array([row @ anchor / np.linalg.norm(row) / np.linalg.norm(anchor) for anchor in a])
        expected = np.linalg.norm(row) * inverse @ cosines
        np.testing.assert_allclose(aligner(torch.from_numpy(row).float()).detach(), expected, atol=1e-5)


def test_a_network_learns_what_no_affine_map_can():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 4))
    y = np.abs(x)
    pilots = Pilots(torch.from_numpy(x), torch.from_numpy(y))
    affine, network = (fit_aligner(way, pilots, seed=1) for way in ("affine", "network"))
    assert error(network, pilots) < error(affine, pilots) / 4
    assert network.size.hidden == 16 and network.size.bias


def test_a_network_is_affine_where_nothing_more_can_be_learnt():
    pilots = rows(60, noise=0.0, shift=1.0)
    noisy = Pilots(
        pilots.arrived, pilots.wanted + torch.from_numpy(np.random.default_rng(1).normal(size=(60, C)))
    )
    affine, network = (fit_aligner(way, noisy, seed=1) for way in ("affine", "network"))
    assert torch.equal(affine.straight.weight, network.straight.weight)
    fresh = rows(400, noise=0.0, shift=1.0, seed=0)
    assert error(network, fresh) < 1.3 * error(affine, fresh)


def test_the_gradient_of_a_network():
    rng = np.random.default_rng(0)
    rows_, first = (rng.standard_normal((7, 3)), rng.standard_normal((7, 2))), Bent.drawn((3, 5, 2), 1)
    at = rng.standard_normal(first.flat.size)
    x, left, theirs = *map(torch.from_numpy, rows_), torch.from_numpy(at.copy()).requires_grad_()
    inner, shift, outer = theirs[:15].view(3, 5), theirs[15:20], theirs[20:].view(5, 2)
    loss = ((x @ inner + shift).relu() @ outer - left).square().sum(1).mean() / 2
    loss = loss + 1e-4 * theirs.square().sum() / 2
    loss.backward()
    found, gradient = first.like(at).loss(rows_)
    assert found == pytest.approx(float(loss.detach()))
    np.testing.assert_allclose(gradient, theirs.grad, atol=1e-12)


@pytest.mark.parametrize("way", MAPS)
def test_the_same_again(way):
    pilots = rows(40, noise=0.3, sentences=8)
    first, again = (fit_aligner(way, pilots, seed=2).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("way", MAPS)
def test_few_pilots_do_for_any_way(way):
    for number in (1, 2, 3):
        made = fit_aligner(way, rows(number, noise=0.1), seed=0)
        assert all(weights.isfinite().all() for weights in made.parameters())


def test_unequal_widths():
    pilots = rows(60, C, 6)
    for way in MAPS:
        if way in EQUAL_C:
            with pytest.raises(SemcomError, match=f"way {way}: joins ends of one signal width C.*8 and 6"):
                fit_aligner(way, pilots, seed=0)
        else:
            aligner = fit_aligner(way, pilots, seed=0)
            assert aligner(pilots.arrived.float()).shape == (60, 6)
    assert error(fit_aligner("linear", pilots, seed=0), pilots) < 1e-10


def test_what_is_no_way_and_what_are_no_pilots():
    with pytest.raises(SemcomError, match="'decoder' is no way to fit a map; allowed are none scale"):
        fit_aligner("decoder", rows(5), seed=0)
    with pytest.raises(SemcomError, match="needs pilots that are finite numbers, one token at least"):
        fit_aligner("linear", Pilots(torch.full((2, 4), torch.nan), torch.zeros(2, 4)), seed=0)
    with pytest.raises(SemcomError, match="one token at least"):
        fit_aligner("linear", Pilots(torch.zeros(0, 4), torch.zeros(0, 4)), seed=0)


@torch.no_grad()
def test_pilots_are_what_arrives_and_what_the_listener_sends():
    model, other, sentences = sharp(), sharp(noise=0.5), encoded(5, 3, 9)
    ends, given = (model, other), (channel_of("rayleigh"), (0.0, 12.0))
    pilots = received_pilots(*ends, sentences, *given, seed=3, number=2)
    assert pilots.widths == (C, C) and len(pilots) == sum(len(each.source) for each in sentences)
    alone = received_pilots(
        model, other, sentences[2:3], channel_of("rayleigh"), (0.0, 12.0), seed=3, number=2
    )
    there = int(pilots.sentence[(pilots.arrived - alone.arrived[0]).abs().sum(1).argmin()])
    ours = pilots.sentence == there
    torch.testing.assert_close(pilots.arrived[ours], alone.arrived, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pilots.wanted[ours], alone.wanted, atol=1e-5, rtol=1e-5)
    power = pilots.wanted[ours].square().sum() / (len(alone) * C / 2)
    assert abs(float(power) - 1) < 1e-5
    assert not torch.equal(
        pilots.arrived, received_pilots(model, other, sentences, AWGN(), 12.0, seed=3).arrived
    )
