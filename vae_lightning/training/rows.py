"""What any loader yields → the one batch that the model knows."""

from typing import Any

import torch
from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.data.checks import check_support
from vae_lightning.data.scaled import mark_holes
from vae_lightning.errors import DataError
from vae_lightning.inference.model import VAEModel


def to_batch(model: VAEModel, given: Any, checked: bool) -> Batch:
    """A batch in model units, on the model's device and in its precision.

    Args:
        model: with the scaling.
        given: a batch in model units; or a tensor of rows (B, C) in data units, or a tuple that begins with one. NaN is
            an empty cell to a model that sees masks.
        checked: hold rows in data units against the supports; reading the answer waits for the device.

    Raises:
        DataError: for anything else, values outside a column's support, or empty cells that the model cannot have.
    """
    weight = model.vae.output.weight
    if isinstance(given, Batch):
        return given if given.x.dtype == weight.dtype and given.x.device == weight.device else given.cast(weight)
    x = given[0] if isinstance(given, tuple | list) else given
    if not isinstance(x, Tensor):
        raise DataError(
            f"A loader must yield tensors, tuples that begin with one, or batches. Got {type(x).__name__} instead."
        )
    x, told = model.split_conditions(x.to(weight.device))
    sees_mask, likelihood = model.vae.features.sees_mask, model.vae.likelihood
    batch = mark_holes(model.scaling.transform(x), x, sees_mask)._replace(condition=told)
    if checked:
        if not sees_mask and bool(torch.isnan(x).any()):
            raise DataError(
                "The rows of a loader must have no empty cells (NaN) where the VAE does not see masks. Make it with "
                "sees_mask=True, or fill or drop those rows."
            )
        check_support(
            batch.x,
            split="given",
            columns=model.columns,
            supports=likelihood.supports,
            likelihood=likelihood.column_names,
            preprocess=model.scaling.column_names,
            mask=batch.mask,
        )
    return batch.cast(weight)
