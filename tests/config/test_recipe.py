"""What auto stands for: from the rows, within stated bounds, and never over what was typed."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vae_lightning import VAEEstimator
from vae_lightning.config.prepare import load_dataset, prepare
from vae_lightning.config.recipe import (
    LEAST_BATCH,
    LEAST_EPOCHS,
    LEAST_PATIENCE,
    LEAST_STEPS,
    MOST_BATCH,
    MOST_EPOCHS,
    MOST_LATENTS,
    MOST_STEPS,
    PATIENCE,
    USUAL_LATENTS,
    Recipe,
    fit_to_rows,
)
from vae_lightning.config.settings import AUTO, Settings
from vae_lightning.errors import ConfigError
from vae_lightning.likelihoods.support import BINARY, COUNT, UNIT

Compose = Callable[..., dict[str, Any]]
SIZES = [1, 2, 5, 15, 16, 17, 20, 100, 300, 1437, 2000, 5000, 20_000, 60_000, 1_000_000, 50_000_000]
AUTOMATIC = ["data.batch_size=", "model.latent_dim=", "trainer.max_epochs=", "callbacks.early_stopping.patience="]
"""Takes back the numbers that make the tests' runs tiny."""


def steps(num_rows: int, recipe: Recipe) -> int:
    return recipe.max_epochs * math.ceil(num_rows / recipe.batch_size)


# The numbers.


@pytest.mark.parametrize("num_rows", SIZES)
def test_every_number_lies_within_its_stated_bounds(num_rows: int) -> None:
    recipe = Recipe.of(num_rows, 10)
    assert min(LEAST_BATCH, num_rows) <= recipe.batch_size <= min(MOST_BATCH, num_rows)
    assert LEAST_EPOCHS <= recipe.max_epochs <= MOST_EPOCHS
    assert recipe.patience == max(LEAST_PATIENCE, math.ceil(PATIENCE * recipe.max_epochs))
    assert recipe.patience <= recipe.max_epochs
    per_epoch = math.ceil(num_rows / recipe.batch_size)
    if LEAST_EPOCHS < recipe.max_epochs < MOST_EPOCHS:
        assert LEAST_STEPS <= steps(num_rows, recipe) < MOST_STEPS + per_epoch


def test_more_rows_never_mean_fewer_steps_or_a_smaller_batch() -> None:
    recipes = [Recipe.of(n, 10) for n in SIZES]
    batches = [recipe.batch_size for recipe in recipes]
    assert batches == sorted(batches)
    done = [steps(n, recipe) for n, recipe in zip(SIZES, recipes, strict=True)]
    for fewer, more in itertools.pairwise(done):
        assert more > 0.8 * fewer  # whole epochs and powers of two


@pytest.mark.parametrize(("num_columns", "latent_dim"), [(1, 1), (6, 6), (64, 64), (784, MOST_LATENTS)])
def test_as_many_latents_as_columns_up_to_a_bound(num_columns: int, latent_dim: int) -> None:
    assert Recipe.of(1000, num_columns).latent_dim == latent_dim


@pytest.mark.parametrize(("num_columns", "latent_dim"), [(1, 1), (8, 8), (64, USUAL_LATENTS), (112, 28), (784, 64)])
def test_columns_that_are_not_real_get_a_quarter_as_many(num_columns: int, latent_dim: int) -> None:
    for support in (BINARY, UNIT, COUNT):
        recipe = Recipe.of(1000, num_columns, support=support)
        assert recipe.latent_dim == latent_dim
        assert (recipe.activation, Recipe.of(1000, num_columns).activation) == ("relu", "elu")
        assert recipe.lr == (2e-3 if support == COUNT else 5e-3)


def test_the_others_follow_what_is_given() -> None:
    assert Recipe.of(2000, 10, batch_size=500).max_epochs == MOST_EPOCHS
    assert Recipe.of(2000, 10, batch_size=50).max_epochs == 100  # 4,000 steps of 40 an epoch
    assert Recipe.of(2000, 10, max_epochs=80).patience == 20
    assert Recipe.of(2000, 10, batch_size=50, max_epochs=7).batch_size == 50


# In settings.


@pytest.fixture
def settings(compose_config: Compose, tmp_path: Path) -> Settings:
    """Nothing typed."""
    return Settings.parse(compose_config(tmp_path, *AUTOMATIC))


def test_nothing_typed_is_all_automatic_and_no_word_of_it_is_left(settings: Settings) -> None:
    assert settings.rows.batch_size == settings.model["latent_dim"] == settings.trainer["max_epochs"] == AUTO
    filled, recipe = fit_to_rows(settings, 140, 4), Recipe.of(140, 4)
    assert filled.rows.batch_size == recipe.batch_size
    assert filled.model["latent_dim"] == recipe.latent_dim == 4
    assert filled.trainer["max_epochs"] == filled.scheduler["epochs"] == recipe.max_epochs
    assert filled.callbacks["early_stopping"] is not None
    assert filled.callbacks["early_stopping"]["patience"] == recipe.patience
    groups = (filled.model, filled.scheduler, filled.trainer, *filter(None, filled.callbacks.values()))
    assert all(group.get(key) != AUTO for group in groups for key in ("latent_dim", "epochs", "max_epochs", "patience"))
    assert fit_to_rows(filled, 9, 2) == filled


TYPED = {
    "data.batch_size": (17, lambda s: s.rows.batch_size),
    "model.latent_dim": (3, lambda s: s.model["latent_dim"]),
    "trainer.max_epochs": (7, lambda s: s.trainer["max_epochs"]),
    "callbacks.early_stopping.patience": (5, lambda s: s.callbacks["early_stopping"]["patience"]),
    "scheduler.epochs": (11, lambda s: s.scheduler["epochs"]),
}


@pytest.mark.parametrize("key", TYPED)
def test_what_is_typed_wins_and_the_rest_stays_automatic(compose_config: Compose, tmp_path: Path, key: str) -> None:
    words = dict(word.split("=") for word in AUTOMATIC) | {key: str(TYPED[key][0])}
    config = compose_config(tmp_path, *(f"{name}={value}" for name, value in words.items()))
    filled = fit_to_rows(Settings.parse(config), 140, 4)
    typed = {
        "data.batch_size": {"batch_size": 17},
        "trainer.max_epochs": {"max_epochs": 7},
    }.get(key, {})
    recipe = Recipe.of(140, 4, **typed)
    expected = {
        "data.batch_size": recipe.batch_size,
        "model.latent_dim": recipe.latent_dim,
        "trainer.max_epochs": recipe.max_epochs,
        "callbacks.early_stopping.patience": recipe.patience,
        "scheduler.epochs": recipe.max_epochs,
    } | {key: TYPED[key][0]}
    assert {name: read(filled) for name, (_, read) in TYPED.items()} == expected


def test_the_word_stands_for_a_number_only_where_it_is_said_to(compose_config: Compose, tmp_path: Path) -> None:
    for word, says in (
        ("model.dropout=auto", "'dropout'"),
        ("objective.beta=auto", "'beta'"),
        ("trainer.max_epochs=many", "'max_epochs' parameter of trainer must be a whole number from 1 on, -1"),
        ("data.batch_size=some", "'batch_size' parameter of data must be a whole number from 1 on, or auto"),
        ("model.latent_dim=wide", "'latent_dim'"),
    ):
        with pytest.raises(ConfigError) as refused:
            Settings.parse(compose_config(tmp_path, word))
        assert says in str(refused.value)


def test_torchs_own_cosine_may_be_told_auto(compose_config: Compose, tmp_path: Path) -> None:
    config = compose_config(tmp_path, *AUTOMATIC)
    config["scheduler"] = {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": AUTO}
    assert fit_to_rows(Settings.parse(config), 140, 4).scheduler["T_max"] == Recipe.of(140, 4).max_epochs


def test_what_is_prepared_knows_the_numbers_and_the_checkpoint_too(settings: Settings) -> None:
    prepared = prepare(settings, load_dataset(settings))
    recipe = Recipe.of(140, 4)
    assert prepared.settings.rows.batch_size == recipe.batch_size
    assert prepared.model.vae.latent_dim == recipe.latent_dim
    assert prepared.model.record["model"]["latent_dim"] == recipe.latent_dim


# In runs.


def test_a_table_of_twenty_rows_trains_without_being_told_a_number(train: Callable[..., Any], tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    np.savetxt(tmp_path / "t.csv", draws.normal(size=(20, 3)), delimiter=",", header="a,b,c", comments="")
    run = train(tmp_path / "run", "data=table", f"data.path={tmp_path / 't.csv'}", *AUTOMATIC)
    assert np.isfinite(run.value)
    assert np.isfinite(run.summary["test"]["nll"])
    assert run.record["config"]["model"]["latent_dim"] == 3
    # Nothing that 14 rows of noise teach is better on two others for long.
    assert run.summary["epochs"] <= MOST_EPOCHS


def test_estimator_and_command_line_follow_the_same_recipe() -> None:
    x = np.random.default_rng(0).normal(size=(60, 4))
    fitted = VAEEstimator(random_state=0, max_epochs=2).fit(x)
    recipe = Recipe.of(54, 4, max_epochs=2)
    assert fitted.model_.vae.latent_dim == recipe.latent_dim
    assert fitted.model_.record["scheduler"] == {"_target_": "vae_lightning.Cosine", "warmup": 0.1, "epochs": 2}
