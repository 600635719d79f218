"""Discretized logistic likelihood: whole numbers between two ends, such as grey levels of 8 bits."""

import torch
from torch import Tensor

from vae_lightning.errors import check_parameter, is_count
from vae_lightning.likelihoods.base import Likelihood, Predictive
from vae_lightning.likelihoods.categorical import count_levels
from vae_lightning.likelihoods.codes import grey_levels
from vae_lightning.likelihoods.logarithms import log_one_minus_exp, log_sigmoid
from vae_lightning.likelihoods.moments import RowBatches
from vae_lightning.likelihoods.shape import Shape, ShapeKind, maximise

MAX_LEVELS = 4096
MIN_SCALE, WIDEST = 0.05, 20.0
"""The least s, in levels, and the greatest, in halves of the range."""


class DiscretizedLogistic(Likelihood):
    """``p(x|raw) = F((x + ½ - m)/s) - F((x - ½ - m)/s)``, F the logistic function: a logistic number, rounded.

    The location is ``m = h (1 + raw)`` with h half the range, ``(k - 1)/2``: raw outputs from -1 to 1 reach from level
    0 to level k - 1. An untrained s is h.
    What lies beyond an end counts as that end: the first level has no lower bound and the last no upper one. Levels
    have probabilities: the loss is never below 0.

    Args:
        num_columns: number of columns C.
        levels: k: values are 0, 1, ..., k - 1. 256 of 8 bits.
        scale: where s comes from, between 0.05 levels and 10 times the range. ``shared``: one learned number.
            ``per_column``: one for each column. ``predicted``: emitted by the decoder for each entry (two raw numbers a
            column).

    Raises:
        ConfigError: for an unknown ``scale``, or when ``levels`` is not between 2 and 4,096.

    Source:
        Salimans et al. 2017 (PixelCNN++), eq. 2, of one component.

    >>> p = DiscretizedLogistic(1, levels=4)(torch.zeros(1, 1))
    >>> sum(p.log_prob(torch.tensor([[float(x)]])).exp().item() for x in range(4))
    1.0
    """

    support = grey_levels(256)

    def __init__(self, num_columns: int, levels: int = 256, scale: ShapeKind = "per_column") -> None:
        legal = is_count(levels, 2) and levels <= MAX_LEVELS
        words = f"a whole number from 2 to {MAX_LEVELS:,}"
        check_parameter("DiscretizedLogistic", "levels", legal, words, levels)
        super().__init__(num_columns, [grey_levels(levels)] * num_columns)
        self.levels = levels
        self.reach = (levels - 1) / 2
        self.scale = Shape(num_columns, scale, MIN_SCALE / self.reach, WIDEST, "DiscretizedLogistic", "scale")
        self.raw_size = num_columns + self.scale.raw_size

    def forward(self, raw: Tensor) -> Predictive:
        raw_location, scale = self.scale.split(raw)
        return self._predict(raw_location, scale)

    def max_log_prob(self) -> Tensor:
        return torch.zeros(self.num_columns)

    def start_from(  # beyond the ends its location is not the columns'
        self,
        rows: RowBatches,
        residual: Tensor | None = None,  # noqa: ARG002
        held: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        raw, scale = self._fit(rows)
        return torch.cat([raw.float(), self.scale.start(scale)])

    def independent_columns(self, rows: RowBatches) -> Predictive:
        raw, scale = self._fit(rows)
        return self._predict(raw.float(), scale.float())

    def at_floor(self, p: Predictive) -> Tensor:
        assert isinstance(p, DiscretizedLogisticPredictive)
        return self.scale.share_near(p.scale / self.reach, self.scale.low)

    def _predict(self, raw: Tensor, scale: Tensor) -> Predictive:
        return DiscretizedLogisticPredictive(self.reach * (1 + raw), self.reach * scale, self.levels)

    def _fit(self, rows: RowBatches) -> tuple[Tensor, Tensor]:
        """The raw number and s / h of each column, both (C,), float64: where the likelihood is greatest.

        It is log-concave in m/s and 1/s together (Pratt 1981), so that the best m of each s is found first. A twentieth
        of a row is imagined, shared by all levels. The sum is that of :func:`_log_prob`, by the cuts between levels.
        """
        weights = count_levels(rows, self.num_columns, self.levels) + 0.05 / self.levels
        cuts = (torch.arange(self.levels - 1, dtype=weights.dtype, device=weights.device) + 0.5) / self.reach - 1
        beside, above, inner = weights[:, :-1] + weights[:, 1:], weights[:, 1:], weights[:, 1:-1].sum(1)
        end = torch.full((self.num_columns,), 3.0, dtype=weights.dtype, device=weights.device)

        def log_prob(raw: Tensor, scale: Tensor) -> Tensor:
            at = (cuts - raw[:, None]) / scale[:, None]
            between = inner * log_one_minus_exp(1 / (self.reach * scale))
            return (beside * log_sigmoid(at) - above * at).sum(1) + between

        def best_raw(scale: Tensor) -> Tensor:
            return maximise(lambda raw: log_prob(raw, scale), -end, end)

        scale = self.scale.maximise(lambda s: log_prob(best_raw(s), s))
        return best_raw(scale), scale


class DiscretizedLogisticPredictive(Predictive):
    """Rounded logistic numbers.

    Args:
        location: m, shape (..., C), in levels.
        scale: s, broadcastable to it, in levels.
        levels: k.
    """

    def __init__(self, location: Tensor, scale: Tensor, levels: int) -> None:
        self.location = location
        self.scale = scale
        self.levels = levels

    def log_prob(self, x: Tensor) -> Tensor:
        return _log_prob(x, self.location, self.scale, self.levels)

    def sample(self) -> Tensor:
        with torch.no_grad():
            noise = torch.logit(torch.rand_like(self.location))
            return (self.location + self.scale * noise).round().clamp(0, self.levels - 1)

    @property
    def mean(self) -> Tensor:
        return self.point + self._deviations()[0]

    @property
    def stddev(self) -> Tensor:
        first, second = self._deviations()
        return (second - first.square()).clamp_min(0).sqrt()

    @property
    def point(self) -> Tensor:
        """The median, a level."""
        return self.location.round().clamp(0, self.levels - 1)

    def _deviations(self) -> tuple[Tensor, Tensor]:
        """The mean deviation from the median c, and the mean square: ``E|x - c| = Σ p(x > j) + Σ p(x ≤ j)``.

        Over the steps j from level j to j + 1, the first sum over those above c and the second over those below.
        """
        step = torch.arange(self.levels - 1, dtype=self.location.dtype, device=self.location.device)
        centre = self.point.unsqueeze(-1)
        is_above = step >= centre
        sign = torch.where(is_above, 1.0, -1.0)
        tail = torch.sigmoid(sign * (self.location.unsqueeze(-1) - step - 0.5) / self.scale.unsqueeze(-1))
        reach = 2 * (step - centre) + 1
        return (sign * tail).sum(-1), (sign * reach * tail).sum(-1)


def _log_prob(x: Tensor, location: Tensor, scale: Tensor, levels: int) -> Tensor:
    """``log F(u) + log F(-l) + log(1 - exp(l - u))`` of the ends l and u: no difference of nearly equal numbers."""
    centred = x - location
    upper, lower = (centred + 0.5) / scale, (centred - 0.5) / scale
    is_first, is_last = x <= 0, x >= levels - 1
    below_upper = torch.where(is_last, 0.0, log_sigmoid(upper))
    above_lower = torch.where(is_first, 0.0, log_sigmoid(-lower))
    between = torch.where(is_first | is_last, 0.0, log_one_minus_exp(1 / scale))
    return below_upper + above_lower + between
