"""The losses of scale decoupled distillation and logit standardisation as their public code has them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from semcom.base.advice import meant
from semcom.base.errors import SemcomError, shown, warn
from semcom.distillation.settings import DistillationConfig

_DKD = {"kd_loss": "dkd", "temperature": 4.0, "dkd_alpha": 1.0, "dkd_beta": 8.0, "dkd_warmup": 20 / 240}
_LSKD = {"standardize_logits": True, "standardize_ddof": 1, "temperature": 2.0}
_CELLS = {
    "complementary": "label",
    "complementary_weight": 2.0,
    "scale_reduction": "mean",
    "global_term": "scales",
}


@dataclass(frozen=True)
class Published:
    """settings: of the loss but for its weights. ce_weight, kd_weight: as the code gives them. has_cells:
    whether the base loss is that of cells."""

    settings: Mapping[str, Any]
    ce_weight: float = 1.0
    kd_weight: float = 1.0
    has_cells: bool = False


PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {
        "kd": Published({"temperature": 4.0}, 0.1, 0.9),
        "dkd": Published(_DKD),
        "lskd": Published(_LSKD, kd_weight=9.0),
        "sdd_kd": Published({"temperature": 4.0}, kd_weight=9.0, has_cells=True),
        "sdd_dkd": Published(_DKD, has_cells=True),
        "sdd_kd_lskd": Published(_LSKD, kd_weight=9.0, has_cells=True),
        # Its code has one weight of 9 in both of DKD's: alpha 9, beta 72.
        "sdd_dkd_lskd": Published({**_DKD, **_LSKD}, kd_weight=9.0, has_cells=True),
    }
)


def published(
    name: str,
    scales: Sequence[int] | None = None,
    ce_weight: float | None = None,
    kd_weight: float | None = None,
) -> DistillationConfig:
    """The settings under which a ``DistillationLoss`` is ce_weight * CE + kd_weight * KD of public code, over
    the sum of the two weights.

    name: one of ``PUBLISHED``. scales: M of sdd_*, 1 among them (default 1, 2, 4); of (1,) alone the loss is
    that of the images' logits. ce_weight, kd_weight: by default as in the code. An ``Unwise`` says what the
    translation means for SGD, unless the weights sum to 1. Raises SemcomError for another name and for
    weights that are none.

    Sources: mdistiller (Zhao et al., arXiv 2203.08679); SDD, Wei, Luo and Luo, arXiv 2403.13512; LSKD, Sun et
    al., arXiv 2403.01427, each with its code.
    """
    if not isinstance(name, str) or name not in PUBLISHED:
        near = meant(str(name), PUBLISHED)
        raise SemcomError(f"published {shown(name)}: allowed are {', '.join(PUBLISHED)}{near}")
    found = PUBLISHED[name]
    ce = _weight("ce_weight", found.ce_weight if ce_weight is None else ce_weight)
    kd = _weight("kd_weight", found.kd_weight if kd_weight is None else kd_weight)
    if not kd:
        raise SemcomError("kd_weight 0: nothing is distilled; give DistillationConfig(distill_weight=0)")
    if scales is not None and not found.has_cells:
        with_cells = "sdd_kd_lskd" if name == "lskd" else f"sdd_{name}"
        raise SemcomError(
            f"scales: {name} has none; leave them out, or give published({with_cells!r}, scales)"
        )
    cells = _cells((1, 2, 4) if scales is None else scales) if found.has_cells else {}
    total = ce + kd
    settings = DistillationConfig(distill_weight=kd / total, **found.settings, **cells)
    if not math.isclose(total, 1):
        warn(
            f"published {name}: {ce:g} CE + {kd:g} KD is {total:g} times this loss of distill_weight "
            f"{settings.distill_weight:g}; AdamW takes no notice, SGD needs the published learning rate "
            f"times {total:g} and the published weight decay divided by {total:g}"
        )
    return settings


def _cells(scales: Sequence[int]) -> dict[str, Any]:
    if not isinstance(scales, (list, tuple)) or not scales:
        raise SemcomError(f"scales {shown(scales)}: must be a list of whole numbers; for example (1, 2, 4)")
    given = tuple(scales)
    return {} if given == (1,) else {"scales": given, **_CELLS}


def _weight(name: str, value: float) -> float:
    if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise SemcomError(
            f"{name} {shown(value)}: must be a finite number of 0 or more; for example {name}=9"
        )
    return float(value)
