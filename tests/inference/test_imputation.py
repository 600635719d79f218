"""Filled cells: against the exact conditional distribution, and observed cells as they were."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from vae_lightning.controls.factor_model import FactorAnalysis
from vae_lightning.data.batch import Batch
from vae_lightning.data.columns import Column
from vae_lightning.data.preprocess.none import Identity
from vae_lightning.data.preprocess.standardize import Standardize
from vae_lightning.data.seeds import random_stream
from vae_lightning.data.store import RowsInMemory
from vae_lightning.errors import ConfigError, DataError
from vae_lightning.inference.imputation import draw_missing
from vae_lightning.inference.model import VAEModel
from vae_lightning.likelihoods.by_column import ByColumn
from vae_lightning.likelihoods.categorical import Categorical
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.start import start_model
from vae_lightning.model.vae import VAE

NUM_COLUMNS = 5


@pytest.fixture(scope="module")
def linear() -> tuple[VAEModel, FactorAnalysis, np.ndarray]:
    """A model that is factor analysis, that analysis, and rows of it."""
    draws = np.random.default_rng(0)
    loadings = draws.normal(size=(NUM_COLUMNS, 2))
    x = draws.normal(size=(2000, 2)) @ loadings.T + 0.6 * draws.normal(size=(2000, NUM_COLUMNS))
    rows = RowsInMemory(Batch(torch.from_numpy(x).float()))
    with random_stream(0):
        vae = VAE(Gaussian(NUM_COLUMNS), latent_dim=2, hidden_dims=[4])
    start = start_model(vae, rows, rows)
    assert start is not None
    factors = start.factors
    columns = [Column(f"x{i}", "float64") for i in range(NUM_COLUMNS)]
    return VAEModel(vae, Identity(NUM_COLUMNS), columns), factors, x


def conditional(factors: FactorAnalysis, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of a normal row's empty cells given the others."""
    covariance = (factors.loadings @ factors.loadings.T + torch.diag(factors.noise)).numpy()
    mean, hole = factors.mean.numpy(), np.isnan(row)
    weights = covariance[np.ix_(hole, ~hole)] @ np.linalg.inv(covariance[np.ix_(~hole, ~hole)])
    at = mean[hole] + weights @ (row - mean)[~hole]
    return at, covariance[np.ix_(hole, hole)] - weights @ covariance[np.ix_(~hole, hole)]


@pytest.mark.parametrize("missing", [[0], [1, 3], [0, 2, 4], [0, 1, 2, 3], [0, 1, 2, 3, 4]])
def test_cells_are_filled_from_the_exact_conditional_distribution(
    linear: tuple[VAEModel, FactorAnalysis, np.ndarray], missing: list[int]
) -> None:
    """Also where an encoder that knows nothing of holes is far off, and where nothing is observed."""
    model, factors, x = linear
    row = x[:1].copy()
    row[0, missing] = np.nan
    mean, covariance = conditional(factors, row[0])
    stddev = np.sqrt(covariance.diagonal())
    num_draws = 2000
    found, spread = model.impute(row, num_samples=num_draws, return_uncertainty=True)
    tables = np.stack(model.impute(row, num_draws, num_samples=num_draws))[:, 0, missing]
    # Five draws in turn from a chain are not independent: allow for a third of them counting.
    error = 4 * stddev / np.sqrt(num_draws / 3)
    np.testing.assert_array_less(abs(found[0, missing] - mean), error)
    np.testing.assert_array_less(abs(spread[0, missing] - stddev), error)
    # The draws belong together: their covariances, too, are the conditional ones.
    scale = np.outer(stddev, stddev)
    np.testing.assert_array_less(
        abs(np.cov(tables.T).reshape(scale.shape) - covariance), 6 * scale / np.sqrt(num_draws / 3)
    )


def test_chains_correct_an_encoder_that_is_wrong(linear: tuple[VAEModel, FactorAnalysis, np.ndarray]) -> None:
    """Importance weights and acceptance use the density of q as it is: twice as wide or moved aside, z comes right."""
    model, factors, x = linear
    row = x[1:2].copy()
    row[0, [1, 4]] = np.nan
    mean, covariance = conditional(factors, row[0])
    weights = {name: value.clone() for name, value in model.vae.state_dict().items()}
    with torch.no_grad():
        model.vae.heads.bias += torch.tensor([1.0, -1.0, 1.2, 1.2])
    found = model.impute(row, num_samples=4000)
    model.vae.load_state_dict(weights)
    stddev = np.sqrt(covariance.diagonal())
    np.testing.assert_array_less(abs(found[0, [1, 4]] - mean), 4 * stddev / np.sqrt(4000 / 10))


def test_the_scaling_is_undone(linear: tuple[VAEModel, FactorAnalysis, np.ndarray]) -> None:
    model, _, x = linear
    twice = Standardize(NUM_COLUMNS)
    twice.mean.fill_(3.0)
    twice.scale.fill_(2.0)
    scaled = VAEModel(model.vae, twice, model.columns)
    holes = x[:20].copy()
    holes[np.arange(20), np.arange(20) % NUM_COLUMNS] = np.nan
    wide = 3.0 + 2.0 * holes
    np.testing.assert_allclose(scaled.impute(wide), 3.0 + 2.0 * model.impute(holes), rtol=1e-6)


def test_observed_cells_stay_and_seeds_decide_the_others(linear: tuple[VAEModel, FactorAnalysis, np.ndarray]) -> None:
    model, _, x = linear
    rows = x[:50].copy()
    rows[np.random.default_rng(1).random(rows.shape) < 0.4] = np.nan
    given, hole = rows.copy(), np.isnan(rows)
    found = model.impute(rows)
    np.testing.assert_array_equal(rows, given)  # the user's own array is left alone
    np.testing.assert_array_equal(found[~hole], rows[~hole])
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(model.impute(rows), found)
    assert (model.impute(rows, seed=1)[hole] != found[hole]).all()
    tables = model.impute(rows, 3)
    assert len(tables) == 3
    assert all((table[~hole] == rows[~hole]).all() for table in tables)
    assert (tables[0][hole] != tables[1][hole]).all()
    _, spread = model.impute(rows, return_uncertainty=True)
    np.testing.assert_array_equal(np.isnan(spread), ~hole)


def test_the_global_random_stream_is_left_alone(linear: tuple[VAEModel, FactorAnalysis, np.ndarray]) -> None:
    model, _, x = linear
    rows = np.where(np.eye(NUM_COLUMNS) > 0, np.nan, x[:NUM_COLUMNS])
    torch.manual_seed(3)
    before = torch.get_rng_state()
    model.impute(rows)
    assert torch.equal(torch.get_rng_state(), before)


def test_rows_without_holes_come_back(linear: tuple[VAEModel, FactorAnalysis, np.ndarray]) -> None:
    model, _, x = linear
    np.testing.assert_array_equal(model.impute(x[:3]), x[:3])
    frame = pd.DataFrame(x[:3].astype(np.float32), columns=[f"x{i}" for i in range(NUM_COLUMNS)])
    pd.testing.assert_frame_equal(model.impute(frame), frame)


def test_few_samples_are_enough_to_ask_for(linear: tuple[VAEModel, FactorAnalysis, np.ndarray]) -> None:
    model, _, x = linear
    row = np.where(np.arange(NUM_COLUMNS) < 2, np.nan, x[:2])
    assert np.isfinite(model.impute(row, num_samples=1)).all()
    assert len(model.impute(row, 7, num_samples=2)) == 7


@pytest.mark.parametrize(("given", "words"), [({"draws": 0}, "draws"), ({"num_samples": 0}, "num_samples")])
def test_a_number_that_makes_no_sense_is_refused(
    linear: tuple[VAEModel, FactorAnalysis, np.ndarray], given: dict[str, int], words: str
) -> None:
    model, _, x = linear
    with pytest.raises(ConfigError, match=f"The '{words}' parameter of impute must be a whole number from 1 on"):
        model.impute(np.where(np.eye(NUM_COLUMNS) > 0, np.nan, x[:NUM_COLUMNS]), **given)


def test_memory_does_not_grow_with_the_rows(
    linear: tuple[VAEModel, FactorAnalysis, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is drawn in pieces, and rows without holes are in none of them."""
    model, _, x = linear
    rows = x[:40].copy()
    rows[::2, 0] = np.nan
    sizes = []

    def draw(vae: VAE, batch: Batch, num_samples: int) -> Any:
        sizes.append(batch.num_rows)
        return draw_missing(vae, batch, num_samples)

    monkeypatch.setattr("vae_lightning.inference.imputation.draw_missing", draw)
    monkeypatch.setattr("vae_lightning.inference.imputation.rows_at_once", lambda *_: 6)
    model.impute(rows)
    assert sizes == [6, 6, 6, 2]


# --- columns of any kind ---------------------------------------------------------------------------------------------


LEVELS = ("Oslo", "Rome", "Zürich")


@pytest.fixture(scope="module")
def mixed() -> VAEModel:
    """A city and a number that says which: -4 Oslo, 0 Rome, 4 Zürich; the decoder is written by hand."""
    vae = VAE(ByColumn(2, [(Categorical(1, 3), [0]), (Gaussian(1), [1])]), latent_dim=1, hidden_dims=[], sees_mask=True)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.zero_()
        vae.output.weight.copy_(torch.tensor([[-8.0], [0.0], [8.0], [4.0]]))
        vae.output.bias.copy_(torch.tensor([-4.0, 0.0, -4.0, 0.0]))
        vae.likelihood.start_from(RowsInMemory(Batch(torch.tensor([[0.0, -0.1], [1.0, 0.1]]))))
    return VAEModel(vae, Identity(2), [Column("city", "object", LEVELS), Column("size", "int64")])


def test_the_likeliest_category_is_filled_in(mixed: VAEModel) -> None:
    frame = pd.DataFrame({"id": [7, 8, 9], "size": [-4, 0, 4], "city": [None, None, "Rome"]}, index=["a", "b", "c"])
    found, spread = mixed.impute(frame, return_uncertainty=True)
    pd.testing.assert_frame_equal(found, frame.assign(city=["Oslo", "Rome", "Rome"]))
    assert (spread.loc[["a", "b"], "city"] < 0.2).all()  # the probability of another one
    assert spread.loc["c"].isna().all()
    unknown = mixed.impute(pd.DataFrame({"city": ["Oslo"], "size": [None]}), return_uncertainty=True)[1]
    assert unknown["size"][0] > 0


def test_whole_numbers_are_filled_with_whole_numbers(mixed: VAEModel) -> None:
    for dtype in ("float64", "Int64", "Float64", "object"):
        frame = pd.DataFrame(
            {
                "city": ["Oslo", "Zürich", "Rome"],
                "size": pd.array([None, 3, None], dtype="Int64").astype(dtype)
                if dtype != "object"
                else [None, 3, None],
            }
        )
        found = mixed.impute(frame)
        assert found["size"].dtype == frame["size"].dtype
        assert (found["size"].astype(float) % 1 == 0).all()
        assert (mixed.impute(frame, mean=True)["size"].astype(float) % 1 != 0).any()


def test_categories_of_pandas_stay_what_they_are(mixed: VAEModel) -> None:
    frame = pd.DataFrame({"city": pd.Categorical(["Rome", None], ["Rome", "Paris"]), "size": [0.0, -4.0]})
    with pytest.raises(DataError, match="Paris"):
        mixed.impute(frame.assign(city=frame["city"].fillna("Paris")))
    found = mixed.impute(frame)
    assert list(found["city"]) == ["Rome", "Oslo"]
    assert list(found["city"].cat.categories) == ["Rome", "Paris", "Oslo"]


def test_texts_of_a_table_of_texts_stay_texts(mixed: VAEModel) -> None:
    found = mixed.impute(pd.DataFrame({"city": [None, "Rome"], "size": ["4", None]}, dtype=str))
    assert found["city"][0] == "Zürich"
    assert found["size"][0] == "4"
    assert isinstance(found["size"][1], str)
    array = mixed.impute(np.array([[None, "4"], ["Rome", "0"]], dtype=object))
    assert array.tolist() == [["Zürich", "4"], ["Rome", "0"]]


def test_a_row_of_nothing_is_a_draw_of_the_model(mixed: VAEModel) -> None:
    frame = pd.DataFrame({"city": [None] * 1, "size": [np.nan] * 1})
    tables = pd.concat(mixed.impute(frame, 1500, num_samples=1500))
    drawn = mixed.sample(20_000, seed=0)
    shares = (part["city"].value_counts(normalize=True).reindex(LEVELS).to_numpy() for part in (tables, drawn))
    np.testing.assert_allclose(*shares, atol=0.06)
    assert abs(tables["size"].std() - drawn["size"].std()) < 0.4
    corners = [(part["city"] == "Oslo").to_numpy()[part["size"].to_numpy() < -3].mean() for part in (tables, drawn)]
    assert abs(corners[0] - corners[1]) < 0.1  # the cells belong together
