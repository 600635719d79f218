"""From a run directory to the trained model, whoever wrote it: names, plain values and tensors, never code."""

import json
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

from vae_lightning import load
from vae_lightning.errors import RunError, UserError
from vae_lightning.inference.checkpoint import record_of
from vae_lightning.likelihoods.base import Likelihood


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
    memory.train()  # using it does not depend on the mode it is in
    for method in ("encode", "reconstruct", "score", "log_prob"):
        np.testing.assert_array_equal(getattr(loaded, method)(x), getattr(memory, method)(x), err_msg=method)
    pd.testing.assert_frame_equal(memory.score_by_column(x), loaded.score_by_column(x))
    pd.testing.assert_frame_equal(memory.sample(5, seed=1), loaded.sample(5, seed=1))
    assert memory.evaluate(x, x, num_samples=5) == loaded.evaluate(x, x, num_samples=5)
    assert memory.threshold(0.5) == pytest.approx(loaded.threshold(0.5), rel=1e-9)
    assert memory.info() == loaded.info()
    assert memory.training
    assert loaded.columns == memory.columns
    assert loaded.loss_floor() == memory.loss_floor()


def test_the_last_checkpoint_serves_where_no_best_exists(gaussian_run: Any, tmp_path: Path) -> None:
    run_dir = shutil.copytree(gaussian_run.run_dir, tmp_path / "run")
    (run_dir / "checkpoints" / "best.ckpt").unlink()
    assert load(run_dir).encode(np.zeros((7, 4))).shape == (7, 2)


def test_loading_leaves_the_global_stream_alone(gaussian_run: Any) -> None:
    state = torch.get_rng_state()
    load(gaussian_run.run_dir)
    assert torch.equal(torch.get_rng_state(), state)


def test_every_kind_of_model_is_rebuilt(train: Callable[..., Any], tmp_path: Path) -> None:
    network = ["model.residual=true", "model.decoder_dims=[3,5]", "model.activation=silu", "model.latent_dim=2"]
    words = ["data=table", "data.batch_size=16", "trainer.max_epochs=1", "test.num_samples=2", *network]
    choices = [*(f"likelihood={name}" for name in Likelihood.families()), "prior=mixture"]
    for number, choice in enumerate(choices):
        group, name = choice.split("=")
        family = Likelihood.named(name if group == "likelihood" else "gaussian", group)(4)
        torch.manual_seed(0)
        np.save(tmp_path / "rows.npy", family(torch.zeros(60, family.raw_size)).sample().numpy())
        path = f"data.path={tmp_path / 'rows.npy'}"
        run = train(tmp_path / str(number), *words, path, f"likelihood={family.name()}", choice)
        model = load(run.run_dir)
        widths = [layer.out_features for layer in model.vae.decoder.modules() if hasattr(layer, "out_features")]
        assert widths[-1] == 5
        # What was built from names says the same names again.
        assert record_of(model) == run.record, choice
        part = {"likelihood": model.vae.likelihood, "prior": model.vae.prior}[group]
        assert part.name() == run.record["config"][group]["name"] == name
        sample = model.sample(3, seed=0)
        assert sample.shape == (3, 4)
        assert np.isfinite(model.log_prob(sample, num_samples=3)).all()


# --- a stranger's run ------------------------------------------------------------------------------------------------


class Payload:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def stranger(tmp_path: Path, content: Any) -> Path:
    """A run directory whose best checkpoint holds ``content``."""
    (tmp_path / "checkpoints").mkdir(parents=True)
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


@pytest.mark.parametrize("group", ["likelihood", "posterior", "prior", "preprocess"])
def test_only_families_of_this_package_are_built(gaussian_run: Any, tmp_path: Path, group: str) -> None:
    names = [
        "os.system",
        "torch.nn.Linear",
        "vae_lightning.likelihoods.gaussian",
        "..gaussian",
        "gaussian.check_parameter",
        "base",
        "by_column",
        "scale",
        "nowhere",
        "",
        3,
        ["gaussian"],
        None,
    ]
    for number, name in enumerate(names):
        record = gaussian_run.record
        record["config"][group]["name"] = name
        with pytest.raises(UserError, match=rf"There is no (data\.)?{group}="):
            load(forged(gaussian_run, tmp_path / str(number), record))


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("preprocess", "name", "os.system"),
        ("preprocess", "threshol", 1),
        ("model", "latent_dims", 2),
        ("model", "hidden_dims", "os.system"),
        ("likelihood", "variance", "os.system"),
        ("likelihood", "_target_", "os.system"),
        ("likelihood", "num_columns", 7),
        ("posterior", "log_var_bound", -1),
        ("posterior", "latent_dim", 7),
        ("prior", "num_components", 3),
        ("prior", "_target_", "os.system"),
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


@pytest.mark.parametrize("part", ["model", "likelihood", "posterior", "prior", "preprocess"])
def test_a_record_cannot_choose_what_is_built_around_it(gaussian_run: Any, tmp_path: Path, part: str) -> None:
    record = gaussian_run.record
    record["config"][part]["_partial_"] = True
    with pytest.raises(UserError):
        load(forged(gaussian_run, tmp_path, record))


def test_a_record_holds_names_and_plain_values_and_no_import_path(gaussian_run: Any) -> None:
    config = gaussian_run.record["config"]
    assert {config[group]["name"] for group in ("likelihood", "posterior", "prior", "objective", "preprocess")} == {
        "gaussian",
        "standard_normal",
        "elbo",
        "standardize",
    }
    ours = {key: config[key] for key in ("model", "likelihood", "posterior", "prior", "objective", "preprocess")}
    assert "_target_" not in json.dumps(ours)


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
