"""A saved estimator: the same numbers again, readable as a run, and nothing in it that could be executed."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from sklearn.base import clone

import vae_lightning
from tests.conftest import Run
from vae_lightning import VAEEstimator
from vae_lightning.cli.main import main
from vae_lightning.errors import ConfigError, RunError

pytestmark = pytest.mark.usefixtures("one_thread")
TINY: dict[str, Any] = {"latent_dim": 2, "hidden_dims": [8], "max_epochs": 4, "patience": 4, "random_state": 0}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    draws = np.random.default_rng(0)
    x = draws.normal(size=(120, 2)) @ draws.normal(size=(2, 4)) + 0.3 * draws.normal(size=(120, 4))
    return pd.DataFrame(x, columns=["a b", "ü", "c,d", "=1+1"]).assign(n=lambda rows: rows["ü"].round().astype(int))


@pytest.fixture(scope="module")
def fitted(frame: pd.DataFrame) -> VAEEstimator:
    return VAEEstimator(**TINY, prior={"name": "mixture", "num_components": 3}, beta=np.float64(0.5)).fit(frame)


@pytest.fixture
def saved(fitted: VAEEstimator, tmp_path: Path) -> Path:
    return fitted.save(tmp_path / "deep" / "model")


def test_every_answer_is_the_same_to_the_last_bit(saved: Path, fitted: VAEEstimator, frame: pd.DataFrame) -> None:
    again = VAEEstimator.load(saved)
    for method in ("transform", "score_samples"):
        np.testing.assert_array_equal(getattr(again, method)(frame), getattr(fitted, method)(frame))
    pd.testing.assert_frame_equal(again.sample(9, random_state=1), fitted.sample(9, random_state=1))
    assert again.model_.threshold(0.9) == fitted.model_.threshold(0.9)
    assert again.history_ == fitted.history_
    for name in ("n_iter_", "n_features_in_", "best_nelbo_", "warnings_"):
        assert getattr(again, name) == getattr(fitted, name)
    np.testing.assert_array_equal(again.feature_names_in_, fitted.feature_names_in_)
    assert again.get_params() == fitted.get_params()
    assert [figure.plot.name for figure in again.report().figures or ()] == ["terms"]


def test_a_loaded_one_can_be_fitted_cloned_pickled_and_saved_again(
    saved: Path, fitted: VAEEstimator, frame: pd.DataFrame, tmp_path: Path
) -> None:
    again = VAEEstimator.load(saved)
    twice = VAEEstimator.load(pickle.loads(pickle.dumps(again)).save(tmp_path / "twice"))
    np.testing.assert_array_equal(twice.score_samples(frame), fitted.score_samples(frame))
    np.testing.assert_array_equal(clone(again).fit(frame).transform(frame), fitted.transform(frame))


def test_an_array_gives_an_estimator_without_names(frame: pd.DataFrame, tmp_path: Path) -> None:
    again = VAEEstimator.load(VAEEstimator(**TINY).fit(frame.to_numpy()).save(tmp_path / "m"))
    assert not hasattr(again, "feature_names_in_")
    assert isinstance(again.sample(2), np.ndarray)


def test_it_is_a_run_directory(saved: Path, fitted: VAEEstimator, frame: pd.DataFrame) -> None:
    model = vae_lightning.load(saved)
    # In float32 where the estimator answers in float64.
    np.testing.assert_allclose(model.score(frame, kind="nll"), -fitted.score_samples(frame), rtol=1e-4, atol=1e-3)
    told = CliRunner().invoke(main, ["info", str(saved), "--json"])
    assert told.exit_code == 0, told.output
    assert "finished" not in json.loads(told.stdout)
    done = CliRunner().invoke(main, ["report", str(saved)])
    assert done.exit_code == 0, done.output
    page = (saved / "report.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 1
    assert "has not finished" not in page


def test_nothing_in_it_is_more_than_tensors_and_plain_values(saved: Path) -> None:
    assert {str(path.relative_to(saved)) for path in saved.rglob("*") if path.is_file()} == {
        "checkpoints/best.ckpt",
        "estimator.json",
        "metrics.csv",
        "valid_scores.csv",
    }
    content = torch.load(saved / "checkpoints" / "best.ckpt", weights_only=True)
    assert {type(value) for value in content["state_dict"].values()} == {torch.Tensor}


def test_saving_again_replaces_and_a_run_is_left_alone(
    saved: Path, fitted: VAEEstimator, frame: pd.DataFrame, gaussian_run: Run
) -> None:
    other = VAEEstimator(**{**TINY, "random_state": 1}).fit(frame)
    other.save(saved)
    np.testing.assert_array_equal(VAEEstimator.load(saved).transform(frame), other.transform(frame))
    before = (gaussian_run.run_dir / "checkpoints" / "best.ckpt").read_bytes()
    with pytest.raises(ConfigError, match=r"holds a model that no estimator saved\. Save this one to another"):
        fitted.save(gaussian_run.run_dir)
    assert (gaussian_run.run_dir / "checkpoints" / "best.ckpt").read_bytes() == before
    with pytest.raises(RunError, match=r"holds no saved estimator: expected .* vae_lightning\.load reads runs"):
        VAEEstimator.load(gaussian_run.run_dir)


def test_a_stream_of_random_numbers_cannot_be_saved(frame: pd.DataFrame, tmp_path: Path) -> None:
    vae = VAEEstimator(**{**TINY, "random_state": np.random.RandomState(0)}).fit(frame)
    with pytest.raises(ConfigError, match="Only parameters of plain values can be saved: RandomState"):
        vae.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


class Bomb:
    """What is executed where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("touch executed",)


def poison_checkpoint(directory: Path) -> None:
    content = torch.load(directory / "checkpoints" / "best.ckpt", weights_only=True)
    torch.save({**content, "bomb": Bomb()}, directory / "checkpoints" / "best.ckpt")


def rewrite(**changes: Any) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        about = json.loads((directory / "estimator.json").read_text())
        (directory / "estimator.json").write_text(json.dumps({**about, **changes}))

    return change


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).write_text(text) and None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (poison_checkpoint, "is damaged, or holds more than tensors and plain values"),
        (rewrite(parameters={"callback": {"_target_": "os.system"}}), "has a parameter 'callback'"),
        (rewrite(parameters={"__class__": "os.system"}), "has a parameter '__class__'"),
        (rewrite(parameters={"latent_dim": "os.system"}), "The 'latent_dim' parameter of VAEEstimator must be"),
        (rewrite(parameters={"prior": {"name": "os.system"}}), "The 'prior' parameter of VAEEstimator must be one of"),
        (rewrite(parameters=[1, 2]), r"estimator\.json cannot be read: it is damaged"),
        (rewrite(best_nelbo=None), r"estimator\.json cannot be read: it is damaged"),
        (write("estimator.json", "[" * 100_000), r"estimator\.json cannot be read: it is damaged"),
        (write("estimator.json", "nonsense"), r"estimator\.json cannot be read: it is damaged"),
        (write("metrics.csv", "epoch,val/nelbo\n0,__import__('os')\n"), r"metrics\.csv cannot be read: it is damaged"),
        (write("metrics.csv", ""), r"metrics\.csv holds no val/nelbo"),
        (write("valid_scores.csv", "a,b\n1,2\n"), r"valid_scores\.csv cannot be read"),
        (lambda directory: (directory / "checkpoints" / "best.ckpt").unlink(), "holds no checkpoint"),
    ],
)
def test_a_hostile_directory_is_one_sentence(
    saved: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None], says: str
) -> None:
    monkeypatch.chdir(saved)
    harm(saved)
    with pytest.raises((RunError, ConfigError), match=says):
        VAEEstimator.load(saved)
    assert not (saved / "executed").exists()


def test_a_likelihoods_options_choose_no_class(saved: Path, frame: pd.DataFrame) -> None:
    rewrite(parameters={"likelihood_options": {"_target_": "os.system"}})(saved)
    with pytest.raises(ValueError, match=r"There is no setting likelihood\._target_\."):
        VAEEstimator.load(saved).fit(frame)
