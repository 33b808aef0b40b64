"""The likeliest next pieces by compiled kernels, of a projection of any receiver: no logits are kept, and of
the most probable piece alone only the few that may be it are computed in float32.

Letters: N rows, V pieces, D width of their states.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from semcom.base import precision
from semcom.data.vocabulary import EOS
from semcom.models.kernels import native
from semcom.models.kernels.products import PACKED, padded, panels, up_to
from semcom.models.weight_cache import kept

MOST = 64
"""Pieces of a row that are found one by one; of more, all logits together are quicker."""

CPU = torch.device("cpu")

_LIKELIEST = native.structure(
    "states weights bias logits total pieces", "rows width size states_stride count threads"
)
_MOST_PROBABLE = native.structure(
    "states codes steps bias norms errors weight exact_bias pieces",
    "rows width size states_stride none threads",
)


def most_probable_of(projection: nn.Linear) -> Callable[[Tensor], Tensor] | None:
    """[N, D] states -> [N], argmax of their logits; None where torch is to find it."""
    # Older torch cannot tell.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    if capabilities.get("amx_bf16") or not _kernels_take(projection):
        return None
    if capabilities.get("avx512_vnni"):
        return kept(MostProbable, projection)
    return kept(Likeliest, projection).most_probable


def likeliest_of(projection: nn.Linear, count: int) -> "Likeliest | None":
    """None where torch is to find so many, or of this projection."""
    return kept(Likeliest, projection) if count <= MOST and _kernels_take(projection) else None


def _kernels_take(projection: nn.Linear) -> bool:
    """Weights that are no numbers take the way that says what becomes of them."""
    weights = (projection.weight, projection.bias)
    usual = all(each.dtype == torch.float32 and bool(each.isfinite().all()) for each in weights)
    return usual and precision.product_dtype(CPU) is None and native.can_decode()


class Likeliest:
    """[N, D] states -> the ``count`` likeliest pieces and their log-probabilities."""

    def __init__(self, projection: nn.Linear):
        self.size, self.width = projection.weight.shape
        self.weights, self.bias = panels(projection.weight), padded(projection.bias, -torch.inf)

    def __call__(self, states: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Log-probabilities and ids, falling, of ``count`` pieces (fewer if V is less), each [N, count]."""
        logits, pieces, total = self._logits(states, count, with_total=True)
        return logits - total[:, None], pieces

    def most_probable(self, states: Tensor) -> Tensor:
        """[N]; eos for a row that is not a number."""
        logits, pieces, _ = self._logits(states, 1, with_total=False)
        return pieces[:, 0].where(logits[:, 0] > -torch.inf, EOS)

    def _logits(self, states: Tensor, count: int, with_total: bool) -> tuple[Tensor, Tensor, Tensor]:
        states = _rows(states, self.width)
        rows, count = len(states), min(count, self.size)
        logits, pieces = torch.empty(rows, count), torch.empty(rows, count, dtype=torch.int64)
        total = torch.empty(rows if with_total else 0)
        native.call(
            "likeliest",
            torch.float32,
            _LIKELIEST,
            states=states,
            weights=self.weights,
            bias=self.bias,
            logits=logits,
            pieces=pieces,
            total=total if with_total else None,
            rows=rows,
            width=self.width,
            size=self.size,
            states_stride=states.stride(0),
            count=count,
        )
        return logits, pieces, total


class MostProbable:
    """[N, D] states -> [N], argmax of their logits.

    Logits are screened in int8: a piece whose logit falls short of another's by more than rounding of state
    and weights can account for is not the most probable. The others' are computed in float32.
    """

    def __init__(self, projection: nn.Linear):
        weight, bias = projection.weight.contiguous(), projection.bias.contiguous()
        self.size, self.width = weight.shape
        steps = (weight.abs().amax(1) / 127).clamp_min(torch.finfo(torch.float32).tiny)
        numbers = (weight / steps[:, None]).round()
        rounded = numbers * steps[:, None]
        self.steps, self.bias = padded(steps), padded(bias, -torch.inf)
        self.norms = self._of_panel(torch.maximum(weight.norm(dim=1), rounded.norm(dim=1)))
        self.errors = self._of_panel((weight - rounded).norm(dim=1))
        self.codes = self._packed(numbers)
        self.weight, self.exact_bias = weight, bias

    @staticmethod
    def _of_panel(x: Tensor) -> Tensor:
        """[V] -> the largest of each panel."""
        return padded(x).unflatten(0, (-1, PACKED)).amax(1)

    def _packed(self, numbers: Tensor) -> Tensor:
        """[V, D] from -127 to 127 -> [panels, D / 4, PACKED, 4] with 128 added."""
        wide = numbers.new_zeros(up_to(self.size, PACKED), up_to(self.width, 4))
        wide[: self.size, : self.width] = numbers
        codes = (wide + 128).to(torch.uint8).view(-1, PACKED, wide.shape[1] // 4, 4)
        return codes.transpose(1, 2).contiguous()

    def __call__(self, states: Tensor) -> Tensor:
        """EOS for a row that is not a number."""
        states = _rows(states, self.width)
        pieces = torch.empty(len(states), dtype=torch.int64)
        native.call(
            "most_probable",
            torch.float32,
            _MOST_PROBABLE,
            states=states,
            codes=self.codes,
            steps=self.steps,
            bias=self.bias,
            norms=self.norms,
            errors=self.errors,
            weight=self.weight,
            exact_bias=self.exact_bias,
            pieces=pieces,
            rows=len(states),
            width=self.width,
            size=self.size,
            states_stride=states.stride(0),
            none=EOS,
        )
        return pieces


def _rows(states: Tensor, width: int) -> Tensor:
    """States whose rows are contiguous. Raises ValueError for others than float32 [N, D] on the CPU."""
    if states.shape != (len(states), width) or states.dtype != torch.float32 or states.device != CPU:
        found = f"{states.dtype} {list(states.shape)} on {states.device}"
        raise ValueError(f"states: {found}, must be float32 [N, {width}] on the CPU")
    return states if states.stride(1) == 1 else states.contiguous()
