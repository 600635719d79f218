"""Where a map to normal scores is fixed: knots at quantiles of a column, and the slopes there."""

from typing import NamedTuple

import torch
from torch import Tensor

MOST_LEVELS = 200
"""Equal shares that a column is cut into, at most: the knots between them, in both tails and beside spikes are fewer
than 1,000."""
TAIL_ROWS = 4
"""Rows beyond the outermost quantiles, but for the least and the greatest value themselves."""
NARROW = 1e-6
"""How near to a spike its neighbours may be, in units of the column's spread: no slope is steeper for long."""
SMALLEST_STEP = 1e-300
"""Between two knots: a slope is a finite number."""
FARTHEST = 1e3
"""A score beyond every other."""
TAIL_UNITS = 4
"""How many units of scores a tail is followed beyond the last value, before it goes on straight."""
MOST_GROWTH = 10.0
"""By how much a unit of scores may be wider than the one before it, further out."""


class Knots(NamedTuple):
    """A rising map that goes through n points, each of shape (n,), float64.

    Attributes:
        x: values of the column, rising.
        u: their normal scores, rising, those of values a float32 number each: rows in model units are float32, and
            those of a spike lie on its knot exactly.
        slope: du/dx.
        flat_from: where the scores begin that are given back as ``x``: those of the share that a spike has; ``u``
            where there is no spike.
        flat_to: where they end.
    """

    x: Tensor
    u: Tensor
    slope: Tensor
    flat_from: Tensor
    flat_to: Tensor


def choose_knots(values: Tensor, weights: Tensor) -> Knots:
    """The knots of a column: more of them, the more cells there are.

    The score of a value is Φ⁻¹ of the share of the cells below it and half of those that equal it. Some ``N^0.4``
    equal shares follow the column closely and hold enough cells each; in the tails shares are halved again and again.
    A value that fills a share alone is a spike: it is a knot, and so are its neighbours, so that the scores of its
    share lead to nothing else.

    Args:
        values: of the N cells observed, (N,), float64.
        weights: how much each cell counts, (N,), above 0.
    """
    x, place, count = values.unique(return_inverse=True, return_counts=True)
    if len(x) < 2:
        return _constant(x[0] if len(x) else values.new_zeros(()))
    share = torch.zeros_like(x).index_add(0, place, weights / weights.sum())
    upto = share.cumsum(0)
    upto = (upto / upto[-1]).clamp(max=1)
    before = torch.cat([upto.new_zeros(1), upto[:-1]])
    num_levels = min(MOST_LEVELS, int(len(values) ** 0.4) + 1)
    is_spike = (count > 1) & (share >= 1 / num_levels)
    if len(x) <= num_levels and 2 * len(x) <= len(values):
        is_spike[:] = True  # few values that come again and again
    chosen = is_spike.clone()
    chosen[torch.searchsorted(upto, _levels(num_levels, len(values)) - 1e-12)] = True
    chosen[_neighbours(x, is_spike)] = True
    chosen[[0, -1]] = True
    u = torch.special.ndtri((before + upto) / 2).float().double()
    # The scores of a spike at an end have none, but a model on disk holds finite numbers only.
    ends = (torch.special.ndtri(p).clamp(-FARTHEST, FARTHEST) for p in (before, upto))
    flat_from, flat_to = (torch.where(is_spike, end, u)[chosen] for end in ends)
    return _with_slopes(x[chosen], u[chosen], flat_from, flat_to)


def pad(knots: Knots, num_knots: int) -> Knots:
    """As many knots as asked for: the same map, with more knots where its upper tail is straight."""
    x, u, slope, *flat = knots
    missing = num_knots - len(x)
    further = x[-1] + torch.arange(1, missing + 1).to(x) * (x[-1] - x[-2])
    scores = u[-1] + slope[-1] * (further - x[-1])
    ends = (further, scores, slope[-1:].expand(missing), scores, scores)
    return Knots(*(torch.cat(pair) for pair in zip((x, u, slope, *flat), ends, strict=True)))


def _levels(num_levels: int, num_cells: int) -> Tensor:
    """The shares of the cells up to each knot, between 0 and 1."""
    equal = torch.arange(1, num_levels, dtype=torch.float64) / num_levels
    tail, share = [], 0.5 / num_levels
    while share * num_cells >= TAIL_ROWS:
        tail.append(share)
        share /= 2
    low = torch.tensor(tail, dtype=torch.float64)
    return torch.cat([low, equal, 1 - low])


def _neighbours(x: Tensor, is_spike: Tensor) -> Tensor:
    """The places of the nearest values below and above each spike, but for those that are all but equal to it."""
    spread = (x - x[len(x) // 2]).abs().sort().values[len(x) // 2]
    spikes = x[is_spike]
    above = torch.searchsorted(x, spikes + NARROW * spread).clamp(max=len(x) - 1)
    below = (torch.searchsorted(x, spikes - NARROW * spread, right=True) - 1).clamp(min=0)
    return torch.cat([below, above])


def _with_slopes(x: Tensor, u: Tensor, flat_from: Tensor, flat_to: Tensor) -> Knots:
    first = torch.ones(1, dtype=torch.bool, device=x.device)
    distinct = torch.cat([first, (u.diff() > 0) & (x.diff() > SMALLEST_STEP)])
    x, u, flat_from, flat_to = (part[distinct] for part in (x, u, flat_from, flat_to))
    if len(x) < 2:
        return _constant(x[0])
    (low_x, low_u), (high_x, high_u) = _tail(-x.flip(0), -u.flip(0)), _tail(x, u)
    low_x, low_u = -low_x.flip(0), -low_u.flip(0)
    x = torch.cat([low_x, x, high_x])
    u, flat_from, flat_to = (torch.cat([low_u, part, high_u]) for part in (u, flat_from, flat_to))
    step = x.diff()
    secant = u.diff() / step
    # The harmonic mean of the two sides, weighted as by Fritsch & Butland 1984: no knot is much steeper than its
    # flatter side, so that a spike has the density of what lies around it.
    weight = (2 * step[1:] + step[:-1]) / (3 * (step[1:] + step[:-1]))
    inner = 1 / (weight / secant[:-1] + (1 - weight) / secant[1:])
    return Knots(x, u, torch.cat([secant[:1], inner, secant[-1:]]), flat_from, flat_to)


def _tail(x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Knots above the greatest value, one unit of scores apart.

    A unit is as wide in x as the outermost one within. Where that is wider than the one before it, as in a heavy tail,
    each is wider than the last in the same proportion: no value costs without measure because the sample ended early.
    """
    one, two = (int((u <= u[-1] - units).sum().clamp(min=1)) - 1 for units in (1, 2))
    width = (x[-1] - x[one]) / (u[-1] - u[one])
    growth = torch.ones_like(width)
    if two < one:
        growth = (width * (u[one] - u[two]) / (x[one] - x[two])).clamp(1, MOST_GROWTH)
    units = torch.arange(1, TAIL_UNITS + 1).to(x)
    # Each step is one that float64 can tell at the size of x.
    steps = (width * growth**units).clamp(min=float(x[-1].abs()) * 2**-48)
    return x[-1] + steps.cumsum(0), u[-1] + units


def _constant(x: Tensor) -> Knots:
    """A column of a single value keeps its scale."""
    apart = (x.abs() * 2**-40).clamp(min=1)  # by so much that they are different numbers
    knots = torch.stack([x - apart, x, x + apart])
    u = knots - x
    return Knots(knots, u, torch.ones_like(u), u, u)
