"""How training went, validation by validation: what its verdict is made of."""

import math
from array import array
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from vae_lightning.data.wording import count
from vae_lightning.inference.verdict import Course
from vae_lightning.objectives.base import final_beta
from vae_lightning.training.module import MONITOR, VAEModule

TRAINED = "train/nelbo"


class CourseRecorder(Callback):
    """Keeps the curves that a verdict needs, also over a resumed run."""

    takes_blocks = True

    def __init__(self) -> None:
        #: Packed, so that a checkpoint of the ten thousandth epoch takes no longer to write than one of the first.
        self._curves = {name: array("d") for name in ("valid", "steps", "learning_rates", "train")}
        self.start = math.nan
        #: Whether training has begun; until then a checkpoint is being read.
        self.began = False

    @property
    def curves(self) -> dict[str, list[float]]:
        """What was seen at each validation, and of each epoch's training."""
        return {name: values.tolist() for name, values in self._curves.items()}

    def on_train_start(self, trainer: Trainer, pl_module: VAEModule) -> None:
        self.began = True
        nelbo = pl_module.nelbo_at_start()
        if nelbo is not None:
            self.start = nelbo

    def on_validation_end(self, trainer: Trainer, pl_module: VAEModule) -> None:
        if trainer.sanity_checking:
            return
        nelbo = float(trainer.callback_metrics[MONITOR])
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        now = {"valid": nelbo, "steps": float(trainer.global_step), "learning_rates": rate}
        for name, value in now.items():
            self._curves[name].append(value)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: VAEModule) -> None:
        self._add_epoch(trainer)  # that before: the module logs its terms after the callbacks' turn at its end

    def on_train_end(self, trainer: Trainer, pl_module: VAEModule) -> None:
        self._add_epoch(trainer)

    def _add_epoch(self, trainer: Trainer) -> None:
        nelbo = float(trainer.callback_metrics.get(TRAINED, math.nan))
        # Of the epoch after which a run was resumed there is none.
        missing = trainer.current_epoch - len(self._curves["train"])
        self._curves["train"].extend([math.nan] * (missing - 1) + [nelbo] * (missing > 0))

    def state_dict(self) -> dict[str, Any]:
        """The curves so far."""
        curves = {name: torch.from_numpy(np.array(values)) for name, values in self._curves.items()}
        return {**curves, "start": self.start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the curves of the run that is resumed."""
        self.start = float(state_dict["start"])
        self._curves = {name: array("d", state_dict[name].tolist()) for name in self._curves}

    def course(self, trainer: Trainer, module: VAEModule, best_epoch: int, num_valid: int) -> Course:
        """The course of a training that has ended."""
        return Course(
            **self.curves,
            best_epoch=best_epoch,
            num_valid=num_valid,
            ended=describe_end(trainer),
            stopped_early=_stopper(trainer) is not None,
            beta=float(module.objective.weights_at(trainer.current_epoch).beta),
            final_beta=final_beta(module.objective),
            start=self.start,
        )


def describe_end(trainer: Trainer) -> str:
    """Why training ended."""
    epochs, stopper = count(trainer.current_epoch, "epoch"), _stopper(trainer)
    if trainer.interrupted:
        return f"interrupted after {epochs}"
    if stopper is not None:
        return f"stopped early after {epochs}, the last {stopper.wait_count} without a better {stopper.monitor}"
    return f"all {epochs}" if trainer.current_epoch == trainer.max_epochs else f"ended after {epochs}"


def describe_beta(module: VAEModule, epochs: int) -> str:
    """What becomes of β in so many epochs, where it does not reach its value; else nothing."""
    objective = module.objective
    beta, final, length = float(objective.weights_at(epochs).beta), final_beta(objective), objective.warmup_length
    if beta >= final:
        return ""
    longer = f"the warm-up of {length:g} epochs is longer than the {epochs:g} of training" if length > epochs else ""
    return f"{longer or 'training ends within a warm-up'}: β ends at {beta:.2g} instead of {final:g}"


def _stopper(trainer: Trainer) -> EarlyStopping | None:
    """What stopped the training early; None where nothing did."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set, but not declared
    stoppers = (one for one in callbacks if isinstance(one, EarlyStopping))
    return next((one for one in stoppers if one.wait_count >= one.patience), None)
