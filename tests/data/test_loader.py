"""Batches: every row once, the same order for the same epoch, equal shares for processes."""

import pytest
import torch
from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.data.loader import BatchLoader, Block, BlockLoader
from vae_lightning.data.store import RowsInMemory
from vae_lightning.errors import DataError


def numbered(num_rows: int) -> RowsInMemory:
    return RowsInMemory(Batch(torch.arange(float(num_rows))[:, None]))


def values(batches: object) -> Tensor:
    return torch.cat([batch.x for batch in batches])


def seen(loader: BatchLoader) -> list[int]:
    return values(loader).flatten().int().tolist()


@pytest.mark.parametrize(("num_rows", "batch_size", "sizes"), [(7, 3, [3, 4]), (1, 3, [1]), (2, 1, [1, 1])])
def test_a_single_left_over_training_row_joins_the_batch_before_it(
    num_rows: int, batch_size: int, sizes: list[int]
) -> None:
    loader = BatchLoader(numbered(num_rows), batch_size=batch_size, shuffle=True)
    batches = list(loader)
    assert [batch.num_rows for batch in batches] == sizes
    assert len(loader) == len(sizes)
    assert sorted(values(batches).flatten().tolist()) == list(range(num_rows))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("num_rows", "batch_size", "sizes"), [(8, 3, [3, 3, 2]), (6, 3, [3, 3]), (2, 5, [2])])
def test_every_row_once(shuffle: bool, num_rows: int, batch_size: int, sizes: list[int]) -> None:
    loader = BatchLoader(numbered(num_rows), batch_size=batch_size, shuffle=shuffle)
    assert [batch.num_rows for batch in loader] == sizes
    assert len(loader) == len(sizes)
    assert sorted(seen(loader)) == list(range(num_rows))


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_parts_of_a_row_stay_together(shuffle: bool) -> None:
    x = torch.arange(20.0)[:, None]
    rows = Batch(x, x.expand(-1, 3) % 2 == 0, x.expand(-1, 2) * 10, x[:, 0] * 100)
    for batch in BatchLoader(RowsInMemory(rows), batch_size=6, shuffle=shuffle):
        assert torch.equal(batch.mask, batch.x.expand(-1, 3) % 2 == 0)
        assert torch.equal(batch.condition, batch.x.expand(-1, 2) * 10)
        assert torch.equal(batch.weight, batch.x[:, 0] * 100)


def test_unshuffled_batches_are_views() -> None:
    rows = numbered(7)
    starts = [batch.x.data_ptr() for batch in BatchLoader(rows, batch_size=3)]
    assert starts == [rows.rows.x[first].data_ptr() for first in (0, 3, 6)]


def test_order_depends_on_seed_and_epoch_alone() -> None:
    loader = BatchLoader(numbered(50), batch_size=8, shuffle=True, seed=3)
    loader.set_epoch(4)
    fourth = seen(loader)
    assert seen(loader) == fourth
    torch.manual_seed(99)
    resumed = BatchLoader(numbered(50), batch_size=8, shuffle=True, seed=3)
    resumed.set_epoch(4)
    assert seen(resumed) == fourth
    orders = {tuple(fourth)}
    for seed, epoch in ((3, 5), (4, 4), (4, 3), (0, 0)):
        other = BatchLoader(numbered(50), batch_size=8, shuffle=True, seed=seed)
        other.set_epoch(epoch)
        orders.add(tuple(seen(other)))
    assert len(orders) == 5


def test_iterating_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    seen(BatchLoader(numbered(50), batch_size=8, shuffle=True))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("num_rows", "world_size"), [(10, 2), (11, 3), (2, 5)])
def test_processes_that_train_take_equally_many_steps(num_rows: int, world_size: int) -> None:
    loaders = [
        BatchLoader(numbered(num_rows), batch_size=2, shuffle=True, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    shares = [seen(loader) for loader in loaders]
    assert len({len(share) for share in shares}) == 1
    assert {len(loader) for loader in loaders} == {len(list(loaders[0]))}
    everything = [row for share in shares for row in share]
    assert set(everything) == set(range(num_rows))
    assert len(everything) - num_rows < world_size


@pytest.mark.parametrize(("num_rows", "world_size"), [(10, 2), (11, 3), (2, 5)])
def test_processes_that_measure_see_each_row_once(num_rows: int, world_size: int) -> None:
    loaders = [
        BatchLoader(numbered(num_rows), batch_size=2, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    rows = [int(row) for loader in loaders for batch in loader for row in batch.x]
    assert rows == list(range(num_rows))
    sizes = [loader.num_rows for loader in loaders]
    assert max(sizes) - min(sizes) <= 1
    assert all(len(loader) == len([batch for batch in loader if batch.num_rows]) for loader in loaders)


def test_draws_depend_on_seed_epoch_and_rank() -> None:
    levels = RowsInMemory(Batch(torch.full((40, 20), 0.5)))

    def bits(seed: int, epoch: int, rank: int = 0) -> Tensor:
        loader = BatchLoader(
            levels,
            batch_size=7,
            seed=seed,
            rank=rank,
            world_size=2,
            draw=lambda batch, generator: torch.bernoulli(batch, generator=generator),
        )
        loader.set_epoch(epoch)
        return values(loader)

    assert torch.equal(bits(0, 0), bits(0, 0))
    for other in ((0, 1, 0), (1, 0, 0), (0, 0, 1)):
        assert not torch.equal(bits(0, 0), bits(*other))
    assert set(bits(0, 0).unique().tolist()) == {0.0, 1.0}
    # Batches of an epoch do not repeat the same draws.
    assert not torch.equal(bits(0, 0)[:7], bits(0, 0)[7:14])


def test_draws_change_the_values_and_nothing_else_of_a_row() -> None:
    rows = Batch(torch.full((9, 2), 0.5), torch.ones(9, 2).bool(), torch.arange(9.0)[:, None], torch.arange(9.0))
    loader = BatchLoader(RowsInMemory(rows), batch_size=4, draw=lambda x, g: torch.bernoulli(x, generator=g))
    batches = list(loader)
    assert torch.equal(torch.cat([batch.condition for batch in batches]), rows.condition)
    assert torch.equal(torch.cat([batch.weight for batch in batches]), rows.weight)
    assert all(batch.mask is not None for batch in batches)
    assert torch.equal(rows.x, torch.full((9, 2), 0.5)), "the levels themselves must stay"


@pytest.mark.parametrize(("num_rows", "size", "blocks"), [(10, 3, [3, 2]), (8, 2, [2, 2]), (2, 5, [1])])
def test_blocks_hold_the_same_batches(num_rows: int, size: int, blocks: list[int]) -> None:
    single = BatchLoader(numbered(num_rows), batch_size=2, shuffle=True, seed=5)
    loader = BlockLoader(BatchLoader(numbered(num_rows), batch_size=2, shuffle=True, seed=5), size)
    for epoch in (0, 3):
        single.set_epoch(epoch)
        loader.set_epoch(epoch)
        found = list(loader)
        assert [len(block) for block in found] == blocks
        assert len(loader) == len(blocks)
        assert all(isinstance(block, Block) for block in found)
        together = [batch for block in found for batch in block]
        assert all(torch.equal(a.x, b.x) for a, b in zip(together, single, strict=True))


def test_illegal_arguments() -> None:
    with pytest.raises(DataError, match=r"The 'batch_size' parameter of BatchLoader must be .* at least 1. Got 0"):
        BatchLoader(numbered(3), batch_size=0)
    with pytest.raises(DataError, match=r"The 'size' parameter of BlockLoader must be .* at least 1. Got 0"):
        BlockLoader(BatchLoader(numbered(3), batch_size=1), 0)
    with pytest.raises(DataError, match=r"The 'rank' parameter of BatchLoader must be from 0 to 1. Got 2"):
        BatchLoader(numbered(3), batch_size=1, rank=2, world_size=2)
    with pytest.raises(DataError, match=r"The 'rows' parameter of BatchLoader must hold at least one row\. Got none"):
        BatchLoader(RowsInMemory(Batch(torch.zeros(0, 3))), batch_size=1)
