"""TensorBoard's curves beyond the loss: rates, the NLL of each column, the KL of each latent dimension."""

import time

import numpy as np
from lightning.pytorch import Callback, Trainer

from vae_lightning.reporting.loggers import boards_of
from vae_lightning.reporting.tensorboard import add_bars, add_layout, add_scalars
from vae_lightning.training.module import MONITOR, VAEModule

MAX_CURVES = 20


class Dashboard(Callback):
    """Writes an epoch's rates, column NLLs and KLs as one event, from sums that validation keeps anyway.

    ``metrics.csv`` stays as it is. Without a TensorBoard logger there is nothing to do.
    """

    takes_blocks = True

    def __init__(self) -> None:
        self._started = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: VAEModule) -> None:
        for logger in boards_of(trainer):
            add_layout(logger.experiment)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: VAEModule) -> None:
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: VAEModule) -> None:
        loggers = boards_of(trainer)
        if not loggers:
            return
        seconds, step = time.perf_counter() - self._started, trainer.global_step
        rows = pl_module.rows_trained * trainer.world_size
        values = {"rate/seconds_per_epoch": seconds, "rate/rows_per_second": rows / seconds}
        kl, validated = pl_module.kl_by_dimension, MONITOR in trainer.callback_metrics
        if validated:
            values |= curves("column_nll", [column.name for column in pl_module.model.columns], pl_module.nll_by_column)
            names = [f"z{index}" for index in range(len(kl))] if pl_module.vae.kl_is_exact else ["all"]
            values |= curves("latent_kl", names, kl)
        for logger in loggers:
            add_scalars(logger.experiment, values, step)
            if validated:
                add_bars(logger.experiment, "latent/kl_of_each_dimension", kl, step)


def curves(group: str, names: list[str], values: np.ndarray) -> dict[str, float]:
    """A curve for each name, or, where these would be too many to read, for the least, the median and the greatest."""
    if len(names) > MAX_CURVES:
        names, values = ["least", "median", "greatest"], np.quantile(values, (0, 0.5, 1))
    return {f"{group}/{name}": float(value) for name, value in zip(names, values, strict=True)}
