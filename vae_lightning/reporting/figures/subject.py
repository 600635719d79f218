"""What figures show: a trained model and the rows it is looked at with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vae_lightning.data.seeds import random_stream
from vae_lightning.inference.metrics import ACTIVE_UNIT_VARIANCE
from vae_lightning.inference.model import VAEModel

MAX_ROWS = 1000
"""Rows a figure is made of: more would change no picture, and cost time."""
POINTS = 4000
"""Draws of the aggregate posterior."""
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
        u: rows it was not trained on, (N, C), model units, on its device.
        training: rows it was trained on, likewise: what the baseline of independent columns is fitted to.
        labels: one for each row of ``u``, or None.
        image_shape: (height, width) or (height, width, 3) if a row is a flattened image.
        seed: of every draw.
        history: the values of each metric, one an epoch; empty where they are not known.
    """

    model: VAEModel
    u: Tensor
    training: Tensor
    labels: np.ndarray | None = None
    image_shape: tuple[int, ...] | None = None
    seed: int = 0
    history: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return [column.name for column in self.model.columns]

    @property
    def num_rows(self) -> int:
        """N."""
        return len(self.u)

    @property
    def latent_dim(self) -> int:
        """L."""
        return self.model.vae.latent_dim

    @cached_property
    def rows(self) -> np.ndarray:
        """``u`` in data units: bits, where the model sees bits."""
        rows = self._to_data_units(self.u)
        whole = [np.dtype(column.dtype).kind in "iub" for column in self.model.columns]
        rows[:, whole] = np.rint(rows[:, whole])  # the way through float32 leaves 2.9999998
        return rows

    @cached_property
    @torch.no_grad()
    def posterior(self) -> tuple[Tensor, Tensor]:
        """Means and log-variances of q(z|x), each (N, L)."""
        return tuple(self.model.vae.encode(self.u))  # type: ignore[return-value]

    @cached_property
    def means(self) -> np.ndarray:
        """Posterior means, (N, L)."""
        return self.posterior[0].cpu().double().numpy()

    @cached_property
    def stds(self) -> np.ndarray:
        """Posterior standard deviations, (N, L)."""
        return torch.exp(0.5 * self.posterior[1]).cpu().double().numpy()

    @cached_property
    def aggregate_posterior(self) -> np.ndarray:
        """Draws from the mean of q(z|x) over rows, several for each row, (M, L)."""
        count = max(1, POINTS // len(self.means))
        eps = np.random.default_rng(self.seed).standard_normal((count, *self.means.shape))
        return (self.means + self.stds * eps).reshape(-1, self.latent_dim)

    @cached_property
    @torch.no_grad()
    def kl(self) -> np.ndarray:
        """Mean KL of each latent dimension, nats per row, (L,)."""
        return self.model.vae.prior.kl(*self.posterior).double().mean(0).cpu().numpy()

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
        """Means of p(x|z) at the posterior means, (N, C), data units."""
        return self._to_data_units(self.model.vae.decode(self.posterior[0]).mean)

    @cached_property
    def samples(self) -> np.ndarray:
        """As many new rows as there are rows: draws from p(x|z), not its means; (N, C), data units."""
        return self.model.sample(self.num_rows, seed=self.seed).to_numpy(dtype=np.float64)

    @cached_property
    @torch.no_grad()
    def column_nats(self) -> ColumnNats:
        """What is left to say of each column once the code is known, and without one."""
        vae, slopes = self.model.vae, self.model.log_slopes().cpu().numpy()
        loc, log_var = self.posterior
        total = torch.zeros(len(self.names), dtype=torch.float64, device=loc.device)
        with random_stream(self.seed):
            for _ in range(DRAWS):
                z = loc + torch.exp(0.5 * log_var) * torch.randn_like(loc)
                total -= vae.decode(z).log_prob(self.u).double().mean(0)
        alone = -vae.likelihood.marginal(self.training).log_prob(self.u).double().mean(0)
        return ColumnNats((total / DRAWS).cpu().numpy() - slopes, alone.cpu().numpy() - slopes)

    @torch.no_grad()
    def decode(self, z: np.ndarray) -> np.ndarray:
        """Means of p(x|z) at the points ``z`` (M, L), (M, C), data units."""
        return self._to_data_units(self.model.vae.decode(torch.from_numpy(z).to(self.u)).mean)

    @torch.no_grad()
    def sample_prior(self, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Means of p(x|z), and draws from it, at the same draws of the prior; each (num_rows, C), data units."""
        vae = self.model.vae
        with random_stream(self.seed):
            px = vae.decode(vae.prior.sample(num_rows, like=vae.output.weight))
            return self._to_data_units(px.mean), self._to_data_units(px.sample())

    def _to_data_units(self, u: Tensor) -> np.ndarray:
        return self.model.preprocess.inverse(u).cpu().double().numpy()
