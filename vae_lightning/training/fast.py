"""When several batches may go through Lightning's loop at once: only where nobody can tell the difference."""

from typing import TYPE_CHECKING

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder, ModelCheckpoint
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.profilers import PassThroughProfiler

from vae_lightning.training.datamodule import VectorDataModule

if TYPE_CHECKING:
    from vae_lightning.training.module import VAEModule

BATCH_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
"""What a callback is called at in every step."""


def reason_for_single_batches(trainer: Trainer, module: "VAEModule") -> str | None:
    """Why Lightning must be given one batch at a time; None where it makes no difference but to the clock.

    What Lightning does around a batch costs a small network a quarter of its step. The batches, ``global_step`` and
    the results are the same either way.
    """
    counts = {
        "trainer.limit_train_batches": trainer.limit_train_batches != 1.0,
        "trainer.val_check_interval": trainer.val_check_interval != 1.0,
        "trainer.max_steps": trainer.max_steps != -1,
        "trainer.overfit_batches": getattr(trainer, "overfit_batches", 0) != 0,
        "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches != 1,
    }
    reasons = {
        "it was switched off": not module.fast,
        "the rows are not those of the package's own data module": type(_datamodule(trainer)) is not VectorDataModule,
        "the module is of a class of its own": not module.is_plain,
        "several processes train together": trainer.world_size != 1,
        "the precision is not 32-true": type(trainer.precision_plugin) is not Precision,
        "a profiler watches": type(getattr(trainer, "profiler", None)) is not PassThroughProfiler,
        "the module is compiled": getattr(module, "_compiler_ctx", None) is not None,
        **{f"{name} counts batches": is_set for name, is_set in counts.items()},
        **{
            f"{type(callback).__name__} watches every step": _watches_steps(callback)
            for callback in _callbacks(trainer)
        },
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _callbacks(trainer: Trainer) -> list[Callback]:
    return trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it, but does not declare it


def _datamodule(trainer: Trainer) -> object:
    return trainer.datamodule  # type: ignore[attr-defined]


def _watches_steps(callback: Callback) -> bool:
    """Whether a callback is there for single steps, or runs a training loop of its own."""
    if isinstance(callback, BatchSizeFinder | LearningRateFinder):
        return True
    if type(callback) is ModelCheckpoint:
        return bool(callback._every_n_train_steps or callback._train_time_interval)
    if getattr(callback, "takes_blocks", False):
        return False
    return any(getattr(type(callback), hook) is not getattr(Callback, hook) for hook in BATCH_HOOKS)
