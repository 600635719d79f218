"""The callback that tells a search how a job is getting on, and gives the job up when the search says so."""

from typing import Any

import optuna
from lightning.pytorch import LightningModule, Trainer
from optuna_integration import PyTorchLightningPruningCallback

from vae_lightning.sweeps.base import PrunedError
from vae_lightning.sweeps.study import open_study, pruner_of
from vae_lightning.training.module import MONITOR


class TrialReport(PyTorchLightningPruningCallback):
    """Reports val/nelbo of each epoch to the job's trial.

    Args:
        storage: where the study is kept, as ``study.storage_of`` writes it.
        study: its name.
        number: the trial's.
        pruner: none, median or hyperband.
        pruner_options: arguments of Optuna's class.

    Raises:
        PrunedError: when the trial is to be given up.
    """

    takes_blocks = True

    def __init__(self, storage: str, study: str, number: int, pruner: str, pruner_options: Any) -> None:
        opened = open_study(storage, study, pruner=pruner_of(pruner, pruner_options))
        # The study knows a trial by another number than the storage does.
        trial_id = opened.get_trials(deepcopy=False)[number]._trial_id
        super().__init__(optuna.trial.Trial(opened, trial_id), monitor=MONITOR)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and stop where others were better at this epoch."""
        if trainer.current_epoch in self._trial.storage.get_trial(self._trial._trial_id).intermediate_values:
            return  # a resumed job comes by an epoch that was reported before it was killed
        try:
            super().on_validation_end(trainer, pl_module)
        except optuna.TrialPruned:
            raise PrunedError(f"Others were better by epoch {trainer.current_epoch + 1}.") from None
