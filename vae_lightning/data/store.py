"""Rows of one part, in model units, behind the one face that training and statistics know."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Self

import torch
from torch import Tensor

from vae_lightning.data.batch import Batch

ROWS_AT_ONCE = 8192


class RowStore(ABC):
    """Rows that can be gone through again and again: statistics are folds over :meth:`batches`."""

    @property
    @abstractmethod
    def num_rows(self) -> int:
        """N."""

    @abstractmethod
    def batches(self, num_rows: int = ROWS_AT_ONCE) -> Iterator[Batch]:
        """The rows in order, at most ``num_rows`` at a time, from the first."""

    @abstractmethod
    def select(self, index: Tensor) -> Batch:
        """The rows at ``index`` (B,), a tensor on the store's device."""

    @abstractmethod
    def to(self, device: torch.device) -> "RowStore":
        """The same rows for a model on ``device``."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where batches come from."""


class RowsInMemory(RowStore):
    """Rows as tensors on one device.

    Args:
        rows: all of them; the loader's batches are views or copies of it.
    """

    def __init__(self, rows: Batch) -> None:
        self.rows = rows

    @classmethod
    def of(cls, batches: Iterable[Batch]) -> Self:
        """All rows of ``batches``, which have the same parts."""
        parts = zip(*batches, strict=True)
        return cls(Batch(*(None if part[0] is None else torch.cat(part) for part in parts)))  # type: ignore[arg-type]

    @property
    def num_rows(self) -> int:
        return self.rows.num_rows

    @property
    def device(self) -> torch.device:
        return self.rows.x.device

    def batches(self, num_rows: int = ROWS_AT_ONCE) -> Iterator[Batch]:
        return iter(self.rows.split(num_rows))

    def select(self, index: Tensor) -> Batch:
        return self.rows.select(index)

    def to(self, device: torch.device) -> "RowsInMemory":
        if device == self.device:
            return self
        return RowsInMemory(Batch(*(None if part is None else part.to(device) for part in self.rows)))  # type: ignore[arg-type]
