"""What ``Distiller`` takes: batches, models, teachers and arguments as other code gives them; what is hardly
meant is said."""

import copy
import functools
import warnings
from collections import UserDict
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import toy
from test_api import LABELS, Grid, V, batches, fitted, net
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from semcom import DistillationConfig, DistillationLoss, Distiller
from semcom.base.errors import SemcomError, Unwise
from semcom.distillation import any_teacher
from semcom.distillation.any_teacher import used_by
from semcom.distillation.kd_loss import UNLABELLED

WIDE = net(0, width=16)


@pytest.fixture(autouse=True)
def no_warning_but_those_expected():
    with warnings.catch_warnings():
        warnings.simplefilter("error", Unwise)
        yield


def trained(data, wrap=lambda student: student, start=None, settings=None, **choice):
    """Weights of a student after these batches."""
    student = copy.deepcopy(start or net(1))
    fitted(wrap(student), WIDE, settings, data, **choice)
    return toy.bits(student)


# --- order


def test_a_larger_student_is_warned_of_and_a_frozen_one_refused():
    with pytest.warns(Unwise, match=r"student has 165 parameters.* teacher 85: .*student first") as told:
        Distiller(net(0, width=16), net(1))
    assert told[0].filename == __file__ and len(told) == 1
    frozen = net(0, width=16).requires_grad_(False)
    with pytest.raises(SemcomError, match=r"frozen.*Distiller\(student, teacher\) takes the student first"):
        Distiller(frozen, net(1))
    Distiller(teacher=frozen, student=net(1))
    Distiller(net(0, width=16), net(1), LABELS)


def test_settings_may_be_a_whole_loss():
    loss = DistillationLoss(DistillationConfig(distill_weight=0.5), ignore_index=4)
    distiller = Distiller(net(1), WIDE, loss)
    assert distiller.loss is loss
    x, y = batches(1)[0]
    (row,) = distiller.fit([(x, y)], 1, validation=[(x, y)], quiet=True)
    kept = y != 4
    assert row["validation"] == pytest.approx(F.cross_entropy(distiller.student(x)[kept], y[kept]).item())
    assert not kept.all()


def test_both_models_stay_where_the_student_is():
    student = net(1).to("meta")
    distiller = Distiller(student, net(0))
    assert distiller.device == torch.device("meta") and distiller.teacher[0].weight.is_meta
    assert Distiller(net(1), net(0)).device == torch.device("cpu")


def test_arguments_of_fit_are_told_apart_by_type():
    train, held_out = batches(2), batches(1, seed=5)
    lives = []
    for given, named in (
        ((train, 2, held_out), {}),
        ((train, held_out, 2), {}),
        ((train, held_out), {"epochs": 2}),
        ((train,), {"epochs": np.int64(2), "validation": held_out}),
        ((), {"batches": train, "epochs": 2, "validation": held_out}),
    ):
        distiller = Distiller(net(1), WIDE)
        lives.append(distiller.fit(*given, quiet=True, **named))
    assert all(life == lives[0] and len(life) == 2 and life[0]["validation"] for life in lives)


@pytest.mark.parametrize(
    "given, named, words",
    [
        ((batches(1),), {}, "the number of epochs is missing; type fit"),
        ((3,), {}, "no batches"),
        ((batches(1), 1.5), {}, "epochs 1.5: must be a whole number"),
        ((batches(1), len), {"epochs": 1}, "validation: a builtin_function_or_method gives no batches"),
        ((batches(1),), {"epochs": 1.5}, "epochs 1.5: must be a whole number"),
        ((batches(1), 2, 3), {}, "a int too many, 3"),
        ((batches(1), 2, batches(1), batches(1)), {}, "a list too many"),
        ((torch.zeros(9, 4), torch.zeros(9)), {"epochs": 2}, r"DataLoader\(TensorDataset\(x, y\), batch"),
        ((np.zeros((9, 4)), 2), {}, r"DataLoader\(TensorDataset\(x, y\), batch"),
        ((TensorDataset(torch.zeros(9, 4)), 2), {}, r"samples; give DataLoader\(dataset"),
        ((object(), 2), {}, "batches: a object gives no batches"),
        ((batches(1), 1), {"keep": "first"}, "keep first: allowed are best, last"),
        ((batches(1), 1), {"resume": True}, r"save_to='run.resume.pt', resume=True"),
        ((batches(1), 1), {"early_stopping": 3}, "type fit.*validation=val_loader"),
        ((batches(1), 1, batches(1)), {"early_stopping": True}, "as early_stopping=5"),
        ((batches(1), 1), {"num_epochs": 3}, "is epochs= here"),
        ((batches(1), 1, iter(batches(1))), {}, "validation: a list_iterator can be gone through only once"),
        ((batches(1), 1, []), {}, "validation: there is no batch in it"),
        ((batches(1), 1), {"on_epoch": [print]}, r"on_epoch: a list that cannot be called with \(row, is_b"),
        ((batches(1), 1), {"on_step": lambda number: None}, r"on_step: a function .*=lambda number, means"),
        (
            ([batches(1)[0][0]], 1),
            {"settings": LABELS},
            "no row of the batches has a label, and none is",
        ),
        (([batches(1)[0][0]], 1), {"settings": DistillationLoss(ignore_in="both")}, "so that nothing is lea"),
        (([(torch.zeros(2, 4), ["cat", "dog"])], 1), {}, "targets: a list, .*cat.*: must be classes"),
        (([(torch.zeros(2, 4), [{"boxes": 1}])], 1), {}, "targets: a list, .*boxes.*collate_fn"),
    ],
)
def test_what_fit_cannot_use_is_one_line(given, named, words):
    named, settings = dict(named), named.get("settings")
    named.pop("settings", None)
    with pytest.raises(SemcomError, match=words) as error:
        Distiller(net(1), WIDE, settings).fit(*given, quiet=True, **named)
    assert len(str(error.value)) < 500


class Counted(DataLoader):
    """How often it is begun."""

    begun = 0

    def __iter__(self):
        self.begun += 1
        return super().__iter__()


class Unsized:
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def test_the_same_seed_shuffles_as_in_a_plain_loop():
    images, classes = (torch.cat(parts) for parts in zip(*batches()))
    loader, seen = Counted(TensorDataset(images, classes), 16, shuffle=True), []
    for given in (loader, loader, Unsized(loader)):
        torch.manual_seed(5)
        if not seen:
            seen.append(torch.cat([x for x, _ in given]))
            continue
        student, asked = net(1), []
        student.register_forward_pre_hook(lambda module, inputs, asked=asked: asked.append(inputs[0]))
        distiller = Distiller(student, WIDE)
        torch.manual_seed(5)
        distiller.fit(given, 1, quiet=True)
        seen.append(torch.cat(asked))
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2]) and loader.begun == 4


def test_labels_alone_ask_no_teacher_and_show_no_divergence(capsys):
    asked, student = [], net(1)
    teacher = net(0, width=16)
    teacher.register_forward_hook(lambda *_: asked.append(1))
    rows = Distiller(student, teacher, LABELS).fit(batches(), 1, batches(1))
    told = "".join(capsys.readouterr())
    assert "epoch  1  loss" in told and "kd" not in told and not asked
    assert [*rows[0]] == ["epoch", "loss", "train_ce", "validation", "accuracy", "lr"]
    same = net(1)
    rows = Distiller(same, None, LABELS).fit(batches(), 1, batches(1), quiet=True)
    assert toy.same_bits(toy.bits(student), toy.bits(same)) and not asked


def test_validation_without_a_label_or_a_batch_is_told_apart():
    x, y = batches(1)[0]
    for given, words in (([(x, torch.full_like(y, -100))], "no row has a label"), ([], "there is no batch")):
        with pytest.raises(SemcomError, match=words):
            Distiller(net(1), WIDE).fit(batches(1), 1, Unsized(given), quiet=True)


# --- batches


def test_a_third_item_that_is_no_mask_is_left_out_and_warned_of_once():
    data = batches(3)
    indexed = [(x, y, torch.arange(len(y))) for x, y in data]
    contrasted = [(x, y, torch.arange(len(y)), torch.zeros(len(y), 2)) for x, y in data]
    for given in (indexed, contrasted):
        with pytest.warns(Unwise, match="an index") as told:
            found = trained(given)
        assert len(told) == 1 and told[0].filename.endswith("test_api.py")
        assert toy.same_bits(found, trained(data))
    masked = [(x, y, torch.arange(len(y)) < 9) for x, y in data]
    assert not toy.same_bits(trained(masked), trained(data))


def test_inputs_alone_are_unlabelled():
    data = [x for x, _ in batches()]
    wanted = trained([(x, torch.full((16,), UNLABELLED)) for x in data])
    for given in (data, [(x,) for x in data], [{"input": x} for x in data], [(x, None) for x in data]):
        assert toy.same_bits(trained(given), wanted)
    loader = DataLoader(TensorDataset(torch.cat(data)), 16)
    assert toy.same_bits(trained(loader), wanted)
    rows = fitted(net(1), WIDE, data=data).history
    assert rows["train_ce"] == [None, None] and rows["train_kd"][0] > 0


def test_a_mapping_holds_its_targets():
    data = batches()
    for name in ("labels", "label", "targets", "target"):
        for kind in (dict, UserDict):
            assert toy.same_bits(trained([kind({"input": x, name: y}) for x, y in data]), trained(data))
    scores = Distiller(net(1), WIDE).evaluate([{"input": x, "labels": y} for x, y in data])
    assert scores == Distiller(net(1), WIDE).evaluate(data)


def test_what_is_no_batch_is_refused():
    with pytest.raises(SemcomError, match=r"a batch is a str.*\(inputs, targets\)"):
        trained(["cat"])


def test_train_ce_is_a_mean_over_labelled_rows():
    """Batches of unlike numbers of labels; the student stays as it is."""
    student, (x, y) = net(1), batches(1, size=24)[0]
    y[3:16] = UNLABELLED
    data = [*zip(x.split(16), y.split(16))]
    (row,) = fitted(student, WIDE, data=data, epochs=1, lr=1e-12).history
    labelled = y != UNLABELLED
    ce = F.cross_entropy(student(x)[labelled], y[labelled]).item()
    assert row["train_ce"] == pytest.approx(ce, rel=1e-5)
    soft = F.kl_div((student(x) / 4).log_softmax(-1), (WIDE(x) / 4).softmax(-1), reduction="batchmean")
    assert row["train_kd"] == pytest.approx(16 * soft.item(), rel=1e-5)


# --- what models return


class Returns(nn.Module):
    def __init__(self, inner, made):
        super().__init__()
        self.inner, self.made = inner, made

    def forward(self, x):
        return self.made(self.inner(x))


@pytest.mark.parametrize(
    "made",
    [
        lambda logits: (logits, torch.ones(3)),
        lambda logits: (logits, {"features": [logits]}),
        lambda logits: [logits, None, torch.ones(3)],
        lambda logits: {"logits": logits, "hidden_states": None},
        lambda logits: UserDict(logits=logits),
        lambda logits: {"out": logits, "aux": None},
        lambda logits: SimpleNamespace(logits=logits),
    ],
)
def test_models_return_what_they_are_used_to(made):
    data = batches()
    assert toy.same_bits(trained(data, lambda student: Returns(student, made)), trained(data))


def test_a_mapping_may_have_a_grid():
    images = [(torch.randn(6, 1, 8, 8), torch.randint(V, (6,))) for _ in range(2)]
    found = []
    for wrap in (lambda m: m.with_grid, lambda m: Returns(m, dict)):
        student, teacher = Grid(0), Grid(1)
        for model in (student, teacher):
            model.forward = lambda x, m=model: zip(("logits", "grid"), m.with_grid(x))
        found.append(fitted(wrap(student), wrap(teacher), DistillationConfig(scales=(1, 2)), images).history)
    assert found[0] == found[1] and found[0][0]["train_scales"] > 0


def test_a_model_without_logits_is_refused():
    for made, words in ((lambda x: {"scores": x}, "a dict with 'scores'"), (lambda x: None, "a NoneType")):
        with pytest.raises(SemcomError, match=f"the model returns {words}: must be logits"):
            trained(batches(), lambda student, made=made: Returns(student, made))


# --- teachers


class Holder:
    def __init__(self, model):
        self.models = {"only": model}

    def ask(self, x):
        return self.models["only"](x)

    def __call__(self, x):
        return self.ask(x)


def with_default(model):
    def ask(x, model=model):
        return model(x)

    return ask


def nested(model):
    def ask(x):
        return [each for each in (lambda: model(x),)][0]()

    return lambda x: ask(x)


TEACHER = net(0, norm=True)
TRAINER = SimpleNamespace(engine=Holder(TEACHER), name="trainer")


@functools.lru_cache
def kept_model():
    return TRAINER.engine.models["only"]


class Outer:
    def __init__(self, holder):
        self.parts = [SimpleNamespace(holder=holder)]

    def __call__(self, x):
        return self.parts[0].holder.ask(x)


class Wrapper:
    def __call__(self, x):
        return self.__wrapped__(x)


class Slots:
    __slots__ = ("model", "unset")

    def __init__(self, model):
        self.model = model

    def ask(self, x):
        return self.model(x)


class Classes:
    model = TEACHER

    @staticmethod
    def static(x):
        return Classes.model(x)

    @classmethod
    def of_class(cls, x):
        return cls.model(x)

    def __call__(self, x):
        return self.model(x)


FUNCTIONS = {
    "closure": lambda model: lambda x: model(x),
    "list": lambda model: (lambda models: lambda x: models[0](x))([model]),
    "default": with_default,
    "partial": lambda model: functools.partial(lambda model, x: model(x), model),
    "named": lambda model: functools.partial(lambda x, model: model(x), model=model),
    "global": lambda model: lambda x: TEACHER(x),
    "nested": nested,
    "method": lambda model: Holder(model).ask,
    "object": Holder,
    "of a holder": lambda model: (lambda holder: lambda x: holder.ask(x))(Holder(model)),
    "cached": lambda model: functools.lru_cache(lambda x: model(x)),
    "global object": lambda model: lambda x: TRAINER.engine.models["only"](x),
    "deep in a closure": lambda model: (lambda it: lambda x: it.inner.holder.ask(x))(
        SimpleNamespace(inner=SimpleNamespace(holder=Holder(model)))
    ),
    "deep in an object": lambda model: Outer(Holder(model)),
    "global getter": lambda model: lambda x: kept_model()(x),
    "wrapped": lambda model: functools.wraps(lambda x: model(x))(Wrapper()),
    "static method": lambda model: Classes.static,
    "class method": lambda model: Classes.of_class,
    "slots": lambda model: Slots(model).ask,
    "object of a class": lambda model: Classes(),
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_function_asks_its_modules_in_eval_mode(kind):
    seen = []
    hook = TEACHER.register_forward_hook(lambda m, *_: seen.append((m.training, m[1].training)))
    kept = toy.bits(TEACHER.train())
    fitted(net(1, width=9), FUNCTIONS[kind](TEACHER), data=batches(2), epochs=1)
    hook.remove()
    assert seen == [(False, False)] * 2 and toy.same_bits(toy.bits(TEACHER), kept)
    assert all(part.training for part in TEACHER.modules()), "afterwards it is as it was"


@pytest.mark.parametrize("wrap", [lambda m: torch.compile(m, backend="eager"), lambda m: [m, m]])
def test_compiled_models_teach_and_learn(wrap):
    """Modules whose truth is not theirs."""
    student, same = net(1), net(1)
    fitted(student, wrap(WIDE))
    fitted(torch.compile(same, backend="eager"), torch.compile(WIDE, backend="eager"))
    assert toy.same_bits(toy.bits(student), toy.bits(same))


def test_a_function_may_answer_in_inference_mode():
    asked = torch.inference_mode()(lambda x: WIDE(x))
    student, same = net(1), net(1)
    fitted(student, asked)
    fitted(same, WIDE)
    assert toy.same_bits(toy.bits(student), toy.bits(same))


def test_where_no_module_is_seen_in_a_function_is_said_once():
    hidden = iter([WIDE])
    for teacher in (lambda x: next(hidden)(x), [WIDE, lambda x: x @ next(hidden)]):
        with pytest.warns(Unwise, match="no module is seen in the teacher, a function: put") as told:
            Distiller(net(1), teacher)
        assert len(told) == 1 and told[0].filename == __file__
        Distiller(net(1), teacher, LABELS)
    table = torch.zeros(16, V)
    Distiller(net(1), lambda x: table)
    Distiller(net(1), functools.partial(np.take, np.zeros((16, V)), axis=0))
    Distiller(net(1), functools.partial(F.linear, torch.ones(1)))
    assert used_by(len) == []


def test_what_is_looked_at_for_modules_is_bounded():
    chain = SimpleNamespace(next=WIDE)
    for _ in range(any_teacher.MOST_VALUES):
        chain = SimpleNamespace(next=chain)
    assert used_by(lambda x: chain) == []
    many = [[number] for number in range(10**5)]
    near = WIDE
    assert used_by(lambda x: (many, near)) == [WIDE]
    trainer = SimpleNamespace(data=many, engine=SimpleNamespace(teacher=WIDE))
    assert used_by(lambda x: trainer.engine.teacher(x)) == [WIDE]


def test_several_teachers_one_of_them_a_function():
    seen = []
    hook = TEACHER.register_forward_hook(lambda module, *_: seen.append(module.training))
    TEACHER.train()
    fitted(net(1, width=9), [WIDE, lambda x: TEACHER(x)], data=batches(2), epochs=1)
    hook.remove()
    assert seen == [False] * 2 and TEACHER.training


def test_a_teacher_may_have_members_of_its_own():
    student, same, teacher = net(1), net(1), Holder(WIDE)
    teacher.members = 3
    fitted(student, teacher)
    fitted(same, WIDE)
    assert toy.same_bits(toy.bits(student), toy.bits(same))


def test_several_teachers_may_return_features_of_unlike_widths():
    made = [lambda logits, width=width: (logits, torch.ones(16, width)) for width in (3, 5)]
    teachers = [Returns(net(seed, width=16), each) for seed, each in enumerate(made)]
    student, same = net(1), net(1)
    fitted(student, teachers)
    fitted(same, [teacher.inner for teacher in teachers])
    assert toy.same_bits(toy.bits(student), toy.bits(same))


@pytest.mark.parametrize("ends", [None, KeyboardInterrupt, OSError])
def test_the_teacher_is_as_usable_as_before(ends):
    teacher = net(0, norm=True).train()
    teacher[0].requires_grad_(False)
    teacher[1].eval()
    within = []

    def end(row, is_best):
        within.extend(p.requires_grad for p in teacher.parameters())
        if ends:
            raise ends

    def state():
        return [p.requires_grad for p in teacher.parameters()], [m.training for m in teacher.modules()]

    before = state()
    with nullcontext() if ends is not OSError else pytest.raises(OSError):
        Distiller(net(1), teacher).fit(batches(), 1, on_epoch=end, quiet=True)
    assert state() == before and within and not any(within)
    fitted(teacher, None, LABELS)


def test_a_student_that_shares_a_part_is_in_eval_mode_afterwards():
    teacher = net(0, norm=True).train()
    student = nn.Sequential(*teacher[:4], nn.Linear(8, V))
    with pytest.warns(Unwise, match="4 of the student's 6 parameters are the teacher's too") as told:
        fitted(student, teacher)
    assert len(told) == 1
    assert all(p.requires_grad for p in teacher.parameters()) and teacher.training
    assert not any(part.training for part in student.modules())
