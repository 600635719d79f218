"""Batches and the stores that hold them: the parts of a row stay together, and statistics are folds."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models import every_likelihood, rows_for
from vae_lightning.data.batch import Batch
from vae_lightning.data.dataset import Rows
from vae_lightning.data.store import RowsInMemory, RowStore
from vae_lightning.likelihoods.moments import column_means, column_medians, column_ranges, column_sums

X = torch.arange(21.0).view(7, 3)
FULL = Batch(X, X % 2 == 0, X[:, :2] * 10, X[:, 0] * 100)
PARTS = [Batch(X), Batch(X, FULL.mask), Batch(X, None, FULL.condition), Batch(X, None, None, FULL.weight), FULL]


def same(one: Batch, other: Batch) -> bool:
    return all((a is None) == (b is None) and (a is None or torch.equal(a, b)) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("batch", PARTS)
def test_pieces_are_views_in_order_that_make_up_the_batch(batch: Batch) -> None:
    pieces = batch.split(3)
    assert [piece.num_rows for piece in pieces] == [3, 3, 1]
    assert same(RowsInMemory.of(pieces).rows, batch)
    assert pieces[1].x.data_ptr() == batch.x[3].data_ptr()


@pytest.mark.parametrize("batch", PARTS)
def test_rows_are_chosen_with_all_their_parts(batch: Batch) -> None:
    index = torch.tensor([6, 0, 0])
    assert same(batch.select(index), Batch(*(None if part is None else part[index] for part in batch)))


@pytest.mark.parametrize("batch", PARTS)
def test_a_cast_changes_numbers_and_leaves_a_mask_a_mask(batch: Batch) -> None:
    cast = batch.cast(torch.zeros((), dtype=torch.float64))
    assert cast.x.dtype == torch.float64
    assert batch.mask is None or cast.mask.dtype == torch.bool
    assert batch.condition is None or cast.condition.dtype == torch.float64
    assert same(cast.cast(X), batch)


def test_a_batch_knows_its_rows_whatever_its_length_as_a_tuple() -> None:
    assert FULL.num_rows == 7
    assert len(FULL) == 4


@pytest.mark.parametrize("batch", PARTS)
def test_a_store_is_gone_through_again_and_again(batch: Batch) -> None:
    store = RowsInMemory(batch)
    assert store.num_rows == 7
    for _ in range(2):
        assert [piece.num_rows for piece in store.batches(4)] == [4, 3]
        assert same(RowsInMemory.of(store.batches(4)).rows, batch)
    assert same(store.select(torch.tensor([2])), batch.select(torch.tensor([2])))
    assert store.to(torch.device("cpu")) is store
    moved = store.to(torch.device("meta"))
    assert moved.device.type == "meta"
    assert {part.device.type for part in moved.rows if part is not None} == {"meta"}


def test_rows_in_data_units_come_in_float64_and_in_order() -> None:
    x = np.arange(60_000, dtype=np.uint16).reshape(20_000, 3)
    batches = list(Rows(x).batches())
    assert len(batches) > 1
    assert all(batch.x.dtype == torch.float64 for batch in batches)
    np.testing.assert_array_equal(torch.cat([batch.x for batch in batches]).numpy(), x)


class Streamed(RowStore):
    """Rows that are never in memory together: what a store must offer, and nothing more."""

    def __init__(self, rows: Batch, num_rows: int) -> None:
        self.rows, self.size = rows, num_rows

    @property
    def num_rows(self) -> int:
        return self.rows.num_rows

    @property
    def device(self) -> torch.device:
        return self.rows.x.device

    def batches(self, num_rows: int = 8192) -> Iterator[Batch]:
        return iter(self.rows.split(min(self.size, num_rows)))

    def select(self, index: Tensor) -> Batch:
        return self.rows.select(index)

    def to(self, device: torch.device) -> "Streamed":  # noqa: ARG002 - there is but one
        return self


def test_statistics_of_columns_are_folds_of_the_observed_cells() -> None:
    torch.manual_seed(0)
    x = torch.randn(501, 4, dtype=torch.float64) * torch.tensor([1.0, 1e-3, 1e6, 1.0]) + 5
    x[:, 3] = 2.5
    mask = torch.rand(501, 4) < 0.8
    mask[:, 0] = True
    rows = Streamed(Batch(torch.where(mask, x, torch.nan), mask), 10)
    cells = [x[mask[:, i], i].numpy() for i in range(4)]
    low, high = column_ranges(rows)
    total, count = column_sums(rows)
    np.testing.assert_array_equal(low, [c.min() for c in cells])
    np.testing.assert_array_equal(high, [c.max() for c in cells])
    np.testing.assert_array_equal(count, [len(c) for c in cells])
    np.testing.assert_allclose(total, [c.sum() for c in cells], rtol=1e-12)
    np.testing.assert_allclose(column_means(rows), [c.mean() for c in cells], rtol=1e-12)
    squares = [np.square(c).mean() for c in cells]
    np.testing.assert_allclose(column_means(rows, torch.square), squares, rtol=1e-12)
    # Any point between the two middle values of an even number is a median.
    medians = [np.quantile(c, [0.5, 0.5], method=m) for c in cells for m in ("lower", "higher")]
    between = np.array(medians)[:, 0].reshape(4, 2)
    spread = 1e-12 * (high - low).numpy() + 1e-12
    found = column_medians(rows).numpy()
    assert (found >= between[:, 0] - spread).all()
    assert (found <= between[:, 1] + spread).all()


def test_a_column_without_a_cell_has_statistics_that_are_finite() -> None:
    rows = RowsInMemory(Batch(torch.full((5, 2), torch.nan), torch.tensor([[False, True]]).expand(5, 2) & False))
    for statistic in (column_means, column_medians, lambda r: torch.stack(column_ranges(r))):
        assert (statistic(rows) == 0).all()


def test_weights_count_rows() -> None:
    x, weight = torch.randn(50, 2, dtype=torch.float64), torch.randint(0, 4, (50,)).double()
    rows, repeated = RowsInMemory(Batch(x, weight=weight)), x.repeat_interleave(weight.long(), 0)
    plain = RowsInMemory(Batch(repeated))
    for statistic in (column_means, column_medians, lambda r: torch.stack(column_sums(r))):
        torch.testing.assert_close(statistic(rows), statistic(plain), rtol=1e-10, atol=1e-10)
    heavy = weight > 0
    assert torch.equal(torch.stack(column_ranges(rows)), torch.stack((x[heavy].amin(0), x[heavy].amax(0))))


def test_a_likelihood_starts_alike_from_rows_in_memory_and_from_a_stream() -> None:
    offenders = []
    for name, likelihood in every_likelihood():
        batch = Batch(rows_for(likelihood, 100), torch.rand(100, 6) < 0.9, weight=torch.rand(100))
        starts, means = [], []
        for rows in (RowsInMemory(batch), Streamed(batch, 9)):
            starts.append(likelihood.start_from(rows))
            means.append(likelihood.independent_columns(rows).mean)
        if not torch.allclose(*starts, rtol=1e-6, atol=1e-6) or not torch.allclose(*means, rtol=1e-6, atol=1e-6):
            offenders.append(name)
    assert not offenders
