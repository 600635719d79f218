"""Each column to normal scores."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.preprocess.knots import Knots, choose_knots, pad
from vae_lightning.errors import check_parameter, is_count
from vae_lightning.likelihoods.moments import RowBatches, cell_weights, column_means, column_ranges

MOST_KNOTS = 1024
"""More than any column gets."""
MOST_ROWS = 2**20
"""Rows that quantiles are taken from: all of them, or so many evenly spaced ones of a larger table."""
CELLS_AT_ONCE = 2**24
"""Cells that are in memory while quantiles are taken, 128 MiB; a wider table is gone through several times."""


class Gaussianize(Scaling):
    """Each column to normal scores: a smooth rising map that makes the training rows of each column normal.

    Between knots at quantiles of the training rows it is a monotone rational quadratic spline, whose inverse and whose
    slope have closed forms. Beyond the training rows it goes on as their outer parts do, in the end straight, so that
    every real number has a score and a density. A constant
    column keeps its scale. NaN stays NaN, and counts for nothing.

    Of p(x|z) in data units, `inverse` of a mean is the median where p(u|z) is symmetric, and not the mean.

    Args:
        num_columns: C.
        num_knots: knots of each column, a power of 2; `fit` takes as many as the training rows need.
        bounded: let `inverse` give what training rows hold: nothing beyond their least and greatest value, and a
            value that many rows share, such as 0, for the whole of its share rather than for a single score.

    Source:
        The spline: Gregory & Delbourgo 1982. Its inverse: Durkan et al. 2019, neural spline flows.

    Raises:
        ConfigError: when ``num_knots`` is no power of 2, or ``bounded`` no truth value.
    """

    x: Tensor
    u: Tensor
    slope: Tensor
    flat_from: Tensor
    flat_to: Tensor
    low: Tensor
    high: Tensor
    mean_slope: Tensor

    def __init__(self, num_columns: int, num_knots: int = 2, bounded: bool = True) -> None:
        super().__init__(num_columns)
        legal = is_count(num_knots, 2) and num_knots <= MOST_KNOTS and not num_knots & (num_knots - 1)
        must_be = f"a power of 2 from 2 to {MOST_KNOTS:,}"
        check_parameter(type(self).__name__, "num_knots", legal, must_be, num_knots)
        check_parameter(type(self).__name__, "bounded", isinstance(bounded, bool), "true or false", bounded)
        self.bounded = bounded
        rising = torch.arange(num_knots, dtype=torch.float64).expand(num_columns, -1)
        self._keep(Knots(rising, rising, torch.ones_like(rising), rising, rising))
        for name, value in (("low", -torch.inf), ("high", torch.inf), ("mean_slope", 0.0)):
            self.register_buffer(name, torch.full((num_columns,), value, dtype=torch.float64))

    def _keep(self, knots: Knots) -> None:
        """Knots (C, K) as buffers."""
        for name, value in knots._asdict().items():
            self.register_buffer(name, value.clone(memory_format=torch.contiguous_format))

    def _fit(self, rows: RowBatches) -> None:
        seen = _Observed(rows)
        found = _knots_of_columns(seen, self.num_columns)
        num_knots = 2 ** (max(len(knots.x) for knots in found) - 1).bit_length()
        self._keep(Knots(*(torch.stack(part) for part in zip(*(pad(one, num_knots) for one in found), strict=True))))
        low, high = column_ranges(seen)
        self.low.copy_(low)
        self.high.copy_(high)
        self.mean_slope.copy_(column_means(seen, lambda x: self.log_slopes(self.transform(x))))

    def options(self) -> dict[str, object]:
        return {"num_knots": self.x.shape[1], "bounded": self.bounded}

    @property
    def description(self) -> str:
        return "mapped to normal scores"

    def transform(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        return self.scores(x).to(torch.float32)

    def scores(self, x: Tensor) -> Tensor:
        """What :meth:`transform` rounds to float32: float64 rows."""
        x = x.to(torch.float64)
        first, last = self.x[:, 0], self.x[:, -1]
        piece = self._piece(self.x, x)
        at = (x.clamp(first, last) - piece.x) / piece.width
        both = at * (1 - at)
        inner = piece.u + piece.rise * (at * at + piece.left * both) / (1 + (piece.left + piece.right - 2) * both)
        return inner + self.slope[:, 0] * (x - first).clamp(max=0) + self.slope[:, -1] * (x - last).clamp(min=0)

    def inverse(self, u: Tensor) -> Tensor:
        u = u.to(torch.float64)
        piece = self._piece(self.u, u)
        x = self._inverse(u, piece)
        if not self.bounded:
            return x
        x = torch.where(u <= piece.flat_to, piece.x, torch.where(u >= piece.flat_from, piece.next_x, x))
        return x.clamp(self.low, self.high)

    def _inverse(self, u: Tensor, piece: "_Piece") -> Tensor:
        """Of the map itself, which rises everywhere."""
        first, last = self.u[:, 0], self.u[:, -1]
        x = piece.x + piece.width * _solve(u.clamp(first, last), piece)
        return x + (u - first).clamp(max=0) / self.slope[:, 0] + (u - last).clamp(min=0) / self.slope[:, -1]

    def inverse_stddev(self, stddev: Tensor, mean: Tensor) -> Tensor:
        """Half of what lies between a standard deviation below the mean and one above it, in data units.

        Two thirds of p(x|z) lie there, where p(u|z) is normal. The slope at the mean alone would tell nothing of a
        map that bends within a standard deviation.
        """
        below, above = mean.to(torch.float64) - stddev, mean.to(torch.float64) + stddev
        return (self._inverse(above, self._piece(self.u, above)) - self._inverse(below, self._piece(self.u, below))) / 2

    def log_slopes(self, u: Tensor) -> Tensor:
        u = u.to(torch.float64)
        piece = self._piece(self.u, u)
        at = _solve(u.clamp(self.u[:, 0], self.u[:, -1]), piece)
        both = at * (1 - at)
        above = piece.right * at * at + 2 * both + piece.left * (1 - at) * (1 - at)
        below = 1 + (piece.left + piece.right - 2) * both
        return (piece.rise / piece.width).log() + above.log() - 2 * below.log()

    def mean_log_slopes(self) -> Tensor:
        return self.mean_slope

    def max_log_slopes(self) -> Tensor:
        # Between two knots the spline is nowhere steeper than the steeper of them, or than 2 / (1 + r) times the line
        # that joins them, r being the flatter knot's slope in units of that line's: 1 where all of it is straight.
        line = self.u.diff(dim=1) / self.x.diff(dim=1)
        flatter = torch.minimum(self.slope[:, 1:], self.slope[:, :-1])
        return torch.cat([2 * line / (1 + flatter / line), self.slope], dim=1).amax(1).log()

    def _piece(self, knots: Tensor, value: Tensor) -> "_Piece":
        """The piece of the spline that each value (..., C) lies in; ``knots`` (C, K) are in the values' units.

        By bisection in as many steps as K has halvings, which any exporter can write down.
        """
        num_knots = knots.shape[1]
        row = torch.arange(self.num_columns, device=value.device) * num_knots
        flat, index = knots.flatten(), row.expand(value.shape)
        half = num_knots // 2
        while half:
            index = index + half * (flat[index + half] <= value)
            half //= 2
        index = torch.minimum(index, row + num_knots - 2)
        x, next_x, u, next_u = (part.flatten()[i] for part in (self.x, self.u) for i in (index, index + 1))
        width, rise = next_x - x, next_u - u
        left, right = (self.slope.flatten()[i] * (width / rise) for i in (index, index + 1))
        flat_to, flat_from = self.flat_to.flatten()[index], self.flat_from.flatten()[index + 1]
        return _Piece(x, next_x, width, u, rise, left, right, flat_to, flat_from)


class _Piece(NamedTuple):
    """What the map is between two knots, by cell, (..., C)."""

    x: Tensor
    next_x: Tensor
    width: Tensor
    u: Tensor
    rise: Tensor
    left: Tensor  # the slope at the first knot, in units of rise / width
    right: Tensor
    flat_to: Tensor  # the last score that is given back as x
    flat_from: Tensor  # the first one that is given back as next_x


def _solve(u: Tensor, piece: _Piece) -> Tensor:
    """Where the spline reaches ``u``: 0 at the first knot, 1 at the next; the root that loses no digits."""
    y = (u - piece.u) / piece.rise
    bend = y * (piece.left + piece.right - 2)
    b = piece.left - bend
    return 2 * y / (b + (b * b + 4 * y * (1 - piece.left + bend)).clamp(min=0).sqrt())


def _knots_of_columns(rows: "_Observed", num_columns: int) -> list[Knots]:
    """The knots of each column, with as many columns in memory as have room there."""
    num_rows = sum(len(batch.x) for batch in rows.batches())
    at_once = max(1, CELLS_AT_ONCE // min(num_rows, MOST_ROWS))
    found = []
    for start in range(0, num_columns, at_once):
        columns = slice(start, start + at_once)
        x, weights = _collect(rows, columns, num_rows)
        found += [choose_knots(x[seen, i], weights[seen, i]) for i, seen in enumerate((weights > 0).T)]
    return found


def _collect(rows: "_Observed", columns: slice, num_rows: int) -> tuple[Tensor, Tensor]:
    """Values and weights of some columns, (N, columns) each, of all rows or of evenly spaced ones."""
    every = max(1.0, num_rows / MOST_ROWS)
    parts, start = [], 0
    for batch in rows.batches():
        # Rows 0, every, 2 · every ..., rounded: however the rows are cut into batches, the same ones.
        here = torch.arange(start, start + len(batch.x), dtype=torch.float64)
        index = ((here / every).ceil() * every < here + 1).nonzero().flatten().to(batch.x.device)
        parts.append((batch.x[index, columns].double(), cell_weights(batch)[index, columns]))
        start += len(batch.x)
    return torch.cat([x for x, _ in parts]), torch.cat([weights for _, weights in parts])


class _Observed:
    """Rows whose cells without a number are masked."""

    def __init__(self, rows: RowBatches) -> None:
        self.rows = rows

    def batches(self) -> Iterator[Batch]:
        for batch in self.rows.batches():
            has_number = ~batch.x.isnan()
            yield Batch(batch.x, has_number if batch.mask is None else has_number & batch.mask, weight=batch.weight)
