"""The standard normal prior against torch.distributions, scipy and the minimum of its KL."""

import numpy as np
import pytest
import scipy.stats
import torch
from torch.distributions import Normal, kl_divergence

from vae_lightning.priors.standard_normal import StandardNormal


def test_log_prob_is_the_one_of_scipy() -> None:
    z = 3 * torch.randn(4, 5, 3, dtype=torch.float64)
    truth = scipy.stats.norm.logpdf(z.numpy()).sum(-1)
    np.testing.assert_allclose(StandardNormal(3).log_prob(z).numpy(), truth, rtol=1e-12)


def test_samples_are_standard_normal() -> None:
    z = StandardNormal(2).sample(20_000).numpy()
    assert z.shape == (20_000, 2)
    for column in z.T:
        assert scipy.stats.kstest(column, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(z.T)[0, 1]) < 5 / np.sqrt(20_000)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kl_is_the_one_of_torch_distributions(dtype: torch.dtype) -> None:
    loc, log_var = 3 * torch.randn(1000, dtype=dtype), 4 * torch.randn(1000, dtype=dtype)
    truth = kl_divergence(Normal(loc.double(), (log_var.double() / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(StandardNormal(1).kl(loc, log_var).double(), truth, rtol=1e-4, atol=1e-5)


def test_kl_is_zero_at_the_prior_and_nowhere_below() -> None:
    prior = StandardNormal(1)
    assert prior.kl(torch.zeros(1), torch.zeros(1)).item() == 0
    for scale in (1e-8, 1e-6, 1e-4, 1e-2, 1.0, 15.0):
        log_var = scale * torch.linspace(-1, 1, 20_001)
        assert (prior.kl(torch.zeros_like(log_var), log_var) >= 0).all()


@pytest.mark.parametrize("deviation", [1e-3, 1e-2])
def test_kl_grows_as_a_parabola_around_its_minimum(deviation: float) -> None:
    """Second order: loc²/2 and log_var²/4; single precision must not lose it in the cancellation of exp(s) - 1 - s."""
    d, zero = torch.tensor([deviation]), torch.zeros(1)
    assert StandardNormal(1).kl(d, zero).item() == pytest.approx(deviation**2 / 2, rel=1e-4)
    assert StandardNormal(1).kl(zero, d).item() == pytest.approx(deviation**2 / 4, rel=deviation)
