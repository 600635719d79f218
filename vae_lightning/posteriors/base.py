"""The protocol of q(z|x): the encoder's raw numbers read as a distribution over z."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.family import Family


class Posterior(ABC):
    """q(z|x) of B rows over L latent dimensions; nats."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """Shape (B, L)."""

    @property
    @abstractmethod
    def stddev(self) -> Tensor:
        """Shape (B, L)."""

    @abstractmethod
    def rsample(self, noise: Tensor) -> Tensor:
        """Latent points as a differentiable function of standard normal ``noise`` (S, B, N) -> (S, B, L)."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z|x) of points ``z`` (S, B, L) -> (S, B)."""

    def kl_to_standard_normal(self) -> Tensor | None:
        """KL(q(z|x) ‖ N(0, I)) per latent dimension, (B, L), where it has a closed form; else None."""
        return None

    def health(self) -> dict[str, Tensor]:
        """Shares, one for each row, (B,), of what sits at a bound and should not; by name."""
        return {}


class PosteriorFamily(Family, nn.Module, ABC):
    """Raw numbers → :class:`Posterior`.

    Args:
        latent_dim: latent dimensions L.

    Attributes:
        raw_size: raw numbers that the encoder emits for a row.
        noise_size: standard normal numbers N that a draw of z takes.

    Raises:
        ConfigError: when ``latent_dim`` is below 1.
    """

    raw_size: int
    noise_size: int
    #: Whether its posteriors know their KL to N(0, I) in closed form.
    kl_is_exact: bool = False

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        check_parameter(type(self).__name__, "latent_dim", latent_dim >= 1, "at least 1", latent_dim)
        self.latent_dim = latent_dim
        self.noise_size = latent_dim

    @abstractmethod
    def forward(self, raw: Tensor) -> Posterior:
        """The posterior of B rows from raw numbers (B, raw_size)."""

    @abstractmethod
    def raw_of(self, stddev: Tensor) -> Tensor:
        """The raw numbers of the posterior with mean 0 and these standard deviations (L,), shape (raw_size,), float64.

        The first L raw numbers are means: adding to them moves the posterior.
        """

    def initial_gain(self) -> Tensor:
        """How much of its usual size each row of the encoder's last layer starts with, shape (raw_size,).

        Chosen so that the KL starts near 0; not all zero, or a linear model would start on a saddle.
        """
        return torch.full((self.raw_size,), 0.1)
