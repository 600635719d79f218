"""The checkpoint of the best epoch, with the weights before the first step among the candidates."""

from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from vae_lightning.training.module import MONITOR, VAEModule


class BestCheckpoint(ModelCheckpoint):
    """Lightning's, monitoring val/nelbo; a model that starts as factor analysis may be best before it is trained.

    Args:
        dirpath: where the checkpoint goes.
        filename: its name.
        **options: as of Lightning's.
    """

    takes_blocks = True

    def __init__(self, dirpath: str | None = None, filename: str = "best", **options: Any) -> None:
        super().__init__(dirpath, filename, monitor=MONITOR, enable_version_counter=False, **options)

    def on_train_start(self, trainer: Trainer, pl_module: VAEModule) -> None:
        super().on_train_start(trainer, pl_module)
        nelbo = pl_module.nelbo_at_start()
        if nelbo is not None and self.best_model_score is None:
            candidates = {**self._monitor_candidates(trainer), MONITOR: torch.tensor(nelbo, dtype=torch.float64)}
            self._save_topk_checkpoint(trainer, candidates)
