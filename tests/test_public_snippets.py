"""What people type who come from tutorials and other libraries: it works, or ends in one line that says what
to type here."""

import copy
import importlib
import inspect
import json
import pickle

import pytest
import torch

import semcom
from semcom import DistillationConfig, DistillationLoss
from semcom.base.errors import LONGEST_LINE, SemcomError
from semcom.distillation import other_conventions, other_names
from semcom.distillation.distiller import Distiller
from semcom.distillation.means import Means
from semcom.distillation.rows import Rows


def line(owner, **typed):
    """The one line that ends a call with such names."""
    with pytest.raises(SemcomError) as refused:
        other_conventions.refuse(owner, typed)
    told = str(refused.value)
    assert "\n" not in told and len(told) <= LONGEST_LINE
    return told


@pytest.mark.parametrize("name", ["alpha", "kd_alpha"])
def test_alpha_weighs_either_part_and_the_line_has_both_values(name):
    told = line("DistillationLoss", temperature=3.0, **{name: 0.7})
    assert "DistillationLoss(DistillationConfig(temperature=3, distill_weight=0.7))" in told
    assert "distill_weight=0.3" in told and "Keras" in told


def test_what_a_line_tells_to_type_is_what_the_settings_take():
    for typed in ({"T": 3.0, "alpha": 0.7}, {"tau": 2, "soft_target_loss_weight": 0.25}):
        told = line("DistillationLoss", **typed)
        settings = eval(told.split("DistillationLoss(")[1].split("))")[0] + ")")
        assert settings == DistillationConfig(
            temperature=list(typed.values())[0], distill_weight=settings.distill_weight
        )
        assert settings.distill_weight == list(typed.values())[1]


def test_names_that_belong_elsewhere_are_sent_there():
    told = line(
        "Distiller", teacher_model=1, train_loader=2, test_loader=3, optimizer=4, num_epochs=5, batch_size=6
    )
    assert "teacher_model= is teacher= here" in told
    assert "optimizer= is given to fit(train_loader, epochs, optimizer=…)" in told
    assert "validation=" in told and "DataLoader" in told
    assert "is given to Distiller(student, teacher, lr=…)" in line("fit", learning_rate=0.1)
    assert "did you mean device?" in line("Distiller", devices="cpu")
    assert "temperature=10, distill_weight=0.1" in line("Distiller", alpha=0.1, temperature=10)


def test_strangers_names_and_values_are_escaped_and_the_line_is_short():
    told = line("Distiller", **{"a\x1b[31m": 1, **{f"unknown_{i}" * 20: i for i in range(99)}})
    assert "\x1b" not in told
    assert "\x1b" not in other_conventions.missing_method("train\x1b")


def test_names_that_are_not_known_are_told_together():
    told = line("Distiller", train_config=1, adaptor_T=2, model_S=3)
    assert told.startswith(
        "Distiller: model_S= is student= here; train_config=, adaptor_T= are not known; allowed"
    )


def test_a_setting_of_another_type_is_one_line():
    with pytest.raises(SemcomError, match="--temperature 4: must be a finite number above 0"):
        DistillationConfig(temperature="4")


def test_methods_of_other_distillers_are_answered():
    for name in ("train", "distill", "train_students", "trainn"):
        assert "distiller.fit(train_loader" in other_conventions.missing_method(name)
    assert "state_dict()" in other_conventions.missing_method("save_student")
    assert "type" not in other_conventions.missing_method("zzz")


def test_the_tables_have_the_names_that_there_are():
    for called, names in (
        (Distiller, other_conventions.DISTILLER),
        (Distiller.fit, other_conventions.FIT),
        (DistillationLoss, other_conventions.LOSS),
    ):
        taken = inspect.signature(called).parameters.values()
        assert {each.name for each in taken if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)} - {
            "self"
        } == set(names)
    everything = {
        *other_conventions.DISTILLER,
        *other_conventions.FIT,
        *DistillationConfig.__dataclass_fields__,
    }
    assert set(other_names.OURS.values()) <= everything
    assert not set(other_names.OURS) & everything


def test_a_history_is_rows_and_gives_columns_by_name():
    rows = Rows([{"epoch": 1, "loss": 2.0, "accuracy": 0.5}, {"epoch": 2, "loss": 1.0, "accuracy": 0.75}])
    assert (
        rows["accuracy"] == [0.5, 0.75]
        and rows[-1]["loss"] == 1.0
        and [row["epoch"] for row in rows] == [1, 2]
    )
    assert json.loads(json.dumps(rows)) == rows == pickle.loads(pickle.dumps(rows)) == copy.deepcopy(rows)
    for name, ours in {"test_acc": "accuracy'] here, a share", "train_loss": "'loss'] here"}.items():
        with pytest.raises(SemcomError, match=ours):
            rows[name]
    with pytest.raises(SemcomError, match=r"did you mean loss\?; there are epoch, loss, accuracy"):
        rows["losss"]
    with pytest.raises(AttributeError, match=r"type history\['loss'\]"):
        _ = rows.history


def test_means_serve_as_the_loss_they_hold():
    weight = torch.tensor(3.0, requires_grad=True)
    means = Means(ce=weight.detach(), loss=weight**2)
    assert means.item() == float(means) == 9 and means.requires_grad and f"{means:.1f}" == "9.0"
    (means / 2).backward(retain_graph=True)
    assert weight.grad == 3
    (0.5 * means + means + torch.tensor(1.0)).backward(retain_graph=True)
    means.backward()
    assert weight.grad == 3 + 9 + 6
    assert torch.tensor(1.0) + means == sum([1.0, means]) == 10
    assert not torch.isnan(means) and torch.stack([means, means]).tolist() == [9, 9]
    assert means < 10 and means > 8 and 10 - means == means - 8 == 1
    assert dict(copy.copy(means)) == dict(means) and list(means) == ["ce", "loss"]
    with pytest.raises(AttributeError, match="they are ce, loss"):
        _ = means.backwards


def test_means_asked_for_what_they_have_not_say_what_to_type():
    means = Means(ce=torch.tensor(1.0), kd=torch.tensor(2.0), loss=torch.tensor(3.0))
    for name in (0, -1, "total_loss"):
        with pytest.raises(KeyError, match=rf'have no {name}; type .*loss\["ce"\], loss\["kd"\]'):
            means[name]


def test_means_are_a_dictionary_to_all_who_iterate():
    means = Means(ce=torch.tensor(1.0), kd=torch.tensor(2.0), loss=torch.tensor(3.0))
    names = ["ce", "kd", "loss"]
    assert [*means] == list(means) == [name for name in means] == [*map(str, means)] == sorted(means) == names
    assert [name for name, _ in means.items()] == [name for _, name in enumerate(means)] == names
    assert dict(means) == dict(**means) == {**means} == {} | means == means
    assert means.get("scales") is None and "scales" not in means and len(means) == 3
    by_default = torch.utils.data.default_collate([means, means])
    assert {name: value.tolist() for name, value in by_default.items()} == {
        "ce": [1, 1],
        "kd": [2, 2],
        "loss": [3, 3],
    }


def test_the_loss_takes_its_arguments_by_the_names_of_the_documents():
    student, teacher, targets = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    loss = DistillationLoss()
    by_name = loss(student_logits=student, teacher_logits=teacher, targets=targets)
    assert by_name == loss(student, teacher, targets)
    assert loss.sums(student_logits=student, teacher_logits=teacher, targets=targets)["loss"][1] == 1
    assert loss.scores(student_logits=student, targets=targets).keys() == {"ce", "accuracy"}


def test_importing_a_name_of_other_code_says_what_there_is():
    for name, here in {
        "DistillationTrainer": "Distiller$",
        "KDTrainer": "Distiller$",
        "VanillaKD": "Distiller$",
        "DistillKL": "DistillationLoss$",
        "DKDLoss": "DistillationLoss$",
        "TrainingArguments": "DistillationConfig$",
        "EarlyStopping": "early_stopping= of Distiller.fit",
        "MultiTeacherDistiller": "Distiller, whose teacher may be a list",
        "plot_training_history": "plot_training_curves",
        "TeacherModel": "any torch.nn.Module",
        "distiler": "Distiller",
        "zzz": "it has .*compare_models",
    }.items():
        with pytest.raises(ImportError, match=f"^semcom has no {name}; .*{here}"):
            exec(f"from semcom import {name}")
        assert not hasattr(semcom, name)
        with pytest.raises(AttributeError, match=here):
            getattr(semcom, name)


def test_the_rooms_of_the_package_are_imported_as_ever(monkeypatch):
    for room in ("report", "distillation"):
        importlib.import_module(f"semcom.{room}")
        monkeypatch.delattr(semcom, room)  # as if nobody had imported it yet
    space = {}
    exec("from semcom import report, distillation; from semcom import *", space)
    assert space["report"].__name__ == "semcom.report" and space["Distiller"] is semcom.Distiller


def test_what_is_given_by_place_is_sent_where_it_belongs():
    net = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    loader = torch.utils.data.DataLoader([1])
    with pytest.raises(SemcomError) as refused:
        other_conventions.misplaced("Distiller", (loader, loader, optimizer, scheduler, "cpu"))
    for part in ("validation=test_loader", "SGD goes to fit(", "scheduler=", "device="):
        assert str(refused.value).count(part) == 1
    with pytest.raises(SemcomError, match="temperature=4, distill_weight=0.7"):
        other_conventions.misplaced("DistillationLoss", (4.0, 0.7))


def of_places(owner, *places):
    with pytest.raises(SemcomError) as refused:
        owner(*places)
    told = str(refused.value)
    assert "\n" not in told and len(told) <= LONGEST_LINE
    return told


@pytest.mark.parametrize(
    "numbers, told",
    [
        ((0.5, 3.0), "(temperature=3, distill_weight=0.5)"),
        ((3.0, 0.5), "(temperature=3, distill_weight=0.5)"),
        ((1, 0.5), "(temperature=1, distill_weight=0.5)"),
        ((4, 9), "(temperature=4)"),
        ((4.0,), "(temperature=4)"),
        ((0.7,), "(distill_weight=0.7)"),
        ((-1,), "(temperature=-1)"),
    ],
)
@pytest.mark.parametrize("owner", [DistillationConfig, DistillationLoss])
def test_of_numbers_by_place_the_one_above_1_is_the_temperature(owner, numbers, told):
    line = of_places(owner, *numbers)
    assert f"type {owner.__name__}(" in line and f"DistillationConfig{told}" in line


def test_modules_and_words_by_place_are_neither_loaders_nor_devices():
    teacher = torch.nn.Sequential(torch.nn.Linear(2, 2))
    told = of_places(DistillationLoss, torch.nn.CrossEntropyLoss(), teacher, "soft", 0.5, 3.0)
    assert "CrossEntropyLoss is left out" in told and "Sequential goes to Distiller(student, teacher)" in told
    assert "'soft' is no DistillationConfig" in told and "temperature=3, distill_weight=0.5" in told
    assert "validation" not in told and "device" not in told
    assert "several teachers as [teacher_1, teacher_2]" in of_places(Distiller, teacher, teacher, teacher)
    for device in ("cuda:0", torch.device("cpu")):
        assert "device=…" in of_places(Distiller, teacher, teacher, device)


def test_settings_that_are_not_where_they_belong():
    net, config = torch.nn.Linear(2, 2), DistillationConfig(temperature=3.0)
    for places in ((config,), (DistillationLoss(config),), (net, DistillationLoss(config)), (net, config)):
        assert "settings come third; type Distiller(student, teacher, settings)" in of_places(
            Distiller, *places
        )
    assert "are DistillationConfig(**settings)" in of_places(DistillationConfig, {"temperature": 3.0})


@pytest.mark.parametrize(
    "name, ours",
    [
        ("alpha", "; here it is distill_weight, of the teacher's part"),
        ("T", "; here it is temperature"),
        ("kd_los", "; here it is kd_loss"),
        ("epochs", ""),
    ],
)
def test_an_attribute_that_settings_do_not_have(name, ours):
    config = DistillationConfig()
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'{ours}" + "$" * (not ours)):
        getattr(config, name)
    assert copy.deepcopy(config) == pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    "soft, hard",
    [("alpha_kd", "alpha_ce"), ("distillation_loss_weight", "student_loss_weight")],
)
def test_weights_that_come_in_pairs(soft, hard):
    told = of_places(lambda: DistillationConfig(**{soft: 0.8, hard: 0.2}))
    assert (
        told
        == "DistillationConfig: type DistillationConfig(distill_weight=0.8); labels weigh 1 - distill_weight"
    )


def test_weights_of_both_parts():
    assert "distill_weight=0.25)); labels weigh" in line(
        "fit", soft_target_loss_weight=0.25, ce_loss_weight=0.75
    )
    assert "distill_weight=0.75)" in line("Distiller", hard_label_weight=0.25)
    assert "published('kd', ce_weight=1, kd_weight=9)" in line("Distiller", kd_weight=9, ce_weight=1)
