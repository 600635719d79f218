"""Rows in memory: what is fitted to what, and what is drawn when."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vae_lightning.data.batch import Batch
from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.loader import BatchLoader, BlockLoader
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.preprocess.binarize import Binarize
from vae_lightning.data.preprocess.minmax import MinMax
from vae_lightning.data.preprocess.none import Identity
from vae_lightning.data.preprocess.standardize import Standardize
from vae_lightning.data.store import RowsInMemory
from vae_lightning.training.datamodule import VectorDataModule

CPU = torch.device("cpu")


def dataset(low: float = 0.0, high: float = 1.0) -> Dataset:
    """Grey levels; validation and test rows three times as large as the training rows."""
    draws = np.random.default_rng(0)
    x = draws.uniform(low, high, (60, 3))
    x[:, 2] = 0.5
    parts = (Rows(x[:40]), Rows(3 * x[40:50]), Rows(3 * x[50:]))
    return Dataset("levels", tuple(Column(name, "float64") for name in "abc"), *parts)


def module(
    scaling: Scaling, batch_size: int = 16, seed: int = 0, data: Dataset | None = None, in_blocks: bool = False
) -> VectorDataModule:
    data = data or dataset()
    fitted = scaling.fit(RowsInMemory(Batch(torch.from_numpy(data.train.x))))
    made = VectorDataModule(data, fitted, batch_size, seed)
    made.trainer = SimpleNamespace(  # type: ignore[assignment]
        strategy=SimpleNamespace(root_device=CPU),
        global_rank=0,
        world_size=1,
        overfit_batches=0,
        lightning_module=SimpleNamespace(takes_blocks=in_blocks, block_size=lambda batch_size: 64 // batch_size),
    )
    return made


def x(made: VectorDataModule, name: str) -> torch.Tensor:
    return torch.cat([batch.x for batch in made.rows[name].batches()])


def epoch(loader: Any, number: int) -> torch.Tensor:
    loader.set_epoch(number)
    return torch.cat([batch.x for batch in loader])


def test_statistics_are_the_training_rows_alone() -> None:
    made = module(Standardize(3))
    torch.testing.assert_close(x(made, "train").mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(x(made, "train").std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]))
    assert (x(made, "valid").mean(0)[:2] > 1.5).all()
    assert x(module(MinMax(3)), "train").max() == 1


def test_every_training_row_comes_once_an_epoch_in_a_new_order() -> None:
    loader = module(Identity(3)).train_dataloader()
    assert [batch.num_rows for batch in loader] == [16, 16, 8]
    first, second = epoch(loader, 0), epoch(loader, 1)
    assert not torch.equal(first, second)
    assert torch.equal(first.sort(0).values, second.sort(0).values)
    assert torch.equal(epoch(module(Identity(3)).train_dataloader(), 1), second)
    assert not torch.equal(epoch(module(Identity(3), seed=1).train_dataloader(), 1), second)


def test_blocks_are_the_same_batches_several_at_a_time() -> None:
    single, blocks = (module(Identity(3), in_blocks=word).train_dataloader() for word in (False, True))
    assert isinstance(single, BatchLoader)
    assert isinstance(blocks, BlockLoader)
    for number in (0, 3):
        single.set_epoch(number)
        blocks.set_epoch(number)
        (block,) = blocks
        for one, other in zip(single, block, strict=True):
            assert torch.equal(one.x, other.x)


def test_batches_to_overfit_are_the_same_in_every_epoch() -> None:
    made = module(Identity(3))
    made.trainer.overfit_batches = 2  # type: ignore[union-attr]
    loader = made.train_dataloader()
    assert torch.equal(epoch(loader, 0), epoch(loader, 1))


def test_validation_rows_come_in_order_and_in_few_batches() -> None:
    made = module(Identity(3))
    (batch,) = made.val_dataloader()
    assert torch.equal(batch.x, x(made, "valid"))


def test_resampled_bits_are_drawn_anew_each_epoch_and_fixed_elsewhere() -> None:
    data = dataset()
    data.valid.x[:] /= 3
    made = module(Binarize(3, (0.0, 1.0), resample=True), batch_size=40, data=data)
    loader = made.train_dataloader()
    draws = torch.stack([epoch(loader, number).sort(0).values for number in range(200)])
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    assert draws[0].mean(0).tolist() != draws[1].mean(0).tolist()
    # The share of ones is the mean grey level.
    torch.testing.assert_close(draws.mean((0, 1)), torch.from_numpy(data.train.x.mean(0)).float(), atol=0.02, rtol=0)
    assert torch.equal(epoch(loader, 3), epoch(loader, 3))
    validation = made.val_dataloader()
    assert torch.equal(epoch(validation, 0), epoch(validation, 1))
    assert set(epoch(validation, 0).unique().tolist()) == {0.0, 1.0}
    assert set(x(made, "test").unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("split", ["valid", "test"])
def test_the_fixed_bits_follow_from_the_seed(split: str) -> None:
    data = dataset()
    data.valid.x[:], data.test.x[:] = data.valid.x / 3, data.test.x / 3
    make: Any = lambda seed: x(module(Binarize(3, (0.0, 1.0), resample=True), seed=seed, data=data), split)  # noqa: E731
    assert torch.equal(make(0), make(0))
    assert not torch.equal(make(0), make(1))


def test_bits_by_threshold_are_the_same_everywhere() -> None:
    made = module(Binarize(3, (0.0, 1.0)))
    assert made.train_dataloader().draw is None
    assert torch.equal(x(made, "train"), torch.from_numpy(dataset().train.x > 0.5).float())


def test_rows_move_to_the_device_once() -> None:
    made = module(Identity(3))
    assert made.on_device("train", CPU) is made.rows["train"]
    moved = made.on_device("test", torch.device("meta"))
    assert made.on_device("test", torch.device("meta")) is moved


def test_each_process_gets_its_share() -> None:
    made = module(Identity(3))
    shares = []
    for rank in (0, 1):
        made.trainer.global_rank, made.trainer.world_size = rank, 2  # type: ignore[union-attr, misc]
        shares += [batch.x for batch in made.val_dataloader()]
    assert torch.equal(torch.cat(shares), x(made, "valid"))
