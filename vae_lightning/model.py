"""A VAE that speaks data units: the network together with its columns and its preprocessing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from vae_lightning.data.base import Column
from vae_lightning.data.preprocess import Binarize, Preprocess
from vae_lightning.data.support import check_support
from vae_lightning.errors import DataError, check_parameter
from vae_lightning.estimate import log_prob
from vae_lightning.vae import VAE

Data = TypeVar("Data", np.ndarray, pd.DataFrame)

ROWS_AT_ONCE = 8192


class VAEModel(nn.Module):
    """A trained model as its users hold it: data rows in, data rows, codes or nats out.

    Arrays give arrays; data frames give data frames with the same index. A frame's columns are found by name, so
    their order does not matter and other columns may be present.

    Args:
        vae: the network, in model units.
        preprocess: the map between data units and model units, fitted on the training rows.
        columns: names and dtypes of the data's columns.
    """

    def __init__(self, vae: VAE, preprocess: Preprocess, columns: Sequence[Column]) -> None:
        super().__init__()
        self.vae = vae
        self.preprocess = preprocess
        self.columns = tuple(columns)

    def log_abs_det(self) -> float:
        """log |det du/dx| of the preprocessing, nats per row: what a model-unit log-density lacks in data units.

        0 for discrete likelihoods: a probability does not change with the units.
        """
        return 0.0 if self.vae.likelihood.discrete else float(self.preprocess.log_abs_det())

    @property
    def measure(self) -> str:
        """What the NELBO measures: two of different measures cannot be compared, even on the same rows.

        A density is stated in data units, so every invertible scaling measures the same. A probability is that of the
        rows as the model sees them, and where they are made into bits, so is a density.
        """
        rows = self.preprocess.rows
        if self.vae.likelihood.discrete:
            return f"probability, rows {rows}"
        return f"density, rows {rows}" if isinstance(self.preprocess, Binarize) else "density, data units"

    def loss_floor(self) -> float:
        """The least NELBO any parameters can reach, nats per row in data units: -sum(max_log_prob) - log|det|."""
        return -float(self.vae.likelihood.max_log_prob().sum()) - self.log_abs_det()

    @torch.no_grad()
    def encode(self, rows: Data, return_std: bool = False) -> Data | tuple[Data, Data]:
        """Posterior means of ``rows`` (N, C), shape (N, L); with ``return_std`` also standard deviations.

        Raises:
            DataError: when columns are missing, values are not finite numbers or lie outside the support.
        """
        posteriors = [self.vae.encode(u) for u in self._model_units(rows)]
        names = [f"z{i}" for i in range(self.vae.latent_dim)]
        loc = _like(rows, torch.cat([p.loc for p in posteriors]), names)
        if not return_std:
            return loc
        return loc, _like(rows, torch.cat([torch.exp(0.5 * p.log_var) for p in posteriors]), names)

    @torch.no_grad()
    def reconstruct(self, rows: Data) -> Data:
        """The decoder's mean at each row's posterior mean, (N, C), data units.

        Raises:
            DataError: as :meth:`encode`.
        """
        means = torch.cat([self.vae.reconstruct(u) for u in self._model_units(rows)])
        return _like(rows, self.preprocess.inverse(means), [column.name for column in self.columns])

    @torch.no_grad()
    def sample(self, num_rows: int, seed: int | None = None, mean: bool = False) -> pd.DataFrame:
        """New rows: draws from p(x|z), z from the prior, with the data's column names and dtypes.

        Args:
            num_rows: how many.
            seed: the same seed gives the same rows; without one they follow torch's global random stream.
            mean: give the means of p(x|z) instead of draws; they vary too little to pass for data.

        Raises:
            ConfigError: when ``num_rows`` is below 1.
        """
        check_parameter("sample", "num_rows", num_rows >= 1, "at least 1", num_rows)
        with random_stream(seed):
            rows = self.preprocess.inverse(self.vae.sample(num_rows, mean)).cpu().numpy()
        return pd.DataFrame({c.name: _cast(rows[:, i], c.dtype, mean) for i, c in enumerate(self.columns)}, copy=False)

    @torch.no_grad()
    def log_prob(self, rows: Data, num_samples: int = 1000, seed: int = 0) -> np.ndarray | pd.Series:
        """Importance-sampled log p(x) of each row, nats, data units, shape (N,); see :func:`estimate.log_prob`.

        Raises:
            DataError: as :meth:`encode`.
            ConfigError: when ``num_samples`` is below 1.
        """
        with random_stream(seed):
            parts = [log_prob(self.vae, u, num_samples).log_prob for u in self._model_units(rows)]
        values = torch.cat(parts).double().cpu().numpy() + self.log_abs_det()
        return pd.Series(values, index=rows.index, name="log_prob") if isinstance(rows, pd.DataFrame) else values

    def _model_units(self, rows: Data) -> tuple[Tensor, ...]:
        u = self.preprocess.transform(torch.from_numpy(self._values(rows)))
        likelihood = self.vae.likelihood
        check_support(
            u,
            split="given",
            columns=self.columns,
            support=likelihood.support,
            likelihood=likelihood.family,
            support_words=likelihood.support_words,
            preprocess=self.preprocess.kind,
        )
        return u.to(self.vae.output.weight.device).split(ROWS_AT_ONCE)

    def _values(self, rows: Data) -> np.ndarray:
        if isinstance(rows, pd.DataFrame):
            missing = [column.name for column in self.columns if column.name not in rows.columns]
            if missing:
                raise DataError(
                    f"The rows lack {len(missing)} of the {len(self.columns)} columns that the model was trained on: "
                    f"{', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}."
                )
            rows = rows[[column.name for column in self.columns]]
        try:
            values = np.ascontiguousarray(rows, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"The rows must be numbers. {error}") from None
        if values.ndim != 2 or values.shape[1] != len(self.columns):
            raise DataError(
                f"The rows must have shape (N, {len(self.columns)}): the model was trained on {len(self.columns)} "
                f"columns. Got shape {values.shape} instead."
            )
        bad = ~np.isfinite(values)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise DataError(
                f"{bad.sum()} of {values.size} values are missing or infinite, the first in row {row + 1}, "
                f"column {self.columns[column].name!r}. Drop those rows or fill them first."
            )
        return values


def _like(rows: Data, values: Tensor, names: list[str]) -> Data:
    array = values.cpu().numpy()
    return pd.DataFrame(array, index=rows.index, columns=names) if isinstance(rows, pd.DataFrame) else array


def _cast(values: np.ndarray, dtype: str, mean: bool) -> np.ndarray:
    """Give a column its dtype back; draws of whole-number columns are rounded, means stay fractions."""
    target = np.dtype(dtype)
    if mean and target.kind in "iub":
        return values
    if target.kind in "iu":
        limits = np.iinfo(target)
        values = np.rint(values).clip(limits.min, limits.max)
    elif target.kind == "b":
        values = values > 0.5
    return values.astype(target)


@contextmanager
def random_stream(seed: int | None) -> Iterator[None]:
    """Draws inside repeat for the same ``seed`` and leave the global stream untouched; None changes nothing."""
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        yield
