"""``Distiller.fit`` with optimizers and schedulers of torch's, its ends, what it keeps of the student, and
that all of it goes on to the bit."""

import math
import os
import signal

import pytest
import torch
import torch.nn.functional as F
import toy
from test_api import batches, net
from test_resume_commands import ends, loaders  # noqa: F401
from test_waiting import META, copies, late  # noqa: F401
from torch import nn
from torch.optim import SGD, Adam, AdamW, lr_scheduler

from semcom import DistillationConfig, Distiller, set_seed
from semcom.base.errors import SemcomError
from semcom.distillation import step_sums
from semcom.distillation.classifier_task import ClassifierTask
from semcom.distillation.given_updates import updates_of
from semcom.distillation.task import NonFiniteLoss
from semcom.distillation.training_loop import Loop
from semcom.distillation.training_settings import TrainingConfig
from semcom.models import state_file

HELD_OUT = batches(2, seed=9)
TEACHER = net(0, width=16)


def sgd(student, lr=0.1):
    return SGD(student.parameters(), lr, momentum=0.9, weight_decay=0.01)


def cosine(optimizer):
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max=3)


def by_hand(student, optimizer, scheduler, every, data, epochs):
    """Plain torch; the learning rates of the last steps of epochs."""
    rates = []
    for _ in range(epochs):
        student.train()
        for x, y in data:
            soft = F.kl_div(
                (student(x) / 4).log_softmax(-1), (TEACHER(x) / 4).softmax(-1).detach(), reduction="batchmean"
            )
            optimizer.zero_grad()
            (0.3 * F.cross_entropy(student(x), y) + 0.7 * 16 * soft).backward()
            optimizer.step()
            rates.append(optimizer.param_groups[0]["lr"])
            if every == "step":
                scheduler.step()
        student.eval()
        with torch.no_grad():
            ce = torch.stack([F.cross_entropy(student(x), y) for x, y in HELD_OUT]).mean().item()
        if every == "plateau":
            scheduler.step(ce)
        elif every == "epoch":
            scheduler.step()
    return rates[len(data) - 1 :: len(data)]


SCHEDULERS = {
    "none": (lambda o: None, ""),
    "cosine": (cosine, "epoch"),
    "one cycle": (lambda o: lr_scheduler.OneCycleLR(o, 0.2, total_steps=12), "step"),
    "cyclic": (lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=5), "step"),
    "plateau": (lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=0.5), "plateau"),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_steps_and_rates_are_those_of_a_plain_loop(name):
    make, every = SCHEDULERS[name]
    ours, theirs = net(1), net(1)
    optimizers = sgd(ours), sgd(theirs)
    scheduler = make(optimizers[0])
    choice = {} if scheduler is None else {"scheduler": scheduler}
    # A scheduler alone brings its optimizer.
    choice |= {} if name == "cosine" else {"optimizer": optimizers[0]}
    history = Distiller(ours, TEACHER).fit(batches(4), 3, HELD_OUT, keep="last", quiet=True, **choice)
    assert history["lr"] == by_hand(theirs, optimizers[1], make(optimizers[1]), every, batches(4), 3)
    assert (len(set(history["lr"])) == 1) == (name == "none")
    for one, other in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_plateau_is_given_the_cross_entropy_of_each_epoch(monkeypatch):
    Scores(monkeypatch, 3.0, 2.0, 2.5, 1.0, 1.5)
    student = net(1)
    plateau = lr_scheduler.ReduceLROnPlateau(sgd(student), factor=0.5, patience=0)
    history = Distiller(student, TEACHER).fit(batches(1), 5, HELD_OUT, scheduler=plateau, quiet=True)
    assert history["lr"] == [0.1, 0.1, 0.1, 0.05, 0.05] and plateau.get_last_lr() == [0.025]


def test_when_a_scheduler_is_stepped_may_be_chosen():
    student = net(1)
    scheduler = lr_scheduler.ExponentialLR(sgd(student), 0.5)
    history = Distiller(student, TEACHER).fit(
        batches(2), 2, scheduler=scheduler, scheduler_every="step", quiet=True
    )
    assert history["lr"] == [0.05, 0.0125]


def test_gradients_are_clipped_where_a_clip_is_given():
    students = net(1), net(1), net(1)
    for student, clip in zip(students, (None, 1e9, 1e-4)):
        Distiller(student, TEACHER, clip=clip).fit(batches(2), 1, optimizer=sgd(student), quiet=True)
    start, free, loose, tight = (toy.bits(student) for student in (net(1), *students))
    assert toy.same_bits(free, loose)
    far, near = (sum((a[n] - start[n]).norm() for n in start) for a in (free, tight))
    assert far > 9 * near, "decay and momentum are not clipped"


def test_parameters_that_the_optimizer_has_not_stay():
    student = net(1)
    start = toy.bits(student)
    optimizer = SGD(student[2].parameters(), 0.1)
    Distiller(student, TEACHER).fit(batches(2), 2, optimizer=optimizer, quiet=True)
    changed = {name for name, tensor in toy.bits(student).items() if not torch.equal(tensor, start[name])}
    assert changed == {"2.weight", "2.bias"}
    assert all(p.grad is None for p in student.parameters()), "they would add up"


def test_an_optimizer_may_have_what_is_frozen_and_learns_later(monkeypatch):
    Scores(monkeypatch, 2.0, 1.0, 3.0)
    student, weights = net(1), []
    student[0].requires_grad_(False)
    start = toy.bits(student)

    def unfreeze(row, is_best):
        weights.append(toy.bits(student))
        student.requires_grad_(True)

    choice = {"optimizer": sgd(student), "on_epoch": unfreeze}
    Distiller(student, TEACHER).fit(batches(2), 3, HELD_OUT, quiet=True, **choice)
    assert torch.equal(weights[0]["0.weight"], start["0.weight"])
    assert not torch.equal(weights[1]["0.weight"], start["0.weight"])
    assert toy.same_bits(toy.bits(student), weights[1])


def test_what_the_teacher_shares_is_no_part_of_an_optimizer():
    teacher = net(0)
    student = nn.Sequential(teacher[0], nn.ReLU(), nn.Linear(8, 5))
    distiller = Distiller(student, teacher)
    with pytest.raises(SemcomError, match=r"2 of its 4 .*teacher's too.*SGD\(distiller.trained, lr"):
        distiller.fit(batches(1), 1, optimizer=sgd(student), quiet=True)
    distiller.fit(batches(1), 1, optimizer=SGD(distiller.trained, 0.1), quiet=True)


def test_a_scheduler_within_another_that_ends_too_soon_is_one_line():
    student = net(1)
    optimizer = sgd(student)
    inner = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=3)
    scheduler = lr_scheduler.ChainedScheduler([inner])
    with pytest.raises(SemcomError, match="a ChainedScheduler that does not last.*Tried to step 4 times"):
        Distiller(student, TEACHER).fit(
            batches(6), 1, scheduler=scheduler, scheduler_every="step", quiet=True
        )


OF_OTHERS = cosine(sgd(net(5)))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda s: {"optimizer": "sgd"}, r"optimizer sgd: .* torch.optim.SGD\(student.parameters\(\)"),
        (lambda s: {"optimizer": SGD}, "must be an object of torch.optim"),
        (lambda s: {"optimizer": torch.optim.LBFGS(s.parameters())}, "LBFGS"),
        (lambda s: {"optimizer": sgd(TEACHER)}, "4 of its 4 parameters are not the student's"),
        (lambda s: {"optimizer": sgd(s), "scheduler": OF_OTHERS}, "of another optimizer"),
        (lambda s: {"scheduler": OF_OTHERS}, "are not the student's"),
        (lambda s: {"optimizer": sgd(s), "scheduler": 3}, "scheduler 3: must be an object"),
        (lambda s: {"scheduler": cosine(sgd(s)), "scheduler_every": "batch"}, "allowed are epoch, step"),
        (lambda s: {"scheduler_every": "step"}, "there is no scheduler"),
        (lambda s: {"scheduler": lr_scheduler.ReduceLROnPlateau(sgd(s))}, "validation=val_loader"),
        (lambda s: {"scheduler": lr_scheduler.ReduceLROnPlateau(sgd(s), "max")}, "leave mode out"),
        (lambda s: {"scheduler": lr_scheduler.OneCycleLR(sgd(s), 1, total_steps=5)}, "give total_steps=6"),
        (lambda s: {"optimizer": sgd(s), "lr": 0.2}, r"Distiller\(lr=0.2\) beside an optimizer"),
    ],
)
def test_what_is_no_optimizer_or_scheduler_is_one_line(make, words):
    student = net(1)
    start, choice = toy.bits(student), make(student)
    own = {name: choice.pop(name) for name in ("lr",) if name in choice}
    with pytest.raises(SemcomError, match=words) as error:
        Distiller(student, TEACHER, **own).fit(batches(3), 2, quiet=True, **choice)
    assert len(str(error.value)) < 500 and toy.same_bits(toy.bits(student), start)


# --- ends


def test_a_callback_that_returns_true_ends_the_training():
    def stopped(**choice):
        distiller = Distiller(net(1), TEACHER)
        distiller.fit(batches(3), 4, quiet=True, **choice)
        return distiller.stopped

    seen = []

    def end(step, means):
        seen.append((step, means))
        return step == 4

    assert stopped(on_step=end) == "ended by on_step in epoch 2, step 4 of 12"
    assert [step for step, _ in seen] == [1, 2, 3, 4] and {"loss", "ce", "kd"} <= seen[0][1].keys()
    second = stopped(on_epoch=lambda row, is_best: row["epoch"] == 2)
    assert second == "ended by on_epoch in epoch 2, step 6 of 12"
    assert stopped(on_epoch=lambda row, is_best: row["epoch"] == 4) == ""
    assert stopped(on_step=lambda *_: 1, on_epoch=lambda *_: "yes") == "", "they are not True"


class Scores:
    """Validation cross-entropies in the place of those measured."""

    def __init__(self, monkeypatch, *values):
        self.values = list(values)
        monkeypatch.setattr(ClassifierTask, "measure", lambda task, epoch, asked: {"ce": values[epoch - 1]})


def test_early_stopping_waits_for_a_lower_validation(monkeypatch):
    Scores(monkeypatch, 3.0, 2.0, 2.5, math.nan, 1.5, 1.6, 1.5, 1.7, 9.0)
    distiller = Distiller(net(1), TEACHER)
    assert len(distiller.fit(batches(1), 9, HELD_OUT, early_stopping=3, quiet=True)) == 8
    assert distiller.stopped == "ended by early_stopping=3 in epoch 8, step 8 of 9"
    assert len(distiller.fit(batches(1), 9, HELD_OUT, early_stopping=2, quiet=True)) == 4
    assert len(distiller.fit(batches(1), 9, HELD_OUT, early_stopping=4, quiet=True)) == 9
    assert distiller.stopped == ""


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_student_is_the_best_one_afterwards(interrupted, monkeypatch):
    Scores(monkeypatch, 3.0, 2.0, 2.5, 4.0)
    found = {}
    for keep in ("best", "last", None):
        student, weights = net(1, norm=True), []

        def note(row, is_best, student=student, weights=weights):
            weights.append(toy.bits(student))
            assert is_best == (row["epoch"] < 3)
            if interrupted and row["epoch"] == 3:
                raise KeyboardInterrupt

        choice = {} if keep is None else {"keep": keep}
        Distiller(student, TEACHER).fit(batches(2), 4, HELD_OUT, on_epoch=note, quiet=True, **choice)
        found[keep] = [toy.same_bits(toy.bits(student), each) for each in weights]
    assert found["best"] == found[None] == [False, True, False, False][: len(found["best"])]
    assert found["last"][-1] and len(found["last"]) == 3 + (not interrupted)


def test_without_validation_the_student_is_the_last_one():
    students = net(1), net(1)
    for student, keep in zip(students, ("best", "last")):
        Distiller(student, TEACHER).fit(batches(2), 2, keep=keep, quiet=True)
    assert toy.same_bits(*map(toy.bits, students))


# --- goes on to the bit


RESUMED = {
    "SGD, cosine": lambda s: {"scheduler": lr_scheduler.CosineAnnealingLR(sgd(s), T_max=3)},
    "AdamW, one cycle": lambda s: {
        "scheduler": lr_scheduler.OneCycleLR(AdamW(s.parameters(), 1e-3), 0.05, total_steps=12)
    },
    "Adam, plateau": lambda s: {
        "scheduler": lr_scheduler.ReduceLROnPlateau(Adam(s.parameters(), 0.05), patience=0, threshold=0.5),
        "early_stopping": 3,
    },
    "SGD, milestones after a warm-up": lambda s: {
        "scheduler": lr_scheduler.ChainedScheduler(
            [lr_scheduler.LinearLR(o := sgd(s)), lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch)]
        ),
        "scheduler_every": "step",
    },
    "milestones": lambda s: {
        "scheduler": lr_scheduler.SequentialLR(
            o := sgd(s),
            [lr_scheduler.ConstantLR(o, 0.5, 1), lr_scheduler.MultiStepLR(o, [1, 2], gamma=0.5)],
            milestones=[1],
        )
    },
}


def life(path, case, seed=1, epochs=3, **choice):
    """One training as in a process of its own; with BatchNorm, dropout and shuffled, augmented images."""
    set_seed(seed)
    student = net(7, norm=True)
    distiller = Distiller(student, TEACHER, DistillationConfig())
    choice |= RESUMED[case](student)
    set_seed(seed + 1)
    train, held_out = loaders()
    return distiller, distiller.fit(train, epochs, held_out, quiet=True, save_to=path, **choice)


SLOW = ("SGD, cosine", "SGD, milestones after a warm-up")


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (case in SLOW)) for case in RESUMED]
)
def test_a_training_that_was_stopped_goes_on_to_the_bit(case, tmp_path, ends):  # noqa: F811
    whole, history = life(tmp_path / "whole.pt", case)
    for seed, end in enumerate((2, 4, 7), start=1):
        ends.append(end)
        distiller, _ = life(tmp_path / "broken.pt", case, seed=seed, resume=True)
        assert f"step {end} of 12" in distiller.stopped
    for _ in ("goes on", "is finished"):
        again, resumed = life(tmp_path / "broken.pt", case, seed=9, resume=True)
        assert resumed == history and toy.same_bits(toy.bits(again.module), toy.bits(whole.module))


def test_the_best_student_goes_on_too(tmp_path, monkeypatch, ends):  # noqa: F811
    Scores(monkeypatch, 1.0, 2.0, 3.0)
    whole, _ = life(tmp_path / "whole.pt", "milestones")
    ends.append(9)
    first, _ = life(tmp_path / "broken.pt", "milestones", resume=True)
    again, _ = life(tmp_path / "broken.pt", "milestones", seed=9, resume=True)
    assert toy.same_bits(toy.bits(whole.module), toy.bits(again.module))
    assert toy.same_bits(toy.bits(whole.module), toy.bits(first.module)), "so it is where it was stopped"


def test_what_ended_early_stays_so(tmp_path, monkeypatch):
    Scores(monkeypatch, 1.0, 2.0, 3.0, 0.5)
    for _ in range(2):
        choice = {"epochs": 4, "early_stopping": 2, "resume": True}
        distiller, history = life(tmp_path / "state.pt", "milestones", **choice)
        assert len(history) == 3 and "early_stopping=2 in epoch 3" in distiller.stopped
    distiller, history = life(tmp_path / "state.pt", "milestones", epochs=4, resume=True)
    assert len(history) == 4 and not distiller.stopped


def test_a_callback_may_end_a_training_that_goes_on_later(tmp_path):
    whole, history = life(tmp_path / "whole.pt", "SGD, cosine")
    for stop in (2, 3, 8):
        path = tmp_path / "broken.pt"
        life(path, "SGD, cosine", resume=True, on_step=lambda step, means, stop=stop: step == stop)
    again, resumed = life(tmp_path / "broken.pt", "SGD, cosine", seed=9, resume=True)
    assert resumed == history and toy.same_bits(toy.bits(again.module), toy.bits(whole.module))


@pytest.mark.parametrize("case", ["AdamW, one cycle", "Adam, plateau", "milestones"])
def test_the_same_objects_go_on_too(case, tmp_path):
    """As in a notebook whose cell is run once more."""
    whole, history = life(tmp_path / "whole.pt", case)
    set_seed(1)
    student, path = net(7, norm=True), tmp_path / "broken.pt"
    distiller, choice = Distiller(student, TEACHER, DistillationConfig()), RESUMED[case](student)
    set_seed(2)
    for stop in (3, 6, 99):
        train, held_out = loaders()
        choice |= {"save_to": path, "resume": True, "on_step": lambda step, means, stop=stop: step == stop}
        resumed = distiller.fit(train, 3, held_out, quiet=True, **choice)
    assert resumed == history and toy.same_bits(toy.bits(student), toy.bits(whole.module))
    if case == "AdamW, one cycle":
        with pytest.raises(SemcomError, match="give total_steps=24"):
            distiller.fit(loaders()[0], 3, scheduler=choice["scheduler"], quiet=True)


def test_a_pass_that_was_over_stays_so(tmp_path):
    """Also where the same pass is longer when it is gone through again; stopped while it was validated."""

    class Passes:
        def __init__(self, first=2):
            self.next = first

        def __iter__(self):
            number, self.next = self.next, 2
            return iter(batches(number))

    class HeldOut(list):
        ends = False

        def __iter__(self):
            if self.ends:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__iter__()

    def one(path, passes, held_out, **choice):
        student = net(1)
        distiller = Distiller(student, TEACHER)
        history = distiller.fit(passes, 2, held_out, quiet=True, save_to=tmp_path / path, **choice)
        return history, toy.bits(student)

    whole, weights = one("whole.pt", Passes(), HeldOut(HELD_OUT))
    stopping = HeldOut(HELD_OUT)
    stopping.ends = True
    assert one("broken.pt", Passes(), stopping)[0] == []
    resumed, again = one("broken.pt", Passes(3), HeldOut(HELD_OUT), resume=True)
    assert resumed == whole and toy.same_bits(again, weights)


def test_the_state_of_another_training_is_refused(tmp_path):
    path = tmp_path / "state.pt"
    life(path, "SGD, cosine", on_step=lambda *_: True)
    for case, words in (
        ("Adam, plateau", "optimizer Adam: .*begun with SGD"),
        ("milestones", "SequentialLR"),
    ):
        with pytest.raises(SemcomError, match=words):
            life(path, case, resume=True)
    with pytest.raises(SemcomError, match="keep last"):
        life(path, "SGD, cosine", resume=True, keep="last")


def test_states_of_earlier_versions_go_on(tmp_path):
    """They tell of no best weights, nor of what is kept, and nothing of what is frozen."""

    def one(path, **choice):
        student = net(1)
        student[0].requires_grad_(False)
        history = Distiller(student, TEACHER).fit(
            batches(2), 2, HELD_OUT, save_to=tmp_path / path, quiet=True, **choice
        )
        return history, toy.bits(student)

    whole, weights = one("whole.pt")
    one("earlier.pt", on_step=lambda number, means: number == 1)
    state = state_file.read(tmp_path / "earlier.pt", "")
    task = state["training"]["task"]
    del task["best"], task["weights"]["0.weight"], task["weights"]["0.bias"]
    assert "keep" not in state["run"]
    named = {f"module.{name}": tensor for name, tensor in TEACHER.state_dict().items()}
    assert state["run"]["the teacher:"] == state_file.digest_of(named)[:16]
    state_file.write(tmp_path / "earlier.pt", state)
    resumed, again = one("earlier.pt", resume=True)
    assert resumed == whole and toy.same_bits(again, weights)


def test_a_scheduler_that_cannot_be_kept_is_refused_before_the_first_step(tmp_path):
    class Odd:
        def __init__(self):
            self.held = object()

        def __call__(self, epoch):
            return 1.0

    student = net(1)
    start, scheduler = toy.bits(student), lr_scheduler.LambdaLR(sgd(student), Odd())
    with pytest.raises(SemcomError, match="save_to: the state of this LambdaLR cannot be kept"):
        Distiller(student, TEACHER).fit(batches(), 1, scheduler=scheduler, save_to=tmp_path / "state.pt")
    assert toy.same_bits(toy.bits(student), start)


# --- on GPUs


@pytest.mark.parametrize("make", [sgd, lambda s: AdamW(s.parameters(), 0.1), lambda s: None])
def test_a_step_waits_for_nothing(make, late, copies, monkeypatch):  # noqa: F811
    """But for the numbers of the step before."""
    read = []

    def nothing(sums):
        read.append(sums)
        return step_sums.StepSums.of(sums.names, [0.0] * len(sums.numbers))

    monkeypatch.setattr(step_sums.LateSums, "send", lambda sums: None)
    monkeypatch.setattr(step_sums.LateSums, "read", nothing)
    student = net(1).to(META)
    pair = Distiller(student, net(0, width=16)).pair
    optimizer = make(student)
    updates = updates_of(optimizer, optimizer and cosine(optimizer), None, pair.own, 1.0)
    task = ClassifierTask(pair, [], None)
    loop = Loop(task, TrainingConfig(), total=2, updates=updates)
    x, y = (part.to(META) for part in batches(1)[0])
    data = [{"input": x, "labels": y}, (x, y, y < 3), x]
    copies.clear()
    for number, given in enumerate(data, start=1):
        loop.step(step_sums.Step(given), 1, loop.updates.rate(number, 2), number)
    assert copies == [] and len(read) == 2


def rows(count, late_numbers, monkeypatch, make=sgd, spoil=False):
    from semcom.distillation import training_loop

    monkeypatch.setattr(training_loop, "on_gpu", lambda trained: late_numbers)
    student, data = net(1), batches(count)
    data[0][1][:9] = -100
    if spoil:
        data[2][0][3] = torch.nan
    told = []
    distiller = Distiller(student, TEACHER)
    try:
        choice = {} if make is None else {"optimizer": make(student)}
        choice["on_step"] = lambda *step: told.append((*step, toy.bits(student)))
        history = distiller.fit(data, 2, HELD_OUT, quiet=True, **choice)
    except NonFiniteLoss as error:
        history = str(error)
    return history, told, toy.bits(student)


@pytest.mark.parametrize("make", [sgd, None])
def test_a_step_late_all_is_as_at_once(make, monkeypatch):
    (history, told, weights), (same_history, same_told, same_weights) = (
        rows(3, late_numbers, monkeypatch, make) for late_numbers in (False, True)
    )
    assert history == same_history and toy.same_bits(weights, same_weights)
    assert [each[:2] for each in told] == [each[:2] for each in same_told] and len(told) == 6


@pytest.mark.parametrize("make", [sgd, lambda s: Adam(s.parameters(), 0.1), None])
def test_a_loss_that_is_no_number_leaves_the_student_as_it_was(make, monkeypatch):
    """However late it is seen."""
    for late_numbers in (False, True):
        message, told, weights = rows(4, late_numbers, monkeypatch, make, spoil=True)
        assert "nan in epoch 1, step 3; try a smaller lr than 0.1" in message or make is None
        assert len(told) == 2 and toy.same_bits(weights, told[-1][2])
