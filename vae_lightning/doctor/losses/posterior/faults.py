"""The findings for what can be wrong with the terms of a KL."""

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.posterior.divergence import KLReading
from vae_lightning.doctor.losses.posterior.noise import LATENTS
from vae_lightning.doctor.losses.posterior.terms import ROUGHLY, Points, Reading
from vae_lightning.doctor.report import Finding

TERMS = {"m": "m²", "variance": "σ²", "log": "log σ", "constant": "constant"}
CODES = {
    "m": ("SIGN-FLIP", "KL-DEAD", "HALF", "MIXED"),
    "variance": ("SIGN-FLIP", "MIXED", "HALF", "MIXED"),
    "log": ("LOG-SIGN", "LOG-FACTOR", "LOG-FACTOR", "LOG-FACTOR"),
    "constant": ("CONST", "CONST", "CONST", "CONST"),
}
"""Term -> the code where its sign is wrong, it is missing, halved or doubled, or wrong otherwise."""
RIGHT = "The KL is ½ Σ (m² + σ² − 1 − 2 log σ); with s = log σ² it is ½ Σ (m² + exp(s) − 1 − s)."


def report_wrong_term(reading: Reading, name: str, tolerance: float) -> Finding:
    """The finding for one wrong coefficient, known up to `tolerance`."""
    factor = reading.factors[name]
    typed = round(factor * LATENTS)
    if name == "constant" and abs(factor * LATENTS - typed) < tolerance and typed > 1 and typed % LATENTS:
        says = f"The constant is that of {typed} latent dimensions, however many there are: right for {typed} only."
        return Finding("CONST", None, says, "Put the − 1 inside the sum.")
    nothing = tolerance if tolerance >= ROUGHLY else 1e-6
    half = any(abs(factor - value) < 0.01 * value for value in (0.5, 2.0))
    code = CODES[name][0 if factor < -nothing else 1 if abs(factor) < nothing else 2 if half else 3]
    says = f"With σ = {reading.text} the {TERMS[name]} term has {factor:.5g} times the coefficient it should have."
    if abs(factor) < nothing:
        says = f"With σ = {reading.text} the {TERMS[name]} term is missing."
    others = ["HALF: a ½ that does not reach this term"] * (half and code != "HALF")
    if half and name in ("log", "variance"):
        others.append("MIXED: the log term and the variance term belong to two parameterisations")
    evidence = {"weight": reading.weight, "factors": reading.factors}
    return Finding(code, False, says, RIGHT, evidence, tuple(others))


def find_mixture(points: Points, own: Array | None) -> Finding | None:
    """Whether the terms are those of two σ, or not their usual powers."""
    for first, p, second, q in points.find_mixtures(own):
        if q == 2:
            says = f"The KL holds σ² with σ = {first}, and the square of log σ with σ = {second}."
            return Finding("LOG-SQUARED", False, says, "The log term of a KL is −log σ, to the first power.")
        says = f"The variance term is that of σ{'²' * (p == 1)} = {first}, the log term that of σ = {second}."
        advice = "Use one σ(s) in both terms, the sampler's, and its square in the first."
        return Finding("MIXED", False, says, advice, alternatives=("LOG-FACTOR: with the first σ",))
    return None


def report_bent_mean(kl: KLReading) -> Finding:
    """The finding for a KL that is no parabola in m."""
    a, b = kl.m_squared, kl.m_linear
    says = "The KL is no parabola in m with a coefficient that is the same at every s."
    if np.max(np.abs(a)) < 1e-9 and np.max(np.abs(b)) > 1e-9:
        says = "The KL grows with m, not with m²."
    return Finding("MIXED", False, says, "The only term in m is ½ m².", {"coefficients of m²": a.tolist()[:5]})
