"""Continuous Bernoulli likelihood: a proper density for values in [0, 1]."""

import math

import torch
from torch import Tensor
from torch.distributions import ContinuousBernoulli as ContinuousBernoulliDistribution

from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.base import ColumnDistribution, Likelihood, Predictive
from vae_lightning.likelihoods.bounds import smooth_bound
from vae_lightning.likelihoods.moments import RowBatches, column_means
from vae_lightning.likelihoods.support import UNIT


class ContinuousBernoulli(Likelihood):
    """``log p(x|λ) = x log λ + (1 - x) log(1 - λ) + log C(λ)``, ``C(λ) = 2 atanh(1 - 2λ) / (1 - 2λ)``.

    C makes the density integrate to one over [0, 1] (Loaiza-Ganem & Cunningham 2019, eq. 6). The raw output is the
    logit of λ, smoothly bounded by ``max_logit``: at the ends the density grows without limit with the logit, so
    without a bound a column of exact zeros could push the loss to minus infinity.

    Args:
        num_columns: number of columns C.
        max_logit: bound b of the logit. The log-density never exceeds ``log(b / (1 - exp(-b)))`` per column.

    Raises:
        ConfigError: when ``max_logit`` is not between 0 and 12 (above, float32 no longer resolves 1 - λ).
    """

    support = UNIT

    def __init__(self, num_columns: int, max_logit: float = 10.0) -> None:
        super().__init__(num_columns)
        legal = 0 < max_logit <= 12
        check_parameter("ContinuousBernoulli", "max_logit", legal, "above 0 and at most 12", max_logit)
        self.max_logit = max_logit

    def forward(self, raw: Tensor) -> Predictive:
        return ContinuousBernoulliPredictive(_distribution(smooth_bound(raw, self.max_logit)))

    def max_log_prob(self) -> Tensor:
        # At x = 1: C(λ) λ = l / tanh(l/2) * s(l) = l / (1 - exp(-l)), increasing in the logit l.
        return torch.full((self.num_columns,), math.log(self.max_logit / -math.expm1(-self.max_logit)))

    def independent_columns(self, rows: RowBatches) -> Predictive:
        # The family is exponential, so maximum likelihood matches the mean, which grows with the logit: bisect.
        target = column_means(rows)
        low = torch.full_like(target, -self.max_logit)
        high = -low
        for _ in range(50):
            middle = (low + high) / 2
            too_low = _distribution(middle).mean < target
            low, high = torch.where(too_low, middle, low), torch.where(too_low, high, middle)
        return ContinuousBernoulliPredictive(_distribution(((low + high) / 2).float()))


class ContinuousBernoulliPredictive(ColumnDistribution):
    """Values in [0, 1] of some logit, shape (..., C)."""

    distribution: ContinuousBernoulliDistribution

    def sample(self) -> Tensor:
        # torch draws from the uniform density within the limits below: the inverse distribution function is
        # log(1 + u (exp(l) - 1)) / l, and u itself only where the logit l is 0.
        with torch.no_grad():
            logits = self.distribution.logits
            u = torch.rand_like(logits)
            drawn = torch.log1p(u * torch.expm1(logits)) / logits
            return torch.where(logits == 0, u, drawn).clamp(0, 1)


def _distribution(logits: Tensor) -> ContinuousBernoulliDistribution:
    # torch switches to a series only within 0.001 of λ = ½, where float32 has long lost C(λ): the mean is then wrong in
    # the third digit and the variance below 0, at the very point where training starts.
    return ContinuousBernoulliDistribution(logits=logits, lims=(0.45, 0.55), validate_args=False)
