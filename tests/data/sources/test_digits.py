"""The digits are scikit-learn's."""

import numpy as np
from sklearn.datasets import load_digits

from vae_lightning.data.sources.digits import Digits


def test_rows_are_those_of_scikit_learn() -> None:
    data = Digits().load()
    x, y = load_digits(return_X_y=True)
    assert [len(part) for part in (data.train, data.valid, data.test)] == [1258, 180, 359]
    ours = np.concatenate([np.c_[part.x, part.labels] for part in (data.train, data.valid, data.test)])
    theirs = np.c_[x, y]
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])
    assert data.columns[9].name == "pixel_1_1"
    assert data.columns[9].dtype == "float64"
    assert data.value_range == (0, 16)
    assert data.image_shape == (8, 8)
    assert data.constant_columns[0] == "pixel_0_0"


def test_seed_and_fractions() -> None:
    assert Digits().load().fingerprint == Digits().load().fingerprint != Digits(seed=1).load().fingerprint
    assert len(Digits(valid_fraction=0.5, test_fraction=0.25).load().train) == 1797 - 898 - 449
