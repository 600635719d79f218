"""The noise of a sampler: is it there, is it new each time, is it independent and standard normal?"""

from dataclasses import dataclass, field

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.blackbox.box import BlackBox, CallFailed, seed
from vae_lightning.doctor.losses.blackbox.entries import ROWS
from vae_lightning.doctor.losses.posterior.sigma import Sigma
from vae_lightning.doctor.report import Finding

LATENTS = 7
MANY = 40_000  # rows of the large draw; with 5 latents the standard deviation is known to 0.16 %
SIX = 6.0  # standard errors: with the dozen tests made here, one false alarm in some 10^8 examinations


@dataclass
class SamplerReading:
    """What was measured of a sampler.

    Args:
        grid: Values of s, all positive where the sampler refuses others.
        sigma: Standard deviation at each, or None where there is no noise to measure.
        error: Relative error of `sigma`'s absolute scale (one standard error).
        exact: Whether the ratios within `sigma` are exact.
        label: The known function that `sigma` is `factor` times of, if any.
        signed: Whether the noise changes sign with s: the raw head is the standard deviation.
        seeded: Whether the global seeds govern the noise, so that two draws can be compared noise for noise.
        normal: Whether it is normal apart from its scale.
        centre: Its mean.
        usable: Whether σ(s) can be read from draws: the noise is there, and new at every call.
    """

    grid: Array
    sigma: Array | None = None
    error: float = 0.0
    exact: bool = False
    label: Sigma | None = None
    factor: float = 1.0
    signed: bool = False
    seeded: bool = True
    normal: bool = True
    centre: float = 0.0
    usable: bool = True
    findings: list[Finding] = field(default_factory=list)

    @property
    def text(self) -> str:
        """σ(s) as a formula."""
        if self.label is None:
            return "not among the known forms"
        name = "s" if self.signed and self.label.text == "|s|" else self.label.text
        return name if abs(self.factor - 1) < 0.01 else f"{self.factor:.4g} · {name}"

    @property
    def right(self) -> bool:
        """Whether no law is broken."""
        return all(one.ok is not False for one in self.findings)

    @property
    def constant(self) -> bool:
        """Whether σ does not depend on s."""
        return self.sigma is not None and bool(np.ptp(self.sigma) < 0.02 * np.max(self.sigma))


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


def is_finite(box: BlackBox, m: float, s: float) -> bool:
    """Whether a function of m and s has a value there."""
    value = box.attempt(fill(m), fill(s))
    return value is not None and bool(np.all(np.isfinite(value)))


def check_extremes(box: BlackBox, lowest: float) -> list[Finding]:
    """Whether a function of m and s is finite where |s| is large; s is positive where the `lowest` of the grid is."""
    limit = 40.0 if box.single_precision else 100.0
    signs = (-1.0, 1.0) if lowest < 0 else (1.0,)
    bad, far = ([f"{k * s:g}" for k in signs if not is_finite(box, 0.3, k * s)] for s in (limit, 1e4))
    if bad:
        says = f"At s = {', '.join(bad)} {box.name} is NaN or infinite."
        return [Finding("OVERFLOW", False, says, "Work with log σ itself, and bound s smoothly.")]
    if not far:
        return [Finding("OVERFLOW", True, f"{box.name} is finite for |s| up to 10,000.")]
    says = f"{box.name} is finite for |s| up to {limit:g}, and no longer at {' and '.join(far)}."
    advice = "Nothing keeps s in range here; in single precision e^s ends at s = 88. A smooth bound on s is safer."
    return [Finding("OVERFLOW", True, says, advice)]


def draw_heads(number: int) -> tuple[Array, Array]:
    """Ordinary m and s, different in every entry."""
    generator = np.random.default_rng(number)
    return generator.normal(size=(ROWS, LATENTS)), generator.uniform(0.4, 1.4, size=(ROWS, LATENTS))


def examine_noise(box: BlackBox, grid: Array) -> SamplerReading:
    """Measure the noise of `sample` at m = 0, s = 1, where every usual σ(s) is positive."""
    m, s = fill(0.7), fill(0.6)
    first, again, other = draw(box, m, s, 1), draw(box, m, s, 1), draw(box, m, s, 2)
    following = draw(box, m, s)
    if not np.all(np.isfinite(first)):
        raise CallFailed("NOT-FINITE", "for m = 0.7 and s = 0.6 the draw holds NaN or infinity")
    seeded = np.array_equal(first, again)
    if np.array_equal(other, following) or (seeded and np.array_equal(first, other)):
        return SamplerReading(grid, usable=False, findings=[_report_still(first)])
    reading = SamplerReading(grid, seeded=seeded)
    if not seeded:
        says = "No global seed governs the draws: σ(s) is measured from many of them, to about 1 %."
        advice = "For exact checks and repeatable runs draw from the framework's global generator."
        reading.findings.append(Finding("UNSEEDED", True, says, advice))
    large = draw(box, fill(0, MANY, 5), fill(1, MANY, 5), 4)
    dependent = _check_independence(large)
    reading.findings.append(dependent or _check_normality(large.ravel()))
    if not dependent:
        reading.normal, reading.centre = reading.findings[-1].ok is True, float(large.mean())
    return reading


def _report_still(z: Array) -> Finding:
    if np.ptp(z) > 0:
        says = "Two draws with different seeds are equal to the last bit: the noise is never redrawn."
        return Finding("EPS-FROZEN", False, says, "Draw eps inside the function at every call, and set no seed there.")
    says = f"For m = 0.7 and s = 0.6 every entry of every draw is {z.flat[0]:.6g}: the draw contains no noise."
    advice = "Add σ(s)·eps with eps standard normal: z = m + exp(s/2)·randn_like(m)."
    others = ("EPS-FROZEN: one noise value, drawn once, serves every entry for ever",) if z.flat[0] != 0.7 else ()
    return Finding("NO-NOISE", False, says, advice, {"z": float(z.flat[0])}, others)


def _check_independence(z: Array) -> Finding | None:
    advice = "Draw eps in the shape of m: one independent value per row and latent dimension."
    shared = [name for axis, name in enumerate(("rows", "latent dimensions")) if np.ptp(z, axis=axis).max() == 0]
    if shared:
        says = f"With equal m and s the draws are equal across {' and '.join(shared)}: they share one noise value."
        return Finding("EPS-SHARED", False, says, advice)
    latents = float(np.max(np.abs(np.corrcoef(z, rowvar=False)[np.triu_indices(z.shape[1], 1)])))
    rows = float(np.corrcoef(z[:-1].ravel(), z[1:].ravel())[0, 1])
    if latents < SIX / np.sqrt(len(z)) and abs(rows) < SIX / np.sqrt(z.size):
        return None
    says = "The noise of different latent dimensions or rows is correlated."
    evidence = {"largest correlation between latents": latents, "between rows": rows}
    return Finding("EPS-SHARED", False, says, advice, evidence)


def _check_normality(z: Array) -> Finding:
    centre, spread = float(z.mean()), float(z.std())
    standard = (z - centre) / spread
    square = standard * standard  # a product takes a hundredth of the time of a power
    mean, skew, kurtosis = centre / spread, float(np.mean(square * standard)), float(np.mean(square * square))
    # The share within one standard deviation finds what moments miss.
    share = float(np.mean(np.abs(standard) < 1))
    laws = (
        ("its mean in standard deviations", mean, 0.0, 1.0),
        ("its skewness", skew, 0.0, 6.0),
        ("its kurtosis", kurtosis, 3.0, 24.0),
        ("the share of it within one standard deviation", share, 0.6827, 0.2166),
    )
    bad = [law for law in laws if abs(law[1] - law[2]) > SIX * np.sqrt(law[3] / z.size)]
    wrong = [f"{name} is {value:.3f}, not {expected:g}" for name, value, expected, _ in bad]
    evidence = {name: value for name, value, _, _ in laws}
    evidence["other than the mean"] = float(sum(not one.startswith("its mean") for one in wrong))
    if not wrong:
        return Finding("NOISE-DIST", True, "The noise is normal and centred.", evidence=evidence)
    uniform = kurtosis < 2 and abs(mean) > 1
    guess = " It looks uniform on [0, 1): rand where randn was meant." if uniform else ""
    says = f"The noise is not normal around m: {'; '.join(wrong)}.{guess}"
    advice = "Draw eps from a standard normal; the closed form of the KL holds for no other noise."
    return Finding("NOISE-DIST", False, says, advice, evidence)
