"""Priors p(z)."""

import math

import torch
from torch import Tensor, nn


class StandardNormal(nn.Module):
    """The prior N(0, I).

    Args:
        latent_dim: number of latent dimensions L.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) of draws ``z`` (..., L) -> (...), nats."""
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)

    def sample(self, num_rows: int, like: Tensor | None = None) -> Tensor:
        """Draws, shape ``(num_rows, L)``, from torch's global random stream; device and dtype as ``like`` has them."""
        like = torch.empty(0) if like is None else like
        return torch.randn(num_rows, self.latent_dim, device=like.device, dtype=like.dtype)

    def kl(self, loc: Tensor, log_var: Tensor) -> Tensor:
        """KL(N(loc, exp(log_var)) ‖ N(0, 1)) per latent dimension, nats, same shape as ``loc``.

        ``½ (loc² + exp(log_var) - 1 - log_var)`` (Kingma & Welling 2013, appendix B), never negative;
        ``expm1`` keeps the difference exact near its minimum at (0, 0).

        >>> StandardNormal(1).kl(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.0]))
        tensor([0.0000, 0.5000])
        """
        return 0.5 * (loc.square() + (torch.expm1(log_var) - log_var))
