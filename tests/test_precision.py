"""Where products are rounded to bfloat16, and where they are not."""

import pytest
import torch
import torch.nn.functional as F
from toy import CPU, C, collated, encoded, size, transceiver

from semcom.base import precision
from semcom.channel.channels import AWGN
from semcom.distillation import trainer
from semcom.distillation.objectives import DistillationObjective, TransceiverObjective
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.training_settings import TrainingConfig


def test_products_are_rounded_within_and_never_after():
    with precision.products("bf16", CPU):
        assert precision.product_dtype(CPU) == torch.bfloat16
        with precision.products("fp32", CPU):
            assert precision.product_dtype(CPU) is None
        assert precision.product_dtype(CPU) == torch.bfloat16
    assert precision.product_dtype(CPU) is None
    with pytest.raises(ZeroDivisionError), precision.products("bf16", CPU):
        raise ZeroDivisionError
    assert precision.product_dtype(CPU) is None


@pytest.mark.parametrize("kind, expected", [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_what_is_rounded_and_what_is_not(kind, expected):
    """Linear maps are; attention, LayerNorm, the signal and the losses are not."""
    seen = []
    model = transceiver(dropout=0.0)
    objective = TransceiverObjective(model, AWGN(), (6.0, 6.0)).train()
    for module in model.modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.LayerNorm)):
            module.register_forward_hook(lambda module, given, made: seen.append((type(module), made.dtype)))
    model.transmitter.register_forward_hook(
        lambda module, given, made: seen.append(("signal", made[0].dtype))
    )
    plain, attended = F.scaled_dot_product_attention, set()

    def watched(q, k, v, attn_mask=None):
        attended.update((q.dtype, k.dtype, v.dtype))
        return plain(q, k, v, attn_mask=attn_mask)

    with pytest.MonkeyPatch.context() as patch, precision.products(kind, CPU):
        patch.setattr(F, "scaled_dot_product_attention", watched)
        batch = collated(6)
        terms = objective(batch, batch.draw(AWGN(), C, seed=0, number=0))
    terms["ce"][0].backward()
    assert set(seen) == {
        (torch.nn.Linear, expected),
        (torch.nn.LayerNorm, torch.float32),
        ("signal", torch.float32),
    }
    assert attended == {torch.float32} and terms["ce"][0].dtype == torch.float32
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize(
    "steps, learnt", [(30, 3.1), pytest.param(150, 3.0, marks=pytest.mark.slow)], ids=["short", "whole"]
)
def test_curves_of_both_precisions_are_within_noise(steps, learnt):
    """The final losses differ by less than those of two seeds do."""

    def best(kind, seed):
        ends = size(1, 64, 4, 64), size(1, 64, 4, 64)
        teacher, student = transceiver(*ends, seed=1), transceiver(*ends, seed=2)
        objective = DistillationObjective(
            [teacher], student, AWGN(), (6.0, 18.0), DistillationConfig("full", 2.0, 0.5)
        )
        config = TrainingConfig(batch_size=16, steps=steps, lr=1e-3, precision=kind)
        return trainer.fit(
            objective,
            encoded(600),
            encoded(60, seed=1),
            config,
            width=C,
            device=CPU,
            seed=seed,
            quiet=True,
            on_epoch=lambda *_: None,
        ).best_loss

    exact, rounded, another = best("fp32", 0), best("bf16", 0), best("fp32", 1)
    assert exact < learnt and abs(rounded - exact) < max(abs(another - exact), 0.03)
