"""Hurdle likelihood: one value that many rows share, and a Gaussian for all others."""

import math

import torch
from torch import Tensor
from torch.distributions import Normal

from vae_lightning.likelihoods.base import Likelihood, Predictive
from vae_lightning.likelihoods.bounds import smooth_bound, smooth_bound_inverse
from vae_lightning.likelihoods.logarithms import log_sigmoid
from vae_lightning.likelihoods.moments import RowBatches, column_sums
from vae_lightning.likelihoods.scale import Scale
from vae_lightning.likelihoods.support import HURDLE, SHARED

MOST_LOGIT = 20.0


class Hurdle(Likelihood):
    """``log p(x|raw) = log π`` of the shared value, ``log(1 - π) + log N(x; m, σ²)`` of any other.

    The shared value has a probability, the others have densities: of durations many are 0 and no other two are alike.
    In model units it is `SHARED`, where the scaling ``hurdle`` puts it. Two raw numbers a column: the logit of π, and
    m. σ is learned, one for each column.

    Args:
        num_columns: number of columns C.
        min_scale: floor under σ, in model units.

    Raises:
        ConfigError: when ``min_scale`` is not between 0 and 1.

    Source:
        Cragg 1971 (two-part models).
    """

    CHOOSABLE = False  # it needs the scaling of its name
    support = HURDLE

    def __init__(self, num_columns: int, min_scale: float = 1e-5) -> None:
        super().__init__(num_columns)
        self.scale = Scale(num_columns, "per_column", 1.0, min_scale, 1.0, 2, "Hurdle", "variance", "scale")
        self.raw_size = 2 * num_columns

    def forward(self, raw: Tensor) -> "HurdlePredictive":
        logit, location = raw.chunk(2, -1)
        return HurdlePredictive(smooth_bound(logit, MOST_LOGIT), *self.scale.split(location))

    def max_log_prob(self) -> Tensor:
        density = -0.5 * math.log(2 * math.pi) - self.scale.least.log()
        return density.clamp_min(0.0).expand(self.num_columns)

    def start_from(
        self,
        rows: RowBatches,
        residual: Tensor | None = None,  # noqa: ARG002 - it has no location that holds for all rows
        held: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        logit, mean, variance = self._fit(rows)
        location = self.scale.start(mean, variance, torch.zeros_like(variance))
        return torch.cat([smooth_bound_inverse(logit, MOST_LOGIT), location]).float()

    def independent_columns(self, rows: RowBatches) -> "HurdlePredictive":
        logit, mean, variance = self._fit(rows)
        scale = self.scale.tie(variance, torch.zeros_like(variance))
        return HurdlePredictive(logit.float(), mean.float(), scale.float())

    def at_floor(self, p: Predictive) -> Tensor:
        assert isinstance(p, HurdlePredictive)
        return self.scale.share_at_floor(p.scale)

    def _fit(self, rows: RowBatches) -> tuple[Tensor, Tensor, Tensor]:
        """Logit of the share of the shared value, mean and variance of the others, (C,) each, float64.

        Half a row is added to either side: no share is 0 or 1.
        """
        others, cells = column_sums(rows, lambda x: (x != SHARED).double())
        total, _ = column_sums(rows, lambda x: torch.where(x == SHARED, 0.0, x))
        mean = total / others.clamp_min(1)
        square, _ = column_sums(rows, lambda x: torch.where(x == SHARED, 0.0, (x - mean).square()))
        logit = ((cells - others + 0.5) / (others + 0.5)).log()
        return logit.clamp(-MOST_LOGIT / 2, MOST_LOGIT / 2), mean, square / others.clamp_min(1)


class HurdlePredictive(Predictive):
    """A shared value with some probability, else a normal.

    Args:
        logit: of the probability of the shared value, shape (..., C).
        location: mean of the other values, same shape.
        scale: their standard deviation, broadcastable to it.
    """

    def __init__(self, logit: Tensor, location: Tensor, scale: Tensor) -> None:
        self.logit, self.location, self.scale = logit, location, scale

    def log_prob(self, x: Tensor) -> Tensor:
        density = Normal(self.location, self.scale, validate_args=False).log_prob(x)
        return torch.where(x == SHARED, log_sigmoid(self.logit), log_sigmoid(-self.logit) + density)

    def sample(self) -> Tensor:
        with torch.no_grad():
            drawn = torch.normal(self.location, self.scale.expand_as(self.location))
            return torch.where(torch.rand_like(drawn) < self.logit.sigmoid(), SHARED, drawn)

    @property
    def mean(self) -> Tensor:
        share = self.logit.sigmoid()
        return share * SHARED + (1 - share) * self.location

    @property
    def stddev(self) -> Tensor:
        share = self.logit.sigmoid()
        return ((1 - share) * (self.scale.square() + share * (self.location - SHARED).square())).sqrt()

    @property
    def point(self) -> Tensor:
        """The shared value where it is likelier than all others together, else their mean."""
        return torch.where(self.logit > 0, SHARED, self.location)
