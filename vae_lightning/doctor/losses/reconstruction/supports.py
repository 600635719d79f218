"""Z(out) = ∫ exp(−reconstruction) dν(x) for a reference measure ν: the test that finds errors of no known kind.

A reconstruction is the negative log of a density of x, up to a constant and a common factor, exactly if Z does not
depend on the decoder's output. ν is not known beforehand, so the usual ones are tried: the counting measure on 0 and 1,
on counts and on 256 grey levels; the Lebesgue measure on the reals, the positive numbers, [0, 1] and the circle.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.reconstruction.layout import Term, replace_head

SPREAD = 6e-3  # how much log Z may vary: clipped probabilities and quadrature cost about a tenth of it
UNIT_NODES = 1 / (1 + np.exp(-np.arange(-14.0, 14.01, 0.5)))
"""[0, 1] on a logistic scale, where densities that rise to infinity at 0 or 1 are smooth."""
HEADS = (0.25, 0.45, 0.6, 0.85)  # outputs at which Z is compared
FAR = (-2.2, -0.7, 1.7, 3.0)


@dataclass(frozen=True)
class _Measure:
    """A reference measure at the nodes of a quadrature.

    Args:
        x: The nodes.
        log_weights: The logarithms of their weights.
        ends: Nodes at which the mass must have died out.
        tail: By how many nats.
        period: After what distance a density must repeat itself.
    """

    x: Array
    log_weights: Array
    ends: tuple[int, ...] = ()
    tail: float = 0.0
    period: float = 0.0


_STEPS = np.arange(-11.1, 11.11, 0.3)
_LOGARITHMS = np.arange(-12.0, 7.0, 0.15)
MEASURES: dict[str, _Measure | None] = {
    "binary": _Measure(np.array([0.0, 1.0]), np.zeros(2)),
    "real": None,  # each density has its own nodes
    "counts": _Measure(np.arange(0.0, 61.0), np.zeros(61), (-1,), 12.0),
    "unit": _Measure(UNIT_NODES, np.log(0.5 * UNIT_NODES * (1 - UNIT_NODES))),
    "positive": _Measure(np.exp(_LOGARITHMS), _LOGARITHMS + np.log(0.15), (0, -1), 5.0),
    "log x": _Measure(np.exp(_LOGARITHMS), np.zeros(_LOGARITHMS.size), (0, -1), 5.0),
    "log(1 + x)": _Measure(np.expm1(_LOGARITHMS), np.zeros(_LOGARITHMS.size), (0, -1), 5.0),
    "circle": _Measure(np.linspace(-np.pi, np.pi, 65)[1:], np.full(64, np.log(2 * np.pi / 64)), period=2 * np.pi),
    "256 levels from 0": _Measure(np.linspace(0.0, 1.0, 256), np.zeros(256)),
    "256 levels from -1": _Measure(np.linspace(-1.0, 1.0, 256), np.zeros(256)),
}


@dataclass(frozen=True)
class Normalisation:
    """The reference measure and the factor with which a reconstruction is a likelihood.

    Args:
        support: The measure's: ``binary``, ``counts``, ``unit`` ([0, 1]), ``real``, ``positive``, ``circle`` or one of
            256 levels.
        weight: w such that exp(−reconstruction / w) is normalised; None if every w will do (a location family).
        log_z: log Z at that w: zero for a density that lacks no constant.
    """

    support: str
    weight: float | None
    log_z: float


@dataclass(frozen=True)
class _Table:
    """ρ = ±reconstruction at the nodes of a quadrature, one row per decoder output, and the weights' logarithms."""

    rho: Array
    log_weights: Array

    def log_z(self, t: float) -> Array:
        exponent = -t * self.rho + self.log_weights
        top = exponent.max(axis=1, keepdims=True)
        return np.asarray(top[:, 0] + np.log(np.exp(exponent - top).sum(axis=1)))

    def masses(self, t: float) -> Array:
        return np.asarray(np.exp(self.log_weights - t * self.rho - self.log_z(t)[:, None]))

    def spread(self, t: float) -> float:
        """How much log Z varies, beside how much the exponent itself does."""
        return float(np.ptp(self.log_z(t)))

    def relative(self, t: float) -> float:
        rho = np.where(np.isfinite(self.rho), self.rho, 0.0)
        change = float(np.max(np.ptp(rho[:, : max(2, rho.shape[1] // 2)], axis=0)))
        return self.spread(t) / max(t * change, 1e-12)


def normalise(term: Term, sign: float, expected: Sequence[float]) -> Normalisation | None:
    """Find the reference measure for which the reconstruction is a likelihood.

    Args:
        term: The reconstruction.
        sign: 1, or −1 for a log-likelihood.
        expected: Weights to try first: 1, and the KL's.

    Returns:
        None if there is none.
    """
    # Quadratures are laid out in nats: in units of the factor that the KL has too, if there is one.
    unit = expected[-1]
    found = _normalise(term, sign / unit, [weight / unit for weight in expected])
    if found is None or found.weight is None:
        return found
    return Normalisation(found.support, found.weight * unit, found.log_z)


def _normalise(term: Term, sign: float, expected: Sequence[float]) -> Normalisation | None:
    steps = range(1, term.layout.heads + 1)
    points = [tuple(HEADS[(index * step + step) % 4] for step in steps) for index in range(4)]
    points += [tuple(HEADS[(2 * step) % 4] for step in steps)] * (len(steps) > 1)
    tables: dict[str, _Table] = {}

    def accept(support: str, weight: float | None, t: float) -> Normalisation | None:
        if support in ("binary", "counts") and not _moves(tables[support], t):
            return None
        log_z = float(np.median(tables[support].log_z(t)))
        return Normalisation(support, weight, log_z) if _holds_far_out(support, term, sign, t, log_z) else None

    def judge(support: str) -> Normalisation | None:
        table = _tabulate(term, sign, points, support)
        if table is None:
            return None
        tables[support] = table
        good = {one: table.spread(1 / one) for one in (*expected, *_OTHERS) if _fits(table, 1 / one)}
        if all(weight in good for weight in _OTHERS):
            return accept(support, None, 1 / expected[0])
        wanted = [weight for weight in expected if weight in good]
        return accept(support, best := min(wanted, key=lambda one: good[one]), 1 / best) if wanted else None

    def solve(support: str) -> Normalisation | None:
        solved = _solve(tables[support]) if support in tables else None
        return accept(support, 1 / solved, solved) if solved is not None else None

    # A narrow density is normalised on every interval that holds it, so that other weights are looked for only where
    # narrowing it does not help. The grey levels, most of all calls, come last.
    levels = [support for support in MEASURES if support.startswith("256")]
    tries = [(judge, [one for one in MEASURES if one not in levels]), (solve, ["binary", "counts", "real"])]
    found = (attempt(one) for attempt, supports in [*tries, (judge, levels)] for one in supports)
    return next((one for one in found if one is not None), None)


_OTHERS = (2.0, 0.5, 3.7)
"""Weights that only a location family, which accepts all, will accept."""


def _fits(table: _Table, t: float) -> bool:
    return table.spread(t) < SPREAD and table.relative(t) < 0.005


def _holds_far_out(support: str, term: Term, sign: float, t: float, log_z: float) -> bool:
    """Whether Z stays what it is where one head after the other is far out, as far as it can be computed there.

    A bell over [0, 1] can add up to nearly the same on an interval, but not for outputs far from it.
    """
    if support == "real" and term.layout.heads == 1:
        return True
    usual = HEADS[:1] * term.layout.heads
    far = FAR if term.layout.heads == 1 else FAR[1::2]
    for point in [replace_head(usual, head, value) for head in range(term.layout.heads) for value in far]:
        table = _tabulate(term, sign, [point], support)
        if table is not None and abs(float(table.log_z(t)[0]) - log_z) > 0.02:
            return False
    return True


def compute_mean(term: Term, sign: float, support: str, out: float) -> float:
    """The mean of the density exp(−ρ) of x beside one output, on fixed nodes; NaN where it is none."""
    table = _tabulate(term, sign, [(out,)], support)
    measure = MEASURES[support]
    return np.nan if table is None or measure is None else float(table.masses(1.0)[0] @ measure.x)


def _moves(table: _Table, t: float) -> bool:
    """Whether the distribution over x depends on the output; one point that holds all mass is normalised trivially."""
    return float(np.max(np.ptp(table.masses(t), axis=0))) > 0.01


def _solve(table: _Table) -> float | None:
    """1/w for the w with which Z varies least, if it does not vary then."""
    t, width = 1.0, 7.0
    for _ in range(12):
        t = min((t * float(np.exp(step)) for step in np.linspace(-width, width, 33)), key=table.relative)
        width /= 8
    return t if table.spread(t) < 1e-3 * max(1.0, t) and table.relative(t) < 1e-3 else None


def _tabulate(term: Term, sign: float, points: Sequence[tuple[float, ...]], support: str) -> _Table | None:
    """ρ at the support's nodes; None where that is no density: NaN, or mass beyond the last node."""
    measure = MEASURES[support]
    if measure is not None and measure.period and not _repeats(term, points[0], measure.period):
        return None
    rows, logs = [], []
    for heads in points:
        nodes = measure or _spread_nodes(term, sign, heads)
        if nodes is None:
            return None
        rho, ends, tail = sign * term.values(nodes.x, heads), nodes.ends, nodes.tail
        if measure is None and not np.all(np.isfinite(rho)):
            # Far out, where there is no mass, the arithmetic of some overflows (log cosh); its value is infinite then.
            rho = np.where(np.isfinite(rho) | (np.abs(_STEPS) < 4), rho, np.inf)
            known = np.flatnonzero(np.isfinite(rho))
            ends, tail = tuple(known[[0, -1]]) if known.size else (), 12.0
        mass = nodes.log_weights - rho
        if np.any(np.isnan(rho)) or np.any(rho == -np.inf) or np.all(rho == np.inf):
            return None
        if any(mass.max() - mass[end] <= tail for end in ends):
            return None
        rows.append(rho)
        logs.append(nodes.log_weights)
    return _Table(np.array(rows), np.array(logs))


def _repeats(term: Term, heads: tuple[float, ...], period: float) -> bool:
    pairs = [[term.value(x + shift, heads) for shift in (0.0, period)] for x in (-1.1, 0.4, 2.0)]
    return all(abs(one - other) < 1e-4 * max(1.0, abs(one)) for one, other in pairs)


def _spread_nodes(term: Term, sign: float, heads: tuple[float, ...]) -> "_Measure | None":
    """Nodes on the reals, around the mode and as wide as the density: their errors are the same for all outputs.

    None where ρ has no least value between −100 and 100.
    """
    x = np.concatenate([-np.logspace(2, -1, 6), np.linspace(-0.05, 1.05, 12), np.logspace(0.1, 2, 6)])
    rho = sign * term.values(x, heads)
    place = int(np.argmin(rho))
    if place in (0, len(x) - 1) or np.any(np.isnan(rho)) or np.any(rho == -np.inf):
        return None  # an infinite cost far out is none the worse for being infinite
    low, high = float(x[place - 1]), float(x[place + 1])
    for _ in range(7):  # each round keeps two of eight parts
        inner = np.linspace(low, high, 9)
        best = int(np.argmin(sign * term.values(inner, heads)))
        low, high = float(inner[max(best - 1, 0)]), float(inner[min(best + 1, 8)])
    centre = (low + high) / 2
    least = sign * term.value(centre, heads)
    # The width is the distance at which ρ has risen by about one.
    distances, width = np.logspace(-3, 2.5, 23), 1.0
    for _ in range(3):
        both = sign * term.values(np.concatenate([centre - distances, centre + distances]), heads)
        rises = np.maximum.accumulate((both[: distances.size] + both[distances.size :]) / 2) - least
        width = float(np.exp(np.interp(0.0, np.log(rises.clip(1e-12)), np.log(distances))))
        distances = width * np.array([0.93, 1.0, 1.07])
    if not np.isfinite(width):
        return None
    return _Measure(centre + width * np.sinh(_STEPS), np.log(0.3 * width * np.cosh(_STEPS)), (0, -1), 3.0)
