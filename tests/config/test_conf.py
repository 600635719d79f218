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

from vae_lightning.config.build import DATA_OPTIONS, check_config
from vae_lightning.config.instantiate import legal_keys, locate
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
EXTRAS = {
    "launcher/ray": "hydra_plugins.hydra_ray_launcher",  # does not install beside the other extras
    "logger/mlflow": "mlflow",
    "logger/wandb": "wandb",
}
GIVEN = {"optimizer": ["params"], "scheduler": ["optimizer"], "likelihood": ["num_columns"]}


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
        if name in ("bernoulli", "continuous_bernoulli"):
            more += ["data=digits", "data.batch_size=256"]
        if name in ("digits", "correlated_bits"):
            more += ["likelihood=bernoulli", "data.batch_size=64"]
        return [*more, "trainer.max_epochs=1", "test.num_samples=2"]

    return words


def test_the_glob_finds_every_group() -> None:
    groups = {choice.partition("/")[0] for choice in CHOICES}
    assert groups == {path.name for path in CONF.iterdir() if path.is_dir()}
    defaults = yaml.safe_load((CONF / "train.yaml").read_text())["defaults"]
    assert groups == {group for entry in defaults if isinstance(entry, dict) for group in entry}


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_is_composed_and_legal(
    compose_config: Callable[..., Any], overrides: Callable[[str], list[str]], tmp_path: Path, choice: str
) -> None:
    check_config(compose_config(tmp_path / "run", *overrides(choice)))


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
    check_config(config)
    assert config["seed"] == 0
    assert config["test"]["num_samples"] == 1000
    assert config["data"]["_target_"] == "vae_lightning.data.sources.digits.Digits"
    assert config["likelihood"]["_target_"] == "vae_lightning.likelihoods.bernoulli.Bernoulli"


# --- nothing is said twice -------------------------------------------------------------------------------------------


def nodes() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(where, target, settings) of everything that a yaml describes, interpolations left as they are."""
    for choice in CHOICES:
        group = choice.partition("/")[0]
        content = yaml.safe_load((CONF / f"{choice}.yaml").read_text()) or {}
        if group in ("hydra", "experiment", "launcher", "sweep"):
            continue
        if group in ("callbacks", "logger"):
            for name, node in content.items():
                if name != "defaults":
                    yield f"{choice}.{name}", node["_target_"], node
            continue
        parents = [entry for entry in content.get("defaults", []) if entry != "_self_"]
        inherited = [yaml.safe_load((CONF / group / f"{parent}.yaml").read_text()) for parent in parents]
        target = next((part["_target_"] for part in (content, *inherited) if "_target_" in part), None)
        if group == "model":
            target = f"{VAE.__module__}.{VAE.__qualname__}"
        if target is not None:
            yield choice, target, content


def settings() -> list[Any]:
    """One parameter set for each key of each yaml."""
    reserved = {"_target_", "_partial_", "defaults"}
    return [
        pytest.param(where, target, key, node[key], id=f"{where}.{key}")
        for where, target, node in nodes()
        for key in node
        if key not in reserved
    ]


@pytest.mark.parametrize(("where", "target", "key", "value"), settings())
def test_a_yaml_holds_only_what_its_constructor_has_and_does_not_default_to(
    where: str, target: str, key: str, value: Any
) -> None:
    constructor = locate(target, where)
    options = DATA_OPTIONS if where.startswith("data/") else {}
    assert key in legal_keys(constructor, GIVEN.get(where.partition("/")[0], ())) or key in options
    default = options[key] if key in options else inspect.signature(constructor).parameters[key].default
    assert value != default
    assert type(value) is not type(default) or value != default


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if choice.startswith("experiment/")])
def test_experiments_are_overrides_only(choice: str) -> None:
    content = yaml.safe_load((CONF / f"{choice}.yaml").read_text())
    for entry in content.pop("defaults"):
        assert all(key.startswith("override /") for key in entry)
    assert "_target_" not in str(content)
    assert {*content} <= {path.name for path in CONF.iterdir() if path.is_dir()} | {"test", "torch", "seed"}


def test_file_names_are_module_names() -> None:
    package = CONF.parent / "vae_lightning"
    for group, folder in (("likelihood", "likelihoods"), ("data", "data")):
        for path in (CONF / group).glob("*.yaml"):
            module = yaml.safe_load(path.read_text())["_target_"].split(".")[2]
            assert module == path.stem
            assert (package / folder / f"{module}.py").exists()
