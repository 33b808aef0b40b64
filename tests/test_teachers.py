"""Several teachers: their mean against plain torch, and that all of them are frozen and in eval mode."""

import pytest
import torch
from torch import nn

from semcom import DistillationConfig, DistillationLoss
from semcom.base.errors import SemcomError
from semcom.distillation.teachers import Teachers, as_one

V = 5


def nets(number=3):
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, V)).eval() for _ in range(number)]


def loss(**settings):
    return DistillationLoss(DistillationConfig(**settings))


class WithGrid(nn.Module):
    def __init__(self, places=4):
        super().__init__()
        self.map, self.places = nn.Linear(4, V), places

    def forward(self, x):
        grid = torch.stack([self.map(x) * (1 + i) for i in range(self.places)], 1)
        grid = grid.view(len(x), 2, -1, V)
        return grid.mean((1, 2)), grid


def test_the_mean_of_logits_and_with_weights():
    x, teachers = torch.randn(7, 4), nets()
    each = [t(x) for t in teachers]
    logits, grid = Teachers(teachers, loss())(x)
    assert grid is None
    torch.testing.assert_close(logits, (each[0] + each[1] + each[2]) / 3)
    logits, _ = Teachers(teachers, loss(), weights=(2, 1, 1))(x)
    torch.testing.assert_close(logits, each[0] / 2 + each[1] / 4 + each[2] / 4)


def test_the_mean_of_probabilities_is_at_the_temperature_of_the_step():
    x, teachers = torch.randn(7, 4), nets()
    of_run = loss(temperature=4, temperature_schedule="linear", final_temperature=2)
    both = Teachers(teachers, of_run, "probabilities", (1, 2, 1))
    for progress, t in ((0.0, 4), (0.5, 3), (1.0, 2)):
        of_run.progress = progress
        mean = sum(w * (net(x) / t).softmax(-1) for w, net in zip((0.25, 0.5, 0.25), teachers))
        torch.testing.assert_close((both(x)[0] / t).softmax(-1), mean)


def test_grids_are_averaged_where_all_have_one():
    x = torch.randn(3, 4)
    one, two = WithGrid(), WithGrid()
    compares = loss(scales=(1, 2))
    logits, grid = Teachers([one, two], compares)(x)
    torch.testing.assert_close(grid, (one(x)[1] + two(x)[1]) / 2)
    torch.testing.assert_close(logits, grid.mean((1, 2)))
    assert Teachers([one, nets()[0]], compares)(x)[1] is None


def test_modules_of_functions_methods_and_models_are_its_own():
    first, second, third = nets()
    teachers = Teachers([first, second.forward, lambda x: third(x)], loss())
    assert {first, second} <= set(teachers.modules())
    x = torch.randn(2, 4)
    torch.testing.assert_close(teachers(x)[0], (first(x) + second(x) + third(x)) / 3)


def test_one_teacher_is_itself():
    (net,) = nets(1)
    assert as_one(net, loss()) is net and as_one([net], loss()) is net and as_one(None, loss()) is None
    assert isinstance(as_one(nn.ModuleList(nets()), loss()), Teachers)


@pytest.mark.parametrize(
    "teacher, choice, told",
    [
        ("teacher.pt", {}, "a str is no model"),
        ([], {}, "empty list"),
        (nets(1), {"weights": (1,)}, "there is one teacher"),
        (nets(2), {"weights": (1, 2, 3)}, "3 for 2 teachers"),
        (nets(2), {"weights": (1, 0)}, "numbers above 0"),
        (nets(2), {"mean": "median"}, "allowed are logits, probabilities"),
    ],
)
def test_what_is_wrong_is_said(teacher, choice, told):
    with pytest.raises(SemcomError, match=told):
        as_one(teacher, loss(), **choice)


def test_a_mean_that_cannot_be_formed_is_refused():
    with pytest.raises(SemcomError, match="standardise"):
        Teachers(nets(2), loss(standardize_logits=True), "probabilities")
    with pytest.raises(SemcomError, match=r"\(2, 5\), \(2, 3\)"):
        Teachers([nets(1)[0], nn.Linear(4, 3)], loss())(torch.randn(2, 4))


def test_classes_lie_where_the_loss_says():
    torch.manual_seed(0)
    pixels = torch.randn(2, 3, 4, 4)
    teachers = [nn.Conv2d(3, V, 1) for _ in range(2)]
    of_pixels = DistillationLoss(DistillationConfig(temperature=2), class_axis=1)
    logits, _ = Teachers(teachers, of_pixels, "probabilities")(pixels)
    mean = sum((each(pixels) / 2).softmax(1) for each in teachers) / 2
    torch.testing.assert_close((logits / 2).softmax(1), mean)
