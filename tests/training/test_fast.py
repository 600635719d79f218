"""The fast path: taken where nobody can tell the difference, and nobody can."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import (
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
    Timer,
    WeightAveraging,
)
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau

from vae_lightning.training.checkpoints import AtomicCheckpointIO
from vae_lightning.training.csv_logger import EpochCSVLogger
from vae_lightning.training.module import VAEModule

Make = Callable[..., Any]


def equal(a: Any, b: Any) -> bool:
    """Equality down to the bits of tensors."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


@pytest.mark.parametrize(
    ("module_options", "trainer_options"),
    [
        ({"vae": {"dropout": 0.2, "normalization": "batch"}}, {"gradient_clip_val": 0.05}),
        (
            {"scheduler": partial(ExponentialLR, gamma=0.5)},
            {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
        ),
        ({"scheduler": partial(ReduceLROnPlateau, factor=0.1, patience=0), "likelihood": {"variance": "optimal"}}, {}),
        ({"optimizer": partial(torch.optim.LBFGS, lr=0.1, max_iter=2)}, {"num_sanity_val_steps": 1}),
    ],
    ids=["clipped norm", "scheduler, clipped value", "plateau, closed form", "closure called twice"],
)
def test_weights_numbers_and_steps_are_the_same_bit_for_bit(
    make_module: Make,
    make_data: Make,
    make_trainer: Callable[..., Trainer],
    tmp_path: Path,
    module_options: dict[str, Any],
    trainer_options: dict[str, Any],
) -> None:
    found = []
    for fast in (True, False):
        folder = tmp_path / str(fast)
        trainer = make_trainer(
            max_epochs=3,
            logger=EpochCSVLogger(folder),
            callbacks=[ModelCheckpoint(folder, "last", enable_version_counter=False)],
            enable_checkpointing=True,
            plugins=[AtomicCheckpointIO()],
            **trainer_options,
        )
        trainer.fit(make_module(fast=fast, **module_options), make_data())
        assert trainer.num_training_batches == (1 if fast else 10)
        checkpoint = torch.load(folder / "last.ckpt", weights_only=True)
        kept = {name: checkpoint[name] for name in ("state_dict", "optimizer_states", "lr_schedulers", "global_step")}
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        logged = {name: float(value) for name, value in trainer.logged_metrics.items()}
        found.append((kept, (folder / "metrics.csv").read_text(), metrics, logged, trainer.global_step))
    assert found[0][-1] == 30
    assert equal(found[0], found[1])


class Epochs(Callback):
    """Says that it does not look at steps."""

    takes_blocks = True


class Own(VAEModule):
    """May do anything in a step."""


def is_fast(trainer: Trainer, module: VAEModule, data: Any) -> bool:
    """Decided as a fit begins; what fits here has no time to train."""
    seen = []
    module.on_fit_start = lambda: seen.append(module.takes_blocks)  # type: ignore[method-assign]
    trainer.fit(module, data)
    assert not module.takes_blocks
    return bool(seen[0])


def test_it_is_taken_where_only_epochs_are_looked_at(
    make_module: Make, make_data: Make, make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    callbacks = [ModelCheckpoint(tmp_path), EarlyStopping("val/nelbo"), Epochs()]
    trainer = make_trainer(max_epochs=1, enable_checkpointing=True, enable_model_summary=True, callbacks=callbacks)
    assert is_fast(trainer, make_module(), make_data())


@pytest.mark.parametrize(
    "options",
    [
        {"limit_train_batches": 0.5},
        {"limit_train_batches": 3},
        {"val_check_interval": 0.5},
        {"val_check_interval": 5, "check_val_every_n_epoch": None},
        {"max_steps": 3},
        {"max_time": {"hours": 1}},
        {"overfit_batches": 1},
        {"fast_dev_run": True},
        {"accumulate_grad_batches": 2},
        {"precision": "64-true"},
        {"profiler": "simple"},
        {"enable_progress_bar": True},
        {"callbacks": [Callback()]},
        {"callbacks": [Timer()]},
        {"callbacks": [WeightAveraging()]},
        {"callbacks": [StochasticWeightAveraging(1e-3)]},
        {"callbacks": [GradientAccumulationScheduler({0: 2})]},
        {"callbacks": [LearningRateMonitor("step")], "logger": True},
    ],
    ids=lambda options: ", ".join(
        f"{name}={type(value[0]).__name__ if isinstance(value, list) else value}" for name, value in options.items()
    ),
)
def test_whatever_counts_or_watches_steps_gets_single_batches(
    make_module: Make,
    make_data: Make,
    make_trainer: Callable[..., Trainer],
    tmp_path: Path,
    options: dict[str, Any],
) -> None:
    assert not is_fast(make_trainer(max_epochs=1, default_root_dir=tmp_path, **options), make_module(), make_data())


def test_a_checkpoint_every_few_steps_a_subclass_and_other_rows_get_single_batches(
    make_module: Make, make_data: Make, make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    checkpoint = ModelCheckpoint(tmp_path, every_n_train_steps=5)
    watched = make_trainer(max_epochs=1, enable_checkpointing=True, callbacks=[checkpoint])
    assert not is_fast(watched, make_module(), make_data())
    assert not is_fast(make_trainer(max_epochs=1), make_module(Own), make_data())
    assert not is_fast(make_trainer(max_epochs=1), make_module(), torch.zeros(8, 3).split(4))


def test_one_setting_switches_it_off(train: Make, tmp_path: Path, quiet: None) -> None:  # noqa: ARG001
    runs = [train(tmp_path / word, f"trainer.fast={word}") for word in ("true", "false")]
    done = [run.checkpoint()["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"] for run in runs]
    assert done == [2, 2 * 5]
    assert (runs[0].run_dir / "metrics.csv").read_text() == (runs[1].run_dir / "metrics.csv").read_text()
    assert equal(runs[0].weights(), runs[1].weights())


@pytest.mark.parametrize("fast", ["true", "false"])
def test_a_resumed_run_misses_no_step_of_a_plateau_scheduler(
    train: Make,
    tmp_path: Path,
    quiet: None,  # noqa: ARG001
    fast: str,
) -> None:
    words = ["scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=1.0", f"trainer.fast={fast}"]
    whole = train(tmp_path / "whole", *words, "trainer.max_epochs=4")
    train(tmp_path / "parts", *words, "trainer.max_epochs=2")
    parts = train(tmp_path / "parts", *words, "trainer.max_epochs=4", f"resume={tmp_path / 'parts'}")
    assert len(set(whole.metrics["lr"])) > 2
    assert (whole.run_dir / "metrics.csv").read_text() == (parts.run_dir / "metrics.csv").read_text()
    assert equal(whole.weights(), parts.weights())
    assert equal(whole.checkpoint()["lr_schedulers"], parts.checkpoint()["lr_schedulers"])
