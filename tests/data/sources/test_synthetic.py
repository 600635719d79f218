"""The linear-Gaussian source against scipy and against its own moments."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from vae_lightning.data.sources.synthetic import LinearGaussian
from vae_lightning.errors import DataError


def test_log_prob_is_that_of_scipy() -> None:
    source = LinearGaussian(num_columns=6, latent_dim=2, noise_scale=0.3)
    x = source.load().test.x
    covariance = source.weight @ source.weight.T + 0.09 * np.eye(6)
    truth = multivariate_normal(source.mean, covariance).logpdf(x)
    np.testing.assert_allclose(source.log_prob(x), truth, rtol=1e-10)


def test_rows_have_the_stated_moments() -> None:
    source = LinearGaussian(num_rows=200_000, num_columns=4, latent_dim=2)
    data = source.load()
    covariance = source.weight @ source.weight.T + 0.25 * np.eye(4)
    scale = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(data.train.x.mean(0), source.mean, atol=5 * scale.max() / np.sqrt(140_000))
    np.testing.assert_allclose(
        np.cov(data.train.x.T) / np.outer(scale, scale), covariance / np.outer(scale, scale), atol=0.02
    )
    # The mean log-density is minus the entropy.
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * covariance)[1]
    assert abs(source.log_prob(data.train.x).mean() + entropy) < 5 * np.sqrt(2 / 140_000)


def test_defaults() -> None:
    data = LinearGaussian().load()
    assert [part.x.shape for part in (data.train, data.valid, data.test)] == [(3500, 10), (500, 10), (1000, 10)]
    assert data.columns[0].name == "x0"
    assert data.fingerprint == LinearGaussian().load().fingerprint != LinearGaussian(seed=1).load().fingerprint


@pytest.mark.parametrize("option", ["num_rows", "num_columns", "latent_dim"])
@pytest.mark.parametrize("value", [0, 1.5])
def test_illegal_sizes(option: str, value: float) -> None:
    with pytest.raises(DataError, match=f"The '{option}' parameter of LinearGaussian must be a whole number"):
        LinearGaussian(**{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_illegal_noise(scale: float) -> None:
    with pytest.raises(DataError, match="The 'noise_scale' parameter of LinearGaussian must be positive"):
        LinearGaussian(noise_scale=scale)
