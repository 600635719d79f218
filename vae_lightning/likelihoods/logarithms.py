"""Logarithms of probabilities, written so that neither float32 nor ONNX's operators lose them."""

from torch import Tensor
from torch.nn.functional import softplus


def log_sigmoid(logit: Tensor) -> Tensor:
    """``log s(logit)``. ONNX would take the logarithm of a sigmoid, which is 0 from a logit of -88 on.

    >>> log_sigmoid(Tensor([-100.0, 0.0]))
    tensor([-100.0000,   -0.6931])
    """
    return -softplus(-logit)


def log_one_minus_exp(gap: Tensor) -> Tensor:
    """``log(1 - exp(-gap))`` of positive numbers, as ``log tanh(gap / 2) + log(1 + exp(-gap))``.

    ONNX has no ``expm1``, and the exponential of a small gap is rounded to a number near 1.

    >>> log_one_minus_exp(Tensor([1e-6, 1000.0]))
    tensor([-13.8155,   0.0000])
    """
    return ((gap / 2).tanh().log() + softplus(-gap)).clamp_max(0)
