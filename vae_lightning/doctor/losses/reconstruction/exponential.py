"""Likelihoods written without the terms that hold x alone: natural exponential families."""

from collections.abc import Callable, Sequence

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array

OUTS = (0.25, 0.35, 0.5, 0.65, 0.85)


def find_natural_family(value: Callable[[float, float], float], expected: Sequence[float]) -> tuple[str, float] | None:
    """The family of value(x, out) = w·(A(η) − x·η) + f(x), with η a function of out and f any function of x.

    f is no concern of the optimiser, and libraries leave it out (log x! of the Poisson). A and η are read off through
    differences in out, which f does not survive. With a variance that is μ − (p/μ₀)·μ², where μ₀ is the mean at the
    first output, A(η) − A(0) = μ₀·log(1 + p·(e^η − 1))/p: Poisson at p = 0, binomial of μ₀/p trials above, negative
    binomial of −μ₀/p failures below. With a variance that is one number A is a parabola.

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
    for weight in expected:
        intercept, eta = change[:, 0] / weight, -slope / weight
        design = np.stack([eta, eta**2], axis=1)
        coefficients, *_ = np.linalg.lstsq(design, intercept, rcond=None)
        best, low, high = (0.0, *_fit(0.0, intercept, eta)), -5.0, 1.0
        if best[1] < 1e-4 * size / weight:
            return "Poisson", weight
        bent = coefficients[1] * np.ptp(eta**2) > 0.01 * size
        if weight == 1.0 and bent and np.max(np.abs(design @ coefficients - intercept)) < 1e-6 * size:
            return "Gaussian", weight
        for _ in range(9):  # finer each time
            trials = [(p, *_fit(p, intercept, eta)) for p in np.linspace(low, high, 25) if p]
            best = min((best, *trials), key=lambda one: one[1])
            low, high = best[0] - (high - low) / 12, best[0] + (high - low) / 12
        count = best[2] / best[0] if best[0] else 0.0
        whole = round(count) >= 2 and abs(count - round(count)) < 1e-3
        if (whole or count < 0) and best[1] < 1e-6 * np.max(np.abs(intercept)):
            return f"Binomial({round(count)})" if whole else f"negative binomial({-count:.4g})", weight
    return None


def _fit(p: float, intercept: Array, eta: Array) -> tuple[float, float]:
    """How far A(η) − A(0) with this p misses at worst, and its μ₀."""
    growth = np.log1p(p * np.expm1(eta)) / p if p else np.expm1(eta)
    mean = float(growth @ intercept / (growth @ growth))
    misfit = float(np.max(np.abs(intercept - mean * growth)))
    return (misfit if np.isfinite(misfit) and mean > 0 else np.inf), mean
