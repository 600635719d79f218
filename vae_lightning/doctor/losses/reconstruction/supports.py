"""Z(out) = ∫ exp(−reconstruction) dν(x) for a reference measure ν: the test that finds errors of no known kind.

A reconstruction is the negative log of a density of x, up to a constant and a common factor, exactly if Z does not
depend on the decoder's output. ν is not known beforehand, so the usual ones are tried: the counting measure on 0 and 1,
on counts and on 256 grey levels; the Lebesgue measure on the reals, the positive numbers, [0, 1] and the circle.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.reconstruction.layout import Term, replace_head

SPREAD = 6e-3  # how much log Z may vary: clipped probabilities and quadrature cost about a tenth of it
UNIT_NODES = 1 / (1 + np.exp(-np.arange(-14.0, 14.01, 0.5)))
"""[0, 1] on a logistic scale, where densities that rise to infinity at 0 or 1 are smooth."""
HEADS = (0.25, 0.45, 0.6, 0.85)


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

    def spread(self, t: float) -> float:
        """How much log Z varies, beside how much the exponent itself does."""
        return float(np.ptp(self.log_z(t)))

    def relative(self, t: float) -> float:
        rho = np.where(np.isfinite(self.rho), self.rho, 0.0)
        change = float(np.max(np.ptp(rho[:, : max(2, rho.shape[1] // 2)], axis=0)))
        return self.spread(t) / max(t * change, 1e-12)


def choose_outputs(count: int) -> list[tuple[float, ...]]:
    """Decoder outputs at which Z is compared."""
    if count == 1:
        return [(head,) for head in HEADS]
    return [tuple(HEADS[(index * step + step) % 4] for step in range(1, count + 1)) for index in range(4)] + [
        tuple(HEADS[(2 * step) % 4] for step in range(count))
    ]


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
    points = choose_outputs(term.layout.heads)
    tables: dict[str, _Table | None] = {}
    for support, nodes in _SUPPORTS.items():
        if support not in _SOLVED and not _is_promising(nodes, term, sign, points[:2], expected):
            continue
        table = tables[support] = nodes(term, sign, points)
        good = [] if table is None else [weight for weight in (*expected, *_OTHERS) if _fits(table, 1 / weight)]
        if table is None or not good or not _holds_for_other_heads(support, term, sign, 1 / good[0], table):
            continue  # not on this support
        if all(weight in good for weight in _OTHERS):
            if support == "binary" and not _holds_far_out(support, term, sign, 1 / expected[0]):
                continue
            return Normalisation(support, None, float(np.median(table.log_z(1 / expected[0]))))
        # A bell over [0, 1] can add up to nearly the same on an interval, but not for outputs far from it.
        wanted = [
            weight
            for weight in expected
            if weight in good and (support == "real" or _holds_far_out(support, term, sign, 1 / weight))
        ]
        if wanted:
            spreads = {one: table.spread(1 / one) for one in wanted}
            weight = min(spreads, key=lambda one: spreads[one])
            return Normalisation(support, weight, float(np.median(table.log_z(1 / weight))))
    # A narrow density is normalised on every interval that holds it, so that other weights are looked for only where
    # narrowing it does not help.
    for support in _SOLVED:
        table = tables[support]
        solved = None if table is None else _solve(table)
        if solved is not None and not _holds_far_out(support, term, sign, solved):
            continue
        if table is not None and solved is not None and (support == "real" or _moves(table, solved)):
            return Normalisation(support, 1 / solved, float(np.median(table.log_z(solved))))
    return None


_OTHERS = (2.0, 0.5, 3.7)
"""Weights that only a location family, which accepts all, will accept."""


_SOLVED = ("binary", "counts", "real")


def _is_promising(
    nodes: "_Nodes", term: Term, sign: float, points: list[tuple[float, ...]], expected: Sequence[float]
) -> bool:
    """Whether two outputs at least agree: most functions are no density on most supports."""
    table = nodes(term, sign, points)
    return table is not None and any(table.spread(1 / weight) < SPREAD for weight in expected)


def _fits(table: _Table, t: float) -> bool:
    return table.spread(t) < SPREAD and table.relative(t) < 0.005


def _holds_far_out(support: str, term: Term, sign: float, t: float) -> bool:
    """Whether a weight that was solved for holds at outputs that are legal as logits or means, too."""
    if term.layout.heads != 1:
        return True
    table = _SUPPORTS[support](term, sign, [(out,) for out in (*HEADS, -2.2, -0.7, 1.7, 3.0)])
    return table is None or table.spread(t) < 0.01


def _holds_for_other_heads(support: str, term: Term, sign: float, t: float, known: _Table) -> bool:
    """Whether Z stays what it is where one head after the other is far out, as far as it can be computed there."""
    if term.layout.heads == 1:
        return True
    usual, log_z = HEADS[:1] * term.layout.heads, float(np.median(known.log_z(t)))
    for head in range(term.layout.heads):
        points = [replace_head(usual, head, value) for value in (-0.7, 3.0)]
        table = _SUPPORTS[support](term, sign, points)
        if table is not None and np.max(np.abs(table.log_z(t) - log_z)) > 0.02:
            return False
    return True


def _moves(table: _Table, t: float) -> bool:
    """Whether the distribution over x depends on the output; one point that holds all mass is normalised trivially."""
    masses = np.exp(-t * table.rho + table.log_weights - table.log_z(t)[:, None])
    return float(np.max(np.ptp(masses, axis=0))) > 0.05


def _solve(table: _Table) -> float | None:
    grid = np.logspace(-3, 3, 49)
    best = min(grid, key=table.relative)
    low, high = np.log(best) - 0.3, np.log(best) + 0.3
    for _ in range(60):
        one, other = low + 0.382 * (high - low), low + 0.618 * (high - low)
        if table.relative(float(np.exp(one))) < table.relative(float(np.exp(other))):
            high = other
        else:
            low = one
    t = float(np.exp((low + high) / 2))
    return t if table.spread(t) < 1e-3 * max(1.0, t) and table.relative(t) < 1e-3 else None


def _tabulate(term: Term, sign: float, points: list[tuple[float, ...]], x: Array, log_weights: Array) -> _Table | None:
    rows = []
    for heads in points:
        rho = sign * term.values(x, heads)
        if np.any(np.isnan(rho)) or np.any(rho == -np.inf) or np.all(rho == np.inf):
            return None
        rows.append(rho)
    return _Table(np.array(rows), np.broadcast_to(log_weights, (len(points), len(x))))


def _tabulate_binary(term: Term, sign: float, points: list[tuple[float, ...]]) -> _Table | None:
    return _tabulate(term, sign, points, np.array([0.0, 1.0]), np.zeros(2))


def _tabulate_counts(term: Term, sign: float, points: list[tuple[float, ...]]) -> _Table | None:
    x = np.arange(0.0, 61.0)
    table = _tabulate(term, sign, points, x, np.zeros(61))
    # Only a mass that has died out by the last count has been summed.
    return table if table is not None and np.all(table.rho[:, -1] - table.rho.min(axis=1) > 12) else None


def _tabulate_unit(term: Term, sign: float, points: list[tuple[float, ...]]) -> _Table | None:
    return _tabulate(term, sign, points, UNIT_NODES, np.log(0.5 * UNIT_NODES * (1 - UNIT_NODES)))


def _tabulate_positive(term: Term, sign: float, points: list[tuple[float, ...]]) -> _Table | None:
    u = np.arange(-12.0, 7.0, 0.15)
    table = _tabulate(term, sign, points, np.exp(u), u + np.log(0.15))
    if table is None:
        return None
    mass = -table.rho + table.log_weights
    ends = np.maximum(mass[:, 0], mass[:, -1])
    return table if np.all(ends < mass.max(axis=1) - 5) else None


def _tabulate_real(term: Term, sign: float, points: list[tuple[float, ...]]) -> _Table | None:
    rows, logs = [], []
    u = np.arange(-11.1, 11.11, 0.3)
    for heads in points:
        centre, width = _find_centre(term, sign, heads)
        if not np.isfinite(centre) or not np.isfinite(width):
            return None
        rho = sign * term.values(centre + width * np.sinh(u), heads)
        # Far out, where there is no mass, the arithmetic of some overflows (log cosh); its value is infinite then.
        rho = np.where(np.isfinite(rho) | (np.abs(u) < 4), rho, np.inf)
        mass = -rho + np.log(width * np.cosh(u))
        known = np.flatnonzero(np.isfinite(mass))
        if np.any(np.isnan(rho)) or np.any(rho == -np.inf) or not known.size:
            return None
        if max(mass[known[0]], mass[known[-1]]) > mass.max() - (3 if known.size == u.size else 12):
            return None
        rows.append(rho)
        logs.append(np.log(0.3 * width * np.cosh(u)))
    return _Table(np.array(rows), np.array(logs))


def find_mode(term: Term, sign: float, heads: tuple[float, ...]) -> float:
    """The x with the least ρ; NaN where there is none between −100 and 100."""
    x = np.concatenate([-np.logspace(2, -1, 6), np.linspace(-0.05, 1.05, 12), np.logspace(0.1, 2, 6)])
    rho = sign * term.values(x, heads)
    if np.any(np.isnan(rho)) or np.any(rho == -np.inf):
        return np.nan  # an infinite cost far out is none the worse for being infinite
    place = int(np.argmin(rho))
    if place in (0, len(x) - 1):
        return np.nan
    low, high = float(x[place - 1]), float(x[place + 1])
    for _ in range(7):  # each round keeps two of eight parts
        inner = np.linspace(low, high, 9)
        best = int(np.argmin(sign * term.values(inner, heads)))
        low, high = float(inner[max(best - 1, 0)]), float(inner[min(best + 1, 8)])
    return (low + high) / 2


def _find_centre(term: Term, sign: float, heads: tuple[float, ...]) -> tuple[float, float]:
    """The mode, and the distance at which ρ has risen by about one; NaN where there is none."""
    centre = find_mode(term, sign, heads)
    if not np.isfinite(centre):
        return np.nan, np.nan
    least = sign * term.value(centre, heads)
    # The nodes scale with the density: whatever the quadrature then gets wrong is the same for all outputs.
    distances = np.logspace(-3, 2.5, 23)
    rises = (_compute_rise(term, sign, heads, centre, distances) - least).clip(1e-12)
    width = float(np.exp(np.interp(0.0, np.log(rises), np.log(distances))))
    for _ in range(2):
        near = width * np.array([0.93, 1.0, 1.07])
        rises = (_compute_rise(term, sign, heads, centre, near) - least).clip(1e-12)
        width = float(np.exp(np.interp(0.0, np.log(rises), np.log(near))))
    return centre, width


def _compute_rise(term: Term, sign: float, heads: tuple[float, ...], centre: float, distances: Array) -> Array:
    both = sign * term.values(np.concatenate([centre - distances, centre + distances]), heads)
    return np.maximum.accumulate((both[: len(distances)] + both[len(distances) :]) / 2)


def _tabulate_levels(low: float) -> "_Nodes":
    """256 grey levels between `low` and 1, for discretised densities."""

    def nodes(term: Term, sign: float, points: list[tuple[float, ...]]) -> _Table | None:
        return _tabulate(term, sign, points, np.linspace(low, 1.0, 256), np.zeros(256))

    return nodes


def _tabulate_circle(term: Term, sign: float, points: list[tuple[float, ...]]) -> _Table | None:
    angles = np.linspace(-np.pi, np.pi, 65)[1:]
    for x in (-1.1, 0.4, 2.0):
        turn = [term.value(x + shift, points[0]) for shift in (0.0, 2 * np.pi)]
        if not abs(turn[1] - turn[0]) < 1e-4 * max(1.0, abs(turn[0])):
            return None  # only what repeats itself every turn is a density of angles
    return _tabulate(term, sign, points, angles, np.full(64, np.log(2 * np.pi / 64)))


_Nodes = Callable[[Term, float, list[tuple[float, ...]]], _Table | None]

_SUPPORTS: dict[str, _Nodes] = {
    "binary": _tabulate_binary,
    "real": _tabulate_real,
    "counts": _tabulate_counts,
    "unit": _tabulate_unit,
    "positive": _tabulate_positive,
    "circle": _tabulate_circle,
    "256 levels from 0": _tabulate_levels(0.0),
    "256 levels from -1": _tabulate_levels(-1.0),
}
