"""A LightningModule like any other: every loader, hook, setting, callback and logger, as its own users know it."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    DeviceStatsMonitor,
    EMAWeightAveraging,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelSummary,
    RichProgressBar,
    StochasticWeightAveraging,
    Timer,
    TQDMProgressBar,
    WeightAveraging,
    device_stats_monitor,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.tuner import Tuner
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from vae_lightning.data.batch import Batch
from vae_lightning.data.dataset import Dataset
from vae_lightning.data.seeds import stream_seed
from vae_lightning.errors import ConfigError, DataError, RunError
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.iwae import IWAE
from vae_lightning.runs.loading import load
from vae_lightning.training.csv_logger import EpochCSVLogger
from vae_lightning.training.module import VAEModule

Make = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="session")
def rows(dataset: Dataset) -> Tensor:
    """The training rows, data units, float32."""
    return torch.from_numpy(dataset.train.x).float()


# --- loaders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "as_loader",
    [
        lambda x, _: DataLoader(x, 10),
        lambda x, _: DataLoader(x.double(), 10),
        lambda x, _: DataLoader(TensorDataset(x), 10),
        lambda x, _: DataLoader(TensorDataset(x, torch.arange(len(x))), 10),
        lambda x, _: DataLoader([(part, "not a number") for part in x.split(10)], batch_size=None, collate_fn=tuple),
        lambda x, scaling: DataLoader([Batch(part) for part in scaling.transform(x).split(10)], batch_size=None),
    ],
    ids=["tensor", "float64", "TensorDataset", "labels", "tuples", "Batch"],
)
def test_any_loader_trains(make_module: Make, make_trainer: Make, rows: Tensor, as_loader: Make) -> None:
    module, trainer = make_module(optimizer=partial(torch.optim.Adam, lr=0.02)), make_trainer(max_epochs=4)
    loader = as_loader(rows, module.model.scaling)
    (before,) = trainer.validate(module, loader, verbose=False)
    trainer.fit(module, loader, loader)
    after = float(trainer.callback_metrics["val/nelbo"])
    assert after < before["val/nelbo"] - 0.1
    assert after == pytest.approx(trained_by_hand(make_module, rows, 4), rel=1e-5)


def trained_by_hand(make_module: Make, rows: Tensor, epochs: int) -> float:
    """The validation NELBO after a loop without Lightning that draws the same noise."""
    module = make_module()
    vae, batches = module.vae, DataLoader(module.model.scaling.transform(rows), 10)
    optimizer = torch.optim.Adam(vae.parameters(), lr=0.02)
    first = iter(batches)
    for epoch in range(epochs):
        torch.manual_seed(stream_seed(0, "noise", epoch, 0))
        for x in batches if epoch else first:  # a DataLoader draws a seed as it begins
            optimizer.zero_grad()
            vae(Batch(x), vae.noise(1, len(x))).nelbo.mean().backward()
            optimizer.step()
    return module.eval().measure(map(Batch, batches))["nelbo"]


def test_a_loader_of_something_else_and_values_outside_the_support_are_refused(make_trainer: Make) -> None:
    module = VAEModule(VAE(Bernoulli(3), 1, [4]))
    with pytest.raises(DataError, match=r"must yield tensors, tuples that .* Got dict instead"):
        make_trainer().fit(module, DataLoader([{"x": torch.zeros(3)}]))
    with pytest.raises(DataError, match=r"do not fit the bernoulli likelihood.*1 of 12 values.* column 'x1'"):
        make_trainer().fit(module, DataLoader(torch.eye(8, 3) * torch.tensor([1.0, 2.5, 1.0]), 4))


# --- subclasses and hooks --------------------------------------------------------------------------------------------


class Sparse(VAEModule):
    """Overrides the step by the usual contract."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.seen = [*getattr(self, "seen", []), batch_idx]
        return super().training_step(batch, batch_idx) + 1e-3 * self.vae.output.weight.abs().sum()


class Deeper(VAEModule):
    """Adds a layer whose gradient is 1 at every step."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.extra = nn.Linear(1, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx) + self.extra(self(batch)[:, :1]).mean()


def test_a_subclass_overrides_the_step(make_module: Make, make_data: Make, make_trainer: Make) -> None:
    module, trainer = make_module(Sparse), make_trainer()
    trainer.fit(module, make_data())
    assert module.seen == [*range(10)] * 2
    assert trainer.global_step == 20


def test_the_layer_that_a_subclass_adds_is_trained_as_the_rest(
    make_module: Make, make_data: Make, make_trainer: Make
) -> None:
    module = make_module(Deeper, optimizer=partial(torch.optim.SGD, lr=0.01))
    before = float(module.extra.bias.detach())
    make_trainer().fit(module, make_data())
    assert float(module.extra.bias.detach()) == pytest.approx(before - 0.01 * 20, abs=1e-6)


class Watcher(Callback):
    """Notes what happens at each hook."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.rows: list[int] = []
        self.zeroed = self.validated = 0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        self.losses.append(float(outputs["loss"]))
        self.rows.append(batch.num_rows)

    def on_before_zero_grad(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:  # noqa: ARG002
        self.zeroed += 1

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        self.validated += 1


def test_hooks_are_called_once_a_batch_with_the_loss(make_module: Make, make_data: Make, make_trainer: Make) -> None:
    watcher, module = Watcher(), make_module()
    trainer = make_trainer(max_epochs=1, callbacks=[watcher])
    trainer.fit(module, make_data(batch_size=16))
    assert watcher.rows == [16, 16, 16, 16, 16, 16, 4]
    assert watcher.losses == [float(step.terms[0]) for step in module.steps]
    assert watcher.zeroed == trainer.global_step == 7


# --- settings of the trainer -----------------------------------------------------------------------------------------


def test_gradients_are_clipped(make_module: Make, make_data: Make, make_trainer: Make) -> None:
    module = make_module(optimizer=partial(torch.optim.SGD, lr=1.0))
    before = torch.cat([p.detach().flatten().clone() for p in module.parameters()])
    make_trainer(max_steps=1, gradient_clip_val=0.01).fit(module, make_data())
    after = torch.cat([p.detach().flatten() for p in module.parameters()])
    assert float((after - before).norm()) == pytest.approx(0.01, rel=1e-3)


def test_accumulated_batches_are_one_step(make_module: Make, make_data: Make, make_trainer: Make) -> None:
    module, trainer = make_module(), make_trainer(accumulate_grad_batches=2)
    trainer.fit(module, make_data())
    assert trainer.global_step == 10
    assert len(module.steps) == 10


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed", "16-mixed"])
def test_other_precisions_give_the_same_nats(
    make_module: Make, make_data: Make, make_trainer: Make, precision: str
) -> None:
    found = {}
    for name in ("32-true", precision):
        trainer = make_trainer(precision=name, max_epochs=3)
        module = make_module(optimizer=partial(torch.optim.Adam, lr=0.005), objective=IWAE(2))
        trainer.fit(module, make_data())
        (tested,) = trainer.test(module, make_data(), verbose=False)
        (codes,) = trainer.predict(module, make_data())
        assert codes.dtype == module.vae.output.weight.dtype
        found[name] = tested["test/nelbo"]
    assert codes.dtype == (torch.float64 if precision == "64-true" else torch.float32)
    assert found[precision] == pytest.approx(found["32-true"], abs=0.1)


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_weights_of_sixteen_bits_are_refused_in_one_line(
    make_module: Make, make_data: Make, make_trainer: Make, train: Make, tmp_path: Path, precision: str
) -> None:
    says = f"The 'precision' parameter of Trainer must be one of 32-true, .* Got '{precision}' instead"
    with pytest.raises(ConfigError, match=says):
        make_trainer(precision=precision).fit(make_module(), make_data())
    with pytest.raises(ConfigError, match=says):
        train(tmp_path, f"trainer.precision={precision}")


def test_train_py_trains_in_sixty_four_bits(train: Make, tmp_path: Path) -> None:
    figures = {"_target_": "vae_lightning.reporting.figures.callback.Figures", "dirpath": str(tmp_path / "figures")}
    run = train(tmp_path, "trainer.precision=64-true", figures={**figures, "every_n_epochs": 1, "share": 1.0})
    assert {value.dtype for name, value in run.weights().items() if ".vae." in name} == {torch.float64}
    assert math.isfinite(run.summary["test"]["nll"])


@pytest.mark.parametrize(
    ("options", "steps", "validations"),
    [
        ({"limit_train_batches": 0.1}, 5, 1),
        ({"limit_train_batches": 0.5}, 25, 1),
        ({"limit_train_batches": 7}, 7, 1),
        ({"val_check_interval": 0.1}, 50, 10),
        ({"val_check_interval": 0.5}, 50, 2),
        ({"max_steps": 13}, 13, 0),
        ({"overfit_batches": 4}, 4, 1),
        ({"limit_val_batches": 0}, 50, 0),
        ({"check_val_every_n_epoch": 3}, 50, 0),
        ({"check_val_every_n_epoch": None, "val_check_interval": 20}, 50, 2),
        ({"fast_dev_run": 3}, 3, 1),
    ],
    ids=str,
)
def test_counts_are_exact(
    make_module: Make, make_data: Make, make_trainer: Make, options: dict[str, Any], steps: int, validations: int
) -> None:
    watcher, module = Watcher(), make_module()
    trainer = make_trainer(max_epochs=1, callbacks=[watcher], **options)
    trainer.fit(module, make_data(batch_size=2))
    assert (trainer.global_step, watcher.validated) == (steps, validations)
    assert len(module.steps) == len(watcher.losses) == steps


def test_a_checkpoint_every_five_steps(make_module: Make, make_data: Make, make_trainer: Make, tmp_path: Path) -> None:
    every = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=5, save_top_k=-1)
    trainer = make_trainer(max_epochs=1, callbacks=[every], enable_checkpointing=True)
    trainer.fit(make_module(), make_data(batch_size=2))
    saved = [torch.load(path, weights_only=True)["global_step"] for path in tmp_path.glob("*.ckpt")]
    assert sorted(saved) == [*range(5, 51, 5)]


@pytest.mark.parametrize(
    ("words", "validated"),
    [
        (["trainer.check_val_every_n_epoch=3", "scheduler=plateau"], [2]),
        (["trainer.limit_val_batches=0", "scheduler=plateau"], []),
        (["trainer.val_check_interval=0.4"], [0, 1, 2, 3]),
        (["trainer.max_steps=13", "callbacks.best=null"], [0, 1]),
        (["callbacks=none"], [0, 1, 2, 3]),
    ],
    ids=str,
)
def test_the_summary_is_true_of_the_weights_kept(
    train: Make, tmp_path: Path, words: list[str], validated: list[int]
) -> None:
    run = train(tmp_path, "trainer.max_epochs=4", "optimizer.lr=0.1", *words)
    metrics = run.metrics
    seen = metrics.index[metrics["val/nelbo"].notna()].tolist() if "val/nelbo" in metrics else []
    assert seen == validated
    assert math.isfinite(run.value)
    if words == ["callbacks=none"]:
        assert run.value == pytest.approx(metrics["val/nelbo"].iloc[-1])
        return
    from vae_lightning.config.build import build

    built = build(run.settings)
    module = VAEModule(load(tmp_path), seed=run.settings.seed).eval()
    assert module.measure(built.datamodule.rows["valid"].batches())["nelbo"] == pytest.approx(run.value, rel=1e-6)
    assert run.summary["val/nelbo"] == run.value


def test_a_profile_is_shown(train: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, "trainer.profiler=simple")
    assert "run_training_batch" in capsys.readouterr().out


# --- numbers and checkpoints -----------------------------------------------------------------------------------------


def test_validate_test_and_predict_give_numbers_without_a_fit(
    make_module: Make, make_data: Make, make_trainer: Make, dataset: Dataset
) -> None:
    module, trainer, data = make_module(), make_trainer(), make_data()
    (validated,) = trainer.validate(module, data, verbose=False)
    (tested,) = trainer.test(module, data, verbose=False)
    assert validated["val/nelbo"] == pytest.approx(validated["val/reconstruction"] + validated["val/kl"])
    assert {name.partition("/")[2] for name in validated} == {name.partition("/")[2] for name in tested}
    (codes,) = trainer.predict(module, data)
    expected = module.model.encode(dataset.test.x)
    np.testing.assert_allclose(codes.numpy(), expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(module.eval()(torch.from_numpy(dataset.test.x)), codes)


def test_a_checkpoint_of_train_py_is_loaded_without_a_word(train: Make, make_trainer: Make, tmp_path: Path) -> None:
    run = train(tmp_path, "objective=iwae", "objective.num_samples=3", "seed=5", "model.hidden_dims=[7]")
    path = tmp_path / "checkpoints" / "best.ckpt"
    for of in (VAEModule, Deeper):  # the latter takes whatever it is given
        again = of.load_from_checkpoint(path, strict=of is VAEModule)
        assert type(again) is of
        assert (again.seed, again.objective) == (5, IWAE(3))
        for name, value in run.weights("best").items():
            torch.testing.assert_close(again.state_dict()[name], value)
    x = torch.randn(4, 4)
    np.testing.assert_allclose(again.eval()(x).detach(), load(tmp_path).encode(x.numpy()), rtol=1e-5, atol=1e-6)
    make_trainer().fit(again, DataLoader(x, 2))


def test_a_module_made_by_hand_is_loaded_into_a_model(
    make_module: Make, make_data: Make, make_trainer: Make, tmp_path: Path
) -> None:
    module, trainer = make_module(seed=3), make_trainer()
    trainer.fit(module, make_data())
    trainer.save_checkpoint(tmp_path / "mine.ckpt")
    with pytest.raises(RunError, match=r"put together by hand.* model=\.\.\."):
        VAEModule.load_from_checkpoint(tmp_path / "mine.ckpt")
    again = VAEModule.load_from_checkpoint(tmp_path / "mine.ckpt", model=make_module().model)
    assert again.seed == 3
    for name, value in module.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("it ran",)


def test_a_strangers_checkpoint_runs_no_code(train: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = train(tmp_path / "run").checkpoint()
    torch.save({**content, "code": Code()}, tmp_path / "theirs.ckpt")
    capsys.readouterr()
    with pytest.raises(RunError, match="holds more than tensors and plain values"):
        VAEModule.load_from_checkpoint(tmp_path / "theirs.ckpt", weights_only=False)
    assert "it ran" not in capsys.readouterr().out


# --- loggers ---------------------------------------------------------------------------------------------------------


class Noting(DummyLogger):
    """A logger of somebody's own."""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
        self.params = dict(params)


def test_settings_reach_every_logger_by_the_names_of_the_command_line(
    make_module: Make, make_data: Make, make_trainer: Make, tmp_path: Path
) -> None:
    noting, csv = Noting(), CSVLogger(tmp_path, "csv", "")
    board = TensorBoardLogger(tmp_path, "board", "", default_hp_metric=False)
    trainer = make_trainer(max_epochs=1, logger=[noting, csv, board], default_root_dir=tmp_path)
    trainer.fit(make_module(objective=IWAE(2), seed=4), make_data())
    expected = {"likelihood.name": "gaussian", "objective.name": "iwae", "objective.num_samples": 2, "seed": 4}
    assert expected.items() <= noting.params.items()
    for name in ("csv", "board"):
        text = (tmp_path / name / "hparams.yaml").read_text()
        assert "likelihood.name: gaussian" in text
        assert "objective.num_samples: 2" in text


def test_those_of_a_run_are_its_record(train: Make, tmp_path: Path) -> None:
    run = train(tmp_path, "logger=csv", "model.dropout=0.25", "trainer.max_epochs=1")
    hparams = VAEModule.load_from_checkpoint(tmp_path / "checkpoints" / "last.ckpt").hparams
    assert hparams["model.dropout"] == 0.25
    assert hparams["optimizer.lr"] == 0.01
    assert hparams["data.fingerprint"] == run.summary["data"]["fingerprint"]


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_what_monitors_log_lands_in_metrics_csv(
    make_module: Make,
    make_data: Make,
    make_trainer: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    interval: str,
) -> None:
    monkeypatch.setattr(device_stats_monitor, "_PSUTIL_AVAILABLE", True)
    monkeypatch.setattr(CPUAccelerator, "get_device_stats", lambda *_: {"cpu_percent": 12.5})
    callbacks = [LearningRateMonitor(interval), DeviceStatsMonitor()]
    trainer = make_trainer(logger=EpochCSVLogger(tmp_path), callbacks=callbacks, log_every_n_steps=1)
    halving = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    trainer.fit(make_module(scheduler=halving), make_data())
    metrics = pd.read_csv(tmp_path / "metrics.csv")
    assert metrics["lr-Adam"].tolist() == [1e-3, 5e-4]
    assert metrics["lr"].tolist() == [1e-3, 5e-4]
    assert metrics["step"].tolist() == [10, 20]
    assert metrics["DeviceStatsMonitor.on_train_batch_end/cpu_percent"].tolist() == [12.5, 12.5]


def test_mlflow_is_one_word(train: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="logger=mlflow needs the extra mlflow")
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)  # mlflow keeps a relative one for as long as the process lives
    run = train(tmp_path / "run", "logger=mlflow", "trainer.max_epochs=3", "model.start=zero")
    client = tracking.MlflowClient(store)
    (experiment,) = [one for one in client.search_experiments() if one.name == "vae_lightning"]
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.info.status == "FINISHED"
    assert logged.data.params["likelihood.name"] == "gaussian"
    assert logged.data.metrics["test/nll"] == pytest.approx(run.summary["test"]["nll"])
    history = client.get_metric_history(logged.info.run_id, "val/nelbo")
    assert len(history) == 3
    assert min(entry.value for entry in history) == pytest.approx(run.value)


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_logger_whose_package_is_missing_says_so(
    train: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import lightning.pytorch.loggers as loggers

    monkeypatch.setattr(getattr(loggers, name), f"_{name.upper()}_AVAILABLE", False)
    with pytest.raises(ConfigError, match=rf"logger\.{name} cannot be built"):
        train(tmp_path, f"logger={name}")


# --- callbacks and tools of Lightning's ------------------------------------------------------------------------------


def test_weight_averaging_averages(make_module: Make, make_data: Make, make_trainer: Make) -> None:
    moved = {}
    for callback in (None, WeightAveraging(), EMAWeightAveraging(decay=0.9), StochasticWeightAveraging(0.1, 0.5)):
        module = make_module(optimizer=partial(torch.optim.SGD, lr=0.1))
        make_trainer(max_epochs=4, callbacks=[callback] if callback else []).fit(module, make_data())
        assert all(torch.isfinite(value).all() for value in module.state_dict().values())
        moved[type(callback).__name__] = module.vae.output.bias.detach().clone()
    assert len({tuple(value.tolist()) for value in moved.values()}) == 4


def test_the_learning_rate_finder_finds_through_lr(make_module: Make, make_data: Make, make_trainer: Make) -> None:
    module = make_module()
    trainer = make_trainer(max_epochs=1)
    found = Tuner(trainer).lr_find(module, datamodule=make_data(batch_size=2), num_training=30, update_attr=True)
    assert found.suggestion() == module.lr != 1e-3
    assert module.configure_optimizers().param_groups[0]["lr"] == module.lr


def test_finders_as_callbacks_leave_a_run_as_long_as_it_was(
    make_module: Make, make_data: Make, make_trainer: Make, tmp_path: Path
) -> None:
    data, module = make_data(batch_size=2), make_module()
    finders = [BatchSizeFinder("power", max_trials=2, steps_per_trial=1), LearningRateFinder(num_training_steps=20)]
    trainer = make_trainer(max_epochs=1, callbacks=finders, default_root_dir=tmp_path)
    trainer.fit(module, data)
    assert data.batch_size == 4
    assert trainer.global_step == math.ceil(100 / data.batch_size)
    assert module.lr != 1e-3


@pytest.mark.parametrize("bar", [TQDMProgressBar, RichProgressBar])
def test_other_bars_count_batches(make_module: Make, make_data: Make, make_trainer: Make, bar: type) -> None:
    shown = bar(leave=True)
    make_trainer(callbacks=[shown], enable_progress_bar=True).fit(make_module(), make_data())
    assert shown.total_train_batches == 10


def test_timers_summaries_and_anomaly_detection(
    make_module: Make, make_data: Make, make_trainer: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    timer = Timer()
    make_trainer(callbacks=[timer, ModelSummary(2)], detect_anomaly=True, enable_model_summary=True).fit(
        make_module(), make_data()
    )
    assert timer.time_elapsed("train") > 0
    over = make_trainer(max_epochs=-1, max_time={"seconds": 0})
    over.fit(make_module(), make_data())
    assert over.global_step <= 1
    capsys.readouterr()


def test_the_sanity_check_leaves_no_numbers(
    make_module: Make, make_data: Make, make_trainer: Make, tmp_path: Path
) -> None:
    for fast in (True, False):
        folder = tmp_path / str(fast)
        trainer = make_trainer(max_epochs=1, num_sanity_val_steps=2, logger=EpochCSVLogger(folder))
        trainer.fit(make_module(fast=fast), make_data())
        assert len(pd.read_csv(folder / "metrics.csv")) == 1


def test_a_compiled_module_trains_the_same(make_module: Make, make_data: Make, make_trainer: Make) -> None:
    found = []
    for compiled in (False, True):
        module = make_module()
        trainer = make_trainer(max_steps=3)
        trainer.fit(torch.compile(module, backend="eager") if compiled else module, make_data())
        found.append(torch.cat([p.detach().flatten() for p in module.parameters()]))
    torch.testing.assert_close(*found)
