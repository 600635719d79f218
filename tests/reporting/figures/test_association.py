"""How closely columns go together, against other programs' numbers and against independence."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from vae_lightning.reporting.figures.association import compute_associations, correlation_ratio, cramers_v

NUMBERS = np.zeros(3, dtype=bool)


def test_between_numbers_it_is_the_correlation_of_the_rows_that_have_both() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 3)) @ np.random.default_rng(1).normal(size=(3, 3))
    np.testing.assert_allclose(compute_associations(rows, NUMBERS), np.corrcoef(rows, rowvar=False))
    rows[np.random.default_rng(2).random(rows.shape) < 0.3] = np.nan
    np.testing.assert_allclose(compute_associations(rows, NUMBERS), pd.DataFrame(rows).corr().to_numpy())


def test_between_a_category_and_numbers_it_is_the_root_of_epsilon_squared() -> None:
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 4, 300)
    numbers = codes * [0.5] + rng.normal(size=300)
    groups = [numbers[codes == code] for code in range(4)]
    f = scipy.stats.f_oneway(*groups).statistic
    expected = np.sqrt((f - 1) * 3 / (f * 3 + 296))
    assert correlation_ratio(codes, numbers) == pytest.approx(expected)
    found = compute_associations(np.column_stack([codes, numbers]), np.array([True, False]))
    np.testing.assert_allclose(found, [[1, expected], [expected, 1]])


def test_between_categories_it_is_cramers_v() -> None:
    rng = np.random.default_rng(4)
    x = rng.integers(0, 3, 5000)
    y = np.where(rng.random(5000) < 0.5, x, rng.integers(0, 3, 5000))
    plain = scipy.stats.contingency.association(pd.crosstab(x, y).to_numpy(), method="cramer")
    assert cramers_v(x, y) == pytest.approx(plain, abs=2e-3)
    assert cramers_v(x, x) == pytest.approx(1)
    assert cramers_v(x, (x + 1) % 3) == pytest.approx(1)


def test_of_independent_columns_it_is_near_zero_however_many_the_levels() -> None:
    """Uncorrected, forty levels in three hundred rows look as if they went together."""
    draws = [np.random.default_rng(seed) for seed in range(30)]
    ratios = [correlation_ratio(rng.integers(0, 40, 300), rng.normal(size=300)) ** 2 for rng in draws]
    vs = [cramers_v(rng.integers(0, 40, 300), rng.integers(0, 30, 300)) ** 2 for rng in draws]
    assert np.mean(ratios) < 0.05
    assert np.mean(vs) < 0.02


def test_a_column_of_one_value_goes_with_nothing() -> None:
    rows = np.array([[0, 1.0, 5.0], [0, 2.0, 5.0], [0, 4.0, 5.0], [0, np.nan, 5.0]])
    found = compute_associations(rows, np.array([True, False, False]))
    assert np.isnan(found).sum() == 8
    assert found[1, 1] == pytest.approx(1)
