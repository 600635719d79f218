"""Modules whose statistics keep their digits."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class ExactBuffers(nn.Module):
    """A module whose own buffers stay float64 whatever precision the model is cast to."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        before = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)
        for name, value in before.items():
            if getattr(self, name).dtype != value.dtype:  # a cast of the model: statistics keep their digits
                setattr(self, name, value.to(getattr(self, name).device))
        return self
