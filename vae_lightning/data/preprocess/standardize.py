"""Each column to mean 0 and standard deviation 1."""

import torch
from torch import Tensor

from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.likelihoods.moments import RowBatches, column_means, column_ranges


class Standardize(Scaling):
    """Each column to mean 0 and standard deviation 1 over the training rows; a constant column keeps its scale."""

    mean: Tensor
    scale: Tensor

    def __init__(self, num_columns: int) -> None:
        super().__init__(num_columns)
        self.register_buffer("mean", torch.zeros(num_columns, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(num_columns, dtype=torch.float64))

    def _fit(self, rows: RowBatches) -> None:
        # Each column is first shifted and divided by its range, so that neither a large mean nor a large scale costs
        # digits.
        low, high = column_ranges(rows)
        width = torch.where(high > low, high - low, 1.0)
        unit_mean = column_means(rows, lambda x: (x - low) / width)
        square = column_means(rows, lambda x: ((x - low) / width - unit_mean).square())
        scale = square.sqrt() * width
        # The comparison is with 0 on purpose: a constant column is exactly 0 after the shift.
        self.mean.copy_(low + unit_mean * width)
        self.scale.copy_(torch.where(scale == 0, 1.0, scale))

    @property
    def description(self) -> str:
        return "standardized"

    def transform(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        return ((x.to(torch.float64) - self.mean) / self.scale).to(torch.float32)

    def inverse(self, u: Tensor) -> Tensor:
        return u.to(torch.float64) * self.scale + self.mean

    def inverse_stddev(self, stddev: Tensor, mean: Tensor) -> Tensor:  # noqa: ARG002
        return stddev.to(torch.float64) * self.scale

    def mean_log_slopes(self) -> Tensor:
        return -self.scale.log()
