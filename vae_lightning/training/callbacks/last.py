"""The checkpoint that a run goes on from."""

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from vae_lightning.training.background import EVERY_SECONDS


class LastCheckpoint(ModelCheckpoint):
    """Lightning's, saved at the ends of epochs: where an epoch is short, of the first one that a second has passed by.

    Args:
        dirpath: where the checkpoint goes.
        filename: its name.
        every_seconds: least time between two of them; the last epoch is always saved.
        **options: as of Lightning's.
    """

    takes_blocks = True

    def __init__(
        self,
        dirpath: str | None = None,
        filename: str = "last",
        every_seconds: float = EVERY_SECONDS,
        **options: Any,
    ) -> None:
        super().__init__(dirpath, filename, save_on_train_epoch_end=True, enable_version_counter=False, **options)
        self.every_seconds = every_seconds
        self._saved = -float("inf")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        is_last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        if is_last or time.monotonic() - self._saved >= self.every_seconds:
            super().on_train_epoch_end(trainer, pl_module)
            self._saved = time.monotonic()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Of a run that ends by a limit of time or steps; what is saved already is not saved again.
        super().on_train_epoch_end(trainer, pl_module)
