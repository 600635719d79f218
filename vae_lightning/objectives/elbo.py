"""Objectives: pure functions from the terms of a forward pass to one bound per example."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lightning.errors import check_parameter
from vae_lightning.objectives.schedules import SCHEDULES


class Terms(NamedTuple):
    """What a forward pass says of B rows with S draws each, in nats and model units.

    Attributes:
        log_px: ``log p(x|z)``, summed over columns, shape ``(S, B)``.
        kl: analytic KL(q(z|x) ‖ p(z)) per latent dimension, shape ``(B, L)``.
        log_pz: ``log p(z)`` of the draws, ``(S, B)``; only where a bound needs it.
        log_qz: ``log q(z|x)`` of the draws, ``(S, B)``; only where a bound needs it.
    """

    log_px: Tensor
    kl: Tensor
    log_pz: Tensor | None = None
    log_qz: Tensor | None = None


def elbo(terms: Terms, beta: float = 1.0) -> Tensor:
    """``E_q[log p(x|z)] - β KL(q ‖ p)`` per row, shape ``(B,)``.

    The evidence lower bound (Kingma & Welling 2013, eq. 10) at β = 1, the β-VAE objective (Higgins et al. 2017)
    otherwise.
    """
    kl = terms.kl.sum(-1)
    return terms.log_px.mean(0) - (kl if beta == 1 else beta * kl)


def iwae(terms: Terms) -> Tensor:
    """``log 1/S Σ_s p(x|z_s) p(z_s) / q(z_s|x)`` per row, shape ``(B,)`` (Burda et al. 2015, eq. 8).

    Raises:
        ValueError: when the terms lack ``log_pz`` and ``log_qz``.
    """
    if terms.log_pz is None or terms.log_qz is None:
        raise ValueError("The 'terms' parameter of iwae must hold log_pz and log_qz. Got terms without them instead.")
    log_weights = terms.log_px + terms.log_pz - terms.log_qz
    return torch.logsumexp(log_weights, dim=0) - torch.log(torch.tensor(float(log_weights.shape[0])))


@dataclass(frozen=True)
class ELBO:
    """The configured objective: the ELBO with a weight β on its KL and a warm-up of that weight.

    Whatever is set here, NELBO at β = 1 is what is monitored, checkpointed on and returned to sweeps.

    Args:
        beta: final weight β of the KL.
        num_samples: draws S of z per row in training.
        warmup: how β grows: none, linear, cosine or cyclical.
        warmup_epochs: length of the warm-up, or of one cycle, in epochs.

    Raises:
        ConfigError: for a negative ``beta``, fewer than one draw, an unknown schedule or a length that is not positive.
    """

    beta: float = 1.0
    num_samples: int = 1
    warmup: str = "none"
    warmup_epochs: float = 10

    def __post_init__(self) -> None:
        check_parameter("ELBO", "beta", 0 <= self.beta < math.inf, "at least 0 and finite", self.beta)
        check_parameter("ELBO", "num_samples", self.num_samples >= 1, "at least 1", self.num_samples)
        check_parameter("ELBO", "warmup", self.warmup in SCHEDULES, f"one of {', '.join(SCHEDULES)}", self.warmup)
        check_parameter("ELBO", "warmup_epochs", self.warmup_epochs > 0, "positive", self.warmup_epochs)

    def beta_at(self, epoch: float) -> float:
        """β after ``epoch`` epochs, fractions included."""
        return self.beta * SCHEDULES[self.warmup](epoch / self.warmup_epochs)

    def __call__(self, terms: Terms, beta: float) -> Tensor:
        """One bound per row, shape ``(B,)``, nats."""
        return elbo(terms, beta)
