"""Rows drawn from a trained model, held against real ones."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from vae_lightning.comparison.compare import MAX_ROWS, Comparison, compare, with_controls
from vae_lightning.data.dataset import Dataset
from vae_lightning.data.dates import join_columns
from vae_lightning.data.frames import from_matrix, to_matrix
from vae_lightning.data.seeds import generator, stream_seed
from vae_lightning.errors import DataError
from vae_lightning.inference.model import VAEModel

if TYPE_CHECKING:
    import pandas as pd


def compare_draws(
    model: VAEModel,
    real: np.ndarray,
    second: np.ndarray,
    train: np.ndarray | None,
    num_rows: int | None = None,
    target: str | None = None,
    seed: int = 0,
    max_rows: int = MAX_ROWS,
) -> Comparison:
    """Draw rows from a model and :func:`compare` them.

    Args:
        model: in evaluation mode.
        real: rows (N, C) in data units that the model has not been fitted to, NaN where a cell is empty.
        second: others of them.
        train: rows that it was fitted to; None leaves privacy out.
        num_rows: how many rows to draw; by default as many as are real.
        target: the column whose prediction is judged; the last one by default.
        seed: of the draws, and of all else.
        max_rows: more rows of a table are left out at random.

    Raises:
        DataError: for a target that is no column of the model.
    """
    size = min(len(real), max_rows) if num_rows is None else num_rows
    drawn = _to_floats(model, to_matrix(model.sample(size, seed=seed), model.columns))
    seen = [None if part is None else _as_seen(model, part, seed) for part in (real, second, train)]
    held, other, fitted = (None if part is None else _to_floats(model, part) for part in seen)
    assert held is not None
    assert other is not None
    return compare(held, with_controls(drawn, other, fitted, seed), fitted, target, seed, max_rows)


def compare_run(model: VAEModel, dataset: Dataset, seed: int, max_rows: int = MAX_ROWS) -> Comparison:
    """Draws of a run's model against its test rows; the validation rows are the second real sample."""
    test, valid, train = (np.asarray(part.x, np.float64) for part in (dataset.test, dataset.valid, dataset.train))
    return compare_draws(model, test, valid, train, seed=seed, max_rows=max_rows)


def split_in_halves(rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to be held against, and a second real sample, where all are in one file.

    Raises:
        DataError: when there are fewer than two.
    """
    if len(rows) < 2:
        raise DataError("At least 2 real rows are needed: half of them are the second real sample.")
    order = np.random.default_rng(stream_seed(seed, "compare", "halves")).permutation(len(rows))
    return rows[order[: -(-len(rows) // 2)]], rows[order[-(-len(rows) // 2) :]]


def _as_seen(model: VAEModel, rows: np.ndarray, seed: int) -> np.ndarray:
    """Rows as the model has them where it makes them into bits."""
    if model.scaling.is_invertible:
        return rows
    bits = model.scaling.transform(torch.from_numpy(rows), generator("cpu", seed, "compare", "bits"))
    return model.scaling.inverse(bits).numpy()


def _to_floats(model: VAEModel, rows: np.ndarray) -> "pd.DataFrame":
    """Texts as texts and all else as floats: whole numbers have no word for an empty cell."""
    return from_matrix(rows, model.columns, dtypes=[np.dtype(np.float64)] * len(join_columns(model.columns)))
