"""The reparameterised Gaussian posterior with independent dimensions."""

import math

import torch
from torch import Tensor
from torch.distributions import Normal

from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.bounds import smooth_bound, smooth_bound_inverse
from vae_lightning.posteriors.base import Posterior, PosteriorFamily

BOUND_SHARE = 0.95
"""A log-variance beyond this share of its bound counts as being at it."""


class DiagonalGaussian(Posterior):
    """``N(mean, exp(log_var))``, one normal for each latent dimension.

    Args:
        mean: shape (B, L).
        log_var: shape (B, L).
        log_var_bound: what ``log_var`` stays below in size.
    """

    __slots__ = ("_mean", "_stddev", "log_var", "log_var_bound")

    def __init__(self, mean: Tensor, log_var: Tensor, log_var_bound: float) -> None:
        self._mean = mean
        self._stddev = torch.exp(0.5 * log_var)
        self.log_var = log_var
        self.log_var_bound = log_var_bound

    @property
    def mean(self) -> Tensor:
        return self._mean

    @property
    def stddev(self) -> Tensor:
        return self._stddev

    def rsample(self, noise: Tensor) -> Tensor:
        """``z = mean + stddev * noise``."""
        return self._mean + self._stddev * noise

    def log_prob(self, z: Tensor) -> Tensor:
        return Normal(self._mean, self._stddev, validate_args=False).log_prob(z).sum(-1)

    def kl_to_standard_normal(self) -> Tensor:
        """``½ (mean² + exp(log_var) - 1 - log_var)`` (Kingma & Welling 2013, appendix B), never negative.

        ``expm1`` keeps the difference exact near its minimum at (0, 0).
        """
        return 0.5 * (self._mean.square() + (torch.expm1(self.log_var) - self.log_var))

    def health(self) -> dict[str, Tensor]:
        at_bound = (self.log_var.abs() > BOUND_SHARE * self.log_var_bound).double().mean(-1)
        return {"log_var_at_bound": at_bound}


class Gaussian(PosteriorFamily):
    """Independent normals; the raw numbers are L means and L log-variances, the latter bounded smoothly.

    Args:
        latent_dim: latent dimensions L.
        log_var_bound: the log-variance is bounded to ± this, with slope 1 at 0.

    Raises:
        ConfigError: when ``latent_dim`` is below 1, or the bound is not positive and finite.

    >>> q = Gaussian(1)(torch.tensor([[1.0, 0.0]]))
    >>> q.mean, q.stddev, q.kl_to_standard_normal()
    (tensor([[1.]]), tensor([[1.]]), tensor([[0.5000]]))
    """

    kl_is_exact = True

    def __init__(self, latent_dim: int, log_var_bound: float = 30.0) -> None:
        super().__init__(latent_dim)
        legal = 0 < log_var_bound < math.inf
        check_parameter("the Gaussian posterior", "log_var_bound", legal, "positive and finite", log_var_bound)
        self.log_var_bound = log_var_bound
        self.raw_size = 2 * latent_dim

    def forward(self, raw: Tensor) -> DiagonalGaussian:
        mean, log_var = raw.chunk(2, dim=-1)
        return DiagonalGaussian(mean, smooth_bound(log_var, self.log_var_bound), self.log_var_bound)

    def raw_of(self, stddev: Tensor) -> Tensor:
        log_var = smooth_bound_inverse(2 * stddev.double().log(), self.log_var_bound)
        return torch.cat([torch.zeros_like(log_var), log_var])

    def initial_gain(self) -> Tensor:
        return torch.tensor([0.1] * self.latent_dim + [0.0] * self.latent_dim)
