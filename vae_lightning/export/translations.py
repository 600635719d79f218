"""Operations that torch's exporter translates to ONNX badly, or not at all."""

import math
from collections.abc import Callable
from typing import Any

import torch

STIRLING = (1 / 12, -1 / 360, 1 / 1260)
"""The series of log Γ in odd powers of 1/z: right to 1e-9 from z = 8 on (Abramowitz & Stegun, 6.1.41)."""
STEPS_UP = 8


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """torch operation → what to write in its place, for ``torch.onnx.export(custom_translation_table=...)``."""
    return {
        torch.ops.aten.binary_cross_entropy_with_logits.default: _cross_entropy,
        torch.ops.aten.lgamma.default: _lgamma,
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


def _lgamma(x: Any) -> Any:
    """log Γ(x) for x > 0, which ONNX lacks: Stirling's series at ``z = x + 8``, less ``log x (x + 1) ⋯ (x + 7)``.

    In float64 whatever x is, as the two nearly cancel where x is small. Right to 2e-8: a graph's numbers are float32.
    """
    op = _operations()
    wide = op.Cast(x, to=11)  # ONNX's number for double

    def number(value: float) -> Any:
        return op.CastLike(value, wide)

    z = op.Add(wide, number(STEPS_UP))
    product = wide
    for step in range(1, STEPS_UP):
        product = op.Mul(product, op.Add(wide, number(step)))
    inverse = op.Reciprocal(z)
    series = number(0.0)
    for coefficient in reversed(STIRLING):
        series = op.Add(op.Mul(series, op.Mul(inverse, inverse)), number(coefficient))
    leading = op.Sub(op.Mul(op.Sub(z, number(0.5)), op.Log(z)), z)
    whole = op.Add(op.Add(leading, number(0.5 * math.log(2 * math.pi))), op.Mul(series, inverse))
    return op.CastLike(op.Sub(whole, op.Log(product)), x)


def _operations() -> Any:
    from onnxscript import opset18

    return opset18  # the types of its stubs are those of running it on arrays, not of writing a graph
