"""How each likelihood of the package takes a table: support, baseline and floor."""

from collections.abc import Iterator
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
from vae_lightning.errors import Setting
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.support import Support


@dataclass(frozen=True)
class Fit:
    """How one likelihood takes the rows.

    Args:
        likelihood: With its default options.
        preprocess: The name of the preprocessing that the rows went through.
        refused: For each column, how many training, validation and test values lie outside the support.
        baseline: The loss of independent columns, nats per row in data units; NaN where values are refused.
        floor: The least loss that any model can reach on these rows; NaN where values are refused.
    """

    likelihood: Likelihood
    preprocess: str
    refused: Array
    baseline: float = float("nan")
    floor: float = float("nan")

    @property
    def accepts(self) -> bool:
        """Whether all values are legal."""
        return not self.refused.any()

    @property
    def supports(self) -> list[Support]:
        """The supports of the columns with refused values; of all columns where nothing is refused."""
        pairs = zip(self.likelihood.supports, self.refused, strict=True)
        return list(dict.fromkeys(support for support, size in pairs if size or self.accepts))

    def preprocess_alternatives(self) -> list[Setting]:
        """The other preprocessings that its supports offer."""
        ways = (setting for support in self.supports for setting in support.alternatives(self.preprocess))
        return [setting for setting in dict.fromkeys(ways) if setting.key == "data.preprocess"]


def fit_likelihood(family: type[Likelihood], dataset: Dataset) -> Fit:
    """Hold the rows against a likelihood, preprocessed as a run with its defaults would."""
    likelihood = family(num_columns=len(dataset.columns))
    scaling, _ = fit_scaling(None, likelihood.supports, dataset)
    refused = np.zeros(len(dataset.columns), dtype=np.int64)
    for batch in batches_of(dataset):
        refused += is_illegal(scaling.transform(batch.x), likelihood.supports).sum(0).numpy()
    if refused.any():
        return Fit(likelihood, scaling.name(), refused)
    train, test = (_to_model_units(scaling, rows) for rows in (dataset.train, dataset.test))
    independent = likelihood.independent_columns(train)
    x = test.rows.x
    shift = -float(scaling.log_slopes(x)[:, likelihood.density_columns].sum(-1).mean())
    baseline = -float(independent.log_prob(x).double().sum(-1).mean()) + shift
    floor = float(likelihood.entropy_floor(x).double().sum(-1).mean()) + shift
    return Fit(likelihood, scaling.name(), refused, baseline, floor)


def batches_of(dataset: Dataset) -> Iterator[Batch]:
    """All rows, float64, in data units: training, validation and test rows."""
    for rows in (dataset.train, dataset.valid, dataset.test):
        yield from rows.batches()


def to_matrix(dataset: Dataset) -> Array:
    """All rows (N, C), float64."""
    return torch.cat([batch.x for batch in batches_of(dataset)]).numpy()


def _to_model_units(scaling: Scaling, rows: Rows) -> RowsInMemory:
    return RowsInMemory.of(Batch(scaling.transform(batch.x)) for batch in rows.batches())
