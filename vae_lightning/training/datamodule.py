"""The rows in memory, in model units, as Lightning asks for them."""

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from vae_lightning.data.dataset import Dataset
from vae_lightning.data.loader import BatchLoader, BlockLoader
from vae_lightning.data.preprocess.base import Binarize, Preprocess

EVALUATION_BATCH = 4096
MAX_BLOCK = 16
ROWS_IN_BLOCK = 4096


class VectorDataModule(LightningDataModule):
    """Preprocesses every row once and serves batches by tensor indexing; no worker processes.

    Args:
        dataset: the split rows in data units.
        preprocess: fitted on the training rows.
        batch_size: rows per training step.
        seed: orders the rows of each epoch together with the epoch's number.
    """

    def __init__(self, dataset: Dataset, preprocess: Preprocess, batch_size: int = 128, seed: int = 0) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.seed = seed
        self.constant_share = len(dataset.constant_columns) / len(dataset.columns)
        #: Of the validation rows; never trained on, but figures are coloured by them.
        self.valid_labels = dataset.valid.labels
        # Re-sampled binarisation keeps grey levels for training; validation and test rows are drawn once, for good.
        self.resample = isinstance(preprocess, Binarize) and preprocess.resample
        self.rows: dict[str, Tensor] = {}
        for index, name in enumerate(("train", "valid", "test")):
            x = torch.from_numpy(getattr(dataset, name).x)
            draws = torch.Generator().manual_seed(seed + index)
            # In slices: the float64 arithmetic of a whole table at once would need several times its memory.
            self.rows[name] = torch.cat([self._model_units(part, name, preprocess, draws) for part in x.split(8192)])

    @staticmethod
    def _model_units(x: Tensor, split: str, preprocess: Preprocess, draws: torch.Generator) -> Tensor:
        if split == "train" and isinstance(preprocess, Binarize) and preprocess.resample:
            return preprocess.levels(x)
        return preprocess.transform(x, draws)

    def on_device(self, name: str, device: torch.device) -> Tensor:
        """The rows of a split on ``device``; moved there once and kept."""
        if self.rows[name].device != device:
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
            draw=Binarize.draw if self.resample and name == "train" else None,
        )

    def train_dataloader(self) -> BlockLoader:
        return BlockLoader(self._loader("train", self.batch_size, shuffle=True), self._block_size())

    def _block_size(self) -> int:
        """Batches that Lightning gets at a time: one where its settings count batches, else a few thousand rows."""
        trainer = self.trainer
        assert trainer is not None
        counts = (trainer.limit_train_batches, trainer.val_check_interval)
        counted = trainer.max_steps != -1 or any(isinstance(count, int) and count for count in counts)
        return 1 if counted else max(1, min(MAX_BLOCK, ROWS_IN_BLOCK // self.batch_size))

    def val_dataloader(self) -> BatchLoader:
        return self._loader("valid", EVALUATION_BATCH, shuffle=False)
