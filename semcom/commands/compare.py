"""``semcom.compare_models``: what models cost, as rows and as a table."""

from collections.abc import Mapping
from typing import Any

from semcom.distillation.any_model import Model
from semcom.evaluation import frames
from semcom.evaluation.cost import Row, model_costs
from semcom.report import tables


def compare_models(
    models: Mapping[str, Model], inputs: Any, *, repeats: int = 20, quiet: bool = False
) -> list[Row]:
    """Rows of ``model_costs``: parameters, bytes of the saved weights, FLOPs and milliseconds of one forward
    a sample.

    inputs: of B samples, on the models' device. latency_ms is the median of ``repeats`` passes in eval mode,
    the models in turn, divided by B. A "_ratio" is over the first model's figure. Prints a table unless
    ``quiet``.
    """
    rows = model_costs(models, inputs, repeats)
    if not quiet:
        titles = [name.replace("latency_ms", "ms").rpartition("_")[2] for name in rows[0]]
        print(tables.text(frames.frame_of([list(row.values()) for row in rows], titles)))
    return rows
