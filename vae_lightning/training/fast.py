"""Several batches in one turn of Lightning's loop: only where nobody can tell the difference.

What Lightning does around a batch costs a small network a quarter of its step. The batches, the weights, the numbers
that are logged and ``global_step`` are the same either way.
"""

from collections.abc import Callable, Sequence

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, ModelSummary, RichModelSummary
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.training.adam import direct_step
from vae_lightning.training.datamodule import VectorDataModule

EPOCH_CALLBACKS = (EarlyStopping, ModelSummary, RichModelSummary)
"""Lightning's callbacks that look at epochs only; others say so by an attribute ``takes_blocks = True``."""


def reason_for_single_batches(trainer: Trainer, module: LightningModule, is_plain: bool) -> str | None:
    """Why Lightning must be given one batch at a time; None where it makes no difference but to the clock.

    Args:
        trainer: about to fit.
        module: what it fits.
        is_plain: whether that is of the package's own class: a subclass may do anything in a step.
    """
    counts = {
        "limit_train_batches": trainer.limit_train_batches != 1.0,
        "val_check_interval": trainer.val_check_interval != 1.0 or trainer.check_val_every_n_epoch is None,
        "max_steps": trainer.max_steps != -1,
        "overfit_batches": trainer.overfit_batches != 0,  # type: ignore[attr-defined]
        "accumulate_grad_batches": trainer.accumulate_grad_batches != 1,
    }
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set, but not declared
    watching = [callback for callback in callbacks if not _looks_at_epochs_only(callback)]
    reasons = {
        "the module is of a class of its own": not is_plain,
        "the module is compiled": getattr(module, "_compiler_ctx", None) is not None,
        "the rows are not those of the package's own data module": type(trainer.datamodule) is not VectorDataModule,  # type: ignore[attr-defined]
        "more than a single device trains": type(trainer.strategy) is not SingleDeviceStrategy,
        "the precision is not 32-true": type(trainer.precision_plugin) is not Precision,
        "a profiler watches": type(trainer.profiler) is not PassThroughProfiler,  # type: ignore[attr-defined]
        **{f"trainer.{name} counts batches": is_set for name, is_set in counts.items()},
        **{f"{type(callback).__name__} may watch every step": True for callback in watching},
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _looks_at_epochs_only(callback: Callback) -> bool:
    if type(callback) is ModelCheckpoint:
        return not (callback._every_n_train_steps or callback._train_time_interval)
    return type(callback) in EPOCH_CALLBACKS or getattr(callback, "takes_blocks", False)


def take_steps(
    trainer: Trainer, module: LightningModule, batches: Sequence[Batch], gradient: Callable[[Batch], Tensor]
) -> None:
    """One step of the optimiser for each batch, as Lightning would take it, and its counters moved on alike.

    The last is Lightning's to count: it has a step of its own for the turn of its loop.

    Args:
        trainer: that fits.
        module: what it fits.
        batches: one after the other.
        gradient: leaves that of a batch with the parameters, which have none, and returns the loss.
    """
    optimizer = trainer.optimizers[0]
    direct = direct_step(optimizer)
    params = [one for group in optimizer.param_groups for one in group["params"]]
    clip, clip_by = trainer.gradient_clip_val, trainer.gradient_clip_algorithm
    optimizer._opt_called = True  # type: ignore[attr-defined]  # else schedulers miss the steps that torch did not take
    for number, batch in enumerate(batches, 1):

        def closure(batch: Batch = batch) -> Tensor:
            for one in params:
                one.grad = None
            value = gradient(batch)
            if clip:
                module.configure_gradient_clipping(optimizer, clip, clip_by)
            return value

        if direct is None:
            optimizer.step(closure)  # type: ignore[arg-type]  # torch's stubs want numbers
        else:
            closure()
            direct()
        if number < len(batches):
            count_step(trainer)


def count_step(trainer: Trainer) -> None:
    """Move Lightning's counters on by a step that was taken outside its loop."""
    loop = trainer.fit_loop.epoch_loop
    progress = loop.automatic_optimization.optim_progress.optimizer.step
    progress.increment_ready()
    progress.increment_completed()
    loop._batches_that_stepped += 1
