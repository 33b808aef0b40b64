"""The flags of a run in its record, and that record as a run file: which of its values are flags, and what is
not as it was."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from semcom.base import typed_words
from semcom.base.errors import escape
from semcom.base.flag_words import typed_defaults, typed_values
from semcom.base.settings import Request

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

DEFAULT_PATHS = {
    "output_path": (
        "checkpoints/distillation",
        "checkpoints/distillation_encoder",
        "checkpoints/distillation_decoder",
    ),
    "hybrid_output": ("checkpoints/hybrid_model.pt",),
}
PLACES = ("output", "output_path", "hybrid_output")
DECIDED = {"precision": ("auto",), "compile": ("auto", "on")}
"""Settings of which the record has what the machine made of these values."""
OF_NO_RESULT = ("quiet", "debug", "overwrite")
COMPARED = {
    "corpus_fingerprint": "the corpus",
    "vocabulary_fingerprint": "the vocabulary",
    "teachers": "the teacher",
    "start_fingerprint": "what is trained, before its first step,",
    "semcom": "semcom",
    "commit": "the source's commit",
    "python": "Python",
    "torch": "torch",
    "numpy": "numpy",
    "processes": "the number of processes",
    "threads": "the number of threads",
    "device": "the device",
    "gpu": "the GPU",
    "cpu": "the CPU",
}
"""Values of a record on which the bits of a result depend, in words."""


def recorded(settings: DataclassInstance, steps: int = 0) -> dict[str, Any]:
    """The flags that repeat a run, for the part ``settings`` of its record.

    steps: what --minutes came to, once that is known.
    """
    values = typed_values(settings, recorded=True)
    return values | {"minutes": None, "steps": steps} if values["minutes"] and steps else values


def other_flag(settings: DataclassInstance, record: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """The first flag that says something else than it did for the run of this part ``settings`` of a record:
    its name, what it said, what it says; None where all are the same. Places aside, and what the machine
    decided where it was left to it. A flag that the record does not know was not given."""
    ours = json.loads(json.dumps(typed_values(settings, recorded=True)))
    before = {**json.loads(json.dumps(typed_defaults(settings))), **record}
    left_out = {*PLACES, *(("minutes", "steps") if ours.get("minutes") else ())}
    left_out |= {name for name, values in DECIDED.items() if ours.get(name) in values}
    others = ((name, _as_now(name, before[name]), is_) for name, is_ in ours.items())
    return next((each for each in others if each[0] not in left_out and each[1] != each[2]), None)


def _as_now(name: str, value: Any) -> Any:
    """Of earlier versions, --compile was a switch."""
    return typed_words.on_or_off(str(value)) if name == "compile" else value


def is_record(values: Mapping[str, Any]) -> bool:
    """Whether a run file is what a run wrote of itself, not what a person wrote."""
    return "semcom" in values and "torch" in values


def settings_part(values: Mapping[str, Any], flags: Collection[str]) -> Mapping[str, Any]:
    """The values of a record that are flags. flags: names of the verb's."""
    part = values.get("settings")
    return part if isinstance(part, dict) else _of_older_record(values, flags)


def _of_older_record(values: Mapping[str, Any], flags: Collection[str]) -> dict[str, Any]:
    """Of a record without a part for them, where what follows from flags stands under their names."""
    left_out = {*OF_NO_RESULT, *_refused(values)}
    left_out |= {name for name, paths in DEFAULT_PATHS.items() if values.get(name) in paths}
    given = {name: values[name] for name in flags if name in values and name not in left_out}
    if "corpus_size" in given:
        given["corpus_size"] = given["corpus_size"] or "all"
    if isinstance(teachers := values.get("teachers"), list) and "teacher_checkpoint" in given:
        given["teacher_checkpoint"] = [
            teacher[0] for teacher in teachers if isinstance(teacher, list) and teacher
        ]
    if values.get("minutes") and not values.get("stopped"):
        given |= {"minutes": None, "steps": values.get("steps_done")}
    return given


def _refused(values: Mapping[str, Any]) -> tuple[str, ...]:
    """What followed from other flags and is refused beside them."""
    if not values.get("create_hybrid"):
        return ("hybrid_output", "hybrid_parts")
    return ("hybrid_parts",) if values.get("target_divergence") else ()


def differences(request: Request, now: Mapping[str, Any]) -> Iterator[str]:
    """A line for each value on which a result depends and which is not what it was in the record that the
    run was asked to repeat, if it was."""
    before = request.record or {}
    for name, words in COMPARED.items():
        if name in before and name in now and (was := _text(before[name])) != (is_ := _text(now[name])):
            yield f"{words} is {is_}, in {escape(request.file)} it was {was}: numbers may differ"


def _text(value: object) -> str:
    """The same for a value and for what was read of it; of lists their last values, such as fingerprints of
    [path, fingerprint]."""
    if isinstance(value, (list, tuple)):
        return " ".join(
            _text(each[-1] if isinstance(each, (list, tuple)) and each else each) for each in value
        )
    return escape("none" if value is None else value)[:100]
