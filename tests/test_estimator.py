"""The scikit-learn face: scikit-learn's own checks, closed forms, and a process left as it was found."""

import logging
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import Parallel, delayed
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import vae_lightning
from vae_lightning import VAEEstimator
from vae_lightning.data.store import RowsInMemory
from vae_lightning.doctor.runs.trained import Trained, examine_model
from vae_lightning.errors import ConfigError, DataError, RunError
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.runs.fitting import _flushes_denormal

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).parents[1]
TINY: dict[str, Any] = {"latent_dim": 2, "hidden_dims": (8,), "max_epochs": 3, "random_state": 0}


def factors(num_rows: int, seed: int = 0) -> np.ndarray:
    """Rows of two factors in five columns, each column with noise of its own, in units of their own."""
    truth, draws = np.random.default_rng(7), np.random.default_rng([seed, 1])
    weight, noise, scale = truth.normal(size=(2, 5)), truth.uniform(0.3, 0.8, 5), 10.0 ** truth.uniform(-2, 2, 5)
    rows: np.ndarray = (draws.normal(size=(num_rows, 2)) @ weight + noise * draws.normal(size=(num_rows, 5))) * scale
    return rows


def curve(num_rows: int) -> np.ndarray:
    """Rows along a curve in five columns, which two factors cannot follow."""
    draws = np.random.default_rng(5)
    t = draws.uniform(-2, 2, num_rows)
    rows: np.ndarray = np.stack([t, t**2, t**3, np.sin(3 * t), np.cos(3 * t)], 1) + 0.1 * draws.normal(
        size=(num_rows, 5)
    )
    return rows


def linked_bits(num_rows: int, seed: int = 0) -> np.ndarray:
    """Six bits, three each that a hidden one decides."""
    draws = np.random.default_rng([seed, 9])
    hidden = draws.integers(0, 2, (num_rows, 2)).repeat(3, axis=1)
    chances = np.where(hidden, [0.1, 0.2, 0.9, 0.2, 0.3, 0.9], [0.8, 0.7, 0.3, 0.9, 0.9, 0.4])
    bits: np.ndarray = (draws.random((num_rows, 6)) < chances).astype(float)
    return bits


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return factors(120)


@pytest.fixture(scope="module")
def frame(rows: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list("abcde"), index=[f"row{i}" for i in range(len(rows))])


@pytest.fixture(scope="module")
def fitted(rows: np.ndarray) -> VAEEstimator:
    return VAEEstimator(**TINY).fit(rows)


# --- scikit-learn's checks -------------------------------------------------------------------------------------------


@parametrize_with_checks([VAEEstimator(max_epochs=2)])
def test_scikit_learn_finds_nothing_wrong(estimator: VAEEstimator, check: Callable[[VAEEstimator], None]) -> None:
    check(estimator)


def test_the_check_that_wants_a_switched_on_array_api_passes_too() -> None:
    code = """
from sklearn.utils.estimator_checks import estimator_checks_generator
from vae_lightning import VAEEstimator
for one, check in estimator_checks_generator(VAEEstimator(max_epochs=2)):
    if check.func.__name__ == "check_array_api_input":
        check(one)
        print("passed")
"""
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.stdout == "passed\n", done.stderr


@pytest.mark.parametrize("name", ["check_fit_idempotent", "check_methods_subset_invariance"])
def test_the_defaults_pass_as_well(name: str) -> None:
    found = [(one, check) for one, check in estimator_checks_generator(VAEEstimator()) if check.func.__name__ == name]
    assert found
    for one, check in found:
        check(one)


def test_it_is_a_public_name_that_is_imported_when_it_is_asked_for() -> None:
    assert "VAEEstimator" in vae_lightning.__all__
    code = "import sys, vae_lightning; assert 'sklearn' not in sys.modules and 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


# --- pipelines, searches, frames -------------------------------------------------------------------------------------


def test_a_search_over_a_pipeline_finds_what_helps_and_refits() -> None:
    rows = curve(120)  # of what factor analysis can follow, the start is the best of both
    pipeline = make_pipeline(StandardScaler(), VAEEstimator(**{**TINY, "max_epochs": 40, "learning_rate": 0.03}))
    grid = {"vaeestimator__beta": [1.0, 1000.0], "vaeestimator__latent_dim": np.array([2])}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(rows)
    assert search.best_params_["vaeestimator__beta"] == 1
    assert search.transform(rows).shape == (120, 2)
    assert search.score(rows) == pytest.approx(search.best_estimator_.score(rows))
    assert search.inverse_transform(search.transform(rows)).shape == rows.shape


def test_frames_keep_their_names_and_index(frame: pd.DataFrame) -> None:
    vae = VAEEstimator(**TINY).set_output(transform="pandas").fit(frame)
    codes = vae.transform(frame)
    assert list(codes.columns) == list(vae.get_feature_names_out()) == ["z0", "z1"]
    pd.testing.assert_index_equal(codes.index, frame.index)
    assert list(vae.feature_names_in_) == list("abcde") == [column.name for column in vae.model_.columns]
    np.testing.assert_array_equal(vae.inverse_transform(codes), vae.inverse_transform(codes.to_numpy()))
    with pytest.raises(ValueError, match="feature names"):
        vae.transform(frame[list("edcba")])


def test_a_frame_and_its_numbers_give_the_same_model(frame: pd.DataFrame, fitted: VAEEstimator) -> None:
    vae = VAEEstimator(**TINY).fit(frame)
    np.testing.assert_array_equal(vae.transform(frame), fitted.transform(frame.to_numpy()))
    np.testing.assert_array_equal(vae.score_samples(frame), fitted.score_samples(frame.to_numpy()))


def test_samples_are_rows_of_the_kind_that_was_fitted(rows: np.ndarray, fitted: VAEEstimator) -> None:
    table = pd.DataFrame({"age": rows[:, 0].round().astype(int), "weight": rows[:, 1], "pet": rows[:, 2] > 0})
    sample = VAEEstimator(**TINY).fit(table).sample(7, random_state=0)
    assert sample.dtypes.to_dict() == table.dtypes.to_dict()
    assert len(sample) == 7
    assert isinstance(fitted.sample(7), np.ndarray)
    np.testing.assert_array_equal(fitted.sample(3, random_state=1), fitted.sample(3, random_state=1))
    assert not np.array_equal(fitted.sample(3), fitted.sample(3))


def test_a_clone_is_unfitted_and_a_pickle_is_the_same_model(rows: np.ndarray, fitted: VAEEstimator) -> None:
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    for method in ("transform", "inverse_transform", "score_samples", "score", "sample", "get_feature_names_out"):
        with pytest.raises(NotFittedError):
            getattr(copy, method)(*([] if method in ("sample", "get_feature_names_out") else [rows]))
    again = pickle.loads(pickle.dumps(fitted))
    for method in ("transform", "score_samples"):
        np.testing.assert_array_equal(getattr(again, method)(rows), getattr(fitted, method)(rows))
    np.testing.assert_array_equal(again.sample(5, random_state=0), fitted.sample(5, random_state=0))
    assert again.model_.threshold() == fitted.model_.threshold()


# --- what it learns --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variance", "truth"), [("per_column", FactorAnalysis(2)), ("shared", PCA(2))], ids=["factor analysis", "PCA"]
)
def test_a_linear_model_reaches_the_maximum_likelihood(variance: str, truth: Any) -> None:
    """A linear VAE is factor analysis, or with one variance probabilistic PCA (Tipping & Bishop 1999)."""
    scale = factors(4000).std(0)
    train, test = factors(4000) / scale, factors(2000, seed=1) / scale
    vae = VAEEstimator(
        likelihood_options={"variance": variance},
        latent_dim=2,
        hidden_dims=(),
        preprocess="none",
        learning_rate=0.01,
        batch_size=128,
        max_epochs=40,
        random_state=0,
    ).fit(train)
    # 0.05 nats: the sampling error of some twenty parameters that 3,600 rows and 4,000 rows decide alike.
    assert vae.score(test) == pytest.approx(truth.fit(train).score(test), abs=0.05)
    drawn = np.cov(vae.sample(20_000, random_state=0).T)
    np.testing.assert_allclose(drawn, np.cov(train.T), atol=0.1 if variance == "per_column" else 0.25)


def test_a_density_changes_with_the_units_of_its_rows_by_their_logarithm(
    rows: np.ndarray, fitted: VAEEstimator
) -> None:
    scale = np.array([2.0, 0.5, 8.0, 4.0, 0.25])  # powers of two, so that rounding changes nothing
    other = VAEEstimator(**TINY).fit(rows * scale)
    np.testing.assert_allclose(other.score_samples(rows * scale), fitted.score_samples(rows) - np.log(scale).sum())


def test_planted_outliers_are_found() -> None:
    train, normal = factors(600), factors(300, seed=1)
    # Each value is usual in its column, and no two of a row belong together.
    shuffled = np.stack([np.random.default_rng(i).permutation(column) for i, column in enumerate(normal.T)], axis=1)
    vae = VAEEstimator(latent_dim=2, hidden_dims=(16,), max_epochs=60, learning_rate=0.01, random_state=0).fit(train)
    labels = np.repeat([0, 1], 300)
    both = np.concatenate([normal, shuffled])
    area = roc_auc_score(labels, -vae.score_samples(both))
    best = roc_auc_score(labels, -FactorAnalysis(2).fit(train / train.std(0)).score_samples(both / train.std(0)))
    assert area > best - 0.02, (area, best)
    assert (vae.score_samples(normal) < -vae.model_.threshold(0.99, "nll")).mean() < 0.05


def test_the_best_epoch_is_kept_and_not_the_last() -> None:
    rows = curve(80)
    overfitted: dict[str, Any] = {
        "latent_dim": 2,
        "hidden_dims": (256,),
        "learning_rate": 0.03,
        "max_epochs": 60,
        "random_state": 0,
    }
    long = VAEEstimator(patience=200, **overfitted).fit(rows)
    history = long.history_["val/nelbo"]
    best = int(np.argmin(history)) + 1
    assert best < long.n_iter_ == len(history) == len(long.history_["train/loss"]) == 60
    assert long.best_nelbo_ == min(history)
    # One that ends sooner on the same schedule keeps the same weights, where it has come by the best epoch.
    short = VAEEstimator(patience=20, **overfitted).fit(rows)
    assert short.n_iter_ == best + 20 < 60
    np.testing.assert_array_equal(short.transform(rows), long.transform(rows))
    shorter = VAEEstimator(patience=1, **overfitted).fit(rows)
    assert shorter.n_iter_ < best
    assert not np.array_equal(shorter.transform(rows), long.transform(rows))


def test_patience_ends_training() -> None:
    vae = VAEEstimator(max_epochs=500, patience=3, learning_rate=0.02, random_state=0).fit(curve(120))
    history = vae.history_["val/nelbo"]
    assert len(history) == vae.n_iter_ == int(np.argmin(history)) + 1 + 3


def test_where_no_epoch_is_better_the_start_is_kept_and_nothing_is_said_of_the_epochs() -> None:
    """With a KL of that weight training collapses; the start, factor analysis, is what is kept, and has not."""
    rows = factors(600)
    vae = VAEEstimator(beta=1000.0, latent_dim=2, max_epochs=20, random_state=0).fit(rows)
    assert vae.history_["val/active_units"][-6:] == [0.0] * 6
    assert vae.best_nelbo_ < min(vae.history_["val/nelbo"])
    assert vae.warnings_ == []
    units = vae.model_.model_units
    report = examine_model(Trained(vae.model_, RowsInMemory(units(rows)), units(factors(300, seed=1))))
    assert report.codes == ()


def test_a_collapsed_vae_is_the_control_and_both_say_so() -> None:
    train, test = linked_bits(600), linked_bits(300, seed=1)
    vae = VAEEstimator("bernoulli", beta=1000.0, learning_rate=3e-4, max_epochs=20, random_state=0).fit(train)
    assert any(message.startswith("Posterior collapse") for message in vae.warnings_)
    rows = RowsInMemory(vae.model_.model_units(train))
    report = examine_model(Trained(vae.model_, rows, vae.model_.model_units(test)))
    assert "COLLAPSE" in report.codes
    p = train.mean(0)
    alone = -(test * np.log(p) + (1 - test) * np.log(1 - p)).sum(1)
    assert spearmanr(-vae.score_samples(test), alone).statistic > 0.995
    honest = VAEEstimator("bernoulli", max_epochs=60, random_state=0).fit(train)
    assert spearmanr(-honest.score_samples(test), alone).statistic < 0.95


def test_other_likelihoods_score_what_they_should() -> None:
    bits = (np.random.default_rng(0).random((400, 3)) < [0.2, 0.5, 0.9]).astype(float)
    vae = VAEEstimator("bernoulli", latent_dim=1, hidden_dims=(4,), max_epochs=30, random_state=0).fit(bits)
    every = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)], dtype=float)
    assert np.exp(vae.score_samples(every)).sum() == pytest.approx(1, abs=0.01)
    p = bits.mean(0)
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)).sum()
    assert -vae.score(bits) == pytest.approx(entropy, abs=0.03)
    assert set(np.unique(vae.sample(50))) == {0.0, 1.0}


# --- what it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "must_be"),
    [
        ("likelihood", "gauss", f"one of {', '.join([*Likelihood.families(), 'auto'])}"),
        ("likelihood_options", ["variance"], "a dict of the likelihood's settings or None"),
        ("latent_dim", 0, "a whole number from 1 on, or auto"),
        ("latent_dim", 2.0, "a whole number from 1 on, or auto"),
        ("hidden_dims", 64, "a sequence of whole numbers from 1 on"),
        ("hidden_dims", (8, 0), "a sequence of whole numbers from 1 on"),
        ("activation", ["relu"], "one of relu, leaky_relu, elu, gelu, silu, softplus, tanh, auto"),
        ("dropout", 1, "at least 0 and below 1"),
        ("preprocess", "scale", "one of binarize, gaussianize, minmax, none, standardize or None"),
        ("prior", "mixtrue", "one of mixture, standard_normal"),
        ("posterior", {"log_var_bound": 3.0}, "one of gaussian"),
        ("objective", ["iwae"], "one of elbo, iwae"),
        ("beta", -1, "at least 0 and finite"),
        ("learning_rate", 0, "positive and finite, or auto"),
        ("learning_rate", float("nan"), "positive and finite, or auto"),
        ("batch_size", True, "a whole number from 1 on, or auto"),
        ("max_epochs", "10", "a whole number from 1 on, or auto"),
        ("patience", None, "a whole number from 1 on, or auto"),
        ("validation_fraction", 1.0, "above 0 and below 1"),
        ("num_samples", 0, "a whole number from 1 on"),
        ("accelerator", "cuda", "one of cpu, gpu, auto"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_one_sentence(
    rows: np.ndarray, name: str, value: object, must_be: str
) -> None:
    said = f"The '{name}' parameter of VAEEstimator must be {must_be}. Got {value!r} instead."
    with pytest.raises(ConfigError, match=re.escape(said)):
        VAEEstimator(**{name: value}).fit(rows)


def test_an_objective_without_a_weight_takes_none(rows: np.ndarray) -> None:
    with pytest.raises(
        ConfigError, match=r"The 'beta' parameter of VAEEstimator must be 1 with this objective\. Got 2"
    ):
        VAEEstimator(objective="iwae", beta=2, **TINY).fit(rows)


def test_options_of_the_likelihood_are_held_against_it(rows: np.ndarray) -> None:
    with pytest.raises(ConfigError, match=r"There is no setting likelihood.varience. Did you mean 'variance'\?"):
        VAEEstimator(likelihood_options={"varience": "fixed"}).fit(rows)


def test_advice_is_in_the_words_of_the_estimator(rows: np.ndarray) -> None:
    with pytest.raises(DataError, match="preprocess='minmax'") as refused:
        VAEEstimator("bernoulli", **TINY).fit(rows)
    with pytest.raises(RunError, match="Try learning_rate=") as stopped:
        VAEEstimator(**{**TINY, "learning_rate": 1e30}).fit(rows)
    collapsed = VAEEstimator("bernoulli", **{**TINY, "beta": 1000.0, "max_epochs": 6}).fit(rows > 0).warnings_
    for said in (str(refused.value), str(stopped.value), *collapsed):
        assert not re.findall(r"\b(?:data|model|objective|optimizer|trainer)\.\w+", said), said
    assert collapsed
    assert "learning_rate=1e+29" in str(stopped.value)


def test_codes_of_another_width_and_no_samples_are_refused(fitted: VAEEstimator) -> None:
    with pytest.raises(DataError, match=r"must have shape \(N, 2\).* 2 latent dimensions.* Got shape \(4, 3\)"):
        fitted.inverse_transform(np.zeros((4, 3)))
    with pytest.raises(ConfigError, match="'n_samples' parameter of sample must be a whole number from 1 on"):
        fitted.sample(0)


def test_numbers_of_numpy_are_numbers(rows: np.ndarray, fitted: VAEEstimator) -> None:
    numpys = {
        "latent_dim": np.int64(2),
        "hidden_dims": np.array([8]),
        "max_epochs": np.int32(3),
        "random_state": np.int64(0),
        "learning_rate": np.float64(3e-3),
    }
    np.testing.assert_array_equal(VAEEstimator(**numpys).fit(rows).transform(rows), fitted.transform(rows))


# --- what it leaves alone --------------------------------------------------------------------------------------------


def surroundings() -> dict[str, Any]:
    """Everything of the process that training touches."""
    loggers = [logging.getLogger(name) for name in ("", "vae_lightning", "lightning.pytorch", "torch")]
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": str(np.random.get_state()),
        "random": random.getstate(),
        "threads": torch.get_num_threads(),
        "precision": torch.get_float32_matmul_precision(),
        "default dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "denormal": _flushes_denormal(),
        "warnings": list(warnings.filters),
        "loggers": [(log.level, log.propagate, log.disabled, list(log.handlers)) for log in loggers],
        "signals": [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)],
        "environment": dict(os.environ),
        "threads alive": threading.active_count(),
    }


@pytest.fixture(params=[False, True], ids=["denormal kept", "denormal flushed"])
def denormal(request: pytest.FixtureRequest) -> Iterator[bool]:
    torch.set_flush_denormal(request.param)
    yield request.param
    torch.set_flush_denormal(False)


def test_the_process_is_as_it_was_and_nothing_is_written_or_said(
    rows: np.ndarray,
    denormal: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = surroundings()
    assert before["denormal"] == denormal
    # A model that collapses: the guard has something to say of it.
    vae = VAEEstimator("bernoulli", **{**TINY, "beta": 1000.0, "max_epochs": 6}).fit(rows > 0)
    vae.inverse_transform(vae.transform(rows > 0))
    vae.score(rows > 0)
    vae.sample(5, random_state=0)
    with pytest.raises(RunError):
        VAEEstimator(**{**TINY, "learning_rate": 1e30}).fit(rows)
    after = surroundings()
    assert {name: after[name] for name in after if after[name] != before[name]} == {}
    assert vae.warnings_
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
    assert list(tmp_path.rglob("*")) == []


def test_it_tells_what_it_does_when_asked(rows: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    VAEEstimator(**TINY, verbose=2).fit(rows)
    told = capfd.readouterr().out
    assert "5 columns, 108 / 12 / 12 rows" in told
    assert "epoch 3/3" in told.lower(), told


def test_the_random_state_decides_everything(rows: np.ndarray, fitted: VAEEstimator) -> None:
    torch.manual_seed(12345)  # the global stream has no say
    again = VAEEstimator(**TINY).fit(rows)
    np.testing.assert_array_equal(again.score_samples(rows), fitted.score_samples(rows))
    assert again.history_ == fitted.history_
    np.random.seed(0)
    first = VAEEstimator(**{**TINY, "random_state": None}).fit(rows).transform(rows)
    second = VAEEstimator(**{**TINY, "random_state": None}).fit(rows).transform(rows)
    np.random.seed(0)
    np.testing.assert_array_equal(VAEEstimator(**{**TINY, "random_state": None}).fit(rows).transform(rows), first)
    assert not np.array_equal(first, second)


def test_fits_in_threads_do_not_disturb_each_other(rows: np.ndarray, fitted: VAEEstimator) -> None:
    fits = (delayed(VAEEstimator(**TINY).fit)(rows) for _ in range(4))
    for vae in Parallel(n_jobs=2, prefer="threads")(fits):
        np.testing.assert_array_equal(vae.transform(rows), fitted.transform(rows))


def test_ctrl_c_interrupts_a_fit(rows: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vae_lightning.training.module.VAEModule.on_train_epoch_start", interrupt)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        VAEEstimator(**TINY).fit(rows)
    assert signal.getsignal(signal.SIGINT) is handler


def test_nullable_whole_numbers_are_drawn_as_whole_numbers() -> None:
    rows = pd.DataFrame({"n": pd.array(range(20), dtype="Int64"), "x": np.arange(20) / 3})
    assert str(VAEEstimator(max_epochs=1, random_state=0).fit(rows).sample(2)["n"].dtype) == "int64"


def test_options_cannot_choose_a_class() -> None:
    with pytest.raises(ValueError, match=r"There is no setting likelihood\._target_\."):
        VAEEstimator(likelihood_options={"_target_": "os.system"}).fit(np.zeros((5, 2)))
