"""Loops and calls as tutorials and READMEs have them, with tiny models of one's own and at most the imports
changed: they run, to the numbers of plain torch, or end in one line."""

import re
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import semcom
from semcom import (
    DistillationConfig,
    DistillationLoss,
    Distiller,
    SemcomError,
    compare_models,
    plot_training_curves,
    set_seed,
)

ROOT = Path(semcom.__file__).parent.parent
V = 3


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, V))

    def forward(self, x):
        return self.layers(x)


GUIDE = (ROOT / "docs/python.md").read_text(encoding="utf-8")


def loader(seed=0, size=48):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 4, generator=generator)
    return DataLoader(TensorDataset(x, x[:, :V].argmax(-1)), batch_size=16)


def nets(number, width):
    set_seed(number)
    return [Net(width) for _ in range(number)]


def tutorial_loss(student_logits, teacher_logits, labels, temperature, alpha):
    """As hand-written everywhere: a share of softened KL, the rest cross-entropy."""
    soft = F.kl_div(
        F.log_softmax(student_logits / temperature, dim=1),
        F.softmax(teacher_logits / temperature, dim=1),
        reduction="batchmean",
    )
    return alpha * temperature**2 * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


def test_a_hand_written_loop_runs_as_it_stands():
    (teacher,), (ours,), (theirs,) = nets(1, 16), nets(1, 4), nets(1, 4)
    criterion = DistillationLoss(DistillationConfig(temperature=3.0, distill_weight=0.7))
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9) for net in (ours, theirs)]
    running_loss = expected = 0.0
    for images, labels in loader():
        with torch.no_grad():
            teacher_logits = teacher(images)
        loss = criterion(ours(images), teacher_logits, labels)
        plain = tutorial_loss(theirs(images), teacher_logits, labels, 3.0, 0.7)
        for optimizer, each in zip(optimizers, (loss, plain)):
            optimizer.zero_grad()
            each.backward()
            optimizer.step()
        running_loss += loss.item()
        expected += plain.item()
    assert running_loss == pytest.approx(expected, rel=1e-5)
    for mine, other in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(mine, other)


def test_the_tutorial_with_three_teachers_sgd_and_a_schedule(tmp_path, capsys):
    set_seed(42)
    device = torch.device("cpu")
    train_loader, test_loader = loader(), loader(1)
    teachers, (student,), (by_hand,) = nets(3, 16), nets(1, 4), nets(1, 4)
    num_epochs = 3  # of the 50 there
    compare_models(teachers[0], student)
    distillation_loss = DistillationLoss(DistillationConfig(temperature=3.0, distill_weight=0.7))
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=num_epochs)
    distiller = Distiller(student, teachers, distillation_loss, device=device)
    history = distiller.fit(
        train_loader,
        test_loader,
        epochs=num_epochs,
        optimizer=optimizer,
        scheduler=scheduler,
        keep="last",
        quiet=True,
    )
    plot_training_curves(history, save_path=tmp_path / "training_curves.png")
    torch.save(student.state_dict(), tmp_path / "student_model.pth")

    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=num_epochs)
    for _ in range(num_epochs):
        for images, labels in train_loader:
            with torch.no_grad():
                mean = sum(teacher(images) for teacher in teachers) / 3
            optimizer.zero_grad()
            tutorial_loss(by_hand(images), mean, labels, 3.0, 0.7).backward()
            optimizer.step()
        scheduler.step()
    for mine, other in zip(student.parameters(), by_hand.parameters()):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)
    x, y = test_loader.dataset.tensors
    assert history["accuracy"][-1] == pytest.approx((by_hand(x).argmax(-1) == y).float().mean().item())
    assert len(history) == num_epochs and (tmp_path / "training_curves.png").is_file()
    assert "student" in capsys.readouterr().out


def test_three_teachers_by_probabilities_and_weights_train_to_plain_torch():
    teachers, (student,), (by_hand,) = nets(3, 16), nets(1, 4), nets(1, 4)
    settings = DistillationConfig(temperature=2.0, distill_weight=1.0)
    distiller = Distiller(
        student, teachers, settings, teacher_mean="probabilities", teacher_weights=(2, 1, 1)
    )
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    distiller.fit(loader(), 1, optimizer=optimizer, quiet=True)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    for images, _ in loader():
        with torch.no_grad():
            mean = sum(w * (net(images) / 2).softmax(-1) for w, net in zip((0.5, 0.25, 0.25), teachers))
        optimizer.zero_grad()
        (4 * F.kl_div((by_hand(images) / 2).log_softmax(-1), mean, reduction="batchmean")).backward()
        optimizer.step()
    for mine, other in zip(student.parameters(), by_hand.parameters()):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_all_of_several_teachers_stay_as_they_were():
    teachers, (student,) = nets(3, 16), nets(1, 4)
    seen = []
    for teacher in teachers:
        teacher.train()
        teacher.register_forward_hook(lambda net, *_: seen.append((net.training, torch.is_grad_enabled())))
    kept = [{name: value.clone() for name, value in net.state_dict().items()} for net in teachers]
    Distiller(student, teachers).fit(loader(), 1, quiet=True)
    assert set(seen) == {(False, False)}
    for teacher, before in zip(teachers, kept):
        assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
        assert teacher.training and all(p.requires_grad for p in teacher.parameters())


def test_the_weights_of_pytorchs_tutorial():
    """0.25 of T^2 times the sum of p log(p / q) over the batch's size, and 0.75 of cross-entropy."""
    (teacher,), (student,) = nets(1, 16), nets(1, 4)
    ((x, y), *_) = loader()
    p = (teacher(x) / 2).softmax(-1)
    soft = (p * (p.log() - (student(x) / 2).log_softmax(-1))).sum() / len(x) * 2**2
    expected = 0.25 * soft + 0.75 * F.cross_entropy(student(x), y)
    loss = DistillationLoss(DistillationConfig(temperature=2, distill_weight=0.25))
    torch.testing.assert_close(loss(student(x), teacher(x), y) + 0, expected)


CALLS = {
    "Keras: arrays": (
        lambda t, s, d: Distiller(student=s, teacher=t).fit(*loader().dataset.tensors, epochs=3),
        "DataLoader(TensorDataset(x, y)",
    ),
    "Keras: compile": (
        lambda t, s, d: Distiller(student=s, teacher=t).compile(alpha=0.1),
        "fit(…, optimizer=…)",
    ),
    "Keras: evaluate": (
        lambda t, s, d: Distiller(s, t).evaluate(*d.dataset.tensors),
        "DataLoader(TensorDataset(x, y)",
    ),
    "a trainer by name": (
        lambda t, s, d: Distiller(
            teacher_model=t, student_model=s, train_loader=d, test_loader=d, temperature=3
        ),
        "teacher_model= is teacher= here",
    ),
    "a trainer by place": (lambda t, s, d: Distiller(t, s, d, d, "cpu"), "DataLoader goes to fit("),
    "temperature and alpha by place": (lambda t, s, d: Distiller(t, s, 3.0, 0.7), "distill_weight=0.7)"),
    "a loss by place": (lambda t, s, d: DistillationLoss(4.0, 0.7), "distill_weight=0.3 if"),
    "train": (lambda t, s, d: Distiller(s, t).train(d, d, epochs=2), "distiller.fit(train_loader, epochs"),
    "epochs": (lambda t, s, d: Distiller(s, t).fit(d, num_epochs=50), "num_epochs= is epochs= here"),
    "a checkpoint's path": (lambda t, s, d: Distiller(s, "teacher.pth"), "a str is no model"),
    "patience": (lambda t, s, d: Distiller(s, t).fit(d, 2, patience=3), "early_stopping"),
    "weights": (lambda t, s, d: Distiller(s, [t, t], weights=[1, 2]), "teacher_weights"),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_does_not_run_ends_in_one_line(call):
    make, told = CALLS[call]
    (teacher,), (student,) = nets(1, 16), nets(1, 4)
    with warnings.catch_warnings(), pytest.raises((SemcomError, AttributeError)) as refused:
        warnings.simplefilter("ignore")
        make(teacher, student, loader())
    assert told in str(refused.value) and "\n" not in str(refused.value) and len(str(refused.value)) <= 500


def test_the_guides_ten_lines_train_a_student_and_what_follows_them_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ten, after, own_loop, own_optimizer = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
    assert len([line for line in ten.splitlines() if line]) == 10
    space = {}
    set_seed(0)
    exec(ten.replace(", 20", ", 4"), space)
    exec(after, space)
    assert space["history"]["accuracy"][-1] > 0.7 and Path("curves.png").is_file()
    student, train = space["student"], space["train"]
    space |= {"optimizer": torch.optim.SGD(student.parameters(), 0.1), "torch": torch}
    before = Distiller(student, None, DistillationConfig(distill_weight=0)).evaluate(train)["ce"]
    exec(own_loop, {**vars(semcom), **space, "DistillationLoss": DistillationLoss})
    assert Distiller(student, None, DistillationConfig(distill_weight=0)).evaluate(train)["ce"] < before
    exec(own_optimizer.replace("50", "2"), {**vars(semcom), **space, "Distiller": Distiller})


def test_a_model_that_ends_in_a_softmax_is_warned_of_once():
    (teacher,), (student,) = nets(1, 16), nets(1, 4)
    ends_in_softmax = nn.Sequential(student, nn.Softmax(dim=1))
    with pytest.warns(semcom.Unwise, match="the student's logits are probabilities") as warned:
        Distiller(ends_in_softmax, teacher).fit(loader(), 2, quiet=True)
    assert len(warned) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Distiller(student, teacher).fit(loader(), 1, quiet=True)
        Distiller(nn.Sequential(student, nn.LogSoftmax(dim=1)), teacher).fit(loader(), 1, quiet=True)
