"""Each column to [0, 1]."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.errors import DataError
from vae_lightning.likelihoods.moments import RowBatches, column_ranges


class MinMax(Scaling):
    """Each column to [0, 1]: from the declared range if there is one, else from the range of the training rows.

    A constant column keeps its scale. Values beyond the range are clipped, and `count_clipped` counts them.

    Args:
        num_columns: C.
        value_range: ``(lowest, highest)`` legal value, the same for all columns.

    Raises:
        DataError: A range that is empty or not finite.
    """

    low: Tensor
    scale: Tensor

    def __init__(self, num_columns: int, value_range: Sequence[float] | None = None) -> None:
        super().__init__(num_columns)
        low, high = (0.0, 1.0) if value_range is None else value_range
        if not (low < high and math.isfinite(low) and math.isfinite(high)):
            raise DataError(
                f"The 'value_range' parameter of {type(self).__name__} must be a lowest and a higher, finite value. "
                f"Got {value_range!r} instead."
            )
        self.value_range = None if value_range is None else (float(low), float(high))
        self.register_buffer("low", torch.full((num_columns,), float(low), dtype=torch.float64))
        self.register_buffer("scale", torch.full((num_columns,), float(high - low), dtype=torch.float64))

    def _fit(self, rows: RowBatches) -> None:
        if self.value_range is None:
            low, high = column_ranges(rows)
            self.low.copy_(low)
            self.scale.copy_(torch.where(high > low, high - low, 1.0))

    def options(self) -> dict[str, object]:
        return {"value_range": None if self.value_range is None else list(self.value_range)}

    @property
    def description(self) -> str:
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

    def inverse_stddev(self, stddev: Tensor, mean: Tensor) -> Tensor:  # noqa: ARG002
        return stddev.to(torch.float64) * self.scale

    def mean_log_slopes(self) -> Tensor:
        return -self.scale.log()

    def count_clipped(self, x: Tensor) -> Tensor:
        unit = self._unit(x).reshape(-1, self.num_columns)
        return ((unit < 0) | (unit > 1)).sum(0)
