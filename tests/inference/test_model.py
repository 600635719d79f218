"""The trained model in its user's hands: data units in and out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import seed_everything

from vae_lightning import load
from vae_lightning.config.build import build
from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Rows
from vae_lightning.data.preprocess.standardize import Standardize
from vae_lightning.errors import ConfigError, DataError
from vae_lightning.inference.model import VAEModel
from vae_lightning.inference.sampling import Draws, sample_batches
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.vae import VAE


@pytest.fixture(scope="module")
def model(gaussian_run: Any) -> VAEModel:
    return load(gaussian_run.run_dir)


@pytest.fixture(scope="module")
def rows(gaussian_run: Any) -> np.ndarray:
    """The test rows of the Gaussian run, data units."""
    seed_everything(0, verbose=False)
    x: np.ndarray = build(gaussian_run.settings).dataset.test.x
    return x


@pytest.fixture(scope="module")
def frame(rows: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[f"x{i}" for i in range(4)], index=[f"row{i}" for i in range(len(rows))])


@pytest.fixture(scope="module")
def mixed(train: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[VAEModel, pd.DataFrame]:
    """A model of a table of whole numbers, truth values and fractions, and the table."""
    folder = tmp_path_factory.mktemp("mixed")
    draws = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": draws.integers(18, 80, 60),
            "member": draws.random(60) > 0.5,
            "weight": draws.normal(70, 10, 60).astype(np.float32),
            "visits": draws.integers(0, 9, 60).astype(np.uint8),
        }
    )
    table.to_parquet(folder / "people.parquet")
    words = ["data=table", f"data.path={folder / 'people.parquet'}", "trainer.max_epochs=1"]
    return load(train(folder / "run", *words).run_dir), table


# --- shapes, frames and arrays ---------------------------------------------------------------------------------------


def test_arrays_give_arrays(model: VAEModel, rows: np.ndarray) -> None:
    mean, std = model.encode(rows, return_std=True)
    assert mean.shape == std.shape == (len(rows), 2)
    assert (std > 0).all()
    np.testing.assert_array_equal(model.encode(rows), mean)
    assert model.reconstruct(rows).shape == rows.shape
    assert model.log_prob(rows, num_samples=3).shape == (len(rows),)
    assert all(isinstance(a, np.ndarray) for a in (mean, std, model.reconstruct(rows), model.log_prob(rows, 3)))


def test_frames_give_frames_with_the_same_index(model: VAEModel, frame: pd.DataFrame) -> None:
    mean, std = model.encode(frame, return_std=True)
    assert list(mean.columns) == list(std.columns) == ["z0", "z1"]
    assert list(model.reconstruct(frame).columns) == list(frame.columns)
    for given in (mean, std, model.reconstruct(frame), model.log_prob(frame, num_samples=3)):
        pd.testing.assert_index_equal(given.index, frame.index)
    np.testing.assert_array_equal(mean, model.encode(frame.to_numpy()))
    np.testing.assert_array_equal(model.log_prob(frame, 3), model.log_prob(frame.to_numpy(), 3))


def test_a_frames_columns_are_found_by_name(model: VAEModel, frame: pd.DataFrame) -> None:
    shuffled = frame[["x3", "x1", "x0", "x2"]].assign(label="a")
    pd.testing.assert_frame_equal(model.encode(shuffled), model.encode(frame))
    pd.testing.assert_frame_equal(model.reconstruct(shuffled), model.reconstruct(frame))


def test_no_rows_give_no_rows(model: VAEModel) -> None:
    assert model.encode(np.zeros((0, 4))).shape == (0, 2)
    assert model.reconstruct(np.zeros((0, 4))).shape == (0, 4)


def test_rows_of_any_number_type_are_one(model: VAEModel) -> None:
    whole = np.array([[1, 2, 3, 4], [-1, 0, 1, 2]])
    np.testing.assert_array_equal(model.encode(whole), model.encode(whole.astype(np.float64)))
    np.testing.assert_array_equal(model.encode(whole.tolist()), model.encode(whole.astype(np.float64)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns=["x1", "x2"]), "lack 2 of the 4 columns .* 'x1', 'x2'"),
        (lambda f: f.to_numpy()[:, :3], r"must have shape \(N, 4\).* Got shape \(\d+, 3\)"),
        (lambda f: f.to_numpy()[0], r"Got shape \(4,\)"),
        (lambda f: f.assign(x2="text"), "column 'x2' must hold numbers: 120 of 120 .*'text' in row 'row0'"),
        (lambda f: f.assign(x2=np.inf), "120 of 480 values are infinite, the first in row 'row0', column 'x2'"),
    ],
)
@pytest.mark.parametrize("method", ["encode", "reconstruct", "log_prob"])
def test_rows_that_do_not_fit_are_named(
    model: VAEModel, frame: pd.DataFrame, method: str, change: Callable[[pd.DataFrame], Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        getattr(model, method)(change(frame))


@pytest.mark.parametrize("empty", [np.nan, None, pd.NA], ids=str)
def test_an_empty_cell_is_read_as_missing_and_masked(model: VAEModel, frame: pd.DataFrame, empty: object) -> None:
    holes = frame.astype(object)
    holes.iloc[3:50, 2] = empty
    batch = model.model_units(holes)
    assert batch.mask is not None
    np.testing.assert_array_equal(batch.mask.numpy(), holes.notna().to_numpy())
    assert (batch.x[3:50, 2] == 0).all()
    others = model.model_units(frame)
    np.testing.assert_array_equal(batch.x[batch.mask], others.x[batch.mask])
    # What is not there costs nothing, and rows without a hole are scored as ever.
    nats = model.score_by_column(holes)
    assert (nats["nats_x2"][3:50] == 0).all()
    whole = np.r_[0:3, 50 : len(frame)]
    np.testing.assert_allclose(nats.iloc[whole], model.score_by_column(frame).iloc[whole], rtol=1e-6)
    for found in (model.encode(holes), model.reconstruct(frame.where(holes.notna())), model.log_prob(holes, 5)):
        assert np.isfinite(np.asarray(found, dtype=float)).all()


def test_rows_outside_the_support_are_refused(bernoulli_run: Any) -> None:
    with pytest.raises(DataError, match="the given rows"):
        load(bernoulli_run.run_dir).encode(np.full((1, 16), 1.5))


# --- decode ----------------------------------------------------------------------------------------------------------


def test_decoded_codes_are_the_reconstruction(model: VAEModel, rows: np.ndarray, frame: pd.DataFrame) -> None:
    np.testing.assert_array_equal(model.decode(model.encode(rows)), model.reconstruct(rows))
    again = model.decode(model.encode(frame)[["z1", "z0"]])
    pd.testing.assert_frame_equal(again, model.reconstruct(frame, mean=True))
    assert model.decode(np.zeros((0, 2))).shape == (0, 4)


def test_a_code_decodes_to_the_mean_of_many_draws() -> None:
    likelihood = Gaussian(2, variance="fixed", scale=0.5)
    vae = VAE(likelihood, latent_dim=1, hidden_dims=())
    torch.nn.init.normal_(vae.output.weight)
    scaling = Standardize(2).fit(Rows(np.array([[0.0, 10.0], [4.0, 70.0]])))
    model = VAEModel(vae, scaling, [Column("a", "float64"), Column("b", "float64")]).eval()
    with torch.no_grad():
        draws = scaling.inverse(vae.decode(torch.full((40_000, 1), 1.5)).sample()).numpy()
    # Standard deviations 0.5 · 2 and 0.5 · 30 in data units, over √40,000 draws, and five of that.
    assert (abs(model.decode(np.array([[1.5]]))[0] - draws.mean(0)) < 5 * np.array([1, 15]) / 200).all()


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((3, 4)), r"shape \(N, 2\): the model was trained on 2 latent dimensions. Got shape \(3, 4\)"),
        (np.full((1, 2), np.nan), "missing or infinite, the first in row 1, column 'z0'"),
        (pd.DataFrame({"z0": [1.0]}), "lack 1 of the 2 latent dimensions .* 'z1'"),
    ],
    ids=["width", "missing", "name"],
)
def test_codes_that_do_not_fit_are_named(model: VAEModel, codes: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        model.decode(codes)


@pytest.mark.filterwarnings("error")
def test_rows_that_may_not_be_written_to_are_read(model: VAEModel, rows: np.ndarray) -> None:
    frozen = rows.copy()
    frozen.setflags(write=False)
    np.testing.assert_array_equal(model.encode(frozen), model.encode(rows))


# --- sample ----------------------------------------------------------------------------------------------------------


def test_samples_repeat_for_a_seed_and_leave_the_global_stream_alone(model: VAEModel, rows: np.ndarray) -> None:
    state = torch.get_rng_state()
    first, second, other = (model.sample(20, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(model.log_prob(rows, 5), model.log_prob(rows, 5))
    assert torch.equal(torch.get_rng_state(), state)
    pd.testing.assert_frame_equal(first, second)
    assert not first.equals(other)
    assert not np.array_equal(model.log_prob(rows, 5, seed=1), model.log_prob(rows, 5, seed=2))


def test_samples_without_a_seed_follow_the_global_stream(model: VAEModel) -> None:
    torch.manual_seed(3)
    first, second = model.sample(4), model.sample(4)
    torch.manual_seed(3)
    pd.testing.assert_frame_equal(model.sample(4), first)
    assert not first.equals(second)


def test_samples_have_the_sources_names_and_types(mixed: tuple[VAEModel, pd.DataFrame]) -> None:
    model, table = mixed
    sample = model.sample(200, seed=0)
    assert list(sample.columns) == list(table.columns)
    assert sample.dtypes.to_dict() == table.dtypes.to_dict()
    assert set(sample["member"]) == {False, True}
    # Draws of a Gaussian leave the range of the data; the type's own range they cannot leave.
    assert sample["visits"].between(0, 255).all()
    assert abs(sample["age"].mean() - table["age"].mean()) < 5
    assert abs(sample["weight"].std() - table["weight"].std()) < 4


def test_means_stay_fractions_and_vary_less_than_draws(mixed: tuple[VAEModel, pd.DataFrame], model: VAEModel) -> None:
    means = mixed[0].sample(50, seed=0, mean=True)
    assert means["age"].dtype == means["member"].dtype == np.float64
    assert (means["age"] % 1 != 0).any()
    assert (model.sample(500, seed=0, mean=True).var() < model.sample(500, seed=0).var()).all()


def test_a_sampled_row_is_a_row_to_encode(mixed: tuple[VAEModel, pd.DataFrame]) -> None:
    model, table = mixed
    assert model.encode(model.sample(5, seed=0)).shape == (5, 2)
    assert model.encode(table).shape == (60, 2)


@pytest.mark.parametrize("num_rows", [0, -1])
def test_sampling_no_rows_is_refused(model: VAEModel, num_rows: int) -> None:
    with pytest.raises(ConfigError, match="num_rows"):
        model.sample(num_rows)


def test_no_samples_are_no_estimate(model: VAEModel, rows: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="num_samples"):
        model.log_prob(rows, num_samples=0)


def test_samples_are_distributed_as_the_rows(model: VAEModel, gaussian_run: Any) -> None:
    train_rows = build(gaussian_run.settings).dataset.train.x
    sample = model.sample(4000, seed=0).to_numpy()
    np.testing.assert_allclose(sample.mean(0), train_rows.mean(0), atol=0.25 * train_rows.std(0).max())
    np.testing.assert_allclose(sample.std(0), train_rows.std(0), rtol=0.25)


# --- in evaluation mode ----------------------------------------------------------------------------------------------


def test_evaluating_data_rows_gives_the_numbers_of_the_summary(gaussian_run: Any) -> None:
    dataset = build(gaussian_run.settings).dataset
    found = load(gaussian_run.run_dir).evaluate(
        dataset.test.x, dataset.train.x, num_samples=10, seed=0, valid_rows=dataset.valid.x
    )
    known = gaussian_run.summary["test"]
    assert found.control_words == known.pop("control_words")
    assert {name: getattr(found, name) for name in known} == pytest.approx(known, rel=1e-6)


def test_reconstructions_have_the_dtypes_of_the_rows_and_means_are_fractions(
    mixed: tuple[VAEModel, pd.DataFrame],
) -> None:
    model, table = mixed
    given = table.astype({"visits": "Int16", "weight": np.float64})
    again, means = model.reconstruct(given), model.reconstruct(given, mean=True)
    assert again.dtypes.to_dict() == given.dtypes.to_dict()
    assert (again["age"] == means["age"].round()).all()
    assert (again["member"] == (means["member"] > 0.5)).all()
    assert {dtype.kind for dtype in means.dtypes} == {"f"}


def test_many_rows_are_drawn_in_batches_that_differ(gaussian_run: Any) -> None:
    model = load(gaussian_run.run_dir)
    rows = model.sample(20_000, seed=0)
    assert rows.index.equals(pd.RangeIndex(20_000))
    assert not rows.duplicated().any()
    assert [len(part) for part in sample_batches(model, 20_000, Draws(seed=0), print)] == [8192, 8192, 3616]
    pd.testing.assert_frame_equal(rows.iloc[:8192], model.sample(8192, seed=0))


def test_columns_that_hold_no_plain_numbers_come_back_as_numbers(mixed: tuple[VAEModel, pd.DataFrame]) -> None:
    model, table = mixed
    means = model.reconstruct(table, mean=True)
    for dtype in ("category", "string", "Sparse[int64]"):
        again = model.reconstruct(table.astype({"age": dtype}))
        np.testing.assert_allclose(again["age"].astype(float), means["age"])


def test_a_frame_gets_its_own_labels_back(gaussian_run: Any) -> None:
    model = load(gaussian_run.run_dir)
    model.columns = tuple(Column(str(i), "float64") for i in range(4))
    given = pd.DataFrame(np.zeros((2, 4)))
    assert (given - model.reconstruct(given)).shape == (2, 4)


@pytest.mark.parametrize("method", ["score", "log_prob", "evaluate", "score_by_column"])
def test_no_rows_are_refused(gaussian_run: Any, method: str) -> None:
    with pytest.raises(DataError, match="There are no rows"):
        getattr(load(gaussian_run.run_dir), method)(np.zeros((0, 4)))


@pytest.mark.parametrize("options", [{"num_rows": 2.5}, {"num_rows": 2, "seed": 2**70}, {"num_rows": 2, "seed": -1}])
def test_what_counts_is_a_whole_number(gaussian_run: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="a whole number from"):
        load(gaussian_run.run_dir).sample(**options)


def test_using_a_model_in_training_mode_changes_nothing_of_it(train: Callable[..., Any], tmp_path: Path) -> None:
    run = train(tmp_path, "model.dropout=0.5", "model.normalization=batch", "trainer.max_epochs=1")
    model, x = load(run.run_dir), np.random.default_rng(0).normal(size=(6, 4))
    before, weights = model.score(x), {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    np.testing.assert_array_equal(model.score(x), before)
    pd.testing.assert_frame_equal(model.sample(3, seed=0), load(run.run_dir).sample(3, seed=0))
    assert model.training
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
