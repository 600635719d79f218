"""The one console: log lines and the progress bar share it, so neither tears the other."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

console = Console(highlight=False, soft_wrap=True)
log = logging.getLogger("vae_lightning")


class _PlainHandler(RichHandler):
    """Messages as they are; a level is named only when it asks for attention."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        style = {logging.WARNING: "yellow", logging.ERROR: "red"}.get(record.levelno)
        console.print(f"{prefix}{record.getMessage()}", style=style, markup=False)


def start_logging(log_file: Path | None = None) -> None:
    """Send the package's log lines to the console and, with times, to ``log_file``; replaces earlier handlers."""
    stop_logging()
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(_PlainHandler())
    if log_file is not None:
        handler = logging.FileHandler(log_file, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)


@contextmanager
def quiet_frameworks() -> Iterator[None]:
    """Keep tips, notes and warnings of torch and Lightning off the console: no user of ours can act on them."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "torch")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for module in (r"lightning\b", r"torch\b", r"torchmetrics\b", r"tensorboard\b"):
            warnings.filterwarnings("ignore", module=module)
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def stop_logging() -> None:
    """Close every handler, so that the next run of this process does not write into this one's file."""
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
