"""Runs on normal scores: every number in data units, though what a density gains differs from row to row."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from vae_lightning import load

Train = Callable[..., Any]
GAUSSIANIZE = "data.preprocess=gaussianize"
COVARIANCE = np.array([[1.0, 0.6, -0.3], [0.6, 0.8, 0.0], [-0.3, 0.0, 0.5]])
MEAN = np.array([1.0, -2.0, 8.0])
SHORT = ["trainer.max_epochs=3", "test.num_samples=200"]


def log_normal_rows(num_rows: int, seed: int) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).multivariate_normal(MEAN, COVARIANCE, num_rows))


def entropy() -> float:
    """Of such a row: that of the normal, and the mean of log |dx/du| = the sum of the means of log x."""
    return 0.5 * np.linalg.slogdet(2 * math.pi * math.e * COVARIANCE)[1] + MEAN.sum()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    pd.DataFrame(log_normal_rows(6000, 0), columns=["a", "b", "c"]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def runs(train: Train, table: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("runs")
    words = ["data=table", f"data.path={table}", "likelihood=gaussian", *SHORT]
    return {kind: train(root / kind, *words, f"data.preprocess={kind}") for kind in ("gaussianize", "standardize")}


def test_the_nll_is_the_entropy_where_the_map_makes_the_rows_normal(runs: dict[str, Any]) -> None:
    test = runs["gaussianize"].summary["test"]
    assert abs(test["nll"] - entropy()) < 2 * test["nll_standard_error"]
    other = runs["standardize"].summary["test"]
    assert other["nll"] - test["nll"] > 1
    measures = [run.summary["reference_measure"] for run in runs.values()]
    assert measures == [{"kind": "density", "rows": None}] * 2


def test_every_number_of_a_run_is_in_the_same_units(runs: dict[str, Any]) -> None:
    """Of single rows, of columns, of the table, and of the control beside it."""
    run = runs["gaussianize"]
    model, test, x = load(run.run_dir), run.summary["test"], log_normal_rows(400, 1)
    truth = entropy()
    scores = {kind: model.score(x, kind).mean() for kind in ("elbo", "nll")}
    assert -model.log_prob(x, 200).mean() == pytest.approx(scores["nll"], abs=0.02)
    assert scores["elbo"] == pytest.approx(truth, abs=0.4)
    by_column = model.score_by_column(x)
    np.testing.assert_allclose(
        by_column.drop(columns="anomaly_score").sum(axis=1), by_column["anomaly_score"], rtol=1e-9
    )
    assert test["control"] == pytest.approx(truth, abs=3 * test["nll_standard_error"])
    variances = np.diag(COVARIANCE)
    independent = (0.5 * np.log(2 * math.pi * math.e * variances) + MEAN).sum()
    assert test["baseline"] == pytest.approx(independent, abs=3 * test["nll_standard_error"])
    metrics = run.metrics.iloc[-1]
    assert metrics["val/nelbo"] == pytest.approx(truth, abs=0.4)
    assert metrics["train/nelbo"] == pytest.approx(truth, abs=0.4)
    assert model.loss_floor() < test["entropy_floor"] < test["nll"]


def test_rows_density_is_that_of_the_scores_times_the_slopes(runs: dict[str, Any]) -> None:
    """By differences of the map itself, far from any formula for its slope."""
    model, x = load(runs["gaussianize"].run_dir), torch.from_numpy(log_normal_rows(50, 2))
    step = 1e-6 * x
    slopes = (model.scaling.scores(x + step) - model.scaling.scores(x - step)) / (2 * step)
    batch = model.model_units(x.numpy())
    torch.testing.assert_close(model.log_abs_det(batch), slopes.log().sum(1), rtol=1e-4, atol=1e-4)
    mask = torch.rand(batch.x.shape) < 0.5
    gained = torch.where(mask, slopes.log(), 0.0).sum(1)
    torch.testing.assert_close(model.log_abs_det(batch._replace(mask=mask)), gained, rtol=1e-4, atol=1e-4)


def test_draws_keep_to_the_training_values_and_to_their_distribution(runs: dict[str, Any], table: Path) -> None:
    draws, rows = load(runs["gaussianize"].run_dir).sample(4000, seed=0), pd.read_csv(table)
    assert (draws.min() >= rows.min()).all()
    assert (draws.max() <= rows.max()).all()
    for name in rows:
        levels = np.linspace(0.05, 0.95, 19)
        np.testing.assert_allclose(np.log(draws[name].quantile(levels)), np.log(rows[name].quantile(levels)), atol=0.12)


def test_training_and_validation_measure_the_same_rows_alike(train: Train, table: Path, tmp_path: Path) -> None:
    """Training adds the mean of the slopes over its rows, validation those of each row."""
    words = ["data=table", *(f"data.{part}={table}" for part in ("path", "valid_path", "test_path")), GAUSSIANIZE]
    metrics = train(tmp_path, *words, "likelihood=gaussian", "optimizer.lr=0", "model.start=zero", *SHORT).metrics
    for term in ("nelbo", "reconstruction"):
        np.testing.assert_allclose(metrics[f"train/{term}"], metrics[f"val/{term}"], atol=1e-4)


def test_a_resumed_run_ends_bit_equal_to_an_unbroken_one(train: Train, runs: dict[str, Any], tmp_path: Path) -> None:
    words = ["data=table", f"data.path={runs['gaussianize'].config['data']['path']}", "likelihood=gaussian", *SHORT]
    stop = {
        "_target_": "lightning.pytorch.callbacks.LambdaCallback",
        "on_train_epoch_start": lambda trainer, _: 1 / (2 - trainer.current_epoch),
    }
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, *words, GAUSSIANIZE, stop=stop)
    torn, whole = train(tmp_path, *words, GAUSSIANIZE, f"resume={tmp_path}"), runs["gaussianize"]
    assert torn.summary["test"] == whole.summary["test"]
    pd.testing.assert_frame_equal(whole.metrics, torn.metrics, check_exact=True)
