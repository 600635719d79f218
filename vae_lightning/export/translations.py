"""Operations that torch's exporter translates to ONNX badly."""

from collections.abc import Callable
from typing import Any

import torch


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """torch operation → what to write in its place, for ``torch.onnx.export(custom_translation_table=...)``."""
    return {
        torch.ops.aten.binary_cross_entropy_with_logits.default: _cross_entropy,
        torch.ops.aten.sigmoid.default: _sigmoid,
    }


def _cross_entropy(logits: Any, target: Any, weight: Any = None, pos_weight: Any = None, summed: int = 1) -> Any:
    """``(1 - x) l + max(-l, 0) + log(1 + exp(-|l|))``.

    The exporter's own takes the logarithm of a sigmoid, which onnxruntime computes to 1e-7: at logits below -10 hardly
    a digit of the logarithm is right.
    """
    op = _operations()
    if weight is not None or pos_weight is not None or summed != 0:
        raise NotImplementedError("binary_cross_entropy_with_logits with weights or a reduction")
    one = op.CastLike(1.0, logits)
    tail = op.Log(op.Add(one, op.Exp(op.Neg(op.Abs(logits)))))
    return op.Add(op.Mul(op.Sub(one, target), logits), op.Add(op.Relu(op.Neg(logits)), tail))


def _sigmoid(x: Any) -> Any:
    """``1 / (1 + exp(-x))``: onnxruntime's own is right to 1e-7, this to the last digit or two, however small."""
    op = _operations()
    return op.Reciprocal(op.Add(op.CastLike(1.0, x), op.Exp(op.Neg(x))))


def _operations() -> Any:
    from onnxscript import opset18

    return opset18  # the types of its stubs are those of running it on arrays, not of writing a graph
