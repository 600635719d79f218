"""How each likelihood of the package takes a table: support, baseline and floor."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vae_lightning.data.batch import Batch
from vae_lightning.data.checks import is_illegal
from vae_lightning.data.choices import Choice, by_column
from vae_lightning.data.dataset import Dataset
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.preprocess.choice import fit_scaling
from vae_lightning.data.scaled import scale_rows
from vae_lightning.data.store import RowsInMemory
from vae_lightning.data.wording import count
from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.errors import Setting
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.support import Support
from vae_lightning.model.parts import build_part


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

    def describe(self) -> str:
        """Whether it takes the table, and what that costs."""
        if not self.accepts:
            return f"refuses {int((self.refused > 0).sum())} of {count(len(self.refused), 'column')}"
        words = f"accepts (preprocess={self.preprocess}); independent columns {self.baseline:.4g} nats per row"
        return f"{words}, floor {self.floor + 0.0:.4g}"

    def preprocess_alternatives(self) -> list[Setting]:
        """The other preprocessings that its supports offer."""
        ways = (setting for support in self.supports for setting in support.alternatives(self.preprocess))
        return [setting for setting in dict.fromkeys(ways) if setting.key == "data.preprocess"]


def fit_likelihood(family: type[Likelihood], dataset: Dataset) -> Fit:
    """Hold the rows against a likelihood, preprocessed as a run with its defaults would."""
    likelihood = family(num_columns=len(dataset.columns))
    scaling, _ = fit_scaling(None, likelihood.supports, dataset)
    return _fit(likelihood, scaling, dataset)


def fit_choices(choices: Sequence[Choice], dataset: Dataset) -> Fit:
    """Hold the rows against a family for each column, as a run with ``likelihood=auto`` would."""
    size = len(dataset.columns)
    likelihood: Likelihood = build_part(Likelihood, by_column(choices, "family"), "likelihood", num_columns=size)  # type: ignore[type-abstract]
    scaling: Scaling = build_part(Scaling, by_column(choices, "scaling"), "data.preprocess", num_columns=size)  # type: ignore[type-abstract]
    return _fit(likelihood, scaling.fit(dataset.train), dataset)


def _fit(likelihood: Likelihood, scaling: Scaling, dataset: Dataset) -> Fit:
    refused = np.zeros(len(dataset.columns), dtype=np.int64)
    for batch in batches_of(dataset):
        illegal = is_illegal(scaling.transform(batch.x), likelihood.supports)
        refused += (illegal if batch.mask is None else illegal & batch.mask).sum(0).numpy()
    if refused.any():
        return Fit(likelihood, scaling.name(), refused)
    rows = scale_rows(dataset, scaling)
    test = RowsInMemory.of(rows["test"].batches()).rows
    gained = torch.where(likelihood.density_columns, scaling.log_slopes(test.x), 0.0)
    log_prob = likelihood.independent_columns(rows["train"]).log_prob(test.x).double() + gained
    floor = likelihood.entropy_floor(test.x).double() - gained
    seen = torch.ones_like(log_prob) if test.mask is None else test.mask.double()
    baseline, least = (float((nats * seen).sum(-1).mean()) for nats in (-log_prob, floor))
    return Fit(likelihood, scaling.name(), refused, baseline, least)


def batches_of(dataset: Dataset) -> Iterator[Batch]:
    """All rows, float64, in data units: training, validation and test rows; masked where a cell is empty."""
    for rows in dataset.parts:
        yield from rows.batches()


def to_matrix(dataset: Dataset) -> Array:
    """All rows (N, C), float64, NaN where a cell is empty."""
    return torch.cat([batch.x for batch in batches_of(dataset)]).numpy()
