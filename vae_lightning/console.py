"""The one console: log lines and the progress bar share it, so neither tears the other."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, cast

from rich.console import Console
from rich.logging import RichHandler


class _Output:
    """Standard output as it is now; rather than end a run it loses words that have no code, or that nobody reads."""

    def write(self, text: str) -> int:
        output = self._now()
        try:
            return int(output.write(text))
        except UnicodeEncodeError as error:
            return int(output.write(text.encode(error.encoding, "replace").decode(error.encoding)))
        except OSError:
            self._drop_all()
            return len(text)

    def flush(self) -> None:
        try:
            self._now().flush()
        except OSError:
            self._drop_all()

    def _drop_all(self) -> None:
        """A closed pipe or a full disk stays so; what is left in Python's buffer would fail again as it ends."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._now().fileno())
            os.close(nowhere)

    @staticmethod
    def _now() -> Any:
        return getattr(sys.stdout, "rich_proxied_file", sys.stdout)  # while a bar is shown, rich stands in between

    @property
    def rich_proxied_file(self) -> "_Output":
        """Itself: it is what rich writes to."""
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._now(), name)


class _LogFile(logging.FileHandler):
    """A log that cannot be written is no reason to stop, nor for a traceback at every line."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Go on."""

    def close(self) -> None:
        with suppress(OSError):  # what could not be written is tried once more
            super().close()


console = Console(file=cast(IO[str], _Output()), highlight=False, soft_wrap=True, markup=False)
"""Texts are printed as they are: a path with ``[x]`` in it is no markup."""
log = logging.getLogger("vae_lightning")
_job: ContextVar[str] = ContextVar("job", default="")  # the job of a sweep that this thread is at


@contextmanager
def one_job_of_many(name: str) -> Iterator[None]:
    """A run in here keeps its lines to its log file; the console gets warnings only, with the job's name."""
    before = _job.set(name)
    try:
        yield
    finally:
        _job.reset(before)


def say(*objects: Any) -> None:
    """Print what a run tells at its end; one of many jobs tells nothing."""
    if not _job.get():
        console.print(*objects)


def display_path(path: Path) -> str:
    """A path as a person here would type it."""
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") else str(path)


class _PlainHandler(RichHandler):
    """Messages as they are; a level is named only when it asks for attention."""

    def emit(self, record: logging.LogRecord) -> None:
        job = _job.get()
        if job and record.levelno < logging.WARNING:
            return
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        prefix = f"{job}: {prefix}" if job else prefix
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
        handlers.append(_LogFile(log_file, encoding="utf-8"))
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
