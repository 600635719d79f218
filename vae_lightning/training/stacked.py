"""A VAEModule whose steps are taken in a stack with those of others."""

import sys
from contextvars import ContextVar
from typing import Protocol

from vae_lightning.console import log
from vae_lightning.data.loader import Block
from vae_lightning.training.fast import count_step
from vae_lightning.training.module import MAX_BLOCK, VAEModule
from vae_lightning.training.stack import reason_to_stay_alone
from vae_lightning.training.work import Work


class Company(Protocol):
    """Those who train beside a run, and take turns with it.

    Attributes:
        size: how many they are with it, so that the run has had about that share of the time that has gone by.
    """

    size: int

    @property
    def is_there(self) -> bool:
        """Whether there are enough of them for a stack to be worth it."""

    def take(self, work: Work) -> None:
        """Return once all steps of the work are taken."""


COMPANY: ContextVar[Company | None] = ContextVar("COMPANY", default=None)
"""Of the runs that begin in this thread."""


class StackedModule(VAEModule):
    """A :class:`VAEModule` that hands its batches in rather than taking the steps itself, where that makes no
    difference to what is learned; else it trains as any other, and its log says why.

    Every draw, order, schedule, validation, checkpoint and callback is its own.
    """

    #: Whether its steps may be taken in a stack.
    _is_stacked = False

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage != "fit":
            return
        reason = self.reason_for_single_batches
        if reason is None:
            optimizer = self.make_optimizer(self.parameters())
            reason = reason_to_stay_alone(self.vae, optimizer, self.trainer)
        self._is_stacked = reason is None
        self.most_batches = MAX_BLOCK if reason else sys.maxsize  # an epoch's, where memory allows
        if reason is not None:
            log.info(f"Trained by itself, not in a stack: {reason}.")

    @property
    def plain_class(self) -> type[VAEModule]:
        """This one."""
        return StackedModule

    def teardown(self, stage: str) -> None:
        super().teardown(stage)
        self._is_stacked = False

    def take_block(self, batches: Block) -> None:
        """Hand a block's steps in, and wait until they are taken."""
        company = COMPANY.get()
        if not self._is_stacked or company is None or not company.is_there:
            super().take_block(batches)
            return
        work = self._work(batches)
        company.take(work)
        self.steps += work.statistics
        for _ in batches[1:]:  # the last is Lightning's to count
            count_step(self.trainer)

    def _work(self, batches: Block) -> Work:
        epochs, steps_per_epoch = self.trainer.max_epochs or 0, self._steps_per_epoch()
        may_compile = self.compilation.wanted is not False
        first = len(self.steps)
        moments = [self.current_epoch + (first + number) / steps_per_epoch for number in range(len(batches))]
        return Work(
            vae=self.vae,
            objective=self.objective,
            optimizer=self.trainer.optimizers[0],
            record=self.model.record,
            batches=batches,
            noise=[self.vae.noise(self.objective.num_samples, one.num_rows) for one in batches],
            betas=[float(self.objective.weights_at(moment).beta) for moment in moments],
            clip=float(self.trainer.gradient_clip_val or 0),
            width=self.trainer.train_dataloader.batches.width,  # type: ignore[union-attr]
            ahead=max(len(batches), round((epochs - self.current_epoch) * steps_per_epoch)) if may_compile else 0,
        )
