"""A module, rows and a trainer, all tiny: what these tests drive Lightning with."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from vae_lightning.console import quiet_frameworks
from vae_lightning.data.batch import Batch
from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.preprocess.standardize import Standardize
from vae_lightning.data.store import RowsInMemory
from vae_lightning.inference.model import VAEModel
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.vae import VAE
from vae_lightning.training.datamodule import VectorDataModule
from vae_lightning.training.module import VAEModule


@pytest.fixture
def quiet(one_thread: None) -> Iterator[None]:  # noqa: ARG001 - tiny tensors on one thread
    """Lightning's and torch's own warnings are no failures of ours."""
    with quiet_frameworks():
        yield


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """100 training rows of three columns that one factor explains: with batches of 2, 50 steps an epoch."""
    draws = np.random.default_rng(0)
    x = 5 + draws.normal(size=(140, 1)) @ [[1.0, 2.0, -1.0]] + 0.3 * draws.normal(size=(140, 3))
    columns = tuple(Column(name, "float64") for name in "abc")
    return Dataset("factor", columns, Rows(x[:100]), Rows(x[100:120]), Rows(x[120:]))


@pytest.fixture(scope="session")
def make_module(dataset: Dataset) -> Callable[..., VAEModule]:
    """``make_module(of=VAEModule, vae={}, likelihood={}, **options)``: the same untrained weights every time."""

    def make(
        of: type[VAEModule] = VAEModule,
        vae: dict[str, Any] | None = None,
        likelihood: dict[str, Any] | None = None,
        **options: Any,
    ) -> VAEModule:
        torch.manual_seed(0)
        scaling = Standardize(3).fit(RowsInMemory(Batch(torch.from_numpy(dataset.train.x))))
        network = VAE(Gaussian(3, **(likelihood or {})), **{"latent_dim": 1, "hidden_dims": [4], **(vae or {})})
        return of(VAEModel(network, scaling, dataset.columns), **options)

    return make


@pytest.fixture
def make_data(dataset: Dataset) -> Callable[..., VectorDataModule]:
    """``make_data(batch_size)``: the rows as the package's own data module serves them."""

    def make(batch_size: int = 10) -> VectorDataModule:
        return VectorDataModule(
            dataset, Standardize(3).fit(RowsInMemory(Batch(torch.from_numpy(dataset.train.x)))), batch_size
        )

    return make


@pytest.fixture
def make_trainer(quiet: None) -> Callable[..., Trainer]:  # noqa: ARG001
    """``make_trainer(**options)``: of two epochs, silent, and without a trace."""

    def make(**options: Any) -> Trainer:
        silent = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        plain = {"accelerator": "cpu", "max_epochs": 2, "enable_model_summary": False, "num_sanity_val_steps": 0}
        return Trainer(**{**silent, **plain, **options})

    return make
