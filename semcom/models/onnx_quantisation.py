"""Graphs whose weights are whole numbers of 8 bits: dynamic quantisation by onnxruntime."""

from pathlib import Path

from semcom.models.onnx_folder import GRAPHS
from semcom.models.onnx_graphs import quiet

QUANTISED = ("MatMul", "Gemm", "Gather")
"""Products with weights, the projection, and the tables of the embeddings: nearly all of a graph's bytes."""


def quantise(source: Path, target: Path) -> None:
    """The graphs of one folder, of float32 weights, as those of another. Softmax and norms stay float32.

    Weights get a scale for each column, and use 7 of the 8 bits: machines without VNNI add two products in 16
    bits, which full 8 bits overflow, so that a graph would say there what it does not say here.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        for name in GRAPHS:
            quantize_dynamic(
                source / name,
                target / name,
                op_types_to_quantize=list(QUANTISED),
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
            )
