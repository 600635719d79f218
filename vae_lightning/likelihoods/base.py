"""The protocol every likelihood follows: which data are legal, and how negative its loss can honestly become."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from vae_lightning.errors import check_parameter


def smooth_bound(value: Tensor, bound: float) -> Tensor:
    """Squash ``value`` into (-bound, bound) with slope 1 at 0: ``bound * tanh(value / bound)``.

    A hard clamp would stop the gradient at the bound; this only shrinks it.

    >>> smooth_bound(torch.tensor([0.0, 1.0, 1e6]), 15.0)
    tensor([ 0.0000,  0.9985, 15.0000])
    """
    return bound * torch.tanh(value / bound)


def smooth_bound_inverse(value: Tensor, bound: float) -> Tensor:
    """The number that :func:`smooth_bound` maps to ``value``; values past 95 % of the bound count as 95 %.

    At the bound itself the inverse is infinite and a parameter put there would never move again.
    """
    return bound * torch.atanh((value / bound).clamp(-0.95, 0.95))


class Likelihood(nn.Module, ABC):
    """p(x|z): reads the decoder's raw output as one distribution per column.

    The decoder's last layer is linear; whatever squashing a family needs happens here and nowhere else.
    Log-densities are per column, in nats, and in *model units* (after preprocessing).

    Args:
        num_columns: number of columns C.

    Raises:
        ConfigError: when ``num_columns`` is below 1.
    """

    #: Which values a column may hold, as a test (`support.check`) and in words.
    support: ClassVar[Constraint]
    support_words: ClassVar[str]
    #: Discrete data have probabilities: never above 1, and no change of units.
    discrete: ClassVar[bool]
    #: Raw numbers the decoder emits per column.
    raw_size: int = 1

    def __init__(self, num_columns: int) -> None:
        super().__init__()
        check_parameter(type(self).__name__, "num_columns", num_columns >= 1, "at least 1", num_columns)
        self.num_columns = num_columns

    @property
    def family(self) -> str:
        """The name it is chosen by: likelihood=NAME."""
        return type(self).__module__.rpartition(".")[-1]

    @abstractmethod
    def forward(self, raw: Tensor) -> Distribution:
        """The distribution of x given the decoder's output.

        Args:
            raw: shape ``(..., raw_size * C)``, any real numbers.

        Returns:
            A distribution of batch shape ``(..., C)``; its ``log_prob`` is per column, in nats.
        """

    @abstractmethod
    def max_log_prob(self) -> Tensor:
        """The least upper bound of the log-density of each column, shape ``(C,)``, nats; 0 for discrete data.

        Hence NELBO >= -sum(max_log_prob): a loss below that floor is proof of a bug.
        """

    @abstractmethod
    def marginal(self, x: Tensor) -> Distribution:
        """The best model of this family that ignores z: independent columns fitted to the rows ``x`` (N, C).

        Its negative log-likelihood on other rows is the baseline every trained model has to beat.
        """

    def start_from(self, x: Tensor) -> Tensor:
        """Set the family's own parameters to what the rows ``x`` (N, C) say without z.

        Returns:
            The constant raw output, shape ``(raw_size * C,)``, that says "I know nothing": the bias that the decoder
            starts from.
        """
        return x.new_zeros(self.raw_size * self.num_columns)

    def entropy_floor(self, x: Tensor) -> Tensor:
        """The least loss any prediction can reach on each row of ``x`` (B, C) -> (B,), nats.

        By default the bound that holds for all data, -sum(max_log_prob).
        """
        return -self.max_log_prob().sum().expand(x.shape[0])

    def at_floor(self, p: Distribution) -> Tensor:
        """Share of the entries of ``p`` whose variance sits at its floor, 0-dim; 0 for families without one."""
        return torch.zeros((), device=p.mean.device)

    @torch.no_grad()
    def observe(self, p: Distribution, x: Tensor) -> None:
        """Called after each training step: update what is fitted in closed form rather than learned."""
