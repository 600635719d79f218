"""A smooth bound for numbers that go into an exponential."""

import torch
from torch import Tensor


def smooth_bound(value: Tensor, bound: float) -> Tensor:
    """Squash ``value`` into (-bound, bound) with slope 1 at 0: ``bound * tanh(value / bound)``.

    A hard clamp would stop the gradient at the bound; this only shrinks it.

    >>> smooth_bound(torch.tensor([0.0, 1.0, 1e6]), 15.0)
    tensor([ 0.0000,  0.9985, 15.0000])
    """
    return bound * torch.tanh(value / bound)


REACHABLE = 0.95
"""The share of a bound up to which a number can be started: beyond, its gradient is nearly gone."""


def smooth_bound_inverse(value: Tensor, bound: float) -> Tensor:
    """The number that :func:`smooth_bound` maps to ``value``; values past 95 % of the bound count as 95 %.

    At the bound itself the inverse is infinite and a parameter put there would never move again.
    """
    return bound * torch.atanh((value / bound).clamp(-REACHABLE, REACHABLE))


def smooth_between(value: Tensor, low: float, high: float) -> Tensor:
    """Squash ``value`` into (low, high), low < 0 < high, with slope 1 at 0: :func:`smooth_bound` with two ends.

    >>> smooth_between(torch.tensor([-1e6, 0.0, 1e6]), -2.0, 5.0)
    tensor([-2.,  0.,  5.])
    """
    return torch.where(value < 0, smooth_bound(value, -low), smooth_bound(value, high))


def smooth_between_inverse(value: Tensor, low: float, high: float) -> Tensor:
    """The number that :func:`smooth_between` maps to ``value``, as :func:`smooth_bound_inverse`."""
    return torch.where(value < 0, smooth_bound_inverse(value, -low), smooth_bound_inverse(value, high))
