"""Every pair of image networks trains at the scales 1, 2 and 4, by KD and by DKD of standardised logits."""

import math
import warnings

import pytest
import torch

from semcom import DistillationConfig, Distiller, Unwise
from semcom.distillation.kd_loss import UNLABELLED
from semcom.models.image_networks import PAIRS, build

STEPS = 5


@pytest.mark.slow
@pytest.mark.parametrize("kd_loss", ["kd", "dkd"])
@pytest.mark.parametrize("pair", PAIRS)
def test_a_pair_trains_at_three_scales_with_few_labels(pair, kd_loss):
    teacher_name, student_name = PAIRS[pair]
    teacher, student = build(teacher_name, 10, channels=1, seed=1), build(student_name, 10, channels=1)
    images = torch.randn(8, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    teach_statistics(teacher, images)
    classes = torch.tensor([0, 1] + [UNLABELLED] * 6)
    settings = DistillationConfig(
        kd_loss=kd_loss, scales=(1, 2, 4), standardize_logits=True, temperature=2, distill_weight=0.9
    )
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        distiller = Distiller(student, teacher, settings, lr=3e-3, warmup_steps=1)
        history = distiller.fit([(images, classes)] * STEPS, epochs=2, quiet=True)
    about_places = [each for each in warned if "grid of 2 x 2 places" in str(each.message)]
    assert [each.category for each in about_places] == [Unwise] * (student_name == "mobilenet_v2")
    first, last = history
    assert all(math.isfinite(value) for row in history for value in row.values() if value is not None)
    terms = ("train_ce", "train_kd", "train_scales")
    assert all(last[term] < first[term] for term in terms), history
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def teach_statistics(teacher, images):
    """Those of BatchNorm, as a teacher that has been trained has them."""
    for part in teacher.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None  # the mean of all batches
    with torch.no_grad():
        teacher.train()(images)
    teacher.eval()
