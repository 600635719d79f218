"""Which scaling a likelihood's columns get."""

import inspect
from collections.abc import Sequence

import torch

from vae_lightning.data.dataset import Dataset
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.errors import DataError, Setting, did_you_mean
from vae_lightning.likelihoods.moments import column_ranges
from vae_lightning.likelihoods.support import Support


def fit_scaling(
    name: str | None,
    supports: Sequence[Support],
    data: Dataset,
    threshold: float | None = None,
    resample: bool = False,
) -> tuple[Scaling, str]:
    """The scaling of a name, fitted on the training rows, and why it is this one.

    Args:
        name: none, standardize, gaussianize, minmax or binarize; None lets the columns' supports decide. Data are
            binarised only on request.
        supports: of the columns.
        data: whose training rows are fitted to and whose declared range is used.
        threshold: for ``binarize``, in data units.
        resample: for ``binarize``.

    Returns:
        The fitted module, and why it is this one: a plain clause that starts with "as", for the log.

    Raises:
        DataError: when there is no such scaling, or when the columns' supports want several and none is named.
    """
    reason = "as asked for"
    if name is None:
        name, reason = _choose(supports, data)
    kinds = Scaling.families()
    if name not in kinds:
        raise DataError(
            f"The 'preprocess' parameter of data must be one of {', '.join(kinds)}, or null to let the likelihood "
            f"decide. Got {name!r} instead. {did_you_mean(str(name), kinds)}".rstrip()
        )
    given = {"value_range": data.value_range, "threshold": threshold, "resample": resample}
    options = {key: value for key, value in given.items() if key in inspect.signature(kinds[name]).parameters}
    return kinds[name](num_columns=len(supports), **options).fit(data.train), reason


def _choose(supports: Sequence[Support], data: Dataset) -> tuple[str, str]:
    low, high = column_ranges(data.train)
    wishes = {}
    for support in dict.fromkeys(supports):
        columns = torch.tensor([one == support for one in supports])
        wish = support.default_preprocess(float(low[columns].min()), float(high[columns].max()), data.value_range)
        wishes[wish[0]] = wish
    if len(wishes) > 1:
        raise DataError(
            f"The columns' likelihoods want different scalings ({', '.join(wishes)}): name one.",
            [Setting("data.preprocess", wish) for wish in wishes],
        )
    return next(iter(wishes.values()))
