"""Supports of columns whose values are the first so many whole numbers: categories, ordered levels, grey levels."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import one_hot

from vae_lightning.likelihoods import grids
from vae_lightning.likelihoods.support import AsTheyAre

MAX_POINTS = 32
"""Most numbers that tell categories of one column apart by distance."""


@dataclass(frozen=True)
class Codes(AsTheyAre, ABC):
    """Places 0, 1, ..., k - 1 among k levels."""

    taken = called = "codes"

    @property
    @abstractmethod
    def num_codes(self) -> int:
        """k."""

    def contains(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x < self.num_codes) & (x == x.round())

    def grid(self, mean: Tensor, stddev: Tensor) -> tuple[Tensor, Tensor]:
        return grids.codes(self.num_codes, mean)


@dataclass(frozen=True)
class Categories(Codes):
    """Codes 0, 1, ..., k - 1 of k categories without an order; see :func:`categories`."""

    is_probability: bool = True
    likelihood: str = "categorical"

    @property
    def num_codes(self) -> int:
        return self.levels

    def to_points(self, x: Tensor) -> Tensor:
        """One number for each category, 0 or 1; of many, some share one."""
        size = min(self.levels, MAX_POINTS)
        return one_hot(x.long() % size, size).flatten(-2).to(x.dtype)


@dataclass(frozen=True)
class Ordinal(Codes):
    """Codes 0, 1, ..., k - 1 of k levels in an order; see :func:`ordinal`.

    Attributes:
        size: k.
    """

    is_probability: bool = True
    likelihood: str = "ordinal"
    size: int = 3
    standardizes_features = True

    @property
    def num_codes(self) -> int:
        return self.size

    def to_features(self, x: Tensor) -> Tensor:
        return x


@dataclass(frozen=True)
class GreyLevels(Ordinal):
    """Whole numbers 0, 1, ..., k - 1 whose differences mean something; see :func:`grey_levels`."""

    likelihood: str = "discretized_logistic"
    taken = "whole numbers"
    called = "values"


def categories(levels: int) -> Categories:
    """The support of a column of ``levels`` categories, by their codes.

    >>> categories(3).words
    'one of 3 categories, by its code from 0 to 2'
    """
    return Categories(f"one of {levels:,} categories, by its code from 0 to {levels - 1}", "categories", levels=levels)


def ordinal(levels: int) -> Ordinal:
    """The support of a column of ``levels`` levels in an order, by their codes.

    >>> ordinal(5).words
    'one of 5 levels, by its code from 0 to 4'
    """
    return Ordinal(f"one of {levels:,} levels, by its code from 0 to {levels - 1}", "levels", size=levels)


def grey_levels(levels: int) -> GreyLevels:
    """The support of a column of whole numbers below ``levels``.

    >>> grey_levels(256).words
    'whole numbers from 0 to 255'
    """
    return GreyLevels(f"whole numbers from 0 to {levels - 1}", "whole numbers between two ends", size=levels)
