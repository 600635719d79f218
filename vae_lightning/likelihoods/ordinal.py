"""Ordinal likelihood: columns that hold one of several levels in an order, such as answers from "never" to "always"."""

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from vae_lightning.errors import check_parameter, is_count
from vae_lightning.likelihoods.base import Likelihood, Predictive
from vae_lightning.likelihoods.bounds import smooth_between, smooth_between_inverse, smooth_bound, smooth_bound_inverse
from vae_lightning.likelihoods.categorical import CategoricalPredictive, count_levels
from vae_lightning.likelihoods.codes import ordinal
from vae_lightning.likelihoods.moments import RowBatches

MAX_LEVELS = 100
MAX_CUT, LEAST_LOG_GAP, MAX_LOG_GAP = 20.0, -9.0, 3.0


class Ordinal(Likelihood):
    """``p(x ≤ j|raw) = s(c_j - raw)``, s the logistic function: one raw number a column, and cutpoints that it learns.

    Levels are codes 0, 1, ..., k - 1 in their order (McCullagh 1980). The cutpoints ``c_0 < c_1 < ... < c_(k-2)`` of a
    column are its own parameters: a first one, and the logarithms of the gaps after it, between -9 and 3. Levels have
    probabilities: the loss is never below 0. It starts from their frequencies.

    Args:
        num_columns: number of columns C.
        levels: levels k of each column.

    Raises:
        ConfigError: when ``levels`` is not between 2 and 100.
    """

    support = ordinal(3)

    def __init__(self, num_columns: int, levels: int = 3) -> None:
        legal = is_count(levels, 2) and levels <= MAX_LEVELS
        check_parameter("Ordinal", "levels", legal, f"a whole number from 2 to {MAX_LEVELS}", levels)
        super().__init__(num_columns, [ordinal(levels)] * num_columns)
        self.levels = levels
        self.raw_first = nn.Parameter(torch.full((num_columns, 1), -0.5 * (levels - 2)))
        self.raw_log_gaps = nn.Parameter(torch.zeros(num_columns, levels - 2)) if levels > 2 else None

    def forward(self, raw: Tensor) -> Predictive:
        cuts = smooth_bound(self.raw_first, MAX_CUT)
        if self.raw_log_gaps is None:
            return OrdinalPredictive(raw, cuts, cuts[:, :0])
        gaps = smooth_between(self.raw_log_gaps, LEAST_LOG_GAP, MAX_LOG_GAP).exp()
        return OrdinalPredictive(raw, torch.cat([cuts, cuts + gaps.cumsum(-1)], -1), gaps)

    def max_log_prob(self) -> Tensor:
        return torch.zeros(self.num_columns)

    @torch.no_grad()
    def start_from(  # the place of a level between cutpoints is no number of the column's
        self,
        rows: RowBatches,
        residual: Tensor | None = None,  # noqa: ARG002
        held: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        below = self._frequencies(rows).cumsum(-1)[:, :-1].clamp(1e-12, 1 - 1e-12)
        cuts = below.log() - torch.log1p(-below)
        self.raw_first.copy_(smooth_bound_inverse(cuts[:, :1], MAX_CUT))
        if self.raw_log_gaps is not None:
            log_gaps = cuts.diff(dim=-1).clamp_min(1e-12).log()
            self.raw_log_gaps.copy_(smooth_between_inverse(log_gaps, LEAST_LOG_GAP, MAX_LOG_GAP))
        return torch.zeros(self.num_columns)

    def independent_columns(self, rows: RowBatches) -> Predictive:
        return CategoricalPredictive(self._frequencies(rows).log().float())

    def at_floor(self, p: Predictive) -> Tensor:
        assert isinstance(p, CategoricalPredictive)
        return p.log_probs.new_zeros(())

    def _frequencies(self, rows: RowBatches) -> Tensor:
        """Shape (C, k), float64. Two imagined rows, shared by all levels, as of categories."""
        counts = count_levels(rows, self.num_columns, self.levels) + 2 / self.levels
        return counts / counts.sum(-1, keepdim=True)


class OrdinalPredictive(CategoricalPredictive):
    """Levels by their cutpoints: ``log p(j) = log s(u) + log s(-l) + log(1 - exp(l - u))``, where it lies from l to u.

    Args:
        location: shape (..., C).
        cuts: shape (C, k - 1), rising.
        gaps: between them, shape (C, k - 2).
    """

    def __init__(self, location: Tensor, cuts: Tensor, gaps: Tensor) -> None:
        at = cuts - location.unsqueeze(-1)
        nothing = torch.zeros_like(at[..., :1])
        # The least level has no lower end, the greatest no upper one.
        upper = torch.cat([logsigmoid(at), nothing], -1)
        lower = torch.cat([nothing, logsigmoid(-at)], -1)
        between = torch.log(-torch.expm1(-gaps)).expand(*at.shape[:-1], -1)
        super().__init__(upper + lower + torch.cat([nothing, between, nothing], -1))
