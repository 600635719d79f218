"""The sampler: which σ(s) it really uses, where it puts its mean, and which gradients it passes.

The sampler comes before everything else, because it alone defines what the second head s *is*.
"""

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.blackbox.box import BlackBox, CallFailed
from vae_lightning.doctor.losses.blackbox.entries import ROWS
from vae_lightning.doctor.losses.posterior.noise import (
    LATENTS,
    SamplerReading,
    check_extremes,
    draw,
    draw_heads,
    examine_noise,
    fill,
    is_finite,
)
from vae_lightning.doctor.losses.posterior.sigma import POSITIVE_GRID, REAL_GRID, identify_sigma
from vae_lightning.doctor.report import Finding

REFERENCE = 1.0  # the s at which the absolute scale is measured
FEW = 20_000
FAR: Array = np.array([-40.0, -20.0, -10.0, -6.0, 1e-6, 6.0, 10.0, 20.0, 40.0])
"""Values of s beyond the grid, at which the range of σ is measured."""


def examine_sampler(box: BlackBox) -> SamplerReading:
    """Examine ``sample(m, s)``.

    Raises:
        CallFailed: It gives no draw.
    """
    box.find_framework(*draw_heads(0))
    reading = examine_noise(box, REAL_GRID if is_finite(box, 0.0, -1.0) else POSITIVE_GRID)
    if not reading.usable:
        return reading
    _read_sigma(box, reading)
    places = _check_mean(box, reading)
    if any(finding.code == "HEAD-ACT" and finding.ok is False for finding in places):
        # An activation that moves m = 0 looks like noise that is not centred.
        reading.findings = [one for one in reading.findings if one.evidence.get("other than the mean") != 0 or one.ok]
    reading.findings += places
    reading.findings += box.check_gradients("NO-GRAD", "ms", *draw_heads(1), comparable=reading.seeded)
    if reading.sigma is not None and not reading.constant:
        reading.findings += [*check_extremes(box, reading.grid[0]), *_check_range(box, reading, reading.sigma)]
    return reading


def _read_sigma(box: BlackBox, reading: SamplerReading) -> None:
    large = draw(box, fill(0, 2 * FEW, 5), fill(REFERENCE, 2 * FEW, 5), 4)
    scale = float(np.std(large))
    reading.error = 1 / np.sqrt(2 * large.size)
    if scale == 0:  # one noise value for all rows and latents, as EPS-SHARED has found
        scale, reading.error = 1.0, 0.5
    elif any(finding.code == "EPS-SHARED" and finding.ok is False for finding in reading.findings):
        reading.error = 0.5
    ratios, misfit = _read_ratios(box, reading.grid, reading.seeded)
    reading.exact = reading.seeded and bool(misfit <= (1e-4 if box.single_precision else 1e-9))
    if reading.seeded and not reading.exact:
        ratios, _ = _read_ratios(box, reading.grid, False)
    reading.signed = reading.exact and bool(np.any(ratios < 0))
    reading.sigma = np.abs(ratios) * scale
    if not np.all(reading.sigma > 0) or not np.all(np.isfinite(reading.sigma)):
        silent = [float(s) for s, sigma in zip(reading.grid, reading.sigma, strict=True) if sigma == 0]
        if silent:
            says = f"For s from {silent[0]:g} to {silent[-1]:g} the draw contains no noise: σ is exactly 0 there."
            advice = "Keep σ positive: exp(s/2), or softplus(s)."
            reading.findings.append(Finding("HEAD-ACT", False, says, advice))
        reading.sigma = None
        return
    if not reading.constant:
        tolerance = (1e-3 if box.single_precision else 1e-5) if reading.exact else 0.03
        reading.label, reading.factor = identify_sigma(reading.grid, reading.sigma, tolerance)
        if abs(reading.factor - 1) < max(0.002, 6 * reading.error):
            reading.factor = 1.0


def _read_ratios(box: BlackBox, grid: Array, paired: bool) -> tuple[Array, float]:
    """σ(s)/σ(reference) at each s, and how far the noise is from being just that multiple of the reference's.

    Args:
        box: The sampler.
        grid: Values of s; where there is no finite draw the ratio is NaN.
        paired: Whether the same noise is drawn at each: then the ratio is exact, however few the values, and negative
            where the noise changes its sign. Otherwise many draws are compared.
    """
    # m = 0 throughout, so that z is the noise itself. A sampler whose mean depends on s is caught by `_check_mean`.
    shape = (ROWS, LATENTS) if paired else (FEW, 5)
    base = draw(box, fill(0.0, *shape), fill(REFERENCE, *shape), 3)
    ratios, misfits = [], []
    for s in grid:
        try:
            z = draw(box, fill(0.0, *shape), fill(float(s), *shape), 3)
        except CallFailed:
            z = np.full(shape, np.nan)
        ratios.append(np.sum(z * base) / np.sum(base * base) if paired else np.std(z) / np.std(base))
        misfits.append(np.max(np.abs(z - ratios[-1] * base)) / max(1.0, abs(ratios[-1])))
    return np.array(ratios), float(np.max(misfits) / np.max(np.abs(base)))


def _check_mean(box: BlackBox, reading: SamplerReading) -> list[Finding]:
    points = np.array([-3.0, -1.2, -0.4, 0.6, 1.3, 3.0])
    quiet = float(reading.grid[np.argmin(reading.sigma)]) if reading.sigma is not None else 0.5
    means = {s: np.array([_read_mean(box, m, s, reading) for m in points]) for s in (quiet, REFERENCE)}
    tolerance = (1e-4 if box.single_precision else 1e-8) if reading.seeded else 0.05
    if all(np.max(np.abs(mean - points)) < tolerance * 10 for mean in means.values()):
        return [Finding("MISMATCH", True, "The mean of the draw is m, at every s.")]
    evidence = {f"mean at s = {s:g}": [float(f"{value:.5g}") for value in mean] for s, mean in means.items()}
    evidence["m"] = points.tolist()
    if np.max(np.abs(means[quiet] - means[REFERENCE])) > tolerance * 30:
        says = "The mean of the draw depends on s as well as on m"
        advice = "Scale the noise only: z = m + σ·eps, not σ·(m + eps)."
        return [Finding("MISMATCH", False, says + ".", advice, evidence)]
    slope = float(np.sum(means[REFERENCE] * points) / np.sum(points * points))
    if np.max(np.abs(means[REFERENCE] - slope * points)) < tolerance * 30:
        says = f"The mean of the draw is {slope:.4g}·m, not m."
        return [Finding("MISMATCH", False, says, "Use z = m + σ·eps.", evidence)]
    says = "The mean of the draw is a bent function of m: an activation on the mean head cuts its range."
    return [Finding("HEAD-ACT", False, says, "Leave the mean head linear.", evidence)]


def _read_mean(box: BlackBox, m: float, s: float, reading: SamplerReading) -> float:
    if reading.seeded:
        return float(np.mean(draw(box, fill(m), fill(s), 3) - draw(box, fill(0.0), fill(s), 3)))
    return float(np.mean(draw(box, fill(m, FEW, 5), fill(s, FEW, 5))) - reading.centre)


def _check_range(box: BlackBox, reading: SamplerReading, sigma: Array) -> list[Finding]:
    ends = FAR if reading.grid[0] < 0 else FAR[FAR > 0]
    far = np.abs(_read_ratios(box, ends, reading.exact)[0]) * float(np.interp(REFERENCE, reading.grid, sigma))
    measured = np.concatenate([far, sigma])
    return check_range(np.array([*ends, *reading.grid]), np.where(np.isfinite(measured), measured, np.inf))


def check_range(s: Array, sigma: Array) -> list[Finding]:
    """HEAD-ACT if σ(s), for s from −40 to 40, is bounded near the prior's; what still grows at the end is not."""
    low, high, nearer = float(np.min(sigma)), float(np.max(sigma)), float(np.max(sigma[np.abs(s) <= 20]))
    bounded = high < min(1.2, 1.5 * nearer)
    if low <= 0.35 and not bounded:
        return []
    bounds = [f"never below {low:.3g}"] * (low > 0.35) + [f"never above {high:.3g}"] * bounded
    says = f"For s from -40 to 40 σ is {' and '.join(bounds)}: an activation on the second head cuts its range."
    if low > 0.35:
        says += f" A latent can then carry at most {max(-np.log(low), 0.0):.2g} nats."
    advice = "Leave the second head linear, or bound it by a wide smooth map."
    evidence = {"least sigma": low, "greatest sigma": high}
    return [Finding("HEAD-ACT", False, says, advice, evidence)]
