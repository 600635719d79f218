"""The importance-weighted bound."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vae_lightning.objectives.base import Objective, Weights
from vae_lightning.objectives.terms import Pass


def iwae(terms: Pass) -> Tensor:
    """``log 1/S Σ_s p(x|z_s) p(z_s) / q(z_s|x)`` per row, shape ``(B,)`` (Burda et al. 2015, eq. 8).

    Raises:
        ValueError: when the terms lack ``log_pz`` and ``log_qz``.
    """
    if terms.log_pz is None or terms.log_qz is None:
        raise ValueError("The 'terms' parameter of iwae must hold log_pz and log_qz. Got terms without them instead.")
    log_weights = terms.log_px.sum(-1) + terms.log_pz - terms.log_qz
    return torch.logsumexp(log_weights, dim=0) - math.log(log_weights.shape[0])


@dataclass(frozen=True)
class IWAE(Objective):
    """The importance-weighted bound with S draws: tighter than the ELBO, equal to it at S = 1 (in expectation).

    Args:
        num_samples: draws S of z per row in training.

    Raises:
        ConfigError: for fewer than one draw.
    """

    num_samples: int = 5
    needs_densities: ClassVar[bool] = True

    def __call__(self, terms: Pass, weights: Weights) -> Tensor:  # noqa: ARG002 - nothing in it is weighted
        return iwae(terms)
