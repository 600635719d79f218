"""Configuration → objects: the only place where the sizes of data, likelihood and networks meet.

A configuration here is plain values (dict, list, str, numbers): resolved, and without Hydra.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint, ProgressBar

from vae_lightning.config.instantiate import (
    called,
    check_keys,
    checked,
    checked_part,
    completed,
    construct,
    legal_keys,
    locate,
    nearest,
)
from vae_lightning.console import log
from vae_lightning.data.checks import check_batch_size, check_support
from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Dataset, Source
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.preprocess.choice import fit_scaling
from vae_lightning.errors import ConfigError, DataError, check_parameter, is_count
from vae_lightning.inference.model import VAEModel
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.model.parts import build_part, build_vae
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.base import Objective
from vae_lightning.posteriors.base import PosteriorFamily
from vae_lightning.priors.base import Prior
from vae_lightning.training.checkpoints import AtomicCheckpointIO
from vae_lightning.training.datamodule import VectorDataModule
from vae_lightning.training.module import VAEModule

Config = Mapping[str, Any]
Own = TypeVar("Own")
GROUPS: dict[str, tuple[type[Any], list[str]]] = {
    "likelihood": (Likelihood, ["num_columns"]),
    "posterior": (PosteriorFamily, ["latent_dim"]),
    "prior": (Prior, ["latent_dim"]),
    "objective": (Objective, []),
}
"""The groups whose choices are families of this package, and the arguments that the program gives these itself."""
DATA_OPTIONS = {"batch_size": 128, "preprocess": None, "threshold": 0.5, "resample": False}
"""Settings of the ``data`` node that are not the source's own."""
FAST = "fast"
"""The setting of the ``trainer`` node that is not Lightning's: whether the fast path may be taken."""
PRECISIONS = ("highest", "high", "medium")


@dataclass(frozen=True)
class Built:
    """Everything a run needs, sizes agreed, data checked, before the first step."""

    dataset: Dataset
    datamodule: VectorDataModule
    module: VAEModule
    trainer: Trainer


def build(config: Config) -> Built:
    """Load the data, fit the preprocessing, hold the rows against the support, build model and trainer.

    The configuration has passed :func:`check_config`.

    Raises:
        DataError: when the data cannot be read or the likelihood cannot accept them.
        ConfigError: for settings that do not exist or make no sense.
    """
    return assemble(config, build_source(config["data"]).load())


def assemble(config: Config, dataset: Dataset) -> Built:
    """As :func:`build`, with rows that are already there; of ``config["data"]`` only the options count."""
    data = {**DATA_OPTIONS, **config["data"]}
    vae = build_vae(config, len(dataset.columns))
    scaling, reason = fit_scaling(
        data["preprocess"], vae.likelihood.supports, dataset, data["threshold"], data["resample"]
    )
    check_batch_size(len(dataset.train), data["batch_size"])
    datamodule = VectorDataModule(dataset, scaling, data["batch_size"], config["seed"])
    _describe(dataset, scaling, reason)
    _check_rows(datamodule, dataset.columns, vae.likelihood, scaling)
    vae.start_from(datamodule.rows["train"])
    model = VAEModel(vae, scaling, dataset.columns, _record(config, scaling, dataset))
    return Built(dataset, datamodule, build_module(config, model), build_trainer(config))


def check_config(config: Config) -> None:
    """Hold every key and plain value against the constructors, before any data are read.

    Raises:
        ConfigError: for the first that does not fit, naming the nearest legal one.
    """
    seed = config["seed"]
    legal_seed = is_count(seed, 0) and seed < 2**32
    check_parameter("train.py", "seed", legal_seed, "a whole number from 0 to 4294967295", seed)
    threads, num_samples = config["torch"]["threads"], config["test"]["num_samples"]
    precision, batch_size = config["torch"]["matmul_precision"], config["data"].get("batch_size", 1)
    check_parameter("torch", "threads", threads is None or is_count(threads), "a positive number or null", threads)
    check_parameter("torch", "matmul_precision", precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}", precision)
    check_parameter("test", "num_samples", is_count(num_samples), "a whole number from 1 on", num_samples)
    check_parameter("data", "batch_size", is_count(batch_size), "a whole number from 1 on", batch_size)
    source = locate(str(config["data"].get("_target_")), "data")
    check_keys(set(config["data"]) - {"_target_"}, [*legal_keys(source), *DATA_OPTIONS], "data")
    checked(config["model"], "model", VAE, ["likelihood", "posterior", "prior"])
    for group, (base, given) in GROUPS.items():
        checked_part(config[group], group, base, given)
    checked(config["optimizer"], "optimizer", given=["params"])
    fast = config["trainer"].get(FAST, True)
    check_parameter("trainer", FAST, isinstance(fast, bool), "true or false", fast)
    checked(_trainer_node(config), "trainer", given=["callbacks", "logger", "plugins"])
    if config["scheduler"]:
        checked(config["scheduler"], "scheduler", given=["optimizer"])
    for group in ("callbacks", "logger"):
        for name, node in _nodes(config, group).items():
            if not isinstance(node, Mapping) or "_target_" not in node:
                others = set(_nodes(config, group)) - {name}
                raise ConfigError(f"There is no {group}.{name}: nothing says what to build. {nearest(name, others)}")
            checked(node, f"{group}.{name}")


def build_source(data: Config) -> Source:
    """The source of rows that a ``data`` node names."""
    return construct({key: value for key, value in data.items() if key not in DATA_OPTIONS}, "data")


def recorded_dataset(record: Config, names: Sequence[str]) -> Dataset:
    """The rows that a model was trained on, read again and split alike.

    Args:
        record: what the model's checkpoint says of it.
        names: of the model's columns.

    Raises:
        DataError: when they cannot be read, or have changed.
        ConfigError: when the record names a source that is none of this package's.
    """
    node = record.get("data", {}).get("source") or {}
    if not node:
        raise DataError("This model was trained on rows from memory, which are not recorded.")
    source: Source = construct(node, "data", _own_class(node, "data", Source))
    path = Path(str(node.get("path", "."))).expanduser()
    if not path.exists() and not path.is_absolute():
        raise DataError(
            f"There is no file '{path}' here. The run names its rows relative to the directory it was started in: "
            "do this from there."
        )
    dataset = source.load()
    found = ([column.name for column in dataset.columns], dataset.fingerprint)
    if found != (list(names), record["data"]["fingerprint"]):
        raise DataError(
            f"The rows of {dataset.name} are not those that the run was trained on (fingerprint {dataset.fingerprint}, "
            f"was {record['data']['fingerprint']})."
        )
    return dataset


def _own_class(node: Config, group: str, base: type[Own]) -> type[Own]:
    """Only classes of this package: a run directory may be a stranger's, and its words must not run as code."""
    target, package = str(node.get("_target_")), base.__module__.rpartition(".base")[0]
    if not re.fullmatch(rf"{re.escape(package)}\.\w+\.\w+", target):
        raise ConfigError(f"{group}._target_ must be a class of {package}. Got {target!r} instead.")
    found = locate(target, group)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigError(f"{group}._target_ must be a {base.__name__}. Got {target!r} instead.")
    return found


def build_module(config: Config, model: VAEModel) -> VAEModule:
    """The LightningModule around a model."""
    optimizer = construct(config["optimizer"], "optimizer")
    scheduler = construct(config["scheduler"], "scheduler") if config["scheduler"] else None
    objective = build_part(Objective, config["objective"], "objective")  # type: ignore[type-abstract]
    # Tried on one number, so that a refused learning rate is known before training starts.
    trial = called(optimizer, "optimizer", [torch.zeros(1, requires_grad=True)])
    if scheduler is not None:
        called(scheduler, "scheduler", trial)
    return VAEModule(model, objective, optimizer, scheduler, config["seed"], config["trainer"].get(FAST, True))


def _record(config: Config, scaling: Scaling, dataset: Dataset) -> dict[str, Any]:
    """What the same model is made from again, and what it was trained on: names and plain values."""
    given = ("likelihood", "posterior", "prior")
    return {
        "model": {key: value for key, value in completed(config["model"], VAE).items() if key not in given},
        **{
            group: completed(config[group], base.named(config[group]["name"], group))
            for group, (base, _) in GROUPS.items()
        },
        "preprocess": {"name": scaling.name(), **scaling.options()},
        **{group: _completed(config[group], group) for group in ("optimizer", "scheduler")},
        "seed": config["seed"],
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "image_shape": dataset.image_shape,
            "source": {key: value for key, value in config["data"].items() if key not in DATA_OPTIONS},
        },
    }


def _completed(node: Config, group: str) -> dict[str, Any]:
    return completed(node, locate(node["_target_"], group)) if node else {}


def build_trainer(config: Config) -> Trainer:
    """Lightning's Trainer with the configured callbacks and loggers."""
    node = _trainer_node(config)
    if node.get("accelerator", "auto") == "auto" and not torch.cuda.is_available():
        # Statistics of the preprocessing are float64, which Apple's GPUs do not have.
        node["accelerator"] = "cpu"
    callbacks = [construct(child, f"callbacks.{name}") for name, child in _nodes(config, "callbacks").items()]
    loggers = [construct(child, f"logger.{name}") for name, child in _nodes(config, "logger").items()]
    # Left alone, Lightning would add a bar and a checkpoint folder of its own.
    node.setdefault("enable_progress_bar", any(isinstance(callback, ProgressBar) for callback in callbacks))
    node.setdefault("enable_checkpointing", any(isinstance(callback, Checkpoint) for callback in callbacks))
    return construct(node, "trainer", callbacks=callbacks, logger=loggers or False, plugins=[AtomicCheckpointIO()])


def _trainer_node(config: Config) -> dict[str, Any]:
    return {key: value for key, value in config["trainer"].items() if key != FAST}


def _nodes(config: Config, group: str) -> Config:
    return {name: node for name, node in (config[group] or {}).items() if node is not None}


def _describe(dataset: Dataset, scaling: Scaling, reason: str) -> None:
    sizes = " / ".join(f"{len(rows):,}" for rows in (dataset.train, dataset.valid, dataset.test))
    log.info(f"Data: {dataset.name}, {len(dataset.columns):,} columns, {sizes} rows (train / validation / test).")
    log.info(f"Preprocessing: {scaling.name()}, {reason}.")
    constant = dataset.constant_columns
    if constant:
        names = ", ".join(constant[:5]) + (" ..." if len(constant) > 5 else "")
        log.info(f"{len(constant)} columns hold one value in all training rows and are kept: {names}.")
    for split in ("valid", "test"):
        clipped = scaling.num_clipped(torch.from_numpy(getattr(dataset, split).x))
        if clipped:
            log.warning(f"{clipped:,} values of the {split} rows lie beyond the training range and were clipped to it.")


def _check_rows(
    datamodule: VectorDataModule, columns: Sequence[Column], likelihood: Likelihood, scaling: Scaling
) -> None:
    for split, rows in datamodule.rows.items():
        first = 1
        for batch in rows.batches():
            check_support(
                batch.x,
                split=split,
                columns=columns,
                supports=likelihood.supports,
                likelihood=likelihood.name(),
                preprocess=scaling.name(),
                first_row=first,
            )
            first += batch.num_rows
    test = datamodule.rows["test"]
    floor = sum(float(likelihood.entropy_floor(batch.x).sum()) for batch in test.batches()) / test.num_rows
    if likelihood.is_probability and floor > 0.01 and datamodule.draw is None:
        log.info(
            f"The rows hold values between 0 and 1: the loss is a cross-entropy whose least value on the test rows is "
            f"{floor:.2f} nats. data.preprocess=binarize makes it a likelihood."
        )
