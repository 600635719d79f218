"""The gamma family against scipy."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from tests.likelihoods.families import rows_of
from vae_lightning.errors import ConfigError
from vae_lightning.likelihoods.gamma import Gamma, GammaPredictive


@pytest.mark.parametrize("shape", [0.25, 1.0, 30.0, 1e5])
@pytest.mark.parametrize("log_mean", [-9.0, 0.0, 15.0])
def test_agrees_with_scipy(log_mean: float, shape: float) -> None:
    p = GammaPredictive(torch.full((50, 1), log_mean).double(), torch.tensor(shape, dtype=torch.float64))
    x = p.sample()
    truth = scipy.stats.gamma(shape, scale=math.exp(log_mean) / shape)
    np.testing.assert_allclose(p.log_prob(x).numpy(), truth.logpdf(x.numpy()), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(p.mean.numpy(), truth.mean(), rtol=1e-9)
    np.testing.assert_allclose(p.stddev.numpy(), truth.std(), rtol=1e-9)


def test_independent_columns_have_the_greatest_likelihood() -> None:
    x = np.random.default_rng(0).gamma([0.5, 40.0], [100.0, 1e-3], (500, 2))
    found = Gamma(2).independent_columns(rows_of(torch.tensor(x))).log_prob(torch.tensor(x)).sum(0)
    for column in range(2):
        shape, _, scale = scipy.stats.gamma.fit(x[:, column], floc=0)
        truth = scipy.stats.gamma(shape, scale=scale).logpdf(x[:, column]).sum()
        assert found[column].item() == pytest.approx(truth, abs=1e-2)


def test_the_cells_floor_is_the_density_of_the_greatest_shape_at_its_mean() -> None:
    x = torch.tensor([[1e-3], [7.0]], dtype=torch.float64)
    truth = scipy.stats.gamma(1e6, scale=x.numpy() / 1e6).logpdf(x.numpy())
    np.testing.assert_allclose(-Gamma(1).entropy_floor(x).numpy(), truth, rtol=1e-8)


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'shape' parameter of Gamma must be one of shared, per_column, predicted"):
        Gamma(3, "optimal")
