"""The rows in memory, in model units, as Lightning asks for them."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from vae_lightning.data.dataset import Dataset
from vae_lightning.data.loader import BatchLoader, BlockLoader
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.scaled import scale_rows
from vae_lightning.data.store import RowStore

EVALUATION_BATCH = 4096


class VectorDataModule(LightningDataModule):
    """Scales every row once and serves batches by tensor indexing; no worker processes.

    Args:
        dataset: the split rows in data units.
        scaling: fitted on the training rows.
        batch_size: rows per training step.
        seed: orders the rows of each epoch together with the epoch's number.
        rows: what :func:`scale_rows` made of the dataset, where that is done already.
    """

    def __init__(
        self,
        dataset: Dataset,
        scaling: Scaling,
        batch_size: int = 128,
        seed: int = 0,
        rows: Mapping[str, RowStore] | None = None,
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.seed = seed
        #: Of the validation rows; never trained on, but figures are coloured by them.
        self.valid_labels = dataset.valid.labels
        self.draw = scaling.draw if scaling.resample else None
        self.rows: dict[str, RowStore] = dict(scale_rows(dataset, scaling, seed) if rows is None else rows)

    def on_device(self, name: str, device: torch.device) -> RowStore:
        """The rows of a split on ``device``; moved there once and kept."""
        self.rows[name] = self.rows[name].to(device)
        return self.rows[name]

    def _loader(self, name: str, batch_size: int, shuffle: bool) -> BatchLoader:
        assert self.trainer is not None
        return BatchLoader(
            self.on_device(name, self.trainer.strategy.root_device),
            batch_size=batch_size,
            shuffle=shuffle,
            seed=self.seed,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            draw=self.draw if name == "train" else None,
        )

    def train_dataloader(self) -> BatchLoader | BlockLoader:
        """The training batches, shuffled; several at a time where the module takes them so (see :mod:`fast`)."""
        trainer: Any = self.trainer
        # The few batches that a trainer asks to overfit must be the same ones in every epoch.
        batches = self._loader("train", self.batch_size, shuffle=not trainer.overfit_batches)
        if not getattr(trainer.lightning_module, "takes_blocks", False):
            return batches
        return BlockLoader(batches, trainer.lightning_module.block_size(self.batch_size))

    def val_dataloader(self) -> BatchLoader:
        """The validation rows, in order."""
        return self._loader("valid", EVALUATION_BATCH, shuffle=False)

    def test_dataloader(self) -> BatchLoader:
        """The test rows, in order."""
        return self._loader("test", EVALUATION_BATCH, shuffle=False)

    def predict_dataloader(self) -> BatchLoader:
        """The test rows, in order."""
        return self.test_dataloader()
