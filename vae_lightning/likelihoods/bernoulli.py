"""Bernoulli likelihood on logits: binary columns, or grey levels read as soft targets."""

import torch
from torch import Tensor
from torch.distributions import Bernoulli as BernoulliDistribution

from vae_lightning.likelihoods.base import ColumnDistribution, Likelihood, Predictive
from vae_lightning.likelihoods.moments import RowBatches, column_sums
from vae_lightning.likelihoods.support import BINARY


class Bernoulli(Likelihood):
    """Independent coins: ``log p(x|raw) = x log s(raw) + (1 - x) log(1 - s(raw))``, s the logistic function.

    The raw output is the logit, so no sigmoid is ever taken before a logarithm. Columns of 0 and 1 have
    probabilities: the loss is never below 0 and starts at C ln 2. Grey levels in [0, 1] are accepted as soft
    targets; the loss is then a cross-entropy, not a likelihood, and cannot fall below the entropy of the targets
    (:meth:`entropy_floor`).

    Args:
        num_columns: number of columns C.

    >>> p = Bernoulli(3)(torch.zeros(1, 3))
    >>> p.log_prob(torch.tensor([[0.0, 1.0, 1.0]]))
    tensor([[-0.6931, -0.6931, -0.6931]])
    """

    support = BINARY

    def forward(self, raw: Tensor) -> Predictive:
        return ColumnDistribution(BernoulliDistribution(logits=raw, validate_args=False))

    def max_log_prob(self) -> Tensor:
        return torch.zeros(self.num_columns)

    def independent_columns(self, rows: RowBatches) -> Predictive:
        ones, total = column_sums(rows)
        # One imagined row of each kind keeps a column that never varied in training from costing infinity in test.
        frequency = (ones + 1.0) / (total + 2.0)
        return ColumnDistribution(BernoulliDistribution(probs=frequency.float(), validate_args=False))

    def entropy_floor(self, x: Tensor) -> Tensor:
        """``H(x) = -x log x - (1 - x) log(1 - x)`` of each cell: 0 exactly when its value is 0 or 1."""
        return -(torch.xlogy(x, x) + torch.xlogy(1 - x, 1 - x))
