"""A VAE as a LightningModule: any loader, any Trainer, any callback."""

import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Self

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
from vae_lightning.data.seeds import seed_global_stream, stream_seed
from vae_lightning.errors import RunError, check_parameter
from vae_lightning.inference.checkpoint import RECORD, read_checkpoint, read_record, rebuild_model, record_text
from vae_lightning.inference.metrics import ELBOMeter
from vae_lightning.inference.model import VAEModel
from vae_lightning.model.parts import build_part
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.base import Objective, Weights
from vae_lightning.objectives.elbo import ELBO
from vae_lightning.training.compilation import Compilation, Wanted
from vae_lightning.training.compiled import reason_for_eager
from vae_lightning.training.evaluation import Evaluation
from vae_lightning.training.fast import reason_for_single_batches, take_steps
from vae_lightning.training.rows import to_batch
from vae_lightning.training.settings import settings_of
from vae_lightning.training.step import Statistics, differentiate, loss_and_statistics, mean_terms

MONITOR = "val/nelbo"
MAX_BLOCK = 64
"""Batches in a turn of Lightning's loop: a bar of small batches moves a few times a second still."""
CELLS_IN_BLOCK = 2**22
"""Of the batches in a turn, which lie beside the table."""
COMPILED = "steps_are_compiled"
PRECISIONS = ("32-true", "64-true", "16-mixed", "bf16-mixed")
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
        compile: make one program of the step (see :mod:`compilation`), where batches come several at a time: ``True``,
            ``False`` or ``auto``.

    Attributes:
        steps: the statistics of each training step of this epoch, still on the device.
        lr: the learning rate that the optimiser starts with; setting it, as a finder does, overrides the optimiser's.

    Raises:
        ConfigError: as a trainer begins, where its precision cannot hold a sum of nats.
        DataError: when a loader yields something else, or values outside a column's support.
    """

    def __init__(
        self,
        model: VAEModel | VAE,
        objective: Objective | None = None,
        optimizer: MakeOptimizer | None = None,
        scheduler: MakeScheduler | None = None,
        seed: int = 0,
        fast: bool = True,
        compile: Wanted = "auto",
    ) -> None:
        super().__init__()
        self.model = _in_data_units(model) if isinstance(model, VAE) else model
        self.objective = ELBO() if objective is None else objective
        self.make_optimizer: MakeOptimizer = Adam if optimizer is None else optimizer
        self.make_scheduler = scheduler
        self.seed = seed
        self.fast = fast
        self.compilation = Compilation(compile)
        #: Whether training batches come several at a time, decided when a fit begins, and how many at most.
        self.takes_blocks, self.most_batches = False, MAX_BLOCK
        trial = self.make_optimizer([torch.zeros(1, requires_grad=True)])
        self.lr = float(trial.param_groups[0]["lr"])
        #: What the optimiser steps with in this epoch: a scheduler moves on before validation.
        self._usual_lr = self.lr_of_epoch = self.lr
        self._plateau: ReduceLROnPlateau | None = None
        self._at_start: dict[str, float] | None = None
        self.meter = ELBOMeter(self.vae, self.model.log_slopes)
        self.evaluation = Evaluation(self.vae, self.meter, seed)
        self.steps: list[Statistics] = []
        self.save_hyperparameters(settings_of(self.model, self.objective, self.lr, seed))

    @property
    def vae(self) -> VAE:
        """The network, in model units."""
        return self.model.vae

    def forward(self, rows: Any) -> Tensor:
        """The codes of rows: the means of q(z|x), shape (B, L)."""
        return self.vae.encode(self._batch(rows)).mean

    # Fitting

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser and, where there is one, the scheduler, stepped once an epoch."""
        optimizer = self.make_optimizer(self.parameters())
        if self.lr != self._usual_lr:
            for group in optimizer.param_groups:
                group["lr"] = self.lr
        if self.make_scheduler is None:
            return optimizer
        scheduler: Any = self.make_scheduler(optimizer)
        self._plateau = scheduler if isinstance(scheduler, ReduceLROnPlateau) else None
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": MONITOR, "strict": False}}

    def setup(self, stage: str) -> None:
        """Decide how batches come."""
        precision = self.trainer.precision
        must_be = f"one of {', '.join(PRECISIONS)} (weights of 16 bits give sums of nats no three digits)"
        check_parameter("Trainer", "precision", precision in PRECISIONS, must_be, precision)
        self.takes_blocks = stage == "fit" and self.reason_for_single_batches is None

    @property
    def reason_for_single_batches(self) -> str | None:
        """Why batches come one at a time; None where they need not."""
        if not self.fast:
            return "trainer.fast is off"
        return reason_for_single_batches(self.trainer, self, type(self) is self.plain_class)

    @property
    def plain_class(self) -> type["VAEModule"]:
        """The class of the package whose steps these are; one made from it may do anything in a step."""
        return VAEModule

    def teardown(self, stage: str) -> None:
        """Be as any module again."""
        self.takes_blocks = False

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Blocks are where they belong already; Lightning would search them for something to move."""
        return batch if isinstance(batch, Block) else super().transfer_batch_to_device(batch, device, dataloader_idx)

    def block_size(self, batch_size: int) -> int:
        """Batches that come at a time, where they come so."""
        return max(1, min(self.most_batches, CELLS_IN_BLOCK // (batch_size * len(self.model.columns))))

    def weights(self) -> Weights:
        """The objective's weights at the current step."""
        return self.objective.weights_at(self.current_epoch + len(self.steps) / self._steps_per_epoch())

    def _steps_per_epoch(self) -> float:
        loader = self.trainer.train_dataloader
        return len(loader.batches) if isinstance(loader, BlockLoader) else self.trainer.num_training_batches

    def nelbo_at_start(self) -> float | None:
        """val/nelbo of the weights before the first step of a fit, nats per row in data units.

        None where the fit goes on with an earlier one, or has no validation rows.
        """
        terms = self.terms_at_start()
        return terms[MONITOR] if terms else None

    def terms_at_start(self) -> dict[str, float]:
        """What validation would have logged before the first step; empty where there is no :meth:`nelbo_at_start`."""
        loader = self.trainer.val_dataloaders
        if self.global_step or loader is None:
            return {}
        if self._at_start is None:
            self.eval()
            self._at_start = {f"val/{name}": value for name, value in self.measure(loader).items()}
            self.train()
        return self._at_start

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's random stream: a run resumed here draws what the unbroken one drew."""
        seed_global_stream(stream_seed(self.seed, "noise", self.current_epoch, self.global_rank))
        loader = self.trainer.train_dataloader
        if isinstance(loader, BatchLoader | BlockLoader):
            loader.set_epoch(self.current_epoch)
        self.lr_of_epoch = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        self.steps.clear()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Where batches come several at a time, take their steps: what Lightning then does for a step does nothing."""
        if isinstance(batch, Block):
            self.take_block(batch)

    def take_block(self, batches: Block) -> None:
        """Take a step for each batch, and let Lightning count the last of them."""
        began = time.perf_counter()
        loader = self.trainer.train_dataloader.batches  # type: ignore[union-attr]
        num_rows = min(loader.batch_size, loader.num_rows)
        epoch, steps_per_epoch = self.current_epoch, len(loader)

        def gradient(batch: Batch) -> Tensor:
            noise = self.vae.noise(self.objective.num_samples, batch.num_rows)
            weights = self.objective.weights_at(epoch + len(self.steps) / steps_per_epoch)
            given = (self.vae, self.objective, batch, noise, weights)
            statistics = self.compilation.differentiate(*given, num_rows)
            if statistics is None:
                statistics = differentiate(*given)
            self._keep(statistics)
            return statistics.terms[0]

        take_steps(self.trainer, self, batches, gradient)
        self.compilation.time(time.perf_counter() - began, len(batches))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a batch; of a block, whose steps have been taken, that of the last."""
        return self.steps[-1].terms[0] if isinstance(batch, Block) else self.loss(self._batch(batch))

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """The gradient of a loss that has not been gone down yet."""
        if not self.takes_blocks:
            super().backward(loss, *args, **kwargs)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """A step, where it has not been taken yet."""
        if not self.takes_blocks:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        elif optimizer_closure is not None:
            optimizer_closure()  # Lightning asks what it returned

    def loss(self, batch: Batch) -> Tensor:
        """The loss of a batch, with fresh noise; its statistics join :attr:`steps`."""
        noise = self.vae.noise(self.objective.num_samples, batch.num_rows)
        loss, statistics = loss_and_statistics(self.vae, self.objective, batch, noise, self.weights())
        self._keep(statistics)
        return loss

    def _keep(self, statistics: Statistics) -> None:
        self.steps.append(statistics)
        if statistics.fitted is not None:
            self.vae.likelihood.update(self.trainer.strategy.reduce(statistics.fitted, reduce_op="sum"))

    def on_train_epoch_end(self) -> None:
        """Log the epoch's terms: means over all rows of all processes."""
        if self.steps:  # a subclass may have steps of its own
            reduce = partial(self.trainer.strategy.reduce, reduce_op="sum")
            loss, reconstruction, kl = mean_terms(self.steps, self.model.mean_log_slopes(), reduce)
            terms = {"reconstruction": reconstruction, "kl": kl, "nelbo": reconstruction + kl, "loss": loss}
            terms = {f"train/{name}": value for name, value in {**terms, "beta": float(self.weights().beta)}.items()}
            self._log({**terms, "lr": self.lr_of_epoch})
        if self.takes_blocks:
            epochs = self.trainer.max_epochs or 0
            left = math.inf if epochs < 0 else (epochs - self.current_epoch - 1) * self._steps_per_epoch()
            self.compilation.decide(left, lambda: reason_for_eager(self.vae))
        if any(config.scheduler is self._plateau for config in self.trainer.lr_scheduler_configs):
            # Before the epoch's checkpoint is written, so that a resumed run does not miss the step.
            nelbo = self.trainer.callback_metrics.get(MONITOR)
            if self._plateau is not None and nelbo is not None:
                self._plateau.step(nelbo)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step a scheduler, but for the plateau scheduler, which has been stepped."""
        if scheduler is not self._plateau:
            super().lr_scheduler_step(scheduler, metric)

    @property
    def rows_trained(self) -> float:
        """Rows, or their weights, that this process has trained on in this epoch."""
        return float(sum(step.weight for step in self.steps))

    # Evaluating

    def on_validation_epoch_start(self) -> None:
        """Begin the same stream at every validation: the curve then shows the model, not the dice."""
        self.evaluation.begin()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Add a batch to the means."""
        self.evaluation.add(self._batch(batch))

    def on_validation_epoch_end(self) -> None:
        """Log the means as ``val/...``."""
        self._log(self.evaluation.end(), "val/")

    def on_test_epoch_start(self) -> None:
        """As for validation."""
        self.evaluation.begin()

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Add a batch to the means."""
        self.evaluation.add(self._batch(batch))

    def on_test_epoch_end(self) -> None:
        """Log the means as ``test/...``."""
        self._log(self.evaluation.end(), "test/")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The codes of a batch, (B, L)."""
        return self(batch)

    def measure(self, batches: Iterable[Any]) -> dict[str, float]:
        """The means that validation would log for these rows, without a trainer."""
        return self.evaluation.of(map(self._batch, batches))

    @property
    def kl_by_dimension(self) -> np.ndarray:
        """Mean KL of each latent dimension at the last validation, nats per row, (L,); (1,) by Monte Carlo."""
        return self.meter.kl_by_dimension.cpu().numpy()

    @property
    def nll_by_column(self) -> np.ndarray:
        """Mean -E_q[log p(x|z)] of each column at the last validation, nats in data units, (C,)."""
        return self.meter.nll_by_column.cpu().numpy()

    def _batch(self, given: Any) -> Batch:
        """Training rows are held against the supports in the first epoch only: the next ones are the same."""
        return to_batch(self.model, given, checked=not self.training or self.current_epoch == 0)

    def _log(self, values: dict[str, float], stage: str = "") -> None:
        """Hand finished numbers to callbacks and loggers; they are the same in every process."""
        trainer, values = self.trainer, {f"{stage}{name}": value for name, value in values.items()}
        tensors = {name: torch.tensor(v, dtype=torch.float64, device=self.device) for name, v in values.items()}
        if not self.takes_blocks:
            self.log_dict(tensors, sync_dist=trainer.world_size > 1)
        elif not trainer.sanity_checking:
            # What log_dict comes to, less its bookkeeping of every value, which takes as long as the validation does.
            trainer.callback_metrics.update(tensors)
            trainer.logged_metrics.update(tensors)
            for logger in trainer.loggers:
                logger.log_metrics({**values, "epoch": self.current_epoch}, step=self.global_step - 1)

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the model is rebuilt from."""
        checkpoint[RECORD] = record_text(self.model)
        checkpoint[COMPILED] = self.compilation.decided
        # The record says these already, and a subclass that takes any keyword would be given them.
        hparams = checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY, {})
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = {k: v for k, v in hparams.items() if "." not in k}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A resumed run steps as it did."""
        if self.compilation.wanted == "auto":
            self.compilation.decided = checkpoint.get(COMPILED)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | Path, *args: Any, **given: Any) -> Self:  # type: ignore[override]
        """The module of a checkpoint, rebuilt from names and plain values: a stranger's file runs none of their code.

        Args:
            checkpoint_path: the file.
            *args: as of any LightningModule.
            **given: arguments of the class that the checkpoint does not hold, such as ``optimizer``; ``model`` where
                the checkpoint is of one that was put together by hand.

        Raises:
            RunError: when the file cannot be read, or does not say how its model is built and no ``model`` is given.
            ConfigError: when it names a family that this package does not have.
        """
        path = Path(checkpoint_path)
        record = read_record(read_checkpoint(path), path)
        if record["config"]:
            given.setdefault("model", rebuild_model(record, path))
            given.setdefault("objective", build_part(Objective, record["config"]["objective"], "objective"))  # type: ignore[type-abstract]
        elif "model" not in given:
            raise RunError(
                f"{path} does not say how its model is built, as it was put together by hand. Give "
                "load_from_checkpoint one of the same shape: model=..."
            )
        return super().load_from_checkpoint(path, *args, **{**given, "weights_only": True})


def _in_data_units(vae: VAE) -> VAEModel:
    """A bare VAE with columns x0, x1 ... that are taken as they are."""
    num_columns = vae.likelihood.num_columns
    return VAEModel(vae, Identity(num_columns), [Column(f"x{i}", "float64") for i in range(num_columns)])
