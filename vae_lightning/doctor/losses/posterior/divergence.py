"""The KL: its values per entry, its reduction, its m² term, and whether it is random, dead or clamped."""

from dataclasses import dataclass, field

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.blackbox.box import BlackBox, CallFailed, seed
from vae_lightning.doctor.losses.blackbox.reductions import Reduction, read_entry, read_reduction
from vae_lightning.doctor.losses.posterior.noise import LATENTS, ROWS, fill
from vae_lightning.doctor.losses.posterior.sigma import POSITIVE_GRID, REAL_GRID
from vae_lightning.doctor.report import Finding

REPEATS = 10
STEPS = (1e-5, 1e-2)
MANY_ROWS = 1000
NOISE_OF_ONE_DRAW = 0.1  # of the KL of 50 rows, relative, when it is estimated from one draw a row


@dataclass
class KLReading:
    """What was measured of ``kl(m, s)``.

    Args:
        grid: Values of s.
        values: K(0, s) of one row and one latent dimension.
        m_squared: The coefficient of m² at each s.
        m_linear: The coefficient of m at each s.
        reduction: How rows and latent dimensions are reduced.
        errors: Standard errors of `values` if the KL is random (a Monte-Carlo estimate), else None.
        dead: Whether nothing more can be read from it.
        free_constant: Whether its constant is unknown (it was taken out of a whole loss).
        bent: Whether it is no parabola in m.
        cut_mean: Whether it stops growing with m: an activation on m.
    """

    grid: Array
    values: Array
    m_squared: Array
    m_linear: Array
    reduction: Reduction
    errors: Array | None = None
    dead: bool = False
    free_constant: bool = False
    bent: bool = False
    cut_mean: bool = False
    findings: list[Finding] = field(default_factory=list)


class _Probe:
    """Calls the KL with one m and one s in every entry, and averages if it is random."""

    def __init__(self, box: BlackBox) -> None:
        self.box = box
        seed(0)
        m, s = fill(0.4), fill(0.8)
        first = box(m, s)
        seed(1)
        self.random = not np.array_equal(first, box(m, s), equal_nan=True)
        self.rows = self._choose_rows() if self.random else ROWS
        self.error = 0.0

    def _choose_rows(self) -> int:
        """Rows enough for the noise that there is: a KL that averages many draws itself needs few."""
        values = [float(np.mean(self.box(fill(1.3, 50), fill(0.8, 50)))) for _ in range(REPEATS)]
        noise = float(np.std(values)) / max(abs(float(np.mean(values))), 1e-12)
        return int(np.clip(MANY_ROWS * (noise / NOISE_OF_ONE_DRAW) ** 2, 50, MANY_ROWS))

    def array(self, m: float, s: float, rows: int, latents: int = LATENTS) -> Array:
        if not self.random:
            return self.box(fill(m, rows, latents), fill(s, rows, latents))
        calls = np.stack([self.box(fill(m, rows, latents), fill(s, rows, latents)) for _ in range(REPEATS)])
        means = calls.reshape(REPEATS, -1).mean(axis=1)
        self.error = float(np.std(means, ddof=1) / np.sqrt(REPEATS)) / abs(float(np.mean(means)) or 1.0)
        return calls.mean(axis=0)

    def finite(self, m: float, s: float) -> bool:
        value = self.box.attempt(fill(m), fill(s))
        return value is not None and bool(np.all(np.isfinite(value)))


def examine_kl(box: BlackBox, free_constant: bool = False) -> KLReading:
    """Examine ``kl(m, s)`` on its own.

    Raises:
        CallFailed: It gives no numbers.
    """
    generator = np.random.default_rng(0)
    box.find_framework(generator.normal(size=(ROWS, LATENTS)), generator.uniform(0.4, 1.4, size=(ROWS, LATENTS)))
    probe = _Probe(box)
    if not probe.finite(1.3, 0.8):
        raise CallFailed("NOT-FINITE", "for m = 1.3 and s = 0.8 its value is NaN or infinite")
    grid = REAL_GRID if probe.finite(0.5, -1.0) and probe.finite(0.5, -3.9) else POSITIVE_GRID
    grid = grid[::2] if probe.random else grid
    reduction = read_reduction(lambda rows, latents: probe.array(2.5, 1.2, rows, latents), probe.rows, LATENTS)
    if not probe.random:
        # Near the prior a capacity folds the KL; far out it is the plain one.
        far = read_reduction(lambda rows, latents: probe.array(40.0, 1.2, rows, latents), probe.rows, LATENTS)
        if far.regular and (far.row_power, far.column_power) != (reduction.row_power, reduction.column_power):
            reduction = far if _grows(probe) else reduction
        if not reduction.regular:
            reduction = _read_by_difference(probe) or reduction
    reading = _read_values(probe, grid, reduction)
    reading.free_constant = reading.free_constant or free_constant
    if not reading.dead:
        reading.findings += [*_check_extremes(box, probe, grid), *_check_gradients(box, probe)]
    reading.findings += _check_additivity(probe, reading)
    return reading


def _grows(probe: _Probe) -> bool:
    """Whether the KL goes on growing with m: no cap and no activation has made it flat."""
    return float(np.mean(probe.array(40.0, 1.2, ROWS))) > 2 * float(np.mean(probe.array(25.0, 1.2, ROWS)))


def _read_by_difference(probe: _Probe) -> Reduction | None:
    # A constant that is not reduced like the rest ("- 1" outside the sum) hides the powers; differences do not hold it.
    def term(rows: int, latents: int) -> Array:
        return probe.array(2.5, 1.2, rows, latents) - probe.array(1.0, 1.2, rows, latents)

    reduction = read_reduction(term, probe.rows, LATENTS)
    return reduction if reduction.regular else None


def _read_values(probe: _Probe, grid: Array, reduction: Reduction) -> KLReading:
    def table(m: float) -> tuple[Array, Array]:
        values, errors = [], []
        for s in grid:
            values.append(read_entry(probe.array(m, float(s), probe.rows), reduction, probe.rows, LATENTS))
            errors.append(probe.error * abs(values[-1]))
        return np.array(values), np.array(errors)

    (zero, error), (right, _), (left, _) = table(0.0), table(1.3), table(-2.1)
    if not np.all(np.isfinite([zero, right, left])):
        raise CallFailed("NOT-FINITE", f"for s between {grid[0]} and {grid[-1]} some values are NaN or infinite")
    a, b = _fit_parabola(1.3, right - zero, -2.1, left - zero)
    reading = KLReading(grid, zero, a, b, reduction)
    if probe.random:
        reading.errors = np.maximum(error, 1e-9)
        return reading
    dead = _check_dead(probe, np.stack([zero, right, left]), reduction)
    if dead:
        reading.dead = True
        reading.findings.append(dead)
        return reading
    if _cuts_mean(probe, reduction):
        reading.cut_mean = True
        says = "For large m, of at least one sign, the KL does not change with m: an activation cuts the mean's range."
        same = ("MISMATCH: the sampler may use m itself",)
        reading.findings.append(Finding("HEAD-ACT", False, says, "Leave the mean head linear.", {}, same, about="kl"))
    small = 1e-6 * max(float(np.max(np.abs(a))), 1e-12)
    other = read_entry(probe.array(3.3, float(grid[-4]), probe.rows), reduction, probe.rows, LATENTS)
    expected = zero[-4] + 3.3**2 * a[-4] + 3.3 * b[-4]
    reading.bent = bool(abs(other - expected) > 1e-4 * max(1.0, abs(other)))
    if reading.bent or np.ptp(a) > small * 100 or np.max(np.abs(b)) > small * 100:
        _read_from_afar(probe, reading, {0.0: zero, 1.3: right, -2.1: left})
    return reading


def _fit_parabola(m1: float, d1: Array, m2: float, d2: Array) -> tuple[Array, Array]:
    determinant = m1 * m1 * m2 - m2 * m2 * m1
    return (d1 * m2 - d2 * m1) / determinant, (m1 * m1 * d2 - m2 * m2 * d1) / determinant


def _check_dead(probe: _Probe, table: Array, reduction: Reduction) -> Finding | None:
    if np.ptp(table) <= 1e-12 * max(1.0, float(np.max(np.abs(table)))):
        says = f"The KL is {float(table.flat[0]):.6g} whatever m and s are."
        return Finding("KL-DEAD", False, says, "Remove the clamp or factor that silences it.", about="kl")
    caps = _find_caps(probe, reduction, 1.0)
    if len(caps) == 2 and caps == _find_caps(probe, reduction, 2.0):
        says = f"The KL is capped: at m = 12 and m = 30 it is {caps[0]:.6g}, and its gradient is zero."
        return Finding("KL-DEAD", False, says, "Do not clamp the KL from above.", {"cap": caps[0]}, about="kl")
    return None


def _cuts_mean(probe: _Probe, reduction: Reduction) -> bool:
    """Whether the KL grows with m, as a parabola or not at all on each side, and stops growing on one at least."""

    def at(m: float) -> float:
        return read_entry(probe.array(m, 1.0, ROWS), reduction, ROWS, LATENTS)

    stopped = len(_find_caps(probe, reduction, 1.0))
    if not stopped or np.ptp([at(m) for m in (-12.0, 0.0, 12.0)]) < 1e-9:
        return False
    for sign in (1.0, -1.0):
        near, far = (at(20.0 * sign) - at(12.0 * sign)) / 256, (at(30.0 * sign) - at(20.0 * sign)) / 500
        if abs(near - far) > 1e-4 * max(abs(near), abs(far), 1e-6):
            return False
    return True


def _find_caps(probe: _Probe, reduction: Reduction, s: float) -> list[float]:
    """The values at which the KL stays for large m of either sign; none for a sign where it goes on growing."""
    caps = []
    for sign in (1.0, -1.0):
        far = [read_entry(probe.array(sign * m, s, ROWS), reduction, ROWS, LATENTS) for m in (12.0, 20.0, 30.0)]
        if np.ptp(far) <= 1e-6 * max(1.0, abs(far[0])):
            caps.append(float(far[0]))
    return caps


def _read_from_afar(probe: _Probe, reading: KLReading, near: dict[float, Array]) -> None:
    """Recognise free bits, max(KL, λ), and capacities, |KL − C|: far from the prior they are plain KLs."""

    def table(m: float) -> Array:
        arrays = [probe.array(m, float(s), ROWS) for s in reading.grid]
        return np.array([read_entry(array, reading.reduction, ROWS, LATENTS) for array in arrays])

    high, higher = table(40.0), table(60.0)
    a = (higher - high) / (60.0**2 - 40.0**2)
    if np.ptp(a) > 1e-6 * float(np.max(np.abs(a))) or np.max(np.abs(table(-40.0) - high)) > 1e-6 * np.max(np.abs(high)):
        return
    plain = high - a * 40.0**2
    predicted = np.stack([plain + a * m * m for m in near])
    seen = np.stack(list(near.values()))
    floor = float(seen.min())
    size = 1e-8 * max(1.0, float(np.max(np.abs(high))))
    if np.max(np.abs(np.maximum(predicted, floor) - seen)) < size:
        says = f"Values below {floor:.6g} nats per latent dimension are replaced by it: free bits. Above it was judged."
        reading.findings.append(Finding("KL-DEAD", True, says, evidence={"free bits": floor}, about="kl"))
    elif _is_folded(predicted, seen, size):
        says = "The KL is the distance from a capacity, |KL − C|; its constant is therefore not judged."
        reading.findings.append(Finding("CONST", True, says, about="kl"))
        reading.free_constant = True
    else:
        return
    reading.values, reading.m_squared, reading.m_linear, reading.bent = plain, a, np.zeros_like(a), False


def _is_folded(predicted: Array, seen: Array, size: float) -> bool:
    """Whether `seen` is |predicted − c| + c for some c: a whole loss, from which a constant was taken, leaves it."""
    other = np.abs(seen - predicted) >= size
    middle = (seen + predicted)[other] / 2
    return not middle.size or bool(np.ptp(middle) < size)


def _check_extremes(box: BlackBox, probe: _Probe, grid: Array) -> list[Finding]:
    limit = 40.0 if box.single_precision else 100.0
    ends = (-limit, limit) if grid[0] < 0 else (limit,)
    bad = [s for s in ends if not probe.finite(0.3, s)]
    if bad:
        says = f"At s = {', '.join(f'{s:g}' for s in bad)} the KL is NaN or infinite."
        return [Finding("OVERFLOW", False, says, "Work with log σ itself, and bound s smoothly.", about="kl")]
    far = [s for s in (-1e4, 1e4) if (s > 0 or grid[0] < 0) and not probe.finite(0.3, s)]
    if not far:
        says = f"The KL is finite for s up to {'±' if grid[0] < 0 else ''}10,000."
        return [Finding("OVERFLOW", True, says, about="kl")]
    says = f"The KL is finite for |s| up to {limit:g}, and no longer at {' and '.join(f'{s:g}' for s in far)}."
    advice = "Nothing keeps s in range here; in single precision e^s ends at s = 88. A smooth bound on s is safer."
    return [Finding("OVERFLOW", True, says, advice, about="kl")]


def _check_gradients(box: BlackBox, probe: _Probe) -> list[Finding]:
    if not box.has_gradient or probe.random:
        return []
    generator = np.random.default_rng(2)
    m, s = generator.normal(size=(ROWS, LATENTS)), generator.uniform(0.4, 1.4, size=(ROWS, LATENTS))
    m, s = m + np.sign(m), s  # away from m = 0 and from the prior, where free bits have no gradient
    from_graph = box.gradient(m, s)
    if from_graph is not None and not from_graph:
        return []
    # Two steps: the wider one for functions that compute in single precision inside.
    slopes = [
        [float(np.sum(box(m + step, s) - box(m - step, s))) / (2 * step) for step in STEPS],
        [float(np.sum(box(m, s + step) - box(m, s - step))) / (2 * step) for step in STEPS],
    ]
    lost = []
    for index, (name, slope) in enumerate(zip("ms", slopes, strict=True)):
        gradient = 0.0 if from_graph is None else float(np.sum(from_graph[index]))
        if not np.isfinite(gradient):
            says = f"At ordinary m and s the gradient of the KL with respect to {name} is NaN or infinite."
            return [Finding("OVERFLOW", False, says, "Look for a square root, log or where() at its edge.", about="kl")]
        if all(abs(gradient - one) > 0.05 * max(abs(one), 1e-3) for one in slope):
            lost.append(name)
    if lost:
        says = f"The KL changes with {' and '.join(lost)}, but its gradient does not say so: it is cut off."
        return [Finding("KL-DEAD", False, says, "No detach(), no .data, no no_grad() in the KL.", about="kl")]
    return [Finding("KL-DEAD", True, "The gradient of the KL is the slope of its values.", about="kl")]


def _check_additivity(probe: _Probe, reading: KLReading) -> list[Finding]:
    """Whether different entries simply add up: fills of one value cannot show a coupling."""
    if probe.random or reading.dead or not reading.reduction.regular:
        return []
    mixed_m, mixed_s = fill(2.6), fill(1.3)
    mixed_m[::2, ::3], mixed_s[::2, ::3] = -3.1, 0.75
    share = float(np.mean(mixed_m < 0))
    one, other = (float(np.mean(probe.array(m, s, ROWS))) for m, s in ((-3.1, 0.75), (2.6, 1.3)))
    expected = share * one + (1 - share) * other
    seen = float(np.mean(probe.box(mixed_m, mixed_s)))
    if abs(seen - expected) <= (1e-4 if probe.box.single_precision else 1e-5) * max(abs(one), abs(other)):
        return []
    says = "The KL of a mixed batch is not the sum of its entries' KLs: entries are coupled."
    return [Finding("SHAPE", None, says, "Check the axes of sums and means, and broadcasting.", about="kl")]
