"""Where callbacks that show something find TensorBoard."""

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger


def boards_of(trainer: Trainer) -> list[TensorBoardLogger]:
    """The loggers that write for TensorBoard; none in any process but the first."""
    if not trainer.is_global_zero:
        return []
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
