"""Data as they are."""

import torch
from torch import Tensor

from vae_lightning.data.preprocess.base import Scaling


class Identity(Scaling):
    """Data as they are."""

    @property
    def description(self) -> str:
        return "as they are"

    def transform(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        return x.to(torch.float32)

    def inverse(self, u: Tensor) -> Tensor:
        return u.to(torch.float64)
