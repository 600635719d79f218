"""One parse: what is illegal never becomes settings, and what does says everything that is in force."""

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vae_lightning.config.build import build
from vae_lightning.config.prepare import load_dataset
from vae_lightning.config.record import recorded_dataset
from vae_lightning.config.settings import RUN_DIR, Settings
from vae_lightning.data.dataset import Dataset
from vae_lightning.data.sources.base import Source
from vae_lightning.data.sources.synthetic import LinearGaussian
from vae_lightning.errors import ConfigError, DataError

Compose = Callable[..., dict[str, Any]]


class Elsewhere(Source):
    """A source of rows that somebody else wrote."""

    def __init__(self, num_rows: int = 100) -> None:
        self.num_rows = num_rows

    def load(self) -> Dataset:
        return LinearGaussian(num_rows=self.num_rows, num_columns=3, latent_dim=1).load()


@pytest.fixture
def config(compose_config: Compose, tmp_path: Path) -> dict[str, Any]:
    return compose_config(tmp_path / "run")


def test_every_default_is_filled_in(config: dict[str, Any]) -> None:
    settings = Settings.parse(config)
    assert settings.source["noise_scale"] == 0.5
    assert (settings.rows.threshold, settings.rows.batch_size) == (None, 32)
    assert settings.model["activation"] == "auto"
    assert settings.model["decoder_dims"] is None
    assert "posterior" not in settings.model
    assert settings.posterior == {"name": "gaussian", "log_var_bound": 30.0}
    assert settings.prior == {"name": "standard_normal"}
    assert settings.objective == {"name": "elbo", "num_samples": 1, "beta": 1.0, "warmup": "none", "warmup_epochs": 10}
    assert settings.optimizer["betas"] == [0.9, 0.999]
    assert settings.scheduler == {"_target_": "vae_lightning.Cosine", "warmup": 0.1, "epochs": 2}
    assert settings.fast is True


def test_in_full_tells_the_defaults_of_lightnings_classes_too(config: dict[str, Any]) -> None:
    full = Settings.parse(config).in_full()
    assert full["trainer"]["max_epochs"] == 2
    assert full["trainer"]["accumulate_grad_batches"] == 1
    assert full["trainer"]["fast"] is True
    assert full["callbacks"]["guard"]["every_n_steps"] == 200
    assert full["callbacks"]["best"]["dirpath"] == f"{RUN_DIR}/checkpoints"
    assert full["callbacks"]["figures"] is None
    assert full["logger"]["csv"]["save_dir"] == RUN_DIR
    assert not {"run_dir", "resume", "debug", "sweep", "launcher"} & full.keys()


def test_settings_are_frozen_and_parsed_from_their_own_words(config: dict[str, Any], tmp_path: Path) -> None:
    settings = Settings.parse(config)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.seed = 1  # type: ignore[misc]
    again = Settings.parse({**settings.as_dict(), "run_dir": str(tmp_path / "run")})
    assert again.as_dict() == settings.as_dict()
    assert Settings.parse({**settings.in_full(), "run_dir": "x"}).parts == settings.parts
    assert json.loads(json.dumps(settings.as_dict())) == settings.as_dict()


@pytest.mark.parametrize(
    ("group", "change", "says"),
    [
        ("seed", -1, "The 'seed' parameter of train.py must be a whole number from 0 to 4294967295. Got -1 instead."),
        ("seed", True, "Got True instead."),
        ("seed", 2**32, "Got 4294967296 instead."),
        (
            "torch",
            {"threads": 0},
            "The 'threads' parameter of torch must be a whole number from 1 to 1024, or null. Got 0 instead.",
        ),
        ("torch", {"matmul_precision": "low"}, "must be one of highest, high, medium. Got 'low' instead."),
        ("torch", {"thread": 1}, "There is no setting torch.thread. Did you mean 'threads'?"),
        (
            "test",
            {"num_samples": 0},
            "'num_samples' parameter of test must be a whole number from 1 on, or auto.",
        ),
        (
            "data",
            {"batch_size": 1.5},
            "'batch_size' parameter of data must be a whole number from 1 on, or auto. Got 1.5",
        ),
        ("data", {"batchsize": 1}, "There is no setting data.batchsize. Did you mean 'batch_size'?"),
        ("data", {"num_row": 1}, "There is no setting data.num_row. Did you mean 'num_rows'?"),
        ("data", {"num_rows": "many"}, "The 'num_rows' parameter of LinearGaussian must be a whole number."),
        ("data", {"name": "syntetic"}, "There is no data=syntetic. Did you mean 'synthetic'?"),
        ("data", {"_target_": "os.system"}, "data names two sources, synthetic and os.system."),
        ("model", {"latent_dims": 1}, "There is no setting model.latent_dims. Did you mean 'latent_dim'?"),
        ("model", {"prior": None}, "There is no setting model.prior."),
        ("likelihood", {"name": "gausian"}, "There is no likelihood=gausian. Did you mean 'gaussian'?"),
        ("likelihood", {"_target_": "os.system"}, "There is no setting likelihood._target_."),
        ("likelihood", {"num_columns": 3}, "There is no setting likelihood.num_columns."),
        ("objective", {"beta": "one"}, "The 'beta' parameter of ELBO must be a number. Got 'one' instead."),
        ("optimizer", {"params": []}, "There is no setting optimizer.params."),
        ("optimizer", {"_target_": "torch.optim.Adan"}, "names nothing that can be imported"),
        ("trainer", {"fast": 1}, "The 'fast' parameter of trainer must be true or false. Got 1 instead."),
        (
            "callbacks",
            {"gard": {"patience": 3}},
            "There is no callbacks.gard: nothing says what to build.",
        ),
    ],
)
def test_what_is_illegal_never_becomes_settings(config: dict[str, Any], group: str, change: Any, says: str) -> None:
    changed = {**config[group], **change} if isinstance(change, dict) else change
    with pytest.raises(ConfigError) as refused:
        Settings.parse({**config, group: changed})
    assert says in str(refused.value)


def test_a_part_without_a_name_is_asked_for(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^prior names nothing to build: it has no name\. Try prior=NAME\.$"):
        Settings.parse({**config, "prior": {}})
    with pytest.raises(ConfigError, match=r"^data names no source of rows\. Try data=NAME\.$"):
        load_dataset(Settings.parse({**config, "data": {"batch_size": 3}}))


def test_settings_of_the_trainer_are_held_against_lightnings(config: dict[str, Any]) -> None:
    config["trainer"]["max_epoch"] = 3
    with pytest.raises(ConfigError, match=r"There is no setting trainer\.max_epoch\. Did you mean 'max_epochs'\?"):
        build(Settings.parse(config))


# --- sources: ours by name, anybody's by their class -----------------------------------------------------------------


def test_somebody_elses_source_is_built_and_not_believed_from_a_record(config: dict[str, Any]) -> None:
    node = {"_target_": f"{__name__}.Elsewhere", "num_rows": 60, "batch_size": 20}
    built = build(Settings.parse({**config, "data": node}))
    record = built.module.model.record
    assert sum(map(len, (built.dataset.train, built.dataset.valid, built.dataset.test))) == 60
    assert record["data"]["source"] == {"_target_": f"{__name__}.Elsewhere", "num_rows": 60}
    names = [column.name for column in built.dataset.columns]
    with pytest.raises(DataError, match=rf"rows of {__name__}\.Elsewhere, which is none of this package's sources"):
        recorded_dataset(record, names)


def test_recorded_rows_are_found_again_by_the_sources_name(config: dict[str, Any]) -> None:
    built = build(Settings.parse(config))
    record, names = built.module.model.record, [column.name for column in built.dataset.columns]
    source = record["data"]["source"]
    assert source["name"] == "synthetic"
    assert recorded_dataset(record, names).fingerprint == built.dataset.fingerprint
    for change, says in (
        ({"name": "os.system"}, r"There is no data=os\.system"),
        ({"brandnew": 1}, r"There is no setting data\.brandnew"),
        ({"seed": 99}, "not those that the run was trained on"),
    ):
        other = {**record, "data": {**record["data"], "source": {**source, **change}}}
        with pytest.raises((ConfigError, DataError), match=says):
            recorded_dataset(other, names)


def test_a_record_holds_names_and_plain_values(config: dict[str, Any]) -> None:
    words = json.dumps(build(Settings.parse(config)).module.model.record)
    assert re.findall(r"vae_lightning[\w.]*", words) == ["vae_lightning.Cosine"], "a file may move"
    assert '"likelihood": {"name": "gaussian"' in words


# --- start-up --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["data=table", "data.path=missing.csv"], "There is no file 'missing.csv'"),
        (
            ["data=table", "data.path=rows.csv", "likelihood=bernoulli", "data.batch_size=8"],
            "do not fit the bernoulli likelihood",
        ),
    ],
)
def test_a_mistake_in_the_data_is_told_before_lightning_is_imported(
    tmp_path: Path, words: list[str], says: str
) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n" + "\n".join(f"{-3.1 + i * 0.1},{i % 7}" for i in range(60)))
    program = (
        "import sys\nfrom vae_lightning.cli.main import train\n"
        f"try:\n    train({words!r})\n"
        "finally:\n    print(*{'lightning', 'matplotlib', 'torchmetrics', 'sklearn'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stdout.splitlines()[-1].strip() == ""
