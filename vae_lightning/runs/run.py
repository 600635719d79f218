"""One run in its directory, from settings to the summary."""

import errno
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vae_lightning.config.prepare import load_dataset, prepare
from vae_lightning.config.settings import Settings
from vae_lightning.console import log, logging_to, quiet_frameworks
from vae_lightning.errors import RunError
from vae_lightning.runs.imports import importing
from vae_lightning.runs.loading import resume_advice
from vae_lightning.version import __version__

LOG = "train.log"


def run(
    settings: Settings,
    overrides: Sequence[str] = (),
    hparams: Mapping[str, Any] | None = None,
    begin: Callable[[], None] | None = None,
) -> float:
    """Train as set in ``settings.run_dir``, evaluate, and write ``summary.json`` last.

    Args:
        settings: of the run.
        overrides: what the user typed, for the record.
        hparams: what TensorBoard's HParams tab shows of this run; None writes nothing there.
        begin: called once nothing stands in the way of training any more.

    Returns:
        ``val/nelbo`` of the best epoch, nats per row in data units: what sweeps minimise.

    Raises:
        UserError: for everything that one message can explain.
    """
    started = time.perf_counter()
    run_dir = Path(settings.run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    if not settings.resume and not is_helper():
        (run_dir / LOG).unlink(missing_ok=True)
    try:
        with logging_to(run_dir / LOG, quiet=is_helper()), _surroundings(settings), _quiet_threads():
            with quiet_frameworks():
                prepared = prepare(settings, load_dataset(settings))
            # Lightning takes seconds to import, which a mistake in the data need not wait for; and as it is imported
            # it sets its loggers' levels, which are quiet only from then on.
            with importing():
                from vae_lightning.runs.train import train
            with quiet_frameworks():
                return train(prepared, started, overrides, hparams, begin)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise RunError(
                f"The disk is full: {error.filename or run_dir} could not be written. {resume_advice(run_dir)}"
            ) from error
        if not (run_dir / LOG).exists():
            raise RunError(f"{run_dir} was deleted or moved while it was trained in: {error}.") from error
        raise


def is_helper() -> bool:
    """Whether Lightning started this process to train beside the one that the user started."""
    return os.environ.get("LOCAL_RANK", "0") != "0"


@contextmanager
def _surroundings(settings: Settings) -> Iterator[None]:
    """Seeds, threads and precision of one run; the process gets its own threads and precision back."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(settings.seed)
    torch.set_num_threads(settings.torch.threads or threads)
    torch.set_float32_matmul_precision(settings.torch.matmul_precision)
    # Collapsed latents and old Adam moments decay into subnormal numbers, which CPUs handle many times slower.
    torch.set_flush_denormal(True)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    log.info(f"vae_lightning {__version__}, torch {torch.__version__}, {device}, seed {settings.seed}.")
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


@contextmanager
def _quiet_threads() -> Iterator[None]:
    """TensorBoard writes in a thread, where an error of the disk would be a traceback; its next call tells it, too."""
    before = threading.excepthook

    def hook(thread: threading.ExceptHookArgs) -> None:
        if not issubclass(thread.exc_type, OSError):
            before(thread)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
