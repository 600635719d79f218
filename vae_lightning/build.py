"""Configuration → objects: the only place where the sizes of data, likelihood and networks meet.

A configuration here is plain values (dict, list, str, numbers): resolved, and without Hydra.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Trainer

from vae_lightning.checkpoints import AtomicCheckpointIO
from vae_lightning.console import log
from vae_lightning.data.base import Column, Dataset
from vae_lightning.data.preprocess import Binarize, Identity, MinMax, Preprocess, Standardize, build_preprocess
from vae_lightning.data.support import check_batch_size, check_support
from vae_lightning.datamodule import VectorDataModule
from vae_lightning.errors import ConfigError, check_parameter
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.model import VAEModel
from vae_lightning.module import VAEModule
from vae_lightning.settings import check_keys, completed, construct, legal_keys, locate
from vae_lightning.vae import VAE

Config = Mapping[str, Any]
PREPROCESSES: dict[str, type[Preprocess]] = {p.kind: p for p in (Identity, Standardize, MinMax, Binarize)}
DATA_OPTIONS = {"batch_size": 128, "preprocess": None, "threshold": 0.5, "resample": False}
"""Settings of the ``data`` node that are not the source's own."""


@dataclass(frozen=True)
class Built:
    """Everything a run needs, sizes agreed, data checked, before the first step."""

    dataset: Dataset
    datamodule: VectorDataModule
    module: VAEModule
    trainer: Trainer


def build(config: Config) -> Built:
    """Load the data, fit the preprocessing, hold the rows against the support, build model and trainer.

    Raises:
        DataError: when the data cannot be read or the likelihood cannot accept them.
        ConfigError: for settings that do not exist or make no sense.
    """
    data = dict(config["data"])
    dataset = build_source(data).load()
    likelihood = build_likelihood(config["likelihood"], len(dataset.columns))
    preprocess, reason = build_preprocess(
        data["preprocess"],
        num_columns=len(dataset.columns),
        support=likelihood.support,
        discrete=likelihood.discrete,
        data=dataset,
        threshold=data["threshold"],
        resample=data["resample"],
    )
    check_batch_size(len(dataset.train), data["batch_size"])
    datamodule = VectorDataModule(dataset, preprocess, data["batch_size"], config["seed"])
    _describe(dataset, preprocess, reason)
    _check_rows(datamodule, dataset.columns, likelihood, preprocess)
    vae: VAE = construct(config["model"], "model", VAE, likelihood=likelihood)
    vae.start_from(datamodule.rows["train"])
    model = VAEModel(vae, preprocess, dataset.columns)
    return Built(dataset, datamodule, build_module(config, model, dataset), build_trainer(config))


def build_source(data: dict[str, Any]) -> Any:
    """The source a ``data`` node names; fills the node's own options in with their defaults."""
    source = locate(data.get("_target_", ""), "data")
    check_keys(set(data) - {"_target_"}, [*legal_keys(source), *DATA_OPTIONS], "data")
    data.update({**DATA_OPTIONS, **data})
    check_parameter("data", "batch_size", _is_count(data["batch_size"]), "a whole number of at least 1", data["batch_size"])
    return construct({k: v for k, v in data.items() if k not in DATA_OPTIONS}, "data")


def build_likelihood(node: Config, num_columns: int) -> Likelihood:
    """The likelihood a node names; only those of ``vae_lightning.likelihoods`` are accepted.

    A run directory may come from a stranger, and what its configuration names must not become code that runs.

    Raises:
        ConfigError: when ``_target_`` is no likelihood of this package.
    """
    target = str(node.get("_target_"))
    if not target.startswith("vae_lightning.likelihoods."):
        raise ConfigError(f"likelihood._target_ must be a class of vae_lightning.likelihoods. Got {target!r} instead.")
    family = locate(target, "likelihood")
    if not (isinstance(family, type) and issubclass(family, Likelihood)):
        raise ConfigError(f"likelihood._target_ must be a Likelihood. Got {target!r} instead.")
    return construct(node, "likelihood", num_columns=num_columns)


def build_module(config: Config, model: VAEModel, dataset: Dataset) -> VAEModule:
    """The LightningModule, with the record from which :func:`rebuild_model` makes the same model again."""
    scheduler = config["scheduler"]
    record = {
        "model": completed(config["model"], VAE),
        "likelihood": completed(config["likelihood"], type(model.vae.likelihood)),
        "preprocess": {"kind": model.preprocess.kind, **model.preprocess.options()},
        "data": {"name": dataset.name, "fingerprint": dataset.fingerprint, "image_shape": dataset.image_shape},
    }
    for name in ("likelihood", "num_columns"):
        record["model"].pop(name, None)
        record["likelihood"].pop(name, None)
    return VAEModule(
        model,
        construct(config["objective"], "objective"),
        construct(config["optimizer"], "optimizer"),
        construct(scheduler, "scheduler") if scheduler else None,
        config["seed"],
        record,
    )


def rebuild_model(record: Config, columns: Sequence[Column]) -> VAEModel:
    """An untrained model with the architecture of a checkpoint's record; its state dict makes it the trained one.

    Raises:
        ConfigError: when the record names what this package does not have.
    """
    likelihood = build_likelihood(record["likelihood"], len(columns))
    vae = construct(record["model"], "model", VAE, likelihood=likelihood)
    options = dict(record["preprocess"])
    kind = options.pop("kind")
    if kind not in PREPROCESSES:
        raise ConfigError(f"The preprocessing {kind!r} is none of {', '.join(PREPROCESSES)}.")
    preprocess = construct(options, "preprocess", PREPROCESSES[kind], num_columns=len(columns))
    return VAEModel(vae, preprocess, columns)


def build_trainer(config: Config) -> Trainer:
    """Lightning's Trainer with the configured callbacks and loggers."""
    node = dict(config["trainer"])
    if node.get("accelerator") == "auto" and not torch.cuda.is_available():
        # Statistics of the preprocessing are float64, which Apple's GPUs do not have.
        node["accelerator"] = "cpu"
    callbacks = [_listed(name, child, "callbacks") for name, child in (config["callbacks"] or {}).items() if child]
    loggers = [_listed(name, child, "logger") for name, child in (config["logger"] or {}).items() if child]
    return construct(node, "trainer", callbacks=callbacks, logger=loggers or False, plugins=[AtomicCheckpointIO()])


def _listed(name: str, node: Any, group: str) -> Any:
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(f"There is no setting {group}.{name}: it names nothing to build (no _target_).")
    return construct(node, f"{group}.{name}")


def _describe(dataset: Dataset, preprocess: Preprocess, reason: str) -> None:
    sizes = " / ".join(f"{len(rows):,}" for rows in (dataset.train, dataset.valid, dataset.test))
    log.info(f"Data: {dataset.name}, {len(dataset.columns):,} columns, {sizes} rows (train / validation / test).")
    log.info(f"Preprocessing: {preprocess.kind}, {reason}.")
    constant = dataset.constant_columns
    if constant:
        names = ", ".join(constant[:5]) + (" ..." if len(constant) > 5 else "")
        log.info(f"{len(constant)} columns hold one value in all training rows and are kept: {names}.")
    for split in ("valid", "test"):
        clipped = preprocess.clipped(torch.from_numpy(getattr(dataset, split).x))
        if clipped:
            log.warning(f"{clipped:,} values of the {split} rows lie beyond the training range and were clipped to it.")


def _check_rows(
    datamodule: VectorDataModule, columns: Sequence[Column], likelihood: Likelihood, preprocess: Preprocess
) -> None:
    for split, rows in datamodule.rows.items():
        check_support(
            rows,
            split=split,
            columns=columns,
            support=likelihood.support,
            likelihood=type(likelihood).__name__,
            support_words=likelihood.support_words,
            preprocess=preprocess.kind,
        )
    rows = datamodule.rows["test"]
    floor = float(likelihood.entropy_floor(rows).mean())
    if likelihood.discrete and floor > 0.01 and not datamodule.resample:
        log.info(
            f"The rows hold values between 0 and 1: the loss is a cross-entropy whose least value on the test rows is "
            f"{floor:.2f} nats. data.preprocess=binarize makes it a likelihood."
        )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


