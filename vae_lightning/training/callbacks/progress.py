"""The progress bar: one line for the whole run, drawn now and then rather than at every step."""

import time
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from vae_lightning.console import console, log
from vae_lightning.data.loader import Block
from vae_lightning.training.module import VAEModule


class EpochProgress(ProgressBar):
    """Epoch, rate, and the last epoch's NELBO = reconstruction + KL; on a terminal a bar, elsewhere a few lines.

    Args:
        refresh_seconds: least time between two drawings.
        lines: how many lines a run prints where the output is no terminal.
    """

    takes_blocks = True

    def __init__(self, refresh_seconds: float = 0.5, lines: int = 10) -> None:
        super().__init__()
        self.refresh_seconds = refresh_seconds
        self.lines = lines
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._drawn = 0.0
        self._rows = 0
        self._started = 0.0
        self._terms = ""
        self._enabled = True

    def disable(self) -> None:
        """Draw nothing: Lightning's wish for every process but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Draw again."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: VAEModule) -> None:
        self._started, self._rows = time.perf_counter(), 0
        if not console.is_terminal or not self._enabled:
            return
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[rate]}  {task.fields[terms]}"),
            TimeRemainingColumn(),
            console=console,
            # A drawing thread would take turns with the training loop; the bar is drawn by hand instead.
            auto_refresh=False,
        )
        last = _last_epoch(trainer)
        total = last * trainer.num_training_batches if last else None
        done = int(trainer.current_epoch * trainer.num_training_batches)
        self._task = self._bar.add_task("epoch", total=total, completed=done, rate="", terms="")
        self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: VAEModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._rows += sum(one.num_rows for one in batch) if isinstance(batch, Block) else _num_rows(batch)
        if self._bar is not None and time.perf_counter() - self._drawn > self.refresh_seconds:
            self._draw(trainer, trainer.current_epoch * trainer.num_training_batches + batch_idx + 1)

    def on_validation_end(self, trainer: Trainer, pl_module: VAEModule) -> None:
        if trainer.sanity_checking:
            return
        metrics = trainer.callback_metrics
        values = {name: float(metrics[f"val/{name}"]) for name in ("nelbo", "reconstruction", "kl")}
        self._terms = (
            f"val nelbo {values['nelbo']:.2f} = reconstruction {values['reconstruction']:.2f} + kl {values['kl']:.2f}"
        )
        epoch, last = trainer.current_epoch + 1, _last_epoch(trainer)
        # Of a run whose end nobody knows, the epochs 1, 2, 4, 8 ...
        every = -(-last // self.lines) if last else 1 << (epoch.bit_length() - 1)
        if self._bar is None and self._enabled and (epoch % every == 0 or epoch in (1, last)):
            log.info(f"{_epoch(trainer)}  {self._rate()}  {self._terms}")

    def on_train_end(self, trainer: Trainer, pl_module: VAEModule) -> None:
        if self._bar is not None:
            self._draw(trainer, trainer.current_epoch * trainer.num_training_batches)
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: VAEModule, exception: BaseException) -> None:
        self._close()

    def _draw(self, trainer: Trainer, completed: float) -> None:
        assert self._bar is not None
        self._drawn = time.perf_counter()
        description = _epoch(trainer)
        self._bar.update(self._task, completed=completed, description=description, rate=self._rate(), terms=self._terms)
        self._bar.refresh()

    def _rate(self) -> str:
        return f"{self._rows / (time.perf_counter() - self._started):,.0f} rows/s"

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _last_epoch(trainer: Trainer) -> int | None:
    """None where a time or a number of steps ends the run."""
    return trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None


def _epoch(trainer: Trainer) -> str:
    epoch, last = trainer.current_epoch + 1, _last_epoch(trainer)
    return f"epoch {min(epoch, last)}/{last}" if last else f"epoch {epoch}"


def _num_rows(batch: Any) -> int:
    """Rows of a batch as any loader yields it."""
    return len(batch[0] if isinstance(batch, tuple | list) else batch)
