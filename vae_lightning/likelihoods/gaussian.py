"""Gaussian likelihood with five ways to set its variance, each with a stated floor."""

import math

from torch import Tensor
from torch.distributions import Normal

from vae_lightning.likelihoods.base import ColumnDistribution, Predictive
from vae_lightning.likelihoods.location_scale import LocationScale
from vae_lightning.likelihoods.moments import RowBatches, column_means
from vae_lightning.likelihoods.scale import Scale, ScaleKind


class Gaussian(LocationScale):
    """Independent normals: ``log p(x|raw) = -(x - m)² / 2σ² - log σ - ½ log 2π`` with mean m the raw output.

    A density may exceed 1, so a negative loss can be honest. How negative is limited by the floor under σ: no column
    gives more than ``-½ log(2π min_scale²)`` nats (10.59 at the default), and without a floor the likelihood is
    unbounded (Mattei & Frellsen 2018, theorem 1).

    Args:
        num_columns: number of columns C.
        variance: where σ² comes from.
            ``fixed``: given by ``scale``.
            ``shared``: one learned number.
            ``per_column``: one learned number for each column.
            ``predicted``: emitted by the decoder for each entry (two raw numbers a column).
            ``optimal``: the analytic maximiser, σ² = mean squared error over the training rows
            (Rybkin et al. 2021, eq. 5), tracked as a running mean over batches.
        scale: σ where it is fixed, in model units.
        min_scale: floor under σ, in model units (1 is a column's standard deviation after ``standardize``). The
            learned log-variances are bounded smoothly to ±|2 log min_scale|.
        momentum: weight of the newest batch in the running mean of ``optimal``.

    Raises:
        ConfigError: for an unknown ``variance``, a ``scale`` or ``min_scale`` that is not positive, a ``min_scale`` of
            1 or more, or a ``momentum`` outside (0, 1].
    """

    def __init__(
        self,
        num_columns: int,
        variance: ScaleKind = "per_column",
        scale: float = 1.0,
        min_scale: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__(
            num_columns, Scale(num_columns, variance, scale, min_scale, momentum, 2, "Gaussian", "variance", "scale")
        )

    def predict(self, location: Tensor, scale: Tensor) -> Predictive:
        return ColumnDistribution(Normal(location, scale, validate_args=False))

    def fit(self, rows: RowBatches) -> tuple[Tensor, Tensor]:
        """Each column's mean, float32, and mean squared distance from it, float64."""
        mean = column_means(rows)
        return mean.float(), column_means(rows, lambda x: (x - mean).square())

    def max_log_prob(self) -> Tensor:
        return (-0.5 * math.log(2 * math.pi) - self.scale.least.log()).expand(self.num_columns)
