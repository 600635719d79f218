"""The standard normal prior against scipy."""

import numpy as np
import scipy.stats
import torch

from vae_lightning.posteriors.base import Posterior
from vae_lightning.posteriors.gaussian import DiagonalGaussian
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


def test_temperature_is_the_standard_deviation() -> None:
    torch.manual_seed(1)
    warm = StandardNormal(2).sample(10)
    torch.manual_seed(1)
    torch.testing.assert_close(StandardNormal(2).sample(10, 0.3), 0.3 * warm)


def test_samples_are_in_the_precision_of_the_model() -> None:
    assert StandardNormal(2).double().sample(3).dtype == torch.float64


def test_kl_is_the_posteriors_own_where_it_has_one_and_estimated_where_not() -> None:
    class Silent(DiagonalGaussian):
        """A normal that does not know its KL."""

        def kl_to_standard_normal(self) -> None:
            return None

    prior, parts = StandardNormal(3), torch.randn(2, 5, 3)
    q: Posterior = DiagonalGaussian(*parts, 15.0)
    silent = Silent(*parts, 15.0)
    z = q.rsample(torch.randn(20_000, 5, 3))
    torch.testing.assert_close(prior.kl(q, z), q.kl_to_standard_normal(), rtol=0, atol=0)
    estimate = prior.kl(silent, z)
    assert estimate.shape == (5, 1)
    error = (q.log_prob(z) - prior.log_prob(z)).std(0) / np.sqrt(20_000)
    assert ((estimate.squeeze(-1) - q.kl_to_standard_normal().sum(-1)).abs() < 5 * error).all()
