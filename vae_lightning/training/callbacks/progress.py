"""The progress bar: one line for the whole run, drawn now and then rather than at every step."""

import time
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar

from vae_lightning.console import console, log
from vae_lightning.data.loader import Block
from vae_lightning.training.bars import Bar, NotebookBar, TerminalBar
from vae_lightning.training.module import VAEModule


class EpochProgress(ProgressBar):
    """Epoch, rate, the last epoch's NELBO = reconstruction + KL, and how long it may still take.

    On a terminal and in a notebook a bar, elsewhere a few lines.

    Args:
        refresh_seconds: least time between two drawings.
        lines: how many lines a run prints where no bar can be drawn.
        delay_seconds: how long training must have taken before there is a bar.
        transient: leave nothing of the bar on a terminal when training ends.
    """

    takes_blocks = True

    def __init__(
        self, refresh_seconds: float = 0.5, lines: int = 10, delay_seconds: float = 0.0, transient: bool = False
    ) -> None:
        super().__init__()
        self.refresh_seconds = refresh_seconds
        self.lines = lines
        self.delay_seconds = delay_seconds
        self.transient = transient
        self._bar: Bar | None = None
        self._drawn = 0.0
        self._rows = 0
        self._started = 0.0
        self._terms: tuple[str, ...] = ()
        self._enabled = True

    def disable(self) -> None:
        """Draw nothing: Lightning's wish for every process but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Draw again."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: VAEModule) -> None:
        self._started, self._rows = time.perf_counter(), 0
        last, done = _last_epoch(trainer), trainer.current_epoch * trainer.num_training_batches
        total = last * trainer.num_training_batches if last else None
        if not self._enabled:
            self._bar = None
        elif console.is_jupyter:
            self._bar = NotebookBar(total)
        elif console.is_terminal:
            self._bar = TerminalBar(console, total, done, self.transient)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: VAEModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._rows += sum(one.num_rows for one in batch) if isinstance(batch, Block) else _num_rows(batch)
        if self._bar is not None and time.perf_counter() - self._drawn > self.refresh_seconds:
            epoch = trainer.current_epoch
            self._draw(trainer, epoch * trainer.num_training_batches + batch_idx + 1, epoch + 1)

    def on_validation_end(self, trainer: Trainer, pl_module: VAEModule) -> None:
        if trainer.sanity_checking:
            return
        metrics = trainer.callback_metrics
        values = {name: float(metrics[f"val/{name}"]) for name in ("nelbo", "reconstruction", "kl")}
        terms = f"= reconstruction {values['reconstruction']:.2f} + kl {values['kl']:.2f}"
        self._terms = (f"val nelbo {values['nelbo']:.2f}", terms)
        epoch, last = trainer.current_epoch + 1, _last_epoch(trainer)
        # Of a run whose end nobody knows, the epochs 1, 2, 4, 8 ...
        every = -(-last // self.lines) if last else 1 << (epoch.bit_length() - 1)
        if self._bar is None and self._enabled and (epoch % every == 0 or epoch in (1, last)):
            log.info(f"{_epoch(epoch, trainer)}  {self._rate()}  {' '.join(self._terms)}")

    def on_train_end(self, trainer: Trainer, pl_module: VAEModule) -> None:
        if self._bar is not None:
            done = trainer.current_epoch
            self._draw(trainer, done * trainer.num_training_batches, done)
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: VAEModule, exception: BaseException) -> None:
        self._close()

    def _draw(self, trainer: Trainer, completed: float, epoch: int) -> None:
        assert self._bar is not None
        self._drawn = time.perf_counter()
        if self._drawn - self._started >= self.delay_seconds:
            self._bar.draw(completed, _epoch(epoch, trainer), *self._terms, self._rate())

    def _rate(self) -> str:
        return f"{self._rows / (time.perf_counter() - self._started):,.0f} rows/s"

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _last_epoch(trainer: Trainer) -> int | None:
    """None where a time or a number of steps ends the run."""
    return trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None


def _epoch(epoch: int, trainer: Trainer) -> str:
    last = _last_epoch(trainer)
    return f"epoch {epoch}/{last}" if last else f"epoch {epoch}"


def _num_rows(batch: Any) -> int:
    """Rows of a batch as any loader yields it."""
    return len(batch[0] if isinstance(batch, tuple | list) else batch)
