"""The loaded model in its user's hands: data units in and out, whoever wrote the run directory."""

import json
import math
import os
import pickle
import shutil
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
from vae_lightning.data.preprocess.base import Binarize, Identity, MinMax, Preprocess, Standardize
from vae_lightning.errors import ConfigError, DataError, RunError, UserError
from vae_lightning.inference.model import VAEModel
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.bernoulli import Bernoulli
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


# --- load ------------------------------------------------------------------------------------------------------------


def test_the_loaded_model_is_the_one_in_memory(train: Callable[..., Any], tmp_path: Path) -> None:
    held = {}
    keep = {
        "_target_": "lightning.pytorch.callbacks.LambdaCallback",
        "on_fit_end": lambda _, module: held.update(model=module.model),
    }
    run = train(tmp_path, "model.dropout=0.5", "model.normalization=batch", keep=keep)
    loaded, memory = load(run.run_dir), held["model"]
    assert not loaded.training
    for (name, mine), (_, theirs) in zip(loaded.state_dict().items(), memory.state_dict().items(), strict=True):
        assert torch.equal(mine, theirs), name
    x = np.random.default_rng(0).normal(size=(5, 4))
    for method in ("encode", "reconstruct", "log_prob"):
        np.testing.assert_array_equal(getattr(loaded, method)(x), getattr(memory, method)(x))
    assert loaded.columns == memory.columns
    assert loaded.loss_floor() == memory.loss_floor()


def test_the_last_checkpoint_serves_where_no_best_exists(gaussian_run: Any, tmp_path: Path, rows: np.ndarray) -> None:
    run_dir = shutil.copytree(gaussian_run.run_dir, tmp_path / "run")
    (run_dir / "checkpoints" / "best.ckpt").unlink()
    assert load(run_dir).encode(rows).shape == (len(rows), 2)


def test_loading_leaves_the_global_stream_alone(gaussian_run: Any) -> None:
    state = torch.get_rng_state()
    load(gaussian_run.run_dir)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("likelihood", ["gaussian", "continuous_bernoulli", "bernoulli"])
@pytest.mark.parametrize("architecture", [["model.residual=true", "model.decoder_dims=[3,5]", "model.activation=silu"]])
def test_every_kind_of_model_is_rebuilt(
    train: Callable[..., Any], tmp_path: Path, likelihood: str, architecture: list[str]
) -> None:
    words = ["data=digits", "data.batch_size=512", f"likelihood={likelihood}", *architecture, "trainer.max_epochs=1"]
    model = load(train(tmp_path, *words).run_dir)
    assert [layer.out_features for layer in model.vae.decoder.modules() if hasattr(layer, "out_features")][-1] == 5
    sample = model.sample(3, seed=0)
    assert sample.shape == (3, 64)
    assert np.isfinite(model.log_prob(sample.clip(0, 16), num_samples=3)).all()


# --- shapes, frames and arrays ---------------------------------------------------------------------------------------


def test_arrays_give_arrays(model: VAEModel, rows: np.ndarray) -> None:
    loc, std = model.encode(rows, return_std=True)
    assert loc.shape == std.shape == (len(rows), 2)
    assert (std > 0).all()
    np.testing.assert_array_equal(model.encode(rows), loc)
    assert model.reconstruct(rows).shape == rows.shape
    assert model.log_prob(rows, num_samples=3).shape == (len(rows),)
    assert all(isinstance(a, np.ndarray) for a in (loc, std, model.reconstruct(rows), model.log_prob(rows, 3)))


def test_frames_give_frames_with_the_same_index(model: VAEModel, frame: pd.DataFrame) -> None:
    loc, std = model.encode(frame, return_std=True)
    assert list(loc.columns) == list(std.columns) == ["z0", "z1"]
    assert list(model.reconstruct(frame).columns) == list(frame.columns)
    for given in (loc, std, model.reconstruct(frame), model.log_prob(frame, num_samples=3)):
        pd.testing.assert_index_equal(given.index, frame.index)
    np.testing.assert_array_equal(loc, model.encode(frame.to_numpy()))
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
        (lambda f: f.assign(x2=np.nan), "missing or infinite, the first in row 'row0', column 'x2'"),
        (lambda f: f.assign(x2=np.inf), "missing or infinite"),
    ],
)
@pytest.mark.parametrize("method", ["encode", "reconstruct", "log_prob"])
def test_rows_that_do_not_fit_are_named(
    model: VAEModel, frame: pd.DataFrame, method: str, change: Callable[[pd.DataFrame], Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        getattr(model, method)(change(frame))


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
    preprocess = Standardize(2).fit(np.array([[0.0, 10.0], [4.0, 70.0]]))
    model = VAEModel(vae, preprocess, [Column("a", "float64"), Column("b", "float64")]).eval()
    with torch.no_grad():
        draws = preprocess.inverse(vae.decode(torch.tensor([[1.5]])).sample((40_000,)))[:, 0].numpy()
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


# --- units: law 4 ----------------------------------------------------------------------------------------------------


def test_log_prob_agrees_with_the_evaluation(model: VAEModel, rows: np.ndarray, gaussian_run: Any) -> None:
    test = gaussian_run.summary["test"]
    assert -model.log_prob(rows, num_samples=200).mean() == pytest.approx(test["nll"], abs=0.15)
    assert -model.log_prob(rows, num_samples=1).mean() == pytest.approx(test["nelbo"], abs=0.3)


def collapsed(likelihood: Likelihood, preprocess: Preprocess) -> VAEModel:
    """A model whose posterior is the prior and whose decoder is constant: its log p(x) is known exactly."""
    vae = VAE(likelihood, 1, [])
    torch.nn.init.zeros_(vae.heads.weight)
    return VAEModel(vae, preprocess, [Column("a", "float64"), Column("b", "float64")])


def test_log_prob_is_a_density_of_the_data_not_of_the_model_units() -> None:
    x = np.array([[1.0, -300.0], [3.0, 500.0], [2.0, 100.0]])
    preprocess = Standardize(2).fit(x)
    mean, std = x.mean(0), x.std(0)
    expected = -0.5 * (((x - mean) / std) ** 2 + np.log(2 * math.pi * std**2)).sum(1)
    np.testing.assert_allclose(collapsed(Gaussian(2, "fixed"), preprocess).log_prob(x, 10), expected, atol=1e-5)


@pytest.mark.parametrize("factors", [(1000.0, 0.001, 2.0, 1.0), (3.0, 3.0, 3.0, 3.0)])
def test_a_change_of_units_changes_the_nll_by_its_logarithm_exactly(
    gaussian_run: Any, model: VAEModel, rows: np.ndarray, factors: tuple[float, ...]
) -> None:
    a, shift = np.array(factors), np.array([5.0, -1.0, 0.0, 100.0])
    other = load(gaussian_run.run_dir)
    other.preprocess.scale *= torch.from_numpy(a)
    other.preprocess.mean.mul_(torch.from_numpy(a)).add_(torch.from_numpy(shift))
    difference = model.log_prob(rows, 10) - other.log_prob(rows * a + shift, 10)
    np.testing.assert_allclose(difference, np.log(a).sum(), atol=2e-4)
    assert other.loss_floor() - model.loss_floor() == pytest.approx(np.log(a).sum())
    np.testing.assert_allclose(other.reconstruct(rows * a + shift), model.reconstruct(rows) * a + shift, rtol=1e-4)
    np.testing.assert_allclose(other.sample(5, seed=0), model.sample(5, seed=0) * a + shift, rtol=1e-6)


@pytest.mark.parametrize("preprocess", [Identity, MinMax, Binarize])
def test_probabilities_have_no_units(preprocess: type[Preprocess]) -> None:
    bits = np.array([[0, 1.0], [1, 1], [1, 0]])
    model = collapsed(Bernoulli(2), preprocess(2).fit(bits))
    scaled = collapsed(Bernoulli(2), Binarize(2).fit(50 * bits))
    assert model.log_abs_det() == scaled.log_abs_det() == model.loss_floor() == 0
    np.testing.assert_allclose(model.log_prob(bits, 5), -2 * math.log(2), rtol=1e-5)
    np.testing.assert_array_equal(model.log_prob(bits, 5), scaled.log_prob(50 * bits, 5))


@pytest.mark.parametrize(
    ("likelihood", "preprocess", "measure"),
    [
        (Gaussian(2), Identity(2), "density, data units"),
        (Gaussian(2), Standardize(2), "density, data units"),
        (Gaussian(2), MinMax(2, (0, 16)), "density, data units"),
        (Gaussian(2), Binarize(2), "density, rows binarized at 0.5"),
        (Bernoulli(2), Identity(2), "probability, rows as they are"),
        (Bernoulli(2), MinMax(2), "probability, rows scaled to [0, 1]"),
        (Bernoulli(2), Binarize(2, threshold=0.25), "probability, rows binarized at 0.25"),
        (Bernoulli(2), Binarize(2, threshold=0.25, resample=True), "probability, rows binarized at random"),
    ],
)
def test_the_measure_tells_apart_what_cannot_be_compared(
    likelihood: Likelihood, preprocess: Preprocess, measure: str
) -> None:
    assert collapsed(likelihood, preprocess).measure == measure


# --- a stranger's run ------------------------------------------------------------------------------------------------


class Payload:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def stranger(tmp_path: Path, content: Any) -> Path:
    """A run directory whose best checkpoint holds ``content``."""
    (tmp_path / "checkpoints").mkdir()
    torch.save(content, tmp_path / "checkpoints" / "best.ckpt")
    return tmp_path


def forged(run: Any, tmp_path: Path, record: Any) -> Path:
    """A run directory whose best checkpoint says ``record`` of its model."""
    return stranger(tmp_path, {**run.checkpoint("best"), "vae_lightning": json.dumps(record)})


def test_a_checkpoint_with_code_inside_is_refused_and_the_code_does_not_run(gaussian_run: Any, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    run_dir = stranger(tmp_path, {**gaussian_run.checkpoint("best"), "extra": Payload(proof)})
    with pytest.raises(RunError, match="damaged, or holds more than tensors and plain values"):
        load(run_dir)
    assert not proof.exists()
    torch.load(run_dir / "checkpoints" / "best.ckpt", weights_only=False)
    assert proof.exists(), "the payload was no threat, so the test shows nothing"


def test_a_bare_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    with pytest.raises(RunError, match="cannot be read"):
        load(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "torch.nn.Linear",
        "vae_lightning.likelihoods.gaussian.check_parameter",
        "vae_lightning.likelihoods.base.nn.Linear",
        "vae_lightning.likelihoods..gaussian.Gaussian",
        "vae_lightning.likelihoods.nowhere.Gaussian",
        "vae_lightning.runs.run.run",
        None,
    ],
)
def test_only_this_packages_likelihoods_are_built(gaussian_run: Any, tmp_path: Path, target: str | None) -> None:
    record = gaussian_run.record
    record["config"]["likelihood"]["_target_"] = target
    with pytest.raises(UserError, match="likelihood"):
        load(forged(gaussian_run, tmp_path, record))


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("preprocess", "kind", "os.system"),
        ("preprocess", "threshol", 1),
        ("model", "latent_dims", 2),
        ("model", "hidden_dims", "os.system"),
        ("likelihood", "variance", "os.system"),
        ("model", "latent_dim", 7),
    ],
)
def test_a_record_that_makes_no_sense_is_one_message(
    gaussian_run: Any, tmp_path: Path, part: str, name: str, value: Any
) -> None:
    record = gaussian_run.record
    record["config"][part][name] = value
    with pytest.raises(UserError):
        load(forged(gaussian_run, tmp_path, record))


@pytest.mark.parametrize("part", ["model", "likelihood", "preprocess"])
def test_a_record_cannot_choose_what_is_built_around_it(gaussian_run: Any, tmp_path: Path, part: str) -> None:
    record = gaussian_run.record
    record["config"][part]["_partial_"] = True
    with pytest.raises(UserError):
        load(forged(gaussian_run, tmp_path, record))


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], 3], ids=["dict", "list", "number"])
def test_another_programs_checkpoint_is_called_that(tmp_path: Path, content: Any) -> None:
    with pytest.raises(RunError, match="no checkpoint of vae_lightning"):
        load(stranger(tmp_path, content))


@pytest.mark.parametrize("lacking", ["columns", "config"])
def test_a_record_that_lacks_a_part_is_one_message(gaussian_run: Any, tmp_path: Path, lacking: str) -> None:
    record = gaussian_run.record
    del record[lacking]
    with pytest.raises(RunError, match="does not say how its model is built"):
        load(forged(gaussian_run, tmp_path, record))


@pytest.mark.parametrize(
    "change",
    [
        {"config": {}},
        {"config": 3},
        {"columns": [["x0"]]},
        {"columns": 7},
        {"columns": [["x0", "nonsense"]] * 4},
    ],
    ids=str,
)
def test_a_record_of_another_shape_is_one_message(gaussian_run: Any, tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        load(forged(gaussian_run, tmp_path, {**gaussian_run.record, **change})).sample(1)


def test_a_checkpoint_without_weights_is_one_message(gaussian_run: Any, tmp_path: Path) -> None:
    checkpoint = gaussian_run.checkpoint("best")
    del checkpoint["state_dict"]
    with pytest.raises(RunError):
        load(stranger(tmp_path, checkpoint))


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_truncated_checkpoint_is_called_damaged(gaussian_run: Any, tmp_path: Path, keep: float) -> None:
    whole = (gaussian_run.run_dir / "checkpoints" / "best.ckpt").read_bytes()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").write_bytes(whole[: int(keep * len(whole)) if keep < 1 else int(keep)])
    with pytest.raises(RunError, match="damaged"):
        load(tmp_path)


def test_a_directory_without_checkpoint_says_what_was_expected(tmp_path: Path) -> None:
    for run_dir in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RunError, match=r"holds no checkpoint: expected .*best\.ckpt"):
            load(run_dir)


# --- the module after fit --------------------------------------------------------------------------------------------


def test_the_fitted_module_has_the_methods_of_its_model_in_evaluation_mode(
    train: Callable[..., Any], tmp_path: Path
) -> None:
    held = {}
    keep = {
        "_target_": "lightning.pytorch.callbacks.LambdaCallback",
        "on_fit_end": lambda _, module: held.update(module=module),
    }
    run = train(tmp_path, "model.dropout=0.5", "trainer.max_epochs=1", keep=keep)
    module, loaded = held["module"], load(run.run_dir)
    x = np.random.default_rng(0).normal(size=(6, 4))
    module.train()
    for name in ("encode", "reconstruct", "score", "log_prob"):
        np.testing.assert_array_equal(getattr(module, name)(x), getattr(loaded, name)(x), err_msg=name)
    pd.testing.assert_frame_equal(module.score_by_column(x), loaded.score_by_column(x))
    pd.testing.assert_frame_equal(module.sample(5, seed=1), loaded.sample(5, seed=1))
    assert module.threshold(0.5) == pytest.approx(loaded.threshold(0.5), rel=1e-9)
    assert module.evaluate(x, x, num_samples=5) == loaded.evaluate(x, x, num_samples=5)
    assert module.info() == loaded.info()
    assert module.training
    assert module.model.training


def test_evaluating_data_rows_gives_the_numbers_of_the_summary(gaussian_run: Any) -> None:
    dataset = build(gaussian_run.settings).dataset
    found = load(gaussian_run.run_dir).evaluate(dataset.test.x, dataset.train.x, num_samples=10, seed=0)
    assert found.as_dict() == pytest.approx(gaussian_run.summary["test"], rel=1e-6)


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
    pd.testing.assert_frame_equal(rows, pd.concat(model.sample_batches(20_000, seed=0)))
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
