"""What any loader yields → the one batch that the model knows."""

from typing import Any

from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.data.checks import check_support
from vae_lightning.errors import DataError
from vae_lightning.inference.model import VAEModel


def to_batch(model: VAEModel, given: Any, checked: bool) -> Batch:
    """A batch in model units, on the model's device and in its precision.

    Args:
        model: with the scaling.
        given: a batch in model units; or a tensor of rows (B, C) in data units, or a tuple that begins with one.
        checked: hold rows in data units against the supports; reading the answer waits for the device.

    Raises:
        DataError: for anything else, or values outside a column's support.
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
    u, likelihood = model.scaling.transform(x), model.vae.likelihood
    if checked:
        check_support(
            u,
            split="given",
            columns=model.columns,
            supports=likelihood.supports,
            likelihood=likelihood.column_names,
            preprocess=model.scaling.column_names,
        )
    return Batch(u, condition=told).cast(weight)
