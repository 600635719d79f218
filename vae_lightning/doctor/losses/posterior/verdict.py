"""Names what is wrong with a measured KL, given the σ(s) that the sampler really uses if there is a sampler."""

from dataclasses import dataclass, field

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.posterior.divergence import KLReading
from vae_lightning.doctor.losses.posterior.faults import (
    EXACT,
    NEAR,
    ROUGHLY,
    find_mixed_parameterisations,
    report_bent_mean,
    report_clamp,
    report_strange_terms,
    report_wrong_term,
)
from vae_lightning.doctor.losses.posterior.sampler import FAR, SamplerReading, check_range
from vae_lightning.doctor.losses.posterior.sigma import KNOWN, Sigma
from vae_lightning.doctor.losses.posterior.terms import (
    CLOSE,
    Reading,
    find_prior_scale,
    find_sparse_terms,
    read_with,
    read_with_known,
)
from vae_lightning.doctor.report import Finding


@dataclass
class KLVerdict:
    """What the KL is.

    Args:
        weight: The factor w in front of it; negative where its sign is flipped, None where it cannot be read.
        reading: The reading that fits, if any does.
        consistent: Whether that reading has no wrong term.
        by_sampler: Whether it uses the sampler's own σ(s).
    """

    weight: float | None = None
    reading: Reading | None = None
    consistent: bool = False
    by_sampler: bool = False
    findings: list[Finding] = field(default_factory=list)


def judge_kl(kl: KLReading, sampler: SamplerReading | None, single_precision: bool = False) -> KLVerdict:
    """Read the terms of the KL and say which of them are wrong."""
    if kl.errors is None and np.ptp(kl.values) <= 1e-9 * max(1.0, float(np.max(np.abs(kl.values)))):
        return _judge_constant(kl, sampler)
    inside = find_unclamped(kl)
    grid, values = kl.grid[inside], kl.values[inside]
    errors = None if kl.errors is None else kl.errors[inside]
    sigma = _align_sampler_sigma(kl, sampler)
    sigma = None if sigma is None else sigma[inside]
    moved = _find_moved_prior(kl, inside)
    m_squared: float | None = float(np.median(kl.m_squared))
    if moved is not None:
        values = moved
    elif not _is_constant_parabola(kl):
        exchanged = _find_exchanged(kl, inside)
        if exchanged is not None:
            return exchanged
        m_squared = None
    accepted = NEAR if not single_precision else 1e-3
    readings = read_with_known(grid, values, m_squared, errors, kl.free_constant)
    own = None
    if sigma is not None and sampler is not None:
        own = read_with(sigma, values, m_squared, sampler.label, sampler.text, errors, kl.free_constant)
    tolerance = CLOSE if errors is None else ROUGHLY
    chosen = _choose(readings, own, accepted, tolerance)
    if chosen is None and own is not None and m_squared is not None and sampler is not None:
        chosen = _accept_unnamed(own, kl, sampler, sigma, values, accepted)
    if chosen is None:
        verdict = _judge_unread(kl, grid, values, sigma, m_squared)
    else:
        verdict = _judge(chosen, own is not None and chosen is own, tolerance)
    if m_squared is None and moved is None and not kl.cut_mean:
        verdict.findings.append(report_bent_mean(kl))
    if kl.m_squared.size and inside.sum() < inside.size:
        verdict.findings.append(report_clamp(kl, inside))
    if verdict.consistent and verdict.reading is not None and verdict.reading.sigma is not None:
        verdict.findings += _check_reach(verdict.reading.sigma, grid, inside)
    return verdict


def _judge_constant(kl: KLReading, sampler: SamplerReading | None) -> KLVerdict:
    """A KL without s: that of a posterior whose σ is one number, w·½ Σ (m² + σ² − 1 − 2 log σ)."""
    weight, value = 2 * float(np.median(kl.m_squared)), float(np.median(kl.values))
    verdict = KLVerdict(weight)
    if not _is_constant_parabola(kl) or abs(weight) < 1e-9:
        return verdict
    if sampler is not None and sampler.sigma is not None and not sampler.constant:
        says = "The KL does not depend on s, while the draw's standard deviation does: nothing keeps σ near one."
        verdict.findings.append(Finding("MISMATCH", False, says, "Use the same σ(s) in sampler and KL."))
        return verdict
    own = value / weight  # at least 0 for any σ
    right, allowed, text = own > -1e-9, 0.0, "one number"
    if sampler is not None and sampler.sigma is not None:
        sigma = float(np.median(sampler.sigma))
        text, expected = f"{sigma:.4g} whatever s is", 0.5 * (sigma**2 - 1) - float(np.log(sigma))
        allowed = 6 * max(sampler.error, 0.002) * (abs(sigma**2 - 1) + 0.02)
        right = abs(own - expected) < allowed
    if right or kl.free_constant:
        verdict.consistent = True
        says = f"The KL is {weight:.6g} × ½ Σ (m² + σ² − 1 − 2 log σ) with a σ that is {text}."
        verdict.findings.append(Finding("MIXED", True, says))
        return verdict
    says = f"Per latent dimension the KL holds the constant {own:.4g}; with a σ that is {text} it is "
    says += f"{expected:.4g}." if sampler is not None else "at least 0."
    advice = "No gradient sees it, but the loss is no bound: the KL is ½ Σ (m² + σ² − 1 − 2 log σ)."
    verdict.findings.append(Finding("CONST", False, says, advice, {"constant": own}))
    return verdict


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


def _align_sampler_sigma(kl: KLReading, sampler: SamplerReading | None) -> Array | None:
    if sampler is None or sampler.sigma is None or sampler.constant:
        return None
    shared = np.isin(sampler.grid, kl.grid)
    if shared.sum() == kl.grid.size:
        return sampler.sigma[shared]
    return None  # the sampler takes positive s only, the KL all; the readings by name still compare them


def _is_constant_parabola(kl: KLReading) -> bool:
    if kl.errors is not None:
        return True
    if kl.bent:
        return False
    size = max(float(np.max(np.abs(kl.m_squared))), 1e-12)
    return bool(np.ptp(kl.m_squared) < 1e-3 * size and np.max(np.abs(kl.m_linear)) < 1e-3 * size)


def _find_moved_prior(kl: KLReading, inside: Array) -> Array | None:
    """K at the m that minimises it, if the prior's mean is not 0: a KL is entitled to another prior."""
    a, b = kl.m_squared[inside], kl.m_linear[inside]
    if kl.errors is not None or kl.bent or np.min(np.abs(a)) < 1e-9 or np.max(np.abs(b)) < 1e-3 * np.max(np.abs(a)):
        return None
    if np.ptp(a) > 1e-6 * np.max(np.abs(a)) or np.ptp(b) > 1e-6 * np.max(np.abs(b)):
        return None
    return np.asarray(kl.values[inside] - b**2 / (4 * a))


def _find_exchanged(kl: KLReading, inside: Array) -> KLVerdict | None:
    """KL(prior ‖ posterior): the coefficient of m² is 1/(2σ²), and the rest is the KL of 1/σ."""
    grid, values, a = kl.grid[inside], kl.values[inside], kl.m_squared[inside]
    for sigma in KNOWN:
        product = a * sigma(grid) ** 2
        reading = read_with(1 / sigma(grid), values, float(np.median(product)), sigma, sigma.text)
        if np.ptp(product) < 1e-4 * np.max(np.abs(product)) and reading.residual < NEAR and not reading.defects():
            says = f"This is KL(prior ‖ posterior) with σ = {sigma.text}: the two distributions are exchanged."
            advice = "Compute KL(posterior ‖ prior): ½ Σ (m² + σ² − 1 − 2 log σ)."
            finding = Finding("ARG-SWAP", False, says, advice, alternatives=("LOG-SIGN: with 1/σ for σ",))
            return KLVerdict(reading.weight, reading, findings=[finding])
    return None


def _choose(readings: list[Reading], own: Reading | None, accepted: float, tolerance: float) -> Reading | None:
    fitting = [reading for reading in readings if reading.residual < accepted and reading.weight]
    best = min((reading.residual for reading in fitting), default=1.0)
    if (
        own is not None
        and own.residual < EXACT < best
        and (not own.defects(tolerance) or _differs_by_scale(own, own.defects(tolerance), by_sampler=True))
    ):
        return own  # σ = |s| + 0.001 is nearly |s|, and exactly the sampler's own
    # A consistent KL is a KL whatever the sampler does; only an inconsistent one is read with the sampler's σ.
    for reading in fitting:
        defects = reading.defects(tolerance)
        if not defects or find_prior_scale(reading) is not None or _differs_by_scale(reading, defects):
            return reading
    if own is not None and own.residual < accepted and own.weight and len(own.defects(tolerance)) <= 2:
        fitting.insert(0, own)
    return min(fitting, key=lambda reading: len(reading.defects(tolerance)), default=None)


def _accept_unnamed(
    own: Reading, kl: KLReading, sampler: SamplerReading, sigma: Array | None, values: Array, accepted: float
) -> Reading | None:
    if own.residual < accepted and own.weight:
        return own
    if sampler.exact and kl.errors is None:
        return None
    assert sigma is not None
    # σ is known from draws only: allow for six of its standard errors.
    weight = 2 * float(np.median(kl.m_squared))
    expected = weight / 2 * (sigma**2 - 1 - 2 * np.log(sigma))
    allowed = 6 * max(sampler.error, 0.002) * np.abs(weight) * (np.abs(sigma**2 - 1) + 0.02)
    allowed = allowed + (0 if kl.errors is None else 6 * kl.errors)
    difference = values - expected
    if np.all(np.abs(difference - (np.median(difference) if kl.free_constant else 0.0)) < allowed):
        factors = {"m": 1.0, "variance": 1.0, "log": 1.0, "constant": 1.0}
        return Reading(own.text, own.sigma, weight, factors, 1.0, 0.0)
    return None


def _judge(reading: Reading, by_sampler: bool, tolerance: float) -> KLVerdict:
    # A form that fits only nearly (an epsilon inside a logarithm) knows its factor only nearly.
    nearly = 0.01 if reading.residual > EXACT and tolerance < ROUGHLY else tolerance
    verdict = KLVerdict(_round_weight(reading.weight, nearly), reading, by_sampler=by_sampler)
    scale = find_prior_scale(reading)
    defects = reading.defects(nearly)
    if scale is not None and defects:
        verdict.weight = reading.weight * reading.factors["log"]
        says = f"An exact KL with σ = {reading.text} to a normal prior of standard deviation {scale:.4g}."
        verdict.findings.append(Finding("CONST", True, says))
        verdict.consistent = True
    elif not defects or _differs_by_scale(reading, defects, by_sampler):
        if defects and reading.sigma is not None and not by_sampler:
            reading = verdict.reading = reading.rescale()
        verdict.consistent = True
        verdict.findings.append(_report_right(reading))
    else:
        verdict.findings += [report_wrong_term(reading, name, tolerance) for name in defects]
    return verdict


def _round_weight(weight: float, tolerance: float) -> float:
    """A factor that is known to a few per cent only (of a sampled KL), as the plain number that it is close to."""
    if tolerance <= CLOSE:
        return weight
    plain = [sign * size for sign in (-1, 1) for size in (0.5, 1.0, 2.0)]
    return next((number for number in plain if abs(weight / number - 1) < tolerance), weight)


def _differs_by_scale(reading: Reading, defects: list[str], by_sampler: bool = False) -> bool:
    """Whether the terms are a KL with a σ that is a constant multiple of the one read: v and c then agree on it."""
    factors = reading.factors
    if "constant" not in factors and not by_sampler:
        return False
    if reading.weight == 0 or factors["variance"] <= 0 or "log" in defects or "m" in defects:
        return False
    scale = np.sqrt(factors["variance"])
    return "constant" not in factors or abs(factors["constant"] - (1 + 2 * np.log(scale))) < 5e-3


def _report_right(reading: Reading) -> Finding:
    sign = "minus " if reading.weight < 0 else ""
    factor = abs(reading.weight)
    says = f"The KL's terms fit together: {sign}{'' if abs(factor - 1) < 1e-6 else f'{factor:.6g} × '}"
    says += f"½ Σ (m² + σ² − 1 − 2 log σ) with σ = {reading.text}."
    return Finding("MIXED", True, says, evidence={"factors": reading.factors})


def _judge_unread(kl: KLReading, grid: Array, values: Array, sigma: Array | None, a: float | None) -> KLVerdict:
    """No single σ(s) fits: mixed parameterisations, a squared logarithm, or something unknown."""
    weight = None if not a else 2 * a
    if kl.errors is None and a and abs(a) > 1e-9:
        mixed = find_mixed_parameterisations(grid, values, sigma, 2 * a, kl.free_constant)
        if mixed is not None:
            return KLVerdict(weight, findings=[mixed])
    terms = find_sparse_terms(grid, values) if kl.errors is None else {}
    if terms:
        return KLVerdict(weight, findings=[report_strange_terms(terms)])
    least = float(values.min())
    if sigma is not None:
        says = "The KL is not the KL of the distribution that the sampler draws from, for any factor in front of it."
        advice = "Write it with the sampler's own σ: ½ Σ (m² + σ² − 1 − 2 log σ)."
        return KLVerdict(weight, findings=[Finding("MISMATCH", False, says, advice)])
    says = "The KL fits no known σ(s). "
    says += f"Its least value on the grid is {least:.4g} per latent dimension (a KL's is 0). Give the sampler too."
    return KLVerdict(weight, findings=[Finding("MIXED", None, says)])
