"""What figures show: a trained model and the rows it is looked at with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from vae_lightning.controls.independent import IndependentColumns
from vae_lightning.data.batch import Batch
from vae_lightning.data.columns import Column
from vae_lightning.data.frames import to_matrix
from vae_lightning.data.seeds import random_stream
from vae_lightning.data.store import RowsInMemory, RowStore
from vae_lightning.inference.metrics import ACTIVE_UNIT_VARIANCE
from vae_lightning.inference.model import VAEModel
from vae_lightning.posteriors.base import Posterior
from vae_lightning.reporting.figures.statistics import space_evenly

MAX_ROWS = 1000
"""Rows a figure is made of: more would change no picture, and cost time."""
MAX_TRAINING_ROWS = 10_000
"""Rows that the baseline of independent columns is fitted to."""
POINTS = 4000
"""Draws of the aggregate posterior."""
PRIOR_POINTS = 20_000
"""Draws of the prior, which any family can give and not every one can draw a curve of."""
FEW_LEVELS = 12
"""Different numbers up to which a column of categories has no order that a figure would go by."""
DRAWS = 8
"""Draws of z for each row, where the NLL of a column is measured."""


class ColumnNats(NamedTuple):
    """Of each column, nats per row in data units, (C,): -E_q[log p(x|z)], and the NLL of an independent column."""

    given_code: np.ndarray
    alone: np.ndarray


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and the rows it is looked at with.

    Args:
        model: in evaluation mode.
        batch: rows it was not trained on, (N, C), model units, on its device.
        training: rows it was trained on, likewise: what the baseline of independent columns is fitted to.
        labels: one for each row of ``batch``, or None.
        image_shape: (height, width) or (height, width, 3) if a row is a flattened image.
        seed: of every draw.
        history: the values of each metric, one an epoch; empty where they are not known.
        start_is_best: whether the weights are those before the first step.
    """

    model: VAEModel
    batch: Batch
    training: Batch
    labels: np.ndarray | None = None
    image_shape: tuple[int, ...] | None = None
    seed: int = 0
    history: Mapping[str, np.ndarray] = field(default_factory=dict)
    start_is_best: bool = False

    @classmethod
    def of(
        cls,
        model: VAEModel,
        rows: Mapping[str, RowStore],
        labels: np.ndarray | None = None,
        image_shape: Sequence[int] | None = None,
        seed: int = 0,
        history: Mapping[str, np.ndarray] | None = None,
        start_is_best: bool = False,
    ) -> Self:
        """A model and as many of its training and validation rows, evenly spaced, as figures are made of."""
        weight = model.vae.output.weight

        def choose(part: str, most: int) -> tuple[np.ndarray, Batch]:
            index = space_evenly(rows[part].num_rows, most)
            return index, rows[part].select(torch.from_numpy(index).to(rows[part].device)).cast(weight)

        (chosen, valid), (_, training) = choose("valid", MAX_ROWS), choose("train", MAX_TRAINING_ROWS)
        return cls(
            model,
            valid,
            training,
            None if labels is None else labels[chosen],
            None if image_shape is None else tuple(image_shape),
            seed,
            history or {},
            start_is_best,
        )

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return [column.name for column in self.model.columns]

    @property
    def columns(self) -> Sequence[Column]:
        """The model's columns."""
        return self.model.columns

    @cached_property
    def is_category(self) -> np.ndarray:
        """Which columns are compared as categories without an order, (C,), bool.

        Texts, and numbers of a few values that the likelihood takes for categories. Those of many stay numbers.
        """
        supports = self.model.vae.likelihood.supports
        pairs = zip(self.columns, supports, strict=True)
        return np.array([column.levels is not None or 0 < one.levels <= FEW_LEVELS for column, one in pairs])

    @property
    def num_rows(self) -> int:
        """N."""
        return self.batch.num_rows

    @property
    def latent_dim(self) -> int:
        """L."""
        return self.model.vae.latent_dim

    @cached_property
    def rows(self) -> np.ndarray:
        """``batch`` in data units, NaN where a cell is empty: bits, where the model sees bits."""
        rows = self._to_data_units(self.batch.x)
        whole = [column.is_whole for column in self.columns]
        rows[:, whole] = np.rint(rows[:, whole])  # the way through float32 leaves 2.9999998
        if self.batch.mask is not None:
            rows[~self.batch.mask.cpu().numpy()] = np.nan
        return rows

    @cached_property
    @torch.no_grad()
    def posterior(self) -> Posterior:
        """q(z|x) of the rows."""
        return self.model.vae.encode(self.batch)

    @cached_property
    def means(self) -> np.ndarray:
        """Posterior means, (N, L)."""
        return self.posterior.mean.cpu().double().numpy()

    @cached_property
    def stds(self) -> np.ndarray:
        """Posterior standard deviations, (N, L)."""
        return self.posterior.stddev.cpu().double().numpy()

    @cached_property
    def aggregate_posterior(self) -> np.ndarray:
        """Draws from the mean of q(z|x) over rows, several for each row, (M, L)."""
        vae, count = self.model.vae, max(1, POINTS // self.num_rows)
        with torch.no_grad(), random_stream(self.seed):
            z = self.posterior.rsample(vae.noise(count, self.num_rows))
        return z.reshape(-1, self.latent_dim).cpu().double().numpy()

    @cached_property
    def prior_draws(self) -> np.ndarray:
        """Draws from p(z), (M, L)."""
        with random_stream(self.seed):
            return self.model.vae.prior.sample(PRIOR_POINTS).cpu().double().numpy()

    @cached_property
    @torch.no_grad()
    def kl(self) -> np.ndarray:
        """Mean KL of each latent dimension, nats per row, (L,): to N(0, I) where the prior's does not split."""
        kl = self.posterior.kl_to_standard_normal()
        if kl is None:  # that of the normal with the same mean and standard deviation
            mean, stddev = self.posterior.mean, self.posterior.stddev
            kl = 0.5 * (mean.square() + stddev.square() - 1) - stddev.log()
        return kl.double().mean(0).cpu().numpy()

    @cached_property
    def active(self) -> np.ndarray:
        """Which latent dimensions tell rows apart (Burda et al. 2015), (L,)."""
        return self.means.var(0) > ACTIVE_UNIT_VARIANCE

    @cached_property
    def order(self) -> np.ndarray:
        """The latent dimensions, that of the largest KL first."""
        return np.argsort(-self.kl, kind="stable")

    @cached_property
    @torch.no_grad()
    def reconstructions(self) -> np.ndarray:
        """The best guesses of p(x|z) at the posterior means, (N, C), data units."""
        return self._to_data_units(self.model.vae.decode(self.posterior.mean, self.batch.condition).point)

    @cached_property
    def samples(self) -> np.ndarray:
        """As many new rows as there are rows: draws from p(x|z), not its means; (N, C), data units."""
        return to_matrix(self.model.sample(self.num_rows, seed=self.seed), self.columns)

    @cached_property
    @torch.no_grad()
    def column_nats(self) -> ColumnNats:
        """What is left to say of each column once the code is known, and without one; empty cells cost nothing."""
        vae, batch = self.model.vae, self.batch
        slopes = self.model.log_slopes(batch).mean(0).cpu().numpy()
        total = torch.zeros(len(self.names), dtype=torch.float64, device=batch.x.device)
        with random_stream(self.seed):
            for _ in range(DRAWS):
                total -= vae(batch, vae.noise(1, batch.num_rows)).log_px.double().mean((0, 1))
        alone = -IndependentColumns(vae.likelihood, RowsInMemory(self.training), vae.exposed).log_prob(batch).double()
        return ColumnNats((total / DRAWS).cpu().numpy() - slopes, alone.mean(0).cpu().numpy() - slopes)

    @torch.no_grad()
    def decode(self, z: np.ndarray) -> np.ndarray:
        """Means of p(x|z) at the points ``z`` (M, L), (M, C), data units; under the commonest condition."""
        model = self.model
        told = None if model.conditions is None else model.tell(model.conditions.commonest({}))
        return self._to_data_units(model.vae.decode(torch.from_numpy(z).to(self.batch.x), told).point)

    @torch.no_grad()
    def sample_with_means(self, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Means of p(x|z), and draws from it, z as for new rows; each (num_rows, C), data units."""
        with random_stream(self.seed):
            told = self.model.tell(self.model.draw_conditions(num_rows))
            px = self.model.vae.decode(self.model.draw_codes(num_rows), told)
            return self._to_data_units(px.point), self._to_data_units(px.sample())

    def _to_data_units(self, u: Tensor) -> np.ndarray:
        return self.model.scaling.inverse(u).cpu().double().numpy()
