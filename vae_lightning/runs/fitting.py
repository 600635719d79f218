"""One fit that leaves no trace: nothing on disk, nothing of the process changed, and on the console only a bar."""

import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch

from vae_lightning.config.build import Built, assemble
from vae_lightning.config.prepare import prepare
from vae_lightning.config.settings import Settings
from vae_lightning.console import logging_to, mute_log, quiet_frameworks
from vae_lightning.data.dataset import Dataset
from vae_lightning.data.seeds import random_stream
from vae_lightning.data.store import RowStore
from vae_lightning.errors import Notice
from vae_lightning.inference.aggregate import fit_aggregate_posterior
from vae_lightning.inference.model import VAEModel
from vae_lightning.training.callbacks.guard import LossGuard
from vae_lightning.training.callbacks.memory import BestInMemory
from vae_lightning.training.module import MONITOR
from vae_lightning.training.threads import limit_threads

# torch's random stream, Lightning's loggers and the denormal flag are the process's: fits in threads take turns.
_TURNS = threading.Lock()
BAR_DELAY_SECONDS = 1.0
"""What is done sooner needs no bar."""
AT_ONCE_SECONDS = 3.0
"""Two interrupts within this time of one another mean the program, such as a search over many fits, not the fit."""
_interrupted_at = -math.inf


class Fitted(NamedTuple):
    """What a fit leaves.

    Attributes:
        model: that of the best epoch, float64, on the CPU, in evaluation mode, its validation rows scored.
        history: every epoch's training and validation terms by name, nats per row in data units.
        epochs: how many were trained.
        best: val/nelbo of the model, which may be that of the start.
        warnings: what the loss guard had to say.
        rows: those trained on and those watched, in model units, by part.
        interrupted: whether somebody stopped it.
    """

    model: VAEModel
    history: dict[str, list[float]]
    epochs: int
    best: float
    warnings: list[Notice]
    rows: Mapping[str, RowStore]
    interrupted: bool


def in_memory(accelerator: str, max_epochs: int | str, patience: int | str, verbose: int) -> dict[str, Any]:
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
        callbacks["progress"] = {
            "_target_": "vae_lightning.training.callbacks.progress.EpochProgress",
            "delay_seconds": BAR_DELAY_SECONDS,
            "transient": True,
        }
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


def fit_in_memory(config: Mapping[str, Any], dataset: Dataset, verbose: int = 0) -> Fitted:
    """Train as configured, with the nodes of :func:`in_memory`; ``config["seed"]`` decides every draw.

    An interrupt ends training, and what was learned is kept.

    Args:
        config: of the run.
        dataset: the rows.
        verbose: from 2 on, log lines reach the console.

    Raises:
        DataError: for rows outside the likelihood's support.
        RunError: when the loss broke a law.
        ConfigError: for settings that cannot be built.
        KeyboardInterrupt: for one that comes in the first epoch, or at once after another.
    """
    settings = Settings.parse(config)
    with _surroundings(settings.seed, verbose):
        built = assemble(prepare(settings, dataset))
        with limit_threads(built.module, built.datamodule.batch_size):
            interrupted = _train(built)
        return _fitted(built, interrupted)


def _fitted(built: Built, interrupted: bool) -> Fitted:
    callbacks: list[Any] = built.trainer.callbacks  # type: ignore[attr-defined]  # set, but not declared
    memory = next(callback for callback in callbacks if isinstance(callback, BestInMemory))
    guard = next(callback for callback in callbacks if isinstance(callback, LossGuard))
    if interrupted and (_means_the_program() or not memory.history):
        raise KeyboardInterrupt
    memory.restore(built.module)
    # In float32 a row's last digits would depend on the rows that share its matrix product.
    model = built.module.model.cpu().double().eval().calibrate(built.dataset.as_given("valid"))
    rows = {part: built.datamodule.on_device(part, torch.device("cpu")) for part in ("train", "valid")}
    model.aggregate_posterior = fit_aggregate_posterior(model.vae, rows["train"], rows["valid"], built.module.seed)
    epochs = built.trainer.current_epoch
    return Fitted(model, memory.history, epochs, memory.best, guard.warnings, rows, interrupted)


def _means_the_program() -> bool:
    global _interrupted_at
    before, _interrupted_at = _interrupted_at, time.monotonic()
    return _interrupted_at - before < AT_ONCE_SECONDS


@contextmanager
def _surroundings(seed: int, verbose: int) -> Iterator[None]:
    """Random numbers, loggers and flags of one fit; the process gets its own back."""
    with ExitStack() as stack:
        stack.enter_context(_TURNS)
        stack.enter_context(quiet_frameworks())
        stack.enter_context(logging_to(None) if verbose > 1 else mute_log())
        stack.enter_context(random_stream(seed))
        if not _flushes_denormal():
            # Collapsed latents and old Adam moments decay into subnormal numbers, which CPUs handle many times slower.
            torch.set_flush_denormal(True)
            stack.callback(torch.set_flush_denormal, False)
        yield


def _flushes_denormal() -> bool:
    """Torch sets the flag but does not tell it: half the least normal number does."""
    return float(torch.tensor([2.0**-126]).div(2).mul(2)) == 0.0


def _train(built: Built) -> bool:
    """Train; whether an interrupt ended it."""
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        built.trainer.fit(built.module, built.datamodule)
    except SystemExit:  # Lightning's answer to Ctrl-C
        return True
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, on_interrupt)  # Lightning leaves it ignored
    return False
