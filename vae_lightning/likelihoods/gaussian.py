"""Gaussian likelihood with five ways to set its variance, each with a stated floor."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal, constraints

from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.base import Likelihood, smooth_bound, smooth_bound_inverse

Variance = Literal["fixed", "shared", "per_column", "predicted", "optimal"]


class Gaussian(Likelihood):
    """Independent normals: ``log p(x|raw) = -(x - m)² / 2σ² - log σ - ½ log 2π`` with mean m the raw output.

    A density may exceed 1, so a negative loss can be honest. How negative is limited by the floor under σ: no column
    gives more than ``-½ log(2π min_scale²)`` nats (5.07 at the default), and without a floor the likelihood is
    unbounded (Mattei & Frellsen 2018, theorem 1).

    Args:
        num_columns: number of columns C.
        variance: where σ² comes from.
            ``fixed``: given by ``scale``.
            ``shared``: one learned number.
            ``per_column``: one learned number for each column.
            ``predicted``: emitted by the decoder for each entry (two raw numbers a column).
            ``optimal``: the analytic maximiser, σ² = mean squared error over the training rows
            (Rybkin et al. 2021, eq. 5), tracked as a running mean over batches.
        scale: σ where it is fixed, in model units.
        min_scale: floor under σ, in model units (1 is a column's standard deviation after ``standardize``). The
            learned log-variances are bounded smoothly to ±|2 log min_scale|.
        momentum: weight of the newest batch in the running mean of ``optimal``.

    Raises:
        ConfigError: for an unknown ``variance``, a ``scale`` or ``min_scale`` that is not positive, a ``min_scale`` of
            1 or more, or a ``momentum`` outside (0, 1].
    """

    support = constraints.real
    support_words = "real numbers"
    discrete = False
    fitted_scale: Tensor

    def __init__(
        self,
        num_columns: int,
        variance: Variance = "per_column",
        scale: float = 1.0,
        min_scale: float = 0.0025,
        momentum: float = 0.1,
    ) -> None:
        super().__init__(num_columns)
        check_parameter(
            "Gaussian", "variance", variance in get_args(Variance), f"one of {', '.join(get_args(Variance))}", variance
        )
        check_parameter("Gaussian", "scale", 0 < scale < math.inf, "positive and finite", scale)
        check_parameter("Gaussian", "min_scale", 0 < min_scale < 1, "between 0 and 1", min_scale)
        check_parameter("Gaussian", "momentum", 0 < momentum <= 1, "above 0 and at most 1", momentum)
        self.variance: Variance = variance
        self.min_scale = scale if variance == "fixed" else min_scale
        self.momentum = momentum
        self.bound = -2 * math.log(min_scale)
        self.raw_size = 2 if variance == "predicted" else 1
        size = {"shared": 1, "per_column": num_columns}.get(variance)
        self.raw_log_var = nn.Parameter(torch.zeros(size)) if size else None
        # What is not learned still belongs to the checkpoint.
        given = {"fixed": scale, "optimal": 1.0}.get(variance)
        self.register_buffer("fitted_scale", None if given is None else torch.tensor(given))

    def forward(self, raw: Tensor) -> Normal:
        if self.variance == "predicted":
            mean, raw_log_var = raw.chunk(2, dim=-1)
            return Normal(mean, torch.exp(0.5 * smooth_bound(raw_log_var, self.bound)), validate_args=False)
        return Normal(raw, self._scale(), validate_args=False)

    def _scale(self) -> Tensor:
        if self.raw_log_var is not None:
            return torch.exp(0.5 * smooth_bound(self.raw_log_var, self.bound))
        return self.fitted_scale

    def max_log_prob(self) -> Tensor:
        return torch.full((self.num_columns,), -0.5 * math.log(2 * math.pi) - math.log(self.min_scale))

    def start_from(self, x: Tensor) -> Tensor:
        mean, scale = self._moments(x)
        raw_log_var = smooth_bound_inverse(2 * scale.log(), self.bound)
        if self.raw_log_var is not None:
            self.raw_log_var.data.copy_(raw_log_var)
        elif self.variance == "optimal":
            self.fitted_scale.copy_(scale)
        return torch.cat([mean, raw_log_var]) if self.variance == "predicted" else mean

    def marginal(self, x: Tensor) -> Normal:
        return Normal(*self._moments(x), validate_args=False)

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maximum-likelihood mean and σ of independent columns, σ tied across columns where the family ties it."""
        mean = x.double().mean(0)
        squared_error = (x - mean).square().mean(0)
        if self.variance == "fixed":
            return mean.to(x.dtype), self.fitted_scale
        if self.variance in ("shared", "optimal"):
            squared_error = squared_error.mean()
        return mean.to(x.dtype), squared_error.sqrt().clamp(self.min_scale, 1 / self.min_scale).to(x.dtype)

    def at_floor(self, p: Distribution) -> Tensor:
        if self.variance == "fixed":
            return super().at_floor(p)
        # The smooth bound approaches the floor without touching it: within half as much again counts as there.
        return (p.stddev < 1.5 * self.min_scale).to(p.mean.dtype).mean()

    @torch.no_grad()
    def observe(self, p: Distribution, x: Tensor) -> None:
        if self.variance == "optimal":
            variance = torch.lerp(self.fitted_scale.square(), (x - p.mean).square().mean(), self.momentum)
            self.fitted_scale.copy_(variance.sqrt().clamp(self.min_scale, 1 / self.min_scale))
