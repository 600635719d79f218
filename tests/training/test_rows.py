"""What a user's own loader yields, empty cells too."""

from collections.abc import Callable

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset

from vae_lightning.errors import DataError
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.vae import VAE
from vae_lightning.training.module import VAEModule
from vae_lightning.training.rows import to_batch


def rows_with_holes() -> torch.Tensor:
    return torch.where(torch.rand(64, 3) < 0.7, torch.randn(64, 3), torch.nan)


def test_not_a_number_is_an_empty_cell_to_a_model_that_sees_masks(make_trainer: Callable[..., Trainer]) -> None:
    """Such rows were refused unless they came from data=table."""
    x = rows_with_holes()
    made = VAEModule(VAE(Gaussian(3), 2, [8], sees_mask=True))
    batch = to_batch(made.model, [x, torch.zeros(64)], checked=True)
    assert batch.mask is not None
    assert torch.equal(batch.mask, ~x.isnan())
    assert torch.equal(batch.x, x.nan_to_num())
    loader = DataLoader(TensorDataset(x), batch_size=16)
    trainer = make_trainer()
    trainer.fit(made, loader, loader)
    assert torch.isfinite(trainer.callback_metrics["val/nelbo"])
    assert all(bool(weight.isfinite().all()) for weight in made.parameters())


def test_a_model_without_masks_refuses_empty_cells_and_says_why() -> None:
    made = VAEModule(VAE(Gaussian(3), 2, [8]))
    with pytest.raises(DataError, match=r"no empty cells .* sees_mask=True"):
        to_batch(made.model, rows_with_holes(), checked=True)
