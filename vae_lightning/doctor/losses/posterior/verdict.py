"""Names what is wrong with a measured KL, given the σ(s) that the sampler really uses if there is a sampler."""

from dataclasses import replace
from itertools import product

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.posterior.divergence import KLReading, report_no_kl
from vae_lightning.doctor.losses.posterior.noise import LATENTS, SamplerReading
from vae_lightning.doctor.losses.posterior.sampler import FAR, check_range
from vae_lightning.doctor.losses.posterior.sigma import KNOWN, Sigma
from vae_lightning.doctor.losses.posterior.terms import CLOSE, NEAR, ROUGHLY, Points, Reading
from vae_lightning.doctor.report import Finding

EXACT = 1e-8  # what float64 leaves of a misfit where the form is right
_TERMS = {"m": "m²", "variance": "σ²", "log": "log σ", "constant": "constant"}
_CODES = {
    "m": ("SIGN-FLIP", "KL-DEAD", "HALF", "MIXED"),
    "variance": ("SIGN-FLIP", "MIXED", "HALF", "MIXED"),
    "log": ("LOG-SIGN", "LOG-FACTOR", "LOG-FACTOR", "LOG-FACTOR"),
    "constant": ("CONST", "CONST", "CONST", "CONST"),
}
"""Term -> the code where its sign is wrong, it is missing, halved or doubled, or wrong otherwise."""
_RIGHT = "The KL is ½ Σ (m² + σ² − 1 − 2 log σ); with s = log σ² it is ½ Σ (m² + exp(s) − 1 − s)."


def judge_kl(kl: KLReading, sampler: SamplerReading | None, single_precision: bool = False) -> KLReading:
    """Read the terms of the KL, and say in its reading, which comes back, what it is and which of them are wrong."""
    if kl.dead:
        return kl
    if _is_distance(kl):
        kl.dead, kl.findings = True, [report_no_kl()]
        return kl
    if kl.errors is None and np.ptp(kl.values) <= 1e-9 * max(1.0, float(np.max(np.abs(kl.values)))):
        _judge_constant(kl, sampler)
        return kl
    inside = find_unclamped(kl)
    values, m_squared = _read_parabola(kl, inside)
    if m_squared is None and _is_exchanged(kl, inside):
        return kl
    errors = None if kl.errors is None else kl.errors[inside]
    points = Points(kl.grid[inside], values, m_squared, errors, kl.free_constant)
    sigma, own, own_tolerance = None, None, points.tolerance
    if sampler is not None and sampler.sigma is not None and not sampler.constant:
        shared = np.isin(sampler.grid, kl.grid)  # not if the sampler takes positive s only
        if shared.sum() == kl.grid.size:
            sigma, measured = sampler.sigma[shared][inside], points
            if not sampler.exact:  # σ is known from draws only
                error = 2 * abs(m_squared or 0.5) * max(sampler.error, 0.002) * (np.abs(sigma**2 - 1) + 0.02)
                measured = replace(points, errors=np.hypot(error, 0.0 if points.errors is None else points.errors))
            own = measured.read(sigma, sampler.label, sampler.text)
            own_tolerance = measured.tolerance
    chosen = _choose(points.read_known(), own, 1e-3 if single_precision else NEAR, points.tolerance)
    tolerance = own_tolerance if chosen is own else points.tolerance
    if chosen is None:
        _judge_unread(kl, points, sigma)
    else:
        _judge(kl, chosen, chosen is own, tolerance)
    if m_squared is None and not any(one.code == "HEAD-ACT" for one in kl.findings):
        kl.findings.append(_report_bent_mean(kl))
    if inside.sum() < inside.size:
        low, high = points.grid[[0, -1]]
        says = f"The KL depends on s only for s between about {low:g} and {high:g}: s is clamped; it was judged inside."
        kl.findings.append(Finding("OVERFLOW", True, says))
    if kl.consistent and kl.terms is not None and kl.terms.sigma is not None:
        kl.findings += _check_reach(kl.terms.sigma, points.grid, inside)
    return kl


def _judge_constant(kl: KLReading, sampler: SamplerReading | None) -> None:
    """A KL without s: that of a posterior whose σ is one number, w·½ Σ (m² + σ² − 1 − 2 log σ)."""
    values, m_squared = _read_parabola(kl, np.ones(kl.grid.size, dtype=bool))
    kl.weight = weight = 2 * float(np.median(kl.m_squared))
    if m_squared is None or abs(weight) < 1e-9:
        return
    value = float(np.median(values))
    own, text, least, most = value / weight, "one number", -1e-9, np.inf  # at least 0 for any σ
    if sampler is not None and sampler.sigma is not None:
        if not sampler.constant:
            says = "The KL does not depend on s, while the draw's standard deviation does: nothing keeps σ near one."
            kl.findings.append(Finding("MISMATCH", False, says, "Use the same σ(s) in sampler and KL."))
            return
        sigma = float(np.median(sampler.sigma))
        text, expected = f"{sigma:.4g} whatever s is", 0.5 * (sigma**2 - 1) - float(np.log(sigma))
        allowed = 6 * max(sampler.error, 0.002) * (abs(sigma**2 - 1) + 0.02)
        least, most = expected - allowed, expected + allowed
    kl.consistent = kl.free_constant or least < own < most
    if kl.consistent:
        says = f"The KL is {weight:.6g} × ½ Σ (m² + σ² − 1 − 2 log σ) with a σ that is {text}."
        kl.findings.append(Finding("MIXED", True, says))
    else:
        right = "at least 0" if most == np.inf else f"{(least + most) / 2:.4g}"
        says = f"Per latent dimension the KL holds the constant {own:.4g}; with a σ that is {text} it is {right}."
        kl.findings.append(Finding("CONST", False, says, _RIGHT))


def _is_distance(kl: KLReading) -> bool:
    """Whether it is a·(m − g(s))² plus a constant."""
    a, b, size = kl.m_squared, kl.m_linear, float(np.max(np.abs(kl.m_squared)))
    if kl.errors is not None or kl.bent or size < 1e-9 or np.ptp(a) > 1e-6 * size or np.ptp(b) < 1e-3 * size:
        return False
    return bool(np.ptp(kl.values - b**2 / (4 * a)) < 1e-6 * np.max(np.abs(kl.values)))


def _check_reach(sigma: Sigma, grid: Array, inside: Array) -> list[Finding]:
    """The range of σ over all s: to infinity, or to where a clamp ends it."""
    low, high = (-np.inf if grid[0] < 0 else 0.0) if inside[0] else grid[0], np.inf if inside[-1] else grid[-1]
    s = np.array([*FAR[(low < FAR) & (high > FAR)], *grid])
    with np.errstate(all="ignore"):
        return check_range(s, sigma(s))


def find_unclamped(kl: KLReading) -> Array:
    """Where K still changes with s: a clamp on s makes it flat at the ends of the grid."""
    keep = np.ones(kl.grid.size, dtype=bool)
    if kl.errors is not None:
        return keep
    flat = np.abs(np.diff(kl.values)) <= 1e-13 * max(1.0, float(np.max(np.abs(kl.values))))
    if flat.all():
        return keep
    first, last = int(np.argmin(flat)), len(flat) - int(np.argmin(flat[::-1]))
    if first > 0:
        keep[: first + 1] = False
    if last < len(flat):
        keep[last:] = False
    return keep if keep.sum() >= 6 else np.ones(kl.grid.size, dtype=bool)


def _read_parabola(kl: KLReading, inside: Array) -> tuple[Array, float | None]:
    """K at the m that minimises it (a prior may have another mean than 0), and the coefficient of m², if it is one."""
    a, b, values = kl.m_squared[inside], kl.m_linear[inside], kl.values[inside]
    size, slope = max(float(np.max(np.abs(a))), 1e-12), float(np.max(np.abs(b)))
    if kl.errors is not None or (not kl.bent and np.ptp(a) < 1e-3 * size and slope < 1e-3 * size):
        return values, float(np.median(a))
    if kl.bent or size < 1e-9 or np.ptp(a) > 1e-6 * size or np.ptp(b) > 1e-6 * slope:
        return values, None
    return values - b**2 / (4 * a), float(np.median(a))


def _is_exchanged(kl: KLReading, inside: Array) -> bool:
    """Whether it is KL(prior ‖ posterior): the coefficient of m² is 1/(2σ²), and the rest is the KL of 1/σ."""
    grid, values, a = kl.grid[inside], kl.values[inside], kl.m_squared[inside]
    for sigma in KNOWN:
        product = a * sigma(grid) ** 2
        points = Points(grid, values, float(np.median(product)), None, free_constant=False)
        reading = points.read(1 / sigma(grid), sigma, sigma.text)
        if np.ptp(product) < 1e-4 * np.max(np.abs(product)) and reading.residual < NEAR and not reading.defects():
            says = f"This is KL(prior ‖ posterior) with σ = {sigma.text}: the two distributions are exchanged."
            advice = "Compute KL(posterior ‖ prior): ½ Σ (m² + σ² − 1 − 2 log σ)."
            kl.findings.append(Finding("ARG-SWAP", False, says, advice, {}, ("LOG-SIGN: with 1/σ for σ",)))
            kl.weight, kl.terms = reading.weight, reading
            return True
    return False


def _choose(readings: list[Reading], own: Reading | None, accepted: float, tolerance: float) -> Reading | None:
    """The reading that explains K; a consistent KL is one whatever the sampler does, its own σ is for the others."""

    def rank(reading: Reading) -> tuple[bool, int, bool]:
        defects = len(reading.defects(tolerance))
        fine = (
            not defects or reading.find_scales(tolerance, free=reading is own and reading.residual < EXACT) is not None
        )
        # σ = |s| + 0.001 is nearly |s|, and exactly the sampler's own.
        return not fine, int(reading.residual > EXACT) if fine else defects, (reading is own) == fine

    fitting = [reading for reading in readings if reading.residual < accepted and reading.weight]
    if own is not None and own.residual < accepted and own.weight and (not fitting or len(own.defects(tolerance)) <= 2):
        fitting.append(own)
    return min(fitting, key=rank, default=None)


def _judge(kl: KLReading, reading: Reading, by_sampler: bool, tolerance: float) -> None:
    # A form that fits only nearly (an epsilon inside a logarithm) knows its factor only nearly.
    nearly = 0.01 if reading.residual > EXACT and tolerance < ROUGHLY else tolerance
    kl.weight, kl.terms, kl.by_sampler = _round_weight(reading.weight, nearly), reading, by_sampler
    defects, scales = reading.defects(nearly), reading.find_scales(nearly, by_sampler)
    if defects and scales is None:
        kl.findings += [_report_wrong_term(reading, name, tolerance) for name in defects]
        return
    kl.consistent = True
    scale, prior = scales if defects and scales is not None else (1.0, 1.0)
    if prior != 1.0:
        kl.weight = reading.weight * reading.factors["log"]
        says = f"An exact KL with σ = {reading.text} to a normal prior of standard deviation {prior:.4g}."
        kl.findings.append(Finding("CONST", True, says))
        return
    if scale != 1.0 and reading.sigma is not None and not by_sampler:
        reading = kl.terms = reading.rescale(scale)
    factor = "" if abs(reading.weight - 1) < 1e-6 else f"{reading.weight:.6g} × "
    says = f"The KL's terms fit together: {factor}½ Σ (m² + σ² − 1 − 2 log σ) with σ = {reading.text}."
    kl.findings.append(Finding("MIXED", True, says, evidence={"factors": reading.factors}))


def _round_weight(weight: float, tolerance: float) -> float:
    """A factor that is known to a few per cent only (of a sampled KL), as the plain number that it is close to."""
    if tolerance <= CLOSE:
        return weight
    plain = [sign * size for sign in (-1, 1) for size in (0.5, 1.0, 2.0)]
    return next((number for number in plain if abs(weight / number - 1) < tolerance), weight)


def _judge_unread(kl: KLReading, points: Points, sigma: Array | None) -> None:
    """No single σ(s) fits: mixed parameterisations, a squared logarithm, or something unknown."""
    kl.weight = 2 * points.m_squared if points.m_squared else None
    found = _find_mixture(points, sigma) if points.errors is None and kl.weight and abs(kl.weight) > 1e-9 else None
    if found is None and sigma is not None:
        says = "The KL is not the KL of the distribution that the sampler draws from, for any factor in front of it."
        found = Finding("MISMATCH", False, says, f"Write it with the sampler's own σ. {_RIGHT}")
    if found is None:
        says = f"The KL fits no known σ(s). Its least value on the grid is {float(points.values.min()):.4g} per latent "
        found = Finding("MIXED", None, says + "dimension (a KL's is 0). Give the sampler too.")
    kl.findings.append(found)


def _find_mixture(points: Points, own: Array | None) -> Finding | None:
    """K = w (½ σ₁^p − (log σ₂)^q − ½) in which something differs: σ₁, p, σ₂, q; a squared log may have any factor."""
    known: list[tuple[str, Array]] = [(sigma.text, sigma(points.grid)) for sigma in KNOWN[:12]]
    if own is not None:
        known.insert(0, ("the sampler's", own))
    expected = (points.m_squared or 0.0) * np.array([1.0, -2.0, -1.0])
    tolerances = (2e-3, 2e-3, np.inf if points.free_constant else 5e-3)
    for (p, q), (first, one), (second, other) in product(((2, 1), (2, 2), (1, 1)), known, known):
        coefficients, residual = points.fit(one**p, np.log(other) ** q)
        if q == 2 and residual < 1e-9:
            says = f"The KL holds σ² with σ = {first}, and the square of log σ with σ = {second}."
            return Finding("LOG-SQUARED", False, says, "The log term of a KL is −log σ, to the first power.")
        if q == 1 and residual < NEAR and np.all(np.abs(coefficients / expected - 1) < tolerances):
            says = f"The variance term is that of σ{'²' * (p == 1)} = {first}, the log term that of σ = {second}."
            advice = "Use one σ(s) in both terms, the sampler's, and its square in the first."
            return Finding("MIXED", False, says, advice, alternatives=("LOG-FACTOR: with the first σ",))
    return None


def _report_wrong_term(reading: Reading, name: str, tolerance: float) -> Finding:
    """The finding for one wrong coefficient, known up to `tolerance`."""
    factor = reading.factors[name]
    typed = round(factor * LATENTS)
    if name == "constant" and abs(factor * LATENTS - typed) < tolerance and typed > 1 and typed % LATENTS:
        says = f"The constant is that of {typed} latent dimensions, however many there are: right for {typed} only."
        return Finding("CONST", None, says, "Put the − 1 inside the sum.")
    nothing = tolerance if tolerance >= ROUGHLY else 1e-6
    half = any(abs(factor - value) < 0.01 * value for value in (0.5, 2.0))
    code = _CODES[name][0 if factor < -nothing else 1 if abs(factor) < nothing else 2 if half else 3]
    says = f"With σ = {reading.text} the {_TERMS[name]} term has {factor:.5g} times the coefficient it should have."
    if abs(factor) < nothing:
        says = f"With σ = {reading.text} the {_TERMS[name]} term is missing."
    others = ["HALF: a ½ that does not reach this term"] * (half and code != "HALF")
    if half and name in ("log", "variance"):
        others.append("MIXED: the log term and the variance term belong to two parameterisations")
    evidence = {"weight": reading.weight, "factors": reading.factors}
    return Finding(code, False, says, _RIGHT, evidence, tuple(others))


def _report_bent_mean(kl: KLReading) -> Finding:
    """The finding for a KL that is no parabola in m."""
    a, b = kl.m_squared, kl.m_linear
    says = "The KL is no parabola in m with a coefficient that is the same at every s."
    if np.max(np.abs(a)) < 1e-9 and np.max(np.abs(b)) > 1e-9:
        says = "The KL grows with m, not with m²."
    return Finding("MIXED", False, says, "The only term in m is ½ m².", {"coefficients of m²": a.tolist()[:5]})
