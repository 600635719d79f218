"""The log-normal family against scipy."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from tests.likelihoods.families import rows_of
from vae_lightning.errors import ConfigError
from vae_lightning.likelihoods.log_normal import LogNormal, LogNormalPredictive


@pytest.mark.parametrize("scale", [1e-3, 0.3, 2.0])
@pytest.mark.parametrize("mean", [-20.0, 0.0, 25.0])
def test_agrees_with_scipy(mean: float, scale: float) -> None:
    p = LogNormalPredictive(torch.full((50, 1), mean).double(), torch.tensor(scale, dtype=torch.float64))
    x = p.sample()
    truth = scipy.stats.lognorm(scale, scale=math.exp(mean))
    np.testing.assert_allclose(p.log_prob(x).numpy(), truth.logpdf(x.numpy()), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(p.mean.numpy(), truth.mean(), rtol=1e-9)
    np.testing.assert_allclose(p.stddev.numpy(), truth.std(), rtol=1e-9)


def test_independent_columns_are_the_moments_of_the_logarithms() -> None:
    x = torch.tensor([[1.0, 2e9], [4.0, 8e9]])
    p = LogNormal(2).independent_columns(rows_of(x))
    torch.testing.assert_close(p.mean_of_log, torch.tensor([2.0, 16e18]).log() / torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(p.scale, torch.full((2,), math.log(2)))


def test_a_change_of_units_moves_the_log_likelihood_by_the_log_factor() -> None:
    """No scaling is needed: in other units the fitted model is the same one."""
    x = (3 * torch.randn(200, 2, dtype=torch.float64)).exp()
    one, other = (LogNormal(2).independent_columns(rows_of(f * x)).log_prob(f * x) for f in (1.0, 1e-7))
    torch.testing.assert_close(other, one - math.log(1e-7), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("min_scale", [0.0, 1.0, -1.0, math.nan])
def test_a_floor_that_is_none_is_refused(min_scale: float) -> None:
    with pytest.raises(ConfigError, match=r"^The 'min_scale' parameter of LogNormal must be between 0 and 1\. Got"):
        LogNormal(3, min_scale=min_scale)
