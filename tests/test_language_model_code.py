"""The source code under a language model: exact whatever the batch, its lengths against the model's own
probabilities, its training, its file."""

import math
import signal

import numpy as np
import pytest
import torch

from semcom.base import signals
from semcom.base.errors import SemcomError
from semcom.base.fastest import Way
from semcom.commands import chosen_way
from semcom.data.arithmetic_coding import TOTAL
from semcom.data.batching import collate, encode
from semcom.data.source_code_settings import SourceCodeConfig
from semcom.data.vocabulary import BOS, EOS
from semcom.distillation import fused_linear_loss, language_model, training_loop
from semcom.distillation.history import Result
from semcom.models import language_model_code, state_file
from semcom.models.architecture import Architecture
from semcom.models.causal_model import CausalModel, built, size_like
from semcom.models.exact_causal_model import ExactCausalModel, edges, exponentials
from semcom.models.language_model_code import LanguageModelCode
from semcom.models.transceiver import Transceiver
from semcom.models.transformer import TransformerSize

SIZE = TransformerSize(layers=2, d_model=24, num_heads=3, dff=40)


@pytest.fixture(scope="module")
def like(vocabulary):
    return Architecture(len(vocabulary), SIZE, SIZE)


@pytest.fixture(scope="module")
def code(vocabulary, sentences, like):
    encoded = encode(sentences, vocabulary)
    config = SourceCodeConfig(lm_steps=60, lm_batch_size=32, lm_lr=5e-3)
    return language_model.learned(
        encoded[:500], encoded[500:], vocabulary, like, config, seed=3, device=torch.device("cpu"), quiet=True
    )


@pytest.fixture(scope="module")
def texts(sentences):
    return [s.text for s in sentences]


@pytest.fixture(scope="module")
def untrained(vocabulary):
    """Of weights so large that rounding and saturation would show."""
    model = built(len(vocabulary), SIZE, seed=1)
    for weights in model.parameters():
        weights.data *= 4
    return LanguageModelCode(model, vocabulary)


def test_it_has_the_receivers_size_and_fewer_parameters(like):
    assert size_like(like) == SIZE
    model, receiver = CausalModel(like.vocab_size, size_like(like)), Transceiver(like).receiver
    assert model.projection.weight.shape == receiver.projection.weight.shape
    assert language_model.parameters(model) < language_model.parameters(receiver)


def test_texts_return_to_the_letter(code, untrained, texts):
    assert code.decode_all(code.encode_all(texts[:200])) == texts[:200] == code.restored(texts[:200])
    strange = ["", "ﬁ ½ Ａ", "語意通信 🚀 naïve", "  two  blanks ", texts[0] * 8]
    for each in (code, untrained):
        assert each.decode_all(each.encode_all(strange)) == each.restored(strange)


def test_what_a_text_meets_in_a_batch_changes_nothing(code, untrained, texts):
    some = texts[:30]
    for each in (code, untrained):
        # Two that remember nothing.
        crowd, single = (LanguageModelCode(each.model, each.vocabulary) for _ in range(2))
        together = crowd.encode_all([*some, texts[40] * 6, some[0]])
        alone = [single.encode(text) for text in some]
        assert all(np.array_equal(a, b) for a, b in zip(together, alone))
        assert together[-1] is together[0]
        assert [single.decode(bits) for bits in together[:3]] == some[:3]


def test_logits_are_the_same_to_the_bit_however_they_are_made(untrained, vocabulary, texts):
    exact = untrained.exact
    ids = torch.tensor([[BOS, *vocabulary.encode(texts[:1])[0][:12]]])
    at_once = exact.start().advance(ids)
    state = exact.start()
    steps = torch.cat([state.advance(ids[:, [t]]) for t in range(ids.shape[1])], 1)
    crowd = exact.start().advance(ids.repeat(37, 1))[36:]
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    threaded = exact.start().advance(ids.repeat(64, 1))[:1]
    torch.set_num_threads(threads)
    assert all(torch.equal(at_once, other) for other in (steps, crowd, threaded))


def test_it_is_the_trained_model_but_for_rounding(code, vocabulary, sentences):
    batch = collate(encode(sentences[:16], vocabulary))
    with torch.no_grad():
        trained = code.model.projection(code.model(batch.target_in)).log_softmax(-1)
    exact = ExactCausalModel(code.model, torch.device("cpu")).start().advance(batch.target_in).log_softmax(-1)
    of_targets = batch.of_targets(exact - trained)
    assert of_targets.abs().max() < 0.02


@pytest.mark.native
def test_compiled_kernels_compute_the_same(code, vocabulary, sentences):
    batch = collate(encode(sentences[:16], vocabulary))
    losses = []
    for compiled in (False, True):
        objective = language_model.NextPieces(code.model.eval(), compiled=compiled)
        total, rows = objective(batch)["ce"]
        total.backward()
        losses.append((float(total) / rows, code.model.embedding.table.weight.grad.clone()))
        objective.zero_grad()
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)
    assert torch.allclose(losses[0][1], losses[1][1], rtol=1e-3, atol=1e-4)


def test_the_way_of_training_is_chosen_by_its_length(vocabulary, sentences, like, monkeypatch):
    monkeypatch.setattr(fused_linear_loss, "cannot_compile", lambda device: None)
    encoded = encode(sentences, vocabulary)
    asked = [SourceCodeConfig(lm_steps=1), SourceCodeConfig(lm_steps=10**6), SourceCodeConfig(lm_minutes=300)]
    short, long, by_time = (
        chosen_way.of_language_model(each, encoded, like, torch.device("cpu")) for each in asked
    )
    assert short.way == Way("fp32", False)
    assert long.way == by_time.way


def test_bits_are_the_information_of_the_model(code, vocabulary, sentences):
    encoded = encode(sentences[:60], vocabulary)
    bits = [len(each) for each in code.encode_all([s.text for s in sentences[:60]])]
    for one, length in zip(encoded, bits):
        batch = collate([one])
        with torch.no_grad():
            logs = code.model.projection(code.model(batch.target_in)).log_softmax(-1)
        told = -float(logs.gather(-1, batch.target_out[..., None]).sum()) / math.log(2)
        assert told - 0.5 < length < told + 2
    assert encoded[0].source[-1] == EOS


def test_edges_leave_every_piece_a_part():
    logits = torch.tensor([[0.0, -50.0, 3.0, 3.0], [-1.0, -1.0, -1.0, -1.0]], dtype=torch.float64)
    found = edges(logits)
    assert found[:, 0].eq(0).all() and found[:, -1].eq(TOTAL).all()
    parts = found.diff()
    assert parts.min() == 1 and parts[0, 1] == 1
    assert torch.allclose(parts.double() / TOTAL, logits.softmax(-1), atol=2e-5, rtol=2e-3)
    assert exponentials(torch.tensor([0.0, -math.inf]).double()).tolist() == [2**20, 0]


def test_damaged_bits_give_some_text(code, untrained, texts):
    rng = np.random.default_rng(0)
    sent = code.encode_all(texts[:20])
    damaged = [bits ^ (rng.random(len(bits)) < 0.05).astype(np.uint8) for bits in sent]
    noise = [rng.integers(0, 2, n, dtype=np.uint8) for n in range(0, 100, 10)]
    for each in (code, untrained):
        found = each.decode_all(damaged + noise)
        assert all(isinstance(text, str) for text in found)
        assert found[20] == ""
        assert max(map(len, found)) < 2000
    assert sum(a != b for a, b in zip(code.decode_all(damaged), texts)) > 12


def test_too_long_a_text_is_refused(code):
    with pytest.raises(SemcomError, match="at most 1022 are allowed"):
        code.encode("語" * 500)


def test_it_learns_and_the_same_seed_gives_the_same(code, vocabulary, sentences, like, untrained, texts):
    encoded = encode(sentences[:64], vocabulary)
    config = SourceCodeConfig(lm_steps=3, lm_batch_size=16)

    def learned(seed):
        return language_model.learned(
            encoded, encoded, vocabulary, like, config, seed=seed, device=torch.device("cpu"), quiet=True
        )

    assert learned(1).fingerprint == learned(1).fingerprint != learned(2).fingerprint
    assert learned(1).config == {
        "steps": 3,
        "batch_size": 16,
        "lr": 1e-3,
        "seed": 1,
        "way": str(Way("fp32", False)),
    }
    assert code.metrics["validation_cross_entropy"] < 4.5 < math.log(len(vocabulary))
    assert sum(map(len, code.encode_all(texts[500:]))) < sum(map(len, untrained.encode_all(texts[500:]))) / 2


def test_minutes_become_steps(vocabulary, sentences, like):
    encoded = encode(sentences[:64], vocabulary)
    made = language_model.learned(
        encoded,
        encoded,
        vocabulary,
        like,
        SourceCodeConfig(lm_minutes=0.002, lm_batch_size=16),
        seed=1,
        device=torch.device("cpu"),
        quiet=True,
    )
    assert 1 <= made.config["steps"] < 200


def test_a_rate_that_is_too_high_is_told(vocabulary, sentences, like):
    encoded = encode(sentences[:32], vocabulary)
    config = SourceCodeConfig(lm_steps=8, lm_batch_size=16, lm_lr=1e30)
    with pytest.raises(SemcomError, match="--lm-lr: the language model did not learn"):
        language_model.learned(
            encoded, encoded, vocabulary, like, config, seed=1, device=torch.device("cpu"), quiet=True
        )


def test_a_signal_ends_it_without_a_model(vocabulary, sentences, like, monkeypatch):
    ended = Result([], stopped="interrupted", signal=signal.SIGTERM)
    monkeypatch.setattr(training_loop, "run", lambda *given, **named: ended)
    encoded = encode(sentences[:32], vocabulary)
    config = SourceCodeConfig(lm_steps=8)
    with pytest.raises(signals.Interrupt) as asked:
        language_model.learned(
            encoded, encoded, vocabulary, like, config, seed=1, device=torch.device("cpu"), quiet=True
        )
    assert asked.value.number == signal.SIGTERM


def test_a_file_gives_the_same_code_back(tmp_path, code, vocabulary, texts):
    language_model_code.write(code, tmp_path / "lm.pt")
    again = language_model_code.read(tmp_path / "lm.pt", vocabulary)
    assert again.fingerprint == code.fingerprint and again.config == code.config
    assert again.metrics == code.metrics
    assert again.decode_all(code.encode_all(texts[:20])) == texts[:20]


@pytest.mark.parametrize(
    "values, words",
    [
        ({"vocabulary": "0" * 16}, "another vocabulary"),
        ({"source_code": "zip"}, "not a language model"),
        ({"size": {"layers": 10**9, "d_model": 24, "num_heads": 3, "dff": 40}}, "not a language model"),
        ({"size": {"layers": 2, "d_model": 24, "num_heads": 5, "dff": 40}}, "not a language model"),
        ({"size": {"layers": 64, "d_model": 8192, "num_heads": 8, "dff": 8192}}, "disagree"),
        ({"size": None}, "not a language model"),
        ({"weights": {"a": 1}}, "not a language model"),
        ({"weights": {}}, "disagree"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, code, vocabulary, values, words):
    path = tmp_path / "lm\x1b.pt"
    language_model_code.write(code, path)
    state = state_file.read(path, "again")
    state_file.write(path, {**state, **values})
    with pytest.raises(SemcomError, match=words) as refused:
        language_model_code.read(path, vocabulary, flag="--lm-coder")
    assert str(refused.value).startswith("--lm-coder ") and len(str(refused.value)) < 500
    assert "\x1b" not in str(refused.value)


def test_weights_that_are_no_numbers_and_missing_files_are_refused(tmp_path, code, vocabulary):
    path = tmp_path / "lm.pt"
    with pytest.raises(SemcomError, match="no such file"):
        language_model_code.read(path, vocabulary)
    path.write_bytes(b"PK\3\4 nothing")
    with pytest.raises(SemcomError, match="^--lm-code .*(not a language model|truncated)"):
        language_model_code.read(path, vocabulary, "--lm-code", device="cpu")
    language_model_code.write(code, path)
    state = state_file.read(path, "again")
    state["weights"]["projection.bias"][0] = math.nan
    state_file.write(path, state)
    with pytest.raises(SemcomError, match="no finite numbers"):
        language_model_code.read(path, vocabulary)
