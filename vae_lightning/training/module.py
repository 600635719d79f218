"""A VAE as a LightningModule: any loader, any Trainer, any callback."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from vae_lightning.data.batch import Batch
from vae_lightning.data.columns import Column
from vae_lightning.data.loader import BatchLoader, Block, BlockLoader
from vae_lightning.data.preprocess.none import Identity
from vae_lightning.data.seeds import random_stream, stream_seed
from vae_lightning.inference.checkpoint import RECORD, record_text
from vae_lightning.inference.metrics import ELBOMeter
from vae_lightning.inference.model import VAEModel
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.base import Objective, Weights
from vae_lightning.objectives.elbo import ELBO
from vae_lightning.training.fast import reason_for_single_batches
from vae_lightning.training.step import Statistics, loss_and_statistics

MONITOR = "val/nelbo"
MakeOptimizer = Callable[[Iterable[Tensor]], Optimizer]
MakeScheduler = Callable[[Optimizer], LRScheduler | ReduceLROnPlateau]


class VAEModule(LightningModule):
    """Minimises the negative objective; logs NELBO, reconstruction and KL (β = 1, nats per row, data units).

    A loader may yield :class:`Batch` (model units), tensors, or tuples whose first entry is a tensor (data units,
    scaled here); what else a tuple holds, such as labels, is left alone.

    Args:
        model: a trained or untrained model in data units, or a bare VAE for rows that need no scaling.
        objective: what training maximises; by default the ELBO.
        optimizer: parameters → optimiser; by default Adam.
        scheduler: optimiser → learning-rate scheduler, stepped once an epoch; a plateau scheduler watches val/nelbo.
        seed: every epoch's draws follow from it and the epoch's number, so a resumed run repeats them.
        fast: let several batches go through Lightning's loop at once where nobody can tell (see :mod:`fast`).

    Attributes:
        steps: the statistics of each training step of this epoch, still on the device.
        lr: the learning rate that the optimiser starts with; setting it, as a finder does, overrides the optimiser's.
    """

    def __init__(
        self,
        model: VAEModel | VAE,
        objective: Objective | None = None,
        optimizer: MakeOptimizer | None = None,
        scheduler: MakeScheduler | None = None,
        seed: int = 0,
        fast: bool = True,
    ) -> None:
        super().__init__()
        self.model = _in_data_units(model) if isinstance(model, VAE) else model
        self.objective = ELBO() if objective is None else objective
        self.make_optimizer: MakeOptimizer = Adam if optimizer is None else optimizer
        self.make_scheduler = scheduler
        self.seed = seed
        self.fast = fast
        #: Whether training batches come several at a time; decided when a fit begins.
        self.takes_blocks = False
        trial = self.make_optimizer([torch.zeros(1, requires_grad=True)])
        self.lr: float = trial.param_groups[0]["lr"]
        self.meter = ELBOMeter(self.vae, self.model.log_slopes())
        self.steps: list[Statistics] = []
        self.save_hyperparameters({**self.model.record, "seed": seed})

    @property
    def vae(self) -> VAE:
        """The network, in model units."""
        return self.model.vae

    @property
    def is_plain(self) -> bool:
        """Whether this is the class itself: a subclass may do anything in a step."""
        return type(self) is VAEModule

    def forward(self, rows: Any) -> Tensor:
        """The codes of rows: the means of q(z|x), shape (B, L)."""
        return self.vae.encode(self._batch(rows)).mean

    # Fitting

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser and, where there is one, the scheduler, stepped once an epoch."""
        optimizer = self.make_optimizer(self.parameters())
        for group in optimizer.param_groups:
            group["lr"] = self.lr
        if self.make_scheduler is None:
            return optimizer
        scheduler: Any = {"scheduler": self.make_scheduler(optimizer), "interval": "epoch", "monitor": MONITOR}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def setup(self, stage: str) -> None:
        """Decide how batches come."""
        self.takes_blocks = stage == "fit" and reason_for_single_batches(self.trainer, self) is None
        # Lightning's own optimisation loop costs a small network a tenth of its step; `_step` does the same.
        self.automatic_optimization = not self.takes_blocks

    def teardown(self, stage: str) -> None:
        """Be as any module again."""
        self.takes_blocks, self.automatic_optimization = False, True

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Blocks are where they belong already; Lightning would search them for something to move."""
        return batch if isinstance(batch, Block) else super().transfer_batch_to_device(batch, device, dataloader_idx)

    def weights(self) -> Weights:
        """The objective's weights at the current step."""
        return self.objective.weights_at(self.current_epoch + len(self.steps) / self._steps_per_epoch())

    def _steps_per_epoch(self) -> float:
        loader: Any = self.trainer.train_dataloader
        batches = self.trainer.num_training_batches
        return min(len(loader.batches), batches * loader.size) if self.takes_blocks else batches

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's random stream: a run resumed here draws what the unbroken one drew."""
        torch.manual_seed(stream_seed(self.seed, "noise", self.current_epoch, self.global_rank))
        loader = self.trainer.train_dataloader
        if isinstance(loader, BatchLoader | BlockLoader):
            loader.set_epoch(self.current_epoch)
        self._lr_of_epoch = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.steps.clear()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        """The loss of a batch; or, where batches come several at a time, one step of the optimiser for each."""
        if self.takes_blocks:
            for one in batch:
                self._step(one)
            return None
        return self.loss(self._batch(batch))

    def loss(self, batch: Batch) -> Tensor:
        """The loss of a batch, with fresh noise; its statistics join :attr:`steps`."""
        noise = self.vae.noise(self.objective.num_samples, batch.num_rows)
        loss, statistics = loss_and_statistics(self.vae, self.objective, batch, noise, self.weights())
        self.steps.append(statistics)
        if statistics.fitted is not None:
            self.vae.likelihood.update(self.trainer.strategy.reduce(statistics.fitted, reduce_op="sum"))
        return loss

    def _step(self, batch: Batch) -> None:
        optimizer: Any = self.optimizers()
        for group in optimizer.param_groups:  # what zero_grad() does, less its bookkeeping
            for parameter in group["params"]:
                parameter.grad = None
        self.manual_backward(self.loss(batch))
        if self.trainer.gradient_clip_val:
            self.clip_gradients(optimizer, self.trainer.gradient_clip_val, self.trainer.gradient_clip_algorithm)
        optimizer.step()

    def on_train_epoch_end(self) -> None:
        """Log the epoch's terms: means over all rows of all processes."""
        if self.steps:  # a subclass may have steps of its own
            loss, reconstruction, kl = self._mean_terms()
            terms = {"reconstruction": reconstruction, "kl": kl, "nelbo": reconstruction + kl, "loss": loss}
            self._log({f"train/{name}": value for name, value in terms.items()})
            beta = self.weights().beta
            self._log({"train/beta": float(beta), "lr": self._lr_of_epoch})
        if self.takes_blocks:
            # Before the epoch's checkpoint is written, so that a resumed run does not miss the step.
            scheduler: Any = self.lr_schedulers()
            if isinstance(scheduler, ReduceLROnPlateau):
                if MONITOR in self.trainer.callback_metrics:
                    scheduler.step(self.trainer.callback_metrics[MONITOR])
            elif scheduler is not None:
                scheduler.step()

    def _mean_terms(self) -> tuple[float, float, float]:
        """Loss (model units), reconstruction (data units) and KL of the epoch so far."""
        terms = torch.stack([step.terms for step in self.steps]).double()
        weight = torch.as_tensor([step.weight for step in self.steps], dtype=torch.float64, device=terms.device)
        sums = torch.cat([weight @ terms, weight.sum()[None], weight @ self._gained(terms.device)[:, None]])
        sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
        loss, reconstruction, kl, rows, gained = sums.tolist()
        return loss / rows, (reconstruction - gained) / rows, kl / rows

    def _gained(self, device: torch.device) -> Tensor:
        """What each step's mean log-density gains from model units to data units, shape (steps,)."""
        slopes = self.model.log_slopes().to(device)
        whole = slopes.sum()
        return torch.stack([whole if s.observed is None else s.observed.double() @ slopes for s in self.steps])

    @property
    def rows_trained(self) -> float:
        """Rows, or their weights, that this process has trained on in this epoch."""
        return float(sum(step.weight for step in self.steps))

    # Evaluating

    def on_validation_epoch_start(self) -> None:
        """Begin the same stream at every validation: the curve then shows the model, not the dice."""
        self._begin_evaluation()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Add a batch to the means."""
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the means as ``val/...``."""
        self._end_evaluation("val")

    def on_test_epoch_start(self) -> None:
        """As for validation."""
        self._begin_evaluation()

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Add a batch to the means."""
        self._evaluate(batch)

    def on_test_epoch_end(self) -> None:
        """Log the means as ``test/...``."""
        self._end_evaluation("test")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The codes of a batch, (B, L)."""
        return self(batch)

    def _begin_evaluation(self) -> None:
        self.meter.reset()
        self._stream = random_stream(self.seed)
        self._stream.__enter__()

    def _evaluate(self, rows: Any) -> None:
        batch = self._batch(rows)
        terms = self.vae(batch, self.vae.noise(1, batch.num_rows))
        self.meter.update(terms, batch, self.vae.likelihood.at_floor(terms.px))

    def _end_evaluation(self, stage: str) -> None:
        self._stream.__exit__(None, None, None)
        self._log({f"{stage}/{name}": float(value) for name, value in self.meter.compute().items()})

    @property
    def kl_by_dimension(self) -> np.ndarray:
        """Mean KL of each latent dimension at the last validation, nats per row, (L,); (1,) by Monte Carlo."""
        return self.meter.kl_by_dimension.cpu().numpy()

    @property
    def nll_by_column(self) -> np.ndarray:
        """Mean -E_q[log p(x|z)] of each column at the last validation, nats in data units, (C,)."""
        return self.meter.nll_by_column.cpu().numpy()

    def _batch(self, rows: Any) -> Batch:
        """Rows as any loader yields them → a batch in model units and in the model's precision."""
        weight = self.vae.output.weight
        if isinstance(rows, Batch):
            return rows if rows.x.dtype == weight.dtype and rows.x.device == weight.device else rows.cast(weight)
        x = rows[0] if isinstance(rows, tuple | list) else rows
        return Batch(self.model.scaling.transform(x.to(weight.device))).cast(weight)

    def _log(self, values: dict[str, float]) -> None:
        """Hand finished numbers to callbacks and loggers; they are the same in every process."""
        self.log_dict({name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()})

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the model is rebuilt from."""
        checkpoint[RECORD] = record_text(self.model)


def _in_data_units(vae: VAE) -> VAEModel:
    """A bare VAE with columns x0, x1 ... that are taken as they are."""
    num_columns = vae.likelihood.num_columns
    return VAEModel(vae, Identity(num_columns), [Column(f"x{i}", "float64") for i in range(num_columns)])
