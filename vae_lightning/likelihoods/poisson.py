"""Poisson likelihood: counts whose variance equals their mean."""

import torch
from torch import Tensor
from torch.distributions import Poisson as PoissonDistribution

from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.base import ColumnDistribution, Likelihood, Predictive
from vae_lightning.likelihoods.bounds import smooth_bound, smooth_bound_inverse
from vae_lightning.likelihoods.moments import RowBatches, column_sums
from vae_lightning.likelihoods.support import COUNT


class Poisson(Likelihood):
    """Independent counts: ``log p(x|raw) = x log r - r - log x!`` with log-rate log r the raw output.

    Counts have probabilities: the loss is never below 0.

    Args:
        num_columns: number of columns C.
        max_log_rate: the log-rate is bounded smoothly to ± this.

    Raises:
        ConfigError: when ``max_log_rate`` is not between 0 and 40 (above, float32 overflows before the bound holds).
    """

    support = COUNT

    def __init__(self, num_columns: int, max_log_rate: float = 20.0) -> None:
        super().__init__(num_columns)
        legal = 0 < max_log_rate <= 40
        check_parameter("Poisson", "max_log_rate", legal, "above 0 and at most 40", max_log_rate)
        self.max_log_rate = max_log_rate

    def forward(self, raw: Tensor) -> Predictive:
        return PoissonPredictive(torch.exp(smooth_bound(raw, self.max_log_rate)))

    def max_log_prob(self) -> Tensor:
        return torch.zeros(self.num_columns)

    def start_from(  # a count has no location that a linear model of z could be put on
        self,
        rows: RowBatches,
        residual: Tensor | None = None,  # noqa: ARG002
        held: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        return smooth_bound_inverse(_rates(rows).log(), self.max_log_rate).float()

    def independent_columns(self, rows: RowBatches) -> Predictive:
        return PoissonPredictive(_rates(rows).float())


class PoissonPredictive(ColumnDistribution):
    """Counts of some rate, shape (..., C)."""

    def __init__(self, rate: Tensor) -> None:
        super().__init__(PoissonDistribution(rate, validate_args=False))

    def log_prob(self, x: Tensor) -> Tensor:
        # In float64: the terms grow as x log x and nearly cancel. At a count of a million float32 errs by a nat.
        wide = PoissonDistribution(self.distribution.mean.double(), validate_args=False)
        return wide.log_prob(x.double()).to(x.dtype)

    def expose(self, log_exposure: Tensor) -> Predictive:
        return PoissonPredictive(self.distribution.mean * log_exposure.exp())


def _rates(rows: RowBatches) -> Tensor:
    """The mean of each column, half a count added (the mean under Jeffreys' prior): no rate is ever 0."""
    total, cells = column_sums(rows)
    return (total + 0.5) / cells.clamp_min(1)
