"""The KL: its values per entry, its reduction, its m² term, and whether it is random, dead or clamped."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Argument, Array
from vae_lightning.doctor.losses.blackbox.box import BlackBox, CallFailed, seed
from vae_lightning.doctor.losses.blackbox.entries import ROWS, Entries, Reduction, read_reduction
from vae_lightning.doctor.losses.posterior.noise import LATENTS, check_extremes, draw_heads, fill, is_finite
from vae_lightning.doctor.losses.posterior.sigma import POSITIVE_GRID, REAL_GRID
from vae_lightning.doctor.losses.posterior.terms import Reading
from vae_lightning.doctor.report import Finding

REPEATS = 50
FEW_ROWS = 20
COUPLED = (
    "The KL of a mixed batch is not the sum of its entries' KLs: entries are coupled, on purpose (by a total "
    "correlation, or a discrepancy of the whole batch from the prior) or not."
)
MANY_ROWS = 200  # a batch whose rows are compared with one another costs their square
NOISE_OF_ONE_DRAW = 0.2  # of the KL of so few rows, relative, when it is estimated from one draw a row


@dataclass
class KLReading:
    """What was measured of ``kl(m, s)``, and what it is.

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
        weight: The factor w in front of it; negative where its sign is flipped, None where it cannot be read.
        terms: Its terms, with the σ(s) that explains them, if any does.
        consistent: Whether none of them is wrong.
        power: By which power of the number of columns it is multiplied besides (−1 where it is divided by it), where it
            was taken out of a whole loss.
        by_sampler: Whether that σ(s) is the one measured on the sampler.
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
    weight: float | None = None
    terms: Reading | None = None
    consistent: bool = False
    by_sampler: bool = False
    power: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Whether it is a KL, or too little to be judged."""
        return self.dead or self.consistent


class _Probe(Entries):
    """The KL with one m and one s in every entry, averaged over calls if it is random."""

    def __init__(self, box: BlackBox) -> None:
        super().__init__(box, LATENTS, lambda m, s: (m, s))
        seed(0)
        first = box(fill(0.4), fill(0.8))
        seed(1)
        again = box(fill(0.4), fill(0.8))
        self.random = not np.allclose(first, again, rtol=1e-9, atol=1e-12, equal_nan=True)
        self.error = 0.0  # of the latest value, relative

    def choose_rows(self) -> None:
        """Rows enough for the noise that there is: a KL that averages many draws itself needs few."""
        self.ask((1.3, 0.8), FEW_ROWS, LATENTS)
        noise = self.error * np.sqrt(REPEATS)
        self.rows = int(np.clip(MANY_ROWS * (noise / NOISE_OF_ONE_DRAW) ** 2, FEW_ROWS, MANY_ROWS))

    def call(self, *arguments: Argument) -> Array:
        if not self.random:
            return super().call(*arguments)
        calls = np.stack([super(_Probe, self).call(*arguments) for _ in range(REPEATS)])
        means = calls.reshape(REPEATS, -1).mean(axis=1)
        self.error = float(np.std(means, ddof=1) / np.sqrt(REPEATS)) / abs(float(np.mean(means)) or 1.0)
        return calls.mean(axis=0)

    def measure(self, values: Sequence[float]) -> float:
        return float(self.ask(values, self.rows, LATENTS).mean())

    def at(self, m: float, s: float = 1.0) -> float:
        """K(m, s) of one entry."""
        return self.entry((m, s))

    def reduce(self, m: float, less: float | None = None) -> Reduction:
        """The reduction at this m, of the difference from another m where one is given."""

        def term(rows: int, latents: int) -> Array:
            value = self.ask((m, 1.2), rows, latents)
            return value if less is None else value - self.ask((less, 1.2), rows, latents)

        return read_reduction(term, self.rows, LATENTS)


def examine_kl(box: BlackBox, free_constant: bool = False) -> KLReading:
    """Examine ``kl(m, s)`` on its own.

    Raises:
        CallFailed: It gives no numbers.
    """
    box.find_framework(*draw_heads(0))
    probe = _Probe(box)
    if not is_finite(box, 1.3, 0.8):
        raise CallFailed("NOT-FINITE", "for m = 1.3 and s = 0.8 its value is NaN or infinite")
    grid = REAL_GRID if is_finite(box, 0.5, -1.0) and is_finite(box, 0.5, -3.9) else POSITIVE_GRID
    coupled = not probe.add_up((-3.1, 0.75), (2.6, 1.3))
    if probe.random and coupled:
        nothing = np.zeros(grid.size)
        says = f"{COUPLED} Nothing else was judged of it."
        finding = Finding("SHAPE", None, says, "Give as kl= a KL of each row, without what couples them.")
        return KLReading(grid, nothing, nothing, nothing, probe.reduction, dead=True, findings=[finding])
    if probe.random:
        probe.choose_rows()
    probe.reduction = _read_reduction(probe)
    reading = _read_values(probe, grid[::2] if probe.random else grid)
    reading.free_constant = reading.free_constant or free_constant
    if not reading.dead:
        reading.findings += check_extremes(box, grid[0])
    if not reading.dead and not probe.random:
        m, s = draw_heads(2)  # away from m = 0 and from the prior, where free bits have no gradient
        reading.findings += box.check_gradients("KL-DEAD", "ms", m + np.sign(m), s)
        if coupled and reading.reduction.regular:
            reading.findings.append(
                Finding("SHAPE", None, COUPLED, "Check the axes of sums and means, and broadcasting.")
            )
    return reading


def report_no_kl() -> Finding:
    """The finding for a distance between latents and codes, of which nothing else can be judged."""
    says = "This term is no KL: it knows no σ, and is least wherever m is one of several codes or equals a function of "
    says += "s (a commitment loss, for example). Nothing else was judged of it."
    return Finding("MIXED", None, says, "Give as kl= a KL of m and log-variance; a quantised latent has none.")


def _read_reduction(probe: _Probe) -> Reduction:
    reduction = probe.reduce(2.5)
    if probe.random:
        return reduction
    # Near the prior a capacity folds the KL; far out it is the plain one, unless a cap or an activation made it flat.
    far = probe.reduce(40.0)
    if far.regular and (far.row_power, far.column_power) != (reduction.row_power, reduction.column_power):
        near, further = (float(np.mean(probe.ask((m, 1.2), ROWS, LATENTS))) for m in (25.0, 40.0))
        reduction = far if further > 2 * near else reduction
    if reduction.regular:
        return reduction
    # A constant that is not reduced like the rest ("- 1" outside the sum) hides the powers; differences do not hold it.
    difference = probe.reduce(2.5, less=1.0)
    return difference if difference.regular else reduction


def _read_values(probe: _Probe, grid: Array) -> KLReading:
    def table(m: float) -> Array:
        return np.array([probe.at(m, float(s)) for s in grid])

    # The error is that of the latest value.
    errors = [abs(probe.at(0.0, float(s))) * probe.error for s in grid]
    zero, right, left = (table(m) for m in (0.0, 1.3, -2.1))
    if not np.all(np.isfinite([zero, right, left])):
        raise CallFailed("NOT-FINITE", f"for s between {grid[0]} and {grid[-1]} some values are NaN or infinite")
    a, b = _fit_parabola(1.3, right - zero, -2.1, left - zero)
    reading = KLReading(grid, zero, a, b, probe.reduction)
    if probe.random:
        reading.errors = np.maximum(errors, 1e-9)
        return reading
    size = max(1.0, float(np.max(np.abs([zero, right, left]))))
    if max(float(np.ptp(each)) for each in (zero, right, left)) <= 1e-9 * size and _folds(probe):
        reading.dead, reading.findings = True, [report_no_kl()]
        return reading
    ends = _look_far(probe, 1.0)
    flat = np.ptp(ends, axis=1) <= 1e-6 * np.maximum(1.0, np.abs(ends[:, 0]))
    constant = np.ptp([zero, right, left]) <= 1e-12 * size
    if constant or (flat.all() and np.array_equal(ends, _look_far(probe, 2.0))):
        reading.dead = True
        capped = f"capped: for large m it is {ends[0, 0]:.6g}, without a gradient"
        says = f"The KL is {f'{zero[0]:.6g} whatever m and s are' if constant else capped}."
        reading.findings.append(Finding("KL-DEAD", False, says, "Remove the clamp or factor that silences it."))
        return reading
    growth = np.diff(ends) / (256, 500)  # of a parabola the same, 20² − 12² and 30² − 20²
    plain = np.ptp(growth, axis=1) <= 1e-4 * np.maximum(np.max(np.abs(growth), axis=1), 1e-6)
    if flat.any() and plain.all() and np.ptp([*ends[:, 0], probe.at(0.0)]) >= 1e-9:
        says = "For large m, of at least one sign, the KL does not change with m: an activation cuts the mean's range."
        same = ("MISMATCH: the sampler may use m itself",)
        reading.findings.append(Finding("HEAD-ACT", False, says, "Leave the mean head linear.", {}, same))
    small = 1e-6 * max(float(np.max(np.abs(a))), 1e-12)
    other = probe.at(3.3, float(grid[-4]))
    expected = zero[-4] + 3.3**2 * a[-4] + 3.3 * b[-4]
    reading.bent = bool(abs(other - expected) > 1e-4 * max(1.0, abs(other)))
    if reading.bent or np.ptp(a) > small * 100 or np.max(np.abs(b)) > small * 100:
        _read_from_afar(probe, reading, {0.0: zero, 1.3: right, -2.1: left})
    return reading


def _folds(probe: _Probe) -> bool:
    """Whether the KL falls again with m after it has risen: it has several minima."""
    steps = np.diff([probe.at(float(m)) for m in np.linspace(-3.9, 3.9, 27)])
    rising, falling = np.flatnonzero(steps > 1e-6), np.flatnonzero(steps < -1e-6)
    return bool(rising.size and falling.size and rising[0] < falling[-1])


def _fit_parabola(m1: float, d1: Array, m2: float, d2: Array) -> tuple[Array, Array]:
    determinant = m1 * m1 * m2 - m2 * m2 * m1
    return (d1 * m2 - d2 * m1) / determinant, (m1 * m1 * d2 - m2 * m2 * d1) / determinant


def _look_far(probe: _Probe, s: float) -> Array:
    """K at large m, a row for each sign: flat where a clamp or an activation ends it."""
    return np.array([[probe.at(sign * m, s) for m in (12.0, 20.0, 30.0)] for sign in (1.0, -1.0)])


def _read_from_afar(probe: _Probe, reading: KLReading, near: dict[float, Array]) -> None:
    """Recognise free bits, max(KL, λ), and capacities, |KL − C|: far from the prior they are plain KLs."""

    def table(m: float) -> Array:
        return np.array([probe.at(m, float(s)) for s in reading.grid])

    high, higher = table(40.0), table(60.0)
    a = (higher - high) / (60.0**2 - 40.0**2)
    if np.ptp(a) > 1e-6 * float(np.max(np.abs(a))) or np.max(np.abs(table(-40.0) - high)) > 1e-6 * np.max(np.abs(high)):
        return
    plain = high - a * 40.0**2
    predicted, seen = np.stack([plain + a * m * m for m in near]), np.stack(list(near.values()))
    floor, size = float(seen.min()), 1e-8 * max(1.0, float(np.max(np.abs(high))))
    # Twice the capacity, wherever the two differ; a whole loss, from which a constant was taken, adds one.
    folded = (seen + predicted)[np.abs(seen - predicted) >= size]
    if np.max(np.abs(np.maximum(predicted, floor) - seen)) < size:
        says = f"Values below {floor:.6g} nats per latent dimension are replaced by it: free bits. Above it was judged."
        reading.findings.append(Finding("KL-DEAD", True, says, evidence={"free bits": floor}))
    elif not folded.size or np.ptp(folded) < 2 * size:
        says = "The KL is the distance from a capacity, |KL − C|; its constant is therefore not judged."
        reading.findings.append(Finding("CONST", True, says))
        reading.free_constant = True
    else:
        return
    reading.values, reading.m_squared, reading.m_linear, reading.bent = plain, a, np.zeros_like(a), False
