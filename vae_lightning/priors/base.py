"""The protocol of p(z)."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.family import Family
from vae_lightning.posteriors.base import Posterior


class Prior(Family, nn.Module, ABC):
    """p(z) over L latent dimensions; nats.

    Args:
        latent_dim: latent dimensions L.

    Raises:
        ConfigError: when ``latent_dim`` is below 1.
    """

    #: Whether its KL is exact to every posterior that knows the like in closed form.
    kl_is_exact: bool = False

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        check_parameter(type(self).__name__, "latent_dim", latent_dim >= 1, "at least 1", latent_dim)
        self.latent_dim = latent_dim

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) of points ``z`` (..., L) -> (...)."""

    @abstractmethod
    def sample(self, num_rows: int, temperature: float = 1.0) -> Tensor:
        """Points (num_rows, L) from torch's global random stream, on the module's device.

        Args:
            num_rows: how many.
            temperature: every standard deviation is multiplied by it.
        """

    def kl(self, q: Posterior, z: Tensor) -> Tensor:
        """KL(q(z|x) ‖ p(z)) by Monte Carlo: the mean of log q(z|x) - log p(z) over draws ``z`` (S, B, L) from q.

        An unbiased estimate, which may be negative for a row.

        Returns:
            Shape (B, 1): it does not split into latent dimensions.
        """
        return (q.log_prob(z) - self.log_prob(z)).mean(0)[:, None]
