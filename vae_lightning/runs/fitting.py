"""One fit that leaves no trace: nothing on disk, nothing on the console, nothing of the process changed."""

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch

from vae_lightning.config.build import Built, assemble
from vae_lightning.config.prepare import prepare
from vae_lightning.config.settings import Settings
from vae_lightning.console import logging_to, mute_console, quiet_frameworks
from vae_lightning.data.dataset import Dataset
from vae_lightning.data.seeds import random_stream
from vae_lightning.errors import Notice
from vae_lightning.inference.model import VAEModel
from vae_lightning.training.callbacks.guard import LossGuard
from vae_lightning.training.callbacks.memory import BestInMemory
from vae_lightning.training.module import MONITOR

# torch's random stream, Lightning's loggers and the denormal flag are the process's: fits in threads take turns.
_TURNS = threading.Lock()


class Fitted(NamedTuple):
    """What a fit leaves.

    Attributes:
        model: that of the best epoch, float64, on the CPU, in evaluation mode, its validation rows scored.
        history: every epoch's training and validation terms by name, nats per row in data units.
        epochs: how many were trained.
        warnings: what the loss guard had to say.
    """

    model: VAEModel
    history: dict[str, list[float]]
    epochs: int
    warnings: list[Notice]


def in_memory(accelerator: str, max_epochs: int | str, patience: int | str, verbose: bool) -> dict[str, Any]:
    """The nodes ``trainer``, ``callbacks`` and ``logger`` of a fit that stops by itself and writes nothing."""
    callbacks: dict[str, Any] = {
        "best": {"_target_": "vae_lightning.training.callbacks.memory.BestInMemory"},
        "early_stopping": {
            "_target_": "vae_lightning.training.callbacks.early_stopping.EarlyStopping",
            "monitor": MONITOR,
            "patience": patience,
            "check_on_train_epoch_end": True,
        },
        "guard": {"_target_": "vae_lightning.training.callbacks.guard.LossGuard"},
    }
    if verbose:
        callbacks["progress"] = {"_target_": "vae_lightning.training.callbacks.progress.EpochProgress"}
    trainer = {
        "_target_": "lightning.pytorch.Trainer",
        "accelerator": accelerator,
        "devices": 1,
        "max_epochs": max_epochs,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
    }
    return {"trainer": trainer, "callbacks": callbacks, "logger": None}


def fit_in_memory(config: Mapping[str, Any], dataset: Dataset, verbose: bool = False) -> Fitted:
    """Train as configured, with the nodes of :func:`in_memory`; ``config["seed"]`` decides every draw.

    Raises:
        DataError: for rows outside the likelihood's support.
        RunError: when the loss broke a law.
        ConfigError: for settings that cannot be built.
    """
    settings = Settings.parse(config)
    with _surroundings(settings.seed, verbose):
        built = assemble(prepare(settings, dataset))
        _train(built)
        return _fitted(built)


def _fitted(built: Built) -> Fitted:
    callbacks: list[Any] = built.trainer.callbacks  # type: ignore[attr-defined]  # set, but not declared
    memory = next(callback for callback in callbacks if isinstance(callback, BestInMemory))
    guard = next(callback for callback in callbacks if isinstance(callback, LossGuard))
    memory.restore(built.module)
    # In float32 a row's last digits would depend on the rows that share its matrix product.
    model = built.module.model.cpu().double().eval().calibrate(built.dataset.valid.x)
    return Fitted(model, memory.history, built.trainer.current_epoch, guard.warnings)


@contextmanager
def _surroundings(seed: int, verbose: bool) -> Iterator[None]:
    """Random numbers, loggers and flags of one fit; the process gets its own back."""
    with ExitStack() as stack:
        stack.enter_context(_TURNS)
        stack.enter_context(quiet_frameworks())
        stack.enter_context(logging_to(None) if verbose else mute_console())
        stack.enter_context(random_stream(seed))
        if not _flushes_denormal():
            # Collapsed latents and old Adam moments decay into subnormal numbers, which CPUs handle many times slower.
            torch.set_flush_denormal(True)
            stack.callback(torch.set_flush_denormal, False)
        yield


def _flushes_denormal() -> bool:
    """Torch sets the flag but does not tell it: half the least normal number does."""
    return float(torch.tensor([2.0**-126]).div(2).mul(2)) == 0.0


def _train(built: Built) -> None:
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        built.trainer.fit(built.module, built.datamodule)
    except SystemExit:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, on_interrupt)  # Lightning leaves it ignored
