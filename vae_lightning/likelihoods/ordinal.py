"""Ordinal likelihood: columns that hold one of several levels in an order, such as answers from "never" to "always"."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad, softplus

from vae_lightning.errors import check_parameter, is_count
from vae_lightning.likelihoods.base import Likelihood, Predictive
from vae_lightning.likelihoods.bounds import smooth_between, smooth_between_inverse, smooth_bound, smooth_bound_inverse
from vae_lightning.likelihoods.categorical import CategoricalPredictive, count_levels
from vae_lightning.likelihoods.codes import ordinal
from vae_lightning.likelihoods.logarithms import log_one_minus_exp
from vae_lightning.likelihoods.moments import RowBatches

MAX_LEVELS = 512
MAX_CUT, LEAST_LOG_GAP, MAX_LOG_GAP = 40.0, -9.0, 4.0
LOGISTIC_STDDEV = math.pi / math.sqrt(3)
LEAST_NOISE = 1 / 16
"""Of a column's variance: what a linear model of z may leave at the least, lest its cutpoints lie too far apart."""
NODES, HALVINGS = 100, 45
"""Of a quadrature and a bisection: how often normal and logistic noise together fall below a cutpoint."""
MOST_TERMS = 1_000_000
"""Of that quadrature that are held in memory."""
AT_ONCE = 32
"""Cutpoints that all rows are held against at once: memory for more is not taken."""
BEYOND = 1e4
"""A cutpoint that nothing lies above: the logistic function is 0 or 1 there, in double precision too."""


class Ordinal(Likelihood):
    """``p(x ≤ j|raw) = s(c_j - (raw - m) / d)``, s the logistic function: one raw number a column, and cutpoints.

    Levels are codes 0, 1, ..., k - 1 in their order (McCullagh 1980). The cutpoints ``c_0 < c_1 < ... < c_(k-2)`` of a
    column are its own parameters: a first one, and the logarithms of the gaps after it, between -9 and 4. Levels have
    probabilities: the loss is never below 0. It starts from their frequencies, with m = 0 and d = 1, and from a linear
    model with locations in units of the codes: m is their mean, d what the model leaves of their spread.

    Args:
        num_columns: number of columns C.
        levels: levels k of each column: one number for all, or C of them.

    Raises:
        ConfigError: when ``levels`` are not between 2 and 512, or not as many as columns.
    """

    support = ordinal(3)
    is_real: Tensor
    center: Tensor
    spread: Tensor

    def __init__(self, num_columns: int, levels: int | Sequence[int] = 3) -> None:
        sizes = list(levels) if isinstance(levels, Sequence) else [levels] * num_columns
        legal = len(sizes) == num_columns and all(is_count(size, 2) and size <= MAX_LEVELS for size in sizes)
        wish = f"a whole number from 2 to {MAX_LEVELS}, or one for each column"
        check_parameter("Ordinal", "levels", legal, wish, levels)
        super().__init__(num_columns, [ordinal(size) for size in sizes])
        self.sizes = tuple(sizes)
        most = max(sizes)
        self.raw_first = nn.Parameter(torch.tensor([[-0.5 * (size - 2)] for size in sizes]))
        self.raw_log_gaps = nn.Parameter(torch.zeros(num_columns, most - 2)) if most > 2 else None
        # Columns of fewer levels than others have no more gaps.
        is_real = torch.arange(most - 2) < torch.tensor(sizes).unsqueeze(-1) - 2
        self.register_buffer("is_real", is_real, persistent=False)
        self.register_buffer("center", torch.zeros(num_columns))
        self.register_buffer("spread", torch.ones(num_columns))
        self.column_of_raw = torch.arange(num_columns)

    def forward(self, raw: Tensor) -> Predictive:
        at = (raw - self.center) / self.spread
        first = smooth_bound(self.raw_first, MAX_CUT)
        if self.raw_log_gaps is None:
            return OrdinalPredictive(at, first, first[:, :0])
        gaps = smooth_between(self.raw_log_gaps, LEAST_LOG_GAP, MAX_LOG_GAP).exp()
        cuts = first + torch.where(self.is_real, gaps, 0.0).cumsum(-1)
        return OrdinalPredictive(
            at, torch.cat([first, cuts.where(self.is_real, BEYOND)], -1), gaps.where(self.is_real, BEYOND)
        )

    def max_log_prob(self) -> Tensor:
        return torch.zeros(self.num_columns)

    @torch.no_grad()
    def start_from(
        self,
        rows: RowBatches,
        residual: Tensor | None = None,
        held: Tensor | None = None,  # noqa: ARG002 - levels have probabilities, which need no floor
    ) -> Tensor:
        shares = self._frequencies(rows).cpu()
        codes = torch.arange(shares.shape[-1], dtype=torch.float64)
        mean = shares @ codes
        variance = (shares * (codes - mean.unsqueeze(-1)).square()).sum(-1)
        noise, start = variance, torch.zeros(self.num_columns)
        # A network alone says numbers near 1, which among hundreds of codes would be next to nothing.
        if residual is not None:
            noise, start = torch.clamp(residual.cpu(), LEAST_NOISE * variance, variance), mean.float()
            self.center.copy_(mean)
            self.spread.copy_(noise.sqrt() / LOGISTIC_STDDEV)
        below = shares.cumsum(-1)[:, :-1].clamp(1e-12, 1 - 1e-12)
        cuts = find_cuts(below, LOGISTIC_STDDEV * (variance / noise - 1).sqrt())
        self.raw_first.copy_(smooth_bound_inverse(cuts[:, :1], MAX_CUT))
        if self.raw_log_gaps is not None:
            log_gaps = cuts.diff(dim=-1).clamp_min(1e-12).log()
            self.raw_log_gaps.copy_(smooth_between_inverse(log_gaps, LEAST_LOG_GAP, MAX_LOG_GAP))
        return start

    def independent_columns(self, rows: RowBatches) -> Predictive:
        return CategoricalPredictive(self._frequencies(rows).log().float())

    def _frequencies(self, rows: RowBatches) -> Tensor:
        """Shape (C, k), float64. Two imagined rows, shared by all levels, as of categories."""
        sizes = torch.tensor(self.sizes).unsqueeze(-1)
        imagined = torch.where(torch.arange(max(self.sizes)) < sizes, 2 / sizes.double(), 0.0)
        counts = count_levels(rows, self.num_columns, max(self.sizes))
        counts = counts + imagined.to(counts.device)
        return counts / counts.sum(-1, keepdim=True)


def find_cuts(below: Tensor, stddev: Tensor) -> Tensor:
    """Where the sum of a standard logistic and a normal variable is below with given probabilities, by bisection.

    Args:
        below: probabilities (C, K), float64.
        stddev: of the normal variable, (C,).
    """
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(NODES))
    parts = nodes.split(max(1, MOST_TERMS // below.numel()))
    weights = weights / weights.sum()
    low, high = (torch.full_like(below, end) for end in (-MAX_CUT, MAX_CUT))
    for _ in range(HALVINGS):
        middle, found = (low + high) / 2, torch.zeros_like(below)
        for node, weight in zip(parts, weights.split(len(parts[0])), strict=True):
            found += (middle.unsqueeze(-1) - (stddev[:, None] * node).unsqueeze(1)).sigmoid() @ weight
        is_low = found < below
        low, high = torch.where(is_low, middle, low), torch.where(is_low, high, middle)
    return (low + high) / 2


class OrdinalPredictive(Predictive):
    """Levels by their cutpoints: ``log p(j) = log s(u) + log s(-l) + log(1 - exp(l - u))``, where it lies from l to u.

    Args:
        location: shape (..., C).
        cuts: shape (C, k - 1), rising; `BEYOND` where a column has fewer.
        gaps: between them, shape (C, k - 2).
    """

    def __init__(self, location: Tensor, cuts: Tensor, gaps: Tensor) -> None:
        self.location, self.cuts, self.gaps = location, cuts, gaps

    def log_prob(self, x: Tensor) -> Tensor:
        codes = x.long().reshape(-1, x.shape[-1]).T
        # The least level has no lower end, the greatest no upper one.
        upper = pad(self.cuts, (0, 1), value=BEYOND)
        lower = pad(self.cuts, (1, 0), value=-BEYOND)
        between = pad(log_one_minus_exp(self.gaps), (1, 1))
        upper, lower, between = (part.gather(1, codes).T.reshape(x.shape) for part in (upper, lower, between))
        return between - softplus(self.location - upper) - softplus(lower - self.location)

    def sample(self) -> Tensor:
        with torch.no_grad():
            noise = torch.logit(torch.rand_like(self.location))
            return self._sum_levels(lambda at, _: at > -noise.unsqueeze(-1))

    @property
    def mean(self) -> Tensor:
        """Of the codes: ``Σ_j p(x > j)``."""
        return self._sum_levels(lambda at, _: at.sigmoid())

    @property
    def stddev(self) -> Tensor:
        """Of the codes: ``E x² = Σ_j (2j + 1) p(x > j)``."""
        square = self._sum_levels(lambda at, level: (2 * level + 1) * at.sigmoid())
        return (square - self.mean.square()).clamp_min(0).sqrt()

    @property
    def point(self) -> Tensor:
        """The median."""
        return self._sum_levels(lambda at, _: at > 0)

    def _sum_levels(self, term: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The sum over cutpoints of a function of ``location - cut`` and the cut's number, some cuts at a time."""
        total = torch.zeros_like(self.location)
        levels = torch.arange(self.cuts.shape[-1], device=self.cuts.device, dtype=self.cuts.dtype)
        for cuts, level in zip(self.cuts.split(AT_ONCE, -1), levels.split(AT_ONCE), strict=True):
            total = total + term(self.location.unsqueeze(-1) - cuts, level).sum(-1)
        return total
