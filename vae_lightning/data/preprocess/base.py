"""From data units to model units and back: statistics in buffers, fitted on the training rows only."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from vae_lightning.data.exact import ExactBuffers
from vae_lightning.errors import DataError
from vae_lightning.likelihoods.family import Family
from vae_lightning.likelihoods.moments import RowBatches


class Scaling(Family, ExactBuffers, ABC):
    """An invertible map u(x), one column at a time, with its log-derivative.

    The statistics are float64 buffers, so they are saved and exported with the model; a fresh instance of the same
    class and size can load them. They stay float64 whatever precision the model is cast to.

    Args:
        num_columns: C.
    """

    #: Whether the map is one-to-one, so that every scaling of densities measures the same in data units.
    is_invertible: bool = True

    def __init__(self, num_columns: int) -> None:
        super().__init__()
        self.num_columns = num_columns

    def fit(self, rows: RowBatches) -> Self:
        """Take the statistics from training rows (N, C) in data units.

        Raises:
            DataError: when the rows have another number of columns, or there are none.
        """
        width = next((batch.x.shape[1] for batch in rows.batches() if len(batch.x)), None)
        if width != self.num_columns:
            got = "no rows" if width is None else f"rows of {width}"
            raise DataError(
                f"The 'rows' parameter of {type(self).__name__}.fit must be rows of {self.num_columns} columns, at "
                f"least one. Got {got} instead."
            )
        self._fit(rows)
        return self

    def _fit(self, rows: RowBatches) -> None:
        """Nothing to learn, unless a kind says otherwise."""

    def options(self) -> dict[str, object]:
        """The constructor's arguments besides ``num_columns``, in plain values, to rebuild the module from."""
        return {}

    @property
    def column_names(self) -> list[str]:
        """For each column the name of what it has, C of them: `name`, unless families stand side by side."""
        return [self.name()] * self.num_columns

    @property
    def known_values(self) -> list[Sequence[float] | None]:
        """The only values in data units that each column has a place for, C of them; None where it has one for any."""
        return [None] * self.num_columns

    @property
    @abstractmethod
    def description(self) -> str:
        """What the rows are in model units, in words that are equal where the rows are."""

    @abstractmethod
    def transform(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Rows in data units, shape ``(..., C)``, to float32 rows in model units.

        The arithmetic is float64. ``generator`` matters to kinds that draw; all others ignore it.
        """

    #: Whether training rows are drawn anew in every epoch, by :meth:`draw` from what :meth:`levels` gives.
    resample: bool = False

    def levels(self, x: Tensor) -> Tensor:
        """What is kept of rows in data units for :meth:`draw`."""
        raise NotImplementedError

    @staticmethod
    def draw(levels: Tensor, generator: torch.Generator) -> Tensor:
        """Rows in model units, drawn from :meth:`levels`; the generator is on the same device."""
        raise NotImplementedError

    @abstractmethod
    def inverse(self, u: Tensor) -> Tensor:
        """Rows in model units, shape ``(..., C)``, to float64 rows in data units.

        Of a mean it gives the mean where the map is linear; elsewhere the median, if the distribution is symmetric.
        """

    def bound(self, x: Tensor) -> Tensor:
        """Draws in data units, shape ``(..., C)``, within the bounds seen in training, where these are kept."""
        return x

    def bound_rows(self, x: Tensor) -> Tensor:
        """As :meth:`bound`, and what several columns say together, such as a date, is within its bounds, too."""
        return self.bound(x)

    def inverse_stddev(self, stddev: Tensor, mean: Tensor) -> Tensor:  # noqa: ARG002 - the same everywhere
        """Standard deviations around ``mean``, both in model units, ``(..., C)``, to float64 ones in data units.

        Where the map is not linear, half of what lies between a deviation below the mean and one above it.

        Not a difference of two `inverse`, where the map is linear: a large mean would cost its digits.
        """
        return stddev.to(torch.float64)

    def log_slopes(self, u: Tensor) -> Tensor:
        """log |du/dx| of each cell: what a log-density of u gains to become one of x.

        Args:
            u: rows in model units, shape ``(..., C)``, as whoever needs the slopes holds them.

        Returns:
            Of the same shape, float64.
        """
        return self.mean_log_slopes().to(u.device).expand(u.shape)

    def mean_log_slopes(self) -> Tensor:
        """The mean of :meth:`log_slopes` in each column over the training rows, shape (C,), float64.

        Where the map is linear, that of any rows.
        """
        return torch.zeros(self.num_columns, dtype=torch.float64)

    def max_log_slopes(self) -> Tensor:
        """What :meth:`log_slopes` is nowhere above, shape (C,), float64."""
        return self.mean_log_slopes()

    def count_clipped(self, x: Tensor) -> Tensor:
        """How many values of each column of ``x``, (..., C) in data units, become others that the map has a place for.

        Shape (C,); most kinds have a place for all.
        """
        return torch.zeros(self.num_columns, dtype=torch.long, device=x.device)
