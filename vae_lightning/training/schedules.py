"""The learning-rate schedule that ends."""

import math
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vae_lightning.errors import check_parameter, is_count

COSINE = "vae_lightning.Cosine"
"""What a configuration calls :class:`Cosine`."""


class Cosine(LRScheduler):
    """``lr(t) = lr min(1, (t + 1) / w T) ½ (1 + cos(π t / T))`` in epoch t of T (Loshchilov & Hutter 2017).

    Small steps first, as a model that starts as factor analysis has much to lose on few rows; none at the end.

    Its state is the epoch, not the curve: a run that is resumed with another length follows the curve of that length.

    Args:
        optimizer: whose step sizes are set.
        epochs: T; after it the step size is 0.
        warmup: w, the share of the epochs in which the step size grows; 0 for none.

    Raises:
        ConfigError: when ``epochs`` is below 1 or ``warmup`` outside [0, 1).
    """

    def __init__(self, optimizer: Optimizer, epochs: int, warmup: float = 0.1) -> None:
        check_parameter("Cosine", "epochs", is_count(epochs), "a whole number from 1 on", epochs)
        check_parameter("Cosine", "warmup", 0 <= warmup < 1, "at least 0 and below 1", warmup)
        self.epochs = epochs
        self.warmup = warmup
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """The step sizes of the current epoch."""
        share = min(self.last_epoch / self.epochs, 1.0)
        warm = min(1.0, (self.last_epoch + 1) / max(self.warmup * self.epochs, 1.0))
        return [0.5 * float(lr) * warm * (1 + math.cos(math.pi * share)) for lr in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        return {key: value for key, value in super().state_dict().items() if key not in ("epochs", "warmup")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        # The optimiser's state holds the step size of this epoch on the curve that the earlier run followed.
        self._last_lr = self.get_lr()
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = lr
