"""Log-normal likelihood: positive numbers whose logarithm is normal."""

import math

import torch
from torch import Tensor
from torch.distributions import Normal

from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.base import Likelihood, Predictive
from vae_lightning.likelihoods.bounds import smooth_bound, smooth_bound_inverse
from vae_lightning.likelihoods.moments import RowBatches, column_means
from vae_lightning.likelihoods.shape import Shape, ShapeKind
from vae_lightning.likelihoods.support import POSITIVE, TINY

MAX_LOG, MAX_SCALE = 40.0, 4.0


class LogNormal(Likelihood):
    """``log p(x|raw) = -(log x - m)² / 2σ² - log σ - ½ log 2π - log x`` with m = E[log x] the raw output.

    m is bounded smoothly to ± 40, so that no number overflows. A density may exceed 1: that of a tiny number is great,
    as it is measured in the number's own units. No column gives more than ``40 - log(min_scale √2π)`` nats, and no
    cell more than ``-log(x min_scale √2π)`` (:meth:`entropy_floor`).

    Args:
        num_columns: number of columns C.
        scale: where σ comes from, between ``min_scale`` and 4. ``shared``: one learned number. ``per_column``: one for
            each column. ``predicted``: emitted by the decoder for each entry (two raw numbers a column).
        min_scale: floor under σ, a relative error: 0.01 is one percent of x.

    Raises:
        ConfigError: for an unknown ``scale``, or when ``min_scale`` is not between 0 and 1.
    """

    support = POSITIVE

    def __init__(self, num_columns: int, scale: ShapeKind = "per_column", min_scale: float = 1e-4) -> None:
        super().__init__(num_columns)
        check_parameter("LogNormal", "min_scale", 0 < min_scale < 1, "between 0 and 1", min_scale)
        self.min_scale = min_scale
        self.scale = Shape(num_columns, scale, min_scale, MAX_SCALE, "LogNormal", "scale")
        self.raw_size = num_columns + self.scale.raw_size

    def forward(self, raw: Tensor) -> Predictive:
        raw_mean, scale = self.scale.split(raw)
        return LogNormalPredictive(smooth_bound(raw_mean, MAX_LOG), scale)

    def max_log_prob(self) -> Tensor:
        # At x = exp(m - σ²), where m is least: -log σ - m + σ²/2 is convex in log σ, so greatest at one of its ends.
        best = max(-math.log(s) + s**2 / 2 for s in (self.min_scale, MAX_SCALE))
        return torch.full((self.num_columns,), best + MAX_LOG - 0.5 * math.log(2 * math.pi))

    def start_from(  # its location is that of log x, not of x
        self,
        rows: RowBatches,
        residual: Tensor | None = None,  # noqa: ARG002
        held: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        mean, scale = self._fit(rows)
        return torch.cat([smooth_bound_inverse(mean, MAX_LOG).float(), self.scale.start(scale)])

    def independent_columns(self, rows: RowBatches) -> Predictive:
        mean, scale = self._fit(rows)
        return LogNormalPredictive(mean.float(), scale.float())

    def entropy_floor(self, x: Tensor) -> Tensor:
        least = x.log() + math.log(self.min_scale) + 0.5 * math.log(2 * math.pi)
        return torch.maximum(least, super().entropy_floor(x))

    def at_floor(self, p: Predictive) -> Tensor:
        assert isinstance(p, LogNormalPredictive)
        return self.scale.share_near(p.scale, self.scale.low)

    def _fit(self, rows: RowBatches) -> tuple[Tensor, Tensor]:
        """m and σ of each column, both (C,), float64."""

        def log(x: Tensor) -> Tensor:
            return x.clamp_min(TINY).log()

        mean = column_means(rows, log)
        square = column_means(rows, lambda x: (log(x) - mean).square())
        square = square.mean().expand_as(square) if self.scale.is_shared else square
        return mean, square.sqrt().clamp(self.min_scale, MAX_SCALE)


class LogNormalPredictive(Predictive):
    """Positive numbers whose logarithm is normal.

    Args:
        mean_of_log: m, shape (..., C).
        scale: σ, broadcastable to it.
    """

    def __init__(self, mean_of_log: Tensor, scale: Tensor) -> None:
        self.mean_of_log = mean_of_log
        self.scale = scale

    def log_prob(self, x: Tensor) -> Tensor:
        # In float64: of a great number single precision knows the logarithm less well than the number.
        log = x.double().log()
        normal = Normal(self.mean_of_log.double(), self.scale.double(), validate_args=False)
        return (normal.log_prob(log) - log).to(x.dtype)

    def sample(self) -> Tensor:
        return Normal(self.mean_of_log, self.scale, validate_args=False).sample().exp()

    @property
    def mean(self) -> Tensor:
        return (self.mean_of_log + self.scale.square() / 2).exp()

    @property
    def stddev(self) -> Tensor:
        return self.mean * torch.expm1(self.scale.square()).sqrt()
