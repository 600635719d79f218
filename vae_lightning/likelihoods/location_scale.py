"""Families of a location and a scale: Gaussian, Laplace and their like."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from vae_lightning.likelihoods.base import Likelihood, Predictive
from vae_lightning.likelihoods.moments import RowBatch, RowBatches, held_variances
from vae_lightning.likelihoods.scale import Scale
from vae_lightning.likelihoods.support import REAL


class LocationScale(Likelihood, ABC):
    """``p(x|raw) = f((x - m) / s) / s`` with location m the raw output and the scale s a :class:`Scale`.

    Args:
        num_columns: number of columns C.
        scale: where s comes from.
    """

    support = REAL
    #: The standard deviation of f.
    unit_stddev: ClassVar[float] = 1.0

    def __init__(self, num_columns: int, scale: Scale) -> None:
        super().__init__(num_columns)
        self.scale = scale
        self.raw_size = num_columns + scale.raw_size
        self.column_of_raw = torch.cat([torch.arange(num_columns), torch.full((scale.raw_size,), -1)])
        self.statistics_size = scale.statistics_size

    @abstractmethod
    def predict(self, location: Tensor, scale: Tensor) -> Predictive:
        """The distribution of every cell."""

    @abstractmethod
    def fit(self, rows: RowBatches) -> tuple[Tensor, Tensor]:
        """Each column's maximum-likelihood location m, float32, and its mean ``|x - m|^p``, float64 (see `Scale`)."""

    def forward(self, raw: Tensor) -> Predictive:
        return self.predict(*self.scale.split(raw))

    def start_from(self, rows: RowBatches, residual: Tensor | None = None, held: Tensor | None = None) -> Tensor:
        location, error = self.fit(rows)
        if residual is not None:
            error = (residual.sqrt() / self.unit_stddev) ** self.scale.power
        held = held_variances(rows) if held is None else held
        return self.scale.start(location, error, self._held(held))

    def fit_variances(self, residual: Tensor, held: Tensor) -> Tensor:
        error = (residual.sqrt() / self.unit_stddev) ** self.scale.power
        scale = self.scale.tie(error, self._held(held)).double().clamp_min(self.scale.least_start)
        return (scale * self.unit_stddev).square().expand(residual.shape)

    def independent_columns(self, rows: RowBatches) -> Predictive:
        location, error = self.fit(rows)
        scale = self.scale.tie(error, self._held(held_variances(rows)))
        return self.predict(location, scale.to(location.dtype))

    def _held(self, variance: Tensor) -> Tensor:
        """Variances as squares of the scale."""
        return variance / self.unit_stddev**2

    def at_floor(self, p: Predictive) -> Tensor:
        return self.scale.share_at_floor(p.stddev / self.unit_stddev)

    def statistics(self, p: Predictive, batch: RowBatch) -> Tensor:
        return self.scale.statistics(p.mean, batch)

    def update(self, statistics: Tensor) -> None:
        self.scale.update(statistics)
