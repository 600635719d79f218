"""The best epoch and the history of a training run that writes nothing to disk."""

import math

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from vae_lightning.training.module import MONITOR, VAEModule


class BestInMemory(Checkpoint):
    """Keeps a copy of the model's state at its least val/nelbo, the start included, and every epoch's numbers.

    A ``Checkpoint`` to Lightning, which calls those last: after the module has added the epoch's training terms.
    """

    takes_blocks = True

    def __init__(self) -> None:
        self.best = math.inf
        self._epochs: list[dict[str, float]] = []
        self._state: dict[str, Tensor] = {}

    @property
    def history(self) -> dict[str, list[float]]:
        """Every epoch's numbers by name; empty before the end of the first."""
        names = self._epochs[0] if self._epochs else ()
        return {name: [epoch[name] for epoch in self._epochs] for name in names}

    def on_train_start(self, trainer: Trainer, pl_module: VAEModule) -> None:
        nelbo = pl_module.nelbo_at_start()
        if nelbo is not None:
            self._keep(nelbo, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: VAEModule) -> None:
        # The whole epoch in one assignment: an interrupt may come between any two.
        epoch = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if epoch[MONITOR] < self.best:
            self._keep(epoch[MONITOR], pl_module)
        self._epochs.append(epoch)

    def _keep(self, nelbo: float, module: VAEModule) -> None:
        self._state = {name: value.clone() for name, value in module.model.state_dict().items()}
        self.best = nelbo

    def restore(self, module: VAEModule) -> None:
        """Put the best epoch's state into the module; without one it keeps its own."""
        if self._state:
            module.model.load_state_dict(self._state)
