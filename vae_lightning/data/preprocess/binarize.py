"""Each value to 0 or 1."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vae_lightning.data.preprocess.minmax import MinMax
from vae_lightning.errors import DataError


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

    is_invertible = False

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
    def description(self) -> str:
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
