"""One value that many rows share to a place of its own, all others to normal scores."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.preprocess.gaussianize import Gaussianize
from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.moments import RowBatches, column_means
from vae_lightning.likelihoods.support import SHARED


class Hurdle(Scaling):
    """The shared value of each column to `SHARED`, the others as ``gaussianize`` maps them, fitted to them alone.

    Args:
        num_columns: C.
        shared: each column's value, C of them.
        num_knots: of the map of the others, as for ``gaussianize``.

    Raises:
        ConfigError: when there is not one value for each column.
    """

    CHOOSABLE = False
    shared: Tensor
    share_of_others: Tensor

    def __init__(self, num_columns: int, shared: Sequence[float], num_knots: int = 2) -> None:
        super().__init__(num_columns)
        check_parameter("Hurdle", "shared", len(shared) == num_columns, f"{num_columns} values", shared)
        self.register_buffer("shared", torch.tensor(list(shared), dtype=torch.float64))
        self.register_buffer("share_of_others", torch.ones(num_columns, dtype=torch.float64))
        self.others = Gaussianize(num_columns, num_knots)

    def _fit(self, rows: RowBatches) -> None:
        self.others.fit(_Others(rows, self.shared))
        self.share_of_others.copy_(column_means(rows, lambda x: (x != self.shared).double()))

    def options(self) -> dict[str, object]:
        return {"shared": self.shared.tolist(), "num_knots": self.others.options()["num_knots"]}

    @property
    def description(self) -> str:
        return f"{self.others.description} but for shared values"

    def transform(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        return torch.where(x.to(torch.float64) == self.shared, SHARED, self.others.transform(x))

    def inverse(self, u: Tensor) -> Tensor:
        return torch.where(u == SHARED, self.shared, self.others.inverse(u))

    def inverse_stddev(self, stddev: Tensor, mean: Tensor) -> Tensor:
        return self.others.inverse_stddev(stddev, mean)

    def log_slopes(self, u: Tensor) -> Tensor:
        # A probability does not change with the units.
        return torch.where(u == SHARED, 0.0, self.others.log_slopes(u))

    def mean_log_slopes(self) -> Tensor:
        return self.share_of_others * self.others.mean_log_slopes()

    def max_log_slopes(self) -> Tensor:
        return self.others.max_log_slopes().clamp_min(0.0)


class _Others:
    """Rows whose shared values are masked."""

    def __init__(self, rows: RowBatches, shared: Tensor) -> None:
        self.rows = rows
        self.shared = shared

    def batches(self) -> Iterator[Batch]:
        """As of the rows."""
        for batch in self.rows.batches():
            other = batch.x != self.shared
            yield Batch(batch.x, other if batch.mask is None else batch.mask & other, weight=batch.weight)
