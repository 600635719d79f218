"""The terms of a closed-form KL: coefficients read off by least squares, and what they should have been."""

from dataclasses import dataclass, replace

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.posterior.sigma import KNOWN, Sigma

CLOSE = 2e-3  # how far a coefficient may lie from its value and still count as equal to it
ROUGHLY = 0.08  # the same for a sampled KL
NEAR = 3e-4  # the misfit that an epsilon added inside a logarithm makes


@dataclass(frozen=True)
class Reading:
    """K(0, s) = v·σ² + g·log σ + c, read with one σ(s), beside the coefficient a of m².

    A KL to the standard normal, times w, has a = v = w/2, g = −w and c = −w/2.

    Args:
        text: The σ(s) that was used.
        sigma: It, if it is a known one; None for the one measured on the sampler.
        weight: The w with which the fewest coefficients are wrong.
        factors: Each coefficient divided by what it should be: ``m``, ``variance``, ``log``, ``constant``.
        residual: The largest misfit, relative to the spread of K.
    """

    text: str
    sigma: Sigma | None
    weight: float
    factors: dict[str, float]
    residual: float

    def rescale(self, scale: float) -> "Reading":
        """The same with a multiple of the σ, which makes the variance term right."""
        assert self.sigma is not None
        sigma = self.sigma
        scaled = Sigma(f"{scale:.4g} · {sigma.text}", lambda s: scale * sigma(s), sigma.reads)
        return replace(self, text=scaled.text, sigma=scaled, factors=dict.fromkeys(self.factors, 1.0))

    def defects(self, tolerance: float = CLOSE) -> list[str]:
        """The terms whose coefficient is wrong."""
        return [name for name, factor in self.factors.items() if abs(factor - 1) > tolerance]

    def find_scales(self, tolerance: float = CLOSE, free: bool = False) -> tuple[float, float] | None:
        """(c, τ), one of them 1, with which K is w·KL(N(m, c²σ²) ‖ N(0, τ²)), w as the log term has it.

        The coefficients divided by the log term's are then 1/τ² for m, v = c²/τ² for σ², and 1 + log v for the
        constant. `free` says that any c will do where the constant is unknown: the σ is the sampler's.
        """
        log, m = self.factors["log"], self.factors.get("m", self.factors["log"])
        if self.weight == 0 or log <= 0 or self.factors["variance"] <= 0:
            return None
        m, v = m / log, self.factors["variance"] / log
        if abs(self.factors["constant"] / log - 1 - np.log(v)) > 5e-3 if "constant" in self.factors else not free:
            return None
        if abs(m - 1) <= tolerance:
            return float(np.sqrt(v)), 1.0
        return (1.0, float(1 / np.sqrt(v))) if abs(m - v) <= tolerance * m else None


@dataclass(frozen=True)
class Points:
    """A KL's values, to be explained.

    Args:
        grid: Values of s.
        values: K(0, s).
        m_squared: The coefficient of m²; None where it is not one number.
        errors: Standard errors of `values` if the KL is sampled.
        free_constant: Whether its constant is unknown.
    """

    grid: Array
    values: Array
    m_squared: float | None
    errors: Array | None
    free_constant: bool

    @property
    def tolerance(self) -> float:
        """What the coefficients are known to."""
        return CLOSE if self.errors is None else ROUGHLY

    def fit(self, *columns: Array) -> tuple[Array, float]:
        """Least squares on functions of s and a constant: the coefficients, and the largest residual.

        That is relative to the spread of the values; of sampled ones in units of six standard errors times 1e-4, so
        that the same thresholds serve both.
        """
        design = np.stack([*columns, np.ones_like(self.grid)], axis=1)
        if not np.all(np.isfinite(design)):
            return np.zeros(design.shape[1]), np.inf
        weights = np.ones(len(self.values)) if self.errors is None else 1 / self.errors
        size = np.maximum(np.max(np.abs(design * weights[:, None]), axis=0), 1e-300)
        coefficients, *_ = np.linalg.lstsq(design * weights[:, None] / size, self.values * weights, rcond=None)
        misfit = np.abs(design @ (coefficients / size) - self.values)
        if self.errors is not None:
            return coefficients / size, float(np.max(misfit / self.errors)) / 6 * 1e-4
        return coefficients / size, float(np.max(misfit)) / max(float(np.ptp(self.values)), 1e-12)

    def read(self, sigma: Array, label: Sigma | None, text: str) -> Reading:
        """Read K(0, s) with one σ(s); see `Reading`."""
        (v, g, c), residual = self.fit(sigma**2, np.log(sigma))
        a = self.m_squared
        readings = []
        for weight in [w for w in (2 * v, -g, 2 * a if a is not None else 0.0) if abs(w) > 1e-9]:
            factors = {} if a is None else {"m": a / (weight / 2)}
            factors |= {"variance": v / (weight / 2), "log": g / -weight, "constant": c / (-weight / 2)}
            if self.free_constant:
                factors.pop("constant")
            readings.append(Reading(text, label, float(weight), factors, residual))
        nothing = Reading(text, label, 0.0, {"variance": 0.0, "log": 0.0, "constant": 0.0}, np.inf)
        return min(
            readings,
            key=lambda one: (len(one.defects(self.tolerance)), one.weight <= 0, abs(np.log(abs(one.weight)))),
            default=nothing,
        )

    def read_known(self) -> list[Reading]:
        """All readings with the known σ(s)."""
        return [self.read(sigma(self.grid), sigma, sigma.text) for sigma in KNOWN]
