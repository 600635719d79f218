"""The protocol of objectives: what training maximises, a pure function of a forward pass."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.family import Family
from vae_lightning.objectives.terms import Pass


class Weights(NamedTuple):
    """Weights of the terms at one moment of training.

    Attributes:
        beta: of the KL.
    """

    beta: float | Tensor = 1.0


def final_beta(objective: "Objective") -> float:
    """The weight of the KL that an objective is to end with; 1 where it has none."""
    return float(getattr(objective, "beta", 1.0))


@dataclass(frozen=True)
class Objective(Family, ABC):
    """A lower bound of log p(x), or a relative of one, for each row.

    Whatever trains, NELBO at β = 1 is what is monitored, checkpointed on and returned to sweeps.

    Args:
        num_samples: draws S of z per row in training.

    Raises:
        ConfigError: for fewer than one draw.
    """

    num_samples: int = 1
    #: Whether it needs log p(z) and log q(z|x) of the draws.
    needs_densities: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_parameter(type(self).__name__, "num_samples", self.num_samples >= 1, "at least 1", self.num_samples)

    @property
    def warmup_length(self) -> float:
        """Epochs after which the weights have been warmed up, if only for the first time."""
        return 0.0

    def weights_at(self, epoch: float) -> Weights:  # noqa: ARG002 - most weights do not move
        """The weights after ``epoch`` epochs, fractions included."""
        return Weights()

    @abstractmethod
    def __call__(self, terms: Pass, weights: Weights) -> Tensor:
        """One bound per row, shape ``(B,)``, nats."""
