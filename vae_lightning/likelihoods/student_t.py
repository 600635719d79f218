"""Student's t likelihood: real numbers with outliers, whose tails it learns."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.distributions import StudentT as StudentTDistribution

from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.base import Predictive
from vae_lightning.likelihoods.bounds import REACHABLE
from vae_lightning.likelihoods.location_scale import LocationScale
from vae_lightning.likelihoods.moments import RowBatches, cell_weights, column_means, held_variances
from vae_lightning.likelihoods.scale import Scale
from vae_lightning.likelihoods.shape import Shape

TScaleKind = Literal["fixed", "shared", "per_column", "predicted"]
LEAST_DF, MIN_EXCESS, MAX_EXCESS = 2.0, 0.1, 100.0
FIRST_STEPS, STEPS, LAST_STEPS, GRID = 10, 70, 10, 64
"""Of EM before ν is touched, in all, and of those the last, of ordinary length; values of ν that each tries."""


class StudentT(LocationScale):
    """``log p(x|raw) = log Γ((ν+1)/2) - log Γ(ν/2) - ½ log πν - log s - (ν+1)/2 log(1 + (x - m)² / νs²)``, m raw.

    Each column learns its degrees of freedom ν, between 2.1, where the variance ``s² ν / (ν - 2)`` is nearly infinite,
    and 102, where it is nearly a normal. A density may exceed 1; no column gives more than that of the greatest ν at
    the floor of s, 10.59 nats at the default.

    Args:
        num_columns: number of columns C.
        scale: where s comes from: ``fixed``, ``shared``, ``per_column`` or ``predicted``, as the variance of
            :class:`~vae_lightning.likelihoods.gaussian.Gaussian`.
        fixed_scale: s where it is fixed, in model units.
        min_scale: floor under s, in model units.

    Raises:
        ConfigError: for an unknown ``scale``, a ``fixed_scale`` or ``min_scale`` that is not positive, or a
            ``min_scale`` of 1 or more.
    """

    def __init__(
        self,
        num_columns: int,
        scale: TScaleKind = "per_column",
        fixed_scale: float = 1.0,
        min_scale: float = 1e-5,
    ) -> None:
        kinds = get_args(TScaleKind)
        check_parameter("StudentT", "scale", scale in kinds, f"one of {', '.join(kinds)}", scale)
        super().__init__(
            num_columns, Scale(num_columns, scale, fixed_scale, min_scale, 0.1, 2, "StudentT", "scale", "fixed_scale")
        )
        self.excess = Shape(num_columns, "per_column", MIN_EXCESS, MAX_EXCESS, "StudentT", "scale")

    @property
    def df(self) -> Tensor:
        """ν of each column, (C,)."""
        assert self.excess.raw_log is not None
        return LEAST_DF + self.excess.split(self.excess.raw_log)[1]

    @property
    def unit_stddev(self) -> Tensor:  # type: ignore[override]
        df = self.df.detach()
        return (df / (df - 2)).sqrt()

    def predict(self, location: Tensor, scale: Tensor) -> Predictive:
        return StudentTPredictive(self.df, location, scale)

    def fit(self, rows: RowBatches) -> tuple[Tensor, Tensor]:
        """Each column's location, float32, and s², float64."""
        location, square, _ = self._fit(rows)
        return location, square

    def start_from(self, rows: RowBatches, residual: Tensor | None = None, held: Tensor | None = None) -> Tensor:
        _, square, df = self._fit(rows)
        self.excess.start(df - LEAST_DF)
        held = held_variances(rows) if held is None else held
        return super().start_from(rows, residual, self._hold(square, held))

    def independent_columns(self, rows: RowBatches) -> Predictive:
        location, square, df = self._fit(rows)
        held = self._hold(square, held_variances(rows)) * (df - 2) / df
        scale = self.scale.tie(square, held).to(location.dtype)
        return StudentTPredictive(df.to(location.dtype), location, scale)

    def _hold(self, square: Tensor, held: Tensor) -> Tensor:
        """What is held, only where s would vanish: a few cells far away are no reason, they are what ν is for."""
        return torch.where(square <= 2 * self.scale.floor**2, held, 0.0)

    def max_log_prob(self) -> Tensor:
        df = LEAST_DF + MAX_EXCESS
        at_mode = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(math.pi * df)
        return (at_mode - self.scale.least.log()).expand(self.num_columns)

    def _fit(self, rows: RowBatches) -> tuple[Tensor, Tensor, Tensor]:
        """m, s² and ν of greatest likelihood, (C,): EM over the precision of each cell (Liu & Rubin 1995).

        A cell's precision is gamma-distributed around ``w = (ν + 1) / (ν + z²)``, z its distance from m in units of s.
        ν is taken from a grid, and between its points from the parabola through three of them.
        """
        mean = column_means(rows)
        variance = column_means(rows, lambda x: (x - mean).square())
        floor = self.scale.floor**2
        square = self._tie(variance / 2).clamp_min(floor)
        ends = math.log(MIN_EXCESS) * REACHABLE, math.log(MAX_EXCESS) * REACHABLE
        grid = torch.linspace(*ends, GRID, dtype=torch.float64, device=mean.device)
        half = (LEAST_DF + grid.exp())[:, None] / 2
        # With the heaviest tails at first, so that cells far away do not hide where the others are.
        df = torch.full_like(mean, LEAST_DF + MIN_EXCESS)
        for step in range(STEPS):
            cells, weight, shift, spread, logs = self._sums(rows, mean, square, df)
            shift = shift / weight.clamp_min(torch.finfo(torch.float64).tiny)
            spread = (spread - weight * shift.square()) / cells
            mean, square = mean + shift, self._tie(spread).clamp_min(floor)
            if step < FIRST_STEPS:
                continue
            expected = logs / cells + torch.digamma((df + 1) / 2) - torch.log((df + 1) / 2)
            gain = half * (half.log() + expected) - torch.lgamma(half)
            best = gain.argmax(0).clamp(1, GRID - 2)[None]
            below, at, above = (gain.gather(0, best + one)[0] for one in (-1, 0, 1))
            bend = (below - 2 * at + above).clamp_max(-1e-12)
            place = best[0] + (0.5 * (below - above) / bend).clamp(-1, 1)
            found = ends[0] + place / (GRID - 1) * (ends[1] - ends[0])
            last = (df - LEAST_DF).log()
            # EM creeps where ν is great; its steps are lengthened, but for the last.
            longer = 3.0 if step < STEPS - LAST_STEPS else 1.0
            df = LEAST_DF + (last + longer * (found - last)).clamp(*ends).exp()
        return mean.float(), square, df

    def _tie(self, square: Tensor) -> Tensor:
        if self.scale.kind == "fixed":
            return self.scale.fitted.double().square().expand_as(square)
        return square if self.scale.is_own else square.mean().expand_as(square)

    @staticmethod
    def _sums(rows: RowBatches, mean: Tensor, square: Tensor, df: Tensor) -> Tensor:
        """Of cells, of w, of w times the distance and its square, and of log w - w; (5, C), float64."""
        total: Tensor | float = 0.0
        for batch in rows.batches():
            counts = cell_weights(batch)
            # Where nothing counts, what stands there may be anything, also NaN.
            distance = torch.where(counts > 0, batch.x.double() - mean, 0.0)
            w = (df + 1) / (df + distance.square() / square)
            parts = (torch.ones_like(w), w, w * distance, w * distance.square(), w.log() - w)
            total = total + torch.stack([(counts * part).sum(0) for part in parts])
        sums = torch.as_tensor(total)
        return torch.cat([sums[:1].clamp_min(torch.finfo(torch.float64).tiny), sums[1:]])


class StudentTPredictive(Predictive):
    """Student's t distributions whose variance exists.

    Args:
        df: ν, shape (C,).
        location: m, shape (..., C).
        scale: s, broadcastable to it.
    """

    def __init__(self, df: Tensor, location: Tensor, scale: Tensor) -> None:
        self.df = df
        self.location = location
        self.scale = scale

    def log_prob(self, x: Tensor) -> Tensor:
        half = self.df / 2
        constant = torch.lgamma(half + 0.5) - torch.lgamma(half) - 0.5 * (math.pi * self.df).log()
        square = ((x - self.location) / self.scale).square()
        return constant - self.scale.log() - (half + 0.5) * torch.log1p(square / self.df)

    def sample(self) -> Tensor:
        return StudentTDistribution(self.df, self.location, self.scale, validate_args=False).sample()

    @property
    def mean(self) -> Tensor:
        return self.location

    @property
    def stddev(self) -> Tensor:
        return (self.scale * (self.df / (self.df - 2)).sqrt()).expand_as(self.location)
