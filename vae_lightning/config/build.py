"""Settings → everything a run needs, Lightning's objects included, before the first step."""

import functools
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, ProgressBar
from lightning.pytorch.utilities.model_helpers import is_overridden

from vae_lightning.config.instantiate import Node, arguments_of, call, import_class, instantiate
from vae_lightning.config.prepare import Prepared, load_dataset, prepare
from vae_lightning.config.settings import Settings
from vae_lightning.data.dataset import Dataset
from vae_lightning.errors import ConfigError, is_count
from vae_lightning.inference.model import VAEModel
from vae_lightning.model.parts import build_part
from vae_lightning.objectives.base import Objective
from vae_lightning.training.background import EVERY_SECONDS, BackgroundCheckpointIO
from vae_lightning.training.callbacks.course import CourseRecorder
from vae_lightning.training.callbacks.last import LastCheckpoint
from vae_lightning.training.datamodule import VectorDataModule
from vae_lightning.training.module import VAEModule
from vae_lightning.training.stacked import COMPANY, StackedModule

STARTERS = {"MASTER_ADDR", "NODE_RANK", "GROUP_RANK", "SLURM_JOB_ID", "LSB_JOBID"}
"""Variables of which whoever starts a process on each of several machines sets one."""


@dataclass(frozen=True)
class Built:
    """Everything a run needs, sizes agreed, data checked, before the first step."""

    dataset: Dataset
    datamodule: VectorDataModule
    module: VAEModule
    trainer: Trainer


def build(settings: Settings) -> Built:
    """Read the rows, then :func:`assemble`.

    Raises:
        DataError: when the data cannot be read or the likelihood cannot accept them.
        ConfigError: for settings that do not exist or make no sense.
    """
    return assemble(prepare(settings, load_dataset(settings)))


def assemble(prepared: Prepared) -> Built:
    """Put rows and model into Lightning's hands.

    Raises:
        ConfigError: for settings that do not exist or make no sense.
    """
    dataset, model, settings = prepared.dataset, prepared.model, prepared.settings
    datamodule = VectorDataModule(dataset, model.scaling, settings.rows.rows_per_step, settings.seed, prepared.rows)
    return Built(dataset, datamodule, build_module(settings, model), build_trainer(settings))


def build_module(settings: Settings, model: VAEModel) -> VAEModule:
    """The LightningModule around a model.

    Raises:
        ConfigError: for values that the optimiser, the scheduler or the objective refuses.
    """
    optimizer = _partial(settings.optimizer, "optimizer")
    scheduler = _partial(settings.scheduler, "scheduler") if settings.scheduler else None
    objective = build_part(Objective, settings.objective, "objective")  # type: ignore[type-abstract]
    # Tried on one number, so that a refused learning rate is known before training starts.
    trial = call(optimizer, "optimizer", [torch.zeros(1, requires_grad=True)])
    if scheduler is not None:
        call(scheduler, "scheduler", trial)
    kind = VAEModule if COMPANY.get() is None else StackedModule
    return kind(model, objective, optimizer, scheduler, settings.seed, settings.fast, settings.compile)


def build_trainer(settings: Settings) -> Trainer:
    """Lightning's Trainer with the configured callbacks and loggers.

    Raises:
        ConfigError: for a key that Lightning does not know, naming the nearest, or a value that it refuses.
    """
    node = dict(settings.trainer)
    if node.get("accelerator", "auto") == "auto" and not torch.cuda.is_available():
        # Statistics of the preprocessing are float64, which Apple's GPUs do not have.
        node["accelerator"] = "cpu"
    callbacks, loggers = _instantiate_all(settings.callbacks, "callbacks"), _instantiate_all(settings.logger, "logger")
    callbacks = [CourseRecorder(), *callbacks]
    _check_differ(callbacks)
    # Left alone, Lightning would add a bar and a checkpoint folder of its own.
    node.setdefault("enable_progress_bar", any(isinstance(callback, ProgressBar) for callback in callbacks))
    node.setdefault("enable_checkpointing", any(isinstance(callback, Checkpoint) for callback in callbacks))
    if settings.run_dir:  # else what has no folder of its own writes where we stand
        node.setdefault("default_root_dir", settings.run_dir)
    _check_processes(node)
    keepers = [callback for callback in callbacks if isinstance(callback, ModelCheckpoint)]
    cadence = min((one.every_seconds for one in keepers if isinstance(one, LastCheckpoint)), default=EVERY_SECONDS)
    plugins = [BackgroundCheckpointIO(keepers, cadence)]
    return instantiate(node, "trainer", callbacks=callbacks, logger=loggers or False, plugins=plugins)


def _check_differ(callbacks: Iterable[Callback]) -> None:
    """Lightning keeps the callbacks' states by these keys, and refuses two of one key with a traceback."""
    keys = Counter(callback.state_key for callback in callbacks if is_overridden("state_dict", callback, Callback))
    for key, number in keys.items():
        if number > 1:
            raise ConfigError(
                f"callbacks holds {number} that a checkpoint could not tell apart: {key}. Take one away, or set it "
                "otherwise."
            )


def _check_processes(node: Node) -> None:
    """Lightning would wait for ever for a machine that nobody started, and start as many processes as it is told."""
    nodes, devices = node.get("num_nodes", 1), node.get("devices")
    if is_count(nodes, 2) and not STARTERS & set(os.environ):
        raise ConfigError(
            f"trainer.num_nodes={nodes} trains on {nodes} machines, and nothing says which: start it on each with "
            "torchrun, srun or MASTER_ADDR, MASTER_PORT and NODE_RANK in the environment."
        )
    most = os.cpu_count() or 1
    if node.get("accelerator") == "cpu" and is_count(devices, most + 1):
        raise ConfigError(f"trainer.devices={devices} starts {devices} processes on a CPU of {most} cores.")


def _partial(node: Node, path: str) -> functools.partial[Any]:
    """A class that waits for parameters, or for an optimiser."""
    return functools.partial(import_class(node, path), **arguments_of(node))


def _instantiate_all(nodes: Mapping[str, Node | None], group: str) -> list[Any]:
    return [instantiate(node, f"{group}.{name}") for name, node in nodes.items() if node is not None]
