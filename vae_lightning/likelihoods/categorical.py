"""Categorical likelihood: columns that hold one of several categories, by its code."""

import torch
from torch import Tensor
from torch.distributions import Categorical as CategoricalDistribution

from vae_lightning.errors import check_parameter, is_count
from vae_lightning.likelihoods.base import Likelihood, Predictive
from vae_lightning.likelihoods.codes import categories
from vae_lightning.likelihoods.moments import RowBatches, cell_weights

MAX_LEVELS = 10_000
"""A column has as many raw numbers as categories: with more, a row's output no longer fits beside its neighbours'."""


class Categorical(Likelihood):
    """Independent choices among k categories: ``log p(x|raw) = raw_x - log Σ_j exp(raw_j)``.

    Values are codes 0, 1, ..., k - 1, whose order means nothing. Each column has k raw numbers, side by side.
    Categories have probabilities: the loss is never below 0. It starts from their frequencies.

    Args:
        num_columns: number of columns C.
        levels: categories k of each column.

    Raises:
        ConfigError: when ``levels`` is not between 1 and 10,000.

    >>> p = Categorical(1, levels=4)(torch.zeros(1, 4))
    >>> p.log_prob(torch.tensor([[3.0]]))
    tensor([[-1.3863]])
    """

    support = categories(2)

    def __init__(self, num_columns: int, levels: int = 2) -> None:
        legal = is_count(levels) and levels <= MAX_LEVELS
        check_parameter("Categorical", "levels", legal, f"a whole number from 1 to {MAX_LEVELS:,}", levels)
        super().__init__(num_columns, [categories(levels)] * num_columns)
        self.levels = levels
        self.raw_size = num_columns * levels

    def forward(self, raw: Tensor) -> "CategoricalPredictive":
        return CategoricalPredictive(raw.unflatten(-1, (self.num_columns, self.levels)))

    def max_log_prob(self) -> Tensor:
        return torch.zeros(self.num_columns)

    def start_from(  # a category has no location that a linear model of z could be put on
        self,
        rows: RowBatches,
        residual: Tensor | None = None,  # noqa: ARG002
        held: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        return self._log_frequencies(rows).flatten()

    def independent_columns(self, rows: RowBatches) -> Predictive:
        return CategoricalPredictive(self._log_frequencies(rows))

    def at_floor(self, p: Predictive) -> Tensor:
        assert isinstance(p, CategoricalPredictive)
        return p.log_probs.new_zeros(())

    def _log_frequencies(self, rows: RowBatches) -> Tensor:
        """Shape (C, k). Two imagined rows, shared by all categories: one never seen does not cost infinity."""
        counts = count_levels(rows, self.num_columns, self.levels) + 2 / self.levels
        return (counts / counts.sum(-1, keepdim=True)).log().float()


class CategoricalPredictive(Predictive):
    """Choices among k categories.

    Args:
        logits: shape (..., C, k).

    Attributes:
        log_probs: the logarithms of the probabilities, same shape.
    """

    def __init__(self, logits: Tensor) -> None:
        self.log_probs = logits.log_softmax(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(x.shape, self.log_probs.shape[:-1])
        codes = x.long().expand(shape).unsqueeze(-1)
        return self.log_probs.expand(*shape, -1).gather(-1, codes).squeeze(-1)

    def sample(self) -> Tensor:
        drawn = CategoricalDistribution(logits=self.log_probs, validate_args=False).sample()
        return drawn.to(self.log_probs.dtype)

    @property
    def mean(self) -> Tensor:
        """Of the codes: a number that means something only where their order does."""
        return self.log_probs.exp() @ self._codes

    @property
    def stddev(self) -> Tensor:
        """Of the codes."""
        square = (self._codes - self.mean.unsqueeze(-1)).square()
        return (self.log_probs.exp() * square).sum(-1).sqrt()

    @property
    def point(self) -> Tensor:
        """The likeliest code."""
        return self.log_probs.argmax(-1).to(self.log_probs.dtype)

    @property
    def _codes(self) -> Tensor:
        return torch.arange(self.log_probs.shape[-1], device=self.log_probs.device, dtype=self.log_probs.dtype)


def count_levels(rows: RowBatches, num_columns: int, levels: int) -> Tensor:
    """How often each column holds each of the codes 0, 1, ..., k - 1: weighted, shape (C, k), float64."""
    counts = torch.zeros(num_columns, levels, dtype=torch.float64)
    for batch in rows.batches():
        weights = cell_weights(batch)
        counts = counts.to(weights.device)
        # Where nothing counts, what stands there may be anything.
        codes = torch.where(weights > 0, batch.x, 0.0).long()
        counts.scatter_add_(1, codes.T, weights.T)
    return counts
