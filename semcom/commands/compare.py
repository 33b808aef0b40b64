"""``semcom.compare_models``: what models cost, as rows and as a table."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from semcom.base.errors import SemcomError, shown
from semcom.distillation.any_model import Model
from semcom.evaluation import frames
from semcom.evaluation.cost import Row, model_costs
from semcom.report import tables


def compare_models(
    teacher: Model | Sequence[Model] | Mapping[str, Model],
    student: Any = None,
    inputs: Any = None,
    *,
    repeats: int = 20,
    quiet: bool = False,
) -> list[Row]:
    """Rows of ``model_costs``: parameters and bytes of the saved weights and, with ``inputs``, FLOPs and
    milliseconds of one forward a sample.

    ``compare_models(teacher, student, inputs)``, where there may be a list of teachers; or
    ``compare_models({name: model}, inputs)`` for any models by name. inputs: of B samples, as the models are
    called. latency_ms is the median of ``repeats`` passes in eval mode, the models in turn, divided by B. A
    "_ratio" is over the first model's figure. Prints a table unless ``quiet``.
    """
    if isinstance(teacher, Mapping):
        models, inputs = teacher, student if inputs is None else inputs
    else:
        models = _by_role(teacher, student)
    _check_inputs(models, inputs)
    rows = model_costs(models, inputs, repeats)
    if not quiet:
        titles = [name.replace("latency_ms", "ms").rpartition("_")[2] for name in rows[0]]
        print(tables.text(frames.frame_of([list(row.values()) for row in rows], titles)))
        if inputs is None:
            given = "{name: model}" if isinstance(teacher, Mapping) else "teacher, student"
            print(f"for FLOPs and milliseconds: compare_models({given}, inputs), inputs of one batch")
    return rows


def _check_inputs(models: Mapping[str, Model], inputs: Any) -> None:
    if hasattr(inputs, "dataset"):
        raise SemcomError(
            f"compare_models: a {shown(type(inputs).__name__)} as inputs; give those of one batch: "
            "next(iter(loader))[0]"
        )
    if not isinstance(inputs, (tuple, list)) or len(inputs) < 2:
        return
    if all(isinstance(size, int) for size in inputs):
        raise SemcomError(
            f"compare_models: inputs {shown(inputs)}, a shape; give those of one batch, or "
            f"torch.randn({', '.join(map(str, inputs))})"
        )
    for name, model in models.items():
        if not _takes(model, len(inputs)):
            raise SemcomError(
                f"compare_models: {shown(name)!r} does not take {len(inputs)} inputs; of a batch (inputs, "
                "targets) give the inputs alone: batch[0]"
            )


def _takes(model: Any, number: int) -> bool:
    """Whether a model may be called with so many inputs; True where its signature does not say."""
    try:
        signature = inspect.signature(getattr(model, "forward", model))
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*range(number))
    except TypeError:
        return False
    return True


def _by_role(teacher: Any, student: Any) -> dict[str, Model]:
    if student is None:
        raise SemcomError(
            "compare_models: there is one model; give two, compare_models(teacher, student), or {name: model}"
        )
    if isinstance(student, Tensor):
        raise SemcomError(
            "compare_models: a Tensor in the place of a student; give compare_models(teacher, student, "
            "inputs), or compare_models({name: model}, inputs)"
        )
    if isinstance(teacher, (list, tuple)):
        teachers = {f"teacher {number}": each for number, each in enumerate(teacher, 1)}
        return {**teachers, "student": student}
    return {"teacher": teacher, "student": student}
