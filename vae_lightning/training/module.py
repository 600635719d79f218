"""Training as Lightning drives it: one step, the optimiser, the logging."""

import functools
import json
from collections.abc import Callable, Iterable
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from vae_lightning.data.seeds import random_stream
from vae_lightning.inference.metrics import ELBOMeter
from vae_lightning.inference.model import VAEModel
from vae_lightning.objectives.elbo import ELBO
from vae_lightning.version import __version__

MONITOR = "val/nelbo"
P = ParamSpec("P")
R = TypeVar("R")


def _of_the_model(method: Callable[Concatenate[VAEModel, P], R]) -> Callable[Concatenate["VAEModule", P], R]:
    """The same method of the module: that of its model."""

    @functools.wraps(method)
    def call(self: "VAEModule", *args: P.args, **kwargs: P.kwargs) -> R:
        return method(self.model, *args, **kwargs)

    return call


class VAEModule(LightningModule):
    """Minimises the configured objective; logs NELBO, reconstruction and KL (β = 1, nats per row, data units).

    After ``fit`` it has the methods of its model: ``module.encode(rows)`` and so on.

    Args:
        model: the VAE with its preprocessing.
        objective: what training minimises.
        optimizer: parameters → optimiser.
        scheduler: optimiser → learning-rate scheduler, stepped once an epoch; a plateau scheduler watches val/nelbo.
        gradient_clip_val: largest norm (or, with "value", largest entry) of a gradient; None leaves them alone.
        gradient_clip_algorithm: "norm" or "value".
        seed: every epoch's draws follow from it and the epoch's number, so a resumed run repeats them.
    """

    def __init__(
        self,
        model: VAEModel,
        objective: ELBO,
        optimizer: Callable[[Iterable[Tensor]], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str = "norm",
        seed: int = 0,
    ) -> None:
        super().__init__()
        # Lightning's own optimisation loop costs a small network a tenth of its step; _step does the same.
        self.automatic_optimization = False
        self.model = model
        self.objective = objective
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.gradient_clip_val = gradient_clip_val
        self.gradient_clip_algorithm = gradient_clip_algorithm
        self.seed = seed
        self.shift = -model.log_abs_det()
        self.meter = ELBOMeter(model.vae.latent_dim, model.vae.log_var_bound, len(model.columns))
        #: (loss, reconstruction, kl) of each training step of this epoch, model units, still on the device.
        self.steps: list[Tensor] = []
        #: Rows of each of these steps.
        self.step_rows: list[int] = []
        self._trained = list(model.parameters())
        self._steps_per_epoch: float = 1

    encode = _of_the_model(VAEModel.encode)
    reconstruct = _of_the_model(VAEModel.reconstruct)
    decode = _of_the_model(VAEModel.decode)
    sample = _of_the_model(VAEModel.sample)
    log_prob = _of_the_model(VAEModel.log_prob)
    score = _of_the_model(VAEModel.score)
    score_by_column = _of_the_model(VAEModel.score_by_column)
    calibrate = _of_the_model(VAEModel.calibrate)
    threshold = _of_the_model(VAEModel.threshold)
    evaluate = _of_the_model(VAEModel.evaluate)
    info = _of_the_model(VAEModel.info)
    export = _of_the_model(VAEModel.export)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self.make_optimizer(self.parameters())
        if self.make_scheduler is None:
            return optimizer
        return [optimizer], [self.make_scheduler(optimizer)]

    def beta(self) -> float:
        """β of the current step."""
        return self.objective.beta_at(self.current_epoch + len(self.steps) / self._steps_per_epoch)

    def on_train_epoch_start(self) -> None:
        # A stream of its own for every epoch and device: a run resumed here draws what the unbroken one drew.
        torch.manual_seed(hash((self.seed, self.current_epoch, self.global_rank)) % 2**63)
        loader: Any = self.trainer.train_dataloader
        loader.batches.set_epoch(self.current_epoch)
        self._steps_per_epoch = min(len(loader.batches), self.trainer.num_training_batches * loader.size)
        self.steps.clear()
        self.step_rows.clear()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch  # the rows are on the device already; Lightning would search the batch for something to move

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """One step of the optimiser for each of the batches that come at a time (see ``BlockLoader``)."""
        for rows in batch:
            self._step(rows)

    def _step(self, rows: Tensor) -> None:
        loss = self._loss(rows)
        optimizer: Any = self.optimizers()
        for parameter in self._trained:  # what zero_grad() does, less its bookkeeping
            parameter.grad = None
        self.manual_backward(loss)
        if self.gradient_clip_val is not None:
            self.clip_gradients(optimizer, self.gradient_clip_val, self.gradient_clip_algorithm)
        optimizer.step()

    def _loss(self, batch: Tensor) -> Tensor:
        vae = self.model.vae
        output = vae(batch, self.objective.num_samples)
        terms = vae.terms(batch, output)
        loss = -self.objective(terms, self.beta()).mean()
        # Kept as tensors: reading a number here would make every step wait for the device.
        with torch.no_grad():
            self.steps.append(torch.stack((loss, -terms.log_px.mean(), terms.kl.sum() / len(batch))))
        self.step_rows.append(batch.shape[0])
        vae.likelihood.observe(output.px, batch)
        return loss

    def on_train_epoch_end(self) -> None:
        weights = torch.tensor(self.step_rows, dtype=torch.float32, device=self.device)
        means = (weights / weights.sum()) @ torch.stack(self.steps)
        loss, reconstruction, kl = self.trainer.strategy.reduce(means, reduce_op="mean").tolist()
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        terms = {"reconstruction": reconstruction, "kl": kl, "nelbo": reconstruction + kl, "loss": loss}
        self._log({**self._named("train", terms), "train/beta": self.beta(), "lr": rate})
        # Before the epoch's checkpoint is written, so that a resumed run does not miss the step.
        scheduler: Any = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(self.trainer.callback_metrics[MONITOR])
        elif scheduler is not None:
            scheduler.step()

    def on_validation_epoch_start(self) -> None:
        self.meter.reset()
        # The same draws at every validation: the curve then shows the model, not the dice.
        self._stream = random_stream(self.seed)
        self._stream.__enter__()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        vae = self.model.vae
        output = vae(batch)
        terms = vae.terms(batch, output)
        loc, log_var = output.posterior
        floor = vae.likelihood.at_floor(output.px)
        self.meter.update(terms.log_px, terms.kl, loc, log_var, floor, output.px.log_prob(batch))

    def on_validation_epoch_end(self) -> None:
        self._stream.__exit__(None, None, None)
        self._log(self._named("val", {name: float(value) for name, value in self.meter.compute().items()}))

    @property
    def kl_by_dimension(self) -> np.ndarray:
        """Mean KL of each latent dimension at the last validation, nats per row, (L,)."""
        return self.meter.kl_by_dimension.cpu().numpy()

    @property
    def nll_by_column(self) -> np.ndarray:
        """Mean -E_q[log p(x|z)] of each column at the last validation, nats in data units, (C,)."""
        return (self.meter.nll_by_column.cpu() - self.model.log_slopes().cpu()).numpy()

    def _named(self, stage: str, terms: dict[str, float]) -> dict[str, float]:
        """``stage/term``, log-densities in data units."""
        densities = ("nelbo", "reconstruction")
        return {f"{stage}/{k}": v + self.shift if k in densities else v for k, v in terms.items()}

    def _log(self, values: dict[str, float]) -> None:
        """Hand finished numbers to callbacks and loggers.

        ``self.log`` prepares every value for reductions that are already made; at a dozen values an epoch it would
        cost a small network more than the validation itself.
        """
        metrics = {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
        self.trainer.callback_metrics.update(metrics)
        for logger in self.trainer.loggers:
            logger.log_metrics({**values, "epoch": self.current_epoch}, step=self.global_step)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        record = {
            "version": __version__,
            "config": self.model.record,
            "columns": [[column.name, column.dtype] for column in self.model.columns],
        }
        # As one string: a thousand columns as lists of lists would be most of what there is to write each epoch.
        checkpoint["vae_lightning"] = json.dumps(record)
