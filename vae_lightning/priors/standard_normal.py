"""The prior N(0, I)."""

import math

import torch
from torch import Tensor

from vae_lightning.posteriors.base import Posterior
from vae_lightning.priors.base import Prior


class StandardNormal(Prior):
    """``p(z) = N(0, I)``.

    Args:
        latent_dim: latent dimensions L.

    >>> StandardNormal(2).log_prob(torch.zeros(2))
    tensor(-1.8379)
    """

    kl_is_exact = True
    zero: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        # Knows the device and the precision that draws are wanted in.
        self.register_buffer("zero", torch.zeros(()), persistent=False)

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)

    def sample(self, num_rows: int, temperature: float = 1.0) -> Tensor:
        return temperature * torch.randn(num_rows, self.latent_dim, device=self.zero.device, dtype=self.zero.dtype)

    def kl(self, q: Posterior, z: Tensor) -> Tensor:
        """KL(q(z|x) ‖ N(0, I)): by latent dimension, (B, L), where q has a closed form, else by Monte Carlo, (B, 1)."""
        exact = q.kl_to_standard_normal()
        return super().kl(q, z) if exact is None else exact
