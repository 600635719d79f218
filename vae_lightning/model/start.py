"""From rows to the weights that training begins with."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lightning.controls.factor_analysis import fit_factor_analysis
from vae_lightning.controls.factor_model import FactorAnalysis
from vae_lightning.data.batch import Batch, Batches
from vae_lightning.data.store import RowStore
from vae_lightning.likelihoods.moments import RowBatches, SomeColumns, Together, column_means, held_variances
from vae_lightning.model.vae import VAE

RIDGE = 1.0
"""Rows of an average condition imagined in the regression, for each number of a condition."""
PASSES = 20
"""Over rows with empty cells, each of which brings the regression nearer to that of the observed cells."""


class LinearStart(NamedTuple):
    """Factor analysis of the training rows, and what else a model needs to become it.

    Attributes:
        rows: the training rows, model units, columns of densities less what their condition says of them.
        factors: the fit.
        held: what no variance may fall below, (C,).
        slopes: what a condition that the decoder is told adds to each column, (C, K); None where it adds nothing.
    """

    rows: Batches
    factors: FactorAnalysis
    held: Tensor
    slopes: Tensor | None

    def apply(self, vae: VAE) -> None:
        """Give the model its first weights."""
        vae.start_from(self.rows, self.factors, self.held, self.slopes)

    def with_noise(self, share: float, vae: VAE) -> "LinearStart | None":
        """The same density of rows with ``share`` of the noise, the rest told by z.

        None where z has fewer dimensions than there are columns, or where the likelihood has no such variances.
        """
        held = self.held[_located(vae)]
        factors = self.factors.with_noise(share, held == 0)
        if factors is None or not torch.allclose(_fit_variances(vae, factors.noise, held), factors.noise, rtol=1e-6):
            return None
        return self._replace(factors=factors)


def start_model(vae: VAE, train: RowStore, valid: RowStore) -> LinearStart | None:
    """Start an untrained model from its rows: from factor analysis where it wants that, else knowing nothing of z.

    Rows with a condition are regressed on it, and factor analysis is that of the residuals.

    Args:
        vae: untrained.
        train: the training rows, model units.
        valid: the validation rows: how far to trust the training rows is decided on them.

    Returns:
        The linear model that it started from.
    """
    if vae.linear_decoder is None:
        vae.start_from(train)
        return None
    columns = _located(vae)
    # Of a column without a location, such as one of codes, no variance is learned.
    held = torch.zeros(vae.likelihood.num_columns, dtype=torch.float64)
    held[columns] = held_variances(Together(train, valid))[columns].cpu()
    if vae.start != "linear":
        vae.start_from(train, held=held)
        return None
    told = vae.told_size
    slopes = fit_slopes(Told(train, told), Told(valid, told), columns, held) if told else None
    if slopes is None:
        start = LinearStart(train, _fit_factors(vae, train, valid, held), held, None)
    else:
        factors = _fit_factors(vae, Residuals(train, slopes), Residuals(valid, slopes), held)
        # What is left of a level in an order is no level.
        of_densities = slopes * vae.likelihood.density_columns[:, None]
        start = LinearStart(Residuals(train, of_densities), factors, held, slopes)
    start.apply(vae)
    return start


def _located(vae: VAE) -> list[int]:
    """Columns that have a location."""
    of_raw = vae.likelihood.column_of_raw
    return of_raw[of_raw >= 0].sort().values.tolist()


def _fit_variances(vae: VAE, residual: Tensor, held: Tensor) -> Tensor:
    """``Likelihood.fit_variances`` of the columns that have a location alone."""
    columns = _located(vae)
    whole = torch.ones(2, vae.likelihood.num_columns, dtype=torch.float64)
    whole[:, columns] = torch.stack((residual, held))
    return vae.likelihood.fit_variances(*whole)[columns]


def _fit_factors(vae: VAE, train: RowBatches, valid: RowBatches, held: Tensor) -> FactorAnalysis:
    columns = _located(vae)
    everything = columns == list(range(vae.likelihood.num_columns))
    rows: tuple[RowBatches, RowBatches] = train, valid
    if not everything:
        rows = SomeColumns(train, columns), SomeColumns(valid, columns)
    return fit_factor_analysis(*rows, vae.latent_dim, partial(_fit_variances, vae), held[columns])


class Residuals:
    """Rows less what their condition says of them.

    Args:
        rows: with a condition (B, K).
        slopes: (C, K), float64.
    """

    def __init__(self, rows: RowStore, slopes: Tensor) -> None:
        self.rows = rows
        self.slopes = slopes

    def batches(self) -> Iterator[Batch]:
        """As of the rows."""
        for batch in self.rows.batches():
            assert batch.condition is not None
            condition = batch.condition[:, : self.slopes.shape[1]].double()
            told = condition @ self.slopes.to(batch.x.device).T
            yield batch._replace(x=(batch.x.double() - told).to(batch.x.dtype))


class Told:
    """Rows with what the decoder is told of their conditions.

    Args:
        rows: with a condition (B, K).
        size: how many of its numbers.
    """

    def __init__(self, rows: RowStore, size: int) -> None:
        self.rows = rows
        self.size = size

    def batches(self) -> Iterator[Batch]:
        """As of the rows."""
        for batch in self.rows.batches():
            assert batch.condition is not None
            yield batch._replace(condition=batch.condition[:, : self.size])


def fit_slopes(train: Batches, valid: Batches, columns: list[int], held: Tensor) -> Tensor | None:
    """What a condition adds to each column, (C, K), float64: ridge regression over the observed cells.

    Args:
        train: the training rows, with conditions.
        valid: the validation rows: where the regression does not predict them better, beyond a standard error, than
            the columns' means do, there is none.
        columns: those that have a location; the others' slopes are 0.
        held: variances that nothing may explain away, (C,): their slopes are 0.
    """
    free = torch.zeros(len(held), dtype=torch.float64)
    free[columns] = 1.0
    free[held > 0] = 0.0
    slopes = _regress(train)
    alone = torch.zeros_like(slopes)
    alone[:, -1] = column_means(train).cpu()
    variance, count = torch.zeros_like(free), torch.zeros_like(free)
    for batch in train.batches():
        residual, seen = _residuals(batch, slopes)
        variance, count = variance + residual.square().sum(0).cpu(), count + seen.sum(0).cpu()
    precision = torch.where(variance > 0, free * count / variance, 0.0)
    gains = []
    for batch in valid.batches():
        squares = (_residuals(batch, one)[0].square().cpu() for one in (alone, slopes))
        before, after = (0.5 * square @ precision for square in squares)
        gains.append(before - after)
    gain = torch.cat(gains)
    error = float(gain.std()) / len(gain) ** 0.5 if len(gain) > 1 else torch.inf
    return free[:, None] * slopes[:, :-1] if float(gain.mean()) > error else None


def _regress(rows: Batches) -> Tensor:
    """Slopes and, last, means of the columns, (C, K + 1)."""
    gram, holes = torch.zeros(()), False
    for batch in rows.batches():
        told = _with_one(batch)
        gram, holes = gram + (told.T @ told).cpu(), holes or batch.mask is not None
    penalty = torch.full((len(gram),), RIDGE, dtype=torch.float64)
    penalty[-1] = 0.0
    inverse = torch.linalg.pinv(gram + penalty.diag(), hermitian=True)
    slopes = torch.zeros(batch.x.shape[1], len(gram), dtype=torch.float64)
    for _ in range(PASSES if holes else 1):
        left = torch.zeros_like(slopes)  # an empty cell is as predicted so far
        for batch in rows.batches():
            left += (_residuals(batch, slopes)[0].T @ _with_one(batch)).cpu()
        slopes = slopes + (left - slopes * penalty) @ inverse
    return slopes


def _residuals(batch: Batch, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """What is left of each observed cell, 0 for the others, and which are observed; float64."""
    left = batch.x.double() - _with_one(batch) @ slopes.to(batch.x.device).T
    seen = torch.ones_like(left) if batch.mask is None else batch.mask.double()
    return torch.where(seen > 0, left, 0.0), seen


def _with_one(batch: Batch) -> Tensor:
    assert batch.condition is not None
    return torch.cat([batch.condition.double(), batch.condition.new_ones(batch.num_rows, 1).double()], 1)
