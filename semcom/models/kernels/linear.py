"""Linear maps of rows, with ReLU where it follows, by linear.cpp, on CPUs whose vectors suit its products.

No factor is converted as a whole, and a weight's gradient is summed in float32. Letters: N rows, K inputs, O
outputs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from semcom.base import precision
from semcom.models.kernels import native

_LINEAR = native.structure(
    "x weight bias y to_y to_x to_weight to_bias", "rows inputs outputs x_float relu threads"
)


def pays(product: torch.dtype) -> bool:
    """Whether this machine multiplies numbers of this dtype by the vectors that the products in C++ are made
    for. Raises native.Unavailable."""
    return native.has_vectors_of_products() and bool(
        native.compiled("products_pay" + native.SUFFIXES[product])()
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor, *, relu: bool = False) -> Tensor:
    """x [N, K], float32 or bfloat16, times weight [O, K], plus bias [O], both float32 -> [N, O] in the dtype
    of products; differentiable once. Raises ValueError for tensors of other shapes or kinds."""
    product = precision.product_dtype(x.device) or torch.float32
    if not pays(product) or (product, x.dtype) == (torch.float32, torch.bfloat16):
        made = F.linear(x, weight, bias)
        return F.relu(made) if relu else made
    return _Linear.apply(x, weight, bias, product, relu)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, product, relu):
        x, weight, bias = (t.contiguous() for t in (x, weight, bias))
        (n, inputs), outputs = x.shape, len(weight)
        kind = x.dtype if x.dtype == product else torch.float32
        native.check(
            {
                "x": (x, (n, inputs), kind),
                "weight": (weight, (outputs, inputs), torch.float32),
                "bias": (bias, (outputs,), torch.float32),
            }
        )
        y = torch.empty(n, outputs, dtype=product)
        ctx.sizes = {"rows": n, "inputs": inputs, "outputs": outputs}
        ctx.sizes |= {"x_float": int(x.dtype == torch.float32), "relu": int(relu)}
        to_x, to_weight = ctx.needs_input_grad[:2]
        ctx.save_for_backward(x if to_weight else None, weight if to_x else None, y if relu else None)
        ctx.product, ctx.kind = product, kind
        native.call("linear", product, _LINEAR, x=x, weight=weight, bias=bias, y=y, **ctx.sizes)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, to_y):
        x, weight, y = ctx.saved_tensors
        n, inputs, outputs = (ctx.sizes[name] for name in ("rows", "inputs", "outputs"))
        shapes = {"to_x": (n, inputs), "to_weight": (outputs, inputs), "to_bias": (outputs,)}
        kinds = ctx.kind, torch.float32, torch.float32
        made = {
            name: torch.empty(shape, dtype=kind) if wanted else None
            for (name, shape), kind, wanted in zip(shapes.items(), kinds, ctx.needs_input_grad)
        }
        to_y = to_y.to(ctx.product).contiguous()
        native.check({"to_y": (to_y, (n, outputs), ctx.product)})
        read = {"x": x, "weight": weight, "y": y, "to_y": to_y}
        native.call("linear", ctx.product, _LINEAR, **read, **made, **ctx.sizes)
        return *made.values(), None, None
