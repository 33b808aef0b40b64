"""What people type who come from tutorials and other libraries: it works, or ends in one line that says what
to type here."""

import inspect

import pytest

from semcom import DistillationConfig
from semcom.base.errors import LONGEST_LINE, SemcomError
from semcom.distillation import other_conventions
from semcom.distillation.distiller import Distiller


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


def test_methods_of_other_distillers_are_answered():
    for name in ("train", "distill", "train_students", "trainn"):
        assert "distiller.fit(train_loader" in other_conventions.missing_method(name)
    assert "state_dict()" in other_conventions.missing_method("save_student")
    assert "type" not in other_conventions.missing_method("zzz")


def test_the_tables_have_the_names_that_there_are():
    taken = {name for name in inspect.signature(Distiller).parameters}
    assert taken - {"typed"} <= set(other_conventions.DISTILLER)
    taken = {name for name in inspect.signature(Distiller.fit).parameters}
    assert taken - {"self", "typed"} <= set(other_conventions.FIT)
    everything = {
        *other_conventions.DISTILLER,
        *other_conventions.FIT,
        *DistillationConfig.__dataclass_fields__,
    }
    assert set(other_conventions.OURS.values()) <= everything
    assert not set(other_conventions.OURS) & everything
