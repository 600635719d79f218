"""The covariance of rows as something that multiplies: whole where columns are few, of low rank where they are many."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from vae_lightning.likelihoods.moments import RowBatches, cell_weights, column_means

MOST_WHOLE = 2048
"""Columns up to which the covariance is held whole: 32 MiB. Above, it is of low rank."""
POWERS = 2
"""Power iterations of the randomised singular value decomposition (Halko et al. 2011, algorithm 4.4)."""


@dataclass(frozen=True)
class Moments:
    """What of N rows (N, C) a linear model is made from; all float64, on the CPU.

    Attributes:
        mean: (C,).
        variance: the diagonal of the covariance, (C,).
        held: what no variance may fall below, (C,): 0 unless somebody says otherwise.
        vectors: (C, K): the covariance is ``vectors diag(values) vectorsᵀ`` off its diagonal; None where it is whole.
        values: (K,), or the whole covariance (C, C).
        num_rows: N, the sum of the rows' weights.
    """

    mean: Tensor
    variance: Tensor
    held: Tensor
    vectors: Tensor | None
    values: Tensor
    num_rows: float

    @classmethod
    def of(cls, rows: RowBatches, rank: int) -> Self:
        """Go through ``rows``: once or twice for the statistics of columns, once for the covariance.

        A masked cell counts as its column's mean; the covariance of a pair is over the rows that have both. Of more
        than ``MOST_WHOLE`` columns only the ``rank`` leading components are kept, in ``2 POWERS + 2`` passes.
        """
        mean = column_means(rows)
        num_columns, zeros = len(mean), torch.zeros(len(mean), dtype=torch.float64)
        if num_columns <= MOST_WHOLE:
            total, pairs = torch.zeros(num_columns, num_columns, dtype=torch.float64), torch.tensor(0.0)
            for batch in rows.batches():
                weights = cell_weights(batch)
                deviation = torch.where(weights > 0, batch.x.double() - mean, 0.0)
                total += (weights * deviation).T.to("cpu") @ deviation.to("cpu")
                seen = None if batch.mask is None else (weights > 0).double()
                pairs = pairs + (weights[:, 0].sum() if seen is None else weights.T @ seen)
            covariance = total / pairs.clamp_min(1)
            covariance = covariance if pairs.ndim == 0 else _without_negative_directions(covariance)
            num_rows = float(pairs.max())
            return cls(mean.cpu(), covariance.diagonal().clone(), zeros, None, covariance, num_rows)
        variance = column_means(rows, lambda x: (x - mean).square())
        vectors = torch.randn(num_columns, rank, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        num_rows = 0.0
        for _ in range(POWERS + 1):
            vectors = torch.linalg.qr(_multiply(rows, mean, vectors)[0])[0]
        product, num_rows = _multiply(rows, mean, vectors)
        values, rotation = torch.linalg.eigh(vectors.T @ product / num_rows)
        return cls(mean.cpu(), variance.cpu(), zeros, vectors @ rotation, values.clamp_min(0), num_rows)

    def multiply(self, right: Tensor) -> Tensor:
        """The covariance times ``right`` (C, K)."""
        if self.vectors is None:
            return self.values @ right
        # What the leading components leave of each column's variance stands on the diagonal.
        kept = self.vectors.square() @ self.values
        low_rank = self.vectors @ (self.values[:, None] * (self.vectors.T @ right))
        return low_rank + (self.variance - kept)[:, None] * right


def _without_negative_directions(covariance: Tensor) -> Tensor:
    """The nearest covariance, with its diagonal: over different rows for each pair, one need not be any."""
    spread = covariance.diagonal().clamp_min(torch.finfo(covariance.dtype).tiny).sqrt()
    values, vectors = torch.linalg.eigh(covariance / spread / spread[:, None])
    kept = (vectors * values.clamp_min(0)) @ vectors.T
    again = spread / kept.diagonal().clamp_min(torch.finfo(covariance.dtype).tiny).sqrt()
    return kept * again * again[:, None]


def _multiply(rows: RowBatches, mean: Tensor, right: Tensor) -> tuple[Tensor, float]:
    """``Σ d dᵀ right`` over the deviations d of all rows, and the sum of the rows' weights."""
    total, num_rows = torch.zeros_like(right), 0.0
    for batch in rows.batches():
        weights = cell_weights(batch)
        deviation = torch.where(weights > 0, batch.x.double() - mean, 0.0).cpu()
        weight = weights.amax(1).cpu()
        total += deviation.T @ (weight[:, None] * (deviation @ right))
        num_rows += float(weight.sum())
    return total, num_rows
