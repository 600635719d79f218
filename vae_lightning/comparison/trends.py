"""Pair trends: whether two columns go together as the real ones do."""

import itertools
import math
from collections.abc import Iterable

import numpy as np

from vae_lightning.comparison.shapes import total_variation
from vae_lightning.comparison.tables import Coded, Kinds

BINS = 10
Pair = tuple[str, str]


def choose_pairs(kinds: Kinds, most: int, rng: np.random.Generator) -> list[Pair]:
    """All pairs of columns, or ``most`` of them drawn at random where there are more."""
    names = [*kinds.numbers, *kinds.categories]
    total = math.comb(len(names), 2)
    if total <= most:
        return list(itertools.combinations(names, 2))
    found: set[tuple[int, int]] = set()
    while len(found) < most:
        i, j = sorted(rng.choice(len(names), 2, replace=False).tolist())
        found.add((i, j))
    return [(names[i], names[j]) for i, j in sorted(found)]


def pair_trends(real: Coded, other: Coded, pairs: Iterable[Pair]) -> dict[Pair, float]:
    """The likeness of each pair, from 0 to 1, where 1 is the same trend; pairs without one are left out.

    For two columns of numbers 1 − |ρ_real − ρ_other| / 2 with Pearson's correlation, over the rows that have both; for
    two of categories 1 − ½ Σ|p_real − p_other| over the cells of their joint table; for a column of each kind the same,
    with the numbers cut into ten bins between the least and the greatest real one. Those are CorrelationSimilarity and
    ContingencySimilarity of SDMetrics. A correlation that does not exist in one of the tables alone, as its column
    holds one value, counts as 0 there; SDMetrics would leave such a pair out, and so reward a column that is lost.
    """
    cuts = {name: _edges(real.column(name)) for name in real.kinds.numbers}

    def codes(table: Coded, name: str) -> np.ndarray:
        values = table.column(name)
        # NaN falls behind the last edge, into a bin of its own.
        return np.digitize(values, cuts[name]) if table.kinds.is_number(name) else values

    scores = {}
    for first, second in pairs:
        if real.kinds.is_number(first) and real.kinds.is_number(second):
            trends = [correlation(table.column(first), table.column(second)) for table in (real, other)]
            if not all(math.isnan(trend) for trend in trends):
                ours, theirs = (0.0 if math.isnan(trend) else trend for trend in trends)
                scores[first, second] = 1 - abs(ours - theirs) / 2
        else:
            joint = [(codes(table, first), codes(table, second)) for table in (real, other)]
            scores[first, second] = 1 - _joint_variation(*joint)
    return scores


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of the rows that have both values; NaN where one of the two does not vary.

    Args:
        a: (N,), NaN where a cell is empty.
        b: likewise.
    """
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = a[both], b[both]
    if len(a) < 2 or a.min() == a.max() or b.min() == b.max():
        return math.nan
    a, b = (_standardize(values) for values in (a, b))
    return float(np.clip(np.mean(a * b), -1, 1))


def _standardize(values: np.ndarray) -> np.ndarray:
    centred = values / np.abs(values).max()  # no square of it can overflow
    centred = centred - centred.mean()
    centred = centred / np.abs(centred).max()
    return np.asarray(centred / centred.std())


def _edges(values: np.ndarray) -> np.ndarray:
    seen = values[~np.isnan(values)]
    low, high = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    edges[[0, -1]] = -np.inf, np.inf
    return edges


def _joint_variation(ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]) -> float:
    width = int(max(ours[1].max(), theirs[1].max())) + 1
    cells = np.concatenate([first * width + second for first, second in (ours, theirs)])
    _, places = np.unique(cells, return_inverse=True)
    return total_variation(places[: len(ours[0])], places[len(ours[0]) :])
