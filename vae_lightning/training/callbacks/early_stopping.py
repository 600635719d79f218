"""Early stopping that waits for the objective to come to rest."""

import torch
from lightning.pytorch import Trainer
from lightning.pytorch import callbacks as lightning_callbacks

from vae_lightning.training.module import MONITOR, VAEModule


class EarlyStopping(lightning_callbacks.EarlyStopping):
    """Lightning's, less the epochs in which the weights of the objective are warming up.

    Until then the loss that trains is another one than the NELBO that is watched, which may rise without harm.
    """

    takes_blocks = True

    def on_train_start(self, trainer: Trainer, pl_module: VAEModule) -> None:
        super().on_train_start(trainer, pl_module)
        nelbo = pl_module.nelbo_at_start()
        if nelbo is not None and self.monitor == MONITOR and _is_warm(trainer, pl_module):
            self.best_score = torch.tensor(nelbo, dtype=torch.float64)  # as the module logs it

    def on_train_epoch_end(self, trainer: Trainer, pl_module: VAEModule) -> None:
        if _is_warm(trainer, pl_module):
            super().on_train_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: VAEModule) -> None:
        if _is_warm(trainer, pl_module):
            super().on_validation_end(trainer, pl_module)


def _is_warm(trainer: Trainer, module: VAEModule) -> bool:
    return trainer.current_epoch + 1 >= module.objective.warmup_length
