"""Student's t family against scipy."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch

from tests.likelihoods.families import rows_of
from vae_lightning.errors import ConfigError
from vae_lightning.likelihoods.student_t import StudentT


def test_agrees_with_scipy() -> None:
    likelihood = StudentT(3, "predicted").double()
    likelihood.excess.start(torch.tensor([0.2, 2.0, 60.0]))
    raw = torch.randn(50, 6, dtype=torch.float64)
    x = 3 * torch.randn(50, 3, dtype=torch.float64)
    p = likelihood(raw)
    scale = np.exp(0.5 * likelihood.scale.bound * np.tanh(raw[:, 3:].numpy() / likelihood.scale.bound))
    truth = scipy.stats.t([2.2, 4.0, 62.0], raw[:, :3].numpy(), scale)
    np.testing.assert_allclose(p.log_prob(x).detach().numpy(), truth.logpdf(x.numpy()), rtol=1e-6)
    np.testing.assert_allclose(p.stddev.detach().numpy(), truth.std(), rtol=1e-5)


def test_independent_columns_have_the_greatest_likelihood() -> None:
    """To a nat in all of a thousand rows: between 20 and 30 degrees of freedom there is less than that."""
    x = np.random.default_rng(0).standard_t([2.5, 5.0, 30.0], (1000, 3)) * [1.0, 0.01, 50.0] + [0.0, 7.0, -3.0]
    found = StudentT(3).independent_columns(rows_of(torch.tensor(x))).log_prob(torch.tensor(x)).double().sum(0)
    for column in range(3):
        values = x[:, column]

        def nll(free: np.ndarray, values: np.ndarray = values) -> float:
            return -scipy.stats.t(2 + np.exp(free[0]), free[1], np.exp(free[2])).logpdf(values).sum()

        start = [1.0, np.median(values), np.log(values.std() / 2)]
        best = scipy.optimize.minimize(nll, start, method="Nelder-Mead", options={"xatol": 1e-6, "maxiter": 4000})
        assert found[column].item() == pytest.approx(-best.fun, abs=1.0)


def test_an_outlier_leaves_the_others_their_scale() -> None:
    x = torch.cat([torch.randn(500, 1), torch.full((1, 1), 1e6)])
    p = StudentT(1).independent_columns(rows_of(x))
    assert abs(p.mean.item()) < 0.2
    assert p.scale.item() < 1.2


def test_the_closed_form_that_a_normal_has_is_refused() -> None:
    sentence = r"^The 'scale' parameter of StudentT must be one of fixed, shared, per_column, predicted\. Got 'optimal'"
    with pytest.raises(ConfigError, match=sentence):
        StudentT(3, "optimal")
