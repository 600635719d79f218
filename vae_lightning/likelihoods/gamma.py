"""Gamma likelihood: positive numbers whose spread grows with their mean."""

import math

import torch
from torch import Tensor
from torch.distributions import Gamma as GammaDistribution

from vae_lightning.likelihoods.base import Likelihood, Predictive
from vae_lightning.likelihoods.bounds import smooth_bound, smooth_bound_inverse
from vae_lightning.likelihoods.moments import RowBatches, column_means
from vae_lightning.likelihoods.shape import Shape, ShapeKind
from vae_lightning.likelihoods.support import POSITIVE, TINY

MAX_LOG_MEAN, MIN_SHAPE, MAX_SHAPE = 20.0, 0.25, 1e6


class Gamma(Likelihood):
    """``log p(x|raw) = a log(a / μ) - log Γ(a) + (a - 1) log x - a x / μ`` with log μ the raw output.

    μ is the mean and ``μ / √a`` the standard deviation; a = 1 is the exponential distribution, a great a nearly a
    normal. log μ is bounded smoothly to ± 20. A density may exceed 1, and for a < 1 it grows without limit towards 0:
    how negative a loss can be is limited by the least number of the support, 1.2e-38 (:meth:`max_log_prob`), and by
    the greatest a (:meth:`entropy_floor`, cell by cell).

    Args:
        num_columns: number of columns C.
        shape: where a comes from, between 0.25 and 10⁶. ``shared``: one learned number. ``per_column``: one for each
            column. ``predicted``: emitted by the decoder for each entry (two raw numbers a column).

    Raises:
        ConfigError: for an unknown ``shape``.
    """

    support = POSITIVE

    def __init__(self, num_columns: int, shape: ShapeKind = "per_column") -> None:
        super().__init__(num_columns)
        self.shape = Shape(num_columns, shape, MIN_SHAPE, MAX_SHAPE, "Gamma", "shape")
        self.raw_size = num_columns + self.shape.raw_size

    def forward(self, raw: Tensor) -> Predictive:
        raw_mean, shape = self.shape.split(raw)
        return GammaPredictive(smooth_bound(raw_mean, MAX_LOG_MEAN), shape)

    def max_log_prob(self) -> Tensor:
        # The mean is least, and a at one of its ends: the least a at the least x, or the greatest at its mode.
        least, greatest = (torch.tensor(shape, dtype=torch.float64) for shape in (MIN_SHAPE, MAX_SHAPE))
        log_mean = torch.tensor(-MAX_LOG_MEAN, dtype=torch.float64)
        mode = log_mean.exp() * (greatest - 1) / greatest
        at_ends = [_log_prob(torch.tensor(TINY).double(), log_mean, least), _log_prob(mode, log_mean, greatest)]
        return torch.stack(at_ends).max().float().expand(self.num_columns)

    def start_from(  # a positive number has no location that a linear model of z could be put on
        self,
        rows: RowBatches,
        residual: Tensor | None = None,  # noqa: ARG002
        held: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        log_mean, shape = self._fit(rows)
        return torch.cat([smooth_bound_inverse(log_mean, MAX_LOG_MEAN).float(), self.shape.start(shape)])

    def independent_columns(self, rows: RowBatches) -> Predictive:
        log_mean, shape = self._fit(rows)
        return GammaPredictive(log_mean.float(), shape.float())

    def entropy_floor(self, x: Tensor) -> Tensor:
        # At the greatest a and μ = x, whatever x is.
        most = MAX_SHAPE * math.log(MAX_SHAPE) - MAX_SHAPE - math.lgamma(MAX_SHAPE)
        return torch.maximum(x.log() - most, super().entropy_floor(x))

    def at_floor(self, p: Predictive) -> Tensor:
        assert isinstance(p, GammaPredictive)
        return self.shape.share_near(p.shape, self.shape.high)

    def _fit(self, rows: RowBatches) -> tuple[Tensor, Tensor]:
        """log μ and a of each column, both (C,), float64: the mean is that of the rows whatever a is."""
        log_mean = column_means(rows).clamp_min(TINY).log()
        mean_log = column_means(rows, lambda x: x.clamp_min(TINY).log())

        def log_prob(shape: Tensor) -> Tensor:
            return shape * (shape.log() - log_mean - 1) - torch.lgamma(shape) + (shape - 1) * mean_log

        return log_mean, self.shape.maximise(log_prob)


class GammaPredictive(Predictive):
    """Positive numbers of mean μ and shape a.

    Args:
        log_mean: log μ, shape (..., C).
        shape: a, broadcastable to it.
    """

    def __init__(self, log_mean: Tensor, shape: Tensor) -> None:
        self.log_mean = log_mean
        self.shape = shape

    def log_prob(self, x: Tensor) -> Tensor:
        # In float64: the terms grow as a log a and nearly cancel.
        return _log_prob(x.double(), self.log_mean.double(), self.shape.double()).to(x.dtype)

    def sample(self) -> Tensor:
        with torch.no_grad():
            shape = self.shape.expand_as(self.log_mean)
            drawn = GammaDistribution(shape, torch.ones_like(shape), validate_args=False).sample()
            return (drawn * (self.log_mean.exp() / shape)).clamp_min(TINY)

    @property
    def mean(self) -> Tensor:
        return self.log_mean.exp()

    @property
    def stddev(self) -> Tensor:
        return self.log_mean.exp() / self.shape.sqrt()


def _log_prob(x: Tensor, log_mean: Tensor, shape: Tensor) -> Tensor:
    return GammaDistribution(shape, shape * (-log_mean).exp(), validate_args=False).log_prob(x)
