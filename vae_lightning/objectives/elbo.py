"""The evidence lower bound, its KL weighted and warmed up."""

import math
from dataclasses import dataclass

from torch import Tensor

from vae_lightning.errors import check_parameter
from vae_lightning.objectives.base import Objective, Weights
from vae_lightning.objectives.schedules import SCHEDULES
from vae_lightning.objectives.terms import Pass


def elbo(terms: Pass, beta: float | Tensor = 1.0) -> Tensor:
    """``E_q[log p(x|z)] - β KL(q ‖ p)`` per row, shape ``(B,)``.

    The evidence lower bound (Kingma & Welling 2013, eq. 10) at β = 1, the β-VAE objective (Higgins et al. 2017)
    otherwise.
    """
    return terms.log_px.sum(-1).mean(0) - beta * terms.kl.sum(-1)


@dataclass(frozen=True)
class ELBO(Objective):
    """The ELBO with a weight β on its KL and a warm-up of that weight.

    Args:
        num_samples: draws S of z per row in training.
        beta: final weight β of the KL.
        warmup: how β grows: none, linear, cosine or cyclical.
        warmup_epochs: length of the warm-up, or of one cycle, in epochs.

    Raises:
        ConfigError: for a negative ``beta``, fewer than one draw, an unknown schedule or a length that is not positive.
    """

    beta: float = 1.0
    warmup: str = "none"
    warmup_epochs: float = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_parameter("ELBO", "beta", 0 <= self.beta < math.inf, "at least 0 and finite", self.beta)
        check_parameter("ELBO", "warmup", self.warmup in SCHEDULES, f"one of {', '.join(SCHEDULES)}", self.warmup)
        check_parameter("ELBO", "warmup_epochs", self.warmup_epochs > 0, "positive", self.warmup_epochs)

    @property
    def warmup_length(self) -> float:
        return 0.0 if self.warmup == "none" else self.warmup_epochs

    def weights_at(self, epoch: float) -> Weights:
        return Weights(self.beta * SCHEDULES[self.warmup](epoch / self.warmup_epochs))

    def __call__(self, terms: Pass, weights: Weights) -> Tensor:
        return elbo(terms, weights.beta)
