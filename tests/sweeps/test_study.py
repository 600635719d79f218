"""Optuna's parts as the settings name them."""

import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from vae_lightning.errors import ConfigError, RunError
from vae_lightning.sweeps.space import Axis
from vae_lightning.sweeps.study import PRUNERS, SAMPLERS, open_study, pruner_of, sampler_of, storage_of

SPACE = {
    "x": Axis("x", FloatDistribution(0, 1, step=0.25)),
    "n": Axis("n", IntDistribution(1, 4)),
    "c": Axis("c", CategoricalDistribution(["a", "b"]), ("a", "b")),
}


def search(sampler: str, study: optuna.Study, trials: int, seed: int = 0) -> list[dict[str, object]]:
    """Ask and tell as the sweeper does: a sampler of its own for every trial."""
    for _ in range(trials):
        number = len(study.trials)
        study.sampler = sampler_of(sampler, {}, seed, number, SPACE)
        trial = study.ask({key: axis.distribution for key, axis in SPACE.items()})
        if sampler == "grid":  # its last tell ends a loop of Optuna's that is not there
            study.sampler = optuna.samplers.RandomSampler()
        study.tell(trial, (trial.params["x"] - 0.5) ** 2 + trial.params["n"])
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_a_search_that_was_interrupted_draws_what_an_unbroken_one_draws(sampler: str, tmp_path: Path) -> None:
    whole = search(sampler, open_study(str(tmp_path / "whole.journal"), "s", ["minimize"]), 14)
    for trials in (6, 1, 7):
        torn = search(sampler, open_study(str(tmp_path / "torn.journal"), "s", ["minimize"]), trials)
    assert torn == whole
    assert len({tuple(params.items()) for params in whole}) > 7
    other = search(sampler, open_study(str(tmp_path / "other.journal"), "s", ["minimize"]), 14, seed=1)
    assert other != whole


def test_a_grid_search_covers_its_grid_once(tmp_path: Path) -> None:
    found = search("grid", open_study(str(tmp_path / "g.journal"), "s", ["minimize"]), 40)
    assert {tuple(params.values()) for params in found} == {
        (x, n, c) for x in (0.0, 0.25, 0.5, 0.75, 1.0) for n in (1, 2, 3, 4) for c in "ab"
    }


def test_storages(tmp_path: Path) -> None:
    assert storage_of("journal", tmp_path) == str(tmp_path / "study.journal")
    assert storage_of("sqlite", tmp_path) == f"sqlite:///{tmp_path / 'study.db'}"
    assert storage_of("memory", tmp_path) == "memory"
    assert storage_of("my.journal", tmp_path) == str(Path.cwd() / "my.journal")
    assert storage_of("postgresql+psycopg://me@host/base", tmp_path) == "postgresql+psycopg://me@host/base"
    with pytest.raises(ConfigError, match=r"The 'storage' parameter of hydra.sweeper must be journal.*Got 'jurnal'"):
        storage_of("jurnal", tmp_path)


def test_a_study_outlives_its_process(tmp_path: Path) -> None:
    storages = [storage_of(words, tmp_path) for words in ("journal", "sqlite")]
    program = (
        "from vae_lightning.sweeps.study import open_study\n"
        f"for storage in {storages!r}:\n"
        "    study = open_study(storage, 's', ['minimize', 'maximize'])\n"
        "    trial = study.ask(); trial.suggest_float('x', 0, 1); study.tell(trial, [1.0, 2.0])\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    for storage in storages:
        study = open_study(storage, "s")
        assert [trial.values for trial in study.trials] == [[1.0, 2.0]]
        with pytest.raises(
            RunError, match=r"has the directions \['minimize', 'maximize'\]. Got \['minimize'\] instead"
        ):
            open_study(storage, "s", ["minimize"])
        with pytest.raises(RunError, match=r"The study t in .* cannot be opened"):
            open_study(storage, "t")


def test_a_storage_that_cannot_be_opened_is_said_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="pip install") as missing:
        open_study("postgresql+nodriver://me:secret@host/base", "s", ["minimize"])
    assert "secret" not in str(missing.value)
    (tmp_path / "text.db").write_text("no data base " * 100)
    with pytest.raises(RunError, match="cannot be opened"):
        open_study(f"sqlite:///{tmp_path / 'text.db'}", "s", ["minimize"])


def test_names_and_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'cmaes'"):
        sampler_of("cma", {}, 0, 0, SPACE)
    with pytest.raises(ConfigError, match=r"sampler_options.n_startup_trial. Did you mean 'n_startup_trials'"):
        sampler_of("tpe", {"n_startup_trial": 3}, 0, 0, SPACE)
    with pytest.raises(ConfigError, match="Did you mean 'hyperband'"):
        pruner_of("hyper", {})
    with pytest.raises(ConfigError, match=r"pruner_options\.warmup"):
        pruner_of("median", {"warmup": 3})
    pruner = pruner_of("median", {"n_startup_trials": 3})
    assert isinstance(pruner, PRUNERS["median"])
    assert pruner._n_startup_trials == 3
