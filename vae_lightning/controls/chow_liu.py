"""Chow-Liu tree: the best model of binary columns in which each depends on at most one other."""

import numpy as np
import torch
from torch import Tensor

from vae_lightning.controls.base import Control
from vae_lightning.controls.rows import spread
from vae_lightning.data.batch import Batch, Batches
from vae_lightning.likelihoods.moments import RowBatch

IMAGINED = 0.5
"""Imagined rows in each of the four cells of a pair: one of each value in a column, as the Bernoulli baseline has."""
MAX_COLUMNS = 8192
"""Pairs are counted in a table of columns × columns: 512 MiB at this number, thrice that where cells are masked."""
MAX_PRODUCTS = 2**37
"""Most multiplications that counting takes, some ten seconds; beyond, fewer rows count: 5,500 of 5,000 columns."""
CELLS_AT_ONCE = 2**20


class ChowLiuTree(Control):
    """``log p(x) = Σ_c log p(x_c | x_parent(c))``, fitted to rows of 0 and 1.

    The spanning tree of the greatest mutual information has the greatest likelihood of all trees (Chow & Liu 1968).
    Here an edge stays only where it pays for its parameter, ``N · information > ½ log N`` (Rissanen 1978), so that
    columns which know nothing of one another remain the independent columns of the baseline. All probabilities are
    smoothed by ``IMAGINED`` rows, so that no row costs infinity.

    Masked cells count for nothing when the tree is fitted, and are summed over exactly when rows are scored.

    Args:
        rows: the training rows (N, C), at most ``MAX_COLUMNS`` columns. A value between 0 and 1 counts as a cell that
            is 1 with that probability, whatever the others are.

    Attributes:
        parent: for each column the one that it depends on, shape (C,); C where it depends on none.
    """

    def __init__(self, rows: Batches) -> None:
        pairs = _Pairs(rows)
        size = pairs.num_columns
        parent, depth = np.full(size, size), np.zeros(size, dtype=int)
        # log p(x_c = b | x_parent = a), (C, 2, 2); the parent of a root is an imagined column that makes no difference.
        table = np.empty((size, 2, 2))
        waiting, gain = np.ones(size, dtype=bool), np.zeros(size)
        # Prim's algorithm: the column that gains most from one in the tree joins it, and is offered to all that wait.
        for _ in range(size):
            column = int(np.where(waiting, gain, -np.inf).argmax())
            known, joint = parent[column], pairs.joint(column)
            counts = joint[:, :, column].sum(0)[None] if known == size else joint[:, :, known].T
            table[column] = np.log(counts / counts.sum(1, keepdims=True))
            depth[column] = 0 if known == size else depth[known] + 1
            waiting[column] = False
            offer = _gain(joint)
            better = waiting & (offer > gain)
            gain[better], parent[better] = offer[better], column
        self.parent = torch.from_numpy(parent)
        self._table = torch.from_numpy(table)
        self._levels = [torch.from_numpy(np.flatnonzero(depth == level)) for level in range(depth.max(), -1, -1)]

    @property
    def words(self) -> str:
        return "a Chow-Liu tree"

    def log_prob(self, batch: RowBatch) -> Tensor:
        if batch.mask is None:
            return self._look_up(batch.x.double())
        rows_at_once = max(1, CELLS_AT_ONCE // len(self.parent))
        pieces = zip(batch.x.double().split(rows_at_once), batch.mask.split(rows_at_once), strict=True)
        return torch.cat([self._pass_up(x, mask) for x, mask in pieces])

    def _look_up(self, x: Tensor) -> Tensor:
        """The sum of the cells' entries of the table, bilinear in a cell and its parent."""
        (neither, own), (above, both) = self._table.to(x).permute(1, 2, 0)
        parents = torch.cat([x, x.new_zeros(len(x), 1)], 1)[:, self.parent.to(x.device)]
        return (
            neither.sum()
            + x @ (own - neither)
            + parents @ (above - neither)
            + (x * parents) @ (both - own - above + neither)
        )

    def _pass_up(self, x: Tensor, mask: Tensor) -> Tensor:
        """From the leaves up: what a column's branch says of the two values of its parent, summed over its own."""
        # (2, C + 1, B): log p(what is observed in a column and below it | its value), so far as it has been told.
        below = torch.where(mask, torch.stack([(1 - x).log(), x.log()]), 0.0).mT
        below = torch.cat([below, below.new_zeros(2, 1, len(x))], 1)
        parent, table = self.parent.to(x.device), self._table.to(x.device)[..., None]
        for level in self._levels:
            own, given = below[:, level], table[level]
            for value in (0, 1):
                says = torch.logaddexp(own[0] + given[:, value, 0], own[1] + given[:, value, 1])
                below[value].index_add_(0, parent[level], says)
        return below[0, -1]


def _gain(joint: np.ndarray) -> np.ndarray:
    """``N · information − ½ log N`` of pairs with the counts ``joint`` (2, 2, C), nats, shape (C,)."""
    total = joint.sum((0, 1))
    p = joint / total
    information = (p * np.log(p / (p.sum(0) * p.sum(1, keepdims=True)))).sum((0, 1))
    return total * information - np.log(total) / 2


class _Pairs:
    """How often the values of each pair of columns come together, by weight."""

    def __init__(self, rows: Batches) -> None:
        self.num_columns = next(rows.batches()).x.shape[1]
        # Σ x_i x_j, Σ x_i and Σ 1 over the rows that have both cells; the latter two are alike for all j, and
        # kept once, where no cell is masked.
        sums: list[Tensor] | None = None
        for batch in spread(rows, MAX_PRODUCTS // self.num_columns**2):
            parts = [part.double().cpu() for part in _products(batch)]
            sums = parts if sums is None else [total + part for total, part in zip(sums, parts, strict=True)]
        assert sums is not None
        shape = (self.num_columns, self.num_columns)
        self._both, self._one, self._seen = (part.expand(shape).numpy() for part in sums)

    def joint(self, column: int) -> np.ndarray:
        """Counts of a column's values and those of every other, (2, 2, C), smoothed; with itself, of its own alone."""
        both, one, other = self._both[column].copy(), self._one[column], self._one[:, column]
        both[column] = one[column]  # a value between 0 and 1 is one cell, not two that happen to be alike
        neither = self._seen[column] - one - other + both
        return np.stack([neither, other - both, one - both, both]).reshape(2, 2, -1) + IMAGINED


def _products(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    x = batch.x if batch.mask is None else torch.where(batch.mask, batch.x, 0.0)
    weight = torch.ones_like(x[:, 0]) if batch.weight is None else batch.weight.to(x)
    weighted = weight[:, None] * x
    if batch.mask is None:
        return weighted.T @ x, weighted.sum(0)[:, None], weight.sum()[None, None]
    seen = batch.mask.to(x)
    return weighted.T @ x, weighted.T @ seen, (weight[:, None] * seen).T @ seen
