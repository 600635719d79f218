"""Where Hydra looks for sweepers; what they do is written in ``vae_lightning.sweeps``."""

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class GridSweeper(Sweeper):
    """``hydra/sweeper=grid``, the default: see :class:`vae_lightning.sweeps.grid.Grid`."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's call before the sweep."""
        # Hydra imports every plugin at every start; what a sweep needs takes seconds.
        from vae_lightning.sweeps.grid import Grid
        from vae_lightning.sweeps.launch import Launch

        self.sweeper = Grid(Launch(hydra_context, task_function, config), **self.settings)

    def sweep(self, arguments: list[str]) -> Any:
        """Hydra's call for the sweep itself."""
        return self.sweeper.sweep(arguments)


class OptunaSweeper(Sweeper):
    """``hydra/sweeper=optuna``: see :class:`vae_lightning.sweeps.search.Search`."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's call before the sweep."""
        from vae_lightning.errors import ConfigError
        from vae_lightning.sweeps.launch import Launch

        try:
            from vae_lightning.sweeps.search import Search
        except ModuleNotFoundError as error:
            raise ConfigError(f"hydra/sweeper=optuna needs {error.name}: pip install 'vae-lightning[optuna]'") from None
        self.sweeper = Search(Launch(hydra_context, task_function, config), **self.settings)

    def sweep(self, arguments: list[str]) -> Any:
        """Hydra's call for the sweep itself."""
        return self.sweeper.sweep(arguments)
