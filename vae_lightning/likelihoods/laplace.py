"""Laplace likelihood: absolute instead of squared error, for columns with outliers."""

import math

from torch import Tensor
from torch.distributions import Laplace as LaplaceDistribution

from vae_lightning.likelihoods.base import ColumnDistribution, Predictive
from vae_lightning.likelihoods.location_scale import LocationScale
from vae_lightning.likelihoods.moments import RowBatches, column_means, column_medians
from vae_lightning.likelihoods.scale import Scale, ScaleKind


class Laplace(LocationScale):
    """Independent Laplace distributions: ``log p(x|raw) = -|x - m| / b - log 2b`` with median m the raw output.

    Its standard deviation is √2 b. A density may exceed 1; no column gives more than ``-log(2 min_scale)`` nats (10.82
    at the default).

    Args:
        num_columns: number of columns C.
        scale: where b comes from: ``fixed``, ``shared``, ``per_column``, ``predicted`` or ``optimal``, as the variance
            of :class:`~vae_lightning.likelihoods.gaussian.Gaussian`; the analytic maximiser is b = mean |x - m|.
        fixed_scale: b where it is fixed, in model units.
        min_scale: floor under b, in model units.
        momentum: weight of the newest batch in the running mean of ``optimal``.

    Raises:
        ConfigError: for an unknown ``scale``, a ``fixed_scale`` or ``min_scale`` that is not positive, a ``min_scale``
            of 1 or more, or a ``momentum`` outside (0, 1].
    """

    unit_stddev = math.sqrt(2)

    def __init__(
        self,
        num_columns: int,
        scale: ScaleKind = "per_column",
        fixed_scale: float = 1.0,
        min_scale: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__(
            num_columns,
            Scale(num_columns, scale, fixed_scale, min_scale, momentum, 1, "Laplace", "scale", "fixed_scale"),
        )

    def predict(self, location: Tensor, scale: Tensor) -> Predictive:
        return ColumnDistribution(LaplaceDistribution(location, scale, validate_args=False))

    def fit(self, rows: RowBatches) -> tuple[Tensor, Tensor]:
        """Each column's median, float32, and mean absolute distance from it, float64."""
        median = column_medians(rows)
        return median.float(), column_means(rows, lambda x: (x - median).abs())

    def max_log_prob(self) -> Tensor:
        return (-math.log(2) - self.scale.least.log()).expand(self.num_columns)
