"""How each likelihood of the package takes a table: support, baseline and floor."""

from dataclasses import dataclass

import numpy as np
import torch

from vae_lightning.data.batch import Batch
from vae_lightning.data.checks import is_illegal
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.preprocess.choice import fit_scaling
from vae_lightning.data.store import RowsInMemory
from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.likelihoods.base import Likelihood


@dataclass(frozen=True)
class Fit:
    """How one likelihood takes the rows.

    Args:
        name: The likelihood.
        kind: The preprocessing that the rows went through.
        refused: For each column, how many training, validation and test values lie outside the support.
        baseline: The loss of independent columns, nats per row in data units; None where values are refused.
        floor: The least loss that any model can reach on these rows; None where values are refused.
        continuous: Whether it is a density.
    """

    name: str
    kind: str
    refused: Array
    baseline: float | None
    floor: float | None
    continuous: bool


def fit_of(name: str, family: type[Likelihood], dataset: Dataset) -> Fit:
    """Hold the rows against a likelihood, preprocessed as a run with its defaults would."""
    likelihood = family(num_columns=len(dataset.columns))
    scaling, _ = fit_scaling(None, likelihood.supports, dataset)
    refused = sum(_illegal(likelihood, scaling, part) for part in parts_of(dataset))
    if np.any(refused):
        return Fit(name, scaling.name(), np.asarray(refused), None, None, not likelihood.is_probability)
    train, test = (_in_model_units(scaling, part) for part in (dataset.train, dataset.test))
    shift = -float(scaling.log_slopes()[likelihood.density_columns].sum())
    alone = likelihood.independent_columns(train)
    x = test.rows.x
    baseline = -float(alone.log_prob(x).double().sum(-1).mean()) + shift
    floor = float(likelihood.entropy_floor(x).double().sum(-1).mean()) + shift
    return Fit(name, scaling.name(), np.asarray(refused), baseline, floor, not likelihood.is_probability)


def parts_of(dataset: Dataset) -> tuple[Rows, Rows, Rows]:
    """The training, validation and test rows."""
    return dataset.train, dataset.valid, dataset.test


def _in_model_units(scaling: Scaling, rows: Rows) -> RowsInMemory:
    return RowsInMemory.of(Batch(scaling.transform(batch.x)) for batch in rows.batches())


def _illegal(likelihood: Likelihood, scaling: Scaling, rows: Rows) -> Array:
    counts = (is_illegal(scaling.transform(batch.x), likelihood.supports).sum(0) for batch in rows.batches())
    return sum(counts, torch.zeros(likelihood.num_columns, dtype=torch.int64)).numpy()


def helping(likelihood: Likelihood, dataset: Dataset) -> str:
    """The preprocessings after which the likelihood accepts every value."""
    ways = []
    for name in Scaling.families():
        scaling, _ = fit_scaling(name, likelihood.supports, dataset)
        if not any(_illegal(likelihood, scaling, part).any() for part in parts_of(dataset)):
            ways.append(f"data.preprocess={name}")
    return f", or keep it with {' or '.join(ways)}" if ways else ""
