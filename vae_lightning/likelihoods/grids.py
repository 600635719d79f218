"""Nodes and weights of sums over whole numbers and of integrals."""

import torch
from torch import Tensor

MAX_NODES = 4096
"""Most whole numbers that a sum over counts is made of."""


def trapezoid(nodes: Tensor) -> Tensor:
    """The weights of the trapezoidal rule for nodes that rise along the first dimension."""
    steps = nodes.diff(dim=0) / 2
    zero = torch.zeros_like(nodes[:1])
    return torch.cat([steps, zero]) + torch.cat([zero, steps])


def beside(value: float, nodes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes and weights with one value more, which has a probability of its own."""
    return torch.cat([torch.full_like(nodes[:1], value), nodes]), torch.cat([torch.ones_like(weights[:1]), weights])


def codes(levels: int, mean: Tensor) -> tuple[Tensor, Tensor]:
    """0, 1, ..., ``levels`` - 1, each for itself."""
    nodes = torch.arange(levels, dtype=torch.float64, device=mean.device)
    nodes = nodes.view(-1, *(1,) * mean.ndim).expand(-1, *mean.shape)
    return nodes, torch.ones_like(nodes)


def whole_numbers(low: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """The whole numbers from ``low`` (...) to ``low + width``: every one where these are few.

    Else ever fewer of them, as mass gets smoother the farther it is from its lower end, and each stands for its
    neighbours.
    """
    last = min(int(width.max()), MAX_NODES - 2)
    steps = torch.arange(last + 1, dtype=torch.float64, device=low.device).view(-1, *(1,) * low.ndim)
    # Distances that grow by a constant factor from 1 on: (exp(a k / K) - 1) / (exp(a / K) - 1) = width at k = K.
    growth = torch.full_like(low, 1e-9)
    far = width > 1.01 * last
    for _ in range(60):
        growth = torch.where(far, torch.log1p(width * growth.clamp_min(0.1) / last), growth)
    nodes = low + torch.where(far, torch.expm1(growth * steps / last) / torch.expm1(growth / last), steps).round()
    weights = trapezoid(nodes)
    weights[[0, -1]] += 0.5
    return nodes, weights
