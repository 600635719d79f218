"""Whether the steps of a fit are compiled: what compiling costs against what it saves."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from lightning.pytorch import Trainer

from vae_lightning.console import log
from vae_lightning.data.batch import Batch
from vae_lightning.data.loader import BatchLoader
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.base import Objective, Weights
from vae_lightning.training.compiled import Clip, CompiledStep, reason_for_eager
from vae_lightning.training.step import Statistics

COMPILE_SECONDS, GAIN = 20.0, 0.3
"""What compiling takes the first time, and the share of a step's time that it saves at least where networks are small;
`scripts/benchmark.py` measures both."""
Wanted = bool | Literal["auto"]


class Compilation:
    """The decision of one fit, made once and kept by its checkpoints, so that a resumed run repeats it.

    ``auto`` looks at the first epoch's steps, which are eager, and compiles where the steps that are left would save
    twice what compiling costs.

    Args:
        wanted: ``True``, ``False`` or ``auto``.

    Attributes:
        decided: whether steps are compiled; None as long as nobody knows.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.decided = None if wanted == "auto" else wanted
        self._step: CompiledStep | None = None
        self._seconds = math.inf

    def take(
        self, vae: VAE, objective: Objective, trainer: Trainer, batch: Batch, weights: Weights
    ) -> Statistics | None:
        """Draw noise and take a batch's step, where that was decided; None where it is left to who asks.

        So are steps before the optimiser's first, batches that the program does not fit, and all where compiling fails.
        """
        optimizer = trainer.optimizers[0]
        if self._step is None:
            if reason := reason_for_eager(vae, optimizer):
                self.give_up(reason)
            elif optimizer.state:
                limit, of = trainer.gradient_clip_val, trainer.gradient_clip_algorithm or "norm"
                clip = Clip(float(limit), of) if limit else None
                batches: BatchLoader = trainer.train_dataloader.batches  # type: ignore[union-attr]
                num_rows = min(batches.batch_size, batches.num_rows)
                self._step = CompiledStep(vae, objective, optimizer, batch, num_rows, clip)
        if self._step is None or not self._step.fits(batch):
            return None
        draws = None if self._step.has_run else torch.get_rng_state()
        try:
            return self._step(batch, vae.noise(objective.num_samples, batch.num_rows), weights)
        except Exception as error:
            if draws is None:
                raise
            self.give_up(f"torch.compile has failed ({str(error).splitlines()[0]})")
            torch.set_rng_state(draws)
            return None

    def give_up(self, reason: str) -> None:
        """Go on without, and say why."""
        log.info(f"Steps are not compiled: {reason}.")
        self._step, self.decided = None, False

    def time(self, seconds: float, num_steps: int) -> None:
        """Take note of how long some steps took."""
        self._seconds = min(self._seconds, seconds / num_steps)

    def decide(self, steps_left: float, reason_against: Callable[[], str | None]) -> None:
        """Weigh the steps to come, where that is still to be done."""
        if self.decided is not None or math.isinf(self._seconds):
            return
        saved = steps_left * self._seconds * GAIN
        self.decided = saved > 2 * COMPILE_SECONDS and reason_against() is None
        if self.decided:
            log.info(
                f"Steps are compiled (trainer.compile=false switches it off): on {steps_left:,.0f} steps of "
                f"{1e3 * self._seconds:.2f} ms that saves some {saved:,.0f} s, for about {COMPILE_SECONDS:.0f} s once."
            )
