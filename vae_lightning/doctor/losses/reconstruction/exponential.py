"""Likelihoods written without the terms that hold x alone: natural exponential families."""

from collections.abc import Callable, Sequence

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array

OUTS = (0.25, 0.35, 0.5, 0.65, 0.85)


def find_natural_family(value: Callable[[float, float], float], expected: Sequence[float]) -> tuple[str, float] | None:
    """The family of value(x, out) = w·(A(η) − x·η) + f(x), with η a function of out and f any function of x.

    f is no concern of the optimiser, and libraries leave it out (log x! of the Poisson). A and η are read off through
    differences in out, which f does not survive. ``exp(η)`` is Poisson, ``η²/2`` a Gaussian of unit variance.

    Args:
        value: (x, out) -> the value of one entry.
        expected: The factors w to try.

    Returns:
        Family and factor, or None.
    """
    x = np.array([0.0, 1.0, 2.0, 3.0])
    table = np.array([[value(one, out) for one in x] for out in OUTS])
    if not np.all(np.isfinite(table)):
        return None
    change = table - table[0]
    slope = change[:, 1] - change[:, 0]
    size = float(np.max(np.abs(change)))
    if np.max(np.abs(change - (change[:, :1] + slope[:, None] * x))) > 1e-4 * size or np.max(np.abs(slope)) < 1e-9:
        return None
    intercept, eta = change[:, 0], -slope
    for weight in expected:
        growth = weight * np.expm1(eta / weight)
        rate = float(growth @ intercept / (growth @ growth))
        if rate > 0 and np.max(np.abs(intercept - rate * growth)) < 1e-4 * size:
            return "Poisson", weight
        if weight == 1.0:
            design = np.stack([eta, eta**2], axis=1)
            coefficients, *_ = np.linalg.lstsq(design, intercept, rcond=None)
            curved = coefficients[1] * np.ptp(eta**2) > 0.01 * size
            if curved and np.max(np.abs(design @ coefficients - intercept)) < 1e-6 * size:
                return "Gaussian", weight
        trials = _find_trials(intercept / weight, eta / weight)
        if trials is not None:
            return f"Binomial({trials})", weight
    return None


def _find_trials(intercept: Array, eta: Array) -> int | None:
    """n, two or more, if A = n·log(1 + e^η)."""
    best, misfit = 0.0, np.inf
    low, high = -6.0, 6.0
    for _ in range(9):  # η at the first output is not known: search it, finer each time
        for start in np.linspace(low, high, 25):
            growth = np.logaddexp(0, start + eta) - np.logaddexp(0, start)
            n = float(growth @ intercept / (growth @ growth))
            wrong = float(np.max(np.abs(intercept - n * growth)))
            if wrong < misfit:
                best, misfit, middle = n, wrong, float(start)
        low, high = middle - (high - low) / 12, middle + (high - low) / 12
    whole = round(best) if np.isfinite(best) else 0
    return whole if whole >= 2 and abs(best - whole) < 1e-3 and misfit < 1e-6 * np.max(np.abs(intercept)) else None
