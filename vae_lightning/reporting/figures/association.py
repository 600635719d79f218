"""How closely two columns go together, whatever their kinds, as one matrix.

Numbers with numbers: their correlation, from -1 to 1. Numbers with categories: the correlation ratio, the root of the
share of the numbers' variance that the category explains. Categories with categories: Cramér's V. The last two are from
0 to 1 and corrected for what chance alone gives of few rows and many levels.

Source: Kelley 1935 (ε², the correction of the correlation ratio); Bergsma 2013 (that of Cramér's V).
"""

import numpy as np

from vae_lightning.comparison.trends import correlation


def compute_associations(rows: np.ndarray, is_category: np.ndarray) -> np.ndarray:
    """The matrix (C, C) of the columns of ``rows`` (N, C), each pair by the rows that have both.

    NaN where one of a pair holds one value, or no rows have both.

    Args:
        rows: numbers, and whole numbers from 0 on as codes of categories; NaN where a cell is empty.
        is_category: which columns hold such codes, (C,), bool.
    """
    size = rows.shape[1]
    if not is_category.any() and not np.isnan(rows).any():
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.atleast_2d(np.corrcoef(rows, rowvar=False))
    found = np.full((size, size), np.nan)
    for i in range(size):
        for j in range(i, size):
            both = ~np.isnan(rows[:, [i, j]]).any(axis=1)
            x, y = rows[both, i], rows[both, j]
            if is_category[i] and is_category[j]:
                value = cramers_v(x, y)
            elif is_category[i] or is_category[j]:
                value = correlation_ratio(*((x, y) if is_category[i] else (y, x)))
            else:
                value = correlation(x, y)
            found[i, j] = found[j, i] = value
    return found


def correlation_ratio(codes: np.ndarray, numbers: np.ndarray) -> float:
    """The root of ``ε² = 1 - (1 - η²)(N - 1) / (N - K)``, at least 0; NaN where one holds one value."""
    _, place, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    if len(sizes) < 2 or len(codes) <= len(sizes) or np.ptp(numbers) == 0:
        return np.nan
    means = np.bincount(place, numbers) / sizes
    left = np.square(numbers - means[place]).sum() / np.square(numbers - numbers.mean()).sum()
    return float(np.sqrt(max(0.0, 1 - left * (len(codes) - 1) / (len(codes) - len(sizes)))))


def cramers_v(x: np.ndarray, y: np.ndarray) -> float:
    """Cramér's V of two columns of codes, corrected for bias; NaN where one holds one value."""
    places = [np.unique(codes, return_inverse=True)[1] for codes in (x, y)]
    shape = tuple(int(place.max(initial=-1)) + 1 for place in places)
    size = len(x)
    if min(shape) < 2 or size < 3:
        return np.nan
    table = np.bincount(places[0] * shape[1] + places[1], minlength=shape[0] * shape[1]).reshape(shape)
    expected = np.outer(table.sum(1), table.sum(0)) / size
    phi2 = float((np.square(table - expected) / expected).sum()) / size
    above = max(0.0, phi2 - (shape[0] - 1) * (shape[1] - 1) / (size - 1))
    least = min(k - (k - 1) ** 2 / (size - 1) for k in shape) - 1
    return float(np.sqrt(min(1.0, above / least))) if least > 0 else np.nan
