"""Whether the steps of a fit are compiled: what compiling costs against what it saves."""

import math
from collections.abc import Callable
from typing import Literal

from torch import Tensor

from vae_lightning.console import log
from vae_lightning.data.batch import Batch
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.base import Objective, Weights
from vae_lightning.training.compiled import CompiledGradient, reason_for_eager
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
        self._gradient: CompiledGradient | None = None
        self._seconds = math.inf

    def differentiate(
        self, vae: VAE, objective: Objective, batch: Batch, noise: Tensor, weights: Weights, num_rows: int
    ) -> Statistics | None:
        """As :func:`~vae_lightning.training.step.differentiate`, by the program; None where that is left to who asks.

        So it is where steps are not compiled, for batches that the program does not fit, and where compiling fails.

        Args:
            vae: the model.
            objective: what training maximises.
            batch: the rows.
            noise: standard normal draws (S, B, N).
            weights: of the objective's terms at this moment.
            num_rows: of a full batch.
        """
        if not self.decided:
            return None
        if self._gradient is None:
            if reason := reason_for_eager(vae):
                self.give_up(reason)
                return None
            self._gradient = CompiledGradient(vae, objective, batch, num_rows)
        if not self._gradient.fits(batch):
            return None
        try:
            return self._gradient(batch, noise, weights)
        except Exception as error:
            if self._gradient.has_run:
                raise
            self.give_up(f"torch.compile has failed ({str(error).splitlines()[0]})")
            return None

    def give_up(self, reason: str) -> None:
        """Go on without, and say why."""
        log.info(f"Steps are not compiled: {reason}.")
        self._gradient, self.decided = None, False

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
