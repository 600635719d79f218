"""Which values a column may hold, and everything that follows from it: asked by all, written once."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vae_lightning.errors import Setting
from vae_lightning.likelihoods.grids import beside, codes, trapezoid, whole_numbers

SHARED = -16.0
"""Where a hurdle's shared value lies in model units: no normal score of any table comes near it."""
TINY = torch.finfo(torch.float32).tiny
"""The least positive number that single precision holds with all its digits."""


def greatest_below_one(dtype: torch.dtype) -> float:
    """The greatest number below 1 of a precision."""
    return 1 - torch.finfo(dtype).eps / 2


@dataclass(frozen=True)
class Support(ABC):
    """The legal values of one column, after scaling.

    Attributes:
        words: what is legal, for messages.
        noun: what such values are called.
        is_probability: its values have probabilities, never above 1 and free of units; else densities.
        likelihood: the family of such columns where none is asked for.
        fill: a legal value to stand where a cell is masked; what stands there changes nothing.
        levels: how many categories there are; 0 where values are numbers, whose mean and spread mean something.
    """

    words: str
    noun: str
    is_probability: bool
    likelihood: str
    fill: float = 0.0
    levels: int = 0

    @property
    def has_mean(self) -> bool:
        """Whether means and differences of values say anything; those of codes of categories do not."""
        return not self.levels

    @abstractmethod
    def contains(self, x: Tensor) -> Tensor:
        """Which values are legal and finite, same shape as ``x``."""

    def suits(self, x: Tensor) -> Tensor:
        """Which values such columns are made for, same shape: the legal ones, unless some are only tolerated."""
        return self.contains(x)

    @abstractmethod
    def default_preprocess(self, low: float, high: float, value_range: tuple[float, float] | None) -> tuple[str, str]:
        """The preprocessing of such columns where none is asked for.

        Args:
            low: least training value.
            high: greatest training value.
            value_range: the declared range of legal values, where the source declares one.

        Returns:
            Its name, and why: a clause that starts with "as".
        """

    def to_features(self, x: Tensor) -> Tensor:
        """What the encoder sees of values ``x``, same shape: by default the values themselves."""
        return x

    def to_points(self, x: Tensor) -> Tensor:
        """What tells rows of such columns apart by distance, (N, n) -> (N, m): by default their features."""
        return self.to_features(x)

    #: Whether features are centred and scaled by the training rows: where values span orders of magnitude.
    standardizes_features = False

    @abstractmethod
    def grid(self, mean: Tensor, stddev: Tensor) -> tuple[Tensor, Tensor]:
        """Nodes and weights that sum or integrate functions of x: ``∫ f ≈ (weights * f(nodes)).sum(0)``.

        Args:
            mean: where the mass lies, shape ``(...)``.
            stddev: how far it reaches, same shape.

        Returns:
            Both float64, of shape ``(K, ...)``.
        """

    @abstractmethod
    def alternatives(self, preprocess: str) -> list[Setting]:
        """What to type instead, where values are illegal after ``preprocess``."""


@dataclass(frozen=True)
class Real(Support):
    """All real numbers."""

    words: str = "real numbers"
    noun: str = "real numbers"
    is_probability: bool = False
    likelihood: str = "gaussian"

    def contains(self, x: Tensor) -> Tensor:
        return torch.isfinite(x)

    def default_preprocess(self, low: float, high: float, value_range: tuple[float, float] | None) -> tuple[str, str]:
        return "standardize", "as the likelihood takes all real numbers"

    def grid(self, mean: Tensor, stddev: Tensor) -> tuple[Tensor, Tensor]:
        # Closest together at the mean, where a density may have a kink, ever farther apart and far enough out for tails
        # that fall as a power of x.
        steps = torch.linspace(-1, 1, 2001, dtype=torch.float64, device=mean.device).view(-1, *(1,) * mean.ndim)
        width, growth = 0.05 * stddev.double(), math.asinh(1e4 / 0.05)
        nodes = mean.double() + width * torch.sinh(growth * steps)
        return nodes, width * growth * torch.cosh(growth * steps) / 1000

    def alternatives(self, preprocess: str) -> list[Setting]:
        return []


@dataclass(frozen=True)
class Unit(Support):
    """The interval from 0 to 1."""

    words: str = "between 0 and 1"
    noun: str = "numbers between 0 and 1"
    is_probability: bool = False
    likelihood: str = "continuous_bernoulli"

    def contains(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x <= 1)

    def default_preprocess(self, low: float, high: float, value_range: tuple[float, float] | None) -> tuple[str, str]:
        return _grey_levels(low, high, value_range) or ("minmax", "as the likelihood takes values in [0, 1]")

    def grid(self, mean: Tensor, stddev: Tensor) -> tuple[Tensor, Tensor]:
        nodes = torch.linspace(0, 1, 4001, dtype=torch.float64, device=mean.device)
        nodes = nodes.view(-1, *(1,) * mean.ndim).expand(-1, *mean.shape)
        return nodes, trapezoid(nodes)

    def alternatives(self, preprocess: str) -> list[Setting]:
        return _unit_alternatives(preprocess)


@dataclass(frozen=True)
class Binary(Support):
    """0 and 1; grey levels between them are taken as soft targets."""

    words: str = "0 or 1 (or grey levels between)"
    noun: str = "zeros and ones"
    is_probability: bool = True
    likelihood: str = "bernoulli"

    def contains(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x <= 1)

    def suits(self, x: Tensor) -> Tensor:
        return (x == 0) | (x == 1)

    def default_preprocess(self, low: float, high: float, value_range: tuple[float, float] | None) -> tuple[str, str]:
        # A table beyond [0, 1] is no set of bits: left alone, so that the support check says so.
        unasked = "none", "as a table is never binarised or squeezed into [0, 1] unasked"
        return _grey_levels(low, high, value_range) or unasked

    def grid(self, mean: Tensor, stddev: Tensor) -> tuple[Tensor, Tensor]:
        return codes(2, mean)

    def alternatives(self, preprocess: str) -> list[Setting]:
        return _unit_alternatives(preprocess)


@dataclass(frozen=True)
class AsTheyAre(Support, ABC):
    """Values that no scaling may change."""

    #: What they are, and what they are called where a scaling is to be undone.
    taken: ClassVar[str]
    called: ClassVar[str] = "values"

    def default_preprocess(self, low: float, high: float, value_range: tuple[float, float] | None) -> tuple[str, str]:
        return "none", f"as the likelihood takes {self.taken} as they are"

    def alternatives(self, preprocess: str) -> list[Setting]:
        undo = [Setting("data.preprocess", "none", f"the {self.called} as they are")] if preprocess != "none" else []
        return [*undo, GAUSSIAN]


@dataclass(frozen=True)
class Count(AsTheyAre):
    """Whole numbers from 0 on."""

    words: str = "whole numbers from 0 on"
    noun: str = "counts"
    is_probability: bool = True
    likelihood: str = "poisson"
    standardizes_features = True
    taken = "whole numbers"

    def contains(self, x: Tensor) -> Tensor:
        return torch.isfinite(x) & (x >= 0) & (x == x.round())

    def to_features(self, x: Tensor) -> Tensor:
        """``log(1 + x)``: counts span orders of magnitude, and a network sees only the largest of them."""
        return torch.log1p(x)

    def grid(self, mean: Tensor, stddev: Tensor) -> tuple[Tensor, Tensor]:
        # 0 apart, where many counts have mass of its own; the tail of counts that vary more is exponential.
        mean, stddev = mean.double(), stddev.double()
        low = (mean - 12 * stddev).floor().clamp_min(1)
        reach = 12 * stddev + 12 * stddev.square() / mean.clamp_min(1e-6)
        nodes, weights = whole_numbers(low, (mean + reach - low).ceil().clamp_min(0) + 40)
        return beside(0.0, nodes, weights)


@dataclass(frozen=True)
class Positive(AsTheyAre):
    """Numbers above 0, down to the least that single precision holds with all its digits, 1.2e-38."""

    words: str = "positive numbers"
    noun: str = "positive numbers"
    is_probability: bool = False
    likelihood: str = "log_normal"
    fill: float = 1.0
    standardizes_features = True
    taken = "positive numbers"

    def contains(self, x: Tensor) -> Tensor:
        return torch.isfinite(x) & (x >= TINY)

    def to_features(self, x: Tensor) -> Tensor:
        """``log x``: positive numbers span orders of magnitude, and a network sees only the largest of them."""
        return torch.log(x.clamp_min(TINY))

    def grid(self, mean: Tensor, stddev: Tensor) -> tuple[Tensor, Tensor]:
        # In log x: as far down as the power of x that a gamma density of this spread falls with, or eight of a log
        # normal's deviations, and as far up as its exponential tail, or as many deviations.
        mean, square = mean.double().clamp_min(TINY), (stddev.double() / mean.double().clamp_min(TINY)).square()
        log_variance = torch.log1p(square)
        around = 9 * log_variance.sqrt()
        low = mean.log() - torch.maximum(17 * square, log_variance / 2 + around)
        high = mean.log() + torch.maximum(torch.log1p(20 * square), around) + 1e-9
        share = torch.linspace(0, 1, 4001, dtype=torch.float64, device=mean.device).view(-1, *(1,) * mean.ndim)
        low = low.clamp_min(math.log(TINY))
        nodes = (low + (high - low) * share).exp().clamp_min(TINY)
        return nodes, trapezoid(nodes.log()) * nodes


@dataclass(frozen=True)
class Share(AsTheyAre):
    """Numbers between 0 and 1, neither of them: from 1.2e-38 to the greatest that single precision tells from 1."""

    words: str = "above 0 and below 1"
    noun: str = "shares, neither 0 nor 1"
    is_probability: bool = False
    likelihood: str = "beta"
    fill: float = 0.5
    standardizes_features = True
    taken = "numbers between 0 and 1"

    def contains(self, x: Tensor) -> Tensor:
        return (x >= TINY) & (x < 1)

    def to_features(self, x: Tensor) -> Tensor:
        """``log(x / (1 - x))``: towards both ends shares span orders of magnitude."""
        inside = x.clamp(TINY, greatest_below_one(x.dtype))
        return inside.log() - torch.log1p(-inside)

    def grid(self, mean: Tensor, stddev: Tensor) -> tuple[Tensor, Tensor]:
        # In log(x / (1 - x)), where the mass falls as an exponential on either side of a bulk that is as wide as that
        # of the beta distribution of this mean and spread: closest together at the mean, and as far as numbers go.
        greatest = greatest_below_one(torch.float64)
        mean, stddev = mean.double().clamp(TINY, greatest), stddev.double()
        concentration = (mean * (1 - mean) / stddev.square() - 1).clamp_min(1e-3)
        width = (1 / (mean * concentration) + 1 / ((1 - mean) * concentration)).sqrt().clamp(1e-6, 10) / 2
        steps = torch.linspace(-1, 1, 4001, dtype=torch.float64, device=mean.device).view(-1, *(1,) * mean.ndim)
        growth = torch.asinh(128 / width)
        logit = mean.log() - torch.log1p(-mean) + width * torch.sinh(growth * steps)
        nodes = torch.sigmoid(logit)
        weights = nodes * torch.sigmoid(-logit) * width * growth * torch.cosh(growth * steps) / 2000
        return nodes.clamp(TINY, greatest), weights

    def alternatives(self, preprocess: str) -> list[Setting]:
        return [Setting("likelihood", "continuous_bernoulli", "takes 0 and 1, too"), *super().alternatives(preprocess)]


@dataclass(frozen=True)
class Nonnegative(Positive):
    """Zero, which has a probability, and positive numbers, which have densities."""

    words: str = "zeros and positive numbers"
    noun: str = "zeros and positive numbers"
    likelihood: str = "zero_inflated"
    fill: float = 0.0

    def contains(self, x: Tensor) -> Tensor:
        return (x == 0) | super().contains(x)

    def to_features(self, x: Tensor) -> Tensor:
        """``log(1 + x)``."""
        return torch.log1p(x)

    def grid(self, mean: Tensor, stddev: Tensor) -> tuple[Tensor, Tensor]:
        return beside(0.0, *super().grid(mean, stddev))


@dataclass(frozen=True)
class SharedOrReal(Real):
    """Real numbers, one of which has a probability of its own: in model units it is `SHARED`."""

    words: str = "a value that many rows share, or another real number"
    noun: str = "real numbers of which one is frequent"
    likelihood: str = "hurdle"
    fill: float = SHARED

    def to_features(self, x: Tensor) -> Tensor:
        """The shared value lies two standard deviations below the others."""
        return torch.where(x == SHARED, -2.0, x)

    def grid(self, mean: Tensor, stddev: Tensor) -> tuple[Tensor, Tensor]:
        return beside(SHARED, *super().grid(mean, stddev))


GAUSSIAN = Setting("likelihood", "gaussian", "takes all real numbers")
MINMAX = Setting("data.preprocess", "minmax", "each column rescaled to [0, 1]")
BINARIZE = Setting("data.preprocess", "binarize", "each value becomes 0 or 1")


def _unit_alternatives(preprocess: str) -> list[Setting]:
    return [GAUSSIAN, *(way for way in (MINMAX, BINARIZE) if way.value != preprocess)]


def _grey_levels(low: float, high: float, value_range: tuple[float, float] | None) -> tuple[str, str] | None:
    """How values that are levels between two ends are scaled to [0, 1]; None where they are no such levels."""
    if low >= 0 and high <= 1:
        return "none", "as all training values lie in [0, 1] already"
    if value_range is not None:
        return "minmax", f"as these are grey levels from {value_range[0]:g} to {value_range[1]:g}"
    return None


REAL = Real()
UNIT = Unit()
BINARY = Binary()
COUNT = Count()
HURDLE = SharedOrReal()
POSITIVE = Positive()
SHARE = Share()
NONNEGATIVE = Nonnegative()


SUPPORTS = (BINARY, COUNT, UNIT, REAL)
"""The kinds that numbers alone tell, from narrow to wide: which of them are codes of categories only people know."""


def narrowest(x: Tensor) -> Support:
    """The narrowest support that suits all of ``x``, finite values, as they are.

    >>> narrowest(torch.tensor([0.0, 3.0])).noun
    'counts'
    """
    return next(support for support in SUPPORTS if support.suits(x).all())
