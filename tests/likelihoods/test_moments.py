"""Folds over batches equal numpy's statistics of the whole, whatever the batches, masks and weights."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from vae_lightning.data.batch import Batch
from vae_lightning.likelihoods.moments import column_means, column_medians, column_ranges, column_sums

N, C = 101, 3


class Pieces:
    """A batch of rows, handed out a few at a time."""

    def __init__(self, rows: Batch, size: int) -> None:
        self.rows = rows
        self.size = size

    def batches(self) -> Iterator[Batch]:
        return iter(self.rows.split(self.size))


def rows(kind: str) -> tuple[Batch, np.ndarray, np.ndarray]:
    """Rows with junk wherever they are masked; the same in numpy, and what each cell counts."""
    x = 3 * torch.randn(N, C, dtype=torch.float64) + torch.tensor([0.0, 100.0, -5.0])
    mask = torch.rand(N, C) < 0.6 if "mask" in kind else None
    weight = torch.randint(0, 4, (N,)).double() if "weight" in kind else None
    counts = np.ones((N, C)) if weight is None else np.repeat(weight.numpy()[:, None], C, 1)
    if mask is None:
        return Batch(x, None, None, weight), x.numpy(), counts
    junk = torch.tensor([math.nan, math.inf, -1e30]).double()[torch.randint(0, 3, (N, C))]
    return Batch(torch.where(mask, x, junk), mask, None, weight), x.numpy(), counts * mask.numpy()


KINDS = ["plain", "mask", "weight", "mask and weight"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 7, 50, 1000])
def test_folds_are_the_statistics_of_the_whole(kind: str, size: int) -> None:
    batch, x, counts = rows(kind)
    pieces = Pieces(batch, size)
    total, cells = column_sums(pieces, torch.square)
    np.testing.assert_allclose(total.numpy(), (counts * x**2).sum(0), rtol=1e-12)
    np.testing.assert_allclose(cells.numpy(), counts.sum(0), rtol=1e-12)
    np.testing.assert_allclose(column_means(pieces).numpy(), np.average(x, axis=0, weights=counts), rtol=1e-12)
    seen = np.where(counts > 0, x, np.nan)
    low, high = column_ranges(pieces)
    np.testing.assert_array_equal(low.numpy(), np.nanmin(seen, 0))
    np.testing.assert_array_equal(high.numpy(), np.nanmax(seen, 0))


@pytest.mark.parametrize("kind", KINDS)
def test_medians_are_those_of_numpy(kind: str) -> None:
    batch, x, counts = rows(kind)
    truth = [np.repeat(column, count.astype(int)) for column, count in zip(x.T, counts.T, strict=True)]
    truth = [np.quantile(column, 0.5, method="inverted_cdf") for column in truth]
    np.testing.assert_allclose(column_medians(Pieces(batch, 30)).numpy(), truth, rtol=0, atol=1e-9)


def test_a_column_without_a_cell_is_zero() -> None:
    batch = Batch(torch.full((4, 2), math.nan), torch.zeros(4, 2, dtype=torch.bool))
    for value in (column_means(Pieces(batch, 2)), *column_ranges(Pieces(batch, 2)), column_medians(Pieces(batch, 2))):
        assert value.tolist() == [0, 0]


def test_float32_rows_are_summed_in_float64() -> None:
    """In float32 a sum of ones stands still at 2^24."""
    x = torch.full((100_000, 1), 1000.1)
    assert column_means(Pieces(Batch(x), 8192)).item() == pytest.approx(float(x[0]), rel=1e-12)
