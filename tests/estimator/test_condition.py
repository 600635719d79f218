"""Conditions and exposures of the estimator: columns of the frame that are told and not modelled."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from tests.runs.test_condition import MEANS, SPREAD, table
from tests.runs.test_exposure import NAMES, true_nll
from tests.runs.test_exposure import table as counts
from vae_lightning import VAEEstimator, load
from vae_lightning.errors import ConfigError, DataError

pytestmark = pytest.mark.usefixtures("one_thread")
OPTIONS: dict[str, Any] = {"latent_dim": 1, "hidden_dims": (8,), "max_epochs": 6, "random_state": 0, "verbose": False}


@pytest.fixture(scope="module")
def told() -> VAEEstimator:
    return VAEEstimator(condition=["sex", "batch"], **OPTIONS).fit(table())


def test_rows_drawn_where_a_condition_holds_have_its_distribution(told: VAEEstimator) -> None:
    for (sex, batch), mean in MEANS.items():
        rows = told.sample(4000, random_state=0, where={"sex": sex, "batch": batch})
        assert isinstance(rows, pd.DataFrame)
        assert list(rows.columns) == list(table().columns)
        assert set(zip(rows["sex"], rows["batch"], strict=True)) == {(sex, batch)}
        np.testing.assert_allclose(rows[["height", "weight"]].mean(), mean, atol=1.5)
        np.testing.assert_allclose(rows[["height", "weight"]].std(), SPREAD, rtol=0.2)
    assert told.sample(200)["sex"].nunique() == 2


def test_a_row_is_scored_and_encoded_under_its_own_condition(told: VAEEstimator) -> None:
    rows = table(40)
    other = rows.assign(sex=rows["sex"].map({"F": "M", "M": "F"}))
    assert (told.score_samples(rows) > told.score_samples(other)).all()
    assert told.score(rows) > told.score(other)
    assert told.transform(rows).shape == (40, 1)
    assert np.abs(told.transform(rows) - told.transform(other)).min() > 0
    assert told.inverse_transform(told.transform(rows)).shape == (40, 2)
    assert list(told.feature_names_in_) == list(rows.columns)


def test_it_is_cloned_saved_and_loaded_with_its_conditions(told: VAEEstimator, tmp_path: Path) -> None:
    again = VAEEstimator.load(told.save(tmp_path / "saved"))
    rows = table(40)
    np.testing.assert_array_equal(again.score_samples(rows), told.score_samples(rows))
    pd.testing.assert_frame_equal(
        again.sample(9, 0, where={"sex": "F"}), load(tmp_path / "saved").double().sample(9, _seed(), where={"sex": "F"})
    )
    assert clone(told).condition == ["sex", "batch"]
    by_auto = VAEEstimator("auto", condition="sex", **OPTIONS).fit(table(300))
    assert set(by_auto.sample(20, where={"sex": "M"})["sex"]) == {"M"}


def _seed() -> int:
    return int(np.random.RandomState(0).randint(2**31 - 1))


def test_counts_have_the_exposure_of_their_row() -> None:
    options = {**OPTIONS, "max_epochs": 60, "hidden_dims": (32,), "num_samples": 300}
    vae = VAEEstimator("poisson", exposure="time", **options).fit(counts(2000, 0))
    rows = counts(500, 1)
    assert -vae.score(rows) == pytest.approx(true_nll(rows).mean(), abs=0.15)
    drawn = vae.sample(3000, 0, where={"time": 9.0})
    assert isinstance(drawn, pd.DataFrame)
    np.testing.assert_allclose(drawn[NAMES].mean(), counts(3000, 2, 9.0)[NAMES].mean(), rtol=0.15)


@pytest.mark.parametrize(
    ("parameters", "rows", "words"),
    [
        ({"condition": ["sxe"]}, table(60), "The rows have no column 'sxe'. Did you mean 'sex'?"),
        ({"condition": ["sex"]}, table(60).drop(columns="sex"), "The rows have no column 'sex'."),
        ({"condition": ["sex"]}, table(60)[["height"]].to_numpy(), "Rows with 'sex' must be a frame whose columns"),
        (
            {"condition": ["sex"]},
            table(60).assign(sex=None),
            "condition: 60 of 60 rows of the rows given have no 'sex'",
        ),
        ({"condition": ["batch"]}, table(60), "could not convert string to float: "),
        ({"exposure": "height", "condition": ["sex"]}, table(60), "exposure: 'height' multiplies the means of counts"),
    ],
)
def test_rows_that_do_not_fit_are_told(parameters: dict[str, Any], rows: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("?", r"\?")) as caught:
        VAEEstimator(**parameters, **OPTIONS).fit(rows)
    assert "data." not in str(caught.value)


def test_other_misuse_is_told(told: VAEEstimator) -> None:
    with pytest.raises(DataError, match=r"The column 'sex' must be one of 'F', 'M'\. Got 'X' instead"):
        told.sample(3, where={"sex": "X"})
    with pytest.raises(DataError, match="The rows have no column 'sex'"):
        told.transform(table(9).drop(columns="sex"))
    for name, value in (("condition", 3), ("condition", [3]), ("exposure", 3), ("exposure", "sex")):
        with pytest.raises(ConfigError, match=f"The '{name}' parameter of VAEEstimator must be "):
            VAEEstimator(**{"condition": ["sex"], name: value}, **OPTIONS).fit(table(60))  # type: ignore[arg-type]
