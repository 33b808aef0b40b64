"""Where products are rounded to bfloat16, where they are not, and the rule of ``auto``."""
import pytest
import torch
import torch.nn.functional as F
from toy import CPU, C, encoded, size, transceiver

from semcom import precision, trainer
from semcom.channel import Channel
from semcom.config import TrainingConfig
from semcom.objective import DistillationObjective

AMX = getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16", False)
CUDA = torch.device("cuda")


def setting():
    return torch.backends.mkldnn.matmul.fp32_precision


def test_products_are_rounded_within_and_never_after():
    before = setting()
    with precision.products("bf16", CPU):
        assert precision.product_dtype(CPU) == torch.bfloat16
        with precision.products("fp32", CPU):
            assert precision.product_dtype(CPU) is None
        assert precision.product_dtype(CPU) == torch.bfloat16
    assert setting() == before and precision.product_dtype(CPU) is None
    with pytest.raises(ZeroDivisionError), precision.products("bf16", CPU):
        raise ZeroDivisionError
    assert setting() == before


@pytest.mark.skipif(not AMX, reason="this CPU rounds no float32 products to bfloat16")
def test_rounded_products_of_float32():
    a, b = torch.randn(64, 256), torch.randn(256, 64)
    with precision.products("bf16", CPU):
        found = a @ b
    exact = a.double() @ b.double()
    error = float((found - exact).norm() / exact.norm())
    assert found.dtype == torch.float32 and 1e-4 < error < 1e-2
    assert float((a @ b - exact).norm() / exact.norm()) < 1e-6


def attention(q, k, v):
    return F.scaled_dot_product_attention(q, k, v)


def test_attention_stays_exact_forward_and_backward():
    """Within bf16 products, values and gradients of attention are to the bit those without."""
    q, k, v = (torch.randn(2, 4, 9, 8, requires_grad=True) for _ in "qkv")
    direction = torch.randn(2, 4, 9, 8)
    plain = attention(q, k, v)
    expected = torch.autograd.grad(plain, (q, k, v), direction)
    with precision.products("bf16", CPU):
        kept = precision.exactly_on_cpu(attention, q, k, v)
        found = torch.autograd.grad(kept, (q, k, v), direction)
    assert torch.equal(kept, plain) and all(map(torch.equal, found, expected))


def test_exactly_gives_gradient_only_where_it_is_wanted():
    q, k, v = torch.randn(1, 2, 5, 4, requires_grad=True), torch.randn(1, 2, 5, 4), torch.randn(1, 2, 5, 4)
    with precision.products("bf16", CPU):
        precision.exactly_on_cpu(attention, q, k, v).sum().backward()
        with torch.no_grad():
            assert not precision.exactly_on_cpu(attention, q, k, v).requires_grad
    assert q.grad is not None and k.grad is None


@pytest.mark.parametrize("capabilities, width, expected", [({"amx_bf16": True}, 128, "bf16"), ({"amx_bf16": True}, 32, "fp32"),
                                                           ({"amx_bf16": False}, 128, "fp32"), ({}, 128, "fp32")])
def test_auto_on_a_cpu_asks_for_a_matrix_unit_and_a_wide_model(monkeypatch, capabilities, width, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert precision.resolve("auto", CPU, width) == expected
    assert [precision.resolve(name, CPU, width) for name in ("fp32", "bf16")] == ["fp32", "bf16"]


@pytest.mark.parametrize("supported, width, expected", [(True, 128, "bf16"), (True, 32, "fp32"), (False, 128, "fp32")])
def test_auto_on_a_gpu(monkeypatch, supported, width, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: supported)
    assert precision.resolve("auto", CUDA, width) == expected


def test_curves_of_both_precisions_are_within_noise():
    """The final losses differ by less than those of two seeds do."""
    def best(kind, seed):
        ends = size(1, 64, 4, 64), size(1, 64, 4, 64)
        teacher, student = transceiver(*ends, seed=1), transceiver(*ends, seed=2)
        objective = DistillationObjective("full", teacher, student, Channel(), (6.0, 18.0), temperature=2.0, distill_weight=0.5)
        config = TrainingConfig(batch_size=16, steps=150, lr=1e-3, precision=kind)
        return trainer.fit(objective, encoded(600), encoded(60, seed=1), config, width=C, device=CPU, seed=seed, quiet=True,
                           on_epoch=lambda *_: None).best_loss

    exact, rounded, another = best("fp32", 0), best("bf16", 0), best("fp32", 1)
    assert exact < 3.0 and abs(rounded - exact) < max(abs(another - exact), 0.03)
