"""``semcom.compare_models``: what models cost, as rows and as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

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
    if hasattr(inputs, "dataset"):
        raise SemcomError(
            f"compare_models: a {shown(type(inputs).__name__)} as inputs; give those of one batch: "
            "next(iter(loader))[0]"
        )
    rows = model_costs(models, inputs, repeats)
    if not quiet:
        titles = [name.replace("latency_ms", "ms").rpartition("_")[2] for name in rows[0]]
        print(tables.text(frames.frame_of([list(row.values()) for row in rows], titles)))
        if inputs is None:
            given = "{name: model}" if isinstance(teacher, Mapping) else "teacher, student"
            print(f"for FLOPs and milliseconds: compare_models({given}, inputs), inputs of one batch")
    return rows


def _by_role(teacher: Any, student: Any) -> dict[str, Model]:
    if student is None:
        raise SemcomError(
            "compare_models: there is one model; give two, compare_models(teacher, student), or {name: model}"
        )
    if isinstance(teacher, (list, tuple)):
        teachers = {f"teacher {number}": each for number, each in enumerate(teacher, 1)}
        return {**teachers, "student": student}
    return {"teacher": teacher, "student": student}
