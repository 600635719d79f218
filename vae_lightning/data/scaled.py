"""The rows of all parts in model units, scaled once for everybody who looks at them."""

import torch
from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.seeds import generator
from vae_lightning.data.store import RowsInMemory, RowStore

PARTS = ("train", "valid", "test")


def scale_rows(dataset: Dataset, scaling: Scaling, seed: int = 0) -> dict[str, RowStore]:
    """The training, validation and test rows by part.

    Args:
        dataset: the rows in data units.
        scaling: fitted on the training rows. Where it draws training rows anew in every epoch, theirs are the levels
            that it draws from; validation and test rows are drawn once, for good.
        seed: of the draws.
    """
    holes = dataset.has_holes
    return {part: _scale(getattr(dataset, part), scaling, seed, part, holes) for part in PARTS}


def _scale(rows: Rows, scaling: Scaling, seed: int, part: str, holes: bool) -> RowStore:
    """A batch at a time: the float64 arithmetic of a whole table at once would need several times its memory."""
    if part == "train" and scaling.resample:
        return RowsInMemory.of(mark_holes(scaling.levels(batch.x), batch.x, holes) for batch in rows.batches())
    draws = generator("cpu", seed, "binarize", part)
    return RowsInMemory.of(mark_holes(scaling.transform(batch.x, draws), batch.x, holes) for batch in rows.batches())


def mark_holes(u: Tensor, x: Tensor, holes: bool) -> Batch:
    """Rows (B, C) in model units, ``x`` in data units; with a mask where there may be ``holes``, which are NaN in x."""
    if not holes:
        return Batch(u)
    mask = ~torch.isnan(x)
    return Batch(torch.where(mask, u, 0.0), mask)
