"""The Gaussian posterior against scipy and torch.distributions."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch.distributions import Normal, kl_divergence

from vae_lightning.errors import ConfigError
from vae_lightning.posteriors.gaussian import DiagonalGaussian, Gaussian


def of(mean: torch.Tensor, log_var: torch.Tensor, bound: float = 15.0) -> DiagonalGaussian:
    """The posterior with just this log-variance, one latent dimension a row."""
    return DiagonalGaussian(mean[:, None], log_var[:, None], bound)


def test_the_raw_numbers_are_means_and_log_variances() -> None:
    raw = torch.tensor([[1.0, -2.0, 0.1, -0.1]])
    q = Gaussian(2)(raw)
    assert q.mean.tolist() == [[1.0, -2.0]]
    torch.testing.assert_close(q.stddev, torch.tensor([[math.exp(0.05), math.exp(-0.05)]]), rtol=1e-5, atol=0)


def test_a_draw_is_mean_plus_stddev_times_noise() -> None:
    q, noise = Gaussian(2)(torch.randn(7, 4)), torch.randn(3, 7, 2)
    torch.testing.assert_close(q.rsample(noise), q.mean + q.stddev * noise, rtol=0, atol=0)


def test_log_prob_is_the_one_of_scipy() -> None:
    q = Gaussian(3)(torch.randn(5, 6, dtype=torch.float64))
    z = 3 * torch.randn(4, 5, 3, dtype=torch.float64)
    truth = scipy.stats.norm(q.mean.numpy(), q.stddev.numpy()).logpdf(z.numpy()).sum(-1)
    np.testing.assert_allclose(q.log_prob(z).numpy(), truth, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kl_is_the_one_of_torch_distributions(dtype: torch.dtype) -> None:
    mean, log_var = 3 * torch.randn(1000, dtype=dtype), 4 * torch.randn(1000, dtype=dtype)
    truth = kl_divergence(Normal(mean.double(), (log_var.double() / 2).exp()), Normal(0.0, 1.0))
    kl = of(mean, log_var).kl_to_standard_normal().squeeze(-1)
    torch.testing.assert_close(kl.double(), truth, rtol=1e-4, atol=1e-5)


def test_kl_is_zero_at_the_prior_and_nowhere_below() -> None:
    assert of(torch.zeros(1), torch.zeros(1)).kl_to_standard_normal().item() == 0
    for scale in (1e-8, 1e-6, 1e-4, 1e-2, 1.0, 15.0):
        log_var = scale * torch.linspace(-1, 1, 20_001)
        assert (of(torch.zeros_like(log_var), log_var).kl_to_standard_normal() >= 0).all()


@pytest.mark.parametrize("deviation", [1e-3, 1e-2])
def test_kl_grows_as_a_parabola_around_its_minimum(deviation: float) -> None:
    """Second order: mean²/2 and log_var²/4; single precision must not lose it in the cancellation of exp(s) - 1 - s."""
    d, zero = torch.tensor([deviation]), torch.zeros(1)
    assert of(d, zero).kl_to_standard_normal().item() == pytest.approx(deviation**2 / 2, rel=1e-4)
    assert of(zero, d).kl_to_standard_normal().item() == pytest.approx(deviation**2 / 4, rel=deviation)


@pytest.mark.parametrize("bound", [0.5, 4.0, 15.0])
def test_the_log_variance_stays_within_its_bound_and_the_share_that_sits_there_is_told(bound: float) -> None:
    raw = torch.tensor([[0.0, 0.0, 1e8, -1e8], [0.0, 0.0, 0.0, 1e8], [0.0, 0.0, 0.1 * bound, 0.0]])
    q = Gaussian(2, log_var_bound=bound)(raw)
    log_var = 2 * q.stddev.log()
    torch.testing.assert_close(log_var[0].abs(), torch.full((2,), bound))
    assert (log_var.abs() <= bound * (1 + 1e-5)).all()
    assert q.health()["log_var_at_bound"].tolist() == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("bound", [0.0, -1.0, math.inf, math.nan])
def test_a_bound_that_bounds_nothing_is_refused(bound: float) -> None:
    sentence = (
        r"^The 'log_var_bound' parameter of the Gaussian posterior must be positive and finite\. Got .* instead\.$"
    )
    with pytest.raises(ConfigError, match=sentence):
        Gaussian(2, log_var_bound=bound)
