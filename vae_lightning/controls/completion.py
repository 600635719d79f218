"""What rows with empty cells would be as whole ones under a model: the E-step of factor analysis with missing data."""

from dataclasses import replace

import torch
from torch import Tensor

from vae_lightning.controls.covariance import MOST_WHOLE, Moments
from vae_lightning.controls.factor_model import CELLS_AT_ONCE, FactorAnalysis, Known
from vae_lightning.data.batch import Batch
from vae_lightning.data.store import RowsInMemory
from vae_lightning.likelihoods.moments import RowBatches, cell_weights


def has_holes(rows: RowBatches) -> bool:
    """Whether any cell is masked."""
    return any(batch.mask is not None and not bool(batch.mask.all()) for batch in rows.batches())


def complete(rows: RowBatches, model: FactorAnalysis, rank: int) -> tuple[Moments, float]:
    """The moments that a model expects of rows whose masked cells it fills, and its mean log-density of the others.

    Of masked cells their conditional means count, and the covariance that is left of them (Ghahramani & Jordan 1994).
    Of more than ``MOST_WHOLE`` columns only its diagonal does: so many cells leave little open but a cell's own noise.

    Cost: ``O(P L C (L + C))`` for rows with P patterns of holes, beside that of the moments, and a copy of the rows.

    Args:
        rows: the rows.
        model: their model so far.
        rank: as of :meth:`Moments.of`.
    """
    filled, log_prob = [], 0.0
    num_columns = len(model.mean)
    left = torch.zeros((num_columns, num_columns) if num_columns <= MOST_WHOLE else num_columns, dtype=torch.float64)
    for batch in rows.batches():
        weight = cell_weights(batch).amax(1)  # a row without any cell says nothing
        if batch.mask is None:
            filled.append(Batch(batch.x, weight=weight))
            log_prob += float(weight @ model.log_prob(batch))
            continue
        start = 0
        for known in model.observe(batch):
            counts = weight[start : start + len(known.x)]
            start += len(known.x)
            filled.append(Batch(model.fill(known).to(batch.x.dtype), weight=counts))
            left += _uncertainty(model, known, counts, whole=left.ndim == 2)
            log_prob += float(counts @ known.log_prob)
    moments = Moments.of(RowsInMemory.of(filled), rank)
    left = left / moments.num_rows
    variance = moments.variance + (left.diagonal() if left.ndim == 2 else left)
    values = moments.values if moments.vectors is not None else moments.values + left
    return replace(moments, variance=variance, values=values), log_prob / moments.num_rows


def _uncertainty(model: FactorAnalysis, known: Known, weight: Tensor, whole: bool) -> Tensor:
    """The sum over rows of the covariance of their masked cells given the others, (C, C), or its diagonal."""
    num_columns, size = model.loadings.shape
    weights = torch.zeros(len(known.patterns), dtype=torch.float64, device=weight.device).index_add_(
        0, known.pattern, weight
    )
    total = model.noise * ((~known.patterns).double().T @ weights).cpu()
    total = total.diag() if whole else total
    most = max(1, CELLS_AT_ONCE // max(1, size * num_columns))
    for root, mask, some in zip(
        *(part.cpu().split(most) for part in (known.root, known.patterns, weights)), strict=True
    ):
        sides = torch.linalg.solve_triangular(root, model.loadings.T.expand(len(root), -1, -1), upper=False)
        sides = (sides * (some.sqrt()[:, None] * ~mask)[:, None]).flatten(0, 1)
        total += sides.T @ sides if whole else sides.square().sum(0)
    return total
