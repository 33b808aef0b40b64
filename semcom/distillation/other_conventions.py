"""What people type who come from other code: names that there are not here, answered by one line that says
what to type. Standard library only, so that settings may ask it too."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from semcom.base.advice import meant, nearest
from semcom.base.errors import LONGEST_LINE, SemcomError, escape, shown
from semcom.distillation.other_names import (
    EITHER_WEIGHT,
    ENDINGS,
    HARD_WEIGHT,
    METHODS,
    NAMES,
    NOTES,
    OURS,
    SOFT_WEIGHT,
)

DISTILLER = (
    "student",
    "teacher",
    "settings",
    "teacher_mean",
    "teacher_weights",
    "lr",
    "warmup_steps",
    "weight_decay",
    "clip",
    "device",
)
FIT = (
    "batches",
    "epochs",
    "validation",
    "on_epoch",
    "on_step",
    "optimizer",
    "scheduler",
    "scheduler_every",
    "early_stopping",
    "keep",
    "quiet",
    "save_to",
    "save_every",
    "resume",
)
LOSS = ("settings", "ignore_index", "ignore_in", "class_axis")
PARAMETERS = {"Distiller": DISTILLER, "fit": FIT, "DistillationLoss": LOSS, "DistillationConfig": ()}
"""Of each that may be called with other names; those of ``DistillationConfig`` are its fields."""

GIVEN = {
    "Distiller": "student and teacher, then settings, alone are given by place",
    "DistillationLoss": "settings alone are given by place",
    "DistillationConfig": "settings are given by name",
}
MOST_NAMES = 3
"""Unknown ones that are told."""


def missing_name(name: str, names: Iterable[str]) -> str:
    """What is said of a name that ``semcom`` does not have among its ``names``."""
    exact = [ours for ours, theirs in NAMES.items() if name in theirs]
    by_end = [ours for ours, ends in ENDINGS.items() if name.lower().endswith(ends)]
    found = next(iter(exact + by_end), nearest(name, names))
    told = f"semcom has no {escape(name)}"
    return f"{told}; here it is {found}" if found else f"{told}; it has {', '.join(names)}"


def refuse(owner: str, typed: Mapping[str, object]) -> NoReturn:
    """Raise SemcomError for names that ``owner``, one of ``PARAMETERS``, does not have."""
    raise SemcomError(line(owner, typed))


def line(owner: str, typed: Mapping[str, object], own: tuple[str, ...] = ()) -> str:
    """What to type instead of names that ``owner`` does not have. own: those that it has, where
    ``PARAMETERS`` does not say."""
    parts = [*_settings(owner, typed, own), *_others(owner, typed, own or PARAMETERS[owner])]
    told = f"{owner}: {parts[0]}"
    for part in parts[1:]:
        if len(told) + len(part) + 2 > LONGEST_LINE:
            break
        told += f"; {part}"
    return told


def misplaced(owner: str, places: Sequence[object]) -> NoReturn:
    """Raise SemcomError for what was given to ``owner`` by place and cannot stand there: settings, and what
    came after them."""
    numbers = [each for each in places if isinstance(each, (int, float))]
    told = [line(owner, _by_size(numbers)).removeprefix(f"{owner}: ")] if numbers else []
    told += [_kind(each) for each in places if each is not None and not isinstance(each, (int, float))]
    raise SemcomError(f"{owner}: {GIVEN[owner]}; {'; '.join(dict.fromkeys(told))}"[:LONGEST_LINE])


def _by_size(numbers: list[float]) -> dict[str, float]:
    """T and the weight, which other code has in either order: T is the first number above 1."""
    weights = [number for number in numbers if 0 <= number <= 1]
    temperature = next((number for number in numbers if number > 1), None)
    if temperature is None and len(weights) != 1:
        temperature = (weights or numbers).pop(0)
    named = {"temperature": temperature, "alpha": next(iter(weights), None)}
    return {name: number for name, number in named.items() if number is not None}


def _kind(value: Any) -> str:
    name = f"{shown(type(value).__name__)} goes to"
    if hasattr(value, "param_groups"):
        return f"{name} fit(train_loader, epochs, optimizer=…)"
    if hasattr(value, "get_last_lr"):
        return f"{name} fit(train_loader, epochs, scheduler=…)"
    if _is_device(value):
        return f"{name} Distiller(student, teacher, device=…)"
    if hasattr(value, "state_dict") and hasattr(value, "forward"):
        if type(value).__name__.endswith("Loss"):
            return f"{shown(type(value).__name__)} is left out: the loss has cross-entropy and the divergence"
        return f"{name} Distiller(student, teacher), several teachers as [teacher_1, teacher_2]"
    if isinstance(value, Mapping):
        return "settings in a dictionary are DistillationConfig(**settings)"
    if isinstance(value, str):
        return f"{shown(value)!r} is no DistillationConfig"
    if hasattr(value, "__iter__") or hasattr(value, "dataset"):
        return f"{name} fit(train_loader, epochs, validation=test_loader)"
    return f"a {shown(type(value).__name__)} is no DistillationConfig"


def _is_device(value: Any) -> bool:
    """A word or a ``torch.device``."""
    if isinstance(value, str):
        return value.partition(":")[0] in ("auto", "cpu", "cuda", "mps")
    return hasattr(value, "index") and hasattr(value, "type")


def missing_setting(name: str) -> str:
    """What an AttributeError of ``DistillationConfig`` says."""
    told = f"'DistillationConfig' object has no attribute {escape(name)!r}"
    if name in (*EITHER_WEIGHT, *SOFT_WEIGHT):
        return f"{told}; here it is distill_weight, of the teacher's part of the loss"
    found = OURS.get(name) if OURS.get(name) in _fields() else nearest(name, _fields())
    return f"{told}; here it is {found}" if found else told


def missing_method(name: str) -> str:
    """What an AttributeError of ``Distiller`` says."""
    found = METHODS.get(nearest(name, METHODS) or "")
    told = f"'Distiller' object has no attribute {escape(name)!r}"
    return f"{told}; {found}" if found else told


def _settings(owner: str, typed: Mapping[str, object], own: tuple[str, ...]) -> list[str]:
    """Of names that mean settings of the loss: the one call that has them all, and what has to be known."""
    named = {OURS.get(name, name): value for name, value in typed.items()}
    given = {name: value for name, value in named.items() if name in (own or _fields())}
    weight, why = _weight(typed)
    given |= weight
    call = [f"type {_call(owner, given)}"] if given else []
    return [" ".join([*call, why])] if why.startswith("if ") else call + [why] * bool(why)


def _weight(typed: Mapping[str, object]) -> tuple[dict[str, object], str]:
    """``distill_weight`` as other code gives it, and what has to be known of it."""
    for name in EITHER_WEIGHT:
        if name in typed:
            alpha = typed[name]
            other = f"{1 - alpha:g}" if _is_share(alpha) else f"1 - {name}"  # type: ignore[operator]
            why = (
                f"if {name} weighs the teacher's part of the loss, as here, or distill_weight={other} if it "
                "weighs the labels' part, as in Keras' example"
            )
            return {"distill_weight": alpha}, why
    soft, hard = (
        next((typed[name] for name in names if name in typed), None) for names in (SOFT_WEIGHT, HARD_WEIGHT)
    )
    if soft is None and hard is None:
        return {}, ""
    if soft is None and _is_share(hard):
        soft = 1 - hard  # type: ignore[operator]
    elif hard is None and _is_share(soft):
        hard = 1 - soft  # type: ignore[operator]
    if _is_share(soft) and _is_share(hard) and abs(soft + hard - 1) < 1e-6:  # type: ignore[operator]
        return {"distill_weight": soft}, "labels weigh 1 - distill_weight"
    ce, kd = (_value(1 if weight is None else weight) for weight in (hard, soft))
    return (
        {},
        f"weights of which the sum is not 1 are settings by published('kd', ce_weight={ce}, kd_weight={kd})",
    )


def _is_share(weight: object) -> bool:
    return isinstance(weight, (int, float)) and 0 <= weight <= 1


def _call(owner: str, given: Mapping[str, object]) -> str:
    """How settings are given to ``owner``."""
    config = f"DistillationConfig({', '.join(f'{name}={_value(value)}' for name, value in given.items())})"
    calls = {"DistillationConfig": config, "DistillationLoss": f"DistillationLoss({config})"}
    return calls.get(owner, f"Distiller(student, teacher, {config})")


def _others(owner: str, typed: Mapping[str, object], own: tuple[str, ...]) -> list[str]:
    """A clause for each of the names that mean something else."""
    told, unknown = [], []
    for name in typed:
        ours = OURS.get(name, name)
        if name in (*EITHER_WEIGHT, *SOFT_WEIGHT, *HARD_WEIGHT) or ours in _fields():
            continue
        shown_name = shown(name)
        if ours in own:
            told.append(f"{shown_name}= is {ours}= here")
        elif ours in FIT:
            more = "" if ours in FIT[:2] else f", {ours}=…"
            told.append(f"{shown_name}= is given to fit(train_loader, epochs{more})")
        elif ours in DISTILLER:
            told.append(f"{shown_name}= is given to Distiller(student, teacher, {ours}=…)")
        elif name in NOTES:
            told.append(f"{shown_name}= {NOTES[name]}")
        elif meant(name, own):
            told.append(f"{shown_name}= is not known{meant(name, own)}")
        else:
            unknown.append(shown_name)
    if unknown:
        names = "=, ".join(unknown[:MOST_NAMES]) + ("=, …" if len(unknown) > MOST_NAMES else "=")
        told.append(f"{names} {'is' if len(unknown) == 1 else 'are'} not known; allowed are {', '.join(own)}")
    return told


def _fields() -> tuple[str, ...]:
    """The names of the settings of a loss."""
    # Here, since settings ask this module.
    from semcom.distillation.settings import DistillationConfig

    return tuple(DistillationConfig.__dataclass_fields__)


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else shown(repr(value))
