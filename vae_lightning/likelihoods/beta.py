"""Beta likelihood: shares, such as rates and fractions, that are neither 0 nor 1."""

import math

import torch
from torch import Tensor
from torch.distributions import Beta as BetaDistribution

from vae_lightning.likelihoods.base import Likelihood, Predictive
from vae_lightning.likelihoods.bounds import REACHABLE, smooth_between, smooth_between_inverse
from vae_lightning.likelihoods.moments import RowBatches, column_means
from vae_lightning.likelihoods.shape import Shape, ShapeKind, maximise
from vae_lightning.likelihoods.support import SHARE, TINY, greatest_below_one

LEAST, MIN_LOGIT, MAX_LOGIT, MIN_CONCENTRATION, MAX_CONCENTRATION = 0.5, -30.0, 14.0, 1e-2, 1e6


class Beta(Likelihood):
    """``log p(x|raw) = (a - 1) log x + (b - 1) log(1 - x) - log B(a, b)``, ``a = ½ + mc``, ``b = ½ + (1 - m)c``.

    log(m / (1 - m)) is the raw output, bounded smoothly between -30 and 14, and c the concentration: the mean is
    a / (a + b), the variance ``mean (1 - mean) / (a + b + 1)``. Less than ½ of a or b, or an m nearer to 1, would put
    mass where single precision no longer tells x from 1. Cells of exactly 0 or 1 are refused: their density is
    infinite, or 0.

    A density may exceed 1, and for a < 1 it grows without limit towards 0: how negative a loss can be is limited by
    the least number of the support, 1.2e-38 (:meth:`max_log_prob`), and by the greatest c (:meth:`entropy_floor`).

    Args:
        num_columns: number of columns C.
        concentration: where c comes from, between 0.01 and 10⁶. ``shared``: one learned number. ``per_column``: one
            for each column. ``predicted``: emitted by the decoder for each entry (two raw numbers a column).

    Raises:
        ConfigError: for an unknown ``concentration``.

    Source:
        Regression with a mean and a concentration: Ferrari & Cribari-Neto 2004.
    """

    support = SHARE

    def __init__(self, num_columns: int, concentration: ShapeKind = "per_column") -> None:
        super().__init__(num_columns)
        ends = MIN_CONCENTRATION, MAX_CONCENTRATION
        self.concentration = Shape(num_columns, concentration, *ends, "Beta", "concentration")
        self.raw_size = num_columns + self.concentration.raw_size

    def forward(self, raw: Tensor) -> Predictive:
        raw_mean, concentration = self.concentration.split(raw)
        return BetaPredictive(*_parameters(smooth_between(raw_mean, MIN_LOGIT, MAX_LOGIT), concentration))

    def max_log_prob(self) -> Tensor:
        # At the least x and m, and the greatest c; rounded up, as it is a bound.
        least, logit, concentration = torch.tensor([TINY, MIN_LOGIT, MAX_CONCENTRATION], dtype=torch.float64)
        best = _log_prob(least, *_parameters(logit, concentration)).float()
        return torch.nextafter(best, torch.tensor(torch.inf)).expand(self.num_columns)

    def start_from(  # the mean of a share is no linear function of z
        self,
        rows: RowBatches,
        residual: Tensor | None = None,  # noqa: ARG002
        held: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        logit, concentration = self._fit(rows)
        raw = smooth_between_inverse(logit, MIN_LOGIT, MAX_LOGIT).float()
        return torch.cat([raw, self.concentration.start(concentration)])

    def independent_columns(self, rows: RowBatches) -> Predictive:
        a, b = _parameters(*self._fit(rows))
        return BetaPredictive(a.float(), b.float())

    def entropy_floor(self, x: Tensor) -> Tensor:
        # With n = a + b, and y the nearer of x and 1 - x, Stirling's formula bounds the density of log(x / (1 - x)):
        # sqrt(a b / 2πn) exp(1 / 12 - n KL(a/n | x)), hence, as log a ≤ log d + a/d - 1 for any d, here ny + ½, by
        # the moments of a binomial. It grows with n, and is at most half a nat too great.
        n = 2 * LEAST + MAX_CONCENTRATION
        y = torch.minimum(x, 1 - x)
        most = 0.5 * ((n * y + 0.5) / (2 * math.pi)).log() - 0.5 + n * y * torch.expm1(1 / (2 * n * y + 1)) + 1 / 12
        return torch.maximum(x.log() + torch.log1p(-x) - most, super().entropy_floor(x))

    def at_floor(self, p: Predictive) -> Tensor:
        assert isinstance(p, BetaPredictive)
        return self.concentration.share_near(p.a + p.b - 2 * LEAST, self.concentration.high)

    def _fit(self, rows: RowBatches) -> tuple[Tensor, Tensor]:
        """The logit of m and c of each column, both (C,), float64: where the likelihood is greatest.

        It is concave in a and b together, so that the best m of each c is found first.
        """

        def inside(x: Tensor) -> Tensor:
            return x.clamp(TINY, greatest_below_one(x.dtype))

        mean_log = column_means(rows, lambda x: inside(x).log())
        mean_log_rest = column_means(rows, lambda x: torch.log1p(-inside(x)))
        low, high = (torch.full_like(mean_log, REACHABLE * end) for end in (MIN_LOGIT, MAX_LOGIT))

        def log_prob(logit: Tensor, concentration: Tensor) -> Tensor:
            a, b = _parameters(logit, concentration)
            return (a - 1) * mean_log + (b - 1) * mean_log_rest - _log_beta(a, b)

        def best_logit(concentration: Tensor) -> Tensor:
            return maximise(lambda logit: log_prob(logit, concentration), low, high, steps=40)

        concentration = self.concentration.maximise(lambda c: log_prob(best_logit(c), c))
        return best_logit(concentration), concentration


class BetaPredictive(Predictive):
    """Shares, a and b the parameters of their beta distributions, both (..., C)."""

    def __init__(self, a: Tensor, b: Tensor) -> None:
        self.a = a
        self.b = b

    def log_prob(self, x: Tensor) -> Tensor:
        # In float64: the terms grow as a log a and nearly cancel. What single precision rounds to an end is inside.
        inside = x.clamp(TINY, greatest_below_one(x.dtype))
        return _log_prob(inside.double(), self.a.double(), self.b.double()).to(x.dtype)

    def sample(self) -> Tensor:
        with torch.no_grad():
            drawn = BetaDistribution(self.a.double(), self.b.double(), validate_args=False).sample()
            return drawn.to(self.a.dtype).clamp(TINY, greatest_below_one(self.a.dtype))

    @property
    def mean(self) -> Tensor:
        return self.a / (self.a + self.b)

    @property
    def stddev(self) -> Tensor:
        total = self.a + self.b
        return (self.a * self.b / (total + 1)).sqrt() / total


def _parameters(logit: Tensor, concentration: Tensor) -> tuple[Tensor, Tensor]:
    """a and b of the logit of m and of c."""
    return LEAST + concentration * torch.sigmoid(logit), LEAST + concentration * torch.sigmoid(-logit)


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


def _log_prob(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return (a - 1) * x.log() + (b - 1) * torch.log1p(-x) - _log_beta(a, b)
