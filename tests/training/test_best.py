"""The best weights: those before the first step are a candidate like any epoch's."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint

from vae_lightning.data.loader import BatchLoader
from vae_lightning.model.start import start_model
from vae_lightning.training.callbacks.best import BestCheckpoint
from vae_lightning.training.callbacks.early_stopping import EarlyStopping
from vae_lightning.training.callbacks.memory import BestInMemory
from vae_lightning.training.datamodule import VectorDataModule
from vae_lightning.training.module import VAEModule

Make = Callable[..., Any]


@pytest.fixture
def fit(make_module: Make, make_data: Make, make_trainer: Make) -> Callable[..., tuple[VAEModule, dict, Trainer]]:
    """``fit(lr, *callbacks, **trainer)``: the module, started linear; its state before the first step; the trainer."""

    def run(lr: float, *callbacks: Any, fast: bool = True, **options: Any) -> tuple[VAEModule, dict, Trainer]:
        module: VAEModule = make_module(optimizer=partial(torch.optim.Adam, lr=lr), fast=fast)
        data: VectorDataModule = make_data()
        start_model(module.vae, data.rows["train"], data.rows["valid"])
        before = {name: value.clone() for name, value in module.state_dict().items()}
        # Without one of these Lightning would write a checkpoint of its own where the tests are started.
        saves = any(isinstance(callback, Checkpoint) for callback in callbacks)
        trainer = make_trainer(callbacks=list(callbacks), enable_checkpointing=saves, **{"max_epochs": 3, **options})
        trainer.fit(module, data)
        return module, before, trainer

    return run


def nelbo(module: VAEModule, data: VectorDataModule) -> float:
    return module.eval().measure(data.rows["valid"].batches())["nelbo"]


@pytest.mark.parametrize("fast", [True, False])
def test_training_that_only_worsens_it_leaves_the_start(fit: Make, make_data: Make, tmp_path: Path, fast: bool) -> None:
    kept, saved = BestInMemory(), BestCheckpoint(str(tmp_path))
    module, before, _ = fit(0.5, saved, kept, fast=fast)
    assert not torch.equal(module.state_dict()["model.vae.output.weight"], before["model.vae.output.weight"])
    checkpoint = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 0
    kept.restore(module)
    for name, value in before.items():
        assert torch.equal(checkpoint["state_dict"][name], value)
        assert torch.equal(module.state_dict()[name], value)
    assert kept.best == pytest.approx(nelbo(module, make_data()), rel=1e-9)
    assert float(saved.best_model_score) == kept.best
    assert min(kept.history["val/nelbo"]) > kept.best


@pytest.mark.parametrize("fast", [True, False])
def test_an_epoch_that_is_better_is_kept_instead(fit: Make, make_data: Make, tmp_path: Path, fast: bool) -> None:
    kept, saved = BestInMemory(), BestCheckpoint(str(tmp_path))
    module, _, _ = fit(1e-3, saved, kept, fast=fast, max_epochs=20)
    assert kept.best < start_of(module)
    checkpoint = torch.load(tmp_path / "best.ckpt", weights_only=True)
    best = min(range(20), key=kept.history["val/nelbo"].__getitem__)
    assert (checkpoint["epoch"], checkpoint["global_step"]) == (best, 10 * (best + 1))
    kept.restore(module)
    for name, value in checkpoint["state_dict"].items():
        assert torch.equal(module.state_dict()[name], value)
    assert kept.best == pytest.approx(nelbo(module, make_data()), rel=1e-9)


def start_of(module: VAEModule) -> float:
    """val/nelbo of the weights before the first step, as the module itself remembers it."""
    assert module._at_start is not None
    return module._at_start["val/nelbo"]


def test_looking_at_the_start_changes_nothing_of_the_training(fit: Make) -> None:
    """No draw of the global stream, no gradient, no mode."""
    with_it, _, _ = fit(1e-2, BestInMemory())
    without, _, _ = fit(1e-2)
    for name, value in with_it.state_dict().items():
        assert torch.equal(value, without.state_dict()[name]), name


def test_patience_counts_from_the_start(fit: Make) -> None:
    _, _, trainer = fit(0.0, EarlyStopping("val/nelbo", patience=4), max_epochs=20)
    assert trainer.current_epoch == 4
    worse = EarlyStopping("val/nelbo", patience=3)
    module, _, trainer = fit(0.5, worse, max_epochs=20)
    assert trainer.current_epoch == 3
    assert float(worse.best_score) == start_of(module)


def test_without_validation_rows_there_is_no_start_to_keep(
    make_module: Make, make_data: Make, make_trainer: Make, tmp_path: Path
) -> None:
    module, saved = make_module(), BestCheckpoint(str(tmp_path))
    trainer = make_trainer(max_epochs=1, callbacks=[saved], enable_checkpointing=True)
    trainer.fit(module, BatchLoader(make_data().rows["train"], batch_size=10))
    assert module._at_start is None
    assert saved.best_model_score is None


def test_a_fit_that_goes_on_has_no_start(fit: Make, make_data: Make, make_trainer: Make, tmp_path: Path) -> None:
    saved = BestCheckpoint(str(tmp_path), save_last=True)
    module, _, _ = fit(1e-3, saved)
    again = BestCheckpoint(str(tmp_path), save_last=True)
    trainer = make_trainer(callbacks=[again], enable_checkpointing=True, max_epochs=4)
    other = VAEModule(module.model)
    trainer.fit(other, make_data(), ckpt_path=str(tmp_path / "last.ckpt"), weights_only=True)
    assert other._at_start is None
    assert again.best_model_score <= saved.best_model_score
