"""How well families suit columns: the log-density of values that they were not fitted to, many columns at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lightning.data.checks import is_illegal
from vae_lightning.data.choices import Node, join_blocks
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.scaled import mark_holes
from vae_lightning.data.store import RowsInMemory
from vae_lightning.likelihoods.base import Likelihood

MOST_ROWS = 20_000
"""Values of a column that it is measured on."""
EVERY = 5
"""One value in so many is held out."""
MOST_CELLS = 2_000_000
"""Of the columns that are fitted at once."""


@dataclass(frozen=True)
class Trial:
    """A family and a scaling for the values of one column.

    Attributes:
        x: the values, float64, shape (N,).
        family: name and options of its likelihood.
        scaling: name and options of its scaling.
        decimals: to how many the values are rounded.
        exposure: what the mean of each value is proportional to where it is a count, their mean 1, shape (N,); None for
            nothing.
    """

    x: np.ndarray
    family: Node
    scaling: Node
    decimals: int = 0
    exposure: np.ndarray | None = None


def held_out_losses(trials: Sequence[Trial]) -> list[float]:
    """-log p of every fifth value under the family fitted to the others, mean, nats in data units; inf if illegal.

    The probability of a number is one of the interval that is rounded to it, ``log p + decimals log 10`` as a density.
    """
    losses = np.full(len(trials), np.inf)
    pairs = [{**trial.family, "scaling": trial.scaling["name"], **_options(trial.scaling)} for trial in trials]
    for block in join_blocks(pairs):
        columns = [index for index in block["columns"] if len(trials[index].x) > 1]
        longest = max((min(len(trials[index].x), MOST_ROWS) for index in columns), default=1)
        size = max(1, MOST_CELLS // longest)
        for start in range(0, len(columns), size):
            part = columns[start : start + size]
            losses[part] = _measure([trials[index] for index in part])
    return losses.tolist()


def build(base: Any, node: Node, num_columns: int = 1) -> Any:
    """The family or the scaling that a node names."""
    return base.named(node["name"], "likelihood", recorded=True)(num_columns=num_columns, **_options(node))


def _options(node: Node) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key != "name"}


def _measure(trials: Sequence[Trial]) -> np.ndarray:
    """The losses of columns that share a family and a scaling but for what each has of its own."""
    (family,), (scaling,) = (join_blocks([getattr(trial, what) for trial in trials]) for what in ("family", "scaling"))
    family, scaling = ({key: node[key] for key in node if key != "columns"} for node in (family, scaling))
    train, valid = _pack_parts([trial.x for trial in trials])
    map_ = build(Scaling, scaling, len(trials)).fit(RowsInMemory(mark_holes(train, train, True)))
    likelihood = build(Likelihood, family, len(trials)).double()
    u_train, u_valid = (mark_holes(map_.transform(x).double(), x, True) for x in (train, valid))
    if trials[0].exposure is None or not likelihood.count_columns.any():
        predictive = likelihood.independent_columns(RowsInMemory(u_train))
    else:  # as of rates, see `controls/independent.py`
        packed = _pack_parts([trial.exposure for trial in trials if trial.exposure is not None])
        of_train, of_valid = (part.nan_to_num(1.0) for part in packed)
        rates = u_train._replace(x=u_train.x / of_train, weight=of_train)
        predictive = likelihood.independent_columns(RowsInMemory(rates)).expose(of_valid.log())
    log_prob = predictive.log_prob(u_valid.x).double()
    if likelihood.is_probability:
        decimals = torch.tensor([float(trial.decimals) for trial in trials], dtype=torch.float64)
        log_prob = log_prob + math.log(10.0) * decimals
    else:
        log_prob = log_prob + map_.log_slopes(u_valid.x)
    is_legal = torch.ones(len(trials), dtype=torch.bool)
    for part in (u_train, u_valid):
        assert part.mask is not None
        is_legal &= ~(is_illegal(part.x, likelihood.supports) & part.mask).any(0)
    assert u_valid.mask is not None
    loss = -torch.where(u_valid.mask, log_prob, 0.0).sum(0) / u_valid.mask.sum(0)
    return torch.where(is_legal & loss.isfinite(), loss, torch.inf).numpy()


def _pack_parts(columns: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """The values that are fitted to and those that are held out."""
    sampled = [x[:: -(-len(x) // MOST_ROWS)] for x in columns]
    return _pack([x[np.arange(len(x)) % EVERY != 0] for x in sampled]), _pack([x[::EVERY] for x in sampled])


def _pack(columns: Sequence[np.ndarray]) -> Tensor:
    """Columns of different lengths side by side, NaN after the end of each."""
    packed = np.full((max(map(len, columns)), len(columns)), np.nan)
    for index, x in enumerate(columns):
        packed[: len(x), index] = x
    return torch.from_numpy(packed)
