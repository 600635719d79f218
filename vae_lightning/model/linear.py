"""A linear map beside an MLP, in units of its own."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from vae_lightning.likelihoods.bounds import smooth_bound

FEATURE_BOUND = 10.0
"""Standard deviations beyond which the MLP beside a linear path no longer follows a feature."""


class LinearPath(nn.Module):
    """``unit * (weight v + correction)``: what a linear model says of v, and what an MLP adds, in natural units.

    A linear model of columns with little noise is exact to a thousandth of their spread. An optimiser whose steps are
    as large as the learning rate would throw away in one step what the linear model knows, if the MLP spoke in units
    of the spread; in units of the noise its first words are whispers everywhere.

    Args:
        in_features: size of v.
        out_features: size of the output.

    Attributes:
        weight: (out, in), starts at 0.
        unit: (out,), a buffer, starts at 1.
    """

    unit: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_features, in_features))
        self.register_buffer("unit", torch.ones(out_features))

    def forward(self, v: Tensor, correction: Tensor) -> Tensor:
        """Shapes (..., in) and (..., out) -> (..., out), in the weight's precision whatever the MLP's is."""
        if torch.is_autocast_enabled(v.device.type):
            with torch.autocast(v.device.type, enabled=False):
                return self.unit * (linear(v.to(self.weight.dtype), self.weight) + correction.to(self.weight.dtype))
        return self.unit * (linear(v, self.weight) + correction)

    @torch.no_grad()
    def start(self, weight: Tensor, unit: Tensor) -> None:
        """Let the path be ``weight v`` (out, in), with corrections in multiples of ``unit`` (out,)."""
        self.unit.copy_(unit)
        self.weight.copy_(weight / unit[:, None])


def bound_features(u: Tensor) -> Tensor:
    """What the MLP sees of features: a cell a hundred deviations away must not shout down its row's other cells."""
    return smooth_bound(u, FEATURE_BOUND)
