"""The noise of a sampler: is it there, is it new each time, is it independent and standard normal?"""

from dataclasses import dataclass

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.blackbox.box import BlackBox, CallFailed, seed
from vae_lightning.doctor.report import Finding

ROWS, LATENTS = 5, 7
MANY = 40_000  # rows of the large draw; with 5 latents the standard deviation is known to 0.16 %
SIX = 6.0  # standard errors: with the dozen tests made here, one false alarm in some 10^8 examinations


@dataclass(frozen=True)
class Noise:
    """What was seen of the noise.

    Args:
        findings: Laws about it.
        usable: Whether σ(s) can be read from draws: the noise is there, and new at every call.
        seeded: Whether the global seeds govern it, so that two draws can be compared noise for noise.
        normal: Whether it is normal apart from its scale.
        centre: Its mean.
    """

    findings: tuple[Finding, ...]
    usable: bool
    seeded: bool
    normal: bool
    centre: float = 0.0


def draw(box: BlackBox, m: Array, s: Array, number: int | None = None) -> Array:
    """One draw of the shape of `m`, with the seeds set to `number` first unless it is None.

    Raises:
        CallFailed: The result has another shape.
    """
    if number is not None:
        seed(number)
    z = box(m, s)
    if z.ndim == 3 and z.shape[1:] == m.shape:  # several draws at once
        z = z[0]
    if z.shape != m.shape:
        raise CallFailed("SHAPE", f"for m and s of shape {m.shape} it returns {z.shape}; a draw has their shape")
    return z


def fill(value: float, rows: int = ROWS, latents: int = LATENTS) -> Array:
    """An array that holds one value."""
    return np.full((rows, latents), float(value))


def examine_noise(box: BlackBox) -> Noise:
    """Measure the noise of `sample` at m = 0, s = 1, where every usual σ(s) is positive."""
    m, s = fill(0.7), fill(0.6)
    first, again, other = draw(box, m, s, 1), draw(box, m, s, 1), draw(box, m, s, 2)
    following = draw(box, m, s)
    if not np.all(np.isfinite(first)):
        raise CallFailed("NOT-FINITE", "for m = 0.7 and s = 0.6 the draw holds NaN or infinity")
    if np.array_equal(other, following):
        return Noise((_report_still(first),), usable=False, seeded=True, normal=True)
    seeded = np.array_equal(first, again)
    if np.array_equal(first, other) and seeded:
        return Noise((_report_still(first),), usable=False, seeded=True, normal=True)
    findings = [] if seeded else [_report_unseeded()]
    shared = _check_shared(first)
    if shared:
        return Noise((*findings, shared), usable=True, seeded=seeded, normal=True)
    large = draw(box, fill(0, MANY, 5), fill(1, MANY, 5), 4)
    correlated = _check_correlation(large)
    if correlated:
        return Noise((*findings, correlated), usable=True, seeded=seeded, normal=True)
    shape = _check_normality(large)
    centre = float(large.mean())
    return Noise((*findings, shape), usable=True, seeded=seeded, normal=shape.ok is True, centre=centre)


def _report_still(z: Array) -> Finding:
    if np.ptp(z) == 0:
        return Finding(
            "NO-NOISE",
            False,
            f"For m = 0.7 and s = 0.6 every entry of every draw is {z.flat[0]:.6g}: the draw contains no noise.",
            "Add σ(s)·eps with eps standard normal: z = m + exp(s/2)·randn_like(m).",
            {"z": float(z.flat[0])},
            ("EPS-FROZEN: one noise value, drawn once, serves every entry for ever",) if z.flat[0] != 0.7 else (),
        )
    return Finding(
        "EPS-FROZEN",
        False,
        "Two draws with different seeds are equal to the last bit: the noise was drawn once and is never redrawn.",
        "Draw eps inside the function at every call, and set no seed there.",
    )


def _report_unseeded() -> Finding:
    return Finding(
        "UNSEEDED",
        True,
        "The draws change although every global seed is set anew: the noise comes from a generator of its own, so "
        "σ(s) is measured from many draws (to about 1 %) instead of noise for noise.",
        "For exact checks and repeatable runs draw from the framework's global generator.",
    )


def _check_shared(z: Array) -> Finding | None:
    rows, latents = np.ptp(z, axis=0).max() == 0, np.ptp(z, axis=1).max() == 0
    if not rows and not latents:
        return None
    across = "rows and latent dimensions" if rows and latents else "rows" if rows else "latent dimensions"
    return Finding(
        "EPS-SHARED",
        False,
        f"With equal m and s the draws are equal across {across}: they share one noise value.",
        "Draw eps in the shape of m: one value per row and latent dimension.",
    )


def _check_correlation(z: Array) -> Finding | None:
    latents = np.asarray(np.corrcoef(z, rowvar=False))[np.triu_indices(z.shape[1], 1)]
    rows = np.corrcoef(z[:-1].ravel(), z[1:].ravel())[0, 1]
    if np.max(np.abs(latents)) < SIX / np.sqrt(len(z)) and abs(rows) < SIX / np.sqrt(z.size):
        return None
    return Finding(
        "EPS-SHARED",
        False,
        "The noise of different latent dimensions or rows is correlated.",
        "Draw eps in the shape of m: one independent value per row and latent dimension.",
        {"largest correlation between latents": float(np.max(np.abs(latents))), "between rows": float(rows)},
    )


def _check_normality(z: Array) -> Finding:
    values = z.ravel()
    count = values.size
    centre, spread = float(values.mean()), float(values.std())
    standard = (values - centre) / spread
    square = standard * standard  # a product takes a hundredth of the time of a power
    skew, kurtosis = float(np.mean(square * standard)), float(np.mean(square * square))
    # The share within one standard deviation finds what moments miss: 0.6827 for a normal.
    share = float(np.mean(np.abs(standard) < 1))
    evidence = {"mean": centre / spread, "skew": skew, "kurtosis": kurtosis, "share within one sigma": share}
    wrong = []
    if abs(centre / spread) > SIX / np.sqrt(count):
        wrong.append(f"its mean is {centre / spread:.3f} standard deviations, not 0")
    if abs(skew) > SIX * np.sqrt(6 / count):
        wrong.append(f"its skewness is {skew:.3f}, not 0")
    if abs(kurtosis - 3) > SIX * np.sqrt(24 / count):
        wrong.append(f"its kurtosis is {kurtosis:.3f}, not 3")
    if abs(share - 0.6827) > SIX * np.sqrt(0.2166 / count):
        wrong.append(f"{share:.1%} of it lie within one standard deviation, not 68.3 %")
    evidence["other than the mean"] = float(len(wrong) - ("mean" in (wrong or [""])[0]))
    if not wrong:
        return Finding("NOISE-DIST", True, "The noise is normal and centred.", evidence=evidence)
    uniform = kurtosis < 2 and abs(centre / spread) > 1
    guess = " It looks uniform on [0, 1): rand where randn was meant." if uniform else ""
    return Finding(
        "NOISE-DIST",
        False,
        f"The noise is not normal around m: {'; '.join(wrong)}.{guess}",
        "Draw eps from a standard normal; the closed form of the KL holds for no other noise.",
        evidence,
    )
