"""Where Hydra looks for launchers; what this one does is written in ``vae_lightning.sweeps.stacked``."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class StackedLauncher(Launcher):
    """``launcher=stacked``: see :class:`vae_lightning.sweeps.stacked.StackedLauncher`."""

    def __init__(self, **settings: Any) -> None:
        # Hydra imports every plugin at every start; what a sweep needs takes seconds.
        from vae_lightning.sweeps.stacked import StackedLauncher

        self.launcher = StackedLauncher(**settings)

    @property
    def jobs_at_once(self) -> int:
        """How many jobs run side by side."""
        return self.launcher.jobs_at_once

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's call before the sweep."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Hydra's call for the jobs."""
        return self.launcher.launch(job_overrides, initial_job_idx, self.context, self.config, self.task)
