"""The fingerprint changes with what a result depends on, and with nothing else."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from vae_lightning.config.overrides import prepare_overrides
from vae_lightning.config.settings import Settings
from vae_lightning.sweeps.base import Job
from vae_lightning.sweeps.configuration import job_of

CONF = Path(__file__).parents[2] / "conf"


def job(*overrides: str) -> Job:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", prepare_overrides(["run_dir=somewhere", *overrides]), return_hydra_config=True)
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    plain: Any = OmegaConf.to_container(own, resolve=True)
    return job_of(Settings.parse(plain), config.hydra.runtime.choices, overrides)


PLAIN = job()


@pytest.mark.parametrize(
    "overrides",
    [
        ["seed=0"],
        ["likelihood=bernoulli"],
        ["objective.beta=1"],
        ["logger=none"],
        ["callbacks.progress=null"],
        ["objective.beta=1.0"],  # a constructor's default that no yaml repeats
        ["model.latent_dim=auto", "trainer.max_epochs=auto", "optimizer.lr=auto"],
        ["run_dir=elsewhere"],
        ["debug=true"],
        ["torch.threads=3"],
        ["sweep.on_error=stop", "sweep.dir=there"],
        ["launcher=submitit_local"],
        ["resume=run"],
    ],
    ids=" ".join,
)
def test_the_same_job_has_the_same_fingerprint(overrides: list[str], tmp_path: Path) -> None:
    if overrides == ["resume=run"]:
        (tmp_path / ".hydra").mkdir()
        (tmp_path / ".hydra" / "overrides.yaml").write_text("[]")
        overrides = [f"resume={tmp_path}", "hydra.output_subdir=.hydra"]
    assert job(*overrides).fingerprint == PLAIN.fingerprint


def test_an_experiment_is_the_overrides_that_it_stands_for() -> None:
    typed = job(
        "data=correlated_bits",
        "likelihood=bernoulli",
        "model.latent_dim=16",
        "model.hidden_dims=[256,128,64,32,16]",
        "model.decoder_dims=[16,32,64,128,256]",
        "trainer.max_epochs=10",
        "data.batch_size=128",
        "optimizer.lr=0.001",
        "scheduler=none",
    )
    assert job("experiment=forum_question").fingerprint == typed.fingerprint


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "likelihood=gaussian",
        "objective.beta=2",
        "model.latent_dim=3",
        "data.batch_size=64",
        "data=correlated_bits",
        "trainer.max_epochs=3",
        "test.num_samples=7",
        "torch.matmul_precision=medium",
        "scheduler=none",
        "optimizer.lr=0.003",
        "callbacks.early_stopping.patience=3",
    ],
)
def test_another_job_has_another_fingerprint(override: str) -> None:
    assert job(override).fingerprint != PLAIN.fingerprint


def test_settings_name_choices_and_defaults() -> None:
    settings = job("likelihood=gaussian", "seed=3").settings
    assert settings["likelihood"] == "gaussian"
    assert settings["likelihood.variance"] == "per_column"
    assert settings["objective.beta"] == 1.0
    assert settings["posterior.log_var_bound"] == 30.0
    assert settings["data.threshold"] is None
    assert settings["seed"] == 3
    assert not [name for name in settings if "somewhere" in str(settings[name])]
    assert not {"run_dir", "launcher", "sweep", "sweep.dir", "hydra"} & set(settings)
