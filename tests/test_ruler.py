"""What a ruler reads, against the pair matrix and against formulas."""

import numpy as np
import pytest
import torch
from toy import CPU, Numbers, bits, encoded, same_bits, sharp, size, through

from semcom.channel.channels import AWGN, Rayleigh
from semcom.data.batching import collate
from semcom.evaluation import pair_matrix, path_search, ruler
from semcom.evaluation.measures import columns, of_sums
from semcom.evaluation.pairs import End, Pair
from semcom.evaluation.path_search import Readings
from semcom.evaluation.ruler import Ruler
from semcom.evaluation.scores import Meeting
from semcom.evaluation.settings import TARGET_MEASURES
from semcom.evaluation.targets import TARGETS
from semcom.models.checkpoint import fingerprint_of
from semcom.models.decoding import Search
from semcom.models.transceiver import Transceiver

SENTENCES = encoded(32, 3, 9)
BLOCKS = [SENTENCES[:12], SENTENCES[12:24], SENTENCES[24:]]
SNR = 6.0


def joined(transmitter, receiver):
    made = Transceiver(transmitter.architecture)
    made.transmitter, made.receiver = transmitter.transmitter, receiver.receiver
    return made.eval()


TEACHER, OTHER = sharp(), sharp(noise=0.3)
NARROW = sharp(size(1, 8, 2, 8), size(1, 8, 2, 8), seed=3)
MODELS = {
    "receiver dialled": joined(TEACHER, OTHER),
    "transmitter dialled": joined(OTHER, TEACHER),
    "both dialled": OTHER,
    "of another width": NARROW,
}


def meeting(batch_size=8, seed=3, channel=None, search=None):
    chosen = Search() if search is None else search
    return Meeting(channel or AWGN(), (SNR,), seed, CPU, batch_size, quiet=True, search=chosen)


def ruler_of(measure, blocks=BLOCKS, **choice):
    return Ruler(TEACHER, TARGETS[measure], blocks, Numbers(), meeting(**choice))


def value(of, model, blocks=3):
    each = [of.sums(model, block) for block in range(blocks)]
    ours, theirs = (np.concatenate(parts) for parts in zip(*each))
    return float(of.target.value(ours.sum(0), theirs.sum(0)))


def by_matrix(model, **choice):
    """Sums [N, K] of a pair and of the teacher, by the pair matrix, on all sentences."""
    ends = [End(str(i), m, fingerprint_of(m)) for i, m in enumerate((model.transmitter, model.receiver))]
    teacher = [End("T", m, fingerprint_of(m)) for m in (TEACHER.transmitter, TEACHER.receiver)]
    pair, reference = Pair(*ends), Pair(*teacher)
    at = {"cka_snr": SNR, "cache": None}
    found = pair_matrix.measure([pair, reference], reference, SENTENCES, Numbers(), meeting(**choice), **at)
    return found.pairs[pair.key].sums[0], found.pairs[reference.key].sums[0]


OF_ROWS = {
    "kl_divergence": ("kl_divergence", 0, 1),
    "kl_reference_prefix": ("kl_reference_prefix", 0, 1),
    "js_divergence": ("js_divergence", 0, 1),
    "cross_entropy_gap": ("cross_entropy", -1, 1),
    "bleu_drop": ("bleu", 1, -1),
}
"""Of a target: the measure, and what it is times that of the teacher and of the pair."""


def test_the_table_has_every_target():
    assert tuple(OF_ROWS) == tuple(TARGETS) == TARGET_MEASURES


@pytest.mark.parametrize(
    "name, channel", [*((name, AWGN()) for name in MODELS), ("both dialled", Rayleigh())]
)
def test_values_are_those_of_the_pair_matrix(name, channel):
    ours, theirs = (of_sums(sums.sum(0)) for sums in by_matrix(MODELS[name], channel=channel))
    for measure, (row, times_theirs, times_ours) in OF_ROWS.items():
        wanted = times_theirs * theirs[row] + times_ours * ours[row]
        assert wanted, measure
        # Batches are cut otherwise there.
        assert value(ruler_of(measure, channel=channel), MODELS[name]) == pytest.approx(
            wanted, rel=1e-5, abs=1e-6
        )


@torch.no_grad()
def test_values_by_sentence_are_those_of_a_loop():
    """Of one sentence after the other, straight from the definition."""
    model, of = MODELS["transmitter dialled"], ruler_of("kl_divergence")
    ours, _ = of.sums(model, 1)
    column = columns().index("kl")
    assert [s.id for s in of.order(1)] != [e.sentence.id for e in BLOCKS[1]], "sorted by length"
    place_of = {e.sentence.id: e for e in BLOCKS[1]}
    for sentence, found in zip(of.order(1), ours[:, column]):
        batch = collate([place_of[sentence.id]])
        logits = []
        for m in (TEACHER, model):
            received = through(m, batch, AWGN(), SNR, seed=3)
            states = m.receiver(received, batch.source_mask, batch.target_in)
            logits.append(m.receiver.project(states)[0].double().log_softmax(-1))
        p, q = logits
        assert found == pytest.approx(float((p.exp() * (p - q)).sum()), rel=1e-4)


@pytest.mark.parametrize("measure", TARGETS)
def test_the_reference_itself_is_no_distance_away(measure):
    assert value(ruler_of(measure), TEACHER) == pytest.approx(0, abs=1e-7)


def test_beams_are_followed_where_they_are_asked_for():
    model, wide = MODELS["receiver dialled"], Search(3, 0.6)
    greedy, beams = (value(ruler_of("bleu_drop", search=search), model) for search in (Search(), wide))
    ours, theirs = (of_sums(sums.sum(0))["bleu"] for sums in by_matrix(model, search=wide))
    assert beams == pytest.approx(theirs - ours) and beams != greedy


def test_draws_are_common_and_follow_the_seed():
    model = MODELS["receiver dialled"]
    one, same, other = (ruler_of("kl_divergence", seed=seed) for seed in (3, 3, 4))
    found = [of.sums(model, 0) for of in (one, same, other)]
    for first, second in zip(found[0], found[1]):
        np.testing.assert_array_equal(first, second)
    assert (found[0][0] != found[2][0])[:, columns().index("kl")].all()
    # A copy of the teacher's transmitter in another place of memory meets the same draws.
    copy = joined(sharp(), OTHER)
    np.testing.assert_array_equal(one.sums(copy, 0)[0], found[0][0])


@pytest.mark.parametrize("measure", TARGETS)
def test_a_block_reads_the_same_whatever_was_asked_before(measure):
    model = MODELS["both dialled"]
    alone = ruler_of(measure).sums(model, 1)
    after = ruler_of(measure)
    for before in (2, 0):
        after.sums(MODELS["receiver dialled"], before)
    again = [after.sums(model, 1), after.sums(model, 1)]
    for found in again:
        for ours, theirs in zip(alone, found):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("measure", ["kl_divergence", "kl_reference_prefix"])
def test_what_is_not_kept_is_made_anew_to_the_bit(measure, monkeypatch):
    model = MODELS["receiver dialled"]
    kept = ruler_of(measure)
    sums = [kept.sums(model, block) for block in range(3)]
    assert all(r.kept for block in kept._heard.values() for h in block for r in h.readings.values())
    monkeypatch.setattr(ruler, "KEPT_BYTES", kept._kept_bytes // 2)
    half = ruler_of(measure)
    for block in range(3):
        for ours, theirs in zip(sums[block], half.sums(model, block)):
            np.testing.assert_array_equal(ours, theirs)
    read = [r.kept is None for block in half._heard.values() for h in block for r in h.readings.values()]
    assert True in read and False in read and half._kept_bytes <= ruler.KEPT_BYTES


@pytest.fixture
def calls():
    """Sentences that went through the teacher's two ends, by end."""
    counted = {"transmitter": 0, "receiver": 0}
    hooks = []
    for end, part in (("transmitter", "encoder"), ("receiver", "channel_decoder")):

        def count(module, given, end=end):
            counted[end] += len(given[0])

        module = getattr(getattr(TEACHER, end), part)
        hooks.append(module.register_forward_pre_hook(count))
    yield counted
    for hook in hooks:
        hook.remove()


def test_the_reference_speaks_and_listens_once(calls):
    of = ruler_of("kl_divergence")
    receiver_alone = joined(sharp(), OTHER)
    for _ in range(3):
        value(of, receiver_alone)
    assert calls == {"transmitter": len(SENTENCES), "receiver": len(SENTENCES)}


def test_models_are_left_as_they_are():
    model = sharp(noise=0.2).train()
    before = bits(model)
    sums = ruler_of("kl_divergence").sums(model, 0)
    assert same_bits(bits(model), before) and not np.isnan(sums[0][:, columns().index("kl")]).any()
    assert not any(parameter.grad is not None for parameter in model.parameters())


# --- the standard error of a reading


class Towards:
    places = (0.0, 1.0)

    def at(self, place):
        ours, theirs = TEACHER.state_dict(), OTHER.state_dict()
        made = Transceiver(TEACHER.architecture)
        made.load_state_dict({name: torch.lerp(ours[name], theirs[name], place) for name in ours})
        return made.eval()


def test_the_standard_error_is_that_of_a_ratio_of_sums():
    readings = Readings(Towards(), of := ruler_of("kl_divergence"), TARGETS["kl_divergence"])
    reading = readings.at(0.7, 3)
    assert reading.sentences == len(SENTENCES) and reading.blocks == 3
    ours = np.concatenate([of.sums(Towards().at(0.7), block)[0] for block in range(3)])
    kl, tokens = (ours[:, columns().index(name)] for name in ("kl", "tokens"))
    assert reading.value == pytest.approx(kl.sum() / tokens.sum(), rel=1e-12)
    # By linearising: of residuals from the line through the origin (Cochran 1977, 2.11).
    residuals = kl - reading.value * tokens
    formula = residuals.std() / tokens.mean() / len(tokens) ** 0.5
    assert reading.error == pytest.approx(formula, rel=0.15)


def test_the_standard_error_of_a_gap_is_that_of_paired_differences():
    readings = Readings(Towards(), of := ruler_of("cross_entropy_gap"), TARGETS["cross_entropy_gap"])
    reading = readings.at(0.7, 3)
    each = [of.sums(Towards().at(0.7), block) for block in range(3)]
    nats, tokens = (columns().index(name) for name in ("nats", "targets"))
    ours, theirs = (np.concatenate(parts) for parts in zip(*each))
    apart, counts = ours[:, nats] - theirs[:, nats], ours[:, tokens]
    assert reading.value == pytest.approx(apart.sum() / counts.sum(), rel=1e-9)
    residuals = apart - reading.value * counts
    formula = residuals.std() / counts.mean() / len(counts) ** 0.5
    unpaired = np.hypot(ours[:, nats].std(), theirs[:, nats].std()) / counts.mean() / len(counts) ** 0.5
    assert reading.error == pytest.approx(formula, rel=0.15) and reading.error < 0.8 * unpaired


def test_a_path_of_models_is_searched_to_its_target():
    readings = Readings(Towards(), of := ruler_of("kl_divergence"), TARGETS["kl_divergence"])
    along = path_search.scan(readings, 3)
    assert along[0].value == 0 and along[-1].value == value(of, OTHER)
    target = 0.4 * along[-1].value
    found = path_search.find(readings, along, target)
    assert (
        found.within
        and abs(value(ruler_of("kl_divergence"), Towards().at(found.reading.place)) / target - 1) < 0.01
    )


def test_the_reference_that_it_is_given_stays_where_it_is():
    """It may be a corner of the path: on a GPU its weights would no longer meet the others'."""
    assert ruler_of("kl_divergence").reference is not TEACHER
