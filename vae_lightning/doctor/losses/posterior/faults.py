"""The findings for what can be wrong with the terms of a KL."""

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.posterior.divergence import KLReading
from vae_lightning.doctor.losses.posterior.noise import LATENTS
from vae_lightning.doctor.losses.posterior.sigma import KNOWN
from vae_lightning.doctor.losses.posterior.terms import CLOSE, Reading, fit
from vae_lightning.doctor.report import Finding

NEAR = 3e-4  # an epsilon added inside a logarithm
EXACT = 1e-8  # what float64 leaves of a misfit where the form is right
ROUGHLY = 0.08  # what the coefficients of a sampled KL are known to


def report_wrong_term(reading: Reading, name: str, tolerance: float = CLOSE) -> Finding:
    """The finding for one wrong coefficient, known up to `tolerance`."""
    factor = reading.factors[name]
    typed = round(factor * LATENTS)
    if name == "constant" and abs(factor * LATENTS - typed) < tolerance and typed > 1 and typed % LATENTS:
        says = f"The constant is that of {typed} latent dimensions, however many there are: right for {typed} only."
        return Finding("CONST", None, says, "Put the − 1 inside the sum.")
    nothing = tolerance if tolerance >= ROUGHLY else 1e-6
    terms = {"m": "m²", "variance": "σ²", "log": "log σ", "constant": "constant"}
    half = any(abs(factor - value) < 0.01 * value for value in (0.5, 2.0))
    if name == "log":
        code = "LOG-SIGN" if factor < -nothing else "LOG-FACTOR"
    elif name == "constant":
        code = "CONST"
    elif factor < -nothing:
        code = "SIGN-FLIP"
    elif abs(factor) < nothing:
        code = "KL-DEAD" if name == "m" else "MIXED"
    else:
        code = "HALF" if half else "MIXED"
    says = f"With σ = {reading.text} the {terms[name]} term has {factor:.5g} times the coefficient it should have."
    if abs(factor) < nothing:
        says = f"With σ = {reading.text} the {terms[name]} term is missing."
    alternatives = []
    if half and code != "HALF":
        alternatives.append("HALF: a ½ that does not reach this term")
    if name in ("log", "variance") and half:
        alternatives.append("MIXED: the log term and the variance term belong to two parameterisations")
    return Finding(
        code,
        False,
        says,
        "The KL is ½ Σ (m² + σ² − 1 − 2 log σ); with s = log σ² it is ½ Σ (m² + exp(s) − 1 − s).",
        {"weight": reading.weight, "factors": reading.factors},
        tuple(alternatives),
    )


def find_mixed_parameterisations(
    grid: Array, values: Array, own: Array | None, weight: float, free_constant: bool
) -> Finding | None:
    """Whether K = w (½ σ₁² − log σ₂ − ½) with two different known σ."""
    known: list[tuple[str, Array]] = [(sigma.text, sigma(grid)) for sigma in KNOWN[:12]]
    if own is not None:
        known.insert(0, ("the sampler's", own))
    for first, one in known:
        for second, other in known:
            (v, g, c), residual = fit([one**2, np.log(other), np.ones_like(grid)], values)
            right = abs(2 * v / weight - 1) < 2e-3 and abs(g / -weight - 1) < 2e-3
            if residual < NEAR and right and (free_constant or abs(c / (-weight / 2) - 1) < 5e-3):
                says = f"The variance term is that of σ = {first}, the log term that of σ = {second}."
                advice = "Use one σ(s) in both terms, the sampler's."
                return Finding("MIXED", False, says, advice, alternatives=("LOG-FACTOR: with the first σ",))
    return None


def report_strange_terms(terms: dict[str, float]) -> Finding:
    """The finding for a KL whose terms, read off exactly, belong to no single σ(s)."""
    names = set(terms) - {"1"}
    formula = " + ".join(f"{value:.4g}·{name}" if name != "1" else f"{value:.4g}" for name, value in terms.items())
    says = f"Read off at m = 0: K = {formula}."
    exponential = {name for name in names if name.startswith("e^")}
    squared = names & {"log^2|s|", "log^2 softplus"} or ("s^2" in names and exponential and "s" not in names)
    if squared:
        says += " The logarithm of σ is squared."
        advice = "The log term of a KL is −log σ, to the first power."
        return Finding("LOG-SQUARED", False, says, advice, {"terms": terms})
    says += " No single σ(s) gives these terms."
    return Finding("MIXED", False, says, "Use one σ(s) in both terms, the sampler's.", {"terms": terms})


def report_bent_mean(kl: KLReading) -> Finding:
    """The finding for a KL that is no parabola in m."""
    a, b = kl.m_squared, kl.m_linear
    if np.max(np.abs(a)) < 1e-9 and np.max(np.abs(b)) > 1e-9:
        says = "The KL grows with m, not with m²."
    else:
        says = "The KL is no parabola in m with a coefficient that is the same at every s."
    advice = "The only term in m is ½ m²."
    return Finding("MIXED", False, says, advice, {"coefficients of m²": a.tolist()[:5]})


def report_clamp(kl: KLReading, inside: Array) -> Finding:
    """The note about a KL that depends on s only where `inside` is True."""
    low, high = float(kl.grid[inside][0]), float(kl.grid[inside][-1])
    says = f"The KL depends on s only for s between about {low:g} and {high:g}: s is clamped; it was judged inside."
    return Finding("OVERFLOW", True, says)
