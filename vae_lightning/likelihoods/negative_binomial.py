"""Negative binomial likelihood: counts that vary more than their mean."""

import torch
from torch import Tensor
from torch.distributions import Gamma
from torch.distributions import NegativeBinomial as NegativeBinomialDistribution

from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.base import Likelihood, Predictive
from vae_lightning.likelihoods.bounds import smooth_bound, smooth_bound_inverse
from vae_lightning.likelihoods.moments import RowBatches, cell_weights, column_sums
from vae_lightning.likelihoods.shape import Shape, ShapeKind
from vae_lightning.likelihoods.support import COUNT

MIN_SIZE, MAX_SIZE = 1e-2, 1e6


class NegativeBinomial(Likelihood):
    """Independent counts of mean μ and variance ``μ + μ²/r``: gamma-distributed rates, a Poisson draw from each.

    ``log p(x|raw) = log Γ(x + r) - log Γ(r) - log x! + r log(r / (r + μ)) + x log(μ / (r + μ))`` with log μ the raw
    output. Where r is large it is a Poisson. Counts have probabilities: the loss is never below 0.

    Args:
        num_columns: number of columns C.
        dispersion: where the size r comes from, between 0.01 and 10⁶. ``shared``: one learned number. ``per_column``:
            one for each column. ``predicted``: emitted by the decoder for each entry (two raw numbers a column).
        max_log_mean: log μ is bounded smoothly to ± this.

    Raises:
        ConfigError: for an unknown ``dispersion``, or when ``max_log_mean`` is not between 0 and 30.
    """

    support = COUNT

    def __init__(self, num_columns: int, dispersion: ShapeKind = "per_column", max_log_mean: float = 20.0) -> None:
        super().__init__(num_columns)
        legal = 0 < max_log_mean <= 30
        check_parameter("NegativeBinomial", "max_log_mean", legal, "above 0 and at most 30", max_log_mean)
        self.max_log_mean = max_log_mean
        self.size = Shape(num_columns, dispersion, MIN_SIZE, MAX_SIZE, "NegativeBinomial", "dispersion")
        self.raw_size = num_columns + self.size.raw_size

    def forward(self, raw: Tensor) -> Predictive:
        raw_mean, size = self.size.split(raw)
        return NegativeBinomialPredictive(smooth_bound(raw_mean, self.max_log_mean), size)

    def max_log_prob(self) -> Tensor:
        return torch.zeros(self.num_columns)

    def start_from(  # a count has no location that a linear model of z could be put on
        self,
        rows: RowBatches,
        residual: Tensor | None = None,  # noqa: ARG002
        held: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        log_mean, size = self._fit(rows)
        return torch.cat([smooth_bound_inverse(log_mean, self.max_log_mean).float(), self.size.start(size)])

    def independent_columns(self, rows: RowBatches) -> Predictive:
        log_mean, size = self._fit(rows)
        return NegativeBinomialPredictive(log_mean.float(), size.float())

    def _fit(self, rows: RowBatches) -> tuple[Tensor, Tensor]:
        """log μ and r of each column, both (C,), float64: the mean is that of the rows whatever r is.

        As half a count is added to the sum (the mean under Jeffreys' prior), no mean is ever 0.
        """
        total, cells = column_sums(rows)
        log_mean = ((total + 0.5) / cells.clamp_min(1)).log()
        values, weights = count_values(rows, self.num_columns)

        def log_prob(size: Tensor) -> Tensor:
            return (weights * _log_prob(values, log_mean[:, None], size[:, None])).sum(1)

        return log_mean, self.size.maximise(log_prob)


class NegativeBinomialPredictive(Predictive):
    """Counts of mean μ and size r.

    Args:
        log_mean: log μ, shape (..., C).
        size: r, broadcastable to it.
    """

    def __init__(self, log_mean: Tensor, size: Tensor) -> None:
        self.log_mean = log_mean
        self.size = size

    def log_prob(self, x: Tensor) -> Tensor:
        # In float64: the terms grow as x log x and nearly cancel.
        return _log_prob(x.double(), self.log_mean.double(), self.size.double()).to(x.dtype)

    def sample(self) -> Tensor:
        with torch.no_grad():
            size = self.size.expand_as(self.log_mean)
            rate = Gamma(size, size * (-self.log_mean).exp(), validate_args=False).sample()
            return torch.poisson(rate)

    def expose(self, log_exposure: Tensor) -> Predictive:
        return NegativeBinomialPredictive(self.log_mean + log_exposure, self.size)

    @property
    def mean(self) -> Tensor:
        return self.log_mean.exp()

    @property
    def stddev(self) -> Tensor:
        mean = self.log_mean.exp()
        return (mean + mean.square() / self.size).sqrt()


def _log_prob(x: Tensor, log_mean: Tensor, size: Tensor) -> Tensor:
    return NegativeBinomialDistribution(size, logits=log_mean - size.log(), validate_args=False).log_prob(x)


EXACT, FACTOR = 512, 1.01
"""Counts below the first number are counted one by one, greater ones in ranges that grow by this factor."""


def count_values(rows: RowBatches, num_columns: int) -> tuple[Tensor, Tensor]:
    """What a column's rows hold, and how often: values and weights, both (C, K), float64; K a thousand or two.

    Great counts are taken together with those within a hundredth of them, at their mean.
    """
    step = torch.tensor(FACTOR, dtype=torch.float64).log()
    sums = torch.zeros(2, num_columns, EXACT, dtype=torch.float64)
    for batch in rows.batches():
        weights = cell_weights(batch)
        # Where nothing counts, what stands there may be anything.
        x = torch.where(weights > 0, batch.x.double(), 0.0)
        index = torch.where(x < EXACT, x, EXACT + ((x.clamp_min(1) / EXACT).log() / step).floor()).long()
        sums = torch.nn.functional.pad(sums.to(x.device), (0, max(0, int(index.max()) + 1 - sums.shape[-1])))
        sums[0].scatter_add_(1, index.T, weights.T)
        sums[1].scatter_add_(1, index.T, (weights * x).T)
    held = sums[0].any(0)
    weights, totals = sums[:, :, held]
    return totals / weights.clamp_min(torch.finfo(torch.float64).tiny), weights
