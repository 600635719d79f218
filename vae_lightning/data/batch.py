"""The one noun that loaders yield and every function takes."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from torch import Tensor


class Batch(NamedTuple):
    """B rows.

    Attributes:
        x: the values, shape (B, C), in model units; what the likelihood scores.
        mask: which cells were observed, (B, C), bool; None for all. What stands in a masked cell changes nothing.
        condition: what encoder and decoder are told beside the row, (B, K); None where there is nothing.
        weight: how much each row counts in means over rows, (B,); None for equally much.
    """

    x: Tensor
    mask: Tensor | None = None
    condition: Tensor | None = None
    weight: Tensor | None = None

    def split(self, num_rows: int) -> list["Batch"]:
        """The batch in pieces of at most ``num_rows`` rows."""
        pieces = [None if part is None else part.split(num_rows) for part in self]
        count = len(pieces[0] or ())
        return [Batch(*(None if part is None else part[i] for part in pieces)) for i in range(count)]  # type: ignore[arg-type]

    def select(self, index: Tensor) -> "Batch":
        """The rows at ``index``."""
        return Batch(*(None if part is None else part.index_select(0, index) for part in self))  # type: ignore[arg-type]

    def cast(self, like: Tensor) -> "Batch":
        """The batch on the device of ``like`` and in its dtype; a mask stays a mask."""
        x, mask, condition, weight = (None if part is None else part.to(like.device) for part in self)
        assert x is not None
        return Batch(x.to(like.dtype), mask, None if condition is None else condition.to(like.dtype), weight)

    @property
    def num_rows(self) -> int:
        """B; ``len`` counts the parts."""
        return self.x.shape[0]


class Batches(Protocol):
    """Rows that can be gone through again and again, conditions included."""

    def batches(self) -> Iterator[Batch]:
        """The batches, from the first."""
