"""From data units to what the networks see, and back: statistics in buffers, fitted on the training rows only."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from vae_lightning.data.dataset import Dataset
from vae_lightning.data.wording import nearest
from vae_lightning.errors import DataError

KINDS = ("none", "standardize", "minmax", "binarize")


class Preprocess(nn.Module, ABC):
    """An invertible map u(x), one column at a time.

    The statistics are float64 buffers, so they are saved and exported with the model; a fresh instance of the same
    class and size can load them.

    Args:
        num_columns: C.
    """

    kind: ClassVar[str]

    def __init__(self, num_columns: int) -> None:
        super().__init__()
        self.num_columns = num_columns

    def fit(self, x: np.ndarray) -> Self:
        """Take the statistics from training rows of shape ``(N, C)``.

        Raises:
            DataError: Rows of another width, or none.
        """
        if x.ndim != 2 or x.shape[1] != self.num_columns or not len(x):
            raise DataError(
                f"The 'x' parameter of {type(self).__name__}.fit must have shape (N, {self.num_columns}) with N at "
                f"least 1. Got shape {x.shape} instead."
            )
        self._fit(x)
        return self

    def _fit(self, x: np.ndarray) -> None:
        """Nothing to learn, unless a kind says otherwise."""

    def options(self) -> dict[str, object]:
        """The constructor's arguments besides ``num_columns``, in plain values, to rebuild the module from."""
        return {}

    @property
    @abstractmethod
    def rows(self) -> str:
        """What the rows are in model units, in words that are equal where the rows are."""

    @abstractmethod
    def transform(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Rows in data units, shape ``(..., C)``, to float32 rows in model units.

        The arithmetic is float64. ``generator`` matters to kinds that draw; all others ignore it.
        """

    @abstractmethod
    def inverse(self, u: Tensor) -> Tensor:
        """Rows in model units, shape ``(..., C)``, to float64 rows in data units."""

    def inverse_std(self, std: Tensor) -> Tensor:
        """Standard deviations in model units, shape ``(..., C)``, to float64 ones in data units.

        Not a difference of two `inverse`: a large mean would cost its digits.
        """
        return std.to(torch.float64)

    def log_slopes(self) -> Tensor:
        """log |du/dx| of each column, shape (C,), float64; 0 where the map makes bits."""
        return torch.zeros(self.num_columns, dtype=torch.float64)

    def log_abs_det(self) -> Tensor:
        """log |det du/dx|, 0-dim float64: what a log-density of u gains to become one of x."""
        return self.log_slopes().sum()

    def clipped(self, x: Tensor) -> int:  # noqa: ARG002 - most kinds never clip
        """How many of the values ``x``, in data units, lie beyond what the map can represent and would be clipped."""
        return 0


class Identity(Preprocess):
    """Data as they are."""

    kind = "none"

    @property
    def rows(self) -> str:
        return "as they are"

    def transform(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        return x.to(torch.float32)

    def inverse(self, u: Tensor) -> Tensor:
        return u.to(torch.float64)


class Standardize(Preprocess):
    """Each column to mean 0 and standard deviation 1 over the training rows; a constant column keeps its scale."""

    kind = "standardize"
    mean: Tensor
    scale: Tensor

    def __init__(self, num_columns: int) -> None:
        super().__init__(num_columns)
        self.register_buffer("mean", torch.zeros(num_columns, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(num_columns, dtype=torch.float64))

    def _fit(self, x: np.ndarray) -> None:
        # Two passes in slices: exact, and without a float64 copy of all rows. Each column is first shifted and divided
        # by its range, so that neither a large mean nor a large scale costs digits.
        low = x.min(axis=0).astype(np.float64)
        width = x.max(axis=0).astype(np.float64) - low
        width[width == 0] = 1.0
        unit_mean = sum(((part - low) / width).sum(axis=0) for part in _slices(x)) / len(x)
        square = sum((((part - low) / width - unit_mean) ** 2).sum(axis=0) for part in _slices(x)) / len(x)
        scale = np.sqrt(square) * width
        # The comparison is with 0 on purpose: a constant column is exactly 0 after the shift.
        scale[scale == 0] = 1.0
        self.mean.copy_(torch.from_numpy(low + unit_mean * width))
        self.scale.copy_(torch.from_numpy(scale))

    @property
    def rows(self) -> str:
        return "standardized"

    def transform(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        return ((x.to(torch.float64) - self.mean) / self.scale).to(torch.float32)

    def inverse(self, u: Tensor) -> Tensor:
        return u.to(torch.float64) * self.scale + self.mean

    def inverse_std(self, std: Tensor) -> Tensor:
        return std.to(torch.float64) * self.scale

    def log_slopes(self) -> Tensor:
        return -self.scale.log()


class MinMax(Preprocess):
    """Each column to [0, 1]: from the declared range if there is one, else from the range of the training rows.

    A constant column keeps its scale. Values beyond the range are clipped, and `clipped` counts them.

    Args:
        num_columns: C.
        value_range: ``(lowest, highest)`` legal value, the same for all columns.

    Raises:
        DataError: A range that is empty or not finite.
    """

    kind = "minmax"
    low: Tensor
    scale: Tensor

    def __init__(self, num_columns: int, value_range: Sequence[float] | None = None) -> None:
        super().__init__(num_columns)
        low, high = (0.0, 1.0) if value_range is None else value_range
        if not (low < high and np.isfinite([low, high]).all()):
            raise DataError(
                f"The 'value_range' parameter of {type(self).__name__} must be a lowest and a higher, finite value. "
                f"Got {value_range!r} instead."
            )
        self.value_range = None if value_range is None else (float(low), float(high))
        self.register_buffer("low", torch.full((num_columns,), float(low), dtype=torch.float64))
        self.register_buffer("scale", torch.full((num_columns,), float(high - low), dtype=torch.float64))

    def _fit(self, x: np.ndarray) -> None:
        if self.value_range is not None:
            return
        low = x.min(axis=0).astype(np.float64)
        scale = x.max(axis=0).astype(np.float64) - low
        scale[scale == 0] = 1.0
        self.low.copy_(torch.from_numpy(low))
        self.scale.copy_(torch.from_numpy(scale))

    def options(self) -> dict[str, object]:
        return {"value_range": None if self.value_range is None else list(self.value_range)}

    @property
    def rows(self) -> str:
        return "scaled to [0, 1]"

    def levels(self, x: Tensor) -> Tensor:
        """Rows in data units to float32 values in [0, 1], shape kept."""
        return self._unit(x).clamp(0.0, 1.0).to(torch.float32)

    def _unit(self, x: Tensor) -> Tensor:
        return (x.to(torch.float64) - self.low) / self.scale

    def transform(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        return self.levels(x)

    def inverse(self, u: Tensor) -> Tensor:
        return u.to(torch.float64) * self.scale + self.low

    def inverse_std(self, std: Tensor) -> Tensor:
        return std.to(torch.float64) * self.scale

    def log_slopes(self) -> Tensor:
        return -self.scale.log()

    def clipped(self, x: Tensor) -> int:
        unit = self._unit(x)
        return int(((unit < 0) | (unit > 1)).sum())


class Binarize(MinMax):
    """Each value to 0 or 1, by its grey level: where it lies in the range that `MinMax` would use.

    Args:
        num_columns: C.
        value_range: ``(lowest, highest)`` legal value, the same for all columns; None takes the training rows' own.
        threshold: A level above it becomes 1.
        resample: Draw each bit with its level as the probability of 1, whenever `transform` is given a generator.
            Without one nothing is random and the threshold decides, so that equal rows give equal bits.

    Raises:
        DataError: A threshold outside [0, 1), or an illegal range.
    """

    kind = "binarize"

    def __init__(
        self,
        num_columns: int,
        value_range: Sequence[float] | None = None,
        threshold: float = 0.5,
        resample: bool = False,
    ) -> None:
        super().__init__(num_columns, value_range)
        if not 0 <= threshold < 1:
            raise DataError(
                f"The 'threshold' parameter of Binarize must be at least 0 and below 1. Got {threshold!r} instead."
            )
        self.threshold = threshold
        self.resample = resample

    def options(self) -> dict[str, object]:
        return {**super().options(), "threshold": self.threshold, "resample": self.resample}

    @property
    def rows(self) -> str:
        # Where bits are drawn, the threshold decides nothing that is measured.
        return "binarized at random" if self.resample else f"binarized at {self.threshold:g}"

    def transform(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if self.resample and generator is not None:
            return self.draw(self.levels(x), generator)
        # In float64, so that a level of exactly the threshold is not pushed over it by rounding.
        return (self._unit(x) > self.threshold).to(torch.float32)

    @staticmethod
    def draw(levels: Tensor, generator: torch.Generator) -> Tensor:
        """Bits that are 1 with the probabilities ``levels``; the generator is on the same device."""
        return torch.bernoulli(levels, generator=generator)

    def log_slopes(self) -> Tensor:
        return torch.zeros_like(self.scale)


def build_preprocess(
    kind: str | None,
    *,
    num_columns: int,
    support: constraints.Constraint,
    discrete: bool,
    data: Dataset,
    threshold: float = 0.5,
    resample: bool = False,
) -> tuple[Preprocess, str]:
    """The preprocessing of a kind, fitted on the training rows, and why it is this one.

    Args:
        kind: One of `KINDS`, or None to let the likelihood's support decide. Data are binarised only on request.
        num_columns: C.
        support: The likelihood's.
        discrete: Whether the likelihood gives probabilities rather than densities.
        data: Whose training rows are fitted to and whose declared range is used.
        threshold: For ``"binarize"``.
        resample: For ``"binarize"``.

    Returns:
        The fitted module, and why it is this one: a plain clause that starts with "as", for the log.

    Raises:
        DataError: An unknown kind.
    """
    if kind is None:
        kind, reason = _choose(support, discrete, data)
    else:
        reason = "as asked for"
    if kind not in KINDS:
        raise DataError(
            f"The 'preprocess' parameter of data must be one of {', '.join(KINDS)}, or null to let the likelihood "
            f"decide. Got {kind!r} instead.{nearest(str(kind), KINDS)}"
        )
    preprocess: Preprocess
    match kind:
        case "none":
            preprocess = Identity(num_columns)
        case "standardize":
            preprocess = Standardize(num_columns)
        case "minmax":
            preprocess = MinMax(num_columns, data.value_range)
        case _:
            preprocess = Binarize(num_columns, data.value_range, threshold, resample)
    return preprocess.fit(data.train.x), reason


def _choose(support: constraints.Constraint, discrete: bool, data: Dataset) -> tuple[str, str]:
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if isinstance(support, type(constraints.real)):
        return "standardize", "as the likelihood takes all real numbers"
    if not _within_unit_interval(support):
        return "none", f"as the likelihood takes {support} as it is"
    x = data.train.x
    if x.min() >= 0 and x.max() <= 1:
        return "none", "as all training values lie in [0, 1] already"
    if data.value_range is not None:
        low, high = data.value_range
        return "minmax", f"as these are grey levels from {low:g} to {high:g}"
    if not discrete:
        return "minmax", "as the likelihood takes values in [0, 1]"
    # A table beyond [0, 1] is no set of probabilities or bits: left alone, so that the support check says so.
    return "none", "as a table is never binarised or squeezed into [0, 1] unasked"


def _within_unit_interval(support: constraints.Constraint) -> bool:
    if isinstance(support, type(constraints.boolean)):
        return True
    return isinstance(support, constraints.interval) and (support.lower_bound, support.upper_bound) == (0, 1)


def _slices(x: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(x), 4096):
        yield x[start : start + 4096]
