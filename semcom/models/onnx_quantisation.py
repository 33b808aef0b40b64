"""Graphs whose weights are whole numbers of 8 bits: dynamic quantisation by onnxruntime."""
