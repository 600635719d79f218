"""Statistics of columns as folds over batches: rows need not be in memory at once.

Rows are anything re-iterable in batches: ``rows.batches()`` starts anew each time, and every batch has ``x`` (B, C),
``mask`` (B, C) or None and ``weight`` (B,), or (B, C) for each cell, or None. Masked cells count for nothing.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

CONSTANT = 1e-14
"""A variance below this share of the squared mean is float rounding."""


class RowBatch(Protocol):
    """What a fold needs of a batch."""

    @property
    def x(self) -> Tensor: ...
    @property
    def mask(self) -> Tensor | None: ...
    @property
    def weight(self) -> Tensor | None: ...


class RowBatches(Protocol):
    """Rows that can be gone through again and again, a batch at a time."""

    def batches(self) -> Iterator[RowBatch]:
        """The batches, from the first."""


def cell_weights(batch: RowBatch) -> Tensor:
    """How much each cell counts, shape (B, C), float64: its row's weight, 0 where it is masked."""
    weights = torch.ones_like(batch.x, dtype=torch.float64)
    if batch.weight is not None:
        weights *= batch.weight.double().view(len(weights), -1)
    return weights if batch.mask is None else torch.where(batch.mask, weights, 0.0)


def column_means(rows: RowBatches, function: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
    """The mean of ``function(x)`` in each column, shape (C,), float64; 0 in a column without a cell.

    Args:
        rows: the rows.
        function: of values (B, C), float64, elementwise.
    """
    total, weight = column_sums(rows, function)
    return total / weight.clamp_min(torch.finfo(torch.float64).tiny)


def column_sums(rows: RowBatches, function: Callable[[Tensor], Tensor] = lambda x: x) -> tuple[Tensor, Tensor]:
    """The weighted sum of ``function(x)`` in each column and the sum of the weights, both (C,), float64."""
    total: Tensor | float = 0.0
    weight: Tensor | float = 0.0
    for batch in rows.batches():
        weights = cell_weights(batch)
        # Where nothing counts, what stands there may be anything, also NaN.
        values = torch.where(weights > 0, function(batch.x.double()), 0.0)
        total = total + (weights * values).sum(0)
        weight = weight + weights.sum(0)
    return torch.as_tensor(total), torch.as_tensor(weight)


def column_ranges(rows: RowBatches) -> tuple[Tensor, Tensor]:
    """The least and the greatest value of each column, both (C,), float64; 0 and 0 in a column without a cell."""
    low, high = torch.tensor(torch.inf), torch.tensor(-torch.inf)
    for batch in rows.batches():
        seen = cell_weights(batch) > 0
        x = batch.x.double()
        low = torch.minimum(low.to(x), torch.where(seen, x, torch.inf).amin(0))
        high = torch.maximum(high.to(x), torch.where(seen, x, -torch.inf).amax(0))
    empty = low > high
    return torch.where(empty, 0.0, low), torch.where(empty, 0.0, high)


def column_medians(rows: RowBatches, passes: int = 45) -> Tensor:
    """The median of each column, shape (C,), float64, to 2^-45 of the column's range: bisection on the share below.

    Each pass goes through the rows once, so that they need not be sorted or held in memory.
    """
    low, high = column_ranges(rows)
    for _ in range(passes):
        middle = (low + high) / 2
        share = column_means(rows, lambda x, middle=middle: (x <= middle).double())  # type: ignore[misc]
        low, high = torch.where(share < 0.5, middle, low), torch.where(share < 0.5, high, middle)
    return (low + high) / 2


RARE = 10.0
"""Rows that a column's variance must come from before anything can be learned of it."""
PLAIN = 6.0
"""The kurtosis of a Laplace: a column with no more is an ordinary one, however few the rows."""


def held_variances(rows: RowBatches) -> Tensor:
    """The variance of each column that no model may explain away, shape (C,), float64; 0 for an ordinary column.

    A column that differs from its mean in a handful of rows can be learned by heart, and its scale then vanishes: the
    next row that differs costs millions of nats. How many rows its variance comes from is
    ``n_eff = (Σ d²)² / Σ d⁴`` with deviations d (N / kurtosis; N / 3 for a normal, k for k equal events). Below
    ``RARE`` the whole variance is held, unless it is only that the rows are few, though as many: kurtosis at most
    ``PLAIN``. Of a constant column, one that never differed here, as much is held as such columns vary on average:
    those that differed at times, and those that did not; at least as if one row more had differed by 1,
    ``1 / (N + 1)``.
    """
    mean = column_means(rows)
    square, cells = column_sums(rows, lambda x: (x - mean).square())
    fourth, _ = column_sums(rows, lambda x: (x - mean) ** 4)
    variance = square / cells.clamp_min(1)
    is_constant = variance <= CONSTANT * (1 + mean.square())
    most = torch.where(cells < RARE, RARE, (cells / PLAIN).clamp(max=RARE))
    is_rare = ~is_constant & (square.square() < most * fourth)
    usual = variance[is_rare].sum() / (is_rare | is_constant).sum().clamp_min(1)
    return torch.where(is_constant, torch.maximum(1 / (cells + 1), usual), torch.where(is_rare, variance, 0.0))


class Together:
    """The rows of several parts, one after the other."""

    def __init__(self, *parts: RowBatches) -> None:
        self.parts = parts

    def batches(self) -> Iterator[RowBatch]:
        """As of the parts."""
        return (batch for part in self.parts for batch in part.batches())


class SomeColumns:
    """Some columns of rows.

    Args:
        rows: all columns.
        columns: which, in this order.
    """

    def __init__(self, rows: RowBatches, columns: list[int]) -> None:
        self.rows = rows
        self.columns = columns

    def batches(self) -> "Iterator[SomeColumnsBatch]":
        """As of the rows."""
        return (SomeColumnsBatch(batch, self.columns) for batch in self.rows.batches())


class SomeColumnsBatch:
    """Some columns of a batch."""

    def __init__(self, batch: RowBatch, columns: list[int]) -> None:
        self.x = batch.x[:, columns]
        self.mask = None if batch.mask is None else batch.mask[:, columns]
        of_cells = batch.weight is not None and batch.weight.dim() == 2
        self.weight = batch.weight[:, columns] if of_cells else batch.weight  # type: ignore[index]
