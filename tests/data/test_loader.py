"""Batches: every row once, the same order for the same epoch, equal shares for processes."""

import pytest
import torch
from torch import Tensor

from vae_lightning.data.loader import BatchLoader
from vae_lightning.errors import DataError


def numbered(num_rows: int) -> Tensor:
    return torch.arange(float(num_rows))[:, None]


def seen(loader: BatchLoader) -> list[int]:
    return torch.cat(list(loader)).flatten().int().tolist()


@pytest.mark.parametrize(("num_rows", "batch_size", "sizes"), [(7, 3, [3, 4]), (1, 3, [1]), (2, 1, [1, 1])])
def test_a_single_left_over_training_row_joins_the_batch_before_it(
    num_rows: int, batch_size: int, sizes: list[int]
) -> None:
    loader = BatchLoader(torch.arange(float(num_rows))[:, None], batch_size=batch_size, shuffle=True)
    batches = list(loader)
    assert [len(batch) for batch in batches] == sizes
    assert len(loader) == len(sizes)
    assert sorted(torch.cat(batches).flatten().tolist()) == list(range(num_rows))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("num_rows", "batch_size", "sizes"), [(8, 3, [3, 3, 2]), (6, 3, [3, 3]), (2, 5, [2])])
def test_every_row_once(shuffle: bool, num_rows: int, batch_size: int, sizes: list[int]) -> None:
    loader = BatchLoader(numbered(num_rows), batch_size=batch_size, shuffle=shuffle)
    assert [len(batch) for batch in loader] == sizes
    assert len(loader) == len(sizes)
    assert sorted(seen(loader)) == list(range(num_rows))


def test_unshuffled_batches_are_views() -> None:
    rows = numbered(7)
    starts = [batch.data_ptr() for batch in BatchLoader(rows, batch_size=3)]
    assert starts == [rows[0].data_ptr(), rows[3].data_ptr(), rows[6].data_ptr()]


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
    rows = [int(row) for loader in loaders for batch in loader for row in batch]
    assert rows == list(range(num_rows))
    sizes = [loader.num_rows for loader in loaders]
    assert max(sizes) - min(sizes) <= 1


def test_draws_depend_on_seed_epoch_and_rank() -> None:
    levels = torch.full((40, 20), 0.5)

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
        return torch.cat(list(loader))

    assert torch.equal(bits(0, 0), bits(0, 0))
    for other in ((0, 1, 0), (1, 0, 0), (0, 0, 1)):
        assert not torch.equal(bits(0, 0), bits(*other))
    assert set(bits(0, 0).unique().tolist()) == {0.0, 1.0}
    # Batches of an epoch do not repeat the same draws.
    assert not torch.equal(bits(0, 0)[:7], bits(0, 0)[7:14])


def test_illegal_arguments() -> None:
    with pytest.raises(DataError, match=r"The 'batch_size' parameter of BatchLoader must be .* at least 1. Got 0"):
        BatchLoader(numbered(3), batch_size=0)
    with pytest.raises(DataError, match=r"The 'rank' parameter of BatchLoader must be from 0 to 1. Got 2"):
        BatchLoader(numbered(3), batch_size=1, rank=2, world_size=2)
    for rows in (torch.zeros(0, 3), torch.zeros(3)):
        with pytest.raises(DataError, match="The 'rows' parameter of BatchLoader must be a tensor of shape"):
            BatchLoader(rows, batch_size=1)
