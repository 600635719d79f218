"""Every yaml under conf/, found by glob: it composes, it is legal, it runs, and it says nothing twice."""

import importlib.util
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from vae_lightning.config.instantiate import TARGET, import_class, legal_keys
from vae_lightning.config.settings import AUTO, FAMILIES, GIVEN, AutoOptions, RowOptions, Settings
from vae_lightning.data.sources.base import Source
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.model.parts import NAME
from vae_lightning.model.vae import VAE

CONF = Path(__file__).parents[2] / "conf"
CHOICES = sorted(str(path.relative_to(CONF).with_suffix("")) for path in CONF.glob("*/*.yaml"))
NEEDS = {
    "data/synthetic": ["likelihood=gaussian"],
    "data/table": ["likelihood=gaussian"],
    "logger/both": ["trainer.max_epochs=1"],
    "experiment/mnist_classic": ["data=", "likelihood="],
    "experiment/forum_question": ["data=", "likelihood="],
}
KINDS = {"data": (Source, ()), **FAMILIES}
"""The groups that name a family of this package."""
EXTRAS = {
    "launcher/ray": "hydra_plugins.hydra_ray_launcher",  # does not install beside the other extras
    "logger/mlflow": "mlflow",
    "logger/wandb": "wandb",
}


@pytest.fixture
def overrides(tmp_path: Path) -> Callable[[str], list[str]]:
    """What makes one choice run on little data."""

    def words(choice: str) -> list[str]:
        group, _, name = choice.partition("/")
        if choice in EXTRAS and importlib.util.find_spec(EXTRAS[choice]) is None:
            pytest.skip(f"{choice} needs a package more: pip install 'vae-lightning[{name}]'")
        more = [f"{group}={name}", *NEEDS.get(choice, [])] if group != "hydra" else []
        if name in ("mnist", "mnist_classic"):
            images = np.random.default_rng(0).integers(0, 256, (40, 784), dtype=np.uint8)
            np.savez(tmp_path / "mnist.npz", train=images, test=images[:10])
            more += [f"data.path={tmp_path / 'mnist.npz'}", "data.batch_size=16"]
        if name == "table":
            np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(40, 3)))
            more += [f"data.path={tmp_path / 'rows.npy'}", "data.batch_size=16"]
        if group == "likelihood":
            family = Likelihood.named("gaussian" if name == AUTO else name, group)(3)
            np.save(tmp_path / "rows.npy", family(torch.zeros(40, family.raw_size)).sample().numpy())
            more += ["data=table", f"data.path={tmp_path / 'rows.npy'}", "data.batch_size=16"]
        if name in ("digits", "correlated_bits"):
            more += ["likelihood=bernoulli", "data.batch_size=64"]
        return [*more, "trainer.max_epochs=1", "test.num_samples=2"]

    return words


def test_the_glob_finds_every_group() -> None:
    groups = {choice.partition("/")[0] for choice in CHOICES}
    assert groups == {path.name for path in CONF.iterdir() if path.is_dir()}
    defaults = yaml.safe_load((CONF / "train.yaml").read_text())["defaults"]
    assert groups == {group for entry in defaults if isinstance(entry, dict) for group in entry}


def test_every_choice_is_legal_and_tells_every_setting(
    compose_config: Callable[..., Any], overrides: Callable[[str], list[str]], tmp_path: Path
) -> None:
    for choice in CHOICES:
        if choice.startswith(("sweep/", "launcher/", "hydra/")):
            continue  # they set what is Hydra's
        full = Settings.parse(compose_config(tmp_path / "run", *overrides(choice))).in_full()
        assert str(tmp_path / "run") not in str(full), choice
        assert yaml.safe_load(yaml.safe_dump(full)) == full, choice


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_runs(
    train: Callable[..., Any],
    overrides: Callable[[str], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    choice: str,
) -> None:
    if choice in ("trainer/gpu", "trainer/ddp") and not torch.cuda.is_available():
        pytest.skip(f"{choice} needs a CUDA device; without one it is composed and checked, not run")
    if choice == "trainer/ddp":
        pytest.skip("trainer=ddp starts processes of its own, which a test process cannot")
    monkeypatch.chdir(tmp_path)
    run = train(tmp_path / "run", *overrides(choice))
    assert np.isfinite(run.value)
    assert run.summary["epochs"] == 1


def test_train_yaml_alone_is_legal(compose_config: Callable[..., Any], tmp_path: Path) -> None:
    words = ["data=", "likelihood=", "trainer=", "logger=", "data.batch_size=", "model.latent_dim=", "optimizer.lr="]
    config = compose_config(tmp_path, *words, "model.hidden_dims=", "trainer.max_epochs=", "test.num_samples=")
    settings = Settings.parse(config)
    assert settings.seed == 0
    assert settings.test.num_samples == "auto"
    assert settings.source == {"name": "digits", "valid_fraction": 0.1, "test_fraction": 0.2, "seed": 0}
    assert settings.likelihood["name"] == "bernoulli"


# --- nothing is said twice -------------------------------------------------------------------------------------------


def nodes() -> Iterator[tuple[str, Callable[..., Any], dict[str, Any]]]:
    """(where, class, settings) of everything that a yaml describes, interpolations left as they are."""
    for choice in CHOICES:
        group = choice.partition("/")[0]
        content = yaml.safe_load((CONF / f"{choice}.yaml").read_text()) or {}
        if group in ("hydra", "experiment", "launcher", "sweep"):
            continue
        if group in ("callbacks", "logger"):
            for name, node in content.items():
                if name != "defaults":
                    yield f"{choice}.{name}", import_class(node, choice), node
            continue
        parents = [entry for entry in content.get("defaults", []) if entry != "_self_"]
        inherited = [yaml.safe_load((CONF / group / f"{parent}.yaml").read_text()) for parent in parents]
        node = next((part for part in (content, *inherited) if TARGET in part), None)
        if content.get(NAME) == AUTO:
            yield choice, AutoOptions, content
        elif group in KINDS:
            yield choice, KINDS[group][0].named(content[NAME], group), content
        elif group == "model":
            yield choice, VAE, content
        elif node is not None:
            yield choice, import_class(node, choice), content


def test_a_yaml_holds_only_what_its_constructor_has_and_does_not_default_to() -> None:
    offenders = []
    for where, constructor, node in nodes():
        group = where.partition("/")[0]
        given = KINDS[group][1] if group in KINDS else GIVEN.get(group, ())
        for key in node.keys() - {TARGET, "defaults"} - ({NAME} if group in KINDS else set()):
            owner = RowOptions if group == "data" and key in legal_keys(RowOptions) else constructor
            legal = key in legal_keys(owner, given)
            if not legal or node[key] == inspect.signature(owner).parameters[key].default:
                offenders.append(f"{where}.{key}={node[key]}")
    assert not offenders


def test_experiments_are_overrides_only() -> None:
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    for path in (CONF / "experiment").glob("*.yaml"):
        content = yaml.safe_load(path.read_text())
        for entry in content.pop("defaults"):
            assert all(key.startswith("override /") for key in entry), path
        assert "_target_" not in str(content), path
        assert {*content} <= groups | {"test", "torch", "seed"}, path


def test_every_family_has_a_yaml_of_its_name() -> None:
    for group, (base, _) in KINDS.items():
        names = {path.stem: yaml.safe_load(path.read_text())[NAME] for path in (CONF / group).glob("*.yaml")}
        chosen_by_rows = {AUTO} if group == "likelihood" else set()
        assert names == {name: name for name in {*base.families(), *chosen_by_rows}}, group
