"""`VAEImputer`: scikit-learn's own checks, frames of any kind, and cells that stay as they are."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from vae_lightning import VAEEstimator, VAEImputer
from vae_lightning.errors import ConfigError, DataError

pytestmark = pytest.mark.usefixtures("one_thread")
TINY: dict[str, Any] = {"latent_dim": 2, "hidden_dims": (8,), "max_epochs": 3, "random_state": 0, "verbose": False}


def linear(num_rows: int = 400) -> np.ndarray:
    """Rows of one factor in four columns."""
    draws = np.random.default_rng(0)
    rows: np.ndarray = draws.normal(size=(num_rows, 1)) * [1.0, 2.0, -1.0, 0.5] + 0.1 * draws.normal(size=(num_rows, 4))
    return rows


def pierce(rows: np.ndarray, share: float = 0.2) -> np.ndarray:
    return np.where(np.random.default_rng(1).random(rows.shape) < share, np.nan, rows)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Texts, dates, truth values and numbers, with holes, an identifier and an index of its own."""
    draws, size = np.random.default_rng(2), 120
    height = draws.normal(170, 10, size)
    table = pd.DataFrame(
        {
            "height": height,
            "sex": np.where(height + draws.normal(0, 3, size) > 170, "m", "f"),
            "member": draws.random(size) > 0.5,
            "since": pd.Timestamp("2021-01-01") + pd.to_timedelta(draws.integers(0, 900, size), unit="D"),
        }
    )
    holes = draws.random(table.shape) < 0.1
    table = table.mask(holes)
    table["member"] = table["member"].astype("boolean")
    return table.assign(patient=[f"p{i}" for i in range(size)]).set_axis([f"row {i}" for i in range(size)])


@parametrize_with_checks([VAEImputer(max_epochs=2, verbose=False)])
def test_scikit_learn_finds_nothing_wrong(estimator: VAEImputer, check: Callable[[VAEImputer], None]) -> None:
    check(estimator)


def test_it_is_far_better_than_means() -> None:
    """On rows of one factor the other cells say nearly all of an empty one."""
    rows = linear()
    holes = pierce(rows)
    imputer = VAEImputer("gaussian", latent_dim=1, hidden_dims=(16,), max_epochs=40, random_state=0, verbose=False)
    filled, means = imputer.fit_transform(holes), SimpleImputer().fit_transform(holes)
    errors = [np.sqrt(np.mean((found - rows)[np.isnan(holes)] ** 2)) for found in (filled, means)]
    assert errors[0] < 0.4 * errors[1]
    np.testing.assert_array_equal(filled[~np.isnan(holes)], holes[~np.isnan(holes)])


def test_a_frame_of_any_kind_stays_what_it_is(frame: pd.DataFrame) -> None:
    imputer = VAEImputer(**TINY).fit(frame)
    filled = imputer.transform(frame)
    assert filled.notna().all(axis=None)
    assert (filled.dtypes == frame.dtypes).all()
    assert filled.index.equals(frame.index)
    pd.testing.assert_frame_equal(filled.where(frame.notna()), frame)
    assert set(filled["sex"]) == {"m", "f"}
    assert filled["since"].between("2021-01-01", "2023-07-01").all()
    pd.testing.assert_frame_equal(imputer.transform(frame), filled)
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(imputer)).transform(frame), filled)
    pd.testing.assert_frame_equal(clone(imputer).fit(frame).transform(frame), filled)
    assert list(imputer.get_feature_names_out()) == list(frame)
    assert len(imputer.model_.impute(frame, draws=2)) == 2


def test_truth_values_among_which_some_are_missing_stay_truth_values() -> None:
    """pandas keeps them as objects: 1 and 0 stood in the holes, which are equal to no text of True and False."""
    draws = np.random.default_rng(0)
    z = draws.normal(size=200)
    frame = pd.DataFrame({"z": z, "up": pd.Series(z > 0, dtype=object).mask(draws.random(200) < 0.2, None)})
    imputer = VAEImputer(**TINY).fit(frame)
    assert imputer.model_.columns[1].dtype == "bool"
    for table in (imputer.transform(frame), *imputer.model_.impute(frame, draws=2)):
        assert set(table["up"].map(type)) == {bool}


def test_new_rows_may_hold_what_training_did_not() -> None:
    """A whole number that was never seen tells nothing, and a pipeline must not break over it."""
    draws = np.random.default_rng(0)
    rows = np.stack([draws.integers(0, 5, 200), draws.integers(0, 3, 200), draws.normal(size=200)], 1).astype(float)
    imputer = VAEImputer(**TINY).fit(rows)
    filled = imputer.transform([[7.0, np.nan, 0.3], [1.0, 2.0, np.nan]])
    assert filled[0, 0] == 7.0
    assert filled[0, 2] == 0.3
    assert np.isfinite(filled).all()


def test_it_stands_in_pipelines(frame: pd.DataFrame) -> None:
    rows = linear()
    pipeline = make_pipeline(VAEImputer(**TINY), HistGradientBoostingRegressor(max_iter=5)).fit(
        pierce(rows), rows[:, 0]
    )
    assert pipeline.score(pierce(rows), rows[:, 0]) > 0.3
    framed = VAEImputer(**TINY).set_output(transform="pandas").fit_transform(frame)
    assert list(framed) == list(frame)
    assert framed.index.equals(frame.index)


def test_mistakes_are_told(frame: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match="'num_samples' parameter of VAEImputer must be a whole number"):
        VAEImputer(num_samples=0).fit(linear())
    with pytest.raises(DataError, match="Every cell is empty in 'sex'"):
        VAEImputer(**TINY).fit(frame.assign(sex=np.nan))
    with pytest.raises(ValueError, match="infinity"):
        VAEImputer(**TINY).fit(np.where(np.eye(4) > 0, np.inf, 1.0))
    imputer = VAEImputer(**TINY).fit(frame)
    with pytest.raises(DataError, match="'sex' must hold one of 2 known texts"):
        imputer.transform(frame.assign(sex="x"))


# --- the estimator takes the same rows -------------------------------------------------------------------------------


def test_the_estimator_takes_holes_and_frames_of_any_kind(frame: pd.DataFrame) -> None:
    holes = pierce(linear())
    estimator = VAEEstimator(**TINY).fit(holes)
    assert np.isfinite(estimator.score_samples(holes)).all()
    assert estimator.transform(holes).shape == (len(holes), 2)
    mixed = VAEEstimator("auto", **TINY).fit(frame)
    assert np.isfinite(mixed.score_samples(frame)).all()
    assert mixed.transform(frame).shape == (len(frame), 2)
    drawn = mixed.sample(5, random_state=0)
    assert list(drawn) == ["height", "sex", "member", "since"]
    assert set(drawn["sex"]) <= {"m", "f"}
    with pytest.raises(ValueError, match="could not convert string to float"):
        VAEEstimator(**TINY).fit(frame[["height", "sex"]])
