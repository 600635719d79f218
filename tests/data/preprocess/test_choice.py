"""Which scaling a likelihood's columns get where none is asked for, and why."""

import numpy as np
import pytest

from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.preprocess.binarize import Binarize
from vae_lightning.data.preprocess.choice import fit_scaling
from vae_lightning.data.preprocess.minmax import MinMax
from vae_lightning.data.preprocess.standardize import Standardize
from vae_lightning.errors import DataError
from vae_lightning.likelihoods.support import BINARY, COUNT, REAL, UNIT, Support

UNITS = np.array([[0.0, 0.5], [1.0, 0.2]])
BITS = np.array([[0, 1], [1, 1]], dtype=np.uint8)
WIDE = np.array([[-3.1, 0.5], [4.2, 0.2]])
COUNTS = np.array([[0, 3], [12, 700]])


def dataset(x: np.ndarray, value_range: tuple[float, float] | None = None) -> Dataset:
    columns = tuple(Column(str(index), str(x.dtype)) for index in range(x.shape[1]))
    return Dataset("some", columns, Rows(x), Rows(x * 100), Rows(x * 100), value_range)


@pytest.mark.parametrize(
    ("support", "x", "value_range", "name", "words"),
    [
        (REAL, WIDE, None, "standardize", "all real numbers"),
        (REAL, BITS, (0, 1), "standardize", "all real numbers"),
        (UNIT, UNITS, None, "none", "lie in [0, 1] already"),
        (UNIT, WIDE, (-5, 5), "minmax", "grey levels from -5 to 5"),
        (UNIT, WIDE, None, "minmax", "takes values in [0, 1]"),
        (BINARY, UNITS, None, "none", "lie in [0, 1] already"),
        (BINARY, BITS, None, "none", "lie in [0, 1] already"),
        (BINARY, WIDE, (-5, 5), "minmax", "grey levels from -5 to 5"),
        (BINARY, WIDE, None, "none", "never binarised or squeezed"),
        (COUNT, COUNTS, None, "none", "whole numbers as they are"),
        (COUNT, WIDE, None, "none", "whole numbers as they are"),
        (COUNT, COUNTS, (0, 700), "none", "whole numbers as they are"),
    ],
)
def test_by_support(
    support: Support, x: np.ndarray, value_range: tuple[float, float] | None, name: str, words: str
) -> None:
    scaling, reason = fit_scaling(None, [support] * 2, dataset(x, value_range))
    assert scaling.name() == name
    assert words in reason
    assert reason.startswith("as ")


def test_each_support_is_asked_about_its_own_columns_alone() -> None:
    x = np.array([[0.0, 5.0, 1.0], [1.0, 17.0, 0.2]])
    scaling, _ = fit_scaling(None, [BINARY, COUNT, UNIT], dataset(x))
    assert scaling.name() == "none"
    with pytest.raises(DataError, match=r"scalings \(none, standardize\): name one. Try data.preprocess=none or"):
        fit_scaling(None, [BINARY, REAL, UNIT], dataset(x))
    assert fit_scaling("none", [BINARY, REAL, UNIT], dataset(x))[0].name() == "none"


@pytest.mark.parametrize("name", Scaling.families())
def test_as_asked_for_and_fitted_on_the_training_rows(name: str) -> None:
    scaling, reason = fit_scaling(name, [REAL] * 2, dataset(WIDE), threshold=0.3, resample=True)
    assert scaling.name() == name
    assert reason == "as asked for"
    if isinstance(scaling, Standardize):
        np.testing.assert_allclose(scaling.mean, WIDE.mean(0))
    if isinstance(scaling, MinMax):
        np.testing.assert_allclose(scaling.low, WIDE.min(0))
    if isinstance(scaling, Binarize):
        assert scaling.options() == {"value_range": None, "threshold": 0.3, "resample": True}


def test_unknown_name() -> None:
    with pytest.raises(DataError, match=r"Got 'standardise' instead\. Did you mean 'standardize'\?"):
        fit_scaling("standardise", [REAL] * 2, dataset(WIDE))
