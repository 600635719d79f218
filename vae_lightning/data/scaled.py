"""The rows of all parts in model units, scaled once for everybody who looks at them."""

import torch
from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.data.conditions import Conditions
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.seeds import generator
from vae_lightning.data.store import RowsInMemory, RowStore

PARTS = ("train", "valid", "test")


def scale_rows(
    dataset: Dataset, scaling: Scaling, seed: int = 0, conditions: Conditions | None = None
) -> dict[str, RowStore]:
    """The training, validation and test rows by part.

    Args:
        dataset: the rows in data units.
        scaling: fitted on the training rows. Where it draws training rows anew in every epoch, theirs are the levels
            that it draws from; validation and test rows are drawn once, for good.
        seed: of the draws.
        conditions: what is told of the data set's condition columns; None where there are none.
    """
    holes = dataset.has_holes
    stores = {part: _scale(getattr(dataset, part), scaling, seed, part, holes) for part in PARTS}
    if conditions is None:
        return dict(stores)
    return {
        part: RowsInMemory(store.rows._replace(condition=_tell(conditions, dataset, getattr(dataset, part))))
        for part, store in stores.items()
    }


def _tell(conditions: Conditions, dataset: Dataset, rows: Rows) -> Tensor:
    assert rows.condition is not None
    values = conditions.recode(dataset.condition_columns, rows.condition)
    conditions.check(values, lambda row: f"row {row + 1}")
    return conditions(torch.from_numpy(values).to(conditions.center.device)).cpu()


def _scale(rows: Rows, scaling: Scaling, seed: int, part: str, holes: bool) -> RowsInMemory:
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
