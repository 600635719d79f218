"""Column shapes: whether each column has the values of the real one, whatever stands beside it."""

import numpy as np

from vae_lightning.comparison.tables import Coded


def column_shapes(real: Coded, other: Coded) -> dict[str, float]:
    """The likeness of each column, from 0 to 1, where 1 is the same distribution.

    For numbers 1 − sup|F_real − F_other|, the complement of the Kolmogorov-Smirnov distance; for categories 1 − ½ Σ
    |p_real − p_other|, the complement of the total variation. Those are KSComplement and TVComplement of SDMetrics; an
    empty cell, which these leave out, is a value of its own here: a category, or a number beyond all others.
    """
    scores = {name: 1 - kolmogorov_smirnov(real.column(name), other.column(name)) for name in real.kinds.numbers}
    for name in real.kinds.categories:
        scores[name] = 1 - total_variation(real.column(name), other.column(name))
    return scores


def kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    """The greatest difference of two empirical distribution functions, sup|F_a − F_b|; NaN is beyond all numbers.

    Args:
        a: (N,).
        b: (M,).

    >>> kolmogorov_smirnov(np.array([0.0, 1.0]), np.array([1.0, 2.0, 2.0, 2.0]))
    0.75
    """
    a, b = (np.sort(np.where(np.isnan(values), np.inf, values)) for values in (a, b))
    points = np.concatenate([a, b])
    shares = [np.searchsorted(values, points, side="right") / len(values) for values in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


def total_variation(a: np.ndarray, b: np.ndarray) -> float:
    """Half the sum of the differences of shares, ½ Σ|p_a − p_b|.

    Args:
        a: codes, (N,).
        b: codes, (M,).

    >>> total_variation(np.array([0, 0, 1, 1]), np.array([0, 2]))
    0.5
    """
    size = int(max(a.max(), b.max())) + 1
    shares = [np.bincount(codes, minlength=size) / len(codes) for codes in (a, b)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)
