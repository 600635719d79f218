"""Whether numbers that come again and again are levels in an order or names that happen to be numbers."""

from collections.abc import Sequence

import numpy as np
from numpy.polynomial.chebyshev import chebvander

MOST_ROWS = 20_000
"""Rows that are looked at."""
MOST_OTHERS = 16
"""Other columns that are looked at."""
DEGREE = 4
GAIN = 0.03
"""Nats a row by which numbers must say more as names than as levels in an order, all others together."""


def are_in_order(x: np.ndarray, columns: Sequence[int]) -> list[bool]:
    """For some columns, whether what the other columns hold follows the order of their numbers.

    The ranks of the others are predicted on rows left out, once by their mean at each number, once by a polynomial in
    the number's rank; the order counts unless the means are better.

    Args:
        x: rows (N, C), NaN where a cell is empty.
        columns: which are asked about.
    """
    x = x[:: -(-len(x) // MOST_ROWS)]
    ranks = {index: _rank(x[:, index])[0] for index in np.linspace(0, x.shape[1] - 1, MOST_OTHERS + 1).astype(int)}
    return [_is_in_order(x[:, index], [ranks[other] for other in ranks if other != index]) for index in columns]


def _is_in_order(x: np.ndarray, others: Sequence[np.ndarray]) -> bool:
    seen = ~np.isnan(x)
    if seen.sum() < 2 or not others:
        return True
    rank, places = _rank(x[seen])
    size = places.max() + 1
    y = np.nan_to_num(np.stack(others, axis=1)[seen])
    y = y - y.mean(0)
    curves = chebvander(rank, min(DEGREE, max(size - 2, 0)))
    is_train = np.arange(len(y)) % 2 == 0
    by_order, by_name = np.zeros(y.shape[1]), np.zeros(y.shape[1])
    for train in (is_train, ~is_train):
        weights = np.linalg.lstsq(curves[train], y[train], rcond=None)[0]
        by_order += np.square(y[~train] - curves[~train] @ weights).sum(0)
        sums = np.stack([np.bincount(places[train], column, size) for column in y[train].T], axis=1)
        # One imagined row in the middle of the others, so that rare numbers promise little.
        means = sums / (np.bincount(places[train], minlength=size) + 1)[:, None]
        by_name += np.square(y[~train] - means[places[~train]]).sum(0)
    varies = by_order > 0
    return bool(0.5 * np.log(by_order[varies] / by_name[varies].clip(1e-12)).sum() <= GAIN)


def _rank(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each value stands among all, from -1 to 1, ties in the middle; and its place among the different ones."""
    ranks, places = np.full(len(x), np.nan), np.zeros(len(x), dtype=int)
    seen = ~np.isnan(x)
    _, places[seen], counts = np.unique(x[seen], return_inverse=True, return_counts=True)
    middles = (np.cumsum(counts) - 0.5 * counts) / max(seen.sum(), 1)
    ranks[seen] = 2 * middles[places[seen]] - 1
    return ranks, places
