"""The terms of a closed-form KL: coefficients read off by least squares, and what they should have been."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.posterior.sigma import KNOWN, Sigma, softplus

CLOSE = 2e-3  # how far a coefficient may lie from its value and still count as equal to it


@dataclass(frozen=True)
class Reading:
    """K(0, s) = v·σ² + g·log σ + c, read with one σ(s), beside the coefficient a of m².

    A KL to the standard normal, times w, has a = v = w/2, g = −w and c = −w/2.

    Args:
        text: The σ(s) that was used.
        sigma: It, if it is a known one; None for the one measured on the sampler.
        weight: The w with which the fewest coefficients are wrong.
        factors: Each coefficient divided by what it should be: ``m``, ``variance``, ``log``, ``constant``.
        scale: The factor in front of the σ that makes the variance term right.
        residual: The largest misfit, relative to the spread of K.
    """

    text: str
    sigma: Sigma | None
    weight: float
    factors: dict[str, float]
    scale: float
    residual: float

    def rescale(self) -> "Reading":
        """The same with the σ that makes the variance term right, a multiple of the known one."""
        assert self.sigma is not None
        sigma, scale = self.sigma, float(np.sqrt(self.factors["variance"]))
        scaled = Sigma(f"{scale:.4g} · {sigma.text}", lambda s: scale * sigma(s), sigma.reads)
        return replace(self, text=scaled.text, sigma=scaled, factors=dict.fromkeys(self.factors, 1.0))

    def defects(self, tolerance: float = CLOSE) -> list[str]:
        """The terms whose coefficient is wrong."""
        return [name for name, factor in self.factors.items() if abs(factor - 1) > tolerance]


def fit(columns: Sequence[Array], values: Array, errors: Array | None = None) -> tuple[Array, float]:
    """Least squares: the coefficients and the largest residual, relative to the spread of `values`.

    With `errors` (standard errors of the values) the residual is in units of six of them times 1e-4, so that the same
    thresholds serve exact and sampled values.
    """
    design = np.stack(columns, axis=1)
    if not np.all(np.isfinite(design)):
        return np.zeros(len(columns)), np.inf
    weights = np.ones(len(values)) if errors is None else 1 / errors
    size = np.maximum(np.max(np.abs(design * weights[:, None]), axis=0), 1e-300)
    coefficients, *_ = np.linalg.lstsq(design * weights[:, None] / size, values * weights, rcond=None)
    coefficients = coefficients / size
    misfit = np.abs(design @ coefficients - values)
    if errors is not None:
        return coefficients, float(np.max(misfit / errors)) / 6 * 1e-4
    return coefficients, float(np.max(misfit)) / max(float(np.ptp(values)), 1e-12)


def read_with(
    sigma: Array,
    values: Array,
    m_coefficient: float | None,
    label: Sigma | None,
    text: str,
    errors: Array | None = None,
    free_constant: bool = False,
) -> Reading:
    """Read K(0, s) with one σ(s); see `Reading`."""
    (v, g, c), residual = fit([sigma**2, np.log(sigma), np.ones_like(sigma)], values, errors)
    options = [2 * v, -g] + ([] if m_coefficient is None else [2 * m_coefficient])
    best: Reading | None = None
    for weight in sorted(options, key=lambda w: (w <= 0, abs(np.log(max(abs(w), 1e-12))))):
        if abs(weight) < 1e-9:
            continue
        factors = {"variance": v / (weight / 2), "log": g / -weight, "constant": c / (-weight / 2)}
        if m_coefficient is not None:
            factors = {"m": m_coefficient / (weight / 2), **factors}
        if free_constant:
            factors.pop("constant")
        scale = float(np.sqrt(v / (weight / 2))) if v * weight > 0 else np.nan
        reading = Reading(text, label, float(weight), factors, scale, residual)
        if best is None or len(reading.defects(_tolerance(errors))) < len(best.defects(_tolerance(errors))):
            best = reading
    nothing = {"variance": 0.0, "log": 0.0, "constant": 0.0}
    return best or Reading(text, label, 0.0, nothing, np.nan, np.inf)


def _tolerance(errors: Array | None) -> float:
    return CLOSE if errors is None else 0.08


def read_with_known(
    grid: Array, values: Array, m_coefficient: float | None, errors: Array | None, free_constant: bool
) -> list[Reading]:
    """All readings with the known σ(s)."""
    return [read_with(sigma(grid), values, m_coefficient, sigma, sigma.text, errors, free_constant) for sigma in KNOWN]


def find_prior_scale(reading: Reading) -> float | None:
    """The prior's standard deviation τ, if the reading is exactly w·KL(N(m, σ²) ‖ N(0, τ²)) with a τ other than 1."""
    factors = reading.factors
    if "m" not in factors or "constant" not in factors or reading.weight == 0 or factors["log"] <= 0:
        return None
    weight = reading.weight * factors["log"]  # the log term alone fixes w
    variance = 1 / (factors["variance"] / factors["log"]) if factors["variance"] > 0 else np.nan
    same = abs(factors["m"] - factors["variance"]) < CLOSE * abs(factors["m"])
    constant = factors["constant"] * -reading.weight / 2
    right = abs(constant - weight * (-0.5 + 0.5 * np.log(variance))) < 1e-3 * abs(weight) if variance > 0 else False
    return float(np.sqrt(variance)) if same and right else None


def find_sparse_terms(grid: Array, values: Array) -> dict[str, float]:
    """The few elementary functions of s that add up to `values` exactly, with their coefficients; empty if none do."""
    basis = {
        "s": grid,
        "e^s": np.exp(grid),
        "e^2s": np.exp(2 * grid),
        "s^2": grid**2,
        "e^(s/2)": np.exp(grid / 2),
        "log|s|": np.log(np.abs(grid)),
        "e^-s": np.exp(-grid),
        "log^2|s|": np.log(np.abs(grid)) ** 2,
        "e^-2s": np.exp(-2 * grid),
        "e^(-s/2)": np.exp(-grid / 2),
        "softplus": softplus(grid),
        "softplus^2": softplus(grid) ** 2,
        "log softplus": np.log(softplus(grid)),
        "log^2 softplus": np.log(softplus(grid)) ** 2,
        "e^4s": np.exp(4 * grid),
        "|s|": np.abs(grid),
    }
    if grid[0] > 0:
        del basis["|s|"]
    for count in (1, 2, 3):
        for names in combinations(basis, count):
            coefficients, residual = fit([np.ones_like(grid), *(basis[name] for name in names)], values)
            if residual < 1e-9:
                found = dict(zip(names, coefficients[1:], strict=True))
                if all(abs(value) > 1e-7 for value in found.values()):
                    return {"1": float(coefficients[0]), **{name: float(value) for name, value in found.items()}}
    return {}
