"""The one console: log lines and the progress bar share it, so neither tears the other."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.logging import RichHandler

console = Console(highlight=False, soft_wrap=True, markup=False)
"""Texts are printed as they are: a path with ``[x]`` in it is no markup."""
log = logging.getLogger("vae_lightning")
_job = ""  # the job of a sweep that this process is at


@contextmanager
def one_job_of_many(name: str) -> Iterator[None]:
    """A run in here keeps its lines to its log file; the console gets warnings only, with the job's name."""
    global _job
    _job = name
    try:
        yield
    finally:
        _job = ""


def say(*objects: Any) -> None:
    """Print what a run tells at its end; one of many jobs tells nothing."""
    if not _job:
        console.print(*objects)


def display_path(path: Path) -> str:
    """A path as a person here would type it."""
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") else str(path)


class _PlainHandler(RichHandler):
    """Messages as they are; a level is named only when it asks for attention."""

    def emit(self, record: logging.LogRecord) -> None:
        if _job and record.levelno < logging.WARNING:
            return
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        prefix = f"{_job}: {prefix}" if _job else prefix
        style = {logging.WARNING: "yellow", logging.ERROR: "red"}.get(record.levelno)
        console.print(f"{prefix}{record.getMessage()}", style=style)


@contextmanager
def mute_log() -> Iterator[None]:
    """No log lines."""
    propagate, log.propagate = log.propagate, False
    handler = logging.NullHandler()
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagate


@contextmanager
def mute_console() -> Iterator[None]:
    """Neither log lines nor tables."""
    was_quiet, console.quiet = console.quiet, True
    try:
        with mute_log():
            yield
    finally:
        console.quiet = was_quiet


@contextmanager
def logging_to(log_file: Path | None, quiet: bool = False) -> Iterator[None]:
    """Send the package's log lines to the console and, with times, to ``log_file``; afterwards all is as it was.

    ``quiet`` drops them instead: several processes that train together would all say the same.
    """
    if quiet:
        with mute_console():
            yield
        return
    handlers: list[logging.Handler] = [_PlainHandler()]
    if log_file is not None:
        handlers.append(logging.FileHandler(log_file, encoding="utf-8"))
        handlers[-1].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level, propagate, disabled = log.level, log.propagate, log.disabled
    log.setLevel(logging.INFO)
    log.propagate = False
    log.disabled = False  # Hydra's set-up of logging disables every logger that it finds
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
        log.setLevel(level)
        log.propagate = propagate
        log.disabled = disabled


@contextmanager
def quiet_frameworks() -> Iterator[None]:
    """Keep tips, notes and warnings of torch and Lightning off the console: no user of ours can act on them."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "torch")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for module in (r"lightning\b", r"torch\b", r"torchmetrics\b", r"tensorboard\b", r"mlflow\b"):
            warnings.filterwarnings("ignore", module=module)
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
