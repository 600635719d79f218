"""What a user should know of rows and likelihood before the first step, and nothing has to stop for."""

import numpy as np
import torch

from vae_lightning.config.settings import Settings
from vae_lightning.data.dataset import Dataset
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.wording import count, shorten
from vae_lightning.errors import Notice, Setting

NEAR = 0.5  # of the greatest σ: the bound is smooth, and slows what comes near it


def find_cautions(dataset: Dataset, scaling: Scaling, settings: Settings) -> list[Notice]:
    """The cautions that hold, if any."""
    found = (
        _too_few_rows(dataset),
        _beyond_the_greatest_scale(dataset, scaling, settings),
        _sum_as_exposure(dataset),
    )
    return [notice for notice in found if notice is not None]


def _too_few_rows(dataset: Dataset) -> Notice | None:
    parts = {"validation": len(dataset.valid), "test": len(dataset.test)}
    few = [count(size, f"{part} row") for part, size in parts.items() if size < 2]
    if not few:
        return None
    chosen = " The best epoch is chosen by a single row." if len(dataset.valid) == 1 else ""
    return Notice(
        f"There is {' and '.join(few)}: no error bar and no verdict can be had from fewer than two.{chosen} Give more "
        "rows, or larger data.valid_fraction and data.test_fraction."
    )


def _sum_as_exposure(dataset: Dataset) -> Notice | None:
    """An exposure that is the sum of what is modelled: over all counts p(x | sum of x) does not add up to one."""
    if dataset.exposure is None or dataset.train.condition is None:
        return None
    exposure = dataset.train.condition[:, dataset.exposure_place]
    if not np.allclose(np.nansum(dataset.train.x.astype(np.float64), axis=1), exposure):
        return None
    return Notice(
        f"The exposure {dataset.exposure!r} is the sum of the modelled columns in every training row, which is not "
        "known before them: draws will not have that sum, and the NLL, in which the sum itself costs nothing, compares "
        "with models under the same exposure only."
    )


def _beyond_the_greatest_scale(dataset: Dataset, scaling: Scaling, settings: Settings) -> Notice | None:
    """Columns that spread more than the likelihood's σ can: no step, however many, lets σ reach them."""
    min_scale = settings.likelihood.get("min_scale")
    kind = settings.likelihood.get("variance", settings.likelihood.get("scale"))
    if min_scale is None or kind == "fixed":
        return None
    u = scaling.transform(torch.from_numpy(dataset.train.x).double())
    spread = torch.from_numpy(np.nanstd(u.numpy(), axis=0))
    wide = (spread > NEAR / min_scale).nonzero().flatten().tolist()
    if not wide:
        return None
    names = shorten(f"'{dataset.columns[i].name}' ({float(spread[i]):.4g})" for i in wide)
    return Notice(
        f"{count(len(wide), 'column')} of {len(dataset.columns):,} have a standard deviation near or above "
        f"{1 / min_scale:.4g}, the greatest that likelihood.min_scale={min_scale:g} lets σ become (1 / min_scale): "
        f"{names}. The loss will be too high there.",
        (
            Setting("data.preprocess", "standardize", "each column to standard deviation 1"),
            Setting("likelihood.min_scale", float(f"{0.1 / float(spread.max()):.1g}"), "a greater σ"),
        ),
    )
