"""Privacy: whether rows lie closer to those that were trained on than to others of the same kind."""

from typing import NamedTuple

import numpy as np

from vae_lightning.comparison.tables import Coded

CELLS_AT_ONCE = 2**21


class Closeness(NamedTuple):
    """Where rows lie between training rows and as many held-out rows.

    Attributes:
        closer_to_training: the share of rows whose closest training row is closer than their closest held-out row, ties
            counted half; 0.5 is what rows have that know neither.
        distance_ratio: the median distance to the closest training row over that to the closest held-out row; 1
            likewise, and less where training rows were copied.
    """

    closer_to_training: float
    distance_ratio: float


def closeness(rows: Coded, train: Coded, held_out: Coded) -> Closeness:
    """Compare the distances of ``rows`` to the closest of ``train`` and of ``held_out``, which are as many.

    The median ratio is 1 where both medians are 0, as in tables of few categories, and NaN where the second alone is.
    """
    ranges = column_ranges(train)
    to_train, to_held_out = (closest_distances(rows, reference, ranges) for reference in (train, held_out))
    ties = np.isclose(to_train, to_held_out, rtol=1e-12, atol=1e-15)
    closer = float(np.mean(np.where(ties, 0.5, to_train < to_held_out)))
    medians = float(np.median(to_train)), float(np.median(to_held_out))
    if medians[1] == 0:
        return Closeness(closer, 1.0 if medians[0] == 0 else float("nan"))
    return Closeness(closer, medians[0] / medians[1])


def column_ranges(table: Coded) -> np.ndarray:
    """The range of each column of numbers, (P,); 0 where none is observed."""
    seen = np.where(np.isnan(table.numbers), -np.inf, table.numbers).max(axis=0, initial=-np.inf)
    least = np.where(np.isnan(table.numbers), np.inf, table.numbers).min(axis=0, initial=np.inf)
    return np.maximum(np.where(seen >= least, seen, 0) - np.where(seen >= least, least, 0), 0)


def closest_distances(rows: Coded, reference: Coded, ranges: np.ndarray) -> np.ndarray:
    """Gower's distance of each row to the closest of ``reference``, (N,), from 0 to 1.

    The mean over columns of |a − b| / range, at most 1, for numbers; of 0 or 1 for categories. An empty cell is at
    distance 0 from an empty cell and 1 from any other. The same as the distance to the closest record of SDMetrics,
    which takes the range of the reference.

    Args:
        rows: N rows.
        reference: M rows.
        ranges: of the columns of numbers, (P,).
    """
    num_columns = rows.numbers.shape[1] + rows.codes.shape[1]
    step = max(1, CELLS_AT_ONCE // len(reference))
    found = [
        _sums(rows.take(np.arange(i, min(i + step, len(rows)))), reference, ranges).min(axis=1)
        for i in range(0, len(rows), step)
    ]
    return np.concatenate(found) / num_columns


def _sums(rows: Coded, reference: Coded, ranges: np.ndarray) -> np.ndarray:
    """Sums over columns, (N, M)."""
    total = np.zeros((len(rows), len(reference)))
    for i, width in enumerate(ranges):
        a, b = rows.numbers[:, i, None], reference.numbers[None, :, i]
        # A column that does not vary tells same from other.
        gap = np.minimum(np.abs(a - b) / width, 1) if width > 0 else (a != b).astype(np.float64)
        if np.isnan(a).any() or np.isnan(b).any():
            gap = np.where(np.isnan(a) | np.isnan(b), np.isnan(a) != np.isnan(b), gap)
        total += gap
    for i in range(rows.codes.shape[1]):
        total += rows.codes[:, i, None] != reference.codes[None, :, i]
    return total
