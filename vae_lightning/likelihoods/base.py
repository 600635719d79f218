"""The protocol every likelihood follows: which data are legal, and how negative its loss can honestly become."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.family import Family
from vae_lightning.likelihoods.moments import RowBatch, RowBatches
from vae_lightning.likelihoods.support import COUNT, Support


class Predictive(ABC):
    """p(x|z): one distribution for each column, in nats and in model units (after scaling)."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """log p of values ``x`` (..., C) -> (..., C), per column."""

    @abstractmethod
    def sample(self) -> Tensor:
        """One draw of every cell, shape (..., C), from torch's global random stream; no gradient."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """Shape (..., C)."""

    @property
    @abstractmethod
    def stddev(self) -> Tensor:
        """Shape (..., C)."""

    @property
    def point(self) -> Tensor:
        """The best single guess, shape (..., C): the mean, where a column has one."""
        return self.mean

    def expose(self, log_exposure: Tensor) -> "Predictive":  # noqa: ARG002 - what is no count has none
        """The same with the mean of each count times the row's exposure, ``exp(log_exposure)``, shape (..., 1)."""
        return self

    @property
    def bulk(self) -> tuple[Tensor, Tensor]:
        """Where the mass lies and how far it reaches, for the support's grid: by default mean and standard deviation.

        Both (..., C). Zero may have mass of its own far from it.
        """
        return self.mean, self.stddev.expand_as(self.mean)


class ColumnDistribution(Predictive):
    """A torch distribution of batch shape (..., C), one value for each column."""

    __slots__ = ("distribution",)

    def __init__(self, distribution: Distribution) -> None:
        self.distribution = distribution

    def log_prob(self, x: Tensor) -> Tensor:
        return self.distribution.log_prob(x)

    def sample(self) -> Tensor:
        return self.distribution.sample()

    @property
    def mean(self) -> Tensor:
        return self.distribution.mean

    @property
    def stddev(self) -> Tensor:
        return self.distribution.stddev


class Likelihood(Family, nn.Module, ABC):
    """p(x|z): reads the decoder's raw output as one distribution per column.

    The decoder's last layer is linear; whatever squashing a family needs happens here and nowhere else.
    Log-densities are per column, in nats, and in *model units* (after scaling).

    Args:
        num_columns: number of columns C.
        supports: which values each column may hold; None where all are the family's own.

    Attributes:
        supports: which values each column may hold, C of them.
        raw_size: raw numbers that the decoder emits for a row, R.
        column_of_raw: for each raw number the column whose location (mean or median) it is, -1 where it is something
            else, shape (R,), on the CPU: where a linear model of the columns may be put.

    Raises:
        ConfigError: when ``num_columns`` is below 1.
    """

    supports: tuple[Support, ...]
    raw_size: int
    #: The support of every column, in families where it is the same.
    support: ClassVar[Support]

    def __init__(self, num_columns: int, supports: Sequence[Support] | None = None) -> None:
        super().__init__()
        check_parameter(type(self).__name__, "num_columns", num_columns >= 1, "at least 1", num_columns)
        self.num_columns = num_columns
        self.supports = (self.support,) * num_columns if supports is None else tuple(supports)
        self.raw_size = num_columns

    @cached_property
    def column_of_raw(self) -> Tensor:
        """For each raw number the column whose location it is; none is, unless a family says otherwise."""
        return torch.full((self.raw_size,), -1)

    @property
    def column_names(self) -> list[str]:
        """For each column the name of what it has, C of them: `name`, unless families stand side by side."""
        return [self.name()] * self.num_columns

    @cached_property
    def fill(self) -> Tensor:
        """A legal value of each column, shape (C,), on the CPU: what may stand in a masked cell."""
        return torch.tensor([support.fill for support in self.supports])

    @cached_property
    def density_columns(self) -> Tensor:
        """Which columns have densities rather than probabilities, shape (C,), bool, on the CPU."""
        return torch.tensor([not support.is_probability for support in self.supports])

    @cached_property
    def count_columns(self) -> Tensor:
        """Which columns hold counts, whose means an exposure multiplies, shape (C,), bool, on the CPU."""
        return torch.tensor([support == COUNT for support in self.supports])

    @property
    def is_probability(self) -> bool:
        """Whether every column has probabilities: the loss is then never negative and free of units."""
        return not bool(self.density_columns.any())

    @abstractmethod
    def forward(self, raw: Tensor) -> Predictive:
        """The distribution of x given the decoder's output.

        Args:
            raw: shape ``(..., R)``, any real numbers.
        """

    @abstractmethod
    def max_log_prob(self) -> Tensor:
        """The least upper bound of the log-density of each column, shape ``(C,)``, nats; 0 for probabilities.

        Hence NELBO >= -sum(max_log_prob): a loss below that floor is proof of a bug.
        """

    @abstractmethod
    def independent_columns(self, rows: RowBatches) -> Predictive:
        """The best model of this family that ignores z: independent columns fitted to ``rows`` (N, C).

        Its negative log-likelihood on other rows is the baseline every trained model has to beat.
        """

    def start_from(
        self,
        rows: RowBatches,  # noqa: ARG002 - most families start at 0
        residual: Tensor | None = None,  # noqa: ARG002
        held: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        """Set the family's own parameters to what the training rows (N, C) say without z.

        Args:
            rows: the training rows.
            residual: of columns with a location: the variance that a linear model of z leaves unexplained, (C,). None
                where nothing is known of z.
            held: what no variance of a column with a location may fall below, (C,); by default what these rows say
                (see :func:`~vae_lightning.likelihoods.moments.held_variances`).

        Returns:
            The constant raw output, shape ``(R,)``, that says so: the bias that the decoder starts from.
        """
        return torch.zeros(self.raw_size)

    def fit_variances(self, residual: Tensor, held: Tensor) -> Tensor:
        """The variances, (C,), that this family gives columns about whose locations ``residual`` (C,) is left.

        Args:
            residual: mean squared residuals.
            held: what no variance may fall below (see :func:`held_variances`).
        """
        return torch.maximum(residual, held)

    def entropy_floor(self, x: Tensor) -> Tensor:
        """The least loss any prediction can reach on each row of ``x`` (B, C) -> (B, C), nats per column.

        By default the bound that holds for all data, -max_log_prob.
        """
        return -self.max_log_prob().to(x).expand(x.shape)

    def at_floor(self, p: Predictive) -> Tensor:
        """Share of the entries of ``p`` whose variance sits at its floor, 0-dim; 0 for families without one."""
        return torch.zeros((), device=p.mean.device)

    #: Numbers that :meth:`statistics` gives; 0 where nothing is fitted in closed form.
    statistics_size: int = 0

    def statistics(self, p: Predictive, batch: RowBatch) -> Tensor:
        """Sums over a batch from which :meth:`update` fits in closed form what is not learned.

        Sums, so that those of several processes add up. Asked for only where ``statistics_size`` is not 0.

        Args:
            p: the predictions, shape (S, B, C).
            batch: what was observed; masked cells count for nothing, rows by their weight.

        Returns:
            Shape (statistics_size,), float64, without gradient.
        """
        raise NotImplementedError

    def update(self, statistics: Tensor) -> None:
        """Take :meth:`statistics` of a training step, summed over processes, into what is fitted in closed form."""
        raise NotImplementedError
