"""Each value to 0 or 1."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vae_lightning.data.preprocess.minmax import MinMax
from vae_lightning.errors import DataError
from vae_lightning.likelihoods.moments import RowBatches


class Binarize(MinMax):
    """Each value to 0 or 1, by a threshold in data units.

    Args:
        num_columns: C.
        value_range: ``(lowest, highest)`` legal value, the same for all columns; None takes the training rows' own.
        threshold: A value above it becomes 1, in data units and the same for all columns; None takes the middle of
            the range that `MinMax` would use.
        resample: Draw each bit with its level, where it lies in that range, as the probability of 1, whenever
            `transform` is given a generator.
            Without one nothing is random and the threshold decides, so that equal rows give equal bits.

    Raises:
        DataError: A threshold that is no number or leaves no two values, or an illegal range.
    """

    is_invertible = False

    def __init__(
        self,
        num_columns: int,
        value_range: Sequence[float] | None = None,
        threshold: float | None = None,
        resample: bool = False,
    ) -> None:
        super().__init__(num_columns, value_range)
        if threshold is not None and not math.isfinite(threshold):
            raise DataError(
                f"The 'threshold' parameter of Binarize must be a finite number. Got {threshold!r} instead."
            )
        self.threshold = threshold
        self.resample = resample

    def _fit(self, rows: RowBatches) -> None:
        super()._fit(rows)
        if self.threshold is None:
            return
        low, high = (float(value) for value in (self.low.min(), (self.low + self.scale).max()))
        if not low <= self.threshold < high:
            raise DataError(
                f"The 'threshold' parameter of Binarize must lie within the data, {low:.6g} to {high:.6g}: it is in "
                f"their units. Got {self.threshold:g} instead."
            )

    def options(self) -> dict[str, object]:
        return {**super().options(), "threshold": self.threshold, "resample": self.resample}

    @property
    def description(self) -> str:
        # Where bits are drawn, the threshold decides nothing that is measured.
        at = "half of the range" if self.threshold is None else f"{self.threshold:g}"
        return "binarized at random" if self.resample else f"binarized at {at}"

    def transform(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if self.resample and generator is not None:
            return self.draw(self.levels(x), generator)
        # In float64, so that a value of exactly the threshold is not pushed over it by rounding.
        above = self._unit(x) > 0.5 if self.threshold is None else x.to(torch.float64) > self.threshold
        return above.to(torch.float32)

    @staticmethod
    def draw(levels: Tensor, generator: torch.Generator) -> Tensor:
        """Bits that are 1 with the probabilities ``levels``; the generator is on the same device."""
        return torch.bernoulli(levels, generator=generator)

    def mean_log_slopes(self) -> Tensor:
        return torch.zeros_like(self.scale)
