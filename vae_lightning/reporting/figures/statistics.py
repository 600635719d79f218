"""The numbers that figures are drawn from."""

import math

import numpy as np

from vae_lightning.comparison.shapes import kolmogorov_smirnov, total_variation

MOST_VALUES, BINS, FEWEST_BINS = 40, 30, 6


def space_evenly(count: int, most: int) -> np.ndarray:
    """At most ``most`` of the numbers below ``count``, evenly spread.

    Files are often sorted, and their first rows no fair choice.
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def compute_distances(real: np.ndarray, drawn: np.ndarray, is_category: np.ndarray) -> np.ndarray:
    """How far each column's real values are from the drawn ones, (C,): 0 for equal distributions, at most 1.

    Kolmogorov's distance; of categories, which have no order, the total variation. Empty cells, which are NaN, are left
    out; a column without any other is at 0.
    """
    columns = zip(real.T, drawn.T, is_category, strict=True)
    return np.array([_distance(x[~np.isnan(x)], y[~np.isnan(y)], is_codes) for x, y, is_codes in columns])


def _distance(x: np.ndarray, y: np.ndarray, is_codes: bool) -> float:
    if not (len(x) and len(y)):
        return 0.0
    if not is_codes:
        return kolmogorov_smirnov(x, y)
    _, place = np.unique(np.concatenate([x, y]), return_inverse=True)
    return total_variation(place[: len(x)], place[len(x) :])


def choose_bins(real: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Bins that both share: one for each whole number where that is enough, else even ones over the bulk of both.

    Empty cells, which are NaN, are left out.
    """
    real, drawn = (values[~np.isnan(values)] for values in (real, drawn))
    if not len(real):
        real = drawn
    low, high = min(real.min(), drawn.min()), max(real.max(), drawn.max())
    if high - low <= MOST_VALUES and all((x == np.rint(x)).all() for x in (real, drawn)):
        return np.arange(low - 0.5, high + 1)
    both = np.concatenate([real, drawn])
    bulk = np.quantile(both, (0.002, 0.998))
    low, high = bulk if bulk[1] > bulk[0] else (low, high)
    if not high > low:
        return low + np.array([-0.5, 0.5])
    # Of few rows, narrow bins hold one or two each, and show nothing but chance.
    return np.linspace(low, high, min(BINS, max(FEWEST_BINS, round(2 * math.sqrt(len(real))))) + 1)


def compute_density(values: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Histogram heights; what lies beyond the bins counts into the outermost ones, and NaN into none."""
    values = values[~np.isnan(values)]
    if not len(values):
        return np.zeros(len(bins) - 1)
    return np.histogram(np.clip(values, bins[0], bins[-1]), bins, density=True)[0]


def compute_principal_axes(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The axes of the first two principal components of ``codes`` (N, L), (2, L), and their shares of the variance."""
    centred = codes - codes.mean(0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])  # an SVD's signs are arbitrary
    return (axes * signs[:, None])[:2], (sizes**2 / max(float((sizes**2).sum()), 1e-300))[:2]


def compute_ellipse(points: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray, float]:
    """The ellipse around the mean of ``points`` (N, 2), of their covariance's shape, that holds a share of them.

    Returns:
        Its centre (2,), its two diameters (2,), and the angle of the first in degrees.
    """
    centre = points.mean(0)
    variances, axes = np.linalg.eigh(np.cov(points.T))
    radius = np.quantile(np.linalg.norm((points - centre) @ axes / np.sqrt(variances), axis=1), share)
    return centre, 2 * radius * np.sqrt(variances), float(np.degrees(np.arctan2(axes[1, 0], axes[0, 0])))
